package tiles

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// A bundle holds the issuer's key that signed the caller's token as the gate saw it then: that one, of that gate, from before the decision.
func TestBundleHoldsTheIssuersKey(t *testing.T) {
	l := newLog(t)
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key := func(gate, issuer, kid string) audit.Entry {
		return audit.Entry{Kind: audit.KindKey, Gate: gate, Actor: audit.Party{Principal: "gate:" + gate}, Detail: audit.IssuerKeyDetail(issuer, kid, `{"kty":"OKP","kid":"`+kid+`"}`)}
	}
	decision := func(who, kid string) audit.Entry {
		return audit.Entry{Kind: audit.KindDecision, Gate: "test", Actor: audit.Party{Principal: who, TokenKey: kid}, Action: "StartWorkflowExecution", Access: "operate",
			Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed}}
	}
	const alice = "user:https://acme.example|00u1"
	entries := []audit.Entry{
		0: key("test", "https://acme.example", "k1"),
		1: key("elsewhere", "https://acme.example", "k1"),
		2: key("test", "https://other.example", "k1"),
		3: key("test", "https://acme.example", "k2"),
		4: decision(alice, "k1"),
		5: key("test", "https://acme.example", "k1"),
		6: decision("person:abcdefghijklmnopqrstuvwx", "k2"), // encrypted: whose issuer it is can't be seen
		7: decision(alice, "k3"),                             // from before keys were put on record
	}
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: l.journal})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		e.ID, e.Time = fmt.Sprint("e", i), at.Add(time.Duration(i)*time.Second)
		if err := j.Enqueue(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	l.seal(t, len(entries))
	prove := func(i uint64, found []uint64) Bundle {
		b, err := Prove(t.Context(), ProveConfig{Log: l.log, VerifierKey: l.verifier, Index: i, IssuerKeyEntries: found})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	verify := func(b Bundle) (BundleReport, error) {
		raw, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return VerifyBundle(raw, Trust{LogKeys: []string{l.verifier}})
	}
	for _, c := range []struct {
		index, key uint64
		found      []uint64
	}{{4, 0, nil}, {4, 0, []uint64{0}}, {6, 3, nil}} {
		r, err := verify(prove(c.index, c.found))
		if err != nil || r.IssuerKey == nil || r.IssuerKey.Index != c.key || r.IssuerKey.Issuer != "https://acme.example" || r.IssuerKey.JWK == "" || r.IssuerKey.KeyID != r.Entry.Actor.TokenKey {
			t.Errorf("entry %d: %+v %v", c.index, r.IssuerKey, err)
		}
	}
	for _, b := range []Bundle{prove(7, nil), prove(4, []uint64{})} {
		if r, err := verify(b); err != nil || r.IssuerKey != nil {
			t.Errorf("no key on record: %+v %v", r.IssuerKey, err)
		}
	}
	for _, c := range []struct {
		what string
		as   uint64
	}{{"of another gate", 1}, {"of another issuer", 2}, {"another key", 3}, {"from later", 5}, {"a decision", 4}} {
		b := prove(4, nil)
		other := prove(c.as, []uint64{})
		b.IssuerKey = &other.Entry
		var refused *BundleError
		if _, err := verify(b); !errors.As(err, &refused) || refused.Code != CodeIssuerKey {
			t.Errorf("key %s: %v", c.what, err)
		}
	}
	b := prove(4, nil)
	b.IssuerKey.Raw = strings.Replace(b.IssuerKey.Raw, "OKP", "RSA", 1)
	var refused *BundleError
	if _, err := verify(b); !errors.As(err, &refused) || refused.Code != CodeProofMismatch {
		t.Errorf("altered key: %v", err)
	}
}
