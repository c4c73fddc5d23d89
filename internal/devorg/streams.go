package devorg

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// Event types that this org transmits. Okta's transmits the first two; the others are for trying receivers that know RISC.
const (
	caepPrefix = "https://schemas.openid.net/secevent/caep/event-type/"
	riscPrefix = "https://schemas.openid.net/secevent/risc/event-type/"
	setVerify  = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	pushMethod = "urn:ietf:rfc:8935"
)

var setTypes = []string{caepPrefix + "session-revoked", caepPrefix + "credential-change", riscPrefix + "account-disabled", riscPrefix + "account-enabled", riscPrefix + "account-purged"}

// stream is a Shared Signals stream: where a receiver's security event tokens go. A client has one.
type stream struct {
	ID        string    `json:"id"`
	Client    string    `json:"client"`
	Method    string    `json:"method,omitempty"` // empty: pushed
	Endpoint  string    `json:"endpoint"`
	Secret    string    `json:"secret"` // authorization_header
	Requested []string  `json:"requested"`
	Created   time.Time `json:"created"`
	Sent      int64     `json:"sent"`               // the System Log up to here is told
	Verify    []string  `json:"verify"`             // states of verification events that are to be sent
	Verified  int64     `json:"verified,omitempty"` // how many of these are done with, if polled
	Acked     []string  `json:"acked,omitempty"`    // jti of what was acknowledged after something that was not, if polled
}

// metaStreams is where streams are kept, as JSON.
const metaStreams = "ssf.streams"

func streams(tx *store.Tx) (out []stream, err error) {
	return out, metaJSON(tx, metaStreams, &out)
}

// metaJSON reads a named value; one that was never set leaves into as it is.
func metaJSON(tx *store.Tx, key string, into any) error {
	raw, err := tx.Meta(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(raw), into)
}

func setMetaJSON(tx *store.Tx, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.SetMeta(key, string(raw))
}

// streamInput is what a stream is made of.
type streamInput struct {
	ID        string   `json:"stream_id"`
	Requested []string `json:"events_requested"`
	Format    string   `json:"format"`
	Delivery  struct {
		Method   string `json:"method"`
		Endpoint string `json:"endpoint_url"`
		Secret   string `json:"authorization_header"`
	} `json:"delivery"`
}

func (in *streamInput) check() error {
	switch {
	case in.Delivery.Method == pollMethod && (in.Delivery.Endpoint != "" || in.Delivery.Secret != ""):
		return invalid("delivery", "delivery: where to poll is this org's to say, and is asked with the client's access token")
	case in.Delivery.Method != pollMethod && in.Delivery.Method != pushMethod && in.Delivery.Method != "https://schemas.openid.net/secevent/risc/delivery-method/push":
		return invalid("delivery", "delivery.method: only "+pushMethod+" and "+pollMethod+" are supported")
	case in.Delivery.Method != pollMethod && !checkHookURI(in.Delivery.Endpoint):
		return invalid("delivery", "delivery.endpoint_url: an https URL (or http on loopback) is needed")
	case in.Format != "" && in.Format != "iss_sub":
		return invalid("format", "format: only iss_sub is supported")
	case len(in.Requested) == 0:
		return invalid("events_requested", "events_requested: at least one event type is needed")
	}
	return nil
}

func (in *streamInput) apply(s *stream, base string) {
	s.Method, s.Endpoint, s.Requested = "", in.Delivery.Endpoint, []string{}
	if in.Delivery.Method == pollMethod {
		s.Method, s.Endpoint = pollMethod, base+pollPath+"?stream_id="+s.ID
	}
	for _, t := range in.Requested { // those that are not supported are left out, as SSF says
		if slices.Contains(setTypes, t) && !slices.Contains(s.Requested, t) {
			s.Requested = append(s.Requested, t)
		}
	}
	if in.Delivery.Secret != "" {
		s.Secret = in.Delivery.Secret
	}
}

// lastLog is the place of the newest event.
func lastLog(tx *store.Tx) (int64, error) {
	rows, err := tx.Logs(store.LogQuery{Descending: true, Limit: 1})
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Seq, nil
}
