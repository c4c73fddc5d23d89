package feed

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// control is a control plane's feed behind real HTTP, which a test can break.
type control struct {
	*Feed
	clock  *clock
	url    string
	broken atomic.Pointer[http.HandlerFunc] // answers instead
	asked  atomic.Int64
}

func newControl(t testing.TB, dsn string) *control {
	t.Helper()
	c := &control{clock: newClock()}
	c.Feed = openFeed(t, dsn, c.clock)
	c.serve(t)
	return c
}

func (c *control) serve(t testing.TB) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		if h := c.broken.Load(); h != nil {
			(*h)(w, r)
			return
		}
		c.Handler().ServeHTTP(w, r)
	}))
	c.url = server.URL + Path
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
}

func (c *control) breakWith(h http.HandlerFunc) {
	if h == nil {
		c.broken.Store(nil)
	} else {
		c.broken.Store(&h)
	}
}

// gateway is a gate's follower.
type gateway struct {
	*standing.Follower
	state *standing.State
	stop  func()
	log   *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (c *control) gate(t testing.TB, name, cache string, edit func(*standing.FollowConfig)) *gateway {
	t.Helper()
	g := &gateway{state: &standing.State{}, log: &logBuffer{}}
	cfg := standing.FollowConfig{
		URL: c.url, Token: func() (string, error) { return token, nil }, Keys: []ed25519.PublicKey{c.PublicKey()}, Cache: cache, Gate: name, State: g.state,
		Wait: time.Second, Clock: c.clock.now, Logger: slog.New(slog.NewTextHandler(g.log, nil)),
	}
	if edit != nil {
		edit(&cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	if g.Follower, err = standing.Follow(ctx, cfg); err != nil {
		cancel()
		t.Fatal(err)
	}
	g.stop = func() { cancel(); <-g.Done() }
	t.Cleanup(g.stop)
	return g
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func (g *gateway) at(seq uint64) func() bool {
	return func() bool { s := g.Status(); return s.Seq == seq && s.State.Seq == seq && s.State.Known }
}

func (g *gateway) bars(who string) string {
	b, _ := g.state.Barred(&identity.Claims{Kind: identity.User, Issuer: issuer, ID: who, IssuedAt: epoch.Add(-time.Hour)}, epoch)
	return b.Reason
}

func (g *gateway) grants(who string, now time.Time) int {
	return len(g.state.Grants("user:"+issuer+"|"+who, now))
}

func TestGatesFollow(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, grantFor(c.clock, "g0", "alice", time.Hour))
	dir := t.TempDir()
	var gates []*gateway
	for i := range 3 {
		gates = append(gates, c.gate(t, fmt.Sprint("gate-", i), filepath.Join(dir, fmt.Sprint(i)), nil))
	}
	for _, g := range gates {
		eventually(t, "the first copy", g.at(1))
	}
	began := time.Now()
	seq := put(t, c.Feed, barOf("alice", time.Time{}))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.WaitSeen(ctx, seq); err != nil {
		t.Fatal(err)
	}
	for _, g := range gates { // what was confirmed is in force
		if g.bars("alice") == "" || g.grants("alice", c.clock.now()) != 1 {
			t.Errorf("confirmed and not in force after %s", time.Since(began))
		}
		if info, err := os.Stat(filepath.Join(dir, "0")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the cache is %v, %v", info.Mode(), err)
		}
	}
	seen, err := c.Seen(t.Context())
	if err != nil || len(seen) != 3 || seen["gate-1"].Seq != seq {
		t.Errorf("seen %v %v", seen, err)
	}
	put(t, c.Feed, unbarOf("alice"))
	put(t, c.Feed, revokeOf("g0"))
	for _, g := range gates {
		eventually(t, "lifted and revoked", func() bool { return g.bars("alice") == "" && g.grants("alice", c.clock.now()) == 0 })
	}
	put(t, c.Feed, grantFor(c.clock, "g1", "alice", time.Hour))
	eventually(t, "granted", func() bool { return gates[0].grants("alice", c.clock.now()) == 1 })
	c.clock.advance(time.Hour)
	if gates[0].grants("alice", c.clock.now()) != 0 {
		t.Error("an expired grant is honoured")
	}
}

// A feed in which nothing was ever published is known at once, is asked no oftener than any other, and tells its first event at once.
func TestAnEmptyFeed(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	g := c.gate(t, "gate", filepath.Join(t.TempDir(), "cache"), func(cfg *standing.FollowConfig) { cfg.Wait = 20 * time.Second })
	eventually(t, "nothing, known", g.at(0))
	time.Sleep(300 * time.Millisecond)
	if n := c.asked.Load(); n > 2 { // the copy, and the question that is held
		t.Errorf("asked %d times in 300 ms", n)
	}
	put(t, c.Feed, barOf("alice", time.Time{}))
	eventually(t, "the first event", func() bool { return g.bars("alice") != "" })
}

func TestAGateOutlivesItsControlPlane(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, grantFor(c.clock, "g0", "alice", 10*time.Hour))
	put(t, c.Feed, barOf("mallory", time.Time{}))
	g := c.gate(t, "gate", cache, nil)
	eventually(t, "the first copy", g.at(2))
	put(t, c.Feed, barOf("eve", time.Time{}))
	eventually(t, "the tail", g.at(3))
	g.stop()

	c.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	g = c.gate(t, "gate", cache, nil)
	if s := g.Status(); s.State.Seq != 3 || !s.State.Known || s.FromCacheAt.IsZero() {
		t.Errorf("restarted with %+v", s)
	}
	if g.bars("mallory") == "" || g.bars("eve") == "" || g.bars("alice") != "" || g.grants("alice", c.clock.now()) != 1 {
		t.Error("the cache gave back something else")
	}
	c.clock.advance(time.Hour + time.Second)
	if g.grants("alice", c.clock.now()) != 0 {
		t.Error("a grant is honoured although nobody was heard for an hour")
	}
	if g.bars("mallory") == "" || g.bars("alice") != "" {
		t.Error("bars changed because nobody was heard")
	}
	eventually(t, "it is told", func() bool {
		return strings.Contains(g.log.String(), "grants are not honoured") && g.Status().State.Stale && g.Status().Error != ""
	})
	g.stop()
	g = c.gate(t, "gate", cache, nil) // a restart makes nothing younger
	if g.grants("alice", c.clock.now()) != 0 {
		t.Error("a restart made an old copy fresh")
	}
	c.breakWith(nil)
	eventually(t, "heard again", func() bool { return g.grants("alice", c.clock.now()) == 1 && g.Status().Error == "" })
}

func TestWithoutACopyEverybodyIsRefused(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, barOf("mallory", time.Time{}))
	good := filepath.Join(t.TempDir(), "cache")
	g := c.gate(t, "gate", good, nil)
	eventually(t, "the first copy", g.at(1))
	put(t, c.Feed, barOf("eve", time.Time{}))
	eventually(t, "the tail", g.at(2))
	g.stop()
	raw, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(raw, []byte("\n")) // head, m, h, m, h, ""
	c.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	flipped := bytes.Clone(raw)
	flipped[len(lines[0])+200] ^= 1
	for name, damaged := range map[string][]byte{
		"absent": nil, "empty": {}, "other text": []byte("hello\n"), "zeroes": make([]byte, len(raw)), "a bit flipped": flipped,
		"a message gone":          bytes.Join([][]byte{lines[0], lines[3], lines[4]}, nil),
		"messages swapped":        bytes.Join([][]byte{lines[0], lines[3], lines[2], lines[1], lines[4]}, nil),
		"the first twice":         bytes.Join([][]byte{lines[0], lines[1], lines[1], lines[4]}, nil),
		"another format":          bytes.Replace(raw, []byte("cache 1"), []byte("cache 2"), 1),
		"no time":                 bytes.Join([][]byte{lines[0], lines[1]}, nil),
		"nothing after the first": lines[0],
		"an unknown line":         bytes.Join([][]byte{lines[0], lines[1], lines[2], []byte("x y\n")}, nil),
	} {
		path := filepath.Join(t.TempDir(), "cache")
		if name != "absent" {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		g := c.gate(t, "gate", path, nil)
		for _, who := range []string{"mallory", "alice"} {
			if got := g.bars(who); got != standing.ReasonUnknown {
				t.Errorf("%s: %s is refused with %q, want %s", name, who, got, standing.ReasonUnknown)
			}
		}
		if name != "absent" && g.Status().CacheError == "" {
			t.Errorf("%s: not told", name)
		}
		g.stop()
	}
	// A crash in the middle of a write takes nothing that was acted on.
	torn := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(torn, append(bytes.Clone(raw), "m eyJhbGci"...), 0o600); err != nil {
		t.Fatal(err)
	}
	g = c.gate(t, "gate", torn, nil)
	if g.bars("mallory") != "user_deactivated" || g.bars("eve") == "" || g.bars("alice") != "" {
		t.Errorf("a torn tail: %+v", g.Status())
	}
	c.breakWith(nil)
	put(t, c.Feed, barOf("dave", time.Time{}))
	eventually(t, "goes on after the tear", func() bool { return g.bars("dave") != "" })
	g.stop()
	c.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	if g = c.gate(t, "gate", torn, nil); g.bars("dave") == "" || g.bars("alice") != "" {
		t.Errorf("what came after the tear was not kept: %+v", g.Status())
	}
}

// Whatever the feed answers, what is known stays in force, and nothing that is not the feed's comes in.
func TestAnswersThatAreNone(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, grantFor(c.clock, "g0", "alice", 10*time.Hour))
	put(t, c.Feed, barOf("mallory", time.Time{}))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	var old atomic.Pointer[[]byte] // an answer of before
	genuine := func(r *http.Request) []byte {
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, r)
		return w.Body.Bytes()
	}
	forged := func(key ed25519.PrivateKey, edit func(*standing.Message)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			m, err := standing.OpenMessage(genuine(r), []ed25519.PublicKey{c.PublicKey()})
			if err != nil {
				t.Error(err)
			}
			edit(&m)
			raw, err := standing.SignMessage(key, m)
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, raw)
		}
	}
	steal := func(m *standing.Message) {
		e := grantFor(c.clock, "stolen", "mallory", time.Hour)
		e.Seq, e.At = m.Seq+1, epoch
		m.Seq, m.Head, m.Events = m.Seq+1, m.Seq+1, append(m.Events, e)
	}
	g := c.gate(t, "gate", filepath.Join(t.TempDir(), "cache"), func(cfg *standing.FollowConfig) { cfg.Wait = 50 * time.Millisecond })
	eventually(t, "the first copy", g.at(2))
	for _, tc := range []struct {
		name, told string
		h          http.HandlerFunc
	}{
		{"500", "500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		{"401", "401", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }},
		{"redirect", "302", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}},
		{"garbage", "standing_malformed", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }},
		{"empty", "standing_malformed", func(http.ResponseWriter, *http.Request) {}},
		{"truncated", "standing_", func(w http.ResponseWriter, r *http.Request) {
			raw := genuine(r)
			_, _ = w.Write(raw[:len(raw)-4])
		}},
		{"half closed", "EOF", func(w http.ResponseWriter, r *http.Request) {
			raw := genuine(r)
			w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
			_, _ = w.Write(raw[:len(raw)/2])
			panic(http.ErrAbortHandler)
		}},
		{"never ending", "standing_malformed", func(w http.ResponseWriter, _ *http.Request) {
			junk := bytes.Repeat([]byte("a"), 1<<20)
			for range 20 {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		}},
		{"another key", "standing_key_unknown", forged(other, steal)},
		{"replayed", "standing_replayed", func(w http.ResponseWriter, r *http.Request) {
			if old.Load() == nil {
				raw := genuine(r)
				old.Store(&raw)
				q := r.URL.Query()
				q.Set("nonce", "another-nonce-than-asked")
				r.URL.RawQuery = q.Encode()
				_, _ = w.Write(genuine(r))
				return
			}
			_, _ = w.Write(*old.Load())
		}},
		{"another feed", "standing_other_feed", forged(key, func(m *standing.Message) { m.Feed = "OTHER"; steal(m) })},
		{"rolled back", "standing_rolled_back", forged(key, func(m *standing.Message) { m.Seq, m.Head, m.Events, m.More = 1, 1, nil, false })},
		{"another history", "standing_rolled_back", forged(key, func(m *standing.Message) { m.AfterLink = "00"; steal(m) })},
	} {
		c.breakWith(tc.h)
		eventually(t, tc.name+" is told", func() bool { return strings.Contains(g.Status().Error, tc.told) })
		if g.bars("mallory") == "" || g.bars("alice") != "" || g.grants("alice", c.clock.now()) != 1 || g.grants("mallory", c.clock.now()) != 0 {
			t.Errorf("%s: what is in force changed", tc.name)
		}
		c.breakWith(nil)
		eventually(t, "recovers after "+tc.name, func() bool { return g.Status().Error == "" })
	}
	if strings.Contains(g.log.String(), token) {
		t.Error("the feed's token is in the log")
	}
}

// A slow feed: headers come, and then nothing.
func TestAFeedThatHangs(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, barOf("mallory", time.Time{}))
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	g := c.gate(t, "gate", filepath.Join(t.TempDir(), "cache"), nil)
	eventually(t, "the first copy", g.at(1))
	asked := c.asked.Load()
	c.breakWith(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-released
	})
	put(t, c.Feed, barOf("eve", time.Time{}))
	eventually(t, "it hangs", func() bool { return c.asked.Load() > asked || g.bars("eve") != "" })
	if g.bars("mallory") == "" {
		t.Error("what is known is gone")
	}
	ended := make(chan struct{})
	go func() { g.stop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the follower does not end while its feed hangs")
	}
}

// The feed's database is put back to an older copy: every gate refuses that, whether or not the copy has gone on since.
func TestAFeedThatWasRestored(t *testing.T) {
	dir := t.TempDir()
	c := newControl(t, filepath.Join(dir, "feed.db"))
	put(t, c.Feed, grantFor(c.clock, "g0", "alice", 10*time.Hour))
	cache := filepath.Join(dir, "cache")
	g := c.gate(t, "gate", cache, nil)
	eventually(t, "the first copy", g.at(1))
	g.stop()
	backup := filepath.Join(dir, "backup.db")
	if _, err := c.store.db.ExecContext(t.Context(), `VACUUM INTO ?`, backup); err != nil {
		t.Fatal(err)
	}
	g = c.gate(t, "gate", cache, nil)
	put(t, c.Feed, barOf("mallory", time.Time{}))
	put(t, c.Feed, barOf("eve", time.Time{}))
	eventually(t, "two bars", g.at(3))
	g.stop()

	restored := newControl(t, backup)
	if restored.ID() != c.ID() {
		t.Fatal("the copy is another feed")
	}
	g = restored.gate(t, "gate", cache, nil)
	told := func() bool {
		return strings.Contains(g.Status().Error, standing.MessageRolledBack) && strings.Contains(g.log.String(), cache)
	}
	eventually(t, "the older copy is refused", told)
	if g.bars("mallory") == "" || g.bars("eve") == "" {
		t.Error("bars were forgotten")
	}
	g.stop()
	for i := range 4 { // past the position that the gate has
		put(t, restored.Feed, grantFor(restored.clock, fmt.Sprint("new", i), "mallory", time.Hour))
	}
	g = restored.gate(t, "gate", cache, nil)
	eventually(t, "the copy that went on is refused", told)
	if g.bars("mallory") == "" || g.grants("mallory", restored.clock.now()) != 0 {
		t.Error("another history came in")
	}
	g.stop()
	// What an operator who means it does.
	if err := os.Remove(cache); err != nil {
		t.Fatal(err)
	}
	g = restored.gate(t, "gate", cache, nil)
	eventually(t, "begun anew", g.at(5))
}

func TestAGateThatWasAwayForLong(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, barOf("lifted", time.Time{}))
	cache := filepath.Join(t.TempDir(), "cache")
	g := c.gate(t, "gate", cache, nil)
	eventually(t, "the first copy", g.at(1))
	g.stop()
	put(t, c.Feed, unbarOf("lifted"))
	c.clock.advance(31 * 24 * time.Hour)
	put(t, c.Feed, barOf("mallory", time.Time{}))
	if err := c.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	g = c.gate(t, "gate", cache, nil)
	if g.bars("lifted") == "" {
		t.Error("the cache does not say what was known")
	}
	eventually(t, "begun anew", func() bool { return g.bars("lifted") == "" && g.bars("mallory") != "" })
}

// A cache that can't be written never keeps news back, and a restart does not go by what is left of it.
func TestACacheThatCannotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("as root, modes hold nothing back: a directory stands in the file's way instead")
	}
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	put(t, c.Feed, barOf("mallory", time.Time{}))
	cache := filepath.Join(t.TempDir(), "cache")
	g := c.gate(t, "gate", cache, nil)
	eventually(t, "the first copy", g.at(1))
	if err := os.Remove(cache); err != nil { // somebody cleans up
		t.Fatal(err)
	}
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, c.Feed, barOf("eve", time.Time{}))
	eventually(t, "in force all the same", func() bool { return g.bars("eve") != "" && g.Status().CacheError != "" })
	asked := c.asked.Load()
	time.Sleep(100 * time.Millisecond)
	if n := c.asked.Load() - asked; n > 5 {
		t.Errorf("asked %d times in a tenth of a second", n)
	}
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	c.clock.advance(2 * time.Minute)
	put(t, c.Feed, barOf("dave", time.Time{}))
	eventually(t, "kept again", func() bool { return g.Status().CacheError == "" && g.bars("dave") != "" })
	g.stop()
	c.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	if g = c.gate(t, "gate", cache, nil); g.bars("eve") != "user_deactivated" || g.bars("dave") == "" || g.bars("alice") != "" {
		t.Errorf("restarted with %+v", g.Status())
	}
}

func TestFollowConfigIsChecked(t *testing.T) {
	good := func() standing.FollowConfig {
		return standing.FollowConfig{
			URL: "https://control.example/v1/standing", Token: func() (string, error) { return "", errors.New("no") }, Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)},
			Cache: filepath.Join(t.TempDir(), "cache"), Gate: "gate", State: &standing.State{},
		}
	}
	for name, edit := range map[string]func(*standing.FollowConfig){
		"plain http": func(c *standing.FollowConfig) { c.URL = "http://control.example/v1/standing" }, "no URL": func(c *standing.FollowConfig) { c.URL = "" },
		"query": func(c *standing.FollowConfig) { c.URL += "?x=1" }, "no token": func(c *standing.FollowConfig) { c.Token = nil }, "no key": func(c *standing.FollowConfig) { c.Keys = nil },
		"half a key": func(c *standing.FollowConfig) { c.Keys[0] = c.Keys[0][:16] }, "no cache": func(c *standing.FollowConfig) { c.Cache = "" }, "no gate": func(c *standing.FollowConfig) { c.Gate = "" },
		"no state": func(c *standing.FollowConfig) { c.State = nil }, "negative": func(c *standing.FollowConfig) { c.MaxStale = -1 },
	} {
		cfg := good()
		edit(&cfg)
		if _, err := standing.Follow(t.Context(), cfg); err == nil {
			t.Errorf("%s: followed", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := good()
	f, err := standing.Follow(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = &standing.State{}
	if _, err := standing.Follow(t.Context(), cfg); err == nil {
		t.Error("two followers share a cache")
	}
	cancel()
	<-f.Done()
}

func TestHandlerRefuses(t *testing.T) {
	c := newControl(t, filepath.Join(t.TempDir(), "feed.db"))
	good := "?after=0&gate=g&nonce=0123456789abcdef&wait=0s"
	for name, tc := range map[string]struct {
		status        int
		method, query string
		auth          []string
	}{
		"no token": {401, "GET", good, nil}, "wrong token": {401, "GET", good, []string{"Bearer wrong"}}, "prefix": {401, "GET", good, []string{"Bearer " + token[:10]}},
		"longer": {401, "GET", good, []string{"Bearer " + token + "x"}}, "two": {401, "GET", good, []string{"Bearer " + token, "Bearer " + token}}, "basic": {401, "GET", good, []string{"Basic " + token}},
		"POST": {405, "POST", good, []string{"Bearer " + token}}, "fine": {200, "GET", good, []string{"Bearer " + token}}, "scheme in lower case": {200, "GET", good, []string{"bearer " + token}},
		"no query": {400, "GET", "", []string{"Bearer " + token}}, "negative": {400, "GET", strings.Replace(good, "after=0", "after=-1", 1), []string{"Bearer " + token}},
		"over int64": {400, "GET", strings.Replace(good, "after=0", "after=18446744073709551615", 1), []string{"Bearer " + token}}, "twice": {400, "GET", good + "&after=1", []string{"Bearer " + token}},
		"unknown": {400, "GET", good + "&x=1", []string{"Bearer " + token}}, "short nonce": {400, "GET", strings.Replace(good, "0123456789abcdef", "x", 1), []string{"Bearer " + token}},
		"gate with a line break": {400, "GET", strings.Replace(good, "gate=g", "gate=g%0a", 1), []string{"Bearer " + token}}, "bad wait": {400, "GET", strings.Replace(good, "wait=0s", "wait=-1s", 1), []string{"Bearer " + token}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, c.url+tc.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range tc.auth {
			req.Header.Add("Authorization", a)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.status || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s: %s", name, resp.Status, body)
		}
		if tc.status != 200 && (resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(body), `"code"`) || !strings.Contains(string(body), `"next"`)) {
			t.Errorf("%s: answered %s", name, body)
		}
	}
}

// The control plane is restarted under gates that follow it.
func TestAControlPlaneThatIsRestarted(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "feed.db")
	c := newControl(t, dsn)
	put(t, c.Feed, barOf("mallory", time.Time{}))
	g := c.gate(t, "gate", filepath.Join(t.TempDir(), "cache"), func(cfg *standing.FollowConfig) { cfg.Wait = 50 * time.Millisecond })
	eventually(t, "the first copy", g.at(1))
	c.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	eventually(t, "it is away", func() bool { return g.Status().Error != "" })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.Feed = openFeed(t, dsn, c.clock)
	seq := put(t, c.Feed, barOf("eve", time.Time{}))
	c.breakWith(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.WaitSeen(ctx, seq); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return g.bars("mallory") != "" && g.bars("eve") != "" && g.Status().Error == "" })
}
