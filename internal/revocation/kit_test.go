package revocation

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

const (
	issuer = "https://acme.example/oauth2/default"
	secret = "a-secret-of-the-event-hook"
)

var errDown = errors.New("down on purpose")

// world is the directory, the gates and the record, and what of it is broken.
type world struct {
	mu      sync.Mutex // covers all below
	people  map[string]Person
	down    bool          // the directory
	slow    time.Duration // likewise
	held    chan struct{} // until it is closed, the directory does not answer; nil: it does
	log     []Happening
	logErr  error
	feedErr error
	recErr  error
	state   standing.State
	events  map[string]standing.Event
	entries map[string]audit.Entry
	order   []string // ids of entries
	ended   []string
	endErr  error
	seq     uint64
	asked   int
}

func newWorld() *world {
	return &world{people: map[string]Person{
		"00ualice": {Login: "alice@acme.example", Status: "ACTIVE", Active: true, Groups: []string{"Everyone", "temporal:deploy:write"}},
		"00ubob":   {Login: "bob@acme.example", Status: "ACTIVE", Active: true, Groups: []string{"Everyone", "temporal:payments:write"}},
	}, events: map[string]standing.Event{}, entries: map[string]audit.Entry{}}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) Find(ctx context.Context, uid string) (Person, bool, error) {
	w.mu.Lock()
	p, found := w.people[uid]
	down, slow, held := w.down, w.slow, w.held
	w.asked++
	w.mu.Unlock()
	if held != nil {
		select {
		case <-ctx.Done():
			return Person{}, false, ctx.Err()
		case <-held:
		}
	}
	if slow > 0 {
		select {
		case <-ctx.Done():
			return Person{}, false, ctx.Err()
		case <-time.After(slow):
		}
	}
	if down {
		return Person{}, false, errDown
	}
	p.Groups = slices.Clone(p.Groups)
	return p, found, nil
}

// After reads the log; the cursor is how many were read.
func (w *world) After(_ context.Context, cursor string, since time.Time) ([]Happening, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.logErr != nil {
		return nil, "", w.logErr
	}
	n := 0
	if cursor == "expired" {
		return nil, "", ErrCursor
	}
	if cursor != "" {
		if _, err := fmt.Sscan(cursor, &n); err != nil {
			return nil, "", err
		}
	}
	out := slices.DeleteFunc(slices.Clone(w.log[n:]), func(h Happening) bool { return cursor == "" && h.At.Before(since) })
	return out, fmt.Sprint(len(w.log)), nil
}

func (w *world) Put(_ context.Context, e standing.Event) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.feedErr != nil {
		return 0, w.feedErr
	}
	if old, twice := w.events[e.ID]; twice {
		return old.Seq, nil
	}
	w.seq++
	e.Seq = w.seq
	w.events[e.ID] = e
	return e.Seq, w.state.Apply(e)
}

func (w *world) WaitSeen(context.Context, uint64) error { return nil }

func (w *world) Record(_ context.Context, e audit.Entry) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recErr != nil {
		return "", w.recErr
	}
	if _, twice := w.entries[e.ID]; !twice {
		w.order = append(w.order, e.ID)
	}
	w.entries[e.ID] = e
	return e.ID, nil
}

func (w *world) EndAll(_ context.Context, principal, why string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.endErr != nil {
		return w.endErr
	}
	w.ended = append(w.ended, principal+" "+why)
	return nil
}

// told lists entries of a kind as "event source".
func (w *world) told(kind audit.Kind) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.order {
		if e := w.entries[id]; e.Kind == kind {
			out = append(out, e.Detail["event"]+" "+e.Detail["source"])
		}
	}
	return out
}

func (w *world) config(t *testing.T) Config {
	return Config{File: filepath.Join(t.TempDir(), "revocation.db"), Issuers: []string{issuer}, Directory: w, Publisher: w, Recorder: w, Ender: w, Secret: secret, Trust: 100 * time.Millisecond, Every: 10 * time.Millisecond}
}

func open(t *testing.T, cfg Config) *Revoker {
	t.Helper()
	r, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // closed twice by tests that start again
	return r
}

// idle waits until nothing is left to do.
func idle(t *testing.T, r *Revoker) {
	t.Helper()
	eventually(t, "the queue to be empty", func() bool {
		s, err := r.Status(t.Context())
		return err == nil && s.Open == 0 && s.Queue == 0
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("timed out waiting for %s", what)
}

func token(uid string, issued time.Time, groups ...string) *identity.Claims {
	return &identity.Claims{Issuer: issuer, Kind: identity.User, ID: uid, IssuedAt: issued, Groups: groups, SessionID: "102session-" + uid}
}

func (w *world) barred(c *identity.Claims) string {
	b, _ := w.state.Barred(c, time.Now())
	return b.Reason
}

var count int

func happening(kind, uid, group string, at time.Time) Happening {
	count++
	h := Happening{ID: fmt.Sprintf("uuid-%d", count), Type: kind, At: at, Outcome: "SUCCESS", Targets: []Party{{ID: uid, Type: "User", AlternateID: uid[3:] + "@acme.example"}}}
	if group != "" {
		h.Targets = append(h.Targets, Party{ID: "00g1", Type: "UserGroup", DisplayName: group})
	}
	return h
}

func signals(h ...Happening) (out []Signal) {
	for i := range h {
		out = append(out, h[i].Signals(SourceHook, time.Now())...)
	}
	return out
}
