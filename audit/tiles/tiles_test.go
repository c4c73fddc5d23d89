package tiles

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

const origin = "bailiwick.test/log"

func entry(i int) audit.Entry {
	return audit.Entry{ID: fmt.Sprint("e", i), Time: time.Unix(1790000000+int64(i), 0), Kind: audit.KindDecision, Gate: "test",
		Actor: audit.Party{Principal: "user:https://acme.example|00u1"}, Action: "StartWorkflowExecution", Reason: "because"}
}

// enqueue writes entries from..to-1 to a journal of several segments.
func enqueue(t testing.TB, dir string, from, to int) {
	t.Helper()
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: dir, SegmentBytes: 50_000, QueueEntries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if i%100 == 99 { // ends a batch, and with it perhaps a segment
			_, err = j.Append(t.Context(), entry(i))
		} else {
			err = j.Enqueue(entry(i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// testLog is a journal, its log and the log's key.
type testLog struct {
	journal, log string
	signer       note.Signer
	verifier     string
}

func newLog(t testing.TB) *testLog {
	t.Helper()
	dir := t.TempDir()
	l := &testLog{journal: filepath.Join(dir, "journal"), log: filepath.Join(dir, "log")}
	var err error
	if l.signer, l.verifier, err = LoadOrCreateKey(filepath.Join(dir, "key"), origin); err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs a sealer; stop ends it and returns its error.
func (l *testLog) start(t testing.TB) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- RunSealer(ctx, SealerConfig{Journals: []string{l.journal}, Log: l.log, Signer: l.signer, Interval: 200 * time.Millisecond})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func (l *testLog) size(t testing.TB) int {
	t.Helper()
	n, err := SealedSize(l.log)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// awaitSize waits as long as the log grows: how fast it does is the machine's affair.
func (l *testLog) awaitSize(t testing.TB, n int) {
	t.Helper()
	had, since := l.size(t), time.Now()
	for ; had < n; time.Sleep(5 * time.Millisecond) {
		if now := l.size(t); now > had {
			had, since = now, time.Now()
		}
		if time.Since(since) > 20*time.Second {
			t.Fatalf("sealed %d entries and none in the last 20 s, want %d", had, n)
		}
	}
}

// seal runs a sealer until n entries are sealed.
func (l *testLog) seal(t testing.TB, n int) {
	t.Helper()
	stop := l.start(t)
	l.awaitSize(t, n)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func (l *testLog) verify(t testing.TB) Report {
	t.Helper()
	r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: []string{l.journal}, VerifierKey: l.verifier})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (l *testLog) copied(t testing.TB) *testLog {
	t.Helper()
	c := *l
	dir := t.TempDir()
	c.journal, c.log = filepath.Join(dir, "journal"), filepath.Join(dir, "log")
	for from, to := range map[string]string{l.journal: c.journal, l.log: c.log} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	return &c
}

func TestSealVerifyScan(t *testing.T) {
	l := newLog(t)
	stop := l.start(t) // before there is a journal
	for from := 0; from < 700; from += 100 {
		enqueue(t, l.journal, from, from+100)
		began := time.Now()
		l.awaitSize(t, from+100)
		if took := time.Since(began); took > time.Second {
			t.Errorf("sealing took %v", took)
		}
		if r := l.verify(t); !r.OK() || r.Size != uint64(from+100) || r.Entries != r.Size || r.Journal != r.Size {
			t.Fatalf("beside the sealer: %+v", r)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, l.journal, 700, 705)
	var last uint64
	r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: []string{l.journal}, VerifierKey: l.verifier,
		Progress: func(done, total uint64) {
			if done <= last || total != 700 {
				t.Errorf("progress %d after %d of %d", done, last, total)
			}
			last = done
		}})
	if err != nil || !r.OK() || r.Unsealed != 5 || r.Origin != origin || last != 700 {
		t.Errorf("%+v %v, progress %d", r, err, last)
	}
	for _, from := range []uint64{0, 1, 255, 256, 257, 699, 700, 704, 705} {
		next := from
		for record, err := range Scan(t.Context(), ScanConfig{Log: l.log, Journals: []string{l.journal}, From: from}) {
			if err != nil || record.Index != next || record.Entry.ID != fmt.Sprint("e", next) || record.Sealed != (next < 700) {
				t.Fatalf("from %d at %d: %+v %v", from, next, record, err)
			}
			next++
		}
		if next != 705 {
			t.Errorf("from %d ended at %d", from, next)
		}
	}
}

// Our tiles are those of x/mod's tlog: inclusion of entries is proven and checked by it.
func TestTilesByTlog(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 600)
	l.seal(t, 600)
	msg, err := os.ReadFile(filepath.Join(l.log, checkpointName))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(l.verifier)
	if err != nil {
		t.Fatal(err)
	}
	c, code, err := openCheckpoint(msg, alone(l.verifier, v))
	if code != "" {
		t.Fatal(err)
	}
	hashes := tlog.TileHashReader(tlog.Tree{N: int64(c.size), Hash: c.root}, fileTiles{l.log})
	for _, i := range []int64{0, 1, 255, 256, 511, 512, 598, 599} {
		proof, err := tlog.ProveRecord(int64(c.size), i, hashes)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := entry(int(i)).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, int64(c.size), c.root, i, tlog.RecordHash(raw)); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		if err := tlog.CheckRecord(proof, int64(c.size), c.root, i, tlog.RecordHash(append(raw, '\n'))); err == nil {
			t.Errorf("entry %d: another entry is proven", i)
		}
	}
}

// fileTiles reads tiles by the layout of the specification, written out here once more.
type fileTiles struct{ dir string }

func (fileTiles) Height() int                         { return 8 }
func (fileTiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f fileTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		path := fmt.Sprintf("%s/tile/%d/%03d", f.dir, t.L, t.N)
		if t.W < 256 {
			path += fmt.Sprintf(".p/%d", t.W)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func TestFrontierAgainstTlog(t *testing.T) {
	var f frontier
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	for n := range int64(1100) {
		if want, err := tlog.TreeHash(n, reader); err != nil || want != f.root() {
			t.Fatalf("root of %d: %v, want %v (%v)", n, f.root(), want, err)
		}
		data := binary.BigEndian.AppendUint64(nil, uint64(n))
		hashes, err := tlog.StoredHashes(n, data, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		f.push(tlog.RecordHash(data))
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	s1, v1, err := LoadOrCreateKey(path, origin)
	if err != nil {
		t.Fatal(err)
	}
	s2, v2, err := LoadOrCreateKey(path, origin)
	if err != nil || v1 != v2 || s1.KeyHash() != s2.KeyHash() {
		t.Errorf("loaded %s %v, created %s", v2, err, v1)
	}
	msg, err := note.Sign(&note.Note{Text: "text\n"}, s2)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(v1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(v)); err != nil {
		t.Errorf("the verifier key is not the signer's: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	if _, _, err := LoadOrCreateKey(path, "other"); err == nil || !strings.Contains(err.Error(), `not "other"`) {
		t.Errorf("another origin: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreateKey(path, origin); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	for _, bad := range []string{"", "a b", "a+b"} {
		if _, _, err := LoadOrCreateKey(filepath.Join(t.TempDir(), "key"), bad); err == nil {
			t.Errorf("origin %q was taken", bad)
		}
	}
	if err := os.WriteFile(path, []byte("PRIVATE+KEY+nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(path, 0o600)
	if _, _, err := LoadOrCreateKey(path, origin); err == nil {
		t.Error("nonsense was taken as a key")
	}
	race := filepath.Join(t.TempDir(), "key")
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { _, keys[i], _ = LoadOrCreateKey(race, origin) })
	}
	wg.Wait()
	if keys[0] == "" || len(slices.Compact(keys)) != 1 {
		t.Errorf("eight at once made %v", keys)
	}
}

func otherSigner(t testing.TB, name string) note.Signer {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
