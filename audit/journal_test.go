package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func entry(id string) Entry {
	return Entry{ID: id, Time: time.Unix(1790000000, 0), Kind: KindDecision, Gate: "test", Reason: "because of " + id}
}

func open(t testing.TB, cfg JournalConfig) *Journal {
	t.Helper()
	j, err := OpenJournal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func appendN(t testing.TB, j *Journal, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		seq, err := j.Append(t.Context(), entry(fmt.Sprint("e", i)))
		if err != nil || seq != uint64(i) {
			t.Fatalf("append %d: got sequence number %d, %v", i, seq, err)
		}
	}
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// readIDs returns the ids from seq on, checking that the numbers count up, and the error that ended it.
func readIDs(t testing.TB, dir string, from uint64) ([]string, error) {
	t.Helper()
	r, err := OpenReader(dir, from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var ids []string
	for want := from; ; want++ {
		seq, raw, err := r.Next()
		if err != nil {
			return ids, err
		}
		if seq != want {
			t.Fatalf("read sequence number %d, want %d", seq, want)
		}
		e, err := ParseEntry(raw)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
}

func wantIDs(t testing.TB, dir string, n int) {
	t.Helper()
	ids, err := readIDs(t, dir, 0)
	if !errors.Is(err, io.EOF) || len(ids) != n {
		t.Fatalf("read %d entries, want %d (%v)", len(ids), n, err)
	}
	for i, id := range ids {
		if id != fmt.Sprint("e", i) {
			t.Fatalf("entry %d is %q", i, id)
		}
	}
}

func TestAppendReadReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "journal")
	for _, size := range []int64{1, 700, 0} { // each entry its own segment; a few; one
		j := open(t, JournalConfig{Dir: dir, SegmentBytes: size})
		n := int(j.Next())
		appendN(t, j, n, 20)
		wantIDs(t, dir, n+20) // beside the writer
		closeJournal(t, j)
		if r := j.Recovered(); r.Cut != 0 || r.Lost != 0 || r.Entries != uint64(n) {
			t.Errorf("a journal closed well was recovered: %+v", r)
		}
		wantIDs(t, dir, n+20)
	}
	for _, from := range []uint64{1, 19, 20, 39, 41, 59} {
		ids, err := readIDs(t, dir, from)
		if !errors.Is(err, io.EOF) || len(ids) != 60-int(from) || ids[0] != fmt.Sprint("e", from) {
			t.Errorf("from %d: %v %v", from, ids, err)
		}
	}
	for name, want := range map[string]os.FileMode{".": 0o700, markName: 0o600, filepath.Base(segmentPath(dir, 1)): 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	j := open(t, JournalConfig{Dir: dir})
	if _, err := OpenJournal(JournalConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process writes this journal") {
		t.Fatalf("second opener: %v", err)
	}
	closeJournal(t, j)
	open(t, JournalConfig{Dir: dir})
}

func TestOpenJournalErrors(t *testing.T) {
	if _, err := OpenJournal(JournalConfig{}); err == nil {
		t.Error("opened without a directory")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(JournalConfig{Dir: file}); err == nil {
		t.Error("opened a file as a directory")
	}
}

func TestConcurrentAppend(t *testing.T) {
	dir := t.TempDir()
	j := open(t, JournalConfig{Dir: dir, SegmentBytes: 4096})
	got := make([]string, 16*50)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			last := -1
			for i := range 50 {
				id := fmt.Sprintf("%d/%d", w, i)
				seq, err := j.Append(t.Context(), entry(id))
				if err != nil {
					t.Error(err)
					return
				}
				if int(seq) <= last {
					t.Errorf("a writer's own order is lost: %d after %d", seq, last)
				}
				last = int(seq)
				got[seq] = id
			}
		})
	}
	wg.Wait()
	ids, err := readIDs(t, dir, 0)
	if !errors.Is(err, io.EOF) || len(ids) != len(got) {
		t.Fatalf("read %d entries (%v)", len(ids), err)
	}
	for i := range ids {
		if ids[i] != got[i] {
			t.Fatalf("entry %d is %q, Append said it was %q", i, ids[i], got[i])
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	j := open(t, JournalConfig{Dir: t.TempDir()})
	big := entry("big")
	big.Reason = strings.Repeat("x", MaxEntry)
	if _, err := j.Append(t.Context(), big); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := j.Append(t.Context(), Entry{}); err == nil {
		t.Error("an empty entry was taken")
	}
	if err := j.Enqueue(Entry{}); err == nil {
		t.Error("an empty entry was enqueued")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Append(ctx, entry("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	closeJournal(t, j)
	closeJournal(t, j)
	if _, err := j.Append(t.Context(), entry("e")); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	if err := j.Enqueue(entry("e")); !errors.Is(err, ErrClosed) {
		t.Errorf("enqueue after close: %v", err)
	}
	if err := j.Healthy(); !errors.Is(err, ErrClosed) {
		t.Errorf("healthy after close: %v", err)
	}
}

func TestEnqueueIsWrittenOnClose(t *testing.T) {
	dir := t.TempDir()
	j := open(t, JournalConfig{Dir: dir})
	for i := range 100 {
		if err := j.Enqueue(entry(fmt.Sprint("e", i))); err != nil {
			t.Fatal(err)
		}
	}
	closeJournal(t, j)
	wantIDs(t, dir, 100)
}

// A reader started before there is anything sees each entry once it is acknowledged, over segments and a restart of the writer.
func TestReaderFollows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	r, err := OpenReader(dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("nothing there yet: %v", err)
	}
	next := uint64(3)
	for round := range 3 {
		j := open(t, JournalConfig{Dir: dir, SegmentBytes: 500})
		for i := round * 10; i < round*10+10; i++ {
			appendN(t, j, i, 1)
			for seq, _, err := r.Next(); err == nil; seq, _, err = r.Next() {
				if seq != next {
					t.Fatalf("read %d, want %d", seq, next)
				}
				next++
			}
			if i >= 3 && next != uint64(i+1) {
				t.Fatalf("entry %d is acknowledged but the reader is at %d", i, next)
			}
		}
		if n, known := r.Acknowledged(); !known || n != next {
			t.Errorf("acknowledged: %d %v, want %d", n, known, next)
		}
		closeJournal(t, j)
	}
}

// A reader in the middle of a busy journal never sees a torn record, a gap or a repetition.
func TestReaderBesideBusyWriter(t *testing.T) {
	dir := t.TempDir()
	j := open(t, JournalConfig{Dir: dir, SegmentBytes: 20_000})
	const n = 3000
	go func() {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range n / 8 {
					if _, err := j.Append(context.Background(), entry(fmt.Sprint(w, "/", i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}()
	r, err := OpenReader(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	deadline := time.Now().Add(15 * time.Second)
	for want := uint64(0); want < n; {
		seq, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			if time.Now().After(deadline) {
				t.Fatalf("only %d entries", want)
			}
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if err != nil || seq != want {
			t.Fatalf("read %d (%v), want %d", seq, err, want)
		}
		if _, err := ParseEntry(raw); err != nil {
			t.Fatal(err)
		}
		want++
	}
}

// What is beyond the mark is not read: its sync may still fail. A copy without a mark is read to its last whole entry.
func TestReaderStopsAtMark(t *testing.T) {
	dir := t.TempDir()
	j := open(t, JournalConfig{Dir: dir})
	appendN(t, j, 0, 5)
	closeJournal(t, j)
	mark := filepath.Join(dir, markName)
	if err := os.WriteFile(mark, encodeMark(3), 0o600); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, dir, 3)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, dir, 0)
	if err := os.WriteFile(mark, []byte("123456789012"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(dir, 0); !errors.Is(err, errBadMark) {
		t.Errorf("damaged mark: %v", err)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, dir, 5)
	chop(t, segmentPath(dir, 1), 7)
	wantIDs(t, dir, 4)
}

// chop cuts n bytes off the end of a file.
func chop(t testing.TB, path string, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-n); err != nil {
		t.Fatal(err)
	}
}
