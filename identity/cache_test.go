package identity

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestThreat23CachedTokenAfterExpiry(t *testing.T) {
	r := newRig(t)
	token := r.user("exp", epoch.Unix()+30)
	first := r.accepts(token)
	r.advance(30*time.Second - 1)
	if again := r.accepts(token); again != first {
		t.Error("the second call did not come from the cache: this test would test nothing")
	}
	r.advance(1)
	r.refuses(CodeExpired, "at exp", token)
	r.advance(-time.Second) // and it is not forgotten for good when the clock is set right
	r.accepts(token)
}

func TestThreat23CachedTokenAfterKeyRemoval(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		token := r.user()
		if a, b := r.accepts(token), r.accepts(token); a != b {
			t.Fatal("not cached")
		}
		r.publish(jwk("k1", rsaKeys[1]().Public()))
		time.Sleep(6 * time.Minute) // one refresh
		r.refuses(CodeKeyUnknown, "key removed", token)
		r.publish(jwk("k0", rsaKeys[1]().Public())) // the key id comes back with another key
		time.Sleep(6 * time.Minute)
		r.refuses(CodeSignature, "key replaced under its id", token)
		r.publish(jwk("k0", rsaKeys[0]().Public()))
		time.Sleep(6 * time.Minute)
		r.accepts(token)
	})
}

func TestThreat23CachedTokenSurvivesRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		token := r.user()
		first := r.accepts(token)
		time.Sleep(20 * time.Minute)
		if r.fetches.Load() < 4 {
			t.Fatalf("%d fetches", r.fetches.Load())
		}
		if r.accepts(token) != first {
			t.Error("a refresh without a change threw the cached token away")
		}
	})
}

func TestThreat23CachedTokenWhenClockGoesBack(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Skew = 5 * time.Minute })
	r.accepts(r.user()) // the keys are from before all that follows: their age stays known
	r.advance(10 * time.Minute)
	token := r.user("nbf", r.clock().Unix())
	first := r.accepts(token)
	r.advance(-5 * time.Minute)
	if r.accepts(token) != first {
		t.Error("within skew, yet not from the cache")
	}
	r.advance(-time.Second)
	r.refuses(CodeNotYetValid, "before nbf", token)
}

// Tokens that differ in one byte anywhere are different tokens: nothing is looked up by a digest or a prefix.
func TestThreat23CacheKeyIsTheWholeToken(t *testing.T) {
	r := newRig(t)
	token := r.user()
	r.accepts(token)
	for i := 0; i < len(token); i += 7 {
		c := byte('A')
		if token[i] == c {
			c = 'B'
		}
		if got, err := r.verify(token[:i] + string(c) + token[i+1:]); err == nil {
			t.Errorf("byte %d changed: accepted as %s", i, got.Principal())
		}
	}
	a, b := r.accepts(r.user("jti", "AT.1")), r.accepts(r.user("jti", "AT.2"))
	if a == b || a.TokenID == b.TokenID {
		t.Error("two tokens share an entry")
	}
	r.refuses(CodeTokenMalformed, "prefix", token[:len(token)-1])
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	r := newRig(t)
	token := r.user("nbf", epoch.Unix()+90)
	r.refuses(CodeNotYetValid, "too early", token)
	r.advance(30 * time.Second)
	r.accepts(token)
}

func TestCacheIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.CacheSize = 50 })
	for i := range 300 {
		r.accepts(r.user("jti", strings.Repeat("x", 1+i%200), "n", i))
	}
	r.v.cache.CleanUp()
	if n := r.v.cache.EstimatedSize(); n > 50 || n == 0 {
		t.Errorf("%d tokens remembered, want at most 50", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	r := newRig(t, func(c *Config) { c.CacheSize = 8; c.Refresh = time.Millisecond; c.Cooldown = time.Millisecond })
	tokens := make([]string, 16)
	for i := range tokens {
		tokens[i] = r.user("n", i)
	}
	strange := sign(object{"alg": "RS256", "kid": "k7"}, r.userClaims(epoch), rsaKeys[0]())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				r.accepts(tokens[(i+g)%len(tokens)])
				if i%50 == g {
					r.publish(jwk("k0", rsaKeys[0]().Public()), jwk("k1", rsaKeys[g%2]().Public()))
					r.verify(strange)
					r.v.Status()
				}
			}
		})
	}
	wg.Wait()
}

func TestHitsAllocateNothing(t *testing.T) {
	r := newRig(t)
	token := ParseUnverified(r.user())
	ctx := t.Context()
	r.v.Verify(ctx, token)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := r.v.Verify(ctx, token); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations for each hit", n)
	}
}

func TestConfig(t *testing.T) {
	issuer := Issuer{URL: "https://acme.okta.com/oauth2/default", Audiences: []string{"api://temporal"}}
	edit := func(f func(*Issuer)) Config { is := issuer; f(&is); return Config{Issuers: []Issuer{is}} }
	for what, c := range map[string]struct {
		cfg  Config
		hint string
	}{
		"no issuer":         {Config{}, "no issuer"},
		"issuer twice":      {Config{Issuers: []Issuer{issuer, issuer}}, "twice"},
		"no URL":            {edit(func(is *Issuer) { is.URL = "" }), "absolute URL"},
		"plain http":        {edit(func(is *Issuer) { is.URL = "http://acme.okta.com" }), "use https"},
		"http look-alike":   {edit(func(is *Issuer) { is.URL = "http://127.0.0.1.evil.example" }), "use https"},
		"http any address":  {edit(func(is *Issuer) { is.URL = "http://0.0.0.0" }), "use https"},
		"ftp":               {edit(func(is *Issuer) { is.URL = "ftp://acme.okta.com" }), "https"},
		"user in URL":       {edit(func(is *Issuer) { is.URL = "https://u@acme.okta.com" }), "user"},
		"query":             {edit(func(is *Issuer) { is.URL = "https://acme.okta.com?x" }), "query"},
		"fragment":          {edit(func(is *Issuer) { is.URL = "https://acme.okta.com#" }), "fragment"},
		"JWKS by http":      {edit(func(is *Issuer) { is.JWKSURL = "http://acme.okta.com/keys" }), "use https"},
		"no audience":       {edit(func(is *Issuer) { is.Audiences = nil }), "no audience"},
		"empty audience":    {edit(func(is *Issuer) { is.Audiences = []string{"a", ""} }), "empty one"},
		"HS256":             {edit(func(is *Issuer) { is.Algorithms = []string{"RS256", "HS256"} }), "HS256"},
		"none":              {edit(func(is *Issuer) { is.Algorithms = []string{"none"} }), "none"},
		"groups from sub":   {edit(func(is *Issuer) { is.GroupsClaims = []string{"sub"} }), "groups claim"},
		"negative lifetime": {edit(func(is *Issuer) { is.MaxLifetime = -1 }), "MaxLifetime"},
		"negative skew":     {Config{Issuers: []Issuer{issuer}, Skew: -1}, "negative"},
		"stale too early":   {Config{Issuers: []Issuer{issuer}, MaxStale: time.Minute}, "MaxStale"},
	} {
		v, err := NewVerifier(c.cfg)
		if err == nil {
			v.Close()
			t.Errorf("%s: accepted", what)
		} else if !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: %v does not speak of %q", what, err, c.hint)
		}
	}
	for _, ok := range []string{"https://acme.okta.com/oauth2/default", "https://x.auth0.com/", "http://127.0.0.1:9080/oauth2/default", "http://localhost:1", "http://[::1]:2"} {
		v, err := NewVerifier(edit(func(is *Issuer) { is.URL = ok }))
		if err != nil {
			t.Errorf("%s: %v", ok, err)
			continue
		}
		v.Close()
	}
	v := must(NewVerifier(Config{Issuers: []Issuer{issuer}, HTTPClient: &http.Client{Transport: noNetwork{t}}}))
	if st := v.Status(); len(st) != 1 || st[0].Usable || st[0].URL != issuer.URL {
		t.Errorf("status %+v", st)
	}
	v.Close()
}

type noNetwork struct{ t *testing.T }

func (n noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	n.t.Error("NewVerifier touched the network")
	return nil, http.ErrServerClosed
}
