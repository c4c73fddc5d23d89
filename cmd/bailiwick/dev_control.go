package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/exchange"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// controlPlane publishes the attestation keys, seals the audit log and takes requests that are no Temporal calls. Gates do without it: a gate
// signs and journals on its own.
type controlPlane struct {
	plane       *control.Plane
	server      *http.Server
	verifierKey string // by which the log is known
	failed      chan error
	log         io.Closer
	receiver    io.Closer // of remote gates' journals

	journals []string // directories
	sealed   string
	cancel   context.CancelFunc
	sealer   chan error // the sealer's end
	exports  func() error

	elsewhere func()     // ends the asking of witnesses and the anchoring
	standing  *feed.Feed // grants and revocations, for every gate
	access    *access.Service
	keys      *rotations

	revocation *revocation.Revoker // nil until it runs

	people         lateDirectory
	closeDirectory func() error
}

func startControl(ctx context.Context, d *devEnv) (*controlPlane, error) {
	gateKeys := d.state.path("keys", "attestation")
	if _, err := attest.OpenKeys(attest.KeysConfig{Path: gateKeys}); err != nil { // made before the gate starts, so that they can be published
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	ring, verifierKey, err := d.openLogKeys()
	if err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	if err := policy.WriteStarter(d.state.path("policy")); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	logger, log, err := fileLogger(d.state.path("logs", "control.log"))
	if err != nil {
		return nil, err
	}
	c := &controlPlane{verifierKey: verifierKey, failed: make(chan error, 2), log: log, journals: []string{d.state.path("journal"), d.state.path("journal-control")}, sealed: d.state.path("log"), sealer: make(chan error, 1)}
	protect, keys, err := d.openPrivacy()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if c.standing, err = d.openStanding(ctx, logger); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane: %w", err), log.Close())
	}
	if c.plane, err = control.Open(ctx, control.Config{
		Protect: protect,
		Name:    d.name() + "-control", Audience: d.audience(), Issuers: []identity.Issuer{{URL: d.issuer(), Audiences: []string{"api://temporal"}, Groups: d.groupsFrom()}},
		PolicyDir: d.state.path("policy"), JournalDir: d.state.path("journal-control"), AttestationKey: d.controlKeys(), Logger: logger,
		Configure: c.people.under(underStanding(c.standing)),
	}); err != nil {
		err = errors.Join(err, c.standing.Close(), log.Close())
		if _, invalid := errors.AsType[*policy.LoadError](err); invalid {
			return nil, &coded{Code: "policy_invalid", Text: err.Error(), Fix: "correct the lines that are named; bailiwick policy check shows the same", Path: d.state.path("policy")}
		}
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	mountStanding(c.plane, c.standing)
	mountRevoked(c.plane, c.standing)
	org, err := d.openDirectory(ctx, logger)
	if err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	if c.access, err = mountAccess(c.plane, c.standing, d.state.path("access.yaml"), d.loggedUses(ctx, logger), org, logger); err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	if c.revocation, err = d.startRevocation(ctx, c, org, logger); err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	if c.keys, err = d.openRotations(ctx, c.plane, c.standing, ring, logger); err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	if err := d.startDirectory(ctx, c, org, logger); err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	c.publish(gateKeys)
	c.plane.Handle("POST /v1/token", exchange.Handler(c.plane.Gate(), logger))
	d.servePrivacy(c, keys, logger)
	if err := d.serveRetention(ctx, c, logger); err != nil {
		return nil, errors.Join(err, c.plane.Close(), log.Close())
	}
	c.serveEvidence(logger)
	if c.receiver, err = serveLog(c.plane, d.state, logger); err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	listener, err := listenOn(d.flags.ports.Control, d.flags.ports.all()[1])
	if err != nil {
		return nil, errors.Join(err, c.plane.Close(), c.standing.Close(), log.Close())
	}
	c.server = httpServer(c.plane, logger)
	go func() {
		if err := c.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			c.failed <- err
		}
	}()
	// The sealer outlives ctx: it must seal what the gate writes while it stops.
	sealing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	go func() {
		err := tiles.RunSealer(sealing, tiles.SealerConfig{Journals: c.journals, Replicas: d.state.path("replicas"), Log: c.sealed, Signers: ring.Signers, Logger: logger})
		if err != nil {
			c.failed <- fmt.Errorf("sealing the audit log: %w", err)
		}
		c.sealer <- err
	}()
	if err := d.watchOrg(ctx, org); err != nil {
		logger.WarnContext(ctx, "the org does not send events; its log is asked for them", "error", err)
	}
	if c.exports, err = d.startExports(ctx, c, logger); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	if c.elsewhere, err = d.startCheckpoints(ctx, verifierKey, logger); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	if err := d.followOrgLog(ctx, c.plane, org, logger); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// publish mounts what everybody may know.
func (c *controlPlane) publish(gateKeys string) {
	c.plane.Handle("GET /.well-known/bailiwick/keys", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		set, err := attest.PublishedKeys(gateKeys)
		if err != nil {
			control.Problem(w, http.StatusServiceUnavailable, "keys_unreadable", "the gate's published keys could not be read", "look at the key directory and the control plane's log")
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=60, must-revalidate")
		_, _ = w.Write(set.Merge(c.plane.Signer().PublicKeySet()).JSON())
	}))
	c.plane.Handle("GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		health := struct {
			Status  string `json:"status"`
			Pending uint64 `json:"pending"` // journal entries not under a checkpoint yet, counted up to 1000
			Error   string `json:"error,omitempty"`
		}{Status: "ok"}
		n, err := c.pending()
		health.Pending = n
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			health.Status, health.Error = "degraded", err.Error()
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(health)
	}))
}

// pending counts the journals' entries behind the checkpoint, up to 1000.
func (c *controlPlane) pending() (uint64, error) {
	n, err := tiles.Unsealed(context.Background(), tiles.ScanConfig{Log: c.sealed, Journals: c.journals}, 1000)
	return uint64(n), err
}

// stop ends the serving, seals what is left, for 5 s at most, and ends. The gate must have stopped.
func (c *controlPlane) stop() error {
	serving := errors.Join(shutdown(c.server), c.closeDirectory(), c.revocation.Close(), c.receiver.Close(), c.keys.registry.Close(), c.plane.Close(), c.standing.Close())
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if n, err := c.pending(); err != nil || n == 0 {
			break // an error is the verifier's to tell
		}
	}
	c.cancel()
	var sealing error
	select {
	case sealing = <-c.sealer:
	case <-time.After(15 * time.Second):
		sealing = errors.New("stopping the sealer: it had not ended after 15 s; the next start goes on where it was")
	}
	if c.elsewhere != nil {
		c.elsewhere()
	}
	if c.exports != nil {
		sealing = errors.Join(sealing, c.exports())
	}
	return errors.Join(serving, sealing, c.log.Close())
}
