// Package gatehouse makes a gate with everything it needs: issuers' keys, policies, journal, attestation keys.
//
// It owns how those are joined, what of their own lives is put on record and when (before it counts, wherever that is possible), and the order in
// which they end. Every mounting of the gate is made of one, so that none records less than another. It refuses to know how calls arrive and who
// mounts it.
package gatehouse

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
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Config says what a house is made of. The fields up to AttestationKey are required.
type Config struct {
	Name           string // this gate, as audit entries and attestations name it
	Audience       string // the environment that attestations are for
	Issuers        []identity.Issuer
	Policies       func(Hooks) (*policy.Engine, error) // opens the policies with these hooks
	JournalDir     string                              // audit journal; locked by this process
	AttestationKey string                              // PEM file with the signing key, or a directory of keys that rotate (attest.KeysConfig.Path); created if absent

	Protect       func(gate.Recorder) gate.Recorder         // stands between the gate and its journal, to encrypt personal data; default none
	Configure     func(context.Context, *gate.Config) error // adds what a gate can have besides, such as standings; its context ends with the house; default none
	Looked        func(cached bool)                         // told of each token looked up (identity.Config.Looked); default none
	PolicyRefused func()                                    // told of each policy set that was refused; default none
	HTTPClient    *http.Client                              // for issuers; default as identity.Config's
	Clock         func() time.Time                          // default time.Now
	Logger        *slog.Logger                              // default discards
}

// House is a gate with everything it needs. Its parts are safe for concurrent use.
type House struct {
	cfg       Config
	verifier  *identity.Verifier
	policy    *policy.Engine
	journal   *audit.Journal
	record    gate.Recorder // the journal, behind cfg.Protect
	blobs     string        // directory of texts that entries name by digest
	keys      *attest.Keys
	gate      *gate.Gate
	announced string // digest of a policy set that is on record and about to be in force; touched by the policy engine's reloads only, one at a time

	stop     context.CancelFunc // ends the watchers of policies and keys
	watching sync.WaitGroup
}

// Open makes the parts and starts watching policies and keys. It needs no network: issuers are asked when the first token comes.
func Open(ctx context.Context, cfg Config) (*House, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Issuers) == 0 {
		return nil, errors.New("no issuer is configured, so nobody could ever be let in")
	}
	h := &House{cfg: cfg}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	if err := h.open(ctx, watch); err != nil {
		_ = h.release() // the reason why it did not open is what counts
		return nil, err
	}
	h.watching.Go(func() { h.policy.Watch(watch) })
	h.watching.Go(func() { h.keys.Watch(watch) })
	return h, nil
}

func (h *House) open(ctx, watch context.Context) (err error) {
	cfg := &h.cfg
	if h.verifier, err = identity.NewVerifier(identity.Config{
		Issuers: cfg.Issuers, HTTPClient: cfg.HTTPClient, Clock: cfg.Clock, Logger: cfg.Logger, NewKeys: h.recordIssuerKeys, Looked: cfg.Looked,
	}); err != nil {
		return err
	}
	if h.journal, err = audit.OpenJournal(audit.JournalConfig{Dir: cfg.JournalDir, Logger: cfg.Logger}); err != nil {
		return err
	}
	h.blobs = blobs.Beside(cfg.JournalDir)
	if h.record = h.journal; cfg.Protect != nil {
		h.record = cfg.Protect(h.journal)
	}
	if h.policy, err = cfg.Policies(Hooks{Before: h.policyComing, Changed: h.policyChanged}); err != nil {
		return err
	}
	if err := h.openKeys(watch); err != nil {
		return err
	}
	g := gate.Config{
		Name: cfg.Name, Audience: cfg.Audience, Verifier: h.verifier, Policy: h.policy, Log: h.record, Signer: h.Signer(), Clock: cfg.Clock, Logger: cfg.Logger,
	}
	if cfg.Configure != nil {
		if err := cfg.Configure(watch, &g); err != nil {
			return err
		}
	}
	if h.gate, err = gate.New(g); err != nil {
		return err
	}
	h.keepPolicy()
	// The first entry of a run proves that the journal can be written before the first caller depends on it.
	started := h.policy.Status().Detail()
	started["event"], started["attestation_key"] = "started", h.Signer().KeyID()
	if _, err := h.Record(ctx, audit.Entry{Kind: audit.KindGate, Detail: started}); err != nil {
		return fmt.Errorf("recording the start: %w", err)
	}
	return nil
}

// Gate is the gate.
func (h *House) Gate() *gate.Gate { return h.gate }

// Policy is what the gate decides by.
func (h *House) Policy() *policy.Engine { return h.policy }

// Verifier verifies access tokens of the issuers.
func (h *House) Verifier() *identity.Verifier { return h.verifier }

// Signer signs what the gate attests.
func (h *House) Signer() *attest.Signer { return h.keys.Signer() }

// Record makes an entry durable and returns its id. Version, Gate, and ID, Time and actor where they are absent, are filled in.
func (h *House) Record(ctx context.Context, e audit.Entry) (string, error) {
	h.fill(&e)
	if _, err := h.record.Append(ctx, e); err != nil {
		return "", fmt.Errorf("recording %s: %w", e.Kind, err)
	}
	return e.ID, nil
}

func (h *House) fill(e *audit.Entry) {
	e.Version, e.Gate = audit.EntryVersion, h.cfg.Name
	if e.ID == "" {
		e.ID = uuid.Must(uuid.NewV7()).String()
	}
	if e.Time.IsZero() {
		e.Time = h.cfg.Clock().UTC()
	}
	if e.Actor.Principal == "" {
		e.Actor = audit.Party{Principal: "gate:" + h.cfg.Name}
	}
}

// Close records the end and releases everything. Whoever mounts the gate must have stopped: calls still under way are denied afterwards, because
// they can no longer be recorded.
func (h *House) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := h.Record(ctx, audit.Entry{Kind: audit.KindGate, Detail: map[string]string{"event": "stopped"}})
	if err != nil {
		err = fmt.Errorf("recording the stop: %w", err)
	}
	return errors.Join(err, h.release())
}

func (h *House) release() error {
	h.stop()
	h.watching.Wait()
	var errs []error
	if h.journal != nil {
		errs = append(errs, h.journal.Close())
	}
	if h.verifier != nil {
		errs = append(errs, h.verifier.Close())
	}
	return errors.Join(errs...)
}
