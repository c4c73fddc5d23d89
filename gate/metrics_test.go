package gate_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
)

// meter counts what is added and recorded, by instrument and attributes.
type meter struct {
	noop.Meter
	mu    sync.Mutex
	seen  map[string]int
	fails bool
}

func (m *meter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if m.fails {
		return nil, errors.New("no more instruments")
	}
	return counter{m: m, name: name}, nil
}

func (m *meter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return histogram{m: m, name: name}, nil
}

type counter struct {
	noop.Int64Counter
	m    *meter
	name string
}

func (c counter) Add(_ context.Context, n int64, opts ...metric.AddOption) {
	set := metric.NewAddConfig(opts).Attributes()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.seen[fmt.Sprintf("%s %s", c.name, set.Encoded(attribute.DefaultEncoder()))] += int(n)
}

type histogram struct {
	noop.Float64Histogram
	m    *meter
	name string
}

func (h histogram) Record(_ context.Context, v float64, opts ...metric.RecordOption) {
	set := metric.NewRecordConfig(opts).Attributes()
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if v <= 0 || v > 60 {
		h.m.seen["out of range"]++
	}
	h.m.seen[fmt.Sprintf("%s %s", h.name, set.Encoded(attribute.DefaultEncoder()))]++
}

// nobody verifies nothing.
type nobody struct{}

func (nobody) Verify(context.Context, identity.Unverified) (identity.Identity, error) {
	return identity.Identity{}, nil
}

func (nobody) VerifyCompanion(context.Context, identity.Identity, identity.Unverified) (identity.Companion, error) {
	return identity.Companion{}, nil
}

func TestDecisionsAreCounted(t *testing.T) {
	m := &meter{seen: map[string]int{}}
	k := newKitWith(t, "", gate.Config{Meter: m})
	for range 3 {
		_, _ = k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), k.alice()))
	}
	_, _ = k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), ""))
	for i := range 50 {
		_, _ = k.Admit(t.Context(), k.call(fmt.Sprintf("Teleport%d", i), &workflowservice.GetSystemInfoRequest{}, k.alice()))
	}
	k.log.broken = errors.New("no space left on device")
	_, _ = k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), k.alice()))
	for key, want := range map[string]int{
		"bailiwick.gate.decisions access=operate,action=StartWorkflowExecution,code=allowed,outcome=allow":          3,
		"bailiwick.gate.decision.duration access=operate,action=StartWorkflowExecution,code=allowed,outcome=allow":  3,
		"bailiwick.gate.decisions access=operate,action=StartWorkflowExecution,code=token_missing,outcome=deny":     1,
		"bailiwick.gate.decisions access=operate,action=StartWorkflowExecution,code=audit_unavailable,outcome=deny": 1,
		"bailiwick.gate.decisions access=,action=unknown,code=unknown_method,outcome=deny":                          50,
		"bailiwick.audit.append.duration outcome=ok":                                                                3,
		"bailiwick.audit.append.duration outcome=error":                                                             1,
		"out of range": 0,
	} {
		if m.seen[key] != want {
			t.Errorf("%s: %d, want %d", key, m.seen[key], want)
		}
	}
	if len(m.seen) > 10 {
		t.Errorf("%d series: callers can make more by sending unknown methods: %v", len(m.seen), m.seen)
	}
	if _, err := gate.New(gate.Config{Name: "g", Audience: "a", Verifier: nobody{}, Policy: k.engine, Log: k.log, Signer: k.signer, Meter: &meter{fails: true}}); err == nil {
		t.Error("a meter that can't make instruments was taken")
	}
}
