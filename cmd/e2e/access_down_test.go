package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/database"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// TestAccessWhileStoresAreDown makes requests, for a grant and for a membership, then takes away Temporal, and the feed's database, while one is
// approved, and everything while access ends. The approver is told; nothing is half done; the end is exact at a gate that stays up and at one that
// comes back; and after the next start every request is settled, once.
func TestAccessWhileStoresAreDown(t *testing.T) {
	needsProc(t)
	s := newSettings(t, "--no-ui", "--no-worker")
	const group = "temporal:payments:worker"
	if err := os.MkdirAll(s.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.state(), "access.yaml"), []byte("version: 1\nokta_groups:\n  - { namespace: payments, role: worker, group: \""+group+"\" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, s)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]
	gate := follow(t, d)
	run := func(id string) result {
		return alice.run(t, "run", "start", "refund", "--namespace", "payments", "--id", id, "--reason", "INC-79")
	}
	ask := func(role string) (r access.Request) {
		alice.json(t, &r, "access", "request", "--namespace", "payments", "--role", role, "--for", "1m", "--reason", "INC-79")
		return r
	}

	t.Run("Temporal does not answer while one is approved", func(t *testing.T) {
		id := ask("write").Asked.ID
		temporal := d.temporal(t)
		signal(t, temporal, syscall.SIGSTOP)
		r := carol.run(t, "access", "approve", id)
		signal(t, temporal, syscall.SIGCONT)
		if r.code == 0 || !strings.Contains(r.stderr, "access_unavailable") || !strings.Contains(r.stderr, "try again") {
			t.Errorf("approving while Temporal is stopped: %v", r)
		}
		if now := until(t, alice, id, "readable again", func(shown) bool { return true }); now.State != access.Pending || len(now.Approvals) != 0 {
			t.Errorf("half done: %+v", now)
		}
		carol.ok(t, "access", "approve", id)
		if now := until(t, alice, id, "active", active); len(now.Approvals) != 1 {
			t.Errorf("approved again: %+v", now)
		}
		alice.ok(t, "access", "return", id)
		until(t, alice, id, "settled", settled)
	})

	t.Run("the feed's database does not answer while one is approved", func(t *testing.T) {
		id := ask("write").Asked.ID
		unlock := lock(t, filepath.Join(s.state(), "standing", "feed.db"))
		if out := carol.ok(t, "access", "approve", id); !strings.Contains(out, "approved") || strings.Contains(out, "every gate") {
			t.Errorf("approving while nothing can be published: %s", out)
		}
		until(t, alice, id, "waiting for the feed", func(now shown) bool { return now.State == access.Approved && now.Waiting == "the feed" })
		if r := run("down-feed"); r.code != 3 {
			t.Errorf("before it is in force: %v", r)
		}
		unlock()
		until(t, alice, id, "active", active)
		alice.ok(t, "access", "return", id)
		until(t, alice, id, "settled", settled)
	})

	byGrant, byGroup := ask("write"), ask("worker")
	for _, r := range []access.Request{byGrant, byGroup} {
		carol.ok(t, "access", "approve", r.Asked.ID)
	}
	granted, joined := until(t, alice, byGrant.Asked.ID, "active", active), until(t, alice, byGroup.Asked.ID, "active", active)
	if !inGroup(t, carol, alice.login, group) {
		t.Error("alice is not in the group while her access lasts")
	}
	honoured := func(at time.Time) bool {
		return slices.ContainsFunc(gate.Grants(granted.Asked.Principal, at), func(g *standing.Grant) bool { return g.ID == granted.Grant })
	}
	eventually(t, "the gate that stays up has the grant", func() string {
		if !honoured(time.Now()) && time.Now().Before(granted.Expires) {
			return "not yet"
		}
		return ""
	})
	signal(t, d.temporal(t), syscall.SIGKILL)
	select {
	case <-d.exited: // it does not go on without Temporal
	case <-time.After(60 * time.Second):
		t.Fatal("bailiwick dev goes on without Temporal")
	}
	last := joined.Expires
	if granted.Expires.After(last) {
		last = granted.Expires
	}
	time.Sleep(time.Until(last)) // a minute is the shortest that can be asked for
	if !honoured(granted.Expires.Add(-time.Nanosecond)) || honoured(granted.Expires) || honoured(time.Now()) {
		t.Error("at the gate that stayed up the end is not exact")
	}

	d = start(t, s)
	alice.dev, carol.dev = d, d
	if r := run("down-after"); r.code != 3 {
		t.Errorf("at the gate that came back, after the end: %v", r)
	}
	for _, r := range []access.Request{byGrant, byGroup} {
		now := until(t, alice, r.Asked.ID, "settled", settled)
		if now.State != access.Expired || now.Code != "time_up" || !now.Expires.Before(now.Ended) {
			t.Errorf("after the restart: %+v", now)
		}
		var story []string
		for _, step := range now.Steps {
			story = append(story, step.Event)
		}
		if want := "requested approved activated expired ended"; strings.Join(story, " ") != want {
			t.Errorf("its steps are %q, want %s", story, want)
		}
	}
	if inGroup(t, carol, alice.login, group) {
		t.Error("alice is in the group after the end")
	}
	alice.ok(t, "audit", "verify")
	d.stop(t)
	publishedOnce(t, filepath.Join(s.state(), "standing", "feed.db"), byGrant.Asked.ID, byGroup.Asked.ID)
}

// follow is a gate of the test's own, as far as grants go: it follows the environment's feed and outlives it.
func follow(t *testing.T, d *dev) *standing.State {
	t.Helper()
	key, err := feed.LoadOrCreateKey(filepath.Join(d.state(), "keys", "standing.pem"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := feed.LoadOrCreateToken(filepath.Join(d.state(), "keys", "standing.token"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	state := &standing.State{}
	f, err := standing.Follow(ctx, standing.FollowConfig{
		URL: d.context.ControlURL + feed.Path, Token: func() (string, error) { return token, nil }, Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)},
		Cache: filepath.Join(t.TempDir(), "standing.cache"), Gate: "elsewhere", State: state,
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-f.Done() })
	return state
}

// temporal is the environment's server.
func (d *dev) temporal(t *testing.T) process {
	t.Helper()
	for _, p := range d.tree() {
		if strings.HasPrefix(p.name, "bailiwick-tempo") { // the kernel cuts names to 15 bytes
			return p
		}
	}
	t.Fatal("the environment has no Temporal")
	return process{}
}

func signal(t *testing.T, p process, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.pid, s); err != nil {
		t.Fatalf("sending %v to %s: %v", s, p.name, err)
	}
}

// lock holds a database so that nobody else can write to it.
func lock(t *testing.T, file string) (unlock func()) {
	t.Helper()
	db, err := database.OpenFile(file, "busy_timeout(30000)")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.Background(), nil) // takes the lock at once
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// inGroup asks the org.
func inGroup(t *testing.T, u *user, login, group string) bool {
	t.Helper()
	var people []struct {
		Login  string
		Groups []string
	}
	u.json(t, &people, "dev", "people", "list")
	for _, p := range people {
		if p.Login == login {
			return slices.Contains(p.Groups, group)
		}
	}
	t.Fatalf("the org has no %s", login)
	return false
}

// publishedOnce reads the feed's tables: each of the requests was ended by one event, which is the last word on its grant.
func publishedOnce(t *testing.T, file string, requests ...string) {
	t.Helper()
	db, err := database.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, id := range requests {
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM log WHERE id = $1`, id+"/end").Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: %d events of its end, %v", id, n, err)
		}
		var raw []byte
		if err := db.QueryRow(`SELECT raw FROM events WHERE object = $1`, "g/grant-"+strings.TrimPrefix(id, "ar-")).Scan(&raw); err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		var last standing.Event
		if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&last); err != nil || last.Kind != standing.EventRevoke {
			t.Errorf("%s: the last word on its grant is %s, %v", id, raw, err)
		}
	}
}
