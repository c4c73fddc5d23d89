package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/access"
)

// shown is what `access show --json` prints.
type shown struct {
	access.Request
	Uses []access.Use
}

// until shows a request again and again until it is as wanted.
func until(t *testing.T, u *user, id, what string, want func(shown) bool) (s shown) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		r := u.run(t, "access", "show", id, "--json")
		if r.code == 0 {
			s = shown{}
			if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
				t.Fatalf("access show --json: %v\n%s", err, r.stdout)
			}
			if want(s) {
				return s
			}
		}
	}
	t.Fatalf("request %s is not %s: %+v", id, what, s)
	return s
}

func active(s shown) bool { return s.State == access.Active }

// settled is a request whose end has reached the feed and the record.
func settled(s shown) bool { return s.State.Ended() && s.Settled }

// TestAccess: alice asks, carol approves, alice does what she could not, gives it back, and can't any more; all of it is told.
func TestAccess(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "bob@acme.example", "carol@acme.example")
	alice, bob, carol := team[0], team[1], team[2]
	start := func(id string) result {
		return alice.run(t, "run", "start", "refund", "--namespace", "payments", "--id", id, "--reason", "INC-77")
	}
	if r := start("access-0"); r.code != 3 || !strings.Contains(r.stderr, "bailiwick access request") {
		t.Fatalf("before: %v", r)
	}
	if r := alice.run(t, "access", "request", "--namespace", "paymnets", "--role", "write", "--for", "30m", "--reason", "INC-77"); r.code != 2 || !strings.Contains(r.stderr, "namespace_unknown") || !strings.Contains(r.stderr, "deploy, payments") {
		t.Errorf("a namespace that there is none of: %v", r)
	}
	var asked access.Request
	alice.json(t, &asked, "access", "request", "--namespace", "payments", "--role", "write", "--for", "30m", "--reason", "INC-77: stuck refunds")
	id := asked.Asked.ID
	if r := alice.run(t, "access", "approve", id); r.code != 3 {
		t.Errorf("alice approves her own: %v", r)
	}
	if r := bob.run(t, "access", "approve", id); r.code == 0 {
		t.Errorf("bob, who is no approver: %v", r)
	}
	carol.ok(t, "access", "approve", id, "--comment", "on call")
	until(t, alice, id, "active", active)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		r := start("access-1")
		if r.code == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("with the grant: %v", r)
		}
	}
	alice.ok(t, "access", "return", id)
	s := until(t, alice, id, "settled", settled)
	if s.State != access.Returned || len(s.Approvals) != 1 || s.Approvals[0].By.Login != "carol@acme.example" || len(s.Uses) == 0 || s.Uses[len(s.Uses)-1].Resource.WorkflowID != "access-1" {
		t.Errorf("shown: %+v", s)
	}
	for _, use := range s.Uses {
		if !use.Sealed {
			s = until(t, alice, id, "sealed", func(now shown) bool { return len(now.Uses) > 0 && now.Uses[len(now.Uses)-1].Sealed })
		}
	}
	alice.ok(t, "audit", "prove", s.Uses[0].Entry)
	refusedSoon(t, func() result { return start("access-2-" + time.Now().Format("150405.000")) })
	if text := alice.ok(t, "access", "show", id); !strings.Contains(text, "carol@acme.example") || !strings.Contains(text, "StartWorkflowExecution") || !strings.Contains(text, "returned") || !strings.Contains(text, "audit prove") || strings.Contains(text, "30m0s") {
		t.Errorf("show prints\n%s", text)
	}
	if text := alice.ok(t, "access", "watch", id); !strings.Contains(text, "activated") {
		t.Errorf("watch prints\n%s", text)
	}
	if text := carol.ok(t, "access", "list", "--all", "--namespace", "payments"); !strings.Contains(text, id) {
		t.Errorf("list prints\n%s", text)
	}
	if r := alice.run(t, "run", "list", "--namespace", access.Namespace); r.code != 3 {
		t.Errorf("alice looks into the namespace of the requests: %v", r)
	}
	if r := carol.run(t, "run", "list", "--namespace", access.Namespace); r.code != 3 {
		t.Errorf("carol looks into the namespace of the requests: %v", r)
	}
}

func refusedSoon(t *testing.T, call func() result) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		r := call()
		if r.code == 3 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after its end the grant opens still: %v", r)
		}
	}
}

// TestAccessOutlivesKills kills everything, as a power cut would, at different moments after an approval and after a revocation. Whatever was
// agreed comes about after the next start, and nothing is left of what was ended.
func TestAccessOutlivesKills(t *testing.T) {
	needsProc(t)
	s := newSettings(t, "--no-ui", "--no-worker")
	d := start(t, s)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]
	restart := func() {
		t.Helper()
		d.kill(t)
		d = start(t, s)
		alice.dev, carol.dev = d, d
	}
	for i, after := range []time.Duration{0, 60 * time.Millisecond, 250 * time.Millisecond} {
		var asked access.Request
		alice.json(t, &asked, "access", "request", "--namespace", "payments", "--role", "write", "--for", "30m", "--reason", "INC-78")
		id := asked.Asked.ID
		carol.ok(t, "access", "approve", id)
		time.Sleep(after)
		restart()
		got := until(t, alice, id, "active", active)
		if len(got.Approvals) != 1 || got.Expires.Sub(got.Activated) != 30*time.Minute {
			t.Errorf("killed %v after the approval: %+v", after, got)
		}
		name := "kill-" + asked.Asked.ID
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			r := alice.run(t, "run", "start", "refund", "--namespace", "payments", "--id", name, "--reason", "INC-78")
			if r.code == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("round %d: the grant opens nothing: %v", i, r)
			}
		}
		carol.ok(t, "access", "revoke", id, "--reason", "over")
		time.Sleep(after)
		restart()
		got = until(t, alice, id, "settled", settled)
		if got.State != access.Revoked {
			t.Errorf("killed %v after the revocation: %+v", after, got)
		}
		refusedSoon(t, func() result {
			return alice.run(t, "run", "start", "refund", "--namespace", "payments", "--id", name+"-2", "--reason", "INC-78")
		})
		events := map[string]int{}
		for _, step := range got.Steps {
			events[step.Event]++
		}
		for _, e := range []string{"requested", "approved", "activated", "revoked", "ended"} {
			if events[e] != 1 {
				t.Errorf("killed %v after: %d times %s", after, events[e], e)
			}
		}
	}
	alice.ok(t, "audit", "verify")
	d.stop(t)
}
