package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// What is counted, as the attributes "kind" and "verdict".
const (
	kindWorkflow = "workflow"
	kindSignal   = "signal"
	kindUpdate   = "update"
	kindQuery    = "query"
	kindActivity = "activity"
	kindNexus    = "nexus"

	verdictVerified   = "verified"
	verdictUnattested = "unattested" // no valid attestation, let through by mode Observe
	verdictRefused    = "refused"    // no valid attestation
	verdictRetried    = "retried"    // signed with a key that is not known yet
	verdictForbidden  = "forbidden"  // a rule is not met
	verdictHeld       = "held"       // a rule is not met, and holds
	verdictExcused    = "excused"    // a rule is not met, let through by mode Observe
)

// metrics counts tasks. A nil one does nothing. Attributes are kinds, verdicts and codes, never people or workflows: their number stays bounded
// whatever callers send.
type metrics struct {
	tasks metric.Int64Counter
	sets  sync.Map // outcome → metric.AddOption
}

type outcome struct{ kind, verdict, code string }

func newMetrics(m metric.Meter) (*metrics, error) {
	tasks, err := m.Int64Counter("bailiwick.worker.tasks", metric.WithDescription("Tasks and calls that a worker judged, by kind, verdict and reason code."))
	if err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	return &metrics{tasks: tasks}, nil
}

func (m *metrics) count(ctx context.Context, kind, verdict, code string) {
	if m == nil {
		return
	}
	key := outcome{kind, verdict, code}
	option, ok := m.sets.Load(key)
	if !ok {
		kv := []attribute.KeyValue{attribute.String("kind", kind), attribute.String("verdict", verdict)}
		if code != "" {
			kv = append(kv, attribute.String("code", code))
		}
		option, _ = m.sets.LoadOrStore(key, metric.WithAttributeSet(attribute.NewSet(kv...)))
	}
	m.tasks.Add(ctx, 1, option.(metric.AddOption))
}

// count counts from workflow code, once: what is replayed was counted before.
func (s *runState) count(ctx workflow.Context, kind, verdict, code string) {
	if s.plugin.metrics == nil || workflow.IsReplaying(ctx) {
		return
	}
	s.plugin.metrics.count(context.Background(), kind, verdict, code)
}

// describe puts for whom an activity runs on the current span, if a tracing interceptor opened one. Principals are identifiers; logins and
// reasons can be personal and stay out of traces.
func describe(ctx context.Context, info Info) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.Bool("bailiwick.verified", info.Verified))
	if !info.Verified {
		return
	}
	span.SetAttributes(
		attribute.String("bailiwick.originator", info.Originator.Principal),
		attribute.String("bailiwick.actor", info.Actor.Principal),
		attribute.String("bailiwick.edge", string(info.Statement.Edge)),
		attribute.String("bailiwick.decision", info.DecisionID),
	)
}

func describeProblem(ctx context.Context, code string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("bailiwick.problem", code))
	}
}

// codeOf is the stable code of a refusal.
func codeOf(err error) string {
	var e *attest.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return ""
}
