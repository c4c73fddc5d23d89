package audit

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// insist appends until it is acknowledged, and adds it to acked. Ids carry the attempt, so that a failed one that stayed can be told
// from the one that was acknowledged.
func insist(t *testing.T, j *Journal, i int, acked map[uint64]string) {
	t.Helper()
	for attempt := 0; ; attempt++ {
		id := fmt.Sprintf("e%d.%d", i, attempt)
		seq, err := j.Append(t.Context(), entry(id))
		if err == nil {
			if old, ok := acked[seq]; ok {
				t.Fatalf("sequence number %d was given to %s and %s", seq, old, id)
			}
			acked[seq] = id
			return
		}
		if !errors.Is(err, ErrBroken) {
			t.Fatalf("append failed with %v, which is not ErrBroken", err)
		}
		if attempt > 5000 {
			t.Fatalf("the journal did not re-open itself: %v", err)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func checkAcked(t *testing.T, dir string, acked map[uint64]string, why string) {
	t.Helper()
	ids, err := readIDs(t, dir, 0)
	if !errors.Is(err, io.EOF) {
		t.Fatalf("%s: reading ended with %v", why, err)
	}
	for seq, id := range acked {
		if seq >= uint64(len(ids)) || ids[seq] != id {
			t.Fatalf("%s: acknowledged entry %d (%s) is not there; there are %d: %v", why, seq, id, len(ids), ids)
		}
	}
}

// Every file operation of a run over several segments is broken in turn, in each way, once and three times in a row. Nothing
// acknowledged may be missing: for a reader that was there all along, for one that comes later, after a restart, after a power cut.
func TestEveryOperationBroken(t *testing.T) {
	const n = 12
	cfg := func(dir string, f *faultFiles) JournalConfig {
		return JournalConfig{Dir: dir, SegmentBytes: 500, Files: f}
	}
	clean := newFaultFiles()
	dir := t.TempDir()
	j := open(t, cfg(dir, clean))
	opened := len(clean.ops)
	for i := range n {
		insist(t, j, i, map[uint64]string{})
	}
	closeJournal(t, j)
	total := len(clean.ops)
	if total < opened+3*n {
		t.Fatalf("only %d operations: %v", total, clean.ops)
	}
	for _, times := range []int{1, 3} {
		for _, f := range []fault{lost, persisted, partial} {
			for at := opened; at < total-1; at++ { // the last is the mark's sync on Close
				why := fmt.Sprintf("operation %d (%s) %v %d times", at, clean.ops[at], f, times)
				dir := t.TempDir()
				files := newFaultFiles()
				files.fault = f
				hit := 0
				files.broken = func(_ string, i int) bool {
					if i >= at && i < at+times {
						hit++
						return true
					}
					return false
				}
				j := open(t, cfg(dir, files))
				watched := make(map[uint64]string)
				r, err := OpenReader(dir, 0)
				if err != nil {
					t.Fatal(err)
				}
				acked := map[uint64]string{}
				for i := range n {
					insist(t, j, i, acked)
					for {
						seq, raw, err := r.Next()
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							t.Fatalf("%s: reader beside: %v", why, err)
						}
						e, err := ParseEntry(raw)
						if err != nil {
							t.Fatal(err)
						}
						watched[seq] = e.ID
					}
				}
				if hit == 0 {
					t.Fatalf("%s: never reached", why)
				}
				closeJournal(t, j)
				if !j.markBehind { // else readers see the last entries when the next writer has opened it, below
					checkAcked(t, dir, acked, why)
				}
				files.powerCut(t, dir)
				again := open(t, JournalConfig{Dir: dir})
				if lost := again.Recovered().Lost; lost > 0 {
					t.Fatalf("%s: %d acknowledged entries lost by a power cut", why, lost)
				}
				checkAcked(t, dir, acked, why+", after a power cut")
				ids, _ := readIDs(t, dir, 0)
				for seq, id := range watched {
					if ids[seq] != id {
						t.Fatalf("%s: a reader was given %s as entry %d, which is %s now", why, id, seq, ids[seq])
					}
				}
				closeJournal(t, again)
				_ = r.Close()
			}
		}
	}
}

// A power cut at any moment keeps what was acknowledged: cut after every operation.
func TestPowerCutAnywhere(t *testing.T) {
	for stop := 0; ; stop++ {
		dir := t.TempDir()
		files := newFaultFiles()
		files.broken = func(_ string, i int) bool { return i >= stop } // from here on nothing reaches the disk
		acked := map[uint64]string{}
		j, err := OpenJournal(JournalConfig{Dir: dir, SegmentBytes: 500, Files: files})
		done := false
		if err == nil {
			for i := 0; ; i++ {
				id := fmt.Sprint("e", i)
				seq, err := j.Append(t.Context(), entry(id))
				if err != nil {
					break
				}
				acked[seq] = id
				if done = i == 8; done {
					break
				}
			}
			_ = j.Close()
		}
		files.powerCut(t, dir)
		again := open(t, JournalConfig{Dir: dir})
		if again.Recovered().Lost > 0 {
			t.Fatalf("stop at %d: recovered %+v", stop, again.Recovered())
		}
		checkAcked(t, dir, acked, fmt.Sprintf("power cut after operation %d", stop))
		closeJournal(t, again)
		if done {
			return
		}
	}
}

// A full disk refuses what must be recorded, says why, and goes on by itself when there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	files := newFaultFiles()
	var full bool
	files.fault, files.err = partial, syscall.ENOSPC
	files.broken = func(op string, _ int) bool {
		return full && (strings.HasPrefix(op, "write segment") || strings.HasPrefix(op, "open") || strings.HasPrefix(op, "truncate"))
	}
	setFull := func(v bool) { files.mu.Lock(); full = v; files.mu.Unlock() }
	j := open(t, JournalConfig{Dir: dir, Files: files, QueueEntries: 4})
	appendN(t, j, 0, 3)
	setFull(true)
	for range 3 {
		if _, err := j.Append(t.Context(), entry("refused")); !errors.Is(err, ErrBroken) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append on a full disk: %v", err)
		}
		if err := j.Enqueue(entry("refused")); !errors.Is(err, ErrBroken) {
			t.Fatalf("enqueue on a full disk: %v", err)
		}
	}
	if err := j.Healthy(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("healthy: %v", err)
	}
	wantIDs(t, dir, 3)
	setFull(false)
	for deadline := time.Now().Add(5 * time.Second); j.Healthy() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not go on")
		}
	}
	appendN(t, j, 3, 3)
	wantIDs(t, dir, 6)
}

// Enqueued entries survive a failed write and keep their order; the queue is bounded; waiting ones are told.
func TestEnqueueDuringFaults(t *testing.T) {
	dir := t.TempDir()
	files := newFaultFiles()
	held := make(chan struct{})
	reached := make(chan struct{})
	var once sync.Once
	failures := 1
	files.broken = func(op string, _ int) bool {
		if !strings.HasPrefix(op, "sync segment") || strings.HasSuffix(op, ".tmp") {
			return false
		}
		once.Do(func() { close(reached) })
		files.mu.Unlock() // the disk hangs, not the test
		<-held
		files.mu.Lock()
		failures--
		return failures == 0
	}
	j := func() *Journal {
		files.mu.Lock()
		broken := files.broken
		files.broken = func(string, int) bool { return false }
		files.mu.Unlock()
		j := open(t, JournalConfig{Dir: dir, Files: files, QueueEntries: 3})
		files.mu.Lock()
		files.broken = broken
		files.mu.Unlock()
		return j
	}()
	if err := j.Enqueue(entry("e0")); err != nil {
		t.Fatal(err)
	}
	<-reached // e0's sync hangs
	for i := range 3 {
		if err := j.Enqueue(entry(fmt.Sprint("e", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Enqueue(entry("too many")); !errors.Is(err, ErrFull) {
		t.Fatalf("beyond the bound: %v", err)
	}
	waiting := make(chan error)
	go func() {
		_, err := j.Append(t.Context(), entry("told"))
		waiting <- err
	}()
	for joined := false; !joined; time.Sleep(time.Millisecond) {
		j.mu.Lock()
		joined = len(j.pending.items) == 4
		j.mu.Unlock()
	}
	close(held)
	if err := <-waiting; !errors.Is(err, ErrBroken) {
		t.Errorf("who waited behind the failed batch: %v", err)
	}
	closeJournal(t, j)
	wantIDs(t, dir, 4)
}

// While the mark can't be written entries are still acknowledged, since they are durable, and readers catch up by themselves.
func TestMarkFailureOnlyDelaysReaders(t *testing.T) {
	for _, f := range []fault{lost, persisted} {
		dir := t.TempDir()
		files := newFaultFiles()
		files.fault = f
		broken := false
		files.broken = func(op string, _ int) bool { return broken && op == "write "+markName }
		j := open(t, JournalConfig{Dir: dir, Files: files})
		appendN(t, j, 0, 2)
		files.mu.Lock()
		broken = true
		files.mu.Unlock()
		appendN(t, j, 2, 2)
		if ids, _ := readIDs(t, dir, 0); f == lost && len(ids) != 2 {
			t.Errorf("read %d", len(ids))
		}
		files.mu.Lock()
		broken = false
		files.mu.Unlock()
		deadline := time.Now().Add(5 * time.Second)
		for ids, _ := readIDs(t, dir, 0); len(ids) != 4; ids, _ = readIDs(t, dir, 0) {
			if time.Now().After(deadline) {
				t.Fatalf("%v: readers see %v", f, ids)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
