package evidence_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/evidence"
	"github.com/bailiwick-dev/bailiwick/internal/evidence/evidencetest"
)

// A pack of a log that has changed its key is checked with the key that it had first: the pack proves the one that followed.
func TestPackOfALogWithAnotherKey(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	skey, first, err := note.GenerateKey(rand.Reader, "bailiwick.dev/evidence-test")
	must(err)
	must(os.WriteFile(filepath.Join(dir, "key"), []byte(skey+"\n"), 0o600))
	log, err := evidencetest.NewWithKey(filepath.Join(dir, "log"), skey, first)
	must(err)
	c := evidencetest.Fill(log, 300)
	ring, err := tiles.OpenKeyring(tiles.KeyringConfig{Path: filepath.Join(dir, "key"), Origin: "bailiwick.dev/evidence-test", Log: log.Dir})
	must(err)
	second, err := ring.MakeNext()
	must(err)
	detail, err := ring.Announcement()
	must(err)
	log.Add(audit.Entry{ID: "0199fffe", Time: time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC), Kind: audit.KindKey, Gate: "control", Detail: detail})
	must(log.Seal())
	must(ring.Link(t.Context(), 0))
	sign := func() {
		t.Helper()
		path := filepath.Join(log.Dir, "checkpoint")
		msg, err := os.ReadFile(path)
		must(err)
		text, _, _ := strings.Cut(string(msg), "\n\n")
		signers, err := ring.Signers()
		must(err)
		msg, err = note.Sign(&note.Note{Text: text + "\n"}, signers...)
		must(err)
		must(os.WriteFile(path, msg, 0o600))
	}
	sign()
	must(ring.Switch())
	sign()

	pack, sum := makePack(t, config(log, c.Texts))
	if sum.Cited == 0 {
		t.Fatal("the pack cites nothing")
	}
	if v := verify(t, pack, first, os.DirFS(log.Dir)); !v.OK() || !v.FromLog {
		t.Errorf("%+v", v.Problems)
	}
	proofs, err := filepath.Glob(filepath.Join(pack, "proofs", "*.json"))
	must(err)
	raw, err := os.ReadFile(proofs[0])
	must(err)
	for _, key := range []string{first, second} {
		if _, err := tiles.VerifyBundle(raw, tiles.Trust{LogKeys: []string{key}}); err != nil {
			t.Error(err)
		}
	}
	// Without the proof of it, the second key is nobody's.
	must(os.Remove(filepath.Join(pack, "log", tiles.HistoryName)))
	if v, err := evidence.Verify(t.Context(), evidence.VerifyConfig{Pack: os.DirFS(pack), VerifierKey: first}); err != nil || v.OK() {
		t.Errorf("%v %+v", err, v)
	}
}
