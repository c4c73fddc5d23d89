package gate_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
)

// queue does what the caller's goroutine does of an Enqueue: it encodes the entry and puts it into a batch under a lock. Nothing takes the
// batch to a disk, whose speed is not the gate's.
type queue struct {
	mu    sync.Mutex
	batch [][]byte
}

func (q *queue) Append(_ context.Context, e audit.Entry) (uint64, error) { return 0, q.Enqueue(e) }

func (q *queue) Enqueue(e audit.Entry) error {
	raw, err := e.Marshal()
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batch) == 4096 {
		q.batch = q.batch[:0]
	}
	q.batch = append(q.batch, raw)
	return nil
}

// BenchmarkAdmit is the whole decision on a StartWorkflow with a cached token, and queueing its entry for the journal.
func BenchmarkAdmit(b *testing.B) { benchmarkAdmit(b, gate.Config{}) }

// BenchmarkAdmitMeasured is the same with metrics on, of a meter that keeps nothing.
func BenchmarkAdmitMeasured(b *testing.B) {
	benchmarkAdmit(b, gate.Config{Meter: noop.NewMeterProvider().Meter("test")})
}

func benchmarkAdmit(b *testing.B, with gate.Config) {
	with.Log = &queue{}
	k := newKitWith(b, "", with)
	c := gate.Call{
		Method: service + "StartWorkflowExecution", Request: startRequest(), Authorization: []string{"Bearer " + k.alice()},
		Reason: []string{"CHG-7: release"}, Source: netip.MustParseAddr("127.0.0.1"),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Admit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStamp is what an admitted StartWorkflow costs besides: one Ed25519 signature and its header.
func BenchmarkStamp(b *testing.B) {
	k := newKit(b, "")
	req := startRequest()
	a, err := k.Admit(b.Context(), gate.Call{Method: service + "StartWorkflowExecution", Request: req, Authorization: []string{"Bearer " + k.alice()}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Stamp(a, req); err != nil {
			b.Fatal(err)
		}
	}
	if _, ok := attest.FromPayload(req.Header.Fields[attest.HeaderKey]); !ok {
		b.Fatal("nothing was stamped")
	}
}
