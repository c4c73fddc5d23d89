package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// logRows measures a generated log: storage, verification, proofs and queries.
func logRows(f auditFlags, rounds int) ([]row, error) {
	if err := os.MkdirAll(f.keep, 0o700); err != nil {
		return nil, err
	}
	signer, key, err := tiles.LoadOrCreateKey(filepath.Join(f.keep, "key"), "bench.test/log")
	if err != nil {
		return nil, err
	}
	log := filepath.Join(f.keep, "log")
	have, err := tiles.SealedSize(log)
	if err != nil {
		return nil, err
	}
	var rows []row
	if have == 0 {
		if rows, err = generate(f, log, signer); err != nil {
			return nil, err
		}
	} else if have != uint64(f.entries) {
		return nil, fmt.Errorf("the log in %s has %d entries: say -entries %d, or name another directory", f.keep, have, have)
	}
	// More than once: what runs on the same core beside a thread makes its time longer, and a small log takes a tenth of a second.
	var perCore []float64
	for range rounds {
		before := cpuTime()
		report, err := tiles.Verify(context.Background(), tiles.VerifyConfig{Log: log, VerifierKey: key})
		if err != nil || !report.OK() {
			return nil, errors.Join(fmt.Errorf("the log does not verify: %v", report.Problems), err)
		}
		perCore = append(perCore, float64(f.entries)/(cpuTime()-before).Seconds())
	}
	rows = append(rows, atLeast(fmt.Sprintf("verifying a log of %d entries, per second of a core (baseline: the goal)", f.entries), "entries/s", median(perCore), 500_000, 1))
	more, err := askRows(f, log, key)
	return append(rows, more...), err
}

// generate makes the log, by way of a journal that is removed when all is sealed, and measures what it takes on disk.
func generate(f auditFlags, log string, signer note.Signer) ([]row, error) {
	journal := filepath.Join(f.keep, "journal")
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: journal, QueueEntries: 1 << 16, QueueBytes: 1 << 30})
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
	return []row{{fmt.Sprintf("storage of %d entries, sealed and collected (baseline: their JSON)", f.entries), float64(stored), "bytes", float64(bytes), float64(stored) / float64(bytes),
		"ratio <= 1.25", float64(stored) <= 1.25*float64(bytes)}}, os.RemoveAll(journal)
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
func askRows(f auditFlags, log, key string) ([]row, error) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(5, 6))
	x, err := index.Open(ctx, filepath.Join(f.keep, "index.db"))
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
		{"by task queue and workflow type, which all have", func() index.Filter {
			return index.Filter{TaskQueue: []string{"deploy"}, WorkflowType: []string{"Deploy"}}
		}},
		{"by policy and two of four actions", func() index.Filter {
			return index.Filter{Policy: []string{"role-write"}, Action: []string{"StartWorkflowExecution", "SignalWorkflowExecution"}}
		}},
		{"a person in one namespace on one workflow", func() index.Filter {
			return index.Filter{Actor: []string{fmt.Sprintf("user%d@acme.example", r.IntN(500))}, Namespace: []string{"deploy"}, Workflow: []string{fmt.Sprintf("ship-%d", r.IntN(20_000))}}
		}},
		{"of a minute in the middle", func() index.Filter {
			from := time.Unix(1790000000, int64(r.IntN(f.entries))*1e6)
			return index.Filter{From: from, To: from.Add(time.Minute), Namespace: []string{"payments"}}
		}},
		{"by the beginning of an id", func() index.Filter { return index.Filter{ID: []string{fmt.Sprintf("0190%08x-*", r.IntN(f.entries))}} }},
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
