package audit

import (
	"errors"
	"io"
	"testing"
	"time"
)

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	j := open(t, JournalConfig{Dir: dir, SegmentBytes: 1000})
	appendN(t, j, 0, 100)
	r, err := OpenReader(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(time.Hour)
	if p, err := Prune(dir, 50, time.Now().Add(-time.Hour)); err != nil || p.Segments != 0 || p.First != 0 {
		t.Errorf("too young: %+v %v", p, err)
	}
	p, err := Prune(dir, 50, future)
	if err != nil || p.Segments == 0 || p.First == 0 || p.First > 50 {
		t.Fatalf("%+v %v", p, err)
	}
	first, ok, err := First(dir)
	if err != nil || !ok || first != p.First {
		t.Errorf("begins at %d, %v", first, err)
	}
	if again, err := Prune(dir, 50, future); err != nil || again.Segments != 0 || again.First != p.First {
		t.Errorf("again: %+v %v", again, err)
	}
	if gate, err := GateOf(dir); err != nil || gate != "test" {
		t.Errorf("gate %q %v", gate, err)
	}
	// What is beyond is all there, for the writer too.
	ids, err := readIDs(t, dir, first)
	if !errors.Is(err, io.EOF) || uint64(len(ids)) != 100-first {
		t.Errorf("%d entries, %v", len(ids), err)
	}
	appendN(t, j, 100, 5)
	// The newest segment stays whatever is asked.
	if p, err := Prune(dir, 1<<40, future); err != nil || p.First > 104 {
		t.Errorf("all: %+v %v", p, err)
	}
	closeJournal(t, j)
	j = open(t, JournalConfig{Dir: dir, SegmentBytes: 1000})
	if j.Next() != 105 || j.Recovered().Lost != 0 {
		t.Errorf("opened again at %d: %+v", j.Next(), j.Recovered())
	}
	appendN(t, j, 105, 5)
	if p, err := Prune(t.TempDir(), 10, future); err != nil || p.Segments != 0 {
		t.Errorf("no journal: %+v %v", p, err)
	}
}

func TestReadLabel(t *testing.T) {
	for _, e := range []Entry{
		entry("e1"), {ID: `a"b\c`, Time: time.Unix(1, 5), Kind: "k\n", Gate: "gäte\u2028"}, {ID: "x", Kind: KindLost, Time: time.Unix(1, 0)},
	} {
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := ReadLabel(raw); !ok || l != (Label{e.ID, e.Kind, e.Gate}) || KindOf(raw) != e.Kind {
			t.Errorf("%s: %+v %v", raw, l, ok)
		}
	}
	for _, bad := range []string{"", "{}", `{"v":1`, `{"v":1,"id":"x"}`, `{"v":1,"id":"x","time":"y","kind":"z","gate":"w`, `{"v":1,"id":"x\"}`} {
		if l, ok := ReadLabel([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, l)
		}
	}
}
