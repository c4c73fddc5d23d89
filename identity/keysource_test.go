package identity

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// elapsed runs f and returns how long it took by the bubble's clock: zero means that nothing was waited for.
func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// bubble runs a test in a synctest bubble and closes the verifier inside it: a goroutine that outlives Close fails the test.
func bubble(t *testing.T, f func(t *testing.T, r *rig), change ...func(*Config)) {
	rsaKeys[0]()
	rsaKeys[1]()
	synctest.Test(t, func(t *testing.T) { f(t, newBubbleRig(t, change...)) })
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func slow(d time.Duration, o *org) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := *o.keyset.Load()
		select {
		case <-time.After(d):
			writeJSON(w, body)
		case <-r.Context().Done():
		}
	}
}

func TestColdStartIsOneFetchForAll(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.breakKeys(slow(time.Second, r.org))
		token := r.user()
		var wg sync.WaitGroup
		took := elapsed(func() {
			for range 50 {
				wg.Go(func() { r.accepts(token) })
			}
			wg.Wait()
		})
		if took != time.Second || r.fetches.Load() != 1 || r.lookups.Load() != 1 {
			t.Errorf("50 first tokens took %v, %d fetches and %d discoveries; want 1s, 1 and 1", took, r.fetches.Load(), r.lookups.Load())
		}
	})
}

func TestColdStartIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.breakKeys(hang)
		token := r.user()
		if took := elapsed(func() {
			if _, err := r.verify(token); err == nil || err.Code != CodeKeysUnavailable || err.Cause == nil {
				t.Errorf("got %v, want keys_unavailable with a cause for operators", err)
			}
		}); took > coldWait {
			t.Errorf("first token waited %v", took)
		}
		// A caller who gives up waits no longer, and does not end the fetch for the others.
		r.breakKeys(slow(3*time.Second, r.org))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if took := elapsed(func() {
			if _, err := r.v.Verify(ctx, ParseUnverified(token)); err == nil {
				t.Error("accepted without keys")
			}
		}); took != 100*time.Millisecond {
			t.Errorf("a caller who gives up after 100ms waited %v", took)
		}
		r.accepts(token)
	})
}

func TestColdFailureIsNotRepeatedForEachToken(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.breakDiscovery(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		token := r.user()
		took := elapsed(func() {
			for range 1000 {
				if _, err := r.verify(token); err == nil || err.Code != CodeKeysUnavailable {
					t.Fatalf("got %v", err)
				}
			}
		})
		if took != 0 || r.lookups.Load() != 1 {
			t.Errorf("1000 tokens waited %v and caused %d discoveries, want 0 and 1", took, r.lookups.Load())
		}
		if st := r.v.Status()[0]; st.Usable || !strings.Contains(st.Error, "503") {
			t.Errorf("status %+v", st)
		}
		r.mend()
		time.Sleep(retryFloor)
		r.accepts(token)
	})
}

func TestRotationIsHonouredOnFirstSight(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		for i, kid := range []string{"k1", "k2", "k3"} { // each after the cooldown of the one before
			r.publish(jwk("k0", rsaKeys[0]().Public()), jwk(kid, rsaKeys[1]().Public()))
			r.breakKeys(slow(300*time.Millisecond, r.org))
			token := sign(object{"alg": "RS256", "kid": kid}, r.userClaims(r.clock()), rsaKeys[1]())
			var wg sync.WaitGroup
			if took := elapsed(func() {
				for range 20 {
					wg.Go(func() { r.accepts(token) })
				}
				wg.Wait()
			}); took != 300*time.Millisecond || r.fetches.Load() != int64(2+i) {
				t.Errorf("%s: waited %v, %d fetches", kid, took, r.fetches.Load())
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// A refresh by the timer may have read the key set before the new key was in it; a token that waited for that one gets a second fetch.
func TestRotationDuringATimersFetch(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		r.breakKeys(slow(time.Second, r.org)) // reads the set, then dawdles
		for r.fetches.Load() == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		r.publish(jwk("k0", rsaKeys[0]().Public()), jwk("k1", rsaKeys[1]().Public()))
		token := sign(object{"alg": "RS256", "kid": "k1"}, r.userClaims(r.clock()), rsaKeys[1]())
		if took := elapsed(func() { r.accepts(token) }); took > unknownWait || r.fetches.Load() != 3 {
			t.Errorf("waited %v, %d fetches, want at most %v and 3", took, r.fetches.Load(), unknownWait)
		}
	})
}

func TestUnknownKeysFlood(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		before := r.fetches.Load()
		head := strings.SplitN(r.user(), ".", 2)[1]
		good := r.user("jti", "AT.good")
		const seconds, rate = 25, 400
		for i := range seconds * rate {
			raw := b64(fmt.Appendf(nil, `{"alg":"RS256","kid":"u%d"}`, i)) + "." + head
			if _, err := r.verify(raw); err == nil || err.Code != CodeKeyUnknown {
				t.Fatalf("got %v", err)
			}
			if i%rate == 0 {
				if took := elapsed(func() { r.accepts(good) }); took != 0 {
					t.Fatalf("a good token waited %v", took)
				}
				time.Sleep(time.Second)
			}
		}
		if n := r.fetches.Load() - before; n != 3 {
			t.Errorf("%d unknown key ids in %d s caused %d fetches, want 3", seconds*rate, seconds, n)
		}
	})
}

func TestUnknownKeyWhileIssuerHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		r.breakKeys(hang)
		strange := sign(object{"alg": "RS256", "kid": "k7"}, r.userClaims(r.clock()), rsaKeys[1]())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if took := elapsed(func() {
					if _, err := r.verify(strange); err == nil || err.Code != CodeKeyUnknown || err.Cause == nil {
						t.Errorf("got %v, want token_key_unknown with a cause", err)
					}
				}); took != unknownWait {
					t.Errorf("waited %v", took)
				}
			})
		}
		synctest.Wait()
		if took := elapsed(func() { r.accepts(r.user("jti", "AT.other")) }); took != 0 {
			t.Errorf("a known key waited %v for the hanging fetch", took)
		}
		wg.Wait()
		if r.fetches.Load() != 2 {
			t.Errorf("%d fetches", r.fetches.Load())
		}
		time.Sleep(fetchTimeout) // the flight has ended; the cooldown has not
		if took := elapsed(func() { r.verify(strange) }); took != 0 {
			t.Errorf("waited %v in the cooldown", took)
		}
	})
}

func TestFirstTokenWithAnUnknownKeyCostsOneFetch(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.breakKeys(slow(time.Second, r.org))
		strange := sign(object{"alg": "RS256", "kid": "k7"}, r.userClaims(r.clock()), rsaKeys[1]())
		if _, err := r.verify(strange); err == nil || err.Code != CodeKeyUnknown || r.fetches.Load() != 1 {
			t.Errorf("%v after %d fetches, want token_key_unknown after 1", err, r.fetches.Load())
		}
	})
}

func TestTokenThatExpiresWhileKeysAreWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.breakKeys(slow(2*time.Second, r.org))
		if _, err := r.verify(r.user("exp", r.clock().Unix()+1)); err == nil || err.Code != CodeExpired {
			t.Errorf("got %v, want token_expired", err)
		}
	})
}

func TestMovedKeySetIsFoundAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		r.breakKeys(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
		r.breakDiscovery(func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, r.issuer, r.issuer+"/v2/keys"))
		})
		time.Sleep(10 * time.Minute)
		if st := r.v.Status()[0]; r.moves.Load() == 0 || st.Error != "" {
			t.Errorf("%d fetches at the new place, status %+v", r.moves.Load(), st)
		}
	})
}

// New keys are told before anything is verified with them, once each, in the form that their issuer published.
func TestNewKeysAreTold(t *testing.T) {
	var told []string
	var r *rig
	r = newRig(t, func(c *Config) {
		c.NewKeys = func(issuer string, keys []PublicKey) {
			for _, k := range keys {
				told = append(told, k.ID)
				set, err := parseKeySet([]byte(`{"keys":[` + k.JWK + `]}`))
				if err != nil || issuer != r.issuer || set.byID[k.ID] == nil {
					t.Errorf("%s of %s: %s: %v", k.ID, issuer, k.JWK, err)
				}
			}
		}
	})
	r.accepts(r.user())
	if !slices.Equal(told, []string{"k0"}) {
		t.Fatalf("after the first token: %v", told)
	}
	r.publish(jwk("k0", rsaKeys[0]().Public()), jwk("k1", rsaKeys[1]().Public()))
	r.moved.Add(int64(time.Minute))
	r.accepts(sign(object{"alg": "RS256", "kid": "k1"}, r.userClaims(r.clock()), rsaKeys[1]()))
	if !slices.Equal(told, []string{"k0", "k1"}) {
		t.Errorf("after a rotation: %v", told)
	}
}
