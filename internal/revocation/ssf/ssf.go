// Package ssf receives what an identity provider transmits: security event tokens (RFC 8417) of the Shared Signals Framework, pushed as RFC 8935
// says or polled as RFC 8936 does, and requests for global token revocation, which Okta calls Universal Logout.
//
// It owns how such a token is verified, whom it is about, and the answers that transmitters expect. It refuses to know what follows: it makes
// signals, and package revocation settles those like any others.
package ssf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// Where the identity provider reaches us, on the control plane.
const (
	EventsPath = "/v1/okta/ssf"
	LogoutPath = "/v1/okta/logout"
)

// Sink keeps signals until they are settled; revocation.Revoker is one. One whose id came before changes nothing.
type Sink interface {
	Accept(ctx context.Context, signals ...revocation.Signal) error
}

// People finds somebody by what transmitters may call them instead of their uid.
type People interface {
	// UID finds a login. found is false for whom nobody knows; an error means that it can't be said now.
	UID(ctx context.Context, login string) (uid string, found bool, err error)
}

// Config says what is received. Transmitter, Sink and People are required.
type Config struct {
	Transmitter string   // issuer of the tokens, such as https://acme.okta.com
	Issuers     []string // besides: what iss_sub subjects may name as the issuer of a person, such as the authorization servers
	Sink        Sink
	People      People

	Audience  string // that security event tokens must be for; empty: none are taken
	Secret    string // that deliveries carry in the Authorization header besides, as told when the stream was made; empty: none is asked for
	Logout    string // this endpoint's own URL, which requests to log out must be for; empty: none are taken
	LogoutApp string // client id of ours at the org: the subject of those requests

	Algorithms []string      // default RS256
	MaxAge     time.Duration // of a security event token; default 7 days: transmitters keep what they could not deliver, and ids are remembered for 30
	Wait       time.Duration // how long finding a login may take; default 2 s

	HTTPClient *http.Client     // for discovery and keys; default one with limits
	Clock      func() time.Time // default time.Now
	Logger     *slog.Logger     // default discards
}

// Receiver takes them. It is safe for concurrent use.
type Receiver struct {
	cfg Config

	mu     sync.Mutex // covers the rest
	keys   *identity.Verifier
	status Status
	begun  time.Time // of the last attempt to discover
	broken error     // its failure
}

// Status is how receiving is doing.
type Status struct {
	Received time.Time `json:"received,omitzero"` // when the last good token came
	Verified time.Time `json:"verified,omitzero"` // when the last verification event came
	State    string    `json:"state,omitempty"`   // what it carried
	Stream   string    `json:"stream,omitempty"`  // what the transmitter last said of the stream: enabled, paused, disabled
	Taken    int64     `json:"taken"`             // good tokens since the start
	Refused  int64     `json:"refused"`           // bad ones
	Problem  string    `json:"problem,omitempty"` // of the last bad one, or of polling
}

// New checks the settings. The transmitter is asked for its keys when its first token comes.
func New(cfg Config) (*Receiver, error) {
	u, err := url.Parse(cfg.Transmitter)
	switch {
	case cfg.Transmitter == "" || cfg.Sink == nil || cfg.People == nil:
		return nil, errors.New("receiving signals: set Transmitter, Sink and People")
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("receiving signals: %q is no issuer", cfg.Transmitter)
	case cfg.Logout != "" && cfg.LogoutApp == "":
		return nil, errors.New("receiving signals: set LogoutApp, whose id is the subject of requests to log out")
	case cfg.Secret != "" && len(cfg.Secret) < 20:
		return nil, errors.New("receiving signals: the deliveries' secret has fewer than 20 characters")
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []string{"RS256"}
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 7 * 24 * time.Hour
	}
	if cfg.Wait == 0 {
		cfg.Wait = 2 * time.Second
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: 5 * time.Second}
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Receiver{cfg: cfg}, nil
}

// Close ends the fetching of keys.
func (r *Receiver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		return nil
	}
	return r.keys.Close()
}

// Status reads it.
func (r *Receiver) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// rediscover is the least time between two attempts to find the transmitter's keys.
const rediscover = time.Second

// verifier finds out where the transmitter's keys are (SSF 1.0 section 7.1), once.
func (r *Receiver) verifier(ctx context.Context) (*identity.Verifier, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys != nil {
		return r.keys, nil
	}
	now := r.cfg.Clock()
	if r.broken != nil && now.Sub(r.begun).Abs() < rediscover {
		return nil, r.broken
	}
	r.begun = now
	at, err := r.discover(ctx)
	if err == nil {
		r.keys, err = identity.NewVerifier(identity.Config{
			Issuers:    []identity.Issuer{{URL: r.cfg.Transmitter, JWKSURL: at, Audiences: []string{r.cfg.Transmitter}, Algorithms: r.cfg.Algorithms}},
			HTTPClient: r.cfg.HTTPClient, Clock: r.cfg.Clock, Logger: r.cfg.Logger, Cooldown: rediscover,
		})
	}
	r.broken = err
	return r.keys, err
}

// discover reads the transmitter's metadata. Its keys must be on its own host.
func (r *Receiver) discover(ctx context.Context) (jwks string, err error) {
	home, err := url.Parse(r.cfg.Transmitter)
	if err != nil {
		return "", err
	}
	where := home.Scheme + "://" + home.Host + "/.well-known/ssf-configuration" + strings.TrimSuffix(home.Path, "/")
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return "", err
	}
	client := *r.cfg.HTTPClient
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("discovering the transmitter: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("discovering the transmitter: %w", err)
	}
	var meta struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if res.StatusCode != http.StatusOK || json.Unmarshal(raw, &meta) != nil {
		return "", fmt.Errorf("discovering the transmitter: %s answers HTTP %d, or no metadata", where, res.StatusCode)
	}
	at, err := url.Parse(meta.Keys)
	if err != nil || meta.Issuer != r.cfg.Transmitter || at.Scheme != home.Scheme || at.Host != home.Host || at.User != nil {
		return "", fmt.Errorf("discovering the transmitter: %s is of issuer %s, with keys at %s", where, printed(meta.Issuer), printed(meta.Keys))
	}
	return meta.Keys, nil
}

// errNobody means that a subject is nobody here, errSubject that it is of a form that is not understood.
var (
	errNobody  = errors.New("nobody here is called so")
	errSubject = errors.New("the subject is not understood: iss_sub, email, and a complex one of a user and a session are")
)

// person finds whom a subject means. session is set where it is about one alone.
func (r *Receiver) person(ctx context.Context, s *subject) (uid, login, session string, err error) {
	if s == nil {
		return "", "", "", errSubject
	}
	if s.format() == "complex" || s.User != nil {
		if s.Session != nil {
			if session = s.Session.ID; session == "" {
				session = s.Session.Subject
			}
			if session == "" {
				return "", "", "", errSubject
			}
		}
		if s.User == nil || s.User.User != nil || s.User.format() == "complex" {
			return "", "", "", errSubject
		}
		uid, login, _, err = r.person(ctx, s.User)
		return uid, login, session, err
	}
	switch s.format() {
	case "iss_sub":
		if s.Subject == "" {
			return "", "", "", errSubject
		}
		for _, issuer := range append([]string{r.cfg.Transmitter}, r.cfg.Issuers...) {
			if s.Issuer == issuer {
				return s.Subject, "", "", nil
			}
		}
		return "", "", "", errNobody
	case "email":
		if s.Email == "" || len(s.Email) > 320 {
			return "", "", "", errSubject
		}
		ctx, cancel := context.WithTimeout(ctx, r.cfg.Wait)
		defer cancel()
		uid, found, err := r.cfg.People.UID(ctx, s.Email)
		if err == nil && !found {
			err = errNobody
		}
		return uid, s.Email, "", err
	}
	return "", "", "", errSubject
}
