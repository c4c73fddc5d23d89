package identity

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// faults are what an issuer's key endpoint may do: none may take good keys away.
func faults(o *org) map[string]http.HandlerFunc {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	good := *o.keyset.Load()
	weak := with(jwk("k9", rsaKeys[1]().Public()), "n", b64(make([]byte, 127))+"", "e", "AQAB")
	var flips atomic.Int64
	return map[string]http.HandlerFunc{
		"500":             status(500, `{"errorCode":"E0000009"}`),
		"500 with keys":   status(500, jwks(jwk("k9", rsaKeys[1]().Public()))),
		"429":             status(429, `{"errorCode":"E0000047"}`),
		"404":             status(404, `{"errorCode":"E0000007"}`),
		"empty set":       status(200, `{"keys":[]}`),
		"no keys member":  status(200, `{}`),
		"keys null":       status(200, `{"keys":null}`),
		"empty body":      status(200, ``),
		"null":            status(200, `null`),
		"array":           status(200, `[]`),
		"truncated":       status(200, good[:len(good)/2]),
		"trailing text":   status(200, good+"x"),
		"duplicate kid":   status(200, jwks(jwk("k0", rsaKeys[0]().Public()), jwk("k0", rsaKeys[1]().Public()))),
		"private key":     status(200, jwks(with(jwk("k0", rsaKeys[0]().Public()), "d", b64(rsaKeys[0]().D.Bytes())))),
		"symmetric key":   status(200, jwks(jwk("k0", rsaKeys[0]().Public()), object{"kty": "oct", "kid": "s", "k": "AAAA"})),
		"weak key":        status(200, jwks(jwk("k0", rsaKeys[0]().Public()), weak)),
		"encryption only": status(200, jwks(with(jwk("k0", rsaKeys[0]().Public()), "use", "enc"))),
		"2 MB":            status(200, `{"pad":"`+strings.Repeat("x", 2<<20)+`",`+good[1:]),
		"204":             status(204, ``),
		"hang":            hang,
		"slow":            slow(time.Minute, o),
		"HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>Sign in</html>")
		},
		"HTML as JSON": status(200, "<html>Sign in</html>"),
		"no content type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, good)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "https://evil.example/keys", 302) },
		"redirect to http": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Scheme == "http" {
				status(200, good)(w, r) // what an eavesdropper could answer
				return
			}
			http.Redirect(w, r, "http://"+r.Host+"/oauth2/default/v1/keys", 302)
		},
		"redirect loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), 302) },
		"flapping": func(w http.ResponseWriter, r *http.Request) {
			if flips.Add(1)%2 == 0 {
				status(200, good)(w, r)
				return
			}
			status(200, `{"keys":[]}`)(w, r)
		},
	}
}

func TestFaultsNeverWipeGoodKeys(t *testing.T) {
	names := faults(buildOrg())
	for name := range names {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.accepts(r.user())
				start := r.v.Status()[0].Fetched
				r.breakKeys(faults(r.org)[name])
				for range 11 { // 55 minutes: eleven refreshes, and retries between
					time.Sleep(5 * time.Minute)
					if took := elapsed(func() { r.accepts(r.user("jti", r.clock().String())) }); took != 0 {
						t.Fatalf("a token waited %v", took)
					}
				}
				if name == "flapping" {
					return // its good answers keep the keys fresh
				}
				if st := r.v.Status()[0]; !st.Fetched.Equal(start) || st.Error == "" || !st.Usable {
					t.Errorf("status %+v: the fault did not bite", st)
				}
				old := r.user("jti", "AT.cached")
				r.accepts(old)
				time.Sleep(5*time.Minute + time.Second) // past MaxStale: 1 h
				if e := r.refuses(CodeKeysUnavailable, "cached token on stale keys", old); e.Cause == nil || !strings.Contains(e.Detail, "1h0m0s") {
					t.Errorf("does not state the bound and the cause: %v", e)
				}
				r.refuses(CodeKeysUnavailable, "new token on stale keys", r.user())
				r.mend()
				time.Sleep(fetchTimeout + retryFloor) // a fetch that hangs has to end first
				r.accepts(old)                        // the first token after the end of the fault brings the keys back
			})
		})
	}
}

func TestRecoveryWithoutTraffic(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		r.breakKeys(hang)
		time.Sleep(20 * time.Minute)
		r.mend()
		time.Sleep(10 * time.Minute)
		if st := r.v.Status()[0]; !st.Usable || st.Error != "" || time.Since(st.Fetched) > 6*time.Minute {
			t.Errorf("status %+v", st)
		}
	})
}

func TestClockJumps(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		r.breakKeys(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
		token := r.user("exp", r.clock().Unix()+80000)
		r.advance(-30 * time.Second) // within skew
		r.accepts(token)
		r.advance(time.Minute)
		r.accepts(token)
		r.advance(5 * time.Minute)
		r.accepts(token)
		r.refuses(CodeExpired, "expired by the jump", r.user("exp", r.clock().Unix()))
		r.advance(-10 * time.Minute) // the keys now come from the future: their age is unknown
		r.refuses(CodeNotYetValid, "issued ahead of the clock", r.user("iat", r.clock().Unix()+300))
		r.refuses(CodeKeysUnavailable, "clock set back", r.user())
		r.advance(24 * time.Hour)
		r.refuses(CodeKeysUnavailable, "a day ahead", r.user())
		r.mend()
		time.Sleep(retryFloor)
		r.accepts(r.user())
	})
}

func TestCloseEndsFetches(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.accepts(r.user())
		r.breakKeys(hang)
		go r.verify(sign(object{"alg": "RS256", "kid": "k7"}, r.userClaims(r.clock()), rsaKeys[1]()))
		synctest.Wait()
		if took := elapsed(func() { r.v.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		r.accepts(r.user("jti", "AT.x")) // known keys stay good
		fetched := r.fetches.Load()
		time.Sleep(2 * time.Hour)
		r.refuses(CodeKeysUnavailable, "after Close and MaxStale", r.user())
		if r.fetches.Load() != fetched {
			t.Error("a closed verifier fetches")
		}
	})
}

func TestFaultsAreLogged(t *testing.T) {
	var out strings.Builder
	bubble(t, func(t *testing.T, r *rig) {
		token := r.user()
		r.accepts(token)
		r.breakKeys(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
		time.Sleep(7 * time.Minute)
		r.mend()
		time.Sleep(7 * time.Minute)
		r.v.Close() // nobody writes to the log after
		for _, want := range []string{"signing keys changed", "[k0]", "fetching signing keys failed", "status 500", "signing keys can be fetched again"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), token) {
			t.Error("the log has the token")
		}
	}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
}
