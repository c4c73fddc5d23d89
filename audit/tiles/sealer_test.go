package tiles

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

const childVariable = "BAILIWICK_TILES_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		sealChild(dir)
		return
	}
	os.Exit(m.Run())
}

// sealChild runs a sealer until it is killed.
func sealChild(dir string) {
	ring, err := OpenKeyring(KeyringConfig{Path: filepath.Join(dir, "key"), Origin: origin, Log: filepath.Join(dir, "log")})
	if err == nil {
		fmt.Println("started")
		err = RunSealer(context.Background(), SealerConfig{Journals: []string{filepath.Join(dir, "journal"), filepath.Join(dir, "journal-control")}, Log: filepath.Join(dir, "log"),
			Signers: ring.Signers, Interval: 200 * time.Millisecond})
	}
	fmt.Println("error", err)
	os.Exit(1)
}

// forge writes a journal of n entries in which the one at odd is another than enqueue would write.
func forge(t *testing.T, dir string, n, odd int) {
	t.Helper()
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: dir, QueueEntries: n})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := entry(i)
		if i == odd {
			e.Reason = "BECAUSE"
		}
		if err := j.Enqueue(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// killSealer runs a sealer in a process of its own and kills it after 50 to 50+most ms, in which write is called again and again.
func killSealer(t *testing.T, dir string, round, most int, write func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "started" {
		t.Fatalf("child says %q", lines.Text())
	}
	for kill := time.Now().Add(time.Duration(50+rand.IntN(most)) * time.Millisecond); time.Now().Before(kill); time.Sleep(2 * time.Millisecond) {
		write()
	}
	_ = cmd.Process.Kill()
	for lines.Scan() {
		t.Errorf("round %d: child says %q", round, lines.Text())
	}
	_ = cmd.Wait()
}

// A sealer killed at any moment, while the journal grows, goes on where it was: nothing missing, doubled or moved.
func TestKilledSealer(t *testing.T) {
	l := newLog(t)
	dir := filepath.Dir(l.log)
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: l.journal, SegmentBytes: 100_000, QueueEntries: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	n := 0
	for round := range 8 {
		killSealer(t, dir, round, 400, func() {
			for range 50 {
				if err := j.Enqueue(entry(n)); err != nil {
					t.Fatal(err)
				}
				n++
			}
		})
		if r := l.verify(t); !r.OK() && codes(r) != "checkpoint_missing" {
			t.Fatalf("round %d: %v", round, r.Problems)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	l.seal(t, n)
	if r := l.verify(t); !r.OK() || r.Entries != uint64(n) || r.Journal != uint64(n) || r.Unsealed != 0 {
		t.Fatalf("of %d entries: %+v", n, r)
	}
	t.Logf("%d entries", n)
}

// What Tessera integrated but never published and the journal does not say is put back and integrated again.
func TestUnpublishedStateIsRepaired(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 300)
	l.seal(t, 300)
	// As a swap of two batches would leave it: the tree state has other entries than the journal.
	enqueue(t, l.journal, 300, 310)
	state, err := json.Marshal(treeState{Size: 305, Root: make([]byte, sha256.Size)})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.log, ".state", "treeState"), state)
	l.seal(t, 310)
	if r := l.verify(t); !r.OK() || r.Size != 310 {
		t.Errorf("%+v", r)
	}
}

func TestGuardRefuses(t *testing.T) {
	leaves := []tlog.Hash{tlog.RecordHash([]byte("a")), tlog.RecordHash([]byte("b")), tlog.RecordHash([]byte("c"))}
	text := func(name string, leaves ...tlog.Hash) []byte {
		var f frontier
		for _, h := range leaves {
			f.push(h)
		}
		return fmt.Appendf(nil, "%s\n%d\n%s\n", name, f.size, f.root())
	}
	for name, c := range map[string]struct {
		msg []byte
		ok  bool
	}{
		"all":         {text(origin, leaves...), true},
		"some":        {text(origin, leaves[:2]...), true},
		"same again":  {text(origin, leaves[:1]...), true},
		"smaller":     {text(origin), false},
		"swapped":     {text(origin, leaves[0], leaves[2], leaves[1]), false},
		"doubled":     {text(origin, leaves[0], leaves[1], leaves[1]), false},
		"more":        {text(origin, append(leaves[:3:3], leaves[0])...), false},
		"origin":      {text("other", leaves...), false},
		"not a state": {[]byte("x\n"), false},
	} {
		edge := &frontier{}
		edge.push(leaves[0])
		g := &guard{Signer: otherSigner(t, origin), origin: origin, edge: edge}
		g.expect(leaves[1])
		g.expect(leaves[2])
		sig, err := g.Sign(c.msg)
		if (err == nil) != c.ok || (len(sig) > 0) != c.ok || (g.err() == nil) != c.ok {
			t.Errorf("%s: %x %v", name, sig, err)
		}
	}
}

// The sealer gives up, saying why, rather than sealing on a log that is not the journal's.
func TestSealerGivesUp(t *testing.T) {
	good := newLog(t)
	enqueue(t, good.journal, 0, 300)
	good.seal(t, 300)
	for name, c := range map[string]struct {
		do   func(t *testing.T, l *testLog)
		want string
	}{
		"another key": {func(t *testing.T, l *testLog) { l.signer = otherSigner(t, origin) }, "was not signed with this key"},
		"another journal": {func(t *testing.T, l *testLog) {
			_ = os.RemoveAll(l.journal)
			forge(t, l.journal, 300, 299)
		}, `entry 299 of the journal of gate "test" is not the one in the log`},
		"shorter journal": {func(t *testing.T, l *testLog) {
			_ = os.RemoveAll(l.journal)
			enqueue(t, l.journal, 0, 20)
		}, `the log has 300 entries of gate "test", the journal only 20`},
		"tree state rolled back": {func(t *testing.T, l *testLog) {
			write(t, filepath.Join(l.log, ".state", "treeState"), []byte(`{"size":10,"root":""}`))
		}, "tree state has 10 entries, its checkpoint 300"},
		"tile altered": {func(t *testing.T, l *testLog) {
			edit(t, logDir(l.log).path(1, 0, 1), func(b []byte) []byte { b[0] ^= 1; return b })
		}, "tiles do not have the root"},
	} {
		t.Run(name, func(t *testing.T) {
			l := good.copied(t)
			c.do(t, l)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := RunSealer(ctx, SealerConfig{Journals: []string{l.journal}, Log: l.log, Signer: l.signer, Interval: 200 * time.Millisecond})
			if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOneSealer(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 1)
	stop := l.start(t)
	l.awaitSize(t, 1)
	err := RunSealer(t.Context(), SealerConfig{Journals: []string{l.journal}, Log: l.log, Signer: l.signer})
	if err == nil || !strings.Contains(err.Error(), "another one seals this log") {
		t.Errorf("a second sealer: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for name, cfg := range map[string]SealerConfig{
		"no dirs":   {Signer: l.signer},
		"no signer": {Journals: []string{l.journal}, Log: l.log},
		"slow":      {Journals: []string{l.journal}, Log: l.log, Signer: l.signer, Interval: time.Minute},
		"fast":      {Journals: []string{l.journal}, Log: l.log, Signer: l.signer, Interval: time.Millisecond},
	} {
		if err := RunSealer(t.Context(), cfg); err == nil {
			t.Errorf("%s: ran", name)
		}
	}
}

// A journal that can't be read for a while is tried again.
func TestSealerRetries(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 10)
	mark := filepath.Join(l.journal, "acknowledged")
	kept, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	write(t, mark, []byte("damaged mark"))
	stop := l.start(t)
	time.Sleep(50 * time.Millisecond)
	write(t, mark, kept)
	l.awaitSize(t, 10)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
