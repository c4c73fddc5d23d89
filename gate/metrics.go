package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// metrics counts and times decisions. A nil one does nothing, and costs nothing. Attributes name actions and codes, never people, namespaces
// or workflows: their number stays bounded whatever callers send.
type metrics struct {
	decisions metric.Int64Counter
	took      metric.Float64Histogram // seconds, the wait for the disk included
	durable   metric.Float64Histogram // seconds

	sets sync.Map // outcome → *attributeSet; bounded by actions × codes
}

type outcome struct{ action, code string }

type attributeSet struct {
	count []metric.AddOption
	time  []metric.RecordOption
}

func newMetrics(m metric.Meter) (*metrics, error) {
	out := &metrics{}
	var errs [3]error
	out.decisions, errs[0] = m.Int64Counter("bailiwick.gate.decisions", metric.WithDescription("Decided calls, by action, access, outcome and reason code."))
	buckets := metric.WithExplicitBucketBoundaries(2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5)
	out.took, errs[1] = m.Float64Histogram("bailiwick.gate.decision.duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("Time from a call's arrival to its decision, with the wait for the audit journal."))
	out.durable, errs[2] = m.Float64Histogram("bailiwick.audit.append.duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("Time until an audit entry was durable."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	return out, nil
}

func (m *metrics) now() time.Time {
	if m == nil {
		return time.Time{}
	}
	return time.Now()
}

func (m *metrics) decided(ctx context.Context, began time.Time, action string, err error) {
	if m == nil {
		return
	}
	key := outcome{action, string(policy.CodeAllowed)}
	if d, ok := errors.AsType[*Denial](err); ok {
		key.code = d.Code
	}
	known, isKnown := policy.LookupAction(action)
	if !isKnown {
		key.action = "unknown" // callers can send any method
	}
	set, ok := m.sets.Load(key)
	if !ok {
		word := "allow"
		if err != nil {
			word = "deny"
		}
		kv := attribute.NewSet(attribute.String("action", key.action), attribute.String("access", string(known.Access)),
			attribute.String("outcome", word), attribute.String("code", key.code))
		with := metric.WithAttributeSet(kv)
		set, _ = m.sets.LoadOrStore(key, &attributeSet{[]metric.AddOption{with}, []metric.RecordOption{with}})
	}
	s := set.(*attributeSet)
	m.decisions.Add(ctx, 1, s.count...)
	m.took.Record(ctx, time.Since(began).Seconds(), s.time...)
}

func (m *metrics) appended(ctx context.Context, began time.Time, err error) {
	if m == nil {
		return
	}
	key := outcome{code: "ok"}
	if err != nil {
		key.code = "error"
	}
	set, ok := m.sets.Load(key)
	if !ok {
		set, _ = m.sets.LoadOrStore(key, &attributeSet{time: []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", key.code)))}})
	}
	m.durable.Record(ctx, time.Since(began).Seconds(), set.(*attributeSet).time...)
}
