package ssf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// Where event types are named.
const (
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
	ssf  = "https://schemas.openid.net/secevent/ssf/event-type/"

	verification  = ssf + "verification"
	streamUpdated = ssf + "stream-updated"
)

// kinds are the events that say something about a person: CAEP 1.0 section 3, RISC 1.0 section 2. Those that are not here are acknowledged, and
// nothing follows: devices, assurance levels, recovery.
var kinds = map[string]revocation.Kind{
	caep + "session-revoked":                    revocation.Cleared,
	caep + "credential-change":                  revocation.Credentials,
	caep + "token-claims-change":                revocation.Changed,
	risc + "account-disabled":                   revocation.Left, // or suspended: the directory says which
	risc + "account-purged":                     revocation.Left,
	risc + "account-enabled":                    revocation.Restored,
	risc + "account-credential-change-required": revocation.Credentials,
	risc + "credential-compromise":              revocation.Credentials,
	risc + "sessions-revoked":                   revocation.Cleared,
	risc + "identifier-changed":                 revocation.Changed,
}

// EventTypes are those that a stream should bring, sorted.
func EventTypes() (out []string) {
	for name := range kinds {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// subject is whom an event is about: a subject identifier (RFC 9493), or SSF's complex one, which names several things of one happening.
type subject struct {
	Format  string   `json:"format"`
	Type    string   `json:"subject_type"` // what drafts of SSF called the format
	Issuer  string   `json:"iss"`
	Subject string   `json:"sub"`
	Email   string   `json:"email"`
	ID      string   `json:"id"` // of format opaque
	User    *subject `json:"user"`
	Session *subject `json:"session"`
}

func (s *subject) format() string {
	if s.Format != "" {
		return s.Format
	}
	return strings.ReplaceAll(s.Type, "-", "_")
}

// body is the part of an event that counts here.
type body struct {
	Subject    *subject     `json:"subject"`
	Timestamp  *json.Number `json:"event_timestamp"`
	ChangeType string       `json:"change_type"` // of credential-change
	State      string       `json:"state"`       // of verification
	Status     string       `json:"status"`      // of stream-updated
}

// claims are a security event token's own (RFC 8417 section 2.2), beside those that identity.Statement has.
type claims struct {
	Events map[string]json.RawMessage `json:"events"`
	SubID  *subject                   `json:"sub_id"` // SSF 1.0 puts the subject here, earlier drafts and Okta into the event
	TOE    *json.Number               `json:"toe"`    // when it happened
}

// event is one event of a token, read.
type event struct {
	name string
	kind revocation.Kind // "": nothing follows
	at   time.Time
	body
}

// maxEvents bounds the events of one token. SSF allows one.
const maxEvents = 8

// read takes the events out of a verified token, in the order of their names.
func read(s identity.Statement) ([]event, error) {
	var c claims
	if err := json.Unmarshal(s.Payload, &c); err != nil {
		return nil, fmt.Errorf("the claims are not those of a security event token: %w", err)
	}
	if len(c.Events) == 0 || len(c.Events) > maxEvents {
		return nil, fmt.Errorf("there are %d events; 1 to %d are accepted", len(c.Events), maxEvents)
	}
	var out []event
	for name, raw := range c.Events {
		e := event{name: name, kind: kinds[name]}
		if e.kind == "" && name != verification && name != streamUpdated {
			out = append(out, e)
			continue
		}
		if err := json.Unmarshal(raw, &e.body); err != nil {
			return nil, fmt.Errorf("event %s can't be read", printed(name))
		}
		if e.Subject == nil {
			e.Subject = c.SubID
		}
		e.at = s.IssuedAt
		for _, n := range []*json.Number{c.TOE, e.Timestamp} {
			if n == nil {
				continue
			}
			at, ok := instant(*n)
			if !ok {
				return nil, fmt.Errorf("the time of event %s can't be read", printed(name))
			}
			e.at = at
		}
		if name == caep+"credential-change" && e.ChangeType == "create" {
			e.kind = "" // a further factor takes nothing away
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b event) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// instant reads seconds since 1970, as CAEP has them, or milliseconds, as Okta sends them: which is plain from the size, for centuries.
func instant(n json.Number) (time.Time, bool) {
	v, err := n.Float64()
	if err != nil || v < 0 || v > 1e14 {
		return time.Time{}, false
	}
	if v < 1e11 {
		v *= 1000
	}
	return time.UnixMilli(int64(v)).UTC(), true
}

// signalID is the same for the same event of the same token, however often that comes.
func signalID(issuer, jti, name string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + jti + "\x00" + name))
	return "set/" + hex.EncodeToString(sum[:16])
}

// printed keeps what a stranger wrote short and plain.
func printed(s string) string { return fmt.Sprintf("%.120q", s) }
