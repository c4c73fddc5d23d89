package tiles

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// retain puts the entry that allows the removal of everything before a time into the log, and returns its index.
func (l *testLog) retain(t *testing.T, before time.Time, change func(map[string]string)) uint64 {
	t.Helper()
	detail, _, err := Removable(t.Context(), l.log, before)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(detail)
	}
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: l.journal, SegmentBytes: 50_000})
	if err != nil {
		t.Fatal(err)
	}
	e := audit.Entry{ID: fmt.Sprint("permit", l.size(t)), Time: time.Unix(1790009999, 0), Kind: audit.KindAdmin, Gate: "test", Detail: detail}
	if _, err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	index := uint64(l.size(t))
	l.seal(t, int(index)+1)
	return index
}

// old is the time of entry i of the test logs.
func old(i int) time.Time { return time.Unix(1790000000+int64(i), 0) }

// What is older than asked for goes, in whole bundles, and nothing else changes: roots, other proofs, what was remembered, and sealing goes on.
func TestRetention(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 1000)
	l.seal(t, 1000)
	remember := filepath.Join(t.TempDir(), "remembered")
	verify := func(journals ...string) Report {
		t.Helper()
		r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: journals, VerifierKey: l.verifier, Remember: remember})
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() {
			t.Fatalf("%v", r.Problems)
		}
		return r
	}
	verify(l.journal)
	if _, to, err := Removable(t.Context(), l.log, old(200)); err != nil || to != 0 {
		t.Errorf("half a bundle: %d %v", to, err)
	}
	permit := l.retain(t, old(600), nil)
	if to, err := Remove(t.Context(), l.log, permit); err != nil || to != 512 {
		t.Fatalf("%d %v", to, err)
	}
	for n, want := range []bool{false, false, true, true} {
		if _, err := os.Stat(logDir(l.log).path(entriesLevel, uint64(n), tileWidth)); (err == nil) != want && n < 3 {
			t.Errorf("bundle %d: %v", n, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(l.log, "tile", "entries", "00[01].p")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, journals := range [][]string{nil, {l.journal}} {
		r := verify(journals...)
		if r.Removed != 512 || r.Entries != 1001-512 || r.Remembered == 0 || len(r.Notes) == 0 || r.Notes[0].Code != CodeRetained {
			t.Errorf("%+v", r)
		}
		if len(journals) > 0 && r.Journal != 1001-512 {
			t.Errorf("%d alike in log and journal", r.Journal)
		}
	}

	var seen, removed int
	for r, err := range Scan(t.Context(), ScanConfig{Log: l.log, Removed: true}) {
		if err != nil || r.Index != uint64(seen) || r.Removed != (r.Index < 512) || r.Removed != (r.Raw == nil) {
			t.Fatalf("%+v %v", r, err)
		}
		seen++
		if r.Removed {
			removed++
		}
	}
	if seen != 1001 || removed != 512 {
		t.Errorf("%d seen, %d removed", seen, removed)
	}
	for r, err := range Scan(t.Context(), ScanConfig{Log: l.log, From: 7}) {
		if err != nil || r.Index != 512 {
			t.Errorf("passed over to %d: %v", r.Index, err)
		}
		break
	}

	b, err := Prove(t.Context(), ProveConfig{Log: l.log, VerifierKey: l.verifier, Index: 700})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := b.Marshal()
	if _, err := VerifyBundle(raw, Trust{LogKeys: []string{l.verifier}}); err != nil {
		t.Errorf("a proof of what stayed: %v", err)
	}
	if _, err := Prove(t.Context(), ProveConfig{Log: l.log, VerifierKey: l.verifier, Index: 7}); !errors.Is(err, ErrRemoved) {
		t.Errorf("a proof of what went: %v", err)
	}

	// The log goes on, and more can go later.
	enqueue(t, l.journal, 1000, 1100)
	l.seal(t, 1101)
	verify(l.journal)
	permit = l.retain(t, old(800), nil)
	if to, err := Remove(t.Context(), l.log, permit); err != nil || to != 768 {
		t.Fatalf("%d %v", to, err)
	}
	if r := verify(l.journal); r.Removed != 768 {
		t.Errorf("%+v", r)
	}
}

// A removal that stopped half way is finished by the same entry.
func TestRetentionAfterCrash(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 600)
	l.seal(t, 600)
	permit := l.retain(t, old(600), nil)
	if err := os.WriteFile(filepath.Join(l.log, retainedName), []byte(fmt.Sprintf(`{"v":1,"to":512,"entry":%d}`, permit)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(logDir(l.log).path(entriesLevel, 0, tileWidth)); err != nil {
		t.Fatal(err)
	}
	if r := l.verify(t); !r.OK() || r.Removed != 256 {
		t.Errorf("half way: %+v", r)
	}
	if to, err := Remove(t.Context(), l.log, permit); err != nil || to != 512 {
		t.Fatalf("%d %v", to, err)
	}
	if r := l.verify(t); !r.OK() || r.Removed != 512 {
		t.Errorf("finished: %+v", r)
	}
}

// Nobody can use retention to hide more than an entry of the log allows.
func TestRetentionIsNoCover(t *testing.T) {
	base := newLog(t)
	enqueue(t, base.journal, 0, 1000)
	base.seal(t, 1000)
	permit := base.retain(t, old(600), nil)
	wide := base.retain(t, old(800), func(d map[string]string) { d["digest"] = strings.Repeat("A", 43) + "=" }) // an entry that fits no range
	plain := base.copied(t)
	if _, err := Remove(t.Context(), base.log, permit); err != nil {
		t.Fatal(err)
	}
	bundle := func(l *testLog, n uint64) string { return logDir(l.log).path(entriesLevel, n, tileWidth) }
	tombstone := func(t *testing.T, l *testLog, to, entry uint64) {
		t.Helper()
		write(t, filepath.Join(l.log, retainedName), fmt.Appendf(nil, `{"v":1,"to":%d,"entry":%d}`, to, entry))
	}
	for name, c := range map[string]struct {
		tamper func(*testing.T, *testLog)
		want   Code
	}{
		"one bundle more":              {func(t *testing.T, l *testLog) { _ = os.Remove(bundle(l, 2)) }, CodeEntryMissing},
		"a wider tombstone":            {func(t *testing.T, l *testLog) { _ = os.Remove(bundle(l, 2)); tombstone(t, l, 768, permit) }, CodeEntryMissing},
		"another entry's permission":   {func(t *testing.T, l *testLog) { _ = os.Remove(bundle(l, 2)); tombstone(t, l, 768, wide) }, CodeEntryMissing},
		"an entry that allows nothing": {func(t *testing.T, l *testLog) { tombstone(t, l, 512, 700) }, CodeEntryMissing},
		"no tombstone":                 {func(t *testing.T, l *testLog) { _ = os.Remove(filepath.Join(l.log, retainedName)) }, CodeEntryMissing},
		"a torn tombstone":             {func(t *testing.T, l *testLog) { write(t, filepath.Join(l.log, retainedName), []byte(`{"v":1`)) }, CodeEntryMissing},
		"hashes of what is gone": {func(t *testing.T, l *testLog) {
			edit(t, logDir(l.log).path(0, 0, tileWidth), func(b []byte) []byte { b[100] ^= 1; return b })
		}, CodeRootMismatch},
		"hashes that are gone": {func(t *testing.T, l *testLog) { _ = os.Remove(logDir(l.log).path(0, 1, tileWidth)) }, CodeTileMismatch},
		"what stayed": {func(t *testing.T, l *testLog) {
			l.editBundle(t, 2, func(e [][]byte) [][]byte { e[3] = e[4]; return e })
		}, CodeEntryAltered},
	} {
		t.Run(name, func(t *testing.T) {
			l := base.copied(t)
			c.tamper(t, l)
			if r := l.verify(t); !r.Has(c.want) || r.Removed != 0 && c.want == CodeEntryMissing && name != "one bundle more" {
				t.Errorf("%+v", r)
			}
		})
	}
	// A tombstone without an entry behind it, in a log that never allowed any.
	l := plain.copied(t)
	_ = os.Remove(bundle(l, 0))
	tombstone(t, l, 256, permit)
	if r := l.verify(t); !r.Has(CodeEntryMissing) {
		t.Errorf("%+v", r)
	}
	for name, index := range map[string]uint64{"an entry that fits no range": wide, "an entry of another kind": 700, "one beyond the end": 5000} {
		if _, err := Remove(t.Context(), plain.copied(t).log, index); err == nil {
			t.Errorf("%s: removed", name)
		}
	}
	// The permission of another log is none here.
	other := newLog(t)
	enqueue(t, other.journal, 1, 1001)
	other.seal(t, 1000)
	detail, _, err := Removable(t.Context(), plain.log, old(600))
	if err != nil {
		t.Fatal(err)
	}
	moved := other.retain(t, old(600), func(d map[string]string) { d["digest"] = detail["digest"] })
	if _, err := Remove(t.Context(), other.log, moved); err == nil || !strings.Contains(err.Error(), "other entries") {
		t.Errorf("another log's permission: %v", err)
	}
}

// Permissions are read strictly.
func TestPermits(t *testing.T) {
	for name, c := range map[string]struct {
		kind   audit.Kind
		detail map[string]string
	}{
		"another kind":   {audit.KindDecision, map[string]string{"event": "retained", "from": "0", "to": "256"}},
		"another event":  {audit.KindAdmin, map[string]string{"event": "erase", "from": "0", "to": "256"}},
		"not from zero":  {audit.KindAdmin, map[string]string{"event": "retained", "from": "1", "to": "256"}},
		"half a bundle":  {audit.KindAdmin, map[string]string{"event": "retained", "from": "0", "to": "255"}},
		"written oddly":  {audit.KindAdmin, map[string]string{"event": "retained", "from": "0", "to": "0256"}},
		"no number":      {audit.KindAdmin, map[string]string{"event": "retained", "from": "0", "to": "all"}},
		"negative":       {audit.KindAdmin, map[string]string{"event": "retained", "from": "0", "to": "-256"}},
		"without a word": {audit.KindAdmin, nil},
	} {
		raw, err := audit.Entry{ID: "x", Time: old(0), Kind: c.kind, Detail: c.detail}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := permitOf(1000, raw); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// Journals that were pruned, a little or beyond what retention took, still compare with what is left, and what was altered there is found.
func TestRetentionBesidePrunedJournals(t *testing.T) {
	for name, below := range map[string]uint64{"less than was removed": 300, "more than was removed": 800} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			enqueue(t, l.journal, 0, 1000)
			l.seal(t, 1000)
			permit := l.retain(t, old(600), nil)
			p, err := audit.Prune(l.journal, below, time.Now().Add(time.Hour))
			if err != nil || p.First == 0 {
				t.Fatalf("%+v %v", p, err)
			}
			if _, err := Remove(t.Context(), l.log, permit); err != nil {
				t.Fatal(err)
			}
			want := 1001 - max(p.First, 512)
			if r := l.verify(t); !r.OK() || r.Removed != 512 || r.Journal != want {
				t.Fatalf("the journal begins at %d: %+v", p.First, r)
			}
			c := l.copied(t)
			c.editBundle(t, 3, func(e [][]byte) [][]byte { e[200] = e[199]; return e })
			if r := c.verify(t); !r.Has(CodeEntryAltered) || !r.Has(CodeJournalMismatch) {
				t.Errorf("an altered entry behind: %+v", r)
			}
			enqueue(t, l.journal, 1000, 1300)
			l.seal(t, 1301)
			if r := l.verify(t); !r.OK() || r.Journal != want+300 {
				t.Errorf("later: %+v", r)
			}
		})
	}
}
