// Package devorg is an Okta-compatible development org that runs inside one process: OpenID Connect, OAuth 2.0 and the
// part of the management API that Bailiwick uses, in Okta's documented shapes, with its data in one SQLite file.
//
// It owns people, groups, apps, their credentials, sessions, tokens and signing keys. It refuses to know anything of
// Bailiwick: it imports none of its packages, so that passing against it means something. It is for development and
// tests only: passwords are hashed cheaply, client secrets and private keys lie in the file as they are.
//
// A request's way: routes.go (the table) → the handler named there → store.
package devorg

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// Config is the settings of a development org.
type Config struct {
	DB      string           // SQLite file; created with mode 0600 if absent
	BaseURL string           // where the org is reached, without a trailing slash; https, or http on loopback
	Clock   func() time.Time // default time.Now
	Logger  *slog.Logger     // default: discards
	Seed    *Seed            // default Acme()

	// RateLimits is how many requests a minute each endpoint family takes; see routes.go for the families.
	// A family that is absent gets DefaultRateLimit.
	RateLimits map[string]int

	// DeviceInterval is how long devices are told to wait between polls, whole seconds. Default 5s, as at Okta.
	DeviceInterval time.Duration

	// newKey makes signing keys; tests replace it to save time. Default: a fresh 2048-bit RSA key.
	newKey func() (*rsa.PrivateKey, error)
}

// DefaultRateLimit is the number of requests a minute for a family that Config does not name.
const DefaultRateLimit = 20000

// Org is a running development org. It is safe for concurrent use.
type Org struct {
	base   *url.URL
	seed   Seed
	store  *store.Store
	log    *slog.Logger
	clock  func() time.Time
	newKey func() (*rsa.PrivateKey, error)
	limits *limiter

	deviceInterval time.Duration
	pages          map[string]*template.Template

	csrfKey []byte // from the database, so that a login page survives a restart

	faults *faults
	hooks  *deliverer
	teller *teller // Shared Signals and Universal Logout

	parsed sync.Map // kid → *rsa.PrivateKey; a kid's key never changes
}

// Open opens the org's database, plants the seed in it if it is new, and refreshes what the seed configures (apps).
func Open(ctx context.Context, cfg Config) (*Org, error) {
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	o := &Org{base: base, log: cfg.Logger, clock: cfg.Clock, newKey: cfg.newKey}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if o.clock == nil {
		o.clock = time.Now
	}
	if o.newKey == nil {
		o.newKey = generateKey
	}
	o.deviceInterval = cfg.DeviceInterval
	if o.deviceInterval == 0 {
		o.deviceInterval = 5 * time.Second
	}
	if o.pages, err = templates(); err != nil {
		return nil, fmt.Errorf("reading the development org's pages: %w", err)
	}
	if cfg.Seed != nil {
		o.seed = *cfg.Seed
	} else {
		o.seed = *Acme()
	}
	if err := o.seed.check(); err != nil {
		return nil, fmt.Errorf("reading the development org's seed: %w", err)
	}
	o.limits = newLimiter(cfg.RateLimits)
	o.faults = &faults{}

	if o.store, err = store.Open(ctx, cfg.DB); err != nil {
		return nil, err
	}
	if err := o.plant(ctx); err != nil {
		o.store.Close()
		return nil, fmt.Errorf("seeding the development org: %w", err)
	}
	o.hooks = startDeliverer(o)
	o.teller = startTeller(o)
	return o, nil
}

func parseBase(raw string) (*url.URL, error) {
	const fix = "set Config.BaseURL to something like http://127.0.0.1:9080"
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the development org's base URL: %w; %s", err, fix)
	}
	switch {
	case raw == "" || u.Host == "":
		return nil, errors.New("reading the development org's base URL: it is empty or has no host; " + fix)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("reading the development org's base URL: %q is more than scheme, host and port; %s", raw, fix)
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	default:
		return nil, fmt.Errorf("reading the development org's base URL: %q is neither https nor http on a loopback address; %s", raw, fix)
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Close ends the delivery of events and closes the database. The handler must no longer be in use.
func (o *Org) Close() error {
	o.hooks.stop()
	o.teller.stop()
	return o.store.Close()
}

// Handler serves the org.
func (o *Org) Handler() http.Handler { return o.mount() }

// Issuer is the `iss` of the authorization server with the given id.
func (o *Org) Issuer(id string) string { return o.base.String() + "/oauth2/" + id }

// now is the org's time, to the millisecond as Okta's timestamps are.
func (o *Org) now() time.Time { return o.clock().UTC().Truncate(time.Millisecond) }

// update runs fn in a write transaction. A refusal is an answer, not a failure: what fn wrote before refusing (a killed
// token family, a logged failed login) is kept. Any other error rolls everything back.
func (o *Org) update(ctx context.Context, fn func(*store.Tx) error) error {
	var refused refusal
	err := o.store.Update(ctx, func(tx *store.Tx) error {
		err := fn(tx)
		if errors.As(err, &refused) {
			return nil
		}
		return err
	})
	if err == nil {
		o.hooks.wake()
		o.teller.wake()
	}
	if err == nil && refused != nil {
		return refused
	}
	return err
}

// view runs fn over a snapshot.
func (o *Org) view(ctx context.Context, fn func(*store.Tx) error) error {
	return o.store.View(ctx, fn)
}
