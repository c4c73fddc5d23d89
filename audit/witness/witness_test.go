package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

const origin = "log.example/audit"

func fixedSigner(t testing.TB, name string, fill byte) *Signer {
	t.Helper()
	s, err := NewSigner(name, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, ed25519.SeedSize)), func() time.Time { return time.Unix(1790000000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// memoryLog is a log that proves anything about itself; branch makes another history of the same beginning.
type memoryLog struct {
	signer note.Signer
	key    string
	hashes []tlog.Hash
	n      int64
}

func newLog(t testing.TB) *memoryLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &memoryLog{signer: s, key: vkey}
}

func (l *memoryLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hs []tlog.Hash
	for _, i := range indexes {
		hs = append(hs, l.hashes[i])
	}
	return hs, nil
}

func (l *memoryLog) grow(t testing.TB, to int64, what string) {
	t.Helper()
	for ; l.n < to; l.n++ {
		hs, err := tlog.StoredHashes(l.n, fmt.Append(nil, what, l.n), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, hs...)
	}
}

func (l *memoryLog) branch() *memoryLog {
	c := *l
	c.hashes = append([]tlog.Hash(nil), l.hashes...)
	return &c
}

func (l *memoryLog) checkpoint(t testing.TB, n int64, signers ...note.Signer) []byte {
	t.Helper()
	root, err := tlog.TreeHash(n, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(signers) == 0 {
		signers = []note.Signer{l.signer}
	}
	msg, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, n, root)}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func (l *memoryLog) proof(t testing.TB, old, n int64) []tlog.Hash {
	t.Helper()
	if old == 0 || old == n {
		return nil
	}
	p, err := tlog.ProveTree(n, old, l)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Golden bytes of the signature format, and both directions against an implementation that is not ours.
func TestCosignature(t *testing.T) {
	s := fixedSigner(t, "witness.example", 7)
	text := origin + "\n5\n" + tlog.Hash{1}.String() + "\n"
	msg, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "log.example/audit\n5\nAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— witness.example GOLDEN\n"
	if key := s.VerifierKey(); key != goldenKey {
		t.Errorf("key %s", key)
	}
	if string(msg) != strings.Replace(golden, "GOLDEN", goldenSignature, 1) {
		t.Errorf("signed %s", msg)
	}
	theirs, err := torchwood.NewCosignatureVerifier(s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(msg, note.VerifierList(theirs))
	if err != nil {
		t.Fatalf("torchwood does not verify it: %v", err)
	}
	if at, err := torchwood.CosignatureTimestamp(n.Sigs[0]); err != nil || at != 1790000000 {
		t.Errorf("torchwood reads the time %d %v", at, err)
	}
	if at, ok := Time(n.Sigs[0]); !ok || at.Unix() != 1790000000 {
		t.Errorf("time %v", at)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := torchwood.NewCosignatureSigner("other.example", key)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err = note.Sign(&note.Note{Text: text}, other); err != nil {
		t.Fatal(err)
	}
	ours, err := NewVerifier(other.Verifier().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(ours)); err != nil {
		t.Errorf("torchwood's: %v", err)
	}
	for _, i := range []int{0, 5, 20, 71} {
		bad := bytes.Clone(mustSign(t, s, text))
		bad[i] ^= 1
		v, _ := NewVerifier(s.VerifierKey())
		if v.Verify([]byte(text), bad) {
			t.Errorf("byte %d altered verifies", i)
		}
	}
	logKey := newLog(t).key
	for _, bad := range []string{"", "x", logKey, strings.Replace(s.VerifierKey(), "witness", "witnes", 1), s.VerifierKey()[:40], "a b" + s.VerifierKey()} {
		if _, err := NewVerifier(bad); err == nil {
			t.Errorf("key %q was taken", bad)
		}
	}
}

const (
	goldenKey       = "witness.example+d831bcf1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
	goldenSignature = "2DG88QAAAABqsTuAICBjDA8qTjLq56s0nf8M8sDSste4Ba4BOjxD8v35DEaMxTfFOZge5oeobCK5Z9WCRyDkHF0Vq5FbrcahIUTRDA=="
)

func mustSign(t testing.TB, s *Signer, text string) []byte {
	t.Helper()
	sig, err := s.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func open(t testing.TB, cfg Config) (*Witness, string) {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(w)
	t.Cleanup(func() { s.Close(); _ = w.Close() })
	return w, s.URL
}

func TestProtocol(t *testing.T) {
	l := newLog(t)
	l.grow(t, 100, "a")
	fork := l.branch()
	l.grow(t, 200, "a")
	fork.grow(t, 200, "b")
	cfg := Config{Dir: t.TempDir(), Signer: fixedSigner(t, "witness.example", 7), Logs: []string{l.key}}
	w, url := open(t, cfg)
	v, err := NewVerifier(cfg.Signer.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	post := func(body []byte) (int, string, string) {
		t.Helper()
		resp, err := http.Post(url+"/add-checkpoint", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(raw), resp.Header.Get("Content-Type")
	}
	req := func(l *memoryLog, old, n int64) []byte {
		return request{uint64(old), l.proof(t, old, n), l.checkpoint(t, n)}.marshal()
	}
	expect := func(name string, body []byte, status int, want string) {
		t.Helper()
		got, text, kind := post(body)
		if got != status || !strings.Contains(text, want) || status == 409 && (kind != "text/x.tlog.size" || text != want+"\n") {
			t.Errorf("%s: %d %q %s", name, got, text, kind)
		}
	}
	expect("first", req(l, 0, 50), 200, "— witness.example ")
	expect("again", req(l, 50, 50), 200, "— witness.example ")
	expect("grown", req(l, 50, 100), 200, "— witness.example ")
	expect("stale", req(l, 50, 120), 409, "100")
	expect("unknown", req(l, 0, 120), 409, "100")
	expect("fork", req(fork, 100, 150), 200, "— witness.example ") // still the same beginning: the witness can't know
	expect("the other branch", req(l, 150, 180), 422, "does not lead")
	expect("the other branch, same size", req(l, 150, 150), 409, "150")
	expect("smaller", request{150, nil, fork.checkpoint(t, 120)}.marshal(), 400, "larger")
	expect("a proof of nothing", request{150, []tlog.Hash{{}}, fork.checkpoint(t, 150)}.marshal(), 422, "not empty")
	expect("no proof", request{150, nil, fork.checkpoint(t, 180)}.marshal(), 422, "does not lead")
	stranger := newLog(t)
	stranger.grow(t, 200, "a")
	expect("another key", req(stranger, 150, 180), 403, "not signed")
	expect("another log", []byte("old 0\n\nother.example\n1\nAAAA\n\n— x y\n"), 404, "not watched")
	expect("nonsense", []byte("nonsense"), 400, "empty line")
	expect("many hashes", append([]byte("old 1\n"+strings.Repeat(tlog.Hash{}.String()+"\n", 64)+"\n"), l.checkpoint(t, 180)...), 400, "more than 63")

	// Ask does the same from the other side, and says which size is right.
	var conflict *ConflictError
	if _, err := Ask(t.Context(), http.DefaultClient, url, v, 0, nil, fork.checkpoint(t, 180)); !errors.As(err, &conflict) || conflict.Size != 150 {
		t.Errorf("%v", err)
	}
	lines, err := Ask(t.Context(), http.DefaultClient, url+"/", v, 150, fork.proof(t, 150, 180), fork.checkpoint(t, 180))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open([]byte(string(fork.checkpoint(t, 180))+lines), note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	wrong, _ := NewVerifier(fixedSigner(t, "witness.example", 8).VerifierKey())
	if _, err := Ask(t.Context(), http.DefaultClient, url, wrong, 180, nil, fork.checkpoint(t, 180)); err == nil {
		t.Error("a signature by another key was taken")
	}
	// One at a time, and what was signed survives.
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("a second one: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, url = open(t, cfg)
	expect("after a restart", req(fork, 0, 180), 409, "180")
	if resp, err := http.Get(url + "/add-checkpoint"); err != nil || resp.StatusCode != 405 {
		t.Errorf("GET: %v", err)
	}
}

// Each write of the state broken, lost and persisted-but-reported-failed, and the witness restarted or not after it: it never signs two
// histories.
func TestStateFaults(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			l := newLog(t)
			l.grow(t, 10, "a")
			fork := l.branch()
			l.grow(t, 30, "a")
			fork.grow(t, 30, "b")
			broken := false
			cfg := Config{Dir: t.TempDir(), Signer: fixedSigner(t, "w", 7), Logs: []string{l.key}, Write: func(path string, data []byte, perm os.FileMode) error {
				if broken {
					if persisted {
						_ = durable.WriteFile(path, data, perm)
					}
					return errors.New("injected fault")
				}
				return durable.WriteFile(path, data, perm)
			}}
			w, url := open(t, cfg)
			v, _ := NewVerifier(cfg.Signer.VerifierKey())
			ask := func(l *memoryLog, old, n int64) error {
				_, err := Ask(context.Background(), http.DefaultClient, url, v, uint64(old), l.proof(t, old, n), l.checkpoint(t, n))
				return err
			}
			if err := ask(l, 0, 10); err != nil {
				t.Fatal(err)
			}
			broken = true
			if err := ask(l, 10, 20); err == nil {
				t.Fatal("signed without a state")
			}
			broken = false
			if restart {
				_ = w.Close()
				_, url = open(t, cfg)
			}
			var conflict *ConflictError
			err := ask(fork, 10, 20)
			if persisted && (!errors.As(err, &conflict) || conflict.Size != 20) || !persisted && err != nil {
				t.Errorf("persisted %v, restart %v: the fork: %v", persisted, restart, err)
			}
			err = ask(l, 20, 20)
			if persisted != (err == nil) {
				t.Errorf("persisted %v, restart %v: the first: %v", persisted, restart, err)
			}
		}
	}
}

func TestDamagedState(t *testing.T) {
	l := newLog(t)
	l.grow(t, 10, "a")
	cfg := Config{Dir: t.TempDir(), Signer: fixedSigner(t, "w", 7), Logs: []string{l.key}}
	w, url := open(t, cfg)
	v, _ := NewVerifier(cfg.Signer.VerifierKey())
	if _, err := Ask(t.Context(), http.DefaultClient, url, v, 0, nil, l.checkpoint(t, 10)); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	files, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	for _, f := range files {
		if filepath.Base(f) != "lock" {
			if err := os.WriteFile(f, []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a witness without its memory: %v", err)
	}
	path := filepath.Join(t.TempDir(), "key")
	a, err := LoadOrCreateKey(path, "w")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := LoadOrCreateKey(path, "w"); err != nil || a.VerifierKey() != b.VerifierKey() {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path, "w"); err == nil {
		t.Error("a key that others can read was taken")
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("old 0\n\nlog\n1\nAAAA\n\n— x y\n"))
	f.Add([]byte("old 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nx"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err == nil && !bytes.Equal(r.marshal(), body) {
			t.Errorf("read %q, would write %q", body, r.marshal())
		}
	})
}
