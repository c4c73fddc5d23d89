// Package serverplugin mounts the gate in a Temporal server: a ClaimMapper, an Authorizer and a frontend interceptor.
//
// It owns how a call's credentials travel through the server's interceptor chain, and which callers count as the server itself. It refuses
// to judge: every decision is the gate's. It knows nothing of storage, ports and certificates; whoever embeds the server does.
//
// Follow a call: ClaimMapper.GetClaims (claims.go) → Authorizer.Authorize (authorizer.go) → Interceptor.Intercept (interceptor.go).
package serverplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/temporal"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/gatehouse"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Config says what a plugin is made of. All fields up to AttestationKey are required, one of PolicyDir and PolicyBundle among them.
type Config struct {
	Name           string            `json:"name"`            // this gate, as audit entries and attestations name it
	Audience       string            `json:"audience"`        // the environment that attestations are for, such as "bailiwick:dev"
	Issuers        []identity.Issuer `json:"issuers"`         // whose tokens are accepted
	PolicyDir      string            `json:"policy_dir"`      // roles.yaml and *.cedar; watched for changes
	PolicyBundle   *Bundle           `json:"policy_bundle"`   // instead of PolicyDir: signed policies, pulled
	JournalDir     string            `json:"journal_dir"`     // audit journal; locked by this process
	AttestationKey string            `json:"attestation_key"` // PEM file with the signing key, or a directory of keys that rotate (attest.KeysConfig.Path); created if absent
	PrivacyDir     string            `json:"privacy_dir"`     // keys that encrypt personal data in the journal and in StateDir, one for each person; empty: it is written in the clear
	StateDir       string            `json:"state_dir"`       // what the gate knows across restarts, such as who created a schedule; shared by the gates of a cluster; default: "errands" in JournalDir
	AdoptSchedules bool              `json:"adopt_schedules"` // schedules from before the gate go on, unattested; default: refused until they are saved again
	Standing       *Standing         `json:"standing"`        // grants and revocations; default none, and then no grant is honoured
	Runs           gate.Resolver     `json:"-"`               // finds out about existing runs where policies look at them; without it such calls are denied
	Meter          metric.Meter      `json:"-"`               // default none
	Logger         *slog.Logger      `json:"-"`               // default discards
}

// Plugin is a gate with everything it needs, ready to be mounted in one Temporal server.
type Plugin struct {
	house    *gatehouse.House
	standing *standing.State    // nil when nothing is followed
	follower *standing.Follower // the same
	metrics  *metrics           // nil without a Meter
	proof    proof              // of internal Nexus calls
	logger   *slog.Logger
}

// Open makes the parts of a gate and starts watching the policy directory. It needs no network: issuers are asked when the first token
// comes. The caller closes the plugin after the server has stopped.
func Open(ctx context.Context, cfg Config) (*Plugin, error) {
	p, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	return p, nil
}

func open(ctx context.Context, cfg Config) (*Plugin, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.StateDir == "" {
		cfg.StateDir = filepath.Join(cfg.JournalDir, "errands")
	}
	p := &Plugin{proof: newProof(), logger: cfg.Logger}
	var keys *privacy.Store // nil: nothing is encrypted
	var err error
	if cfg.PrivacyDir != "" {
		if keys, err = privacy.OpenStore(cfg.PrivacyDir); err != nil {
			return nil, err
		}
	}
	if p.metrics, err = newMetrics(cfg.Meter); err != nil {
		return nil, err
	}
	var lasting context.Context // ends with the house
	house := gatehouse.Config{
		Name: cfg.Name, Audience: cfg.Audience, Issuers: cfg.Issuers, JournalDir: cfg.JournalDir, AttestationKey: cfg.AttestationKey,
		Policies:      func(h gatehouse.Hooks) (*policy.Engine, error) { return openPolicy(ctx, cfg, h.Before, h.Changed) },
		PolicyRefused: p.metrics.policyRefused, Logger: cfg.Logger,
		Configure: func(life context.Context, g *gate.Config) error {
			lasting = life
			g.Runs, g.Meter, g.StateDir, g.AdoptSchedules = cfg.Runs, cfg.Meter, cfg.StateDir, cfg.AdoptSchedules
			if keys != nil {
				g.Seal = keys
			}
			if cfg.Standing == nil {
				return nil
			}
			if err := p.followStanding(lasting, cfg); err != nil {
				return err
			}
			g.Standing, g.Directory = p.standing, p.follower.Persons()
			g.DirectoryLimits = cfg.Standing.directory()
			return nil
		},
	}
	if p.metrics != nil {
		house.Looked = p.metrics.tokenSeen
	}
	if keys != nil {
		house.Protect = func(journal gate.Recorder) gate.Recorder { return privacy.NewRecorder(journal, keys) }
	}
	if p.house, err = gatehouse.Open(ctx, house); err != nil {
		p.followed()
		return nil, err
	}
	if cfg.Standing != nil {
		if err := p.reportKeys(lasting, cfg); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// ServerOptions mounts the gate. They must come after temporal.WithConfig, and the server must run an internal-frontend behind internode
// mTLS: Temporal's own services have no token and are let in by their certificate only. The server's dynamic config must hold
// DynamicConfig's values.
func (p *Plugin) ServerOptions() []temporal.ServerOption {
	authorizer := NewAuthorizer(p.house.Gate(), p.logger)
	authorizer.proof = p.proof
	return []temporal.ServerOption{
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return ClaimMapper{} }),
		temporal.WithAuthorizer(authorizer),
		temporal.WithChainedFrontendGrpcInterceptors(NewInterceptor(p.house.Gate()).Intercept),
	}
}

// PolicyStatus is what policy is in force.
func (p *Plugin) PolicyStatus() policy.Status { return p.house.Policy().Status() }

// Close records the end, stops watching and releases the journal. The server must have stopped: calls that are still under way after Close
// are denied, because they can no longer be recorded.
func (p *Plugin) Close() error {
	err := p.house.Close()
	p.followed()
	return err
}

// followed waits until nothing is followed any more: the house, which it ends with, is closed.
func (p *Plugin) followed() {
	if p.follower != nil {
		<-p.follower.Done()
	}
}

// DynamicConfig holds the server settings that the plugin relies on. An embedder merges them into its own and must not override them.
func DynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// Callers see the reason code and the next step, not a bare "Request unauthorized."
		dynamicconfig.ExposeAuthorizerErrors.Key(): true,
		// The gate's principal is written on history events.
		dynamicconfig.EnablePrincipalPropagation.Key(): true,
		// Streams are authorized too. This is the default; it is here so that a changed default cannot open them.
		dynamicconfig.DisableStreamingAuthorizer.Key(): false,
		// A task token of one namespace is not accepted under the name of another: the gate decides by the name.
		dynamicconfig.EnableTokenNamespaceEnforcement.Key(): true,
		// A workflow's signal with start by way of Temporal's own Nexus endpoint passes no gate. This is the default; it is here as above.
		dynamicconfig.EnableSignalWithStartFromWorkflow.Key(): false,
		// A caller's credentials stay out of Nexus handlers. The setting replaces the server's default list, so that is repeated first.
		dynamicconfig.FrontendNexusRequestHeadersBlacklist.Key(): []string{
			"accept-encoding", "x-forwarded-for", "xdc-redirection", "xdc-redirection-api", "temporal-nexus-failure-support",
			"authorization", "authorization-extras", "proxy-authorization", "cookie", "grpcgateway-*", "temporal-principal-*",
		},
	}
}
