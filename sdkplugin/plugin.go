// Package sdkplugin is Bailiwick for programs built on the Temporal Go SDK: one plugin for clients and workers.
//
// On a client it owns the bearer token of every call and the reason and grant that go with it. On a worker it verifies the run
// attestations that a gate signed, logs who each task runs for, hands that to workflow and activity code, carries it across the edges of
// a run's life, and refuses what has no valid attestation. It refuses to know policy, servers and the audit log: it links neither
// go.temporal.io/server nor Cedar nor a database.
package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/txntoken"
)

// Name is the plugin's name as Temporal shows it.
const Name = "bailiwick.dev/sdkplugin"

// Mode says what a worker does with a task whose attestation is missing or invalid.
type Mode int

const (
	// Enforce refuses the task. It is the default. Options.Unattested and Options.Signals make exceptions.
	//
	// Verdicts are part of a workflow's course, so they must come out the same at replay: keep retired keys published for as long as
	// runs that they signed for are open. A run in flight without an attestation, when Enforce is turned on, is not failed: its
	// workflow tasks fail and are retried until it is terminated or Observe is turned on again.
	Enforce Mode = iota
	// Observe lets the task run and says in the log and in Info.Problem what Enforce would have refused. Workflow code must not branch
	// on Info in this mode: a key that was unknown at first may be known at replay.
	Observe
)

// Failure types that workers report, for retry policies and for tests.
const (
	// FailureUnattested is the type of the non-retryable application error of a task without a valid attestation.
	FailureUnattested = "BailiwickUnattested"
	// FailureKeyUnknown is the type of the retryable application error of an activity whose attestation was signed with a key that the
	// worker does not know (yet).
	FailureKeyUnknown = "BailiwickKeyUnknown"
)

// Options configure a Plugin. The zero value makes a plugin that a client can use to send reasons and grants, and nothing else.
type Options struct {
	// Credentials give the bearer token of every call. Nil: the client sends none of ours.
	Credentials Credentials
	// AllowPlaintext permits sending bearer tokens over a connection without TLS to a host that is not loopback.
	AllowPlaintext bool

	// Exchange gets attestations from a token endpoint, for a Temporal without a gate. Credentials are then for that endpoint alone. Default none.
	Exchange *Exchange

	// KeysURL is where the gate's public keys are published (https, or http on loopback). Workers need either this or Keys.
	KeysURL string
	// Keys are the gate's public keys, given instead of KeysURL.
	Keys attest.KeySet
	// Audience is the environment whose attestations are accepted, such as "bailiwick:dev". Workers need it.
	Audience string
	// Mode is Enforce or Observe.
	Mode Mode
	// Unattested says what Enforce lets run without an attestation, such as runs from before Bailiwick. Default: nothing.
	Unattested Tolerance
	// Signals says what Enforce does with signals that have no statement of their own. Default: drop them.
	Signals SignalPolicy
	// Revocations tells who has lost access since, such as a RevocationSource. Default nil: a statement is about its moment.
	Revocations Revocations
	// Histories reads who took over the run of somebody who lost access. Default: the worker's own client, which may read the
	// histories that it replays; the client of the SDK's test environment reads none, so tests of revoked runs set this.
	Histories Histories
	// HoldRevoked makes activities of somebody who lost access fail retryably, to be tried again after this time. Default 0: refused for good.
	HoldRevoked time.Duration
	// Require are rules that what a worker runs must meet, beyond having a valid attestation. Observe logs and counts what breaks one.
	Require []Rule
	// TransactionTokens mints the tokens that TransactionToken returns. Nil: it returns an error.
	TransactionTokens *txntoken.Minter
	// KeysRefresh is the time between fetches of KeysURL. Default 5 minutes.
	KeysRefresh time.Duration

	// Logger receives what activities and the key refresh have to say, and becomes the client's logger where none is set, so that it
	// also receives workflow logs. Default slog.Default().
	Logger *slog.Logger
	// HTTPClient fetches KeysURL. Default: a client with a timeout of 10 s.
	HTTPClient *http.Client
	// Meter counts what a worker judged (bailiwick.worker.tasks). Default none.
	Meter metric.Meter
	// Clock tells activities the time. Workflow code uses workflow.Now instead. Default time.Now.
	Clock func() time.Time
}

// Plugin goes into client.Options.Plugins (and from there into the client's workers by itself), or into worker.Options.Plugins or
// worker.WorkflowReplayerOptions.Plugins alone. One Plugin may serve several clients and workers.
type Plugin struct {
	*simple
	opts Options
	log  *slog.Logger
	keys *keyring
	hook *workerInterceptor

	rules    rules
	owners   owners
	metrics  *metrics   // nil without a Meter
	exchange *exchanger // nil without Exchange
	now      func() time.Time

	replays sync.Map // run id → replayed, while a worker.WorkflowReplayer replays it
}

type simple = temporal.SimplePlugin

var (
	_ client.Plugin = (*Plugin)(nil)
	_ worker.Plugin = (*Plugin)(nil)
)

// New checks the options and makes a plugin. It does no I/O: keys are fetched when a worker starts.
func New(o Options) (*Plugin, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Mode != Enforce && o.Mode != Observe {
		return nil, fmt.Errorf("making Bailiwick plugin: unknown mode %d", o.Mode)
	}
	if o.KeysURL != "" && o.Keys.Len() > 0 {
		return nil, errors.New("making Bailiwick plugin: both KeysURL and Keys are set; set one")
	}
	if o.HoldRevoked != 0 && o.HoldRevoked < time.Second {
		return nil, fmt.Errorf("making Bailiwick plugin: HoldRevoked is %s, less than a second", o.HoldRevoked)
	}
	p := &Plugin{opts: o, log: o.Logger, now: o.Clock}
	if p.now == nil {
		p.now = time.Now
	}
	var err error
	if p.rules, err = newRules(o.Require); err != nil {
		return nil, fmt.Errorf("making Bailiwick plugin: %w", err)
	}
	if o.Meter != nil {
		if p.metrics, err = newMetrics(o.Meter); err != nil {
			return nil, fmt.Errorf("making Bailiwick plugin: %w", err)
		}
	}
	if o.KeysURL != "" {
		if err := checkURL(o.KeysURL); err != nil {
			return nil, fmt.Errorf("making Bailiwick plugin: KeysURL: %w", err)
		}
	}
	if o.Exchange != nil {
		if p.exchange, err = newExchanger(o); err != nil {
			return nil, fmt.Errorf("making Bailiwick plugin: %w", err)
		}
	}
	p.keys = newKeyring(o)
	p.hook = &workerInterceptor{plugin: p}
	p.simple, err = temporal.NewSimplePlugin(temporal.SimplePluginOptions{
		Name:                      Name,
		ConfigureClient:           p.configureClient,
		ConfigureWorker:           p.configureWorker,
		ConfigureWorkflowReplayer: p.configureReplayer,
		RunContextBefore:          p.start,
		RunContextAfter:           p.stop,
	})
	if err != nil {
		return nil, fmt.Errorf("making Bailiwick plugin: %w", err)
	}
	return p, nil
}

func (p *Plugin) configureWorker(_ context.Context, o worker.PluginConfigureWorkerOptions) error {
	return p.addTo(&o.WorkerOptions.Interceptors)
}

func (p *Plugin) configureReplayer(_ context.Context, o worker.PluginConfigureWorkflowReplayerOptions) error {
	return p.addTo(&o.WorkflowReplayerOptions.Interceptors)
}

// addTo adds the worker interceptor once, even if the plugin was given both to the client and to the worker.
func (p *Plugin) addTo(list *[]interceptor.WorkerInterceptor) error {
	if p.opts.KeysURL == "" && p.opts.Keys.Len() == 0 {
		return errors.New("configuring worker with the Bailiwick plugin: set Options.KeysURL (the control plane's /.well-known/bailiwick/keys) or Options.Keys, so that attestations can be verified")
	}
	if p.opts.Audience == "" {
		return errors.New("configuring worker with the Bailiwick plugin: set Options.Audience to the environment's name, such as \"bailiwick:dev\"")
	}
	if !slices.Contains(*list, interceptor.WorkerInterceptor(p.hook)) {
		*list = append(slices.Clip(*list), p.hook)
	}
	return nil
}

func (p *Plugin) start(ctx context.Context, _ temporal.SimplePluginRunContextBeforeOptions) error {
	err := p.keys.start(ctx)
	if err != nil && p.opts.Mode == Observe {
		p.log.WarnContext(ctx, "starting without attestation keys", "error", err)
		return nil
	}
	return err
}

func (p *Plugin) stop(context.Context, temporal.SimplePluginRunContextAfterOptions) { p.keys.stop() }
