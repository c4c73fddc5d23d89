package identity

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// Verifier turns tokens into identities. It is safe for use by many goroutines.
type Verifier struct {
	cfg     Config
	issuers map[string]*trusted
	orgs    map[string]bool // org authorization servers beside trusted custom ones
	cache   *otter.Cache[string, remembered]
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	companions *otter.Cache[string, *idToken] // ID tokens, apart from access tokens
}

// trusted is an issuer with its keys.
type trusted struct {
	Issuer
	keys *keySource
}

// remembered is a token that has been verified once. What can change since is checked again on every use.
type remembered struct {
	claims    *Claims
	notBefore time.Time // latest of iat, nbf and auth_time
	from      *trusted
	key       *key
}

// NewVerifier checks the settings. It does not touch the network: an issuer's keys are fetched when its first token comes.
func NewVerifier(cfg Config) (*Verifier, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	v := &Verifier{cfg: cfg, issuers: make(map[string]*trusted), orgs: make(map[string]bool), cancel: cancel}
	f := newFetcher(cfg.HTTPClient)
	for _, is := range cfg.Issuers {
		is, err := is.withDefaults()
		if err == nil && v.issuers[is.URL] != nil {
			err = fmt.Errorf("configuring verifier: issuer %s is given twice", quoted(is.URL))
		}
		if err != nil {
			cancel()
			return nil, err
		}
		if org := orgURL(is.URL); org != "" {
			v.orgs[org] = true
		}
		v.issuers[is.URL] = &trusted{is, &keySource{
			issuer: is.URL, fixedURL: is.JWKSURL, fetch: f, clock: cfg.Clock, log: cfg.Logger,
			newKeys: cfg.NewKeys, maxStale: cfg.MaxStale, refresh: cfg.Refresh, cooldown: cfg.Cooldown, skew: cfg.Skew,
			life: life, wg: &v.wg,
		}}
	}
	v.cache, err = otter.New(&otter.Options[string, remembered]{
		MaximumSize: cfg.CacheSize,
		Clock:       cacheClock{cfg.Clock},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, remembered]) time.Duration {
			return e.Value.claims.Expires.Sub(cfg.Clock())
		}),
	})
	if err == nil {
		v.companions, err = otter.New(&otter.Options[string, *idToken]{
			MaximumSize: cfg.CacheSize,
			Clock:       cacheClock{cfg.Clock},
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *idToken]) time.Duration {
				return e.Value.expires.Sub(cfg.Clock())
			}),
		})
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("making token cache: %w", err)
	}
	return v, nil
}

// cacheClock lets the injected clock expire cached tokens. It has no ticks: expired entries leave when room is needed.
type cacheClock struct{ now func() time.Time }

func (c cacheClock) NowNano() int64                    { return c.now().UnixNano() }
func (cacheClock) Tick(time.Duration) <-chan time.Time { return nil }

// Verify turns a token into an identity. The error is always a *Error, and then the Identity is the zero one.
// ctx bounds only the wait for an issuer's keys, which happens on an issuer's first token, on a key id never seen before,
// and when keys have gone stale.
func (v *Verifier) Verify(ctx context.Context, t Unverified) (Identity, error) {
	raw := t.text()
	r, err := v.recall(raw)
	if v.cfg.Looked != nil {
		v.cfg.Looked(r.claims != nil || err != nil)
	}
	if err == nil && r.claims == nil {
		r, err = v.examine(ctx, raw)
		if err == nil {
			v.cache.Set(raw, r)
		}
	}
	if err == nil && v.cfg.Revoked != nil && v.cfg.Revoked(r.claims) {
		err = reject(CodeRevoked, "access has been revoked; log in again (run: bailiwick login) or ask an administrator")
	}
	if err != nil {
		return Identity{}, err
	}
	return Identity{claims: r.claims}, nil
}

// recall looks for the whole token in the cache and checks again what time and the issuer can change. Without an error and
// without claims, the token must be examined from the start.
func (v *Verifier) recall(raw string) (remembered, *Error) {
	if len(raw) > maxToken {
		return remembered{}, nil // examine says why
	}
	r, found := v.find(raw)
	if !found {
		return remembered{}, nil
	}
	now := v.cfg.Clock()
	if !now.Before(r.claims.Expires) {
		return remembered{}, expired(r.claims.Expires, now)
	}
	set := r.from.keys.fresh(now)
	if set == nil || set.byID[r.key.id] != r.key || r.notBefore.Sub(now) > v.cfg.Skew {
		v.cache.Invalidate(raw)
		return remembered{}, nil
	}
	return r, nil
}

// find looks the token up. One hit in eight tells the cache that the token is in use, which is enough for it to keep what is used often;
// telling it each time costs more than finding the token.
func (v *Verifier) find(raw string) (remembered, bool) {
	if rand.Uint32()%8 == 0 {
		return v.cache.GetIfPresent(raw)
	}
	entry, found := v.cache.GetEntryQuietly(raw)
	return entry.Value, found
}

// examine is the whole way: form, header, claims, settings, key, signature. All that can be refused without a key is refused
// before one is looked for, so that junk causes no fetch.
func (v *Verifier) examine(ctx context.Context, raw string) (remembered, *Error) {
	none := remembered{}
	parts, err := split(raw)
	if err != nil {
		return none, err
	}
	h, err := parseHeader(parts.header)
	if err != nil {
		return none, err
	}
	text, ok := decode(parts.payload)
	if !ok {
		return none, malformed("the token's payload is not strict base64url")
	}
	var room [32]member
	members, bad := parseObject(string(text), room[:0])
	if bad != nil {
		return none, malformed("the token's payload is malformed: " + bad.Error())
	}
	iss, err := issuerOf(members)
	if err != nil {
		return none, err
	}
	from := v.issuers[iss]
	switch {
	case from == nil && v.orgs[iss]:
		return none, reject(CodeTokenOpaque, "the token comes from the org authorization server "+quoted(iss)+": "+opaqueHelp)
	case from == nil:
		return none, reject(CodeIssuer, "issuer "+quoted(iss)+" is not trusted")
	case !slices.Contains(from.Algorithms, h.alg):
		return none, reject(CodeAlgorithm, "algorithm "+quoted(h.alg)+" is not accepted from this issuer")
	case !slices.ContainsFunc(from.TokenTypes, func(t string) bool { return folded(t) == folded(h.typ) }):
		return none, reject(CodeTokenType, "a token of type "+quoted(h.typ)+" is not an access token")
	case h.kid == "":
		return none, reject(CodeKeyUnknown, "the token names no key (kid)")
	}
	p, err := from.readPayload(members)
	if err != nil {
		return none, err
	}
	if err := from.judge(p, v.cfg.Clock(), v.cfg.Skew); err != nil {
		return none, err
	}
	k, err := from.keys.find(ctx, h.kid)
	if err != nil {
		from.keys.refused(h.kid, err.Code)
		return none, err
	}
	if err := verifySignature(k, h.alg, parts); err != nil {
		from.keys.refused(h.kid, err.Code)
		return none, err
	}
	if now := v.cfg.Clock(); !now.Before(p.claims.Expires) { // it may have run out while keys were waited for
		return none, expired(p.claims.Expires, now)
	}
	p.claims.KeyID = k.id
	return remembered{&p.claims, latest(p.claims.IssuedAt, p.notBefore, p.claims.AuthTime), from, k}, nil
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// IssuerStatus is how an issuer's keys stand.
type IssuerStatus struct {
	URL     string    `json:"url"`
	KeyIDs  []string  `json:"key_ids"`          // empty until the first good fetch
	Fetched time.Time `json:"fetched,omitzero"` // last good fetch
	Usable  bool      `json:"usable"`           // there are keys and they are not stale
	Error   string    `json:"error,omitempty"`  // of the last fetch, when that failed; for operators

	Expected []ExpectedKey `json:"expected,omitempty"` // those that Expect named, by id
}

// Status reports on every issuer, in the order of the settings.
func (v *Verifier) Status() []IssuerStatus {
	out := make([]IssuerStatus, 0, len(v.cfg.Issuers))
	for _, is := range v.cfg.Issuers {
		s := v.issuers[is.URL].keys
		st := IssuerStatus{URL: is.URL, Usable: s.fresh(v.cfg.Clock()) != nil, Expected: s.expectations()}
		if snap := s.current.Load(); snap != nil {
			st.KeyIDs, st.Fetched = snap.set.ids(), snap.fetched
		}
		s.mu.Lock()
		if s.lastErr != nil {
			st.Error = s.lastErr.Error()
		}
		s.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// Close stops fetching and waits until the last fetch has ended. Tokens whose keys are known are verified until the keys go stale.
func (v *Verifier) Close() error {
	v.cancel()
	for _, t := range v.issuers {
		// Whoever held the lock may just have launched a fetch; nobody launches one after.
		t.keys.mu.Lock()
		t.keys.mu.Unlock() //lint:ignore SA2001 taking the lock is the point: it waits for its holder
	}
	v.wg.Wait()
	v.cache.StopAllGoroutines()
	v.companions.StopAllGoroutines()
	return nil
}
