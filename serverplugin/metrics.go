package serverplugin

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the plugin's own; the gate counts decisions. A nil one does nothing.
type metrics struct {
	failures metric.Int64Counter
	lookups  metric.Int64Counter

	hit, miss []metric.AddOption
}

func newMetrics(m metric.Meter) (*metrics, error) {
	if m == nil {
		return nil, nil
	}
	var errs [2]error
	out := &metrics{
		hit:  []metric.AddOption{metric.WithAttributes(attribute.String("result", "hit"))},
		miss: []metric.AddOption{metric.WithAttributes(attribute.String("result", "miss"))},
	}
	out.failures, errs[0] = m.Int64Counter("bailiwick.policy.reload.failures", metric.WithDescription("Policy sets that were not put in force."))
	out.lookups, errs[1] = m.Int64Counter("bailiwick.token.cache.lookups", metric.WithDescription("Tokens looked for among those verified before."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	return out, nil
}

func (m *metrics) policyRefused() {
	if m != nil {
		m.failures.Add(context.Background(), 1)
	}
}

func (m *metrics) tokenSeen(cached bool) {
	if cached {
		m.lookups.Add(context.Background(), 1, m.hit...)
	} else {
		m.lookups.Add(context.Background(), 1, m.miss...)
	}
}
