package sdkplugin_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/interceptor"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

func failedEvent(task int64) func(*historypb.HistoryEvent) {
	return func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes{WorkflowExecutionFailedEventAttributes: &historypb.WorkflowExecutionFailedEventAttributes{
			Failure: &failurepb.Failure{Message: "refused by Bailiwick"}, WorkflowTaskCompletedEventId: task,
		}}
	}
}

// tally is a meter whose one counter can be read.
type tally struct {
	metricnoop.Meter
	mu   sync.Mutex
	seen map[string]int64
}

type tallyCounter struct {
	metricnoop.Int64Counter
	t *tally
}

func (t *tally) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if name != "bailiwick.worker.tasks" {
		return nil, fmt.Errorf("unexpected counter %s", name)
	}
	return tallyCounter{t: t}, nil
}

func (c tallyCounter) Add(_ context.Context, n int64, o ...metric.AddOption) {
	set := metric.NewAddConfig(o).Attributes()
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.seen[set.Encoded(attribute.DefaultEncoder())] += n
}

func (t *tally) String() string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(t.seen)) {
		lines = append(lines, fmt.Sprintf("%s: %d", k, t.seen[k]))
	}
	return strings.Join(lines, "\n")
}

func TestCounters(t *testing.T) {
	meter := &tally{seen: map[string]int64{}}
	run := func(o sdkplugin.Options, s attest.Statement) {
		o.Meter = meter
		guardedStart(t, o, s)
	}
	foreign := strong(func(s *attest.Statement) { s.Binding.WorkflowID = "another" })
	run(sdkplugin.Options{}, strong(nil))                               // verified: 1 workflow, 2 activities
	run(sdkplugin.Options{}, foreign)                                   // refused
	run(sdkplugin.Options{Mode: sdkplugin.Observe}, foreign)            // unattested: 1 workflow, 2 activities that nothing was carried to
	run(sdkplugin.Options{Keys: signerOf("x").PublicKeySet()}, foreign) // retried
	run(sdkplugin.Options{Clock: noonClock, Require: []sdkplugin.Rule{{Activity: "see", Requirement: sdkplugin.Requirement{Policies: []string{"x"}}}}}, strong(nil))
	want := strings.TrimSpace(`
code=attestation_binding,kind=workflow,verdict=refused: 1
code=attestation_binding,kind=workflow,verdict=unattested: 1
code=attestation_key_unknown,kind=workflow,verdict=retried: 1
code=attestation_missing,kind=activity,verdict=unattested: 2
code=forbidden_policy,kind=activity,verdict=forbidden: 1
kind=activity,verdict=verified: 3
kind=workflow,verdict=verified: 2`)
	if got := meter.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(meter.String(), "alice") {
		t.Error("a person is an attribute of a metric")
	}
}

// Replay counts nothing again.
func TestReplayCountsNothing(t *testing.T) {
	meter := &tally{seen: map[string]int64{}}
	var got []string
	if _, err := replay(t, sdkplugin.Options{Meter: meter}, senders(t), &got); err != nil {
		t.Fatal(err)
	}
	for k := range meter.seen {
		t.Errorf("replay counted %s", k)
	}
}

// recording is a span that remembers attributes, put into the context by an interceptor as a tracing library would.
type recording struct {
	tracenoop.Span
	mu   sync.Mutex
	seen map[attribute.Key]string
}

func (r *recording) IsRecording() bool { return true }

func (r *recording) SetAttributes(kv ...attribute.KeyValue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range kv {
		r.seen[a.Key] = a.Value.String()
	}
}

type tracing struct {
	interceptor.WorkerInterceptorBase
	span *recording
}

type tracingActivity struct {
	interceptor.ActivityInboundInterceptorBase
	span *recording
}

func (t *tracing) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	a := &tracingActivity{span: t.span}
	a.Next = next
	return a
}

func (a *tracingActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	return a.Next.ExecuteActivity(trace.ContextWithSpan(ctx, a.span), in)
}

func TestSpanAttributes(t *testing.T) {
	run := func(o sdkplugin.Options, s attest.Statement) map[attribute.Key]string {
		span := &recording{seen: map[attribute.Key]string{}}
		var log journal
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(tlog.NewStructuredLogger(log.logger()))
		env := suite.NewTestWorkflowEnvironment()
		env.SetWorkerOptions(worker.Options{Interceptors: append([]interceptor.WorkerInterceptor{&tracing{span: span}}, hooks(t, newPlugin(t, o))...)})
		registerFamily(env)
		env.SetHeader(header(sign(t, s)))
		env.ExecuteWorkflow("family", 0)
		return span.seen
	}
	got := run(sdkplugin.Options{}, strong(func(s *attest.Statement) { s.Actor = agent }))
	for key, want := range map[attribute.Key]string{
		"bailiwick.verified": "true", "bailiwick.originator": "user:https://issuer.example|alice", "bailiwick.actor": agent.Principal,
		"bailiwick.edge": "start", "bailiwick.decision": "decision-alice", "bailiwick.problem": "",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	for key, value := range got {
		if strings.Contains(value, "@acme.example") || strings.Contains(value, "because") {
			t.Errorf("a login or a reason is in the trace: %s=%s", key, value)
		}
	}
	got = run(sdkplugin.Options{Clock: noonClock, Require: []sdkplugin.Rule{{Activity: "*", Requirement: sdkplugin.Requirement{ACR: []string{"x"}}}}}, strong(nil))
	if got["bailiwick.problem"] != "forbidden_acr" {
		t.Errorf("a forbidden activity's span has %v", got)
	}
	got = run(sdkplugin.Options{Mode: sdkplugin.Observe}, strong(func(s *attest.Statement) { s.Binding.WorkflowID = "x" }))
	if got["bailiwick.verified"] != "false" || got["bailiwick.originator"] != "" || got["bailiwick.problem"] != "attestation_missing" {
		t.Errorf("an unattested activity's span has %v", got)
	}
}
