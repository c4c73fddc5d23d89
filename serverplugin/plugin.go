// Package serverplugin mounts the gate in a Temporal server: a ClaimMapper, an Authorizer and a frontend interceptor.
//
// It owns how a call's credentials travel through the server's interceptor chain, and which callers count as the server itself. It refuses
// to judge: every decision is the gate's. It knows nothing of storage, ports and certificates; whoever embeds the server does.
//
// Follow a call: ClaimMapper.GetClaims (claims.go) → Authorizer.Authorize (authorizer.go) → Interceptor.Intercept (interceptor.go).
package serverplugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/temporal"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
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
	PrivacyDir     string            `json:"privacy_dir"`     // keys that encrypt personal data in the journal, one for each person; empty: it is written in the clear
	StateDir       string            `json:"state_dir"`       // what the gate knows across restarts, such as who created a schedule; shared by the gates of a cluster; default: "errands" in JournalDir
	AdoptSchedules bool              `json:"adopt_schedules"` // schedules from before the gate go on, unattested; default: refused until they are saved again
	Standing       *Standing         `json:"standing"`        // grants and revocations; default none, and then no grant is honoured
	Runs           gate.Resolver     `json:"-"`               // finds out about existing runs where policies look at them; without it such calls are denied
	Meter          metric.Meter      `json:"-"`               // default none
	Logger         *slog.Logger      `json:"-"`               // default discards
}

// Plugin is a gate with everything it needs, ready to be mounted in one Temporal server.
type Plugin struct {
	gate      *gate.Gate
	verifier  *identity.Verifier
	policy    *policy.Engine
	journal   *audit.Journal
	blobs     string // directory of texts that entries name by digest
	keys      *attest.Keys
	standing  *standing.State    // nil when nothing is followed
	follower  *standing.Follower // the same
	metrics   *metrics           // nil without a Meter
	announced string             // digest of a policy set that is on record and about to be in force; touched by the policy engine's reloads only, one at a time
	name      string
	proof     proof // of internal Nexus calls
	logger    *slog.Logger

	stop     context.CancelFunc // ends the watchers of policies and keys
	watching sync.WaitGroup
}

// Open makes the parts of a gate and starts watching the policy directory. It needs no network: issuers are asked when the first token
// comes. The caller closes the plugin after the server has stopped.
func Open(ctx context.Context, cfg Config) (*Plugin, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Issuers) == 0 {
		return nil, errors.New("opening the server plugin: no issuer is configured, so nobody could ever be let in")
	}
	p := &Plugin{name: cfg.Name, proof: newProof(), logger: cfg.Logger}
	opened := false
	defer func() {
		if !opened {
			p.release()
		}
	}()

	var err error
	if p.metrics, err = newMetrics(cfg.Meter); err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	verify := identity.Config{Issuers: cfg.Issuers, Logger: cfg.Logger, NewKeys: p.recordIssuerKeys}
	if p.metrics != nil {
		verify.Looked = p.metrics.tokenSeen
	}
	if p.verifier, err = identity.NewVerifier(verify); err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	if p.journal, err = audit.OpenJournal(audit.JournalConfig{Dir: cfg.JournalDir, Logger: cfg.Logger}); err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	var record gate.Recorder = p.journal
	if cfg.PrivacyDir != "" {
		keys, err := privacy.OpenStore(cfg.PrivacyDir)
		if err != nil {
			return nil, fmt.Errorf("opening the server plugin: %w", err)
		}
		record = privacy.NewRecorder(p.journal, keys)
	}
	if p.policy, err = openPolicy(ctx, cfg, p.policyComing, p.policyChanged); err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	if err := p.openKeys(watch, cfg.AttestationKey); err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	signer := p.keys.Signer()
	mounted := gate.Config{
		Name: cfg.Name, Audience: cfg.Audience,
		Verifier: p.verifier, Policy: p.policy, Log: record, Signer: signer, Runs: cfg.Runs, Meter: cfg.Meter, Logger: cfg.Logger,
		StateDir: cfg.StateDir, AdoptSchedules: cfg.AdoptSchedules,
	}
	if mounted.StateDir == "" {
		mounted.StateDir = filepath.Join(cfg.JournalDir, "errands")
	}
	if cfg.Standing != nil {
		if err := p.followStanding(watch, cfg); err != nil {
			return nil, fmt.Errorf("opening the server plugin: %w", err)
		}
		mounted.Standing = p.standing
	}
	if p.gate, err = gate.New(mounted); err != nil {
		return nil, fmt.Errorf("opening the server plugin: %w", err)
	}
	p.blobs = blobs.Beside(cfg.JournalDir)
	p.keepPolicy()
	// The first entry of a run proves that the journal can be written before the first caller depends on it.
	started := p.policy.Status().Detail()
	started["event"], started["attestation_key"] = "started", signer.KeyID()
	if _, err := p.journal.Append(ctx, p.entry(audit.KindGate, started)); err != nil {
		return nil, fmt.Errorf("opening the server plugin: recording the start: %w", err)
	}

	p.watching.Go(func() { p.policy.Watch(watch) })
	p.watching.Go(func() { p.keys.Watch(watch) })
	opened = true
	return p, nil
}

// ServerOptions mounts the gate. They must come after temporal.WithConfig, and the server must run an internal-frontend behind internode
// mTLS: Temporal's own services have no token and are let in by their certificate only. The server's dynamic config must hold
// DynamicConfig's values.
func (p *Plugin) ServerOptions() []temporal.ServerOption {
	authorizer := NewAuthorizer(p.gate, p.logger)
	authorizer.proof = p.proof
	return []temporal.ServerOption{
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return ClaimMapper{} }),
		temporal.WithAuthorizer(authorizer),
		temporal.WithChainedFrontendGrpcInterceptors(NewInterceptor(p.gate).Intercept),
	}
}

// PolicyStatus is what policy is in force.
func (p *Plugin) PolicyStatus() policy.Status { return p.policy.Status() }

// Close records the end, stops watching and releases the journal. The server must have stopped: calls that are still under way after Close
// are denied, because they can no longer be recorded.
func (p *Plugin) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := p.journal.Append(ctx, p.entry(audit.KindGate, map[string]string{"event": "stopped"}))
	if err != nil {
		err = fmt.Errorf("recording the stop: %w", err)
	}
	return errors.Join(err, p.release())
}

func (p *Plugin) release() error {
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

// recordPolicyWithin bounds how long a policy set waits for its entry. The journal answers within milliseconds, or it is broken.
const recordPolicyWithin = 10 * time.Second

// policyComing makes it durable that a policy set is coming into force. One that can't be recorded does not: nobody could tell later what decided.
func (p *Plugin) policyComing(next policy.Status) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordPolicyWithin)
	defer cancel()
	if _, err := p.journal.Append(ctx, p.entry(audit.KindPolicy, next.Detail())); err != nil {
		return fmt.Errorf("recording the policy set: %w", err)
	}
	p.announced = next.Digest
	return nil
}

// policyChanged records that a policy set was refused, or that the directory is back to what is in force.
func (p *Plugin) policyChanged(s policy.Status) {
	p.keepPolicy()
	if s.LastError == "" && s.Digest == p.announced {
		p.announced = "" // policyComing recorded it
		return
	}
	detail := s.Detail()
	if s.LastError != "" {
		p.metrics.policyRefused()
		// The text names files and lines of policies; its digest is enough to find the log line, and entries stay small.
		sum := sha256.Sum256([]byte(s.LastError))
		detail["error_digest"] = hex.EncodeToString(sum[:])
	}
	if err := p.journal.Enqueue(p.entry(audit.KindPolicy, detail)); err != nil {
		p.logger.Warn("a policy change could not be recorded", "error", err)
	}
}

// keepPolicy keeps the texts of the set in force beside the journal, under the digest that entries name them by, so that a decision can be
// explained and proven when the set is long gone. Decisions do not wait for it: the digest is in each of them anyway.
func (p *Plugin) keepPolicy() {
	if p.policy == nil {
		return // told of while the policies are being opened; Open keeps what it ends with
	}
	if _, err := blobs.Put(p.blobs, p.policy.Archive()); err != nil {
		p.logger.Warn("the texts of the policy set could not be kept", "error", err)
	}
}

func (p *Plugin) entry(kind audit.Kind, detail map[string]string) audit.Entry {
	return audit.Entry{
		Version: audit.EntryVersion, ID: uuid.Must(uuid.NewV7()).String(), Time: time.Now().UTC(), Kind: kind, Gate: p.name,
		Actor: audit.Party{Principal: "gate:" + p.name}, Detail: detail,
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
