package tiles

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// gateEntry is the i-th entry of a gate, whose clock may be wrong.
func gateEntry(gate string, i int, skew time.Duration) audit.Entry {
	e := entry(i)
	e.ID, e.Gate, e.Time = fmt.Sprint(gate, "-", i), gate, e.Time.Add(skew)
	return e
}

func openGate(t testing.TB, dir string) *audit.Journal {
	t.Helper()
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: dir, SegmentBytes: 50_000, QueueEntries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// record writes entries from..to-1 of a gate.
func record(t testing.TB, dir, gate string, from, to int, skew time.Duration) {
	t.Helper()
	j := openGate(t, dir)
	for i := from; i < to; i++ {
		if err := j.Enqueue(gateEntry(gate, i, skew)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// several is a log of two gates here and the replicas of others.
type several struct {
	*testLog
	second, replicas string
}

func newSeveral(t testing.TB) *several {
	l := newLog(t)
	dir := filepath.Dir(l.log)
	return &several{testLog: l, second: filepath.Join(dir, "journal-control"), replicas: filepath.Join(dir, "replicas")}
}

func (l *several) config() SealerConfig {
	return SealerConfig{Journals: []string{l.journal, l.second}, Replicas: l.replicas, Log: l.log, Signer: l.signer, Interval: 200 * time.Millisecond}
}

func (l *several) journals(t testing.TB) []string {
	t.Helper()
	remote, err := Replicas(l.replicas)
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{l.journal, l.second}, remote...)
}

func (l *several) seal(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- RunSealer(ctx, l.config()) }()
	l.awaitSize(t, n)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (l *several) verify(t testing.TB) Report {
	t.Helper()
	r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: l.journals(t), VerifierKey: l.verifier})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ids returns the ids of a scan, which must have consecutive indexes, and how many were placed.
func (l *several) ids(t testing.TB, from uint64, placed bool) (ids []string, final int) {
	t.Helper()
	next := from
	for r, err := range Scan(t.Context(), ScanConfig{Log: l.log, Journals: l.journals(t), From: from, Placed: placed}) {
		if err != nil || r.Index != next {
			t.Fatalf("at %d: %+v %v", next, r, err)
		}
		next++
		if r.Placed {
			final++
		}
		ids = append(ids, r.Entry.ID)
	}
	return ids, final
}

// wantOrders checks that each gate's entries are there once, in their order.
func wantOrders(t testing.TB, ids []string, counts map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, id := range ids {
		gate, _, _ := strings.Cut(id, "-")
		if want := fmt.Sprint(gate, "-", got[gate]); id != want {
			t.Fatalf("%s where %s was due", id, want)
		}
		got[gate]++
	}
	for gate, n := range counts {
		if got[gate] != n {
			t.Errorf("%d entries of %s, want %d", got[gate], gate, n)
		}
	}
}

func TestSeveralGates(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 700, 0)
	record(t, l.second, "b", 0, 300, -time.Hour) // its clock is behind
	l.seal(t, 1000)
	record(t, filepath.Join(l.replicas, "c"), "c", 0, 100, 24*time.Hour)
	record(t, l.second, "b", 300, 350, -time.Hour)
	l.seal(t, 1150)
	record(t, l.journal, "a", 700, 710, 0)
	record(t, l.second, "b", 350, 355, time.Minute)
	r := l.verify(t)
	if !r.OK() || r.Journal != 1150 || r.Entries != 1150 || r.Unsealed != 15 || r.Elsewhere != 0 {
		t.Errorf("%+v", r)
	}
	for _, from := range []uint64{0, 5, 1149, 1150, 1155, 1165} {
		ids, final := l.ids(t, from, false)
		if len(ids) != 1165-int(from) || final != max(1150-int(from), 0) {
			t.Errorf("from %d: %d entries, %d placed", from, len(ids), final)
		}
		if from == 0 {
			wantOrders(t, ids, map[string]int{"a": 710, "b": 355, "c": 100})
		}
		if ids, _ := l.ids(t, from, true); len(ids) != max(1150-int(from), 0) {
			t.Errorf("placed from %d: %d", from, len(ids))
		}
	}
	// With some journals at hand, their entries are compared.
	r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: []string{l.second}, VerifierKey: l.verifier})
	if err != nil || !r.OK() || r.Journal != 350 || r.Elsewhere != 800 || r.Unsealed != 5 {
		t.Errorf("one journal of three: %+v %v", r, err)
	}
	n, err := Unplaced(t.Context(), ScanConfig{Log: l.log, Journals: []string{l.journal, l.second}}, 10)
	if err != nil || n != 10 {
		t.Errorf("%d unplaced, %v", n, err)
	}
}

// What the order says can be lost at any time: it is derived again from log and journals, and says the same.
func TestOrderIsDerived(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 400, 0)
	record(t, l.second, "b", 0, 300, 0)
	l.seal(t, 700)
	before, _, err := logDir(l.log).readOrder()
	if err != nil {
		t.Fatal(err)
	}
	want := before.used()
	stale := before
	stale.Size, stale.Runs = 5000, nil
	for name, spoil := range map[string]func(){
		"missing": func() { remove(t, filepath.Join(l.log, orderName)) },
		"ahead": func() {
			if err := logDir(l.log).writeOrder(stale, durableWrite); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func() {
			if err := logDir(l.log).writeOrder(order{}, durableWrite); err != nil {
				t.Fatal(err)
			}
		},
	} {
		spoil()
		record(t, l.journal, "a", int(want["a"].Next), int(want["a"].Next)+10, 0)
		l.seal(t, l.size(t)+10)
		o, ok, err := logDir(l.log).readOrder()
		if err != nil || !ok || o.used()["a"].Next != want["a"].Next+10 || o.used()["b"] != want["b"] {
			t.Errorf("%s: %+v %v", name, o.used(), err)
		}
		want = o.used()
		if r := l.verify(t); !r.OK() || r.Journal != uint64(l.size(t)) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	ids, _ := l.ids(t, 0, true)
	wantOrders(t, ids, map[string]int{"a": 430, "b": 300})
}

// Each write of the order broken, lost and persisted-but-reported-failed: the sealer comes back and nothing is doubled or moved.
func TestOrderWriteFaults(t *testing.T) {
	realWrite := durableWrite
	defer func() { durableWrite = realWrite }()
	for _, persisted := range []bool{false, true} {
		l := newSeveral(t)
		writes := 0
		durableWrite = func(path string, data []byte, perm os.FileMode) error {
			writes++
			if writes%3 != 2 {
				return realWrite(path, data, perm)
			}
			if persisted {
				if err := realWrite(path, data, perm); err != nil {
					return err
				}
			}
			return errors.New("injected fault")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- RunSealer(ctx, l.config()) }()
		a, b := openGate(t, l.journal), openGate(t, l.second)
		for i := range 300 {
			for gate, j := range map[string]*audit.Journal{"a": a, "b": b} {
				if err := j.Enqueue(gateEntry(gate, i, 0)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
		l.awaitSize(t, 600)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if r := l.verify(t); !r.OK() || r.Journal != 600 || writes < 3 {
			t.Errorf("persisted %v, %d writes: %+v", persisted, writes, r)
		}
		ids, _ := l.ids(t, 0, true)
		wantOrders(t, ids, map[string]int{"a": 300, "b": 300})
	}
}

// An index that was shown is final: after a crash between placing and integrating, the entries come in the order that was begun.
func TestOrderBegunIsKept(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 10, 0)
	record(t, l.second, "b", 0, 10, 0)
	if err := os.MkdirAll(l.log, 0o700); err != nil {
		t.Fatal(err)
	}
	o := order{Runs: []run{{Source: "b", From: 0, Count: 3}, {Source: "a", From: 0, Count: 2}, {Source: "b", From: 3, Count: 1}}}
	if err := logDir(l.log).writeOrder(o, durableWrite); err != nil {
		t.Fatal(err)
	}
	begun := []string{"b-0", "b-1", "b-2", "a-0", "a-1", "b-3"}
	if ids, final := l.ids(t, 0, true); !slices.Equal(ids, begun) || final != 6 {
		t.Errorf("placed: %v", ids)
	}
	l.seal(t, 20)
	ids, _ := l.ids(t, 0, true)
	if !slices.Equal(ids[:6], begun) {
		t.Errorf("sealed: %v", ids)
	}
	wantOrders(t, ids, map[string]int{"a": 10, "b": 10})
}

// An entry that comes by two ways is sealed once, and the journal that it was left out of still verifies.
func TestEntryByTwoWays(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 20, 0)
	l.seal(t, 20)
	j := openGate(t, l.second)
	for i := range 5 {
		_ = j.Enqueue(gateEntry("b", i, 0))
	}
	for i := 5; i < 9; i++ {
		raw, _ := gateEntry("a", i, 0).Marshal()
		// The same bytes under another gate's journal can't be made by that gate; entries of no gate at all can come twice.
		_, _ = j.AppendRaw(t.Context(), [][]byte{raw})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if err := RunSealer(ctx, l.config()); err != nil {
		t.Fatal(err)
	}
	if n := l.size(t); n != 25 { // entries that name another gate stop their journal, and nothing else
		t.Errorf("%d entries sealed", n)
	}
	record(t, l.journal, "a", 20, 25, 0)
	l.seal(t, 30)
}

func TestLeftOutDuplicates(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 20, 0)
	shared := make([][]byte, 4)
	for i := range shared {
		shared[i], _ = gateEntry("", i, 0).Marshal()
	}
	for _, dir := range []string{l.journal, l.second} {
		gate := map[string]string{l.journal: "a", l.second: "b"}[dir]
		from := map[string]int{"a": 20, "b": 0}[gate]
		j := openGate(t, dir)
		if _, err := j.Append(t.Context(), gateEntry(gate, from, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := j.AppendRaw(t.Context(), shared); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append(t.Context(), gateEntry(gate, from+1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l.seal(t, 22+2+4)
	if r := l.verify(t); !r.OK() || r.Entries != 28 || r.Unsealed != 0 {
		t.Errorf("%+v", r)
	}
	// A claim that something is in the log already which is not there is found out.
	o, _, _ := logDir(l.log).readOrder()
	if len(o.Skipped) != 1 || o.Skipped[0].Count != 4 {
		t.Fatalf("%+v", o.Skipped)
	}
	record(t, l.second, "b", 2, 5, 0)
	o.Skipped = append(o.Skipped, run{Source: "b", From: 6, Count: 2})
	if err := logDir(l.log).writeOrder(o, durableWrite); err != nil {
		t.Fatal(err)
	}
	if r := l.verify(t); codes(r) != "journal_mismatch" || len(r.Problems) != 2 {
		t.Errorf("a false claim: %+v", r.Problems)
	}
}

// Two journals of one gate are refused, and a replica that is not what was sealed stops nobody else.
func TestSeveralRefused(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 20, 0)
	record(t, l.second, "a", 0, 20, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := RunSealer(ctx, l.config()); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "are both of the gate") {
		t.Errorf("two journals of one gate: %v", err)
	}

	l = newSeveral(t)
	remote := filepath.Join(l.replicas, "c")
	record(t, l.journal, "a", 0, 20, 0)
	record(t, remote, "c", 0, 20, 0)
	l.seal(t, 40)
	if err := os.RemoveAll(remote); err != nil {
		t.Fatal(err)
	}
	record(t, remote, "c", 0, 5, 0) // shorter than what was sealed
	record(t, l.journal, "a", 20, 30, 0)
	l.seal(t, 50)
	if err := os.MkdirAll(l.second, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := l.verify(t); codes(r) != "journal_short" {
		t.Errorf("%+v", r.Problems)
	}
}

// A sealer killed at any moment, while two gates write, goes on where it was: nothing missing, doubled or moved.
func TestKilledSealerOfTwo(t *testing.T) {
	l := newSeveral(t)
	dir := filepath.Dir(l.log)
	a, b := openGate(t, l.journal), openGate(t, l.second)
	na, nb := 0, 0
	for round := range 8 {
		killSealer(t, dir, round, 300, func() {
			for range 30 {
				_ = a.Enqueue(gateEntry("a", na, 0))
				na++
			}
			for range rand.IntN(20) {
				_ = b.Enqueue(gateEntry("b", nb, 0))
				nb++
			}
		})
		if r := l.verify(t); !r.OK() && codes(r) != "checkpoint_missing" {
			t.Fatalf("round %d: %v", round, r.Problems)
		}
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	l.seal(t, na+nb)
	if r := l.verify(t); !r.OK() || r.Entries != uint64(na+nb) || r.Journal != r.Entries || r.Unsealed != 0 {
		t.Fatalf("of %d entries: %+v", na+nb, r)
	}
	ids, _ := l.ids(t, 0, true)
	wantOrders(t, ids, map[string]int{"a": na, "b": nb})
	t.Logf("%d and %d entries", na, nb)
}
