package main

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/internal/rotation/oktakeys"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// keyScopes are what the control plane asks the org for to rotate keys.
var keyScopes = []string{"okta.authorizationServers.manage", "okta.apps.manage"}

// devTimes are short, so that a rotation can be watched. TokenLifetime is the org's own.
var devTimes = rotation.Times{Verifiers: time.Minute, Watch: 15 * time.Second, TokenLifetime: time.Hour, Overlap: time.Minute, CheckpointOverlap: time.Minute, Retry: 5 * time.Minute, Heartbeat: 10 * time.Second}

// rotations are the keys that the control plane looks after, and the register of verifiers.
type rotations struct {
	*rotation.Service
	registry *rotation.Registry
	worker   worker.Worker // nil until it runs
}

// openRotations serves what is asked about keys, before the plane serves. Rotations are refused as unavailable until start has connected.
func (d *devEnv) openRotations(ctx context.Context, plane *control.Plane, f *feed.Feed, ring *tiles.Keyring, logger *slog.Logger) (*rotations, error) {
	wrap := func(err error) error { return fmt.Errorf("preparing rotations of keys: %w", err) }
	registry, err := rotation.OpenRegistry(ctx, rotation.RegistryConfig{DSN: d.state.path("standing", "verifiers.db"), Expected: followers(f), Logger: logger})
	if err != nil {
		return nil, wrap(err)
	}
	registry.Local(d.name()+"-control", plane.Verifier())
	org, err := d.keysClient(ctx, logger)
	if err != nil {
		return nil, wrap(errors.Join(err, registry.Close()))
	}
	if err := d.keepAgentSecret(); err != nil {
		return nil, wrap(errors.Join(err, registry.Close()))
	}
	times := devTimes
	if d.flags.keyTimes > 0 {
		times.Watch, times.Overlap, times.CheckpointOverlap = d.flags.keyTimes, d.flags.keyTimes, d.flags.keyTimes
	}
	s, err := rotation.New(rotation.Config{
		Servers: oktakeys.Servers{Client: org}, Apps: oktakeys.Apps{Client: org}, Prove: d.proveCredential(plane.Verifier()), Verifiers: registry, Decider: plane, Recorder: plane, Times: times, Logger: logger,
		Issuers: []rotation.IssuerTarget{{ID: "default", URL: d.issuer()}},
		Clients: []rotation.ClientTarget{
			{ID: devorg.DeployWorker, Label: "demo worker", File: d.state.path("keys", "worker.pem")},
			{ID: devorg.WorkflowsClient, Label: "Bailiwick's own workflows", File: d.state.path("keys", "workflows.pem")},
			{ID: devorg.ManagementClient, Label: "control plane at the org", File: d.state.path("keys", "control.pem")},
			{ID: devorg.ReleaseAgent, Label: "release agent", File: d.agentSecret(), Secret: true},
		},
		Attestations: d.attestationKeys(),
		Checkpoints:  []rotation.CheckpointTarget{{ID: d.name(), Keys: ring, Lacking: d.witnessesLacking}},
		Alert: func(_ context.Context, r rotation.Rotation) {
			d.say.line("keys", fmt.Sprintf("rotation of %s %s: %s: %s", r.Use, r.Target, r.State, r.Detail))
		},
	})
	if err != nil {
		return nil, wrap(errors.Join(err, registry.Close()))
	}
	s.Mount(plane)
	plane.Handle("POST "+feed.Path+standing.KeyReportPath, f.Guard(registry.Reports()))
	return &rotations{Service: s, registry: registry}, nil
}

// followers are the gates that follow the feed: each must report its keys.
func followers(f *feed.Feed) func(context.Context) (map[string]time.Time, error) {
	return func(ctx context.Context) (map[string]time.Time, error) {
		seen, err := f.Seen(ctx)
		out := make(map[string]time.Time, len(seen))
		for name, s := range seen {
			out[name] = s.At
		}
		return out, err
	}
}

// start runs rotations on Temporal, as the identity that access requests run as.
func (r *rotations) start(ctx context.Context, c client.Client) error {
	r.worker = worker.New(c, rotation.TaskQueue, worker.Options{})
	r.Register(r.worker)
	if err := r.worker.Start(); err != nil {
		return fmt.Errorf("starting rotations of keys: %w", err)
	}
	r.Connect(c)
	return rotation.Schedule(sdkplugin.WithReason(ctx, "keys that are due are rotated"), c)
}

func (r *rotations) stop() {
	if r.worker != nil {
		r.worker.Stop()
	}
}

// keysClient speaks to the org's management API as the control plane's service app.
func (d *devEnv) keysClient(ctx context.Context, logger *slog.Logger) (*okta.Client, error) {
	file := d.state.path("keys", "control.pem")
	if _, err := d.org.registerClient(ctx, devorg.ManagementClient, file); err != nil {
		return nil, err
	}
	if err := d.org.grantScopes(ctx, devorg.ManagementClient, keyScopes); err != nil {
		return nil, err
	}
	credentials, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: devorg.ManagementClient, Scopes: keyScopes, Key: func() (*rsa.PrivateKey, string, error) { return rotation.ReadKey(file) }})
	if err != nil {
		return nil, err
	}
	return okta.New(okta.Config{URL: d.orgURL(), Credentials: credentials, MaxWait: 5 * time.Second, Logger: logger})
}

// agentSecret is where the release agent's secret is.
func (d *devEnv) agentSecret() string { return d.state.path("keys", "release-agent.secret") }

// keepAgentSecret writes the seeded secret down once; rotations replace it.
func (d *devEnv) keepAgentSecret() error {
	err := durable.CreateFile(d.agentSecret(), []byte(devorg.AgentSecret+"\n"), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// proveCredential fetches a token with the credential in a file as the client does, and has it verified where it is one for Temporal.
func (d *devEnv) proveCredential(v *identity.Verifier) func(context.Context, rotation.ClientTarget, string) error {
	return func(ctx context.Context, t rotation.ClientTarget, file string) error {
		cfg := sdkplugin.ClientCredentialsConfig{TokenURL: d.tokenURL(), ClientID: t.ID, Scopes: []string{"temporal"}, Logger: slog.New(slog.DiscardHandler)}
		if t.ID == devorg.ManagementClient {
			cfg.TokenURL, cfg.Scopes = d.orgURL()+"/oauth2/v1/token", keyScopes
		}
		if cfg.PrivateKeyFile = file; t.Secret {
			secret, err := rotation.ReadSecret(file)
			if err != nil {
				return err
			}
			cfg.PrivateKeyFile, cfg.Secret = "", secret
		}
		credentials, err := sdkplugin.ClientCredentials(cfg)
		if err != nil {
			return err
		}
		token, err := credentials.Token(ctx)
		if err == nil && t.ID != devorg.ManagementClient {
			_, err = v.Verify(ctx, identity.ParseUnverified(token))
		}
		return proofFault(t, err)
	}
}

// proofFault tells a refusal of the credential from an issuer that does not answer. A key that was registered a moment ago may not be known
// everywhere yet, so that a refusal may pass too.
func proofFault(t rotation.ClientTarget, err error) error {
	var refused *sdkplugin.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return &rotation.Fault{Code: "credential_refused", Detail: fmt.Sprintf("the issuer gives %s no token for its next credential", t.ID), Next: refused.Hint, Passing: refused.Code == "invalid_client", Err: err}
	}
	return &rotation.Fault{Code: "token_unavailable", Detail: fmt.Sprintf("whether the next credential of %s works can't be told", t.ID), Next: "is the issuer's token endpoint reachable?", Passing: true, Err: err}
}

// readAgentSecret is the release agent's secret as it is now.
func (d *devEnv) readAgentSecret() (string, error) {
	secret, err := rotation.ReadSecret(filepath.Clean(d.agentSecret()))
	if errors.Is(err, os.ErrNotExist) {
		return devorg.AgentSecret, nil
	}
	return secret, err
}

// controlKeys is where the control plane's gate has its attestation keys, with which the token exchange signs too: a directory, so that they can be
// rotated. A state directory from before this has a single file, whose key goes on: what it signed has no beginning of validity that a directory could keep.
func (d *devEnv) controlKeys() string {
	single := d.state.path("keys", "attestation-control.pem")
	if _, err := os.Stat(single); err == nil {
		return single
	}
	return d.state.path("keys", "attestation-control")
}

// attestationKeys are the gates' keys that can be rotated.
func (d *devEnv) attestationKeys() []rotation.AttestationTarget {
	all := []rotation.AttestationTarget{{ID: d.name(), Dir: d.state.path("keys", "attestation")}}
	if dir := d.controlKeys(); filepath.Ext(dir) == "" {
		all = append(all, rotation.AttestationTarget{ID: d.name() + "-control", Dir: dir})
	}
	return all
}

// openLogKeys opens the keys of the audit log. It is known by its first key: those after it follow from the log itself.
func (d *devEnv) openLogKeys() (ring *tiles.Keyring, first string, err error) {
	ring, err = tiles.OpenKeyring(tiles.KeyringConfig{Path: d.state.path("keys", "log.key"), Origin: "bailiwick.dev/" + d.name(), Log: d.state.path("log")})
	if err != nil {
		return nil, "", err
	}
	s, err := ring.State()
	return ring, s.First, err
}

// witnessesLacking lists the witnesses that do not take checkpoints of a key, as witnesses.yaml names them now.
func (d *devEnv) witnessesLacking(ctx context.Context, key string) (lag []rotation.Lag, err error) {
	cfg, err := d.witnesses(key)
	if err != nil || len(cfg.Witnesses) == 0 {
		return nil, err
	}
	cfg.Log = d.state.path("log")
	lacking, err := tiles.Lacking(ctx, cfg)
	for _, l := range lacking {
		lag = append(lag, rotation.Lag{Verifier: l.Witness, Why: l.Err.Error()})
	}
	return lag, err
}
