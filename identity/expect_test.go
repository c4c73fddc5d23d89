package identity

import (
	"testing"
	"testing/synctest"
	"time"
)

// A key that is expected is fetched ahead of any token, so that the first token of it waits for nothing, and what is refused about it is counted.
func TestExpectedKeys(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		expected := func() []ExpectedKey {
			synctest.Wait()
			return r.v.Status()[0].Expected
		}
		next := sign(object{"alg": "RS256", "kid": "k1"}, r.userClaims(r.clock()), rsaKeys[1]())
		r.v.Expect(r.issuer, []string{"k0", "k1"})
		if got := expected(); len(got) != 2 || got[0] != (ExpectedKey{ID: "k0", Held: true}) || got[1] != (ExpectedKey{ID: "k1"}) || r.fetches.Load() != 1 {
			t.Errorf("%+v after %d fetches", got, r.fetches.Load())
		}
		if _, err := r.verify(next); err == nil || err.Code != CodeKeyUnknown {
			t.Errorf("%v", err)
		}
		forged := sign(rs256, r.userClaims(r.clock()), rsaKeys[1]()) // says k0
		if _, err := r.verify(forged); err == nil || err.Code != CodeSignature {
			t.Errorf("%v", err)
		}
		if got := expected(); got[0].BadSignature != 1 || got[0].Unknown != 0 || got[1].Unknown != 1 || got[1].BadSignature != 0 {
			t.Errorf("%+v", got)
		}
		// However often it is expected, it is fetched once in a cooldown.
		fetches := r.fetches.Load()
		for range 100 {
			r.v.Expect(r.issuer, []string{"k0", "k1"})
			synctest.Wait()
		}
		if r.fetches.Load() > fetches {
			t.Errorf("%d fetches within the cooldown", r.fetches.Load()-fetches)
		}
		time.Sleep(11 * time.Second)
		r.publish(jwk("k0", rsaKeys[0]().Public()), jwk("k1", rsaKeys[1]().Public()))
		r.v.Expect(r.issuer, []string{"k1"})
		if got := expected(); len(got) != 1 || !got[0].Held || got[0].Unknown != 1 {
			t.Errorf("after it was published: %+v", got)
		}
		if took := elapsed(func() { r.accepts(next) }); took != 0 {
			t.Errorf("the first token of the key waited %v", took)
		}
		r.v.Expect("https://elsewhere.example", []string{"k1"}) // nobody's
	})
}
