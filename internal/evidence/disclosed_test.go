package evidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/evidence"
	"github.com/bailiwick-dev/bailiwick/internal/evidence/evidencetest"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
)

// A pack of a log whose personal data is encrypted says the same as one of a log in the clear, is checked with nothing but what is in it, and
// gives away no key but those of its own entries. Without the keys it names pseudonyms.
func TestPackOfAnEncryptedLog(t *testing.T) {
	const n = 3000
	keys, err := privacy.OpenStore(filepath.Join(t.TempDir(), "privacy"))
	if err != nil {
		t.Fatal(err)
	}
	log, err := evidencetest.New(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	log.Protect = keys.Protect
	c := evidencetest.Fill(log, n)
	if err := log.Seal(); err != nil {
		t.Fatal(err)
	}
	cfg := config(log, c.Texts)
	d, err := privacy.NewOpener(keys).Discloser()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Disclose = d.Disclose
	dir, _ := makePack(t, cfg)
	if v := verify(t, dir, log.VerifierKey, nil); !v.OK() {
		t.Fatalf("the pack does not verify by itself: %+v", v)
	}
	if v := verify(t, dir, log.VerifierKey, cfg.Log); !v.OK() {
		t.Fatalf("the pack does not verify from the log: %+v", v)
	}
	_, open := company(t, n)
	plain, _ := makePack(t, open)
	for _, name := range []string{"entries/access.csv", "entries/joiners-leavers.csv", "entries/denied.csv", "entries/requests.csv", "entries/duties.csv", "entries/roles-held.csv"} {
		if got, want := readPack(t, dir, name), readPack(t, plain, name); !bytes.Equal(got, want) {
			t.Errorf("%s is not what the log in the clear gives", name)
		}
	}
	if raw := readPack(t, dir, "log/tile/entries/000"); bytes.Contains(raw, []byte("@acme.example")) {
		t.Error("the log in the pack is not encrypted")
	}

	// A name cannot be put in: another key opens nothing.
	lines := bytes.Split(readPack(t, dir, "disclosed.jsonl"), []byte("\n"))
	lines[0] = slices.Concat(lines[0][:bytes.IndexByte(lines[0], ',')], lines[1][bytes.IndexByte(lines[1], ','):])
	if err := os.WriteFile(filepath.Join(dir, "disclosed.jsonl"), bytes.Join(lines, []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	v := verify(t, dir, log.VerifierKey, nil)
	if !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool { return p.Code == evidence.CodeDiffers }) {
		t.Errorf("another entry's key in the pack: %+v", v.Problems)
	}

	// Somebody who was erased before is a pseudonym, and the pack verifies all the same.
	found, err := keys.Find("alice1@acme.example")
	if err != nil || len(found) == 0 {
		t.Fatalf("nobody to erase: %v", err)
	}
	if err := keys.Erase(found[0].Subject); err != nil {
		t.Fatal(err)
	}
	if d, err = privacy.NewOpener(keys).Discloser(); err != nil {
		t.Fatal(err)
	}
	cfg.Disclose = d.Disclose
	dir, _ = makePack(t, cfg)
	if v := verify(t, dir, log.VerifierKey, nil); !v.OK() {
		t.Fatalf("after an erasure: %+v", v)
	}
	if access := string(readPack(t, dir, "entries/access.csv")); strings.Contains(access, "alice1@acme.example") || !strings.Contains(access, found[0].Pseudonym) || !strings.Contains(access, "@acme.example") {
		t.Error("who was erased is named, or others are not")
	}

	cfg.Disclose = nil
	dir, _ = makePack(t, cfg)
	if v := verify(t, dir, log.VerifierKey, nil); !v.OK() {
		t.Fatalf("pseudonyms: %+v", v)
	}
	if raw := readPack(t, dir, "entries/access.csv"); bytes.Contains(raw, []byte("@acme.example")) || !bytes.Contains(raw, []byte("person:")) {
		t.Error("without keys it names people")
	}
}

func readPack(t *testing.T, dir, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
