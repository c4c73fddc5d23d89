package tiles

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// editBundle rewrites a bundle's entries.
func (l *testLog) editBundle(t *testing.T, n uint64, edit func([][]byte) [][]byte) {
	t.Helper()
	size := uint64(l.size(t))
	entries, err := logDir(l.log).readBundle(n, size)
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for _, e := range edit(slices.Clone(entries)) {
		data = append(binary.BigEndian.AppendUint16(data, uint16(len(e))), e...)
	}
	write(t, logDir(l.log).path(entriesLevel, n, width(entriesLevel, n, size)), data)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, change(data))
}

// sign replaces the checkpoint.
func (l *testLog) sign(t *testing.T, s note.Signer, name string, size int, root tlog.Hash) {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", name, size, root)}, s)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.log, checkpointName), msg)
}

// rootOf computes the root of the first n entries of the log.
func (l *testLog) rootOf(t *testing.T, n int) tlog.Hash {
	t.Helper()
	var f frontier
	for r, err := range Scan(t.Context(), ScanConfig{Log: l.log}) {
		if err != nil && r.Raw == nil {
			t.Fatal(err)
		}
		if f.size < uint64(n) {
			f.push(tlog.RecordHash(r.Raw))
		}
	}
	return f.root()
}

func codes(r Report) string {
	var names []string
	for _, p := range r.Problems {
		names = append(names, string(p.Code))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// Reference: threats.md 43, as far as it applies to the log itself. Each makes its own copy of a good log of 600 entries.
func TestTampering(t *testing.T) {
	good := newLog(t)
	enqueue(t, good.journal, 0, 600)
	good.seal(t, 600)
	rewritten := func(raw []byte) []byte { return bytes.Replace(raw, []byte("because"), []byte("BECAUSE"), 1) }
	for _, c := range []struct {
		name  string
		do    func(t *testing.T, l *testLog)
		codes string // of the problems, sorted
		index int64  // of the first problem that is about an entry; -1 none
	}{
		{"nothing", func(*testing.T, *testLog) {}, "", -1},
		{"entry altered", func(t *testing.T, l *testLog) {
			l.editBundle(t, 1, func(e [][]byte) [][]byte { e[44] = rewritten(e[44]); return e })
		}, "entry_altered journal_mismatch root_mismatch", 300},
		{"entry altered in a partial bundle", func(t *testing.T, l *testLog) {
			l.editBundle(t, 2, func(e [][]byte) [][]byte { e[87] = rewritten(e[87]); return e })
		}, "entry_altered journal_mismatch root_mismatch", 599},
		{"entry altered and its tile too", func(t *testing.T, l *testLog) {
			l.editBundle(t, 1, func(e [][]byte) [][]byte { e[44] = rewritten(e[44]); return e })
			entries, _ := logDir(l.log).readBundle(1, 600)
			h := tlog.RecordHash(entries[44])
			edit(t, logDir(l.log).path(0, 1, 256), func(b []byte) []byte { copy(b[44*32:], h[:]); return b })
		}, "journal_mismatch root_mismatch tile_mismatch", 256},
		{"entry altered in log and journal", func(t *testing.T, l *testLog) {
			l.editBundle(t, 0, func(e [][]byte) [][]byte { e[0] = rewritten(e[0]); return e })
			if err := os.RemoveAll(l.journal); err != nil {
				t.Fatal(err)
			}
			forge(t, l.journal, 600, 0)
		}, "entry_altered root_mismatch", 0},
		{"entry removed", func(t *testing.T, l *testLog) {
			l.editBundle(t, 1, func(e [][]byte) [][]byte { return slices.Delete(e, 200, 201) })
		}, "entry_altered entry_missing journal_mismatch root_mismatch", 456},
		{"entry inserted", func(t *testing.T, l *testLog) {
			l.editBundle(t, 1, func(e [][]byte) [][]byte { return slices.Insert(e, 200, e[0]) })
		}, "entry_altered entry_missing journal_mismatch root_mismatch", 456},
		{"entries swapped", func(t *testing.T, l *testLog) {
			l.editBundle(t, 0, func(e [][]byte) [][]byte { e[7], e[8] = e[8], e[7]; return e })
		}, "entry_altered journal_mismatch root_mismatch", 7},
		{"bundles swapped", func(t *testing.T, l *testLog) {
			a, b := logDir(l.log).path(entriesLevel, 0, 256), logDir(l.log).path(entriesLevel, 1, 256)
			for _, m := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
				if err := os.Rename(m[0], m[1]); err != nil {
					t.Fatal(err)
				}
			}
		}, "entry_altered journal_mismatch root_mismatch", 0},
		{"entry not canonical", func(t *testing.T, l *testLog) {
			l.editBundle(t, 0, func(e [][]byte) [][]byte { e[9] = append(bytes.Clone(e[9]), ' '); return e })
		}, "entry_altered entry_malformed journal_mismatch root_mismatch", 9},
		{"bundle missing", func(t *testing.T, l *testLog) { remove(t, logDir(l.log).path(entriesLevel, 1, 256)) },
			"entry_missing", 256},
		{"bundle cut", func(t *testing.T, l *testLog) {
			edit(t, logDir(l.log).path(entriesLevel, 1, 256), func(b []byte) []byte { return b[:len(b)-1] })
		}, "entry_missing", 511},
		{"tile altered", func(t *testing.T, l *testLog) {
			edit(t, logDir(l.log).path(0, 1, 256), func(b []byte) []byte { b[5*32] ^= 1; return b })
		}, "tile_mismatch", 256},
		{"tile missing", func(t *testing.T, l *testLog) { remove(t, logDir(l.log).path(0, 0, 256)) }, "tile_mismatch", 0},
		{"upper tile altered", func(t *testing.T, l *testLog) {
			edit(t, logDir(l.log).path(1, 0, 2), func(b []byte) []byte { b[32] ^= 1; return b })
		}, "tile_mismatch", 256},
		{"tile cut", func(t *testing.T, l *testLog) {
			edit(t, logDir(l.log).path(0, 2, 88), func(b []byte) []byte { return b[:len(b)-32] })
		}, "tile_mismatch", 512},
		{"checkpoint removed", func(t *testing.T, l *testLog) { remove(t, filepath.Join(l.log, checkpointName)) }, "checkpoint_missing", -1},
		{"checkpoint by another key of that name", func(t *testing.T, l *testLog) {
			l.sign(t, otherSigner(t, origin), origin, 600, l.rootOf(t, 600))
		}, "checkpoint_signature", -1},
		{"checkpoint of another log", func(t *testing.T, l *testLog) {
			l.sign(t, otherSigner(t, "other.test/log"), "other.test/log", 600, l.rootOf(t, 600))
		}, "checkpoint_origin", -1},
		{"our key under another origin's text", func(t *testing.T, l *testLog) {
			l.sign(t, l.signer, "other.test/log", 600, l.rootOf(t, 600))
		}, "checkpoint_origin", -1},
		{"checkpoint's size raised", func(t *testing.T, l *testLog) {
			edit(t, filepath.Join(l.log, checkpointName), func(b []byte) []byte { return bytes.Replace(b, []byte("600"), []byte("601"), 1) })
		}, "checkpoint_signature entry_missing root_mismatch tile_mismatch", 512},
		{"checkpoint's size absurd", func(t *testing.T, l *testLog) {
			edit(t, filepath.Join(l.log, checkpointName), func(b []byte) []byte {
				return bytes.Replace(b, []byte("600"), []byte("9007199254740992"), 1)
			})
		}, "checkpoint_signature entry_missing root_mismatch tile_mismatch", 0},
		{"checkpoint is nonsense", func(t *testing.T, l *testLog) { write(t, filepath.Join(l.log, checkpointName), []byte("nonsense")) },
			"checkpoint_malformed", -1},
		{"another root signed with our key", func(t *testing.T, l *testLog) { l.sign(t, l.signer, origin, 600, tlog.Hash{1}) }, "root_mismatch", -1},
		{"journal cut into the sealed part", func(t *testing.T, l *testLog) {
			segments, _ := filepath.Glob(filepath.Join(l.journal, "segment-*"))
			for _, s := range segments[1:] {
				remove(t, s)
			}
		}, "journal_short", -2},
		{"journal damaged", func(t *testing.T, l *testLog) {
			segments, _ := filepath.Glob(filepath.Join(l.journal, "segment-*"))
			edit(t, segments[0], func(b []byte) []byte { b[100] ^= 1; return b })
		}, "journal_torn", 0},
		{"journal forged", func(t *testing.T, l *testLog) {
			if err := os.RemoveAll(l.journal); err != nil {
				t.Fatal(err)
			}
			forge(t, l.journal, 600, 3)
		}, "journal_mismatch", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good.copied(t)
			c.do(t, l)
			r := l.verify(t)
			if codes(r) != c.codes || r.OK() != (c.codes == "") {
				t.Errorf("found %q, want %q: %v", codes(r), c.codes, r.Problems)
			}
			first := int64(-1)
			for _, p := range r.Problems {
				if !strings.HasPrefix(string(p.Code), "checkpoint_") && p.Code != CodeRootMismatch && (first < 0 || int64(p.Index) < first) {
					first = int64(p.Index)
				}
			}
			if c.index != -2 && first != c.index {
				t.Errorf("first problem at %d, want %d: %v", first, c.index, r.Problems)
			}
		})
	}
}

// A log rolled back, or replaced by another history signed with the same key, is noticed by who has seen a checkpoint of it.
func TestRemembered(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 300)
	l.seal(t, 300)
	remember := filepath.Join(t.TempDir(), "seen")
	check := func(l *testLog, journal string) Report {
		t.Helper()
		r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: []string{journal}, VerifierKey: l.verifier, Remember: remember})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(l, l.journal); !r.OK() || r.Remembered != 0 {
		t.Fatalf("first: %+v", r)
	}
	old := l.copied(t)
	enqueue(t, l.journal, 300, 520)
	l.seal(t, 520)
	if r := check(l, l.journal); !r.OK() || r.Remembered != 300 {
		t.Fatalf("grown: %+v", r)
	}
	if r := check(l, l.journal); !r.OK() || r.Remembered != 520 {
		t.Fatalf("again: %+v", r)
	}
	if r := check(old, old.journal); codes(r) != "log_truncated" {
		t.Errorf("rolled back: %v", r.Problems)
	}
	// Other histories, well formed, signed with the key, of the same size and longer.
	for _, n := range []int{520, 530} {
		other := &testLog{journal: filepath.Join(t.TempDir(), "journal"), log: filepath.Join(t.TempDir(), "log"), signer: l.signer, verifier: l.verifier}
		forge(t, other.journal, n, 17)
		other.seal(t, n)
		if r := check(other, ""); codes(r) != "log_rewritten" {
			t.Errorf("another history of %d: %v", n, r.Problems)
		}
	}
	if err := os.RemoveAll(old.log); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(old.log, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := check(old, ""); codes(r) != "checkpoint_missing log_truncated" {
		t.Errorf("emptied: %v", r.Problems)
	}
	// None of the bad ones was remembered.
	if r := check(l, l.journal); !r.OK() || r.Remembered != 520 {
		t.Errorf("the good one after the bad ones: %+v", r)
	}
	write(t, remember, []byte("nonsense"))
	if r := check(l, l.journal); codes(r) != "remembered_invalid" {
		t.Errorf("damaged memory: %v", r.Problems)
	}
}

func TestVerifyErrors(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 3)
	l.seal(t, 3)
	for name, cfg := range map[string]VerifyConfig{
		"key":        {Log: l.log, VerifierKey: "nonsense"},
		"no log":     {Log: l.log + "x", VerifierKey: l.verifier},
		"empty log":  {VerifierKey: l.verifier},
		"no journal": {Log: l.log, Journals: []string{l.journal + "x"}, VerifierKey: l.verifier},
		"a file":     {Log: filepath.Join(l.log, checkpointName), VerifierKey: l.verifier},
	} {
		if _, err := Verify(t.Context(), cfg); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, VerifyConfig{Log: l.log, VerifierKey: l.verifier}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	var many Report
	for i := range 250 {
		many.problem(CodeEntryAltered, uint64(i), "x")
	}
	if len(many.Problems) != maxProblems || many.Suppressed != 150 {
		t.Errorf("%d problems, %d suppressed", len(many.Problems), many.Suppressed)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add("o\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("o\n05\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err != nil {
			return
		}
		if again := fmt.Sprintf("%s\n%d\n%s\n", c.origin, c.size, c.root); again != text {
			t.Errorf("read %q, would write %q", text, again)
		}
	})
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
