package tiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// ringLog is a log whose key is rotated.
type ringLog struct {
	*testLog
	ring *Keyring
	n    int // entries in the journal
}

func newRing(t testing.TB) *ringLog {
	t.Helper()
	l := newLog(t)
	ring, err := OpenKeyring(KeyringConfig{Path: filepath.Join(filepath.Dir(l.log), "key"), Origin: origin, Log: l.log})
	if err != nil {
		t.Fatal(err)
	}
	return &ringLog{testLog: l, ring: ring}
}

func (l *ringLog) start(t testing.TB) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- RunSealer(ctx, SealerConfig{Journals: []string{l.journal}, Log: l.log, Signers: l.ring.Signers, Interval: 200 * time.Millisecond})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

// grow adds entries of no interest, and waits until they are sealed.
func (l *ringLog) grow(t testing.TB, by int) {
	t.Helper()
	enqueue(t, l.journal, l.n, l.n+by)
	l.n += by
	l.awaitSize(t, l.n)
}

// put writes an entry by itself.
func (l *ringLog) put(t testing.TB, e audit.Entry) {
	t.Helper()
	e.ID = fmt.Sprint("k", l.n)
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: l.journal})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	l.n++
}

func (l *ringLog) state(t testing.TB) KeyringState {
	t.Helper()
	s, err := l.ring.State()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// announce makes the next key and puts it on record.
func (l *ringLog) announce(t testing.TB) (next string) {
	t.Helper()
	next, err := l.ring.MakeNext()
	if err != nil {
		t.Fatal(err)
	}
	detail, err := l.ring.Announcement()
	if err != nil {
		t.Fatal(err)
	}
	l.put(t, audit.Entry{Kind: audit.KindKey, Time: time.Unix(1790000000+int64(l.n), 0), Gate: "test", Detail: detail})
	return next
}

func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": it did not come to that in 60 s")
		}
	}
}

// overlap brings a rotation to where both keys sign.
func (l *ringLog) overlap(t testing.TB) (next string) {
	t.Helper()
	next = l.announce(t)
	await(t, "linking", func() bool {
		err := l.ring.Link(t.Context(), 0)
		if err != nil && !errors.Is(err, ErrNotSealed) {
			t.Fatal(err)
		}
		return err == nil
	})
	await(t, "both sign", func() bool { return len(l.state(t).Signed) == 2 })
	return next
}

// rotate replaces the key.
func (l *ringLog) rotate(t testing.TB) (next string) {
	t.Helper()
	next = l.overlap(t)
	if err := l.ring.Switch(); err != nil {
		t.Fatal(err)
	}
	await(t, "the earlier key signs no more", func() bool { return len(signersOf(t, l.log)) == 1 })
	return next
}

// signersOf lists the hashes of the keys whose signatures the published checkpoint has.
func signersOf(t testing.TB, log string) (ids []string) {
	t.Helper()
	msg, err := os.ReadFile(filepath.Join(log, checkpointName))
	if err != nil {
		t.Fatal(err)
	}
	_, sigs, _ := strings.Cut(string(msg), "\n\n")
	return strings.Split(strings.TrimSpace(sigs), "\n")
}

func (l *ringLog) verifyBy(t testing.TB, key string) Report {
	t.Helper()
	r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: []string{l.journal}, VerifierKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// byOthers opens the published checkpoint as tools do that know one key and nothing of ours.
func byOthers(t testing.TB, log, key string) error {
	t.Helper()
	msg, err := os.ReadFile(filepath.Join(log, checkpointName))
	if err != nil {
		t.Fatal(err)
	}
	v := mustVerifier(t, key)
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return err
	}
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.SplitN(n.Text, "\n", 2)[1])) // golang.org/x/mod reads the same two lines below its own first
	if err != nil {
		return err
	}
	c, _, err := torchwood.VerifyCheckpoint(msg, torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v)))
	if err != nil {
		return err
	}
	if c.N != tree.N || c.Hash != tree.Hash {
		return errors.New("two readers see two trees")
	}
	return nil
}

// Three keys, one after the other: who knows the first follows; tools that know one key go on as long as it signs; the log never shrinks.
func TestKeyRotation(t *testing.T) {
	l := newRing(t)
	stop := l.start(t)
	l.grow(t, 30)
	first := l.verifier
	remember := filepath.Join(t.TempDir(), "remembered")
	see := func(key string) {
		t.Helper()
		r, err := Verify(t.Context(), VerifyConfig{Log: l.log, Journals: []string{l.journal}, VerifierKey: key, Remember: remember})
		if err != nil || !r.OK() {
			t.Fatalf("verifying by %s: %v %v", KeyID(key), err, r.Problems)
		}
	}
	see(first)
	old, err := Prove(t.Context(), ProveConfig{Log: l.log, VerifierKey: first, Index: 3})
	if err != nil {
		t.Fatal(err)
	}
	second := l.overlap(t)
	l.grow(t, 5)
	for _, key := range []string{first, second} {
		if err := byOthers(t, l.log, key); err != nil {
			t.Errorf("in the overlap by %s: %v", KeyID(key), err)
		}
		see(key)
	}
	if b, err := Prove(t.Context(), ProveConfig{Log: l.log, VerifierKey: first, Index: 3}); err != nil || b.Version != 1 || len(b.LogKeys) != 0 {
		t.Errorf("a bundle in the overlap: %v %+v", err, b.LogKeys)
	}
	if err := l.ring.Switch(); err != nil {
		t.Fatal(err)
	}
	await(t, "the earlier key signs no more", func() bool { return len(signersOf(t, l.log)) == 1 })
	l.grow(t, 5)
	if err := byOthers(t, l.log, second); err != nil {
		t.Error(err)
	}
	if err := byOthers(t, l.log, first); err == nil {
		t.Error("the first key signs still")
	}
	see(first)
	third := l.rotate(t)
	l.grow(t, 300)
	if err := byOthers(t, l.log, third); err != nil {
		t.Error(err)
	}
	for i, key := range []string{first, second, third} {
		see(key)
		r := l.verifyBy(t, key)
		if len(r.LogKeys) != 2-i {
			t.Errorf("by key %d: %+v", i, r.LogKeys)
		}
		b, err := Prove(t.Context(), ProveConfig{Log: l.log, Journals: []string{l.journal}, VerifierKey: key, Index: 3})
		if err != nil {
			t.Fatal(err)
		}
		raw := encoded(t, b)
		report, err := VerifyBundle(raw, Trust{LogKeys: []string{key}})
		if err != nil || len(report.LogKeys) != 2-i || report.Entry.ID != "e3" || b.VerifierKey != third {
			t.Errorf("the bundle by key %d: %v %+v", i, err, report.LogKeys)
		}
		if i > 0 {
			if _, err := VerifyBundle(raw, Trust{LogKeys: []string{first}}); codeOf(err) != CodeKeyUntrusted {
				t.Errorf("a bundle without the first key's word, by the first key: %v", err)
			}
		}
	}
	if r, err := VerifyBundle(encoded(t, old), Trust{LogKeys: []string{first}}); err != nil || r.Entry.ID != "e3" {
		t.Errorf("a bundle from before, by the first key: %v", err)
	}
	if s := l.state(t); s.First != first || s.Key != third || s.Next != "" || len(s.History) != 2 || s.Since.IsZero() {
		t.Errorf("%+v", s)
	}
	for _, name := range []string{"key.next"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(l.log), name)); err == nil {
			t.Error(name + " is left")
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	stop = l.start(t) // and it goes on
	l.grow(t, 1)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A rotation cut off after any step, with or without the sealer dying too, goes on from what the files say, and can be taken back before the switch.
func TestKeyRotationCutOff(t *testing.T) {
	l := newRing(t)
	stop := l.start(t)
	l.grow(t, 3)
	again := func() {
		t.Helper()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		ring, err := OpenKeyring(l.ring.cfg)
		if err != nil {
			t.Fatal(err)
		}
		l.ring = ring
		stop = l.start(t)
	}
	if err := l.ring.Switch(); !errors.Is(err, ErrNoNextKey) {
		t.Errorf("switching to nothing: %v", err)
	}
	if _, err := l.ring.Announcement(); !errors.Is(err, ErrNoNextKey) {
		t.Errorf("announcing nothing: %v", err)
	}
	next, err := l.ring.MakeNext()
	if err != nil {
		t.Fatal(err)
	}
	again()
	if same, err := l.ring.MakeNext(); err != nil || same != next {
		t.Errorf("made again: %v %v", same, err)
	}
	if err := l.ring.Link(t.Context(), 0); !errors.Is(err, ErrNotSealed) {
		t.Errorf("linked without a word in the log: %v", err)
	}
	if err := l.ring.Switch(); !errors.Is(err, ErrSignedByOneKey) {
		t.Errorf("switched without a word in the log: %v", err)
	}
	l.grow(t, 2)
	if got := signersOf(t, l.log); len(got) != 1 {
		t.Errorf("a key that the log does not know signs: %v", got)
	}
	l.announce(t)
	l.announce(t) // a step that was done twice
	again()
	l.awaitSize(t, l.n)
	if err := stop(); err != nil { // the sealer is away while the link is made
		t.Fatal(err)
	}
	for range 2 {
		if err := l.ring.Link(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.ring.Switch(); !errors.Is(err, ErrSignedByOneKey) {
		t.Errorf("switched before the next key has signed: %v", err)
	}
	stop = l.start(t)
	await(t, "both sign, without a new entry", func() bool { return len(l.state(t).Signed) == 2 })
	if err := l.ring.Discard(); err != nil {
		t.Fatal(err)
	}
	await(t, "it is taken back", func() bool { return len(signersOf(t, l.log)) == 1 })
	if s := l.state(t); s.Key != l.verifier || s.Next != "" || len(s.History) != 0 {
		t.Errorf("%+v", s)
	}
	if err := l.ring.Discard(); err != nil {
		t.Errorf("taken back twice: %v", err)
	}
	other := l.overlap(t)
	if other == next {
		t.Error("a key that was taken back is there again")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := l.ring.Switch(); err != nil {
		t.Fatal(err)
	}
	// The sealer was away at the switch: the checkpoint still has both signatures.
	if got := signersOf(t, l.log); len(got) != 2 {
		t.Fatal(got)
	}
	stop = l.start(t)
	await(t, "the new key signs alone, without a new entry", func() bool { return len(signersOf(t, l.log)) == 1 })
	l.grow(t, 2)
	if r := l.verifyBy(t, l.verifier); !r.OK() || len(r.LogKeys) != 1 || r.LogKeys[0].Key != other {
		t.Errorf("%+v", r)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// A sealer killed at any moment, while one key after the other is replaced, goes on by the keys that there are, and the log stays one.
func TestKilledSealerWhileKeysChange(t *testing.T) {
	l := newRing(t)
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: l.journal, QueueEntries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	put := func(e audit.Entry) {
		t.Helper()
		if _, err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		l.n++
	}
	step, switched := 0, 0
	again := func() {
		t.Helper()
		put(entry(l.n))
		var err error
		switch step {
		case 0:
			if _, err = l.ring.MakeNext(); err == nil {
				var detail map[string]string
				if detail, err = l.ring.Announcement(); err == nil {
					put(audit.Entry{ID: fmt.Sprint("k", l.n), Kind: audit.KindKey, Time: time.Unix(1790000000, 0), Gate: "test", Detail: detail})
				}
			}
		case 1:
			err = l.ring.Link(t.Context(), 0)
		case 2:
			if err = l.ring.Switch(); err == nil {
				switched++
			}
		}
		if err != nil && !errors.Is(err, ErrNotSealed) && !errors.Is(err, ErrSignedByOneKey) {
			t.Fatalf("step %d: %v", step, err)
		}
		if err == nil {
			step = (step + 1) % 3
		}
	}
	for round := range 10 {
		killSealer(t, filepath.Dir(l.log), round, 500, again)
		if r := l.verifyBy(t, l.verifier); !r.OK() && codes(r) != "checkpoint_missing" {
			t.Fatalf("round %d: %v", round, r.Problems)
		}
	}
	t.Logf("%d keys while it was killed", switched)
	stop := l.start(t)
	await(t, "a key is replaced", func() bool { again(); return switched > 0 && step == 0 })
	l.awaitSize(t, l.n)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if r := l.verifyBy(t, l.verifier); !r.OK() || r.Entries != uint64(l.n) || r.Journal != uint64(l.n) || len(r.LogKeys) != switched {
		t.Errorf("%d keys: %+v", switched, r)
	}
}

// Whoever has the next key alone, or can write into the log, gets nowhere without the earlier key.
func TestKeyHistoryForged(t *testing.T) {
	l := newRing(t)
	stop := l.start(t)
	l.grow(t, 4)
	// A gate writes a statement about a key of its own into its journal, and the log seals it under the true key.
	dir := t.TempDir()
	thief, thiefKey, err := LoadOrCreateKey(filepath.Join(dir, "thief"), origin)
	if err != nil {
		t.Fatal(err)
	}
	claimed := func(signers ...note.Signer) string {
		t.Helper()
		s, err := stateSuccession(l.verifier, thiefKey, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	claim := audit.Entry{Kind: audit.KindKey, Time: time.Unix(1790000100, 0), Gate: "test", Detail: map[string]string{"use": UseCheckpoint, SuccessionDetail: claimed(thief)}}
	l.put(t, claim)
	claimAt := uint64(l.n - 1)
	l.rotate(t)
	l.grow(t, 4)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	good, err := Prove(t.Context(), ProveConfig{Log: l.log, VerifierKey: l.verifier, Index: 1})
	if err != nil {
		t.Fatal(err)
	}
	trust := Trust{LogKeys: []string{l.verifier}}
	if _, err := VerifyBundle(encoded(t, good), trust); err != nil {
		t.Fatal(err)
	}
	byThief := func(text string) string {
		t.Helper()
		msg, err := note.Sign(&note.Note{Text: text}, thief)
		if err != nil {
			t.Fatal(err)
		}
		return string(msg)
	}
	text := mustText(t, good.Checkpoint)
	p, err := newProver(ProveConfig{Log: l.log, VerifierKey: l.verifier})
	if err != nil {
		t.Fatal(err)
	}
	claimEntry, err := p.prove(claimAt)
	if err != nil {
		t.Fatal(err)
	}
	link := good.LogKeys[0]
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   Code
	}{
		"the thief's checkpoint, with no word of the first key": {func(b *Bundle) { b.VerifierKey, b.Checkpoint, b.LogKeys, b.Version = thiefKey, byThief(text), nil, 1 }, CodeKeyUntrusted},
		"the thief's checkpoint behind the true link":           {func(b *Bundle) { b.VerifierKey, b.Checkpoint = thiefKey, byThief(text) }, CodeKeyHistory},
		"the thief's signature for the second key":              {func(b *Bundle) { b.Checkpoint = byThief(text) }, CodeCheckpointSignature},
		"a gate's claim, sealed under the second key": {func(b *Bundle) {
			b.LogKeys[0] = KeyLink{p.message, claimEntry}
			b.VerifierKey, b.Checkpoint = thiefKey, byThief(text)
		}, CodeKeyHistory},
		"the true link's entry under a checkpoint of the second key":     {func(b *Bundle) { b.LogKeys[0].Checkpoint = good.Checkpoint }, CodeKeyHistory},
		"the true link's entry under a checkpoint of the thief":          {func(b *Bundle) { b.LogKeys[0].Checkpoint = byThief(mustText(t, link.Checkpoint)) }, CodeKeyHistory},
		"the true link under a checkpoint with the thief's name as well": {func(b *Bundle) { b.LogKeys[0].Checkpoint += strings.SplitN(byThief(text), "\n\n", 2)[1] }, CodeKeyHistory},
		"another index":               {func(b *Bundle) { b.LogKeys[0].Entry.Index-- }, CodeKeyHistory},
		"another entry":               {func(b *Bundle) { b.LogKeys[0].Entry = b.Entry }, CodeKeyHistory},
		"the link twice":              {func(b *Bundle) { b.LogKeys = append(b.LogKeys, b.LogKeys[0]) }, CodeKeyHistory},
		"no link":                     {func(b *Bundle) { b.LogKeys, b.Version = nil, 1 }, CodeKeyUntrusted},
		"links in a bundle of before": {func(b *Bundle) { b.Version = 1 }, CodeBundleVersion},
	} {
		t.Run(name, func(t *testing.T) {
			b := good
			b.LogKeys = slices.Clone(good.LogKeys)
			c.change(&b)
			if _, err := VerifyBundle(encoded(t, b), trust); codeOf(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}

	// And the same against the log's own files.
	for name, c := range map[string]struct {
		links []KeyLink
		sign  note.Signer
		want  Code
	}{
		"nothing leads to the second key":        {nil, nil, CodeCheckpointSignature},
		"the gate's claim":                       {[]KeyLink{{p.message, claimEntry}}, thief, CodeKeyHistory},
		"the thief's claim behind the true link": {[]KeyLink{link, {byThief(text), claimEntry}}, thief, CodeKeyHistory},
	} {
		t.Run(name, func(t *testing.T) {
			forged := &ringLog{testLog: l.copied(t)}
			if err := logDir(forged.log).writeHistory(c.links); err != nil {
				t.Fatal(err)
			}
			if c.sign != nil {
				write(t, filepath.Join(forged.log, checkpointName), []byte(byThief(text)))
			}
			if r := forged.verifyBy(t, l.verifier); !r.Has(c.want) || !r.Has(CodeCheckpointSignature) {
				t.Errorf("%v", r.Problems)
			}
		})
	}
	// A statement is of both keys or of no use; and it is no checkpoint.
	own, _, err := LoadOrCreateKey(l.ring.cfg.Path, origin)
	if err != nil {
		t.Fatal(err)
	}
	for name, msg := range map[string]string{"the thief's word alone": claimed(thief), "a key that never was asked": claimed(own), "nobody's": "x", "a checkpoint": good.Checkpoint} {
		if _, _, err := readSuccession(msg); err == nil {
			t.Errorf("%s: is believed", name)
		}
	}
	statement, err := l.ringStatement(t, link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseCheckpoint(mustText(t, statement)); err == nil {
		t.Error("a statement can be read as a checkpoint")
	}
}

func (l *ringLog) ringStatement(t testing.TB, link KeyLink) (string, error) {
	t.Helper()
	var e struct {
		Detail map[string]string `json:"detail"`
	}
	err := json.Unmarshal([]byte(link.Entry.Raw), &e)
	return e.Detail[SuccessionDetail], err
}
