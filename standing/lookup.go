package standing

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// PersonPath is where control planes answer questions about one person, below the feed's path.
const PersonPath = "/person"

// PersonType is the typ of the JWS that such an answer is, PersonVersion the integer version of question and answer. History: 1 (2026-11) first.
const (
	PersonType    = "bailiwick-person+jwt"
	PersonVersion = 1
)

// MaxPerson bounds an answer, in bytes of the compact JWS.
const MaxPerson = 1 << 20

// PersonQuestion is what a gate asks whose caller's token leaves something out.
type PersonQuestion struct {
	Version   int    `json:"v"`
	Principal string `json:"principal"`
	Gate      string `json:"gate"`
	Nonce     string `json:"nonce"` // comes back signed
}

// PersonAnswer is what the directory says. Person.AsOf says how old it is, where the org did not answer either.
type PersonAnswer struct {
	Version int    `json:"v"`
	Nonce   string `json:"nonce"`
	Person  Person `json:"person"`
}

// SignPerson makes the compact JWS of an answer (EdDSA, RFC 8037), with the feed's key.
func SignPerson(key ed25519.PrivateKey, nonce string, p Person) (string, error) {
	p.AsOf = p.AsOf.UTC().Round(0)
	return seal(key, PersonType, PersonAnswer{PersonVersion, nonce, p})
}

// OpenPerson verifies an answer: its form, its signature, that it answers this question and is about this principal. Errors are *MessageError.
func OpenPerson(raw []byte, keys []ed25519.PublicKey, q PersonQuestion) (Person, error) {
	var a PersonAnswer
	if len(raw) > MaxPerson {
		return Person{}, refuse(MessageMalformed, "it has more than %d bytes", MaxPerson)
	}
	if err := unseal(raw, keys, PersonType, PersonVersion, &a); err != nil {
		return Person{}, err
	}
	if a.Nonce != q.Nonce || a.Person.Principal != q.Principal {
		return Person{}, refuse(MessageReplayed, "it answers another question")
	}
	if err := a.Person.check(); err != nil {
		return Person{}, refuse(MessageMalformed, "%v", err)
	}
	return a.Person, nil
}

// PersonSource asks the control plane that a follower follows about one person.
type PersonSource struct{ cfg FollowConfig }

// Persons asks the same control plane, with the same token, and believes the same keys.
func (f *Follower) Persons() *PersonSource { return &PersonSource{f.cfg} }

// Person asks once. ctx bounds it.
func (s *PersonSource) Person(ctx context.Context, principal string) (Person, error) {
	token, err := s.cfg.Token()
	if err != nil {
		return Person{}, fmt.Errorf("reading the feed's token: %w", err)
	}
	q := PersonQuestion{PersonVersion, principal, s.cfg.Gate, rand.Text()}
	body, err := json.Marshal(q)
	if err != nil {
		return Person{}, fmt.Errorf("asking for a person: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL+PersonPath, bytes.NewReader(body))
	if err != nil {
		return Person{}, fmt.Errorf("asking for a person: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.cfg.HTTPClient.Do(req)
	if err != nil {
		return Person{}, fmt.Errorf("asking for a person: %w", unquoted(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Person{}, fmt.Errorf("asking for a person: the control plane answered %s", resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, MaxPerson+1))
	if err != nil {
		return Person{}, fmt.Errorf("reading the answer about a person: %w", err)
	}
	p, err := OpenPerson(raw, s.cfg.Keys, q)
	if err != nil {
		return Person{}, fmt.Errorf("reading the answer about a person: %w", err)
	}
	return p, nil
}

// Persons answers questions of PersonSource. Whoever mounts it lets gates through and nobody else. What look fails with is not told: gates refuse
// their caller.
func Persons(key ed25519.PrivateKey, look func(ctx context.Context, principal string) (Person, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q PersonQuestion
		d := json.NewDecoder(io.LimitReader(r.Body, 4<<10))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil || q.Version != PersonVersion || len(q.Nonce) < 16 || len(q.Nonce) > 64 || name("the principal", q.Principal, maxName) != nil {
			http.Error(w, "no question that this control plane understands", http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), personTimeout)
		defer cancel()
		p, err := look(ctx, q.Principal)
		if err == nil && p.Principal != q.Principal {
			err = errors.New("the directory told of somebody else")
		}
		if err == nil {
			err = p.check()
		}
		var answer string
		if err == nil {
			answer, err = SignPerson(key, q.Nonce, p)
		}
		if err != nil {
			http.Error(w, "the directory can't tell now", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jose")
		_, _ = io.WriteString(w, answer)
	})
}

// personTimeout bounds one answer.
const personTimeout = 6 * time.Second
