package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// controlPlane publishes the attestation keys, seals the audit log and takes requests that are no Temporal calls. Gates do without it: a gate
// signs and journals on its own.
type controlPlane struct {
	plane       *control.Plane
	server      *http.Server
	verifierKey string // of the log
	failed      chan error
	log         io.Closer

	journal, sealed string // directories
	cancel          context.CancelFunc
	sealer          chan error // the sealer's end
}

func startControl(ctx context.Context, d *devEnv) (*controlPlane, error) {
	signer, err := attest.LoadOrCreateSigner(d.state.path("keys", "attestation.pem"))
	if err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	logSigner, verifierKey, err := tiles.LoadOrCreateKey(d.state.path("keys", "log.key"), "bailiwick.dev/"+d.name())
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
	c := &controlPlane{verifierKey: verifierKey, failed: make(chan error, 2), log: log, journal: d.state.path("journal"), sealed: d.state.path("log"), sealer: make(chan error, 1)}
	if c.plane, err = control.Open(ctx, control.Config{
		Name: d.name() + "-control", Audience: d.audience(), Issuers: []identity.Issuer{{URL: d.issuer(), Audiences: []string{"api://temporal"}}},
		PolicyDir: d.state.path("policy"), JournalDir: d.state.path("journal-control"), AttestationKey: d.state.path("keys", "attestation-control.pem"), Logger: logger,
	}); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	c.publish(signer.PublicKeySet().Merge(c.plane.Signer().PublicKeySet()).JSON())
	listener, err := listenOn(d.flags.ports.Control, d.flags.ports.all()[1])
	if err != nil {
		return nil, errors.Join(err, c.plane.Close(), log.Close())
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
		err := tiles.RunSealer(sealing, tiles.SealerConfig{Journal: c.journal, Log: c.sealed, Signer: logSigner, Logger: logger})
		if err != nil {
			c.failed <- fmt.Errorf("sealing the audit log: %w", err)
		}
		c.sealer <- err
	}()
	return c, nil
}

// publish mounts what everybody may know.
func (c *controlPlane) publish(keys []byte) {
	c.plane.Handle("GET /.well-known/bailiwick/keys", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300, must-revalidate")
		_, _ = w.Write(keys)
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

// pending counts the journal's entries behind the checkpoint, up to 1000.
func (c *controlPlane) pending() (uint64, error) {
	size, err := checkpointSize(filepath.Join(c.sealed, "checkpoint"))
	if err != nil {
		return 0, err
	}
	r, err := audit.OpenReader(c.journal, size)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	for n := uint64(0); ; n++ {
		_, _, err := r.Next()
		if errors.Is(err, io.EOF) || n == 1000 {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// checkpointSize reads the tree size, the second line of a checkpoint (https://c2sp.org/tlog-checkpoint). Without a checkpoint it is 0.
func checkpointSize(path string) (uint64, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	lines := bytes.SplitN(raw, []byte("\n"), 3)
	if len(lines) < 3 {
		return 0, fmt.Errorf("%s is not a checkpoint", path)
	}
	return strconv.ParseUint(string(lines[1]), 10, 64)
}

// stop ends the serving, seals what is left, for 5 s at most, and ends. The gate must have stopped.
func (c *controlPlane) stop() error {
	serving := errors.Join(shutdown(c.server), c.plane.Close())
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
	return errors.Join(serving, sealing, c.log.Close())
}
