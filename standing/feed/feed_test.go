package feed

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/database/pgtest"
	"github.com/bailiwick-dev/bailiwick/standing"
)

var (
	epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
)

const (
	token  = "test-token-of-the-feed"
	issuer = "https://acme.okta.com/oauth2/default"
)

// clock is turned by tests.
type clock struct{ ns atomic.Int64 }

func newClock() *clock { c := &clock{}; c.ns.Store(epoch.UnixNano()); return c }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func openFeed(t testing.TB, dsn string, c *clock) *Feed {
	t.Helper()
	f, err := Open(t.Context(), Config{DSN: dsn, Key: key, Tokens: []string{token}, Clock: c.now, Poll: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func grantFor(c *clock, id, who string, d time.Duration) standing.Event {
	return standing.Event{ID: "grant-" + id, Kind: standing.EventGrant, Grant: &standing.Grant{
		ID: id, Principal: "user:" + issuer + "|" + who, Namespace: "payments", Role: "write", NotBefore: c.now(), Expires: c.now().Add(d), Reason: "INC-7",
	}}
}

func revokeOf(id string) standing.Event {
	return standing.Event{ID: "revoke-" + id, Kind: standing.EventRevoke, Grant: &standing.Grant{ID: id}}
}

func barOf(id string, before time.Time) standing.Event {
	return standing.Event{ID: "bar-" + id, Kind: standing.EventBar, Bar: &standing.Bar{ID: id, Principal: "user:" + issuer + "|" + id, Before: before, Reason: "user_deactivated", Since: epoch}}
}

func unbarOf(id string) standing.Event {
	return standing.Event{ID: "unbar-" + id, Kind: standing.EventUnbar, Bar: &standing.Bar{ID: id}}
}

func put(t testing.TB, f *Feed, e standing.Event) uint64 {
	t.Helper()
	seq, err := f.Put(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// Every store passes the same tests.
func TestConformance(t *testing.T) {
	stores := map[string]func(*testing.T) string{"sqlite": func(t *testing.T) string { return filepath.Join(t.TempDir(), "feed.db") }}
	var server *pgtest.Server
	stores["postgres"] = func(t *testing.T) string {

		return server.Database(t)
	}
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			if name == "postgres" {
				server = pgtest.Start(t)
			}
			for test, run := range map[string]func(*testing.T, string){
				"publishing twice": publishingTwice, "ends are final": endsAreFinal, "survives a restart": survivesARestart, "one order": oneOrder,
				"what is kept": whatIsKept, "pages": pages, "gates": gatesAreSeen, "two processes": twoProcesses, "newer facts win": newerFactsWin,
			} {
				t.Run(test, func(t *testing.T) { run(t, stores[name](t)) })
			}
		})
	}
}

func publishingTwice(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	e := grantFor(c, "g", "alice", time.Hour)
	first := put(t, f, e)
	second := put(t, f, barOf("b", time.Time{}))
	if first != 1 || second != 2 {
		t.Errorf("positions %d and %d", first, second)
	}
	c.advance(time.Minute) // published again later, it is the same
	if again := put(t, f, e); again != first {
		t.Errorf("published again it is event %d", again)
	}
	changed := e
	g := *e.Grant
	g.Role = "admin"
	changed.Grant = &g
	if _, err := f.Put(t.Context(), changed); !errors.Is(err, ErrConflict) {
		t.Errorf("another event under the same id: %v", err)
	}
	other := grantFor(c, "g", "mallory", time.Hour)
	other.ID = "steal"
	if _, err := f.Put(t.Context(), other); !errors.Is(err, ErrConflict) {
		t.Errorf("a grant changed hands: %v", err)
	}
	if _, err := f.Put(t.Context(), standing.Event{ID: "x", Kind: standing.EventGrant}); err == nil || !strings.Contains(err.Error(), "must hold one") {
		t.Errorf("a malformed event: %v", err)
	}
	big := grantFor(c, "big", "alice", time.Hour)
	for i := range 999 {
		big.Grant.Approvers = append(big.Grant.Approvers, fmt.Sprint(strings.Repeat("x", 900), i))
	}
	if _, err := f.Put(t.Context(), big); err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("a huge event: %v", err)
	}
	if got := f.State().Status(c.now()); got.Seq != 2 || got.Grants != 1 || got.Bars != 1 {
		t.Errorf("state %+v", got)
	}
}

func endsAreFinal(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	put(t, f, grantFor(c, "g", "alice", time.Hour))
	extension := grantFor(c, "g", "alice", 2*time.Hour)
	extension.ID = "extend-g"
	put(t, f, extension)
	put(t, f, revokeOf("g"))
	late := grantFor(c, "g", "alice", 3*time.Hour)
	late.ID = "extend-g-again"
	if _, err := f.Put(t.Context(), late); !errors.Is(err, ErrEnded) {
		t.Errorf("a revoked grant was extended: %v", err)
	}
	if got := f.State().Grants("user:"+issuer+"|alice", c.now()); len(got) != 0 {
		t.Errorf("alice holds %v", got)
	}
	// A revocation that overtakes its grant.
	put(t, f, revokeOf("h"))
	if _, err := f.Put(t.Context(), grantFor(c, "h", "alice", time.Hour)); !errors.Is(err, ErrEnded) {
		t.Errorf("a grant came after its end: %v", err)
	}
	// Retrying what was published before the end is still harmless.
	if seq := put(t, f, grantFor(c, "g", "alice", time.Hour)); seq != 1 {
		t.Errorf("event %d", seq)
	}
}

func survivesARestart(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	put(t, f, grantFor(c, "g", "alice", time.Hour))
	put(t, f, barOf("b", time.Time{}))
	id := f.ID()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openFeed(t, dsn, c)
	if f.ID() != id || f.State().Status(c.now()).Seq != 2 || len(f.State().Grants("user:"+issuer+"|alice", c.now())) != 1 {
		t.Errorf("came back as %s with %+v", f.ID(), f.State().Status(c.now()))
	}
	if seq := put(t, f, unbarOf("b")); seq != 3 {
		t.Errorf("went on at %d", seq)
	}
}

func oneOrder(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]bool{}
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				seq, err := f.Put(t.Context(), grantFor(c, fmt.Sprint(w, "-", i), "alice", time.Hour))
				mu.Lock()
				if err != nil || seen[seq] {
					t.Errorf("event %d: %v", seq, err)
				}
				seen[seq] = true
				mu.Unlock()
				if got := f.State().Status(c.now()).Seq; got < seq {
					t.Errorf("Put returned %d before the state had it (%d)", seq, got)
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != 100 || !seen[1] || !seen[100] {
		t.Errorf("%d positions", len(seen))
	}
}

// all reads the whole feed as a new gate would.
func all(t *testing.T, f *Feed) (out []standing.Event) {
	t.Helper()
	for at := uint64(0); ; {
		p, err := f.store.after(t.Context(), at, 7)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.events...)
		if at = p.seq; at == p.head {
			return out
		}
	}
}

func whatIsKept(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	put(t, f, grantFor(c, "short", "alice", time.Hour))
	put(t, f, grantFor(c, "long", "alice", 100*24*time.Hour))
	put(t, f, grantFor(c, "revoked", "alice", 60*24*time.Hour))
	put(t, f, revokeOf("revoked"))
	put(t, f, barOf("forever", time.Time{}))
	put(t, f, barOf("tokens", c.now()))
	put(t, f, barOf("lifted", time.Time{}))
	put(t, f, unbarOf("lifted"))
	names := func() string {
		var out []string
		for _, e := range all(t, f) {
			out = append(out, e.ID)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	check := func(want string) {
		t.Helper()
		if err := f.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := names(); got != want {
			t.Errorf("%s later: %s, want %s", c.now().Sub(epoch), got, want)
		}
	}
	check("bar-forever bar-tokens grant-long grant-short revoke-revoked unbar-lifted")
	c.advance(time.Hour)
	check("bar-forever bar-tokens grant-long revoke-revoked unbar-lifted")
	c.advance(25 * time.Hour) // no token of then is alive
	check("bar-forever grant-long revoke-revoked unbar-lifted")
	put(t, f, barOf("new", time.Time{}))
	c.advance(30 * 24 * time.Hour)
	put(t, f, barOf("newest", time.Time{}))
	// The end of a grant outlives the grant, or somebody who was away would still honour it.
	check("bar-forever bar-new bar-newest grant-long revoke-revoked")
	p, err := f.store.after(t.Context(), 4, 10)
	if err != nil || !p.lost {
		t.Errorf("a gate that was away for longer than things are kept goes on: %+v %v", p, err)
	}
	c.advance(30 * 24 * time.Hour)
	check("bar-forever bar-new bar-newest grant-long")
	if p, err := f.store.after(t.Context(), p.head, 10); err != nil || p.lost {
		t.Errorf("the end was forgotten: %+v %v", p, err)
	}
}

func pages(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	for i := range 30 {
		put(t, f, grantFor(c, fmt.Sprint("g", i), "alice", time.Hour))
	}
	put(t, f, revokeOf("g3"))
	events := all(t, f)
	if len(events) != 30 || events[29].Kind != standing.EventRevoke || !slices.IsSortedFunc(events, func(a, b standing.Event) int { return int(a.Seq) - int(b.Seq) }) {
		t.Errorf("%d events", len(events))
	}
	p, err := f.store.after(t.Context(), 10, 5)
	if err != nil || len(p.events) != 5 || p.seq != 15 || p.head != 31 || p.link == "" || p.afterLink == "" || p.link == p.afterLink {
		t.Errorf("page %+v, %v", p, err)
	}
	next, err := f.store.after(t.Context(), 15, 5)
	if err != nil || next.afterLink != p.link {
		t.Errorf("the next page does not go on: %+v, %v", next, err)
	}
	if p, err := f.store.after(t.Context(), 99, 5); err != nil || p.lost || p.seq != 31 || p.afterLink != "" {
		t.Errorf("a position that never was: %+v, %v", p, err)
	}
}

func gatesAreSeen(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	seq := put(t, f, barOf("b", time.Time{}))
	if err := f.WaitSeen(t.Context(), seq); err != nil {
		t.Errorf("without gates: %v", err)
	}
	for gate, at := range map[string]uint64{"a": seq, "b": seq - 1} {
		if err := f.store.saw(t.Context(), gate, at, c.now()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := f.WaitSeen(ctx, seq); !errors.Is(err, ErrBehind) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), ": b:") {
		t.Errorf("got %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- f.WaitSeen(t.Context(), seq) }()
	if err := f.store.saw(t.Context(), "b", seq, c.now()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	// A gate that is gone is not waited for.
	if err := f.store.saw(t.Context(), "b", 0, c.now()); err != nil {
		t.Fatal(err)
	}
	c.advance(2 * time.Minute)
	if err := f.WaitSeen(t.Context(), seq); err != nil {
		t.Errorf("got %v", err)
	}
	seen, err := f.Seen(t.Context())
	if err != nil || len(seen) != 2 || seen["a"].Seq != seq || !seen["a"].At.Equal(epoch) {
		t.Errorf("seen %v, %v", seen, err)
	}
}

func twoProcesses(t *testing.T, dsn string) {
	c := newClock()
	a, b := openFeed(t, dsn, c), openFeed(t, dsn, c)
	if a.ID() != b.ID() {
		t.Fatalf("two feeds in one database: %s and %s", a.ID(), b.ID())
	}
	put(t, a, barOf("x", time.Time{}))
	put(t, b, barOf("y", time.Time{}))
	for end := time.Now().Add(5 * time.Second); a.State().Status(c.now()).Bars != 2 || b.State().Status(c.now()).Bars != 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("they disagree: %+v and %+v", a.State().Status(c.now()), b.State().Status(c.now()))
		}
	}
}

func newerFactsWin(t *testing.T, dsn string) {
	c := newClock()
	f := openFeed(t, dsn, c)
	fact := func(id string, active bool, at time.Duration) standing.Event {
		return standing.Event{ID: id, Kind: standing.EventPerson, Person: &standing.Person{Principal: "user:" + issuer + "|alice", Active: active, AsOf: epoch.Add(at)}}
	}
	put(t, f, fact("2", false, 2))
	put(t, f, fact("1", true, 1))
	if events := all(t, f); len(events) != 1 || events[0].ID != "2" {
		t.Errorf("a new gate would read %+v", events)
	}
	if seq := put(t, f, fact("1", true, 1)); seq != 2 {
		t.Errorf("event %d", seq)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no key": {DSN: "x", Tokens: []string{token}}, "no token": {DSN: "x", Key: key}, "short token": {DSN: "x", Key: key, Tokens: []string{"abc"}},
		"token with spaces": {DSN: "x", Key: key, Tokens: []string{"a token with spaces in it"}}, "no database": {Key: key, Tokens: []string{token}},
		"directory": {DSN: t.TempDir(), Key: key, Tokens: []string{token}}, "negative": {DSN: "x", Key: key, Tokens: []string{token}, Keep: -1},
	} {
		if f, err := Open(t.Context(), cfg); err == nil {
			_ = f.Close()
			t.Errorf("%s: opened", name)
		}
	}
}
