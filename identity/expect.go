package identity

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// maxExpected is how many key ids of an issuer can be expected at once: those before, during and after a rotation.
const maxExpected = 8

// ExpectedKey is how an issuer's key stands that Expect named.
type ExpectedKey struct {
	ID           string `json:"id"`
	Held         bool   `json:"held"`          // tokens that it signed are accepted without a fetch
	Unknown      uint64 `json:"unknown"`       // tokens refused because the key was not held, since it is expected
	BadSignature uint64 `json:"bad_signature"` // tokens refused whose signature is not the key's, since it is expected
}

// expectation counts what is refused about one expected key.
type expectation struct{ unknown, badSignature atomic.Uint64 }

// Expect names keys that an issuer signs with or is about to: Status counts what is refused about them from then on, and one that is not held is
// fetched, at most once in a Cooldown and without a token having to ask for it. Of more than eight the first count. An issuer that is not
// trusted is passed over. Counts of keys that were expected before go on.
func (v *Verifier) Expect(issuer string, kids []string) {
	if t := v.issuers[issuer]; t != nil {
		t.keys.expect(kids)
	}
}

func (s *keySource) expect(kids []string) {
	kids = kids[:min(len(kids), maxExpected)]
	set := s.fresh(s.clock())
	s.mu.Lock()
	defer s.mu.Unlock()
	old, now := s.expected.Load(), map[string]*expectation{}
	missing := false
	for _, kid := range kids {
		if now[kid] = new(expectation); old != nil && (*old)[kid] != nil {
			now[kid] = (*old)[kid]
		}
		missing = missing || set == nil || set.byID[kid] == nil
	}
	s.expected.Store(&now)
	if missing && s.flying == nil && s.life.Err() == nil && (s.hoped.IsZero() || time.Since(s.hoped) >= s.cooldown) {
		s.hoped = time.Now()
		s.launch(false)
	}
}

// refused counts a refusal if the key is an expected one.
func (s *keySource) refused(kid string, code Code) {
	all := s.expected.Load()
	if all == nil {
		return
	}
	e := (*all)[kid]
	if e == nil {
		return
	}
	switch code {
	case CodeKeyUnknown, CodeKeysUnavailable:
		e.unknown.Add(1)
	case CodeSignature:
		e.badSignature.Add(1)
	}
}

// expectations reports on the expected keys, by id.
func (s *keySource) expectations() []ExpectedKey {
	all := s.expected.Load()
	if all == nil {
		return nil
	}
	set := s.fresh(s.clock())
	var out []ExpectedKey
	for _, kid := range slices.Sorted(maps.Keys(*all)) {
		e := (*all)[kid]
		out = append(out, ExpectedKey{kid, set != nil && set.byID[kid] != nil, e.unknown.Load(), e.badSignature.Load()})
	}
	return out
}
