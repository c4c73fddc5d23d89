package rotation_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/audit/witness"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const logOrigin = "bailiwick.test/log"

// logKit is a journal, its sealer and log, a witness over HTTP, and rotations of the log's key in Temporal's test environment.
type logKit struct {
	*testing.T
	dir     string
	ring    *tiles.Keyring
	first   string
	journal *audit.Journal
	service *rotation.Service
	watched tiles.WitnessURL
	between func(step string) // called before each attempt of a step
	lost    string            // the step whose first answers are lost

	mu      sync.Mutex    // covers the rest
	ahead   time.Duration // by which the workflow's clock, which skips pauses, is ahead of ours
	runs    map[string]int
	full    bool // the journal takes nothing
	alerts  []rotation.Rotation
	logs    []string // verifier keys that the witness watches
	stopped func()   // ends the sealer
}

func newLogKit(t *testing.T) *logKit {
	t.Helper()
	k := &logKit{T: t, dir: t.TempDir(), runs: map[string]int{}}
	var err error
	k.journal, err = audit.OpenJournal(audit.JournalConfig{Dir: k.file("journal")})
	k.must(err)
	t.Cleanup(func() { _ = k.journal.Close() })
	k.ring, err = tiles.OpenKeyring(tiles.KeyringConfig{Path: k.file("log.key"), Origin: logOrigin, Log: k.file("log")})
	k.must(err)
	k.first = k.state().Key
	k.logs = []string{k.first}
	signer, err := witness.NewSigner("w.example", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), nil)
	k.must(err)
	k.watched.Key = signer.VerifierKey()
	k.watch(signer)
	registry, err := rotation.OpenRegistry(t.Context(), rotation.RegistryConfig{DSN: k.file("verifiers.db")})
	k.must(err)
	t.Cleanup(func() { _ = registry.Close() })
	k.service, err = rotation.New(rotation.Config{
		Verifiers: registry, Decider: undecided{}, Recorder: k, Clock: k.now,
		Checkpoints: []rotation.CheckpointTarget{{ID: "log", Keys: k.ring, Lacking: k.lacking}},
		Alert: func(_ context.Context, r rotation.Rotation) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.alerts = append(k.alerts, r)
		},
	})
	k.must(err)
	k.seal()
	for range 3 {
		_, err := k.Record(t.Context(), audit.Entry{Kind: audit.KindAdmin, Detail: map[string]string{"event": "tested"}})
		k.must(err)
	}
	k.await("the log is sealed", func() bool { n, err := k.ring.SealedSize(); return err == nil && n >= 3 })
	return k
}

type undecided struct{}

func (undecided) Decide(context.Context, identity.Identity, policy.Request) (policy.Decision, string) {
	return policy.Decision{}, ""
}

func (k *logKit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *logKit) file(name string) string { return filepath.Join(k.dir, name) }

func (k *logKit) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Add(k.ahead)
}

func (k *logKit) await(what string, f func() bool) {
	k.Helper()
	for end := time.Now().Add(60 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			k.Fatal(what + ": it did not come to that in 60 s")
		}
	}
}

func (k *logKit) state() tiles.KeyringState {
	k.Helper()
	s, err := k.ring.State()
	k.must(err)
	return s
}

// seal runs a sealer until stopped.
func (k *logKit) seal() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: []string{k.file("journal")}, Log: k.file("log"), Signers: k.ring.Signers, Interval: 200 * time.Millisecond})
	}()
	k.stopped = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			k.Error(err)
		}
	})
	k.Cleanup(k.stopped)
}

// watch runs the witness; what it watches may change between requests, as when it is started anew.
func (k *logKit) watch(signer *witness.Signer) {
	k.Helper()
	state := k.file("witness")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		one, err := witness.New(witness.Config{Dir: state, Signer: signer, Logs: k.logs})
		if err != nil {
			k.Error(err)
			return
		}
		defer func() { _ = one.Close() }()
		one.ServeHTTP(w, r)
	}))
	k.Cleanup(web.Close)
	k.watched.URL = web.URL
}

func (k *logKit) lacking(ctx context.Context, key string) (lag []rotation.Lag, err error) {
	all, err := tiles.Lacking(ctx, tiles.CosignConfig{Log: k.file("log"), Key: key, Witnesses: []tiles.WitnessURL{k.watched}})
	for _, l := range all {
		lag = append(lag, rotation.Lag{Verifier: l.Witness, Why: l.Err.Error()})
	}
	return lag, err
}

// Record is the control plane's journal.
func (k *logKit) Record(ctx context.Context, e audit.Entry) (string, error) {
	k.mu.Lock()
	full, n := k.full, k.runs["entries"]
	k.runs["entries"]++
	k.mu.Unlock()
	if full {
		return "", errors.New("no space left on device")
	}
	e.ID, e.Time, e.Gate = fmt.Sprintf("entry-%d", n), time.Now(), "control"
	_, err := k.journal.Append(ctx, e)
	return e.ID, err
}

type steps struct {
	*logKit
	env *testsuite.TestWorkflowEnvironment
}

func (r steps) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) {
	r.env.RegisterWorkflowWithOptions(w, o)
}

func (r steps) RegisterActivityWithOptions(a any, o activity.RegisterOptions) {
	step, is := a.(func(context.Context, rotation.Work) (rotation.Done, error))
	if !is {
		r.env.RegisterActivityWithOptions(a, o)
		return
	}
	r.env.RegisterActivityWithOptions(func(ctx context.Context, w rotation.Work) (rotation.Done, error) {
		name := o.Name[strings.LastIndex(o.Name, "-")+1:]
		r.mu.Lock()
		r.ahead = max(r.ahead, time.Until(w.At))
		r.runs[name]++
		n := r.runs[name]
		r.mu.Unlock()
		if r.between != nil {
			r.between(name)
		}
		done, err := step(ctx, w)
		if name == r.lost && err == nil && n <= 2 {
			return rotation.Done{}, errors.New("the worker died before it could report")
		}
		return done, err
	}, o)
}

func (k *logKit) rotate() rotation.Rotation {
	k.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: 5 * time.Minute}) // however slow the machine is
	k.service.Register(steps{k, env})
	env.ExecuteWorkflow(rotation.WorkflowName, rotation.Params{Version: rotation.Version, Use: rotation.Checkpoint, Target: "log", By: rotation.By{Login: "carol@acme.example"}, Reason: "CHG-7",
		Times: rotation.Times{Verifiers: 2 * time.Second, Retry: time.Minute, Heartbeat: 30 * time.Second}})
	k.must(env.GetWorkflowError())
	var r rotation.Rotation
	k.must(env.GetWorkflowResult(&r))
	return r
}

// verify checks the log by its first key, and returns the events of keys on record.
func (k *logKit) verify() (events string) {
	k.Helper()
	k.await("all is sealed", func() bool {
		n, err := tiles.Unsealed(k.Context(), tiles.ScanConfig{Log: k.file("log"), Journals: []string{k.file("journal")}}, 1)
		return err == nil && n == 0
	})
	r, err := tiles.Verify(k.Context(), tiles.VerifyConfig{Log: k.file("log"), Journals: []string{k.file("journal")}, VerifierKey: k.first, Remember: k.file("remembered")})
	k.must(err)
	if !r.OK() {
		k.Errorf("the log does not verify: %v", r.Problems)
	}
	var all []string
	for e, err := range tiles.Scan(k.Context(), tiles.ScanConfig{Log: k.file("log")}) {
		k.must(err)
		if e.Entry.Kind == audit.KindKey {
			if published := e.Entry.Detail["event"] == "published"; published == (e.Entry.Actor.Login != "") || published == (e.Entry.Reason != "") {
				k.Errorf("entry %s of %q: it goes into each bundle when it publishes a key, and says who when not", e.Raw, e.Entry.Actor.Login)
			}
			all = append(all, e.Entry.Detail["event"])
		}
	}
	return strings.Join(slices.Compact(all), " ")
}

// takeNext has the witness watch the next key, too, while both sign.
func (k *logKit) takeNext(step string) {
	if step != "witnesses" {
		return
	}
	next := k.state().Next
	k.mu.Lock()
	defer k.mu.Unlock()
	if next != "" && !slices.Contains(k.logs, next) {
		k.logs = append(k.logs, next)
	}
}

// The log's key is rotated once, though the answer of any step is lost and the sealer is started anew before each.
func TestCheckpointKeyIsRotated(t *testing.T) {
	for _, step := range []string{"", "plan", "make", "announce", "link", "both", "witnesses", "switch", "record"} {
		t.Run("lost "+step, func(t *testing.T) {
			k := newLogKit(t)
			k.lost = step
			k.between = func(name string) {
				if name == step {
					k.stopped()
					k.seal()
				}
				k.takeNext(name)
			}
			r := k.rotate()
			now := k.state()
			if r.State != rotation.Rotated || r.Code != "" || r.Next != tiles.KeyID(now.Key) || r.Previous != tiles.KeyID(k.first) || now.Next != "" || now.First != k.first {
				t.Fatalf("%+v\n%+v", r, now)
			}
			if step != "" && k.runs[step] < 3 {
				t.Errorf("%s ran %d times: no answer was lost", step, k.runs[step])
			}
			if events := k.verify(); !strings.HasPrefix(events, "created published rotated retired") {
				t.Errorf("on record: %s", events)
			}
			status, err := k.service.Status(t.Context())
			if err != nil || len(status.Checkpoints) != 1 || status.Checkpoints[0].Key != now.Key || status.Checkpoints[0].Code != "" {
				t.Errorf("%v %+v", err, status.Checkpoints)
			}
			if lag, err := k.lacking(t.Context(), now.Key); err != nil || len(lag) > 0 {
				t.Errorf("the witness: %v %v", lag, err)
			}
		})
	}
}

// A witness that does not take the next key keeps the old one in force; what was begun is taken back, and a later rotation goes through.
func TestLaggingWitnessAborts(t *testing.T) {
	k := newLogKit(t)
	var during rotation.CheckpointStatus
	k.between = func(step string) {
		if step == "witnesses" {
			if s, err := k.service.Status(t.Context()); err == nil {
				during = s.Checkpoints[0]
			}
		}
	}
	r := k.rotate()
	if r.State != rotation.Aborted || r.Code != "witness_lagging" || !strings.Contains(r.Detail, "w.example") {
		t.Errorf("%+v", r)
	}
	if len(during.Lagging) != 1 || !during.Linked || during.Next == "" {
		t.Errorf("while both signed: %+v", during)
	}
	if now := k.state(); now.Key != k.first || now.Next != "" || len(now.History) != 0 {
		t.Errorf("%+v", now)
	}
	if _, err := os.Stat(k.file("log.key.next")); err == nil {
		t.Error("the next key is left")
	}
	if len(k.alerts) != 1 {
		t.Errorf("alerts: %+v", k.alerts)
	}
	if events := k.verify(); events != "created published aborted" {
		t.Errorf("on record: %s", events)
	}
	k.between = k.takeNext
	if r := k.rotate(); r.State != rotation.Rotated {
		t.Errorf("again: %+v", r)
	}
	k.verify()
}

// Without an entry nothing is signed by another key; and who finds a key that is not of this rotation leaves it alone.
func TestCheckpointKeyStays(t *testing.T) {
	t.Run("the journal is full", func(t *testing.T) {
		k := newLogKit(t)
		k.between = func(step string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.full = step != "abort"
		}
		r := k.rotate()
		if r.State != rotation.Aborted || r.Code != "audit_unavailable" {
			t.Errorf("%+v", r)
		}
		if now := k.state(); now.Key != k.first || len(now.Signed) != 1 {
			t.Errorf("%+v", now)
		}
	})
	t.Run("another key in its place", func(t *testing.T) {
		k := newLogKit(t)
		k.between = func(step string) {
			if step == "announce" {
				k.stopped()
				k.must(os.Remove(k.file("log.key")))
				_, _, err := tiles.LoadOrCreateKey(k.file("log.key"), logOrigin)
				k.must(err)
			}
		}
		if r := k.rotate(); r.State != rotation.Aborted || r.Code != "rotated_elsewhere" {
			t.Errorf("%+v", r)
		}
		if look, err := k.service.Look(t.Context(), rotation.Checkpoint, "log"); err != nil || look.Code != "log_not_sealed" {
			t.Errorf("%+v %v", look, err)
		}
	})
}
