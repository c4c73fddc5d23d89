package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// auditFlags make the audit rows larger than a quick look needs.
type auditFlags struct {
	sustained time.Duration
	entries   int
}

// registerAudit is called before the flags are parsed.
func registerAudit() func(meter) ([]row, error) {
	var f auditFlags
	flag.DurationVar(&f.sustained, "sustained", 8*time.Second, "audit: how long to write with the sealer on the same cores; the goal is meant for 1m")
	flag.IntVar(&f.entries, "entries", 200_000, "audit: size of the generated log for verifying, storage, proofs and queries; the goal is meant for 10000000")
	return func(m meter) ([]row, error) { return auditRows(m, f) }
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
	if m.rounds < 7 { // -quick
		f.sustained, f.entries = f.sustained/4, f.entries/4
	}
	dir, err := os.MkdirTemp("", "bailiwick-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	signer, key, err := tiles.LoadOrCreateKey(filepath.Join(dir, "key"), "bench.test/log")
	if err != nil {
		return nil, err
	}
	rows, err := sealingRows(m, f, filepath.Join(dir, "sealing"), signer)
	if err != nil {
		return nil, err
	}
	more, err := logRows(f, filepath.Join(dir, "log"), signer, key)
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
	stop := sealed(filepath.Join(dir, "journal"), filepath.Join(dir, "log"), signer)
	var n atomic.Int64
	var templates [1024]audit.Entry
	for i := range templates {
		templates[i] = auditEntry(rand.New(rand.NewPCG(2, uint64(i))), i)
	}
	// Slices of the sustained time, in turn with the bare file, while the sealer never stops: its backlog falls on ours.
	var ours, base []float64
	lag := uint64(0)
	for range m.rounds {
		ours = append(ours, perSecond(writers, f.sustained/time.Duration(m.rounds), func() {
			i := n.Add(1)
			e := templates[i%1024]
			e.ID = fmt.Sprintf("%s-%d", e.ID, i)
			must(j.Append(context.Background(), e))
		}))
		size := must(tiles.SealedSize(filepath.Join(dir, "log")))
		lag = max(lag, j.Next()-size)
		base = append(base, perSecond(writers, 4*m.slice, func() { bare.append(line) }))
	}
	if err := stop(); err != nil {
		return nil, err
	}
	awaited, err := awaitedTessera(filepath.Join(dir, "tessera"), signer, writers, max(m.slice*8, time.Second), line)
	if err != nil {
		return nil, err
	}
	rate := median(ours)
	return []row{
		atLeast(fmt.Sprintf("journal with sealing on the same cores, %d writers, %v (baseline: bare file)", writers, f.sustained), "events/s", rate, median(base), 0.55),
		{"entries waiting to be sealed, at most (baseline: written in 2 s)", float64(lag), "entries", 2 * rate, float64(lag) / (2 * rate), "ratio <= 1", float64(lag) <= 2*rate},
		atLeast(fmt.Sprintf("journal with sealing, %d writers (baseline: awaited Tessera POSIX)", writers), "events/s", rate, awaited, 20),
	}, nil
}

// awaitedTessera is what one would do without a journal: wait until each entry is integrated and published.
func awaitedTessera(dir string, signer note.Signer, writers int, d time.Duration, line []byte) (float64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return 0, err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(100*time.Millisecond).WithBatching(256, 10*time.Millisecond)
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return 0, err
	}
	var n atomic.Int64
	rate := perSecond(writers, d, func() {
		must(appender.Add(ctx, tessera.NewEntry(fmt.Append(line, n.Add(1))))())
	})
	return rate, shutdown(ctx)
}

// logRows measures a generated log: storage, verification, proofs and queries.
func logRows(f auditFlags, dir string, signer note.Signer, key string) ([]row, error) {
	journal, log := filepath.Join(dir, "journal"), filepath.Join(dir, "log")
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: journal, QueueEntries: f.entries, QueueBytes: 1 << 40})
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(3, 4))
	bytes := int64(0)
	stop := sealed(journal, log, signer)
	for i := range f.entries {
		e := auditEntry(r, i)
		bytes += int64(len(must(e.Marshal())))
		for {
			if err := j.Enqueue(e); err == nil {
				break
			} else if !errors.Is(err, audit.ErrFull) {
				return nil, err
			}
			time.Sleep(time.Millisecond)
		}
		if i%50_000 == 0 {
			for j.Next()-must(tiles.SealedSize(log)) > 200_000 {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	if err := j.Close(); err != nil {
		return nil, err
	}
	for must(tiles.SealedSize(log)) < uint64(f.entries) {
		time.Sleep(50 * time.Millisecond)
	}
	if err := stop(); err != nil {
		return nil, err
	}
	stored, err := collected(log, journal, signer)
	if err != nil {
		return nil, err
	}
	rows := []row{{fmt.Sprintf("storage of %d entries, sealed and collected (baseline: their JSON)", f.entries), float64(stored), "bytes", float64(bytes), float64(stored) / float64(bytes),
		"ratio <= 1.25", float64(stored) <= 1.25*float64(bytes)}}

	before := cpuTime()
	report, err := tiles.Verify(context.Background(), tiles.VerifyConfig{Log: log, VerifierKey: key})
	if err != nil || !report.OK() {
		return nil, errors.Join(fmt.Errorf("the log does not verify: %v", report.Problems), err)
	}
	perCore := float64(f.entries) / (cpuTime() - before).Seconds()
	rows = append(rows, atLeast(fmt.Sprintf("verifying a log of %d entries, per second of a core (baseline: the goal)", f.entries), "entries/s", perCore, 500_000, 1))
	more, err := askRows(f, dir, log, key, r)
	return append(rows, more...), err
}

// collected lets a sealer remove the log's partial tiles, as one that goes on does, and returns what is on disk. Of the journal, which
// can be pruned, nothing counts.
func collected(log, journal string, signer note.Signer) (int64, error) {
	stop := sealed(journal, log, signer)
	size := func() (n int64, err error) {
		err = filepath.WalkDir(log, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return ignoreGone(err)
			}
			info, err := d.Info()
			if err == nil {
				n += info.Size()
			}
			return ignoreGone(err)
		})
		return n, err
	}
	time.Sleep(75 * time.Second) // the sealer collects once a minute
	n, err := size()
	return n, errors.Join(err, stop())
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// cpuTime is what this process has used of all cores: a neighbour's load does not count.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// askRows measures proofs and queries, one at a time.
func askRows(f auditFlags, dir, log, key string, r *rand.Rand) ([]row, error) {
	ctx := context.Background()
	x, err := index.Open(ctx, filepath.Join(dir, "index.db"))
	if err != nil {
		return nil, err
	}
	defer x.Close()
	source := func(ctx context.Context, from uint64) iter.Seq2[index.Record, error] {
		return func(yield func(index.Record, error) bool) {
			for rec, err := range tiles.Scan(ctx, tiles.ScanConfig{Log: log, From: from}) {
				if !yield(index.Record{Index: rec.Index, Raw: rec.Raw, Entry: rec.Entry}, err) {
					return
				}
			}
		}
	}
	began := time.Now()
	if _, err := x.Sync(ctx, source); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "bench: indexed %d entries in %v\n", f.entries, time.Since(began).Round(time.Second))
	var once sync.Once
	p50 := func(n int, do func()) float64 {
		took := make([]float64, 0, n)
		once.Do(do)
		for range n {
			began := time.Now()
			do()
			took = append(took, float64(time.Since(began).Microseconds())/1000)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	none := []uint64{}
	rows := []row{atMost(fmt.Sprintf("proof of one of %d entries, p50 (baseline: the goal)", f.entries), "ms", p50(200, func() {
		must(tiles.Prove(ctx, tiles.ProveConfig{Log: log, VerifierKey: key, Index: r.Uint64N(uint64(f.entries)), KeyEntries: none}))
	}), 5, 1)}
	denied := false
	for _, q := range []struct {
		name   string
		filter func() index.Filter
	}{
		{"by person", func() index.Filter {
			return index.Filter{Actor: []string{fmt.Sprintf("user%d@acme.example", r.IntN(500))}}
		}},
		{"by workflow", func() index.Filter { return index.Filter{Workflow: []string{fmt.Sprintf("ship-%d", r.IntN(20_000))}} }},
		{"denied in a namespace", func() index.Filter { return index.Filter{Namespace: []string{"payments"}, Allow: &denied} }},
		{"by reason", func() index.Filter { return index.Filter{Reason: fmt.Sprintf("CHG-%d", r.IntN(5000))} }},
		{"a person's denied terminations", func() index.Filter {
			return index.Filter{Actor: []string{fmt.Sprintf("user%d@acme.example", r.IntN(500))}, Action: []string{"TerminateWorkflowExecution"}, Allow: &denied}
		}},
	} {
		ms := p50(100, func() {
			filter := q.filter()
			filter.Limit = 50
			_, _, err := x.Query(ctx, filter)
			check(err)
		})
		rows = append(rows, atMost(fmt.Sprintf("query %s, a page of 50 of %d entries, p50 (baseline: the goal)", q.name, f.entries), "ms", ms, 5, 1))
	}
	return rows, nil
}
