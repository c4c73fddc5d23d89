package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// typical is an entry as the gate writes it for an allowed start: about 860 bytes in canonical form.
func typical(i int) audit.Entry {
	return audit.Entry{
		ID: fmt.Sprintf("019a0000-0000-7000-8000-%012d", i), Time: time.Unix(1790000000, int64(i)), Kind: audit.KindDecision, Gate: "dev",
		Actor: audit.Party{Principal: "user:http://127.0.0.1:9080/oauth2/default|00u1alice00000000001", Login: "alice@acme.example",
			ClientID: "0oabailiwickcli00001", Groups: []string{"Everyone", "temporal:deploy:write", "temporal:payments:read"}, TokenID: "AT.0a1b2c3d4e5f60718293"},
		Action: "StartWorkflowExecution", Access: "operate",
		Resource: policy.Resource{Namespace: "deploy", WorkflowType: "Deploy", WorkflowID: "deploy-web-1", TaskQueue: "deploy"},
		Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"roles.write"},
			PolicyDigest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
		Reason: "release 2026.11.23", RequestDigest: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752", Source: "127.0.0.1",
	}
}

// bare is the limit that the journal is measured against: bytes into one file by group fsync, nothing else.
type bare struct {
	file *os.File
	wake chan struct{}

	mu      sync.Mutex // covers the following
	pending []byte
	done    chan struct{} // closed when pending is on disk
}

func newBare(b *testing.B) *bare {
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	w := &bare{file: f, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		for range w.wake {
			w.mu.Lock()
			data, done := w.pending, w.done
			w.pending, w.done = make([]byte, 0, len(data)), make(chan struct{})
			w.mu.Unlock()
			if len(data) == 0 {
				continue
			}
			if _, err := f.Write(data); err != nil {
				panic(err)
			}
			if err := f.Sync(); err != nil {
				panic(err)
			}
			close(done)
		}
	}()
	b.Cleanup(func() { close(w.wake); _ = f.Close() })
	return w
}

func (w *bare) append(data []byte) {
	w.mu.Lock()
	w.pending = append(w.pending, data...)
	done := w.done
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	<-done
}

// writers runs b.N operations over n goroutines and reports events per second and latencies.
func writers(b *testing.B, n int, operation func(i int)) {
	b.Helper()
	var next atomic.Int64
	latencies := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				began := time.Now()
				operation(int(i))
				latencies[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(latencies[b.N/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(latencies[b.N*99/100].Microseconds()), "p99-us")
}

func BenchmarkDurableAppend(b *testing.B) {
	raw, err := typical(0).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("bare/writers=%d", n), func(b *testing.B) {
			w := newBare(b)
			b.SetBytes(int64(len(raw)))
			writers(b, n, func(int) { w.append(raw) })
		})
		b.Run(fmt.Sprintf("journal/writers=%d", n), func(b *testing.B) {
			j, err := audit.OpenJournal(audit.JournalConfig{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			b.SetBytes(int64(len(raw)))
			writers(b, n, func(i int) {
				if _, err := j.Append(context.Background(), typical(i)); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func BenchmarkEnqueue(b *testing.B) {
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: b.TempDir(), QueueEntries: b.N + 1, QueueBytes: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	e := typical(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Enqueue(e); err != nil {
			b.Skip(err) // the disk is slower than the loop and the queue is bounded
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	e := typical(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEntry(b *testing.B) {
	raw, err := typical(0).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audit.ParseEntry(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealVerify seals a journal of 50,000 entries and verifies the log beside the journal.
func BenchmarkSealVerify(b *testing.B) {
	const n = 50_000
	dir := b.TempDir()
	journal, log := filepath.Join(dir, "journal"), filepath.Join(dir, "log")
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: journal, QueueEntries: n, QueueBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if err := j.Enqueue(typical(i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	signer, key, err := tiles.LoadOrCreateKey(filepath.Join(dir, "key"), "bench.test/log")
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: []string{journal}, Log: log, Signer: signer})
	}()
	for size := uint64(0); size < n; time.Sleep(20 * time.Millisecond) {
		size, _ = tiles.SealedSize(log)
	}
	sealed := time.Since(began)
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := tiles.Verify(context.Background(), tiles.VerifyConfig{Log: log, Journals: []string{journal}, VerifierKey: key})
		if err != nil || !r.OK() || r.Entries != n {
			b.Fatalf("%+v %v", r, err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "verified/s")
	b.ReportMetric(n/sealed.Seconds(), "sealed/s")
}
