package tiles

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit/witness"
)

// watcher runs a witness of ours over the log.
func watcher(t testing.TB, l *testLog, name string) WitnessURL {
	t.Helper()
	dir := t.TempDir()
	s, err := witness.LoadOrCreateKey(filepath.Join(dir, "key"), name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.New(witness.Config{Dir: filepath.Join(dir, "state"), Signer: s, Logs: []string{l.verifier}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w)
	t.Cleanup(func() { server.Close(); _ = w.Close() })
	return WitnessURL{URL: server.URL, Key: s.VerifierKey()}
}

func cosigner(t testing.TB, l *testLog, quorum int, ws ...WitnessURL) *cosigning {
	t.Helper()
	c, err := newCosigning(CosignConfig{Log: l.log, Key: l.verifier, Witnesses: ws, Quorum: quorum, Client: &http.Client{Timeout: 5 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCosigning(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 300)
	l.seal(t, 300)
	early := l.copied(t)
	a, b := watcher(t, l, "a.example"), watcher(t, l, "b.example")
	down := WitnessURL{URL: "http://127.0.0.1:1", Key: watcher(t, l, "down.example").Key}
	verify := func(l *testLog, quorum int, keys ...WitnessURL) Report {
		t.Helper()
		cfg := VerifyConfig{Log: l.log, VerifierKey: l.verifier, Quorum: quorum}
		for _, w := range keys {
			cfg.Witnesses = append(cfg.Witnesses, w.Key)
		}
		r, err := Verify(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(l, 0, a); codes(r) != "witness_quorum" {
		t.Errorf("before: %v", r.Problems)
	}
	// All three are needed and one is down: nothing is published. Two of three are enough.
	if err := cosigner(t, l, 0, a, b, down).round(t.Context()); err == nil {
		t.Error("published without a witness")
	}
	c := cosigner(t, l, 2, a, b, down) // it does not know what the witnesses have, and asks
	if err := c.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := verify(l, 2, a, b, down); !r.OK() || len(r.Cosigned) != 2 || r.Cosigned[0].Size != 300 || time.Since(r.Cosigned[0].Time) > time.Minute {
		t.Errorf("two of three: %+v", r)
	}
	if r := verify(l, 0, a, b, down); codes(r) != "witness_quorum" {
		t.Errorf("all three: %v", r.Problems)
	}
	enqueue(t, l.journal, 300, 700)
	l.seal(t, 700)
	if r := verify(l, 2, a, b); !r.OK() {
		t.Errorf("the log is ahead of its witnesses: %v", r.Problems)
	}
	if err := c.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := verify(l, 2, a, b); !r.OK() || r.Cosigned[0].Size != 700 {
		t.Errorf("grown: %+v", r)
	}
	// A log that was rolled back, and one that was rewritten with its own key, get no signature and do not verify.
	if err := cosigner(t, early, 1, a).round(t.Context()); !errors.Is(err, ErrDiverged) {
		t.Errorf("rolled back: %v", err)
	}
	other := &testLog{journal: filepath.Join(t.TempDir(), "journal"), log: filepath.Join(t.TempDir(), "log"), signer: l.signer, verifier: l.verifier}
	forge(t, other.journal, 800, 17)
	other.seal(t, 800)
	if err := cosigner(t, other, 1, a).round(t.Context()); err == nil {
		t.Error("rewritten: cosigned")
	}
	witnessed, err := os.ReadFile(filepath.Join(l.log, witnessedName))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(other.log, witnessedName), witnessed)
	if r := verify(other, 1, a); codes(r) != "log_rewritten" {
		t.Errorf("rewritten: %v", r.Problems)
	}
	write(t, filepath.Join(early.log, witnessedName), witnessed)
	if r := verify(early, 1, a); codes(r) != "log_truncated" {
		t.Errorf("rolled back: %v", r.Problems)
	}
	edit(t, filepath.Join(l.log, witnessedName), func(b []byte) []byte {
		return []byte(strings.Replace(string(b), "— a.example ", "— c.example ", 1))
	})
	if r := verify(l, 2, a, b); codes(r) != "witness_quorum" {
		t.Errorf("a witness's name altered: %v", r.Problems)
	}
	for name, cfg := range map[string]CosignConfig{
		"no witness": {Log: l.log, Key: l.verifier},
		"quorum":     {Log: l.log, Key: l.verifier, Witnesses: []WitnessURL{a}, Quorum: 2},
		"twice":      {Log: l.log, Key: l.verifier, Witnesses: []WitnessURL{a, a}},
		"log's key":  {Log: l.log, Key: l.verifier, Witnesses: []WitnessURL{{a.URL, l.verifier}}},
	} {
		if err := RunCosigning(t.Context(), cfg); err == nil {
			t.Errorf("%s: ran", name)
		}
	}
}

// A log that was rewritten contradicts what was anchored, wherever it is kept.
func TestAnchors(t *testing.T) {
	var mu sync.Mutex
	var posted bytes.Buffer
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodPost {
			_, _ = io.Copy(&posted, r.Body)
			posted.WriteByte('\n')
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(posted.Bytes())
	}))
	defer hook.Close()
	dir := t.TempDir()
	remote := filepath.Join(dir, "remote.git")
	if err := os.MkdirAll(remote, 0o755); err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(dir, "repo")
	for _, args := range [][]string{{remote, "init", "-q", "--bare"}, {dir, "init", "-q", "repo"}, {repo, "remote", "add", "origin", remote}} {
		if _, err := git(t.Context(), args[0], nil, args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	anchors := []Anchor{Anchor(filepath.Join(dir, "file")), Anchor("git:" + repo), Anchor(hook.URL)}
	l := newLog(t)
	cfg := AnchorConfig{Log: l.log, Anchors: anchors, Token: func() (string, error) { return "secret", nil }}
	for _, n := range []int{300, 600, 600, 650} {
		if n > l.size(t) {
			enqueue(t, l.journal, l.size(t), n)
			l.seal(t, n)
		}
		for _, a := range anchors {
			if a == anchors[2] && n == 600 && l.size(t) == 600 && bytes.Contains(posted.Bytes(), []byte("\n600\n")) {
				continue // the caller knows what it put there last
			}
			if _, err := AnchorOnce(t.Context(), cfg, a, ""); err != nil {
				t.Fatalf("%s: %v", a, err)
			}
		}
	}
	// A crash in the middle of an append, or two checkpoints of another log, do no harm.
	f, err := os.OpenFile(string(anchors[0]), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(origin + "\n65")
	_ = f.Close()
	other := &testLog{journal: filepath.Join(t.TempDir(), "journal"), log: filepath.Join(t.TempDir(), "log"), signer: l.signer, verifier: l.verifier}
	forge(t, other.journal, 700, 400)
	other.seal(t, 700)
	short := &testLog{journal: filepath.Join(t.TempDir(), "journal"), log: filepath.Join(t.TempDir(), "log"), signer: l.signer, verifier: l.verifier}
	enqueue(t, short.journal, 0, 320)
	short.seal(t, 320)
	for _, a := range append(anchors, Anchor("git:"+remote)) {
		notes, err := ReadAnchor(t.Context(), cfg, a)
		if err != nil || len(notes) != 3 {
			t.Errorf("%s: %d checkpoints, %v", a, len(notes), err)
			continue
		}
		for name, c := range map[string]struct {
			log   *testLog
			codes string
		}{"the log": {l, ""}, "another history": {other, "log_rewritten"}, "rolled back": {short, "log_truncated"}} {
			r, err := Verify(t.Context(), VerifyConfig{Log: c.log.log, VerifierKey: l.verifier, Against: notes})
			if err != nil || codes(r) != c.codes || c.codes == "" && r.Against != 650 {
				t.Errorf("%s, %s: %v %v", a, name, r.Problems, err)
			}
		}
	}
	if _, err := AnchorOnce(t.Context(), cfg, anchors[0], ""); err != nil {
		t.Fatal(err)
	}
	notes, err := ReadAnchor(t.Context(), cfg, anchors[0])
	if err != nil || len(notes) != 3 {
		t.Errorf("after a torn tail: %d %v", len(notes), err)
	}
	r, err := Verify(t.Context(), VerifyConfig{Log: l.log, VerifierKey: l.verifier, Against: [][]byte{[]byte("nonsense")}})
	if err != nil || codes(r) != "remembered_invalid" {
		t.Errorf("nonsense: %v %v", r.Problems, err)
	}
	cfg.Token = nil
	if _, err := AnchorOnce(t.Context(), cfg, anchors[2], ""); err == nil {
		t.Error("an anchor that refused was taken for one that did not")
	}
	// It follows the log by itself, at most every interval.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	auto := Anchor("file:" + filepath.Join(dir, "auto"))
	go func() {
		done <- RunAnchoring(ctx, AnchorConfig{Log: l.log, Anchors: []Anchor{auto}, Interval: 10 * time.Millisecond})
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if notes, err := ReadAnchor(t.Context(), cfg, auto); err == nil && len(notes) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing was anchored")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
