// Package control is the control plane's core: a third mounting of the gate, over HTTP.
//
// It owns how a request to the control plane is authenticated, decided and recorded (by the gate, like any Temporal call), the form in which
// refusals are told, and its own journal. It refuses to know what is asked for: access requests, feeds, exchanges and the log bring handlers of
// their own.
package control

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/gatehouse"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Config says what a control plane is made of. The first six fields are required.
type Config struct {
	Name           string // its gate's name, as audit entries and attestations have it, such as "dev-control"
	Audience       string // the environment that attestations are for
	Issuers        []identity.Issuer
	PolicyDir      string // roles.yaml and *.cedar; watched
	JournalDir     string // its own audit journal; locked by this process
	AttestationKey string // PEM file with its own signing key, or a directory of keys that rotate; created if absent

	Protect    func(gate.Recorder) gate.Recorder // stands between the gate and its journal, to encrypt personal data; default none
	Configure  func(*gate.Config)                // may add what a gate can have besides, such as standings; default none
	HTTPClient *http.Client                      // for issuers; default as identity.Config's
	Clock      func() time.Time                  // default time.Now
	Logger     *slog.Logger                      // default discards
}

// Plane is a running control plane. Its parts are safe for concurrent use.
type Plane struct {
	*gatehouse.House
	mux *http.ServeMux
}

// Open makes the parts and starts watching the policies. It needs no network.
func Open(ctx context.Context, cfg Config) (*Plane, error) {
	house, err := gatehouse.Open(ctx, gatehouse.Config{
		Name: cfg.Name, Audience: cfg.Audience, Issuers: cfg.Issuers, JournalDir: cfg.JournalDir, AttestationKey: cfg.AttestationKey,
		Policies: func(h gatehouse.Hooks) (*policy.Engine, error) {
			return policy.Open(cfg.PolicyDir, policy.Options{Logger: cfg.Logger, Before: h.Before, OnChange: h.Changed})
		},
		Protect: cfg.Protect, Configure: func(_ context.Context, g *gate.Config) error {
			if cfg.Configure != nil {
				cfg.Configure(g)
			}
			return nil
		},
		HTTPClient: cfg.HTTPClient, Clock: cfg.Clock, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the control plane: %w", err)
	}
	return &Plane{house, http.NewServeMux()}, nil
}
