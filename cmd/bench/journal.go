package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// bareFile is the least that a durable log must do: collect what waits, write it with one write, fsync once, wake the writers.
type bareFile struct {
	f  *os.File
	mu sync.Mutex // guards buf and wake
	// buf is what the next write takes; wake is closed when that write is on disk.
	buf  []byte
	wake chan struct{}
	kick chan struct{}
}

func newBareFile(path string) (*bareFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	b := &bareFile{f: f, wake: make(chan struct{}), kick: make(chan struct{}, 1)}
	go func() {
		for range b.kick {
			b.mu.Lock()
			buf, wake := b.buf, b.wake
			b.buf, b.wake = nil, make(chan struct{})
			b.mu.Unlock()
			_ = must(f.Write(buf))
			check(f.Sync())
			close(wake)
		}
	}()
	return b, nil
}

func (b *bareFile) append(line []byte) {
	b.mu.Lock()
	b.buf = append(b.buf, line...)
	wake := b.wake
	b.mu.Unlock()
	select {
	case b.kick <- struct{}{}:
	default:
	}
	<-wake
}

// perSecond runs the writers for the time given and counts what they finished.
func perSecond(writers int, d time.Duration, append func()) float64 {
	rate, _ := pace(writers, d, append)
	return rate
}

// pace is perSecond with the median time that one append took, in microseconds.
func pace(writers int, d time.Duration, do func()) (rate, p50 float64) {
	var wg sync.WaitGroup
	took := make([][]float64, writers)
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for began := time.Now(); began.Sub(start) < d; {
				do()
				now := time.Now()
				took[w] = append(took[w], float64(now.Sub(began).Nanoseconds())/1e3)
				began = now
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start).Seconds()
	all := slices.Concat(took...)
	return float64(len(all)) / elapsed, median(all)
}

func journals(m meter) ([]row, error) {
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	bare, err := newBareFile(filepath.Join(dir, "bare"))
	if err != nil {
		return nil, err
	}
	entry := audit.Entry{
		Version: audit.EntryVersion, ID: "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", Time: time.Now().UTC(), Kind: audit.KindDecision, Gate: "dev",
		Actor:  audit.Party{Principal: "user:http://127.0.0.1:9080/oauth2/default|00ualice000000000001", Login: "alice@acme.example", ClientID: "0oabailiwickcli00001", Groups: []string{"temporal:deploy:write"}, TokenID: "AT.x"},
		Action: "StartWorkflowExecution", Access: "operate", Resource: policy.Resource{Namespace: "deploy", WorkflowType: "deploy", WorkflowID: "ship-142", TaskQueue: "deploy"},
		Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"role-write"}, PolicyDigest: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, Reason: "CHG-7",
	}
	line := append(must(entry.Marshal()), '\n')
	var rows []row
	for _, c := range []struct {
		writers int
		name    string
	}{{32, "journal, 32 writers (baseline: bare group-fsync file)"}, {256, "journal, 256 writers (baseline: bare group-fsync file)"}} {
		var ours, base, oursTook, baseTook []float64
		for range m.rounds {
			rate, p50 := pace(c.writers, 4*m.slice, func() { must(j.Append(context.Background(), entry)) })
			ours, oursTook = append(ours, rate), append(oursTook, p50)
			rate, p50 = pace(c.writers, 4*m.slice, func() { bare.append(line) })
			base, baseTook = append(base, rate), append(baseTook, p50)
		}
		rows = append(rows, atLeast(c.name, "events/s", median(ours), median(base), 0.9), atMost(c.name+", p50", "µs", median(oursTook), median(baseTook), 1.15))
	}
	return rows, nil
}
