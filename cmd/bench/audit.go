package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// auditFlags make the audit rows larger than a quick look needs.
type auditFlags struct {
	sustained time.Duration
	entries   int
	keep      string
}

// registerAudit is called before the flags are parsed.
func registerAudit() func(meter) ([]row, error) {
	var f auditFlags
	flag.DurationVar(&f.sustained, "sustained", 8*time.Second, "audit: how long to write with the sealer on the same cores")
	flag.IntVar(&f.entries, "entries", 200_000, "audit: size of the generated log for verifying, storage, proofs and queries")
	flag.StringVar(&f.keep, "keep", "", "audit: make the generated log and its index in this directory, and use those that are there")
	long := flag.Bool("long", false, "audit: the sizes that the goals are meant for: a minute of sealing, a log of 10,000,000 entries (about 40 minutes and 30 GB)")
	return func(m meter) ([]row, error) {
		if m.rounds < 7 { // -quick
			f.sustained, f.entries = f.sustained/4, f.entries/4
		} else if *long {
			f.sustained, f.entries = time.Minute, 10_000_000
		}
		return auditRows(m, f)
	}
}

// auditEntry is the i-th of a log in which people, workflows and outcomes vary.
func auditEntry(r *rand.Rand, i int) audit.Entry {
	allow := r.IntN(50) != 0
	code := policy.CodeAllowed
	if !allow {
		code = policy.CodeNoPermission
	}
	who := r.IntN(500)
	return audit.Entry{
		ID: fmt.Sprintf("0190%08x-7000-8000-9000-%012x", i, r.Uint64N(1<<48)), Time: time.Unix(1790000000, int64(i)*1e6).UTC(), Kind: audit.KindDecision, Gate: "dev",
		Actor: audit.Party{Principal: fmt.Sprintf("user:http://127.0.0.1:9080/oauth2/default|00u%08d", who), Login: fmt.Sprintf("user%d@acme.example", who), ClientID: "0oabailiwickcli00001",
			Groups: []string{"Everyone", "temporal:deploy:write"}, TokenID: fmt.Sprintf("AT.%016x", r.Uint64())},
		Action: []string{"StartWorkflowExecution", "SignalWorkflowExecution", "TerminateWorkflowExecution", "RespondWorkflowTaskCompleted"}[r.IntN(4)], Access: "operate",
		Resource: policy.Resource{Namespace: []string{"deploy", "payments", "default"}[r.IntN(3)], WorkflowType: "Deploy", WorkflowID: fmt.Sprintf("ship-%d", r.IntN(20_000)), TaskQueue: "deploy"},
		Decision: &policy.Decision{Allow: allow, Code: code, Policies: []string{"role-write"}, PolicyDigest: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		Reason:   fmt.Sprintf("CHG-%d", r.IntN(5000)), RequestDigest: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752", Source: "127.0.0.1",
	}
}

func auditRows(m meter, f auditFlags) ([]row, error) {
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	signer, _, err := tiles.LoadOrCreateKey(filepath.Join(dir, "key"), "bench.test/log")
	if err != nil {
		return nil, err
	}
	rows, err := sealingRows(m, f, filepath.Join(dir, "sealing"), signer)
	if err != nil {
		return nil, err
	}
	if f.keep == "" {
		f.keep = filepath.Join(dir, "generated")
	}
	more, err := logRows(f, m.rounds)
	return append(rows, more...), err
}

// sealed runs a sealer until stop is called, which returns its error.
func sealed(journal, log string, signer note.Signer) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: []string{journal}, Log: log, Signer: signer})
	}()
	return func() error { cancel(); return <-done }
}

// sealingRows measures acknowledged entries with the sealer on the same cores, against the bare file and against Tessera awaited.
func sealingRows(m meter, f auditFlags, dir string, signer note.Signer) ([]row, error) {
	const writers = 32
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	bare, err := newBareFile(filepath.Join(dir, "bare"))
	if err != nil {
		return nil, err
	}
	line := append(must(auditEntry(rand.New(rand.NewPCG(1, 1)), 0).Marshal()), '\n')
	var n atomic.Int64
	var templates [1024]audit.Entry
	for i := range templates {
		templates[i] = auditEntry(rand.New(rand.NewPCG(2, uint64(i))), i)
	}
	var base, ours []float64
	baseline := func() {
		for range m.rounds {
			base = append(base, perSecond(writers, 4*m.slice, func() { bare.append(line) }))
		}
	}
	ack := func() {
		i := n.Add(1)
		e := templates[i%1024]
		e.ID = fmt.Sprintf("%s-%d", e.ID, i)
		must(j.Append(context.Background(), e))
	}
	// The acknowledging journal and the peer in turn, so that a neighbour's load falls on both.
	peer, stopPeer, err := newAwaited(filepath.Join(dir, "tessera"), signer)
	if err != nil {
		return nil, err
	}
	var awaited []float64
	for range m.rounds {
		ours = append(ours, perSecond(writers, 4*m.slice, ack))
		awaited = append(awaited, perSecond(writers, 4*m.slice, func() { peer(fmt.Append(line, n.Add(1))) }))
	}
	if err := stopPeer(); err != nil {
		return nil, err
	}
	rows := []row{atLeast(fmt.Sprintf("acknowledging journal, %d writers (baseline: awaited Tessera POSIX)", writers), "events/s", median(ours), median(awaited), 20)}

	baseline()
	log := filepath.Join(dir, "log")
	stop := sealed(filepath.Join(dir, "journal"), log, signer)
	for j.Next() > must(tiles.SealedSize(log)) {
		time.Sleep(10 * time.Millisecond) // what was written above is not the sealer's to catch up with in the time measured
	}
	watched := watchSealing(j, log)
	rate := perSecond(writers, f.sustained, ack)
	lag, early, late := watched()
	baseline()
	if err := stop(); err != nil {
		return nil, err
	}
	return append(rows,
		atLeast(fmt.Sprintf("journal with sealing on the same cores, %d writers, %v without a pause (baseline: bare file)", writers, f.sustained), "events/s", rate, median(base), 0.55),
		row{"entries waiting to be sealed, at most (baseline: written in 2 s)", lag, "entries", 2 * rate, lag / (2 * rate), "ratio <= 1", lag <= 2*rate},
		atMost("memory while sealing, most in the second half of the time (baseline: in the first)", "MB", late, early, 1.25),
	), nil
}

// watchSealing looks ten times a second, until it is called back, how many entries wait to be sealed and how much of the heap is in use: the most
// in MB in the first half of the time, and in the second.
func watchSealing(j *audit.Journal, log string) func() (lag, early, late float64) {
	done := make(chan struct{})
	ended := make(chan struct{})
	var lag float64
	var heap []float64
	go func() {
		defer close(ended)
		for {
			size := must(tiles.SealedSize(log))
			lag = max(lag, float64(j.Next()-size))
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			heap = append(heap, float64(s.HeapInuse)/1e6)
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() (float64, float64, float64) {
		close(done)
		<-ended
		half := len(heap) / 2
		return lag, slices.Max(heap[:max(half, 1)]), slices.Max(heap[half:])
	}
}

// newAwaited is what one would do without a journal: each writer waits until its entry is integrated into the log. Batches of 256 at most, cut
// after 10 ms, are the peer's best for few writers: its own default waits a quarter of a second.
func newAwaited(dir string, signer note.Signer) (add func([]byte), stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(100*time.Millisecond).WithBatching(256, 10*time.Millisecond)
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return func(entry []byte) { must(appender.Add(ctx, tessera.NewEntry(entry))()) },
		func() error { defer cancel(); return shutdown(ctx) }, nil
}
