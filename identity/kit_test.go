package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// org is an issuer whose key set and faults a test chooses.
type org struct {
	http.Handler
	URL       string
	issuer    string
	client    *http.Client // reaches it
	keyset    atomic.Pointer[string]
	fault     atomic.Pointer[http.HandlerFunc] // answers in place of the key set
	discovery atomic.Pointer[http.HandlerFunc] // answers in place of the discovery document
	fetches   atomic.Int64                     // of the key set
	lookups   atomic.Int64                     // of the discovery document
	moves     atomic.Int64                     // of the key set at another path
}

func buildOrg() *org {
	o := &org{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth2/default/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		o.lookups.Add(1)
		if h := o.discovery.Load(); h != nil {
			(*h)(w, r)
			return
		}
		writeJSON(w, string(must(json.Marshal(object{"issuer": o.issuer, "jwks_uri": o.issuer + "/v1/keys", "scopes_supported": []string{"openid"}}))))
	})
	mux.HandleFunc("GET /oauth2/default/v1/keys", func(w http.ResponseWriter, r *http.Request) {
		o.fetches.Add(1)
		if h := o.fault.Load(); h != nil {
			(*h)(w, r)
			return
		}
		writeJSON(w, *o.keyset.Load())
	})
	mux.HandleFunc("GET /oauth2/default/v2/keys", func(w http.ResponseWriter, r *http.Request) {
		o.moves.Add(1)
		writeJSON(w, *o.keyset.Load())
	})
	o.Handler = mux
	o.publish(jwk("k0", rsaKeys[0]().Public()))
	return o
}

// newOrg serves over real HTTP.
func newOrg(t testing.TB) *org {
	o := buildOrg()
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	o.URL, o.issuer, o.client = srv.URL, srv.URL+"/oauth2/default", srv.Client()
	return o
}

// newBubbleOrg answers in memory, for tests inside a synctest bubble, where sockets would stop time.
func newBubbleOrg() *org {
	o := buildOrg()
	o.URL = "https://acme.okta.example"
	o.issuer = o.URL + "/oauth2/default"
	o.client = &http.Client{Transport: inMemory{o}}
	return o
}

type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func writeJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, body)
}

func (o *org) publish(keys ...object) { o.keyset.Store(new(jwks(keys...))) }

func (o *org) breakKeys(h http.HandlerFunc) { o.fault.Store(&h) }

func (o *org) breakDiscovery(h http.HandlerFunc) { o.discovery.Store(&h) }

func (o *org) mend() { o.fault.Store(nil); o.discovery.Store(nil) }

func (o *org) settings() Issuer { return Issuer{URL: o.issuer, Audiences: []string{"api://temporal"}} }

// userClaims is an Okta custom-authorization-server access token for a person.
func (o *org) userClaims(now time.Time) object {
	return object{
		"ver": 1, "jti": "AT.abc", "iss": o.issuer, "aud": "api://temporal", "sub": "alice@acme.example",
		"iat": now.Unix() - 10, "exp": now.Unix() + 3600, "cid": "0oacli", "uid": "00ualice",
		"scp": []string{"openid", "temporal"}, "auth_time": now.Unix() - 100, "groups": []string{"Everyone", "temporal:payments:write"},
	}
}

// clientClaims is one for a service.
func (o *org) clientClaims(now time.Time) object {
	return object{
		"ver": 1, "jti": "AT.def", "iss": o.issuer, "aud": "api://temporal", "sub": "0oaworker",
		"iat": now.Unix() - 10, "exp": now.Unix() + 3600, "cid": "0oaworker", "scp": []string{"temporal.worker"},
	}
}

// rig is an issuer, a verifier of it and a clock that a test moves.
type rig struct {
	t testing.TB
	*org
	v      *Verifier
	moved  atomic.Int64 // nanoseconds by which the clock was moved
	origin func() time.Time
}

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// newRig uses real HTTP and a clock that stands still until it is moved.
func newRig(t testing.TB, change ...func(*Config)) *rig {
	return (&rig{t: t, org: newOrg(t), origin: func() time.Time { return epoch }}).start(change)
}

// newBubbleRig is for synctest bubbles: requests in memory, the bubble's clock.
func newBubbleRig(t testing.TB, change ...func(*Config)) *rig {
	return (&rig{t: t, org: newBubbleOrg(), origin: time.Now}).start(change)
}

func (r *rig) start(change []func(*Config)) *rig {
	cfg := Config{Issuers: []Issuer{r.settings()}, HTTPClient: r.org.client, Clock: r.clock}
	for _, c := range change {
		c(&cfg)
	}
	r.v = must(NewVerifier(cfg))
	r.t.Cleanup(func() { r.v.Close() })
	return r
}

func (r *rig) clock() time.Time { return r.origin().Add(time.Duration(r.moved.Load())) }

func (r *rig) advance(d time.Duration) { r.moved.Add(int64(d)) }

// user is a good token of a person with claims changed pairwise; nil removes.
func (r *rig) user(kv ...any) string {
	return sign(rs256, with(r.userClaims(r.clock()), kv...), rsaKeys[0]())
}

func (r *rig) client(kv ...any) string {
	return sign(rs256, with(r.clientClaims(r.clock()), kv...), rsaKeys[0]())
}

// userText is a good user token whose claims' JSON was edited.
func (r *rig) userText(edit func(string) string) string {
	return sign(rs256, edit(string(must(json.Marshal(r.userClaims(r.clock()))))), rsaKeys[0]())
}

func (r *rig) verify(raw string) (*Claims, *Error) {
	r.t.Helper()
	id, err := r.v.Verify(context.Background(), ParseUnverified(raw))
	if err == nil {
		if !id.Valid() {
			r.t.Fatal("verified but not valid")
		}
		return id.Claims(), nil
	}
	var e *Error
	if !errors.As(err, &e) {
		r.t.Fatalf("error is a %T, not *Error", err)
	}
	if id.Valid() || id.Claims() != nil {
		r.t.Fatal("refused, yet there is an identity")
	}
	if e.Detail == "" || raw != "" && strings.Contains(e.Error(), raw) {
		r.t.Fatalf("error without detail, or with the token in it: %q", e.Error())
	}
	return nil, e
}

func (r *rig) accepts(raw string) *Claims {
	r.t.Helper()
	c, err := r.verify(raw)
	if err != nil {
		r.t.Fatalf("refused: %v", err)
	}
	return c
}

// refuses wants a code, twice: a refusal must not be forgotten by the cache.
func (r *rig) refuses(code Code, what, raw string) *Error {
	r.t.Helper()
	var e *Error
	for range 2 {
		var c *Claims
		if c, e = r.verify(raw); e == nil {
			r.t.Errorf("%s: accepted as %s", what, c.Principal())
			return &Error{}
		}
		if e.Code != code {
			r.t.Errorf("%s: %v, want code %s", what, e, code)
		}
	}
	return e
}
