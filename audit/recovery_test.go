package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filled makes a journal of n entries in one segment and returns its directory and the segment's bytes. marked is what the mark says.
func filled(t *testing.T, n int, marked uint64) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	j := open(t, JournalConfig{Dir: dir})
	appendN(t, j, 0, n)
	closeJournal(t, j)
	if err := os.WriteFile(filepath.Join(dir, markName), encodeMark(marked), 0o600); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(segmentPath(dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	return dir, content
}

// offsets returns where each record begins, and the end.
func offsets(t *testing.T, content []byte) []int64 {
	t.Helper()
	r := records{file: bytes.NewReader(content), off: segmentHeader}
	at := []int64{r.off}
	for {
		if _, err := r.next(); err != nil {
			return at
		}
		at = append(at, r.off)
	}
}

// A writer that died in the middle leaves any prefix of its last records, or zeros, or garbage, in their place.
func TestTornTail(t *testing.T) {
	dir, content := filled(t, 3, 2)
	at := offsets(t, content)
	path := segmentPath(dir, 1)
	tails := map[string][]byte{"zeros": make([]byte, 5000), "one zero": {0}, "garbage": bytes.Repeat([]byte{0xA5}, 100),
		"repeated": content[at[1]:at[2]], "other number": content[at[0]:at[1]], "too long": {0, 0, 1, 0, 1, 2, 3, 4}}
	for n := at[2]; n < at[3]; n++ {
		tails[fmt.Sprintf("record cut at %d", n-at[2])] = content[at[2]:n]
	}
	flipped := bytes.Clone(content[at[2]:])
	flipped[30] ^= 1
	tails["flipped bit"] = flipped
	for name, tail := range tails {
		if err := os.WriteFile(path, append(bytes.Clone(content[:at[2]]), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, markName), encodeMark(2), 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, JournalConfig{Dir: dir})
		r := j.Recovered()
		if r.Entries != 2 || r.Cut != int64(len(tail)) || r.Lost != 0 || (len(tail) > 0) != (r.Reason != "") {
			t.Errorf("%s: recovered %+v", name, r)
		}
		appendN(t, j, 2, 2)
		wantIDs(t, dir, 4)
		closeJournal(t, j)
	}
}

// Whole entries that were written but not acknowledged stay.
func TestUnacknowledgedStays(t *testing.T) {
	dir, _ := filled(t, 5, 2)
	wantIDs(t, dir, 2)
	j := open(t, JournalConfig{Dir: dir})
	if r := j.Recovered(); r.Entries != 5 || r.Cut != 0 {
		t.Errorf("recovered %+v", r)
	}
	wantIDs(t, dir, 5)
}

// When acknowledged entries are gone their numbers are not given again: entries that say so take their places.
func TestAcknowledgedEntriesGone(t *testing.T) {
	for name, damage := range map[string]func(content []byte, at []int64) []byte{
		"cut":         func(c []byte, at []int64) []byte { return c[:at[2]+5] },
		"zeroed":      func(c []byte, at []int64) []byte { clear(c[at[2]:]); return c },
		"flipped bit": func(c []byte, at []int64) []byte { c[at[2]+20] ^= 1; return c },
		"all":         func([]byte, []int64) []byte { return nil },
	} {
		dir, content := filled(t, 5, 5)
		at := offsets(t, content)
		whole := uint64(2)
		if name == "all" {
			whole = 0
		}
		if err := os.WriteFile(segmentPath(dir, 1), damage(bytes.Clone(content), at), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readIDs(t, dir, 0); !errors.As(err, new(*CorruptError)) {
			t.Errorf("%s: reading the damage gave %v", name, err)
		}
		j := open(t, JournalConfig{Dir: dir})
		if r := j.Recovered(); r.Lost != 5-whole || r.Entries != 5 {
			t.Errorf("%s: recovered %+v", name, r)
		}
		appendN(t, j, 5, 1)
		ids, err := readIDs(t, dir, 0)
		if !errors.Is(err, io.EOF) || len(ids) != 6 {
			t.Fatalf("%s: read %v %v", name, ids, err)
		}
		for i, id := range ids {
			want := fmt.Sprint("e", i)
			if uint64(i) >= whole && i < 5 {
				want = fmt.Sprint("lost-", i)
			}
			if id != want {
				t.Errorf("%s: entry %d is %s, want %s", name, i, id, want)
			}
		}
		kept, _ := filepath.Glob(filepath.Join(dir, segmentPrefix+"*.*"))
		if len(kept) != 1 {
			t.Errorf("%s: what was cut is not kept: %v", name, kept)
		}
		closeJournal(t, j)
	}
	dir, _ := filled(t, 1, 5+maxLost)
	if _, err := OpenJournal(JournalConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "belongs to another journal") {
		t.Errorf("a mark of another journal: %v", err)
	}
}

// The tail of a segment that could not be cut is hidden by the one after it, for readers and after a restart.
func TestAbandonedTail(t *testing.T) {
	dir, content := filled(t, 3, 3)
	next, err := createSegment(osFiles{}, dir, segment{ordinal: 2, base: 2, path: segmentPath(dir, 2)})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := entry("instead").Marshal()
	if _, err := next.WriteAt(appendRecord(nil, 2, raw), segmentHeader); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		ids, err := readIDs(t, dir, 0)
		if !errors.Is(err, io.EOF) || fmt.Sprint(ids) != "[e0 e1 instead]" {
			t.Errorf("round %d: read %v %v", round, ids, err)
		}
		j := open(t, JournalConfig{Dir: dir})
		if j.Next() != 3 {
			t.Errorf("next is %d", j.Next())
		}
		closeJournal(t, j)
	}
	// A gap between segments is damage, not an end.
	if err := os.WriteFile(segmentPath(dir, 1), content[:offsets(t, content)[1]], 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *CorruptError
	if _, err := readIDs(t, dir, 0); !errors.As(err, &corrupt) || corrupt.Seq != 1 || corrupt.Short {
		t.Errorf("gap: %v", err)
	}
}

func TestSegmentOfAnotherVersion(t *testing.T) {
	dir, content := filled(t, 1, 1)
	content[7] = 2
	if err := os.WriteFile(segmentPath(dir, 1), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(JournalConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "newer bailiwick") {
		t.Errorf("a newer segment was opened: %v", err)
	}
	if got, err := os.ReadFile(segmentPath(dir, 1)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a newer segment was changed: %v", err)
	}
}

// Golden bytes of the journal's files, version 1.
func TestJournalGolden(t *testing.T) {
	got := appendRecord(encodeSegmentHeader(7), 7, []byte("entry"))

	if s := fmt.Sprintf("%q", got); s != goldenSegment {
		t.Errorf("got %s", s)
	}
	if s := fmt.Sprintf("%q", encodeMark(7)); s != goldenMark {
		t.Errorf("got %s", s)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendRecord(nil, 3, []byte("entry")))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		entry, size, err := decodeRecord(b, 3)
		if err != nil {
			return
		}
		if again := appendRecord(nil, 3, entry); !bytes.Equal(again, b[:size]) {
			t.Errorf("read %q, wrote %q", b[:size], again)
		}
	})
}

// Checked against an independent CRC-32C.
const (
	goldenSegment = `"BWJRNL\x00\x01\a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x14\x1e\x8a^` +
		`\x05\x00\x00\x00\xe8,\f\x8e\a\x00\x00\x00\x00\x00\x00\x00entry"`
	goldenMark = `"\a\x00\x00\x00\x00\x00\x00\x00\x8e\xb7qv"`
)
