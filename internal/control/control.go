// Package control is the control plane's core: a third mounting of the gate, over HTTP.
//
// It owns how a request to the control plane is authenticated, decided and recorded (by the gate, like any Temporal call), the form in which
// refusals are told, and its own journal. It refuses to know what is asked for: access requests, feeds, exchanges and the log bring handlers of
// their own.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
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
	cfg      Config
	verifier *identity.Verifier
	policy   *policy.Engine
	journal  *audit.Journal
	record   gate.Recorder // the journal, behind cfg.Protect
	signer   *attest.Signer
	gate     *gate.Gate
	mux      *http.ServeMux

	stop     context.CancelFunc // ends the policy watcher
	watching sync.WaitGroup
}

// Open makes the parts and starts watching the policies. It needs no network.
func Open(ctx context.Context, cfg Config) (*Plane, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Plane{cfg: cfg, mux: http.NewServeMux()}
	opened := false
	defer func() {
		if !opened {
			_ = p.release() // the reason why it did not open is what counts
		}
	}()
	wrap := func(err error) error { return fmt.Errorf("opening the control plane: %w", err) }
	var err error
	if p.verifier, err = identity.NewVerifier(identity.Config{Issuers: cfg.Issuers, HTTPClient: cfg.HTTPClient, Clock: cfg.Clock, Logger: cfg.Logger, NewKeys: p.recordIssuerKeys}); err != nil {
		return nil, wrap(err)
	}
	if p.journal, err = audit.OpenJournal(audit.JournalConfig{Dir: cfg.JournalDir, Logger: cfg.Logger}); err != nil {
		return nil, wrap(err)
	}
	if p.record = p.journal; cfg.Protect != nil {
		p.record = cfg.Protect(p.journal)
	}
	if p.policy, err = policy.Open(cfg.PolicyDir, policy.Options{Logger: cfg.Logger, Before: p.policyComing}); err != nil {
		return nil, wrap(err)
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	keys, err := attest.OpenKeys(attest.KeysConfig{Path: cfg.AttestationKey, Clock: cfg.Clock, Logger: cfg.Logger, OnEvent: func(e attest.KeyEvent) {
		if _, err := p.Record(watch, audit.Entry{Kind: audit.KindKey, Detail: e.Detail()}); err != nil {
			cfg.Logger.ErrorContext(watch, "an attestation key could not be archived in the log", "kid", e.Key.ID, "error", err)
		}
	}})
	if err != nil {
		return nil, wrap(err)
	}
	p.signer = keys.Signer()
	g := gate.Config{Name: cfg.Name, Audience: cfg.Audience, Verifier: p.verifier, Policy: p.policy, Log: p.record, Signer: p.signer, Clock: cfg.Clock, Logger: cfg.Logger}
	if cfg.Configure != nil {
		cfg.Configure(&g)
	}
	if p.gate, err = gate.New(g); err != nil {
		return nil, wrap(err)
	}
	if _, err := p.Record(ctx, audit.Entry{Kind: audit.KindGate, Detail: map[string]string{
		"event": "started", "policy_digest": p.policy.Status().Digest, "attestation_key": p.signer.KeyID(),
	}}); err != nil {
		return nil, wrap(err)
	}
	p.watching.Go(func() { p.policy.Watch(watch) })
	p.watching.Go(func() { keys.Watch(watch) })
	opened = true
	return p, nil
}

// recordPolicyWithin bounds how long a policy set waits for its entry.
const recordPolicyWithin = 10 * time.Second

// policyComing makes it durable that a policy set is coming into force. One that can't be recorded does not.
func (p *Plane) policyComing(next policy.Status) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordPolicyWithin)
	defer cancel()
	_, err := p.Record(ctx, audit.Entry{Kind: audit.KindPolicy, Detail: next.Detail()})
	return err
}

// Gate is the plane's gate.
func (p *Plane) Gate() *gate.Gate { return p.gate }

// Policy is the policy set that the plane decides by.
func (p *Plane) Policy() *policy.Engine { return p.policy }

// Verifier verifies access tokens of the plane's issuers.
func (p *Plane) Verifier() *identity.Verifier { return p.verifier }

// Signer signs what the plane attests.
func (p *Plane) Signer() *attest.Signer { return p.signer }

// Record makes an entry durable and returns its id. Version, ID, Time, Gate and an absent actor are filled in.
func (p *Plane) Record(ctx context.Context, e audit.Entry) (string, error) {
	e.Version, e.Gate = audit.EntryVersion, p.cfg.Name
	if e.ID == "" {
		e.ID = uuid.Must(uuid.NewV7()).String()
	}
	if e.Time.IsZero() {
		e.Time = p.cfg.Clock().UTC()
	}
	if e.Actor.Principal == "" {
		e.Actor = audit.Party{Principal: "gate:" + p.cfg.Name}
	}
	if _, err := p.record.Append(ctx, e); err != nil {
		return "", fmt.Errorf("recording %s: %w", e.Kind, err)
	}
	return e.ID, nil
}

// recordIssuerKeys puts an issuer's new signing keys on record, ahead of the decisions about tokens that they signed.
func (p *Plane) recordIssuerKeys(issuer string, keys []identity.PublicKey) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, k := range keys {
		if _, err := p.Record(ctx, audit.Entry{Kind: audit.KindKey, Detail: audit.IssuerKeyDetail(issuer, k.ID, k.JWK)}); err != nil {
			p.cfg.Logger.ErrorContext(ctx, "an issuer's key could not be archived in the log", "issuer", issuer, "kid", k.ID, "error", err)
		}
	}
}

// Close records the end and releases everything. Whoever serves the plane must have stopped.
func (p *Plane) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := p.Record(ctx, audit.Entry{Kind: audit.KindGate, Detail: map[string]string{"event": "stopped"}})
	return errors.Join(err, p.release())
}

func (p *Plane) release() error {
	if p.stop != nil {
		p.stop()
		p.watching.Wait()
	}
	var errs []error
	if p.journal != nil {
		errs = append(errs, p.journal.Close())
	}
	if p.verifier != nil {
		errs = append(errs, p.verifier.Close())
	}
	return errors.Join(errs...)
}
