package access

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

func TestApprovedActiveExpired(t *testing.T) {
	r := newRun(t)
	began := r.env.Now()
	yes := r.approve(10*time.Minute, bob)
	r.after(20*time.Minute, func() {
		g := r.state.Grants(alice.Principal(), r.env.Now())
		if len(g) != 1 || g[0].ID != "grant-aaaaaaaaaaaa" || g[0].Role != "write" || g[0].Request != r.c.Asked.ID || g[0].Digest != r.c.Digest || g[0].Approvers[0] != bob.Principal() {
			t.Errorf("the gate knows %+v", g)
		}
		if !r.honoured(g[0].Expires.Add(-time.Nanosecond)) || r.honoured(g[0].Expires) {
			t.Error("the grant does not end at its end")
		}
	})
	out := r.result()
	r.wants(out.State, Expired, "state")
	r.wants(out.Code, "time_up", "code")
	r.wants(yes.code(), "", "approval")
	r.wants(r.story(), "requested approved activated expired ended", "record")
	r.wants(out.Expires.Sub(out.Activated), 30*time.Minute, "time given")
	r.wants(r.honoured(r.env.Now()), false, "honoured at the end")
	if d := out.Activated.Sub(began); d < 10*time.Minute || d > 11*time.Minute {
		t.Errorf("active after %v", d)
	}
	for _, e := range r.entries {
		if e.Detail["request"] != r.c.Asked.ID || e.Detail["digest"] != r.c.Digest || e.Detail["requester"] != alice.Principal() || e.Reason != "INC-123" || e.Resource.Namespace != "payments" {
			t.Errorf("entry %+v", e)
		}
	}
	if a := r.entries[1]; a.Actor.Login != bob.Login || a.Detail["approvals"] != "1/1" || r.entries[2].Grant != "grant-aaaaaaaaaaaa" || r.entries[0].Grant != "" {
		t.Errorf("entries %+v", r.entries)
	}
}

func TestEndsBeforeActive(t *testing.T) {
	for name, c := range map[string]struct {
		act         string
		by          identity.Claims
		state, code string
		story       string
	}{
		"denied":             {updateDeny, bob, "denied", "denied", "requested denied"},
		"withdrawn":          {updateWithdraw, alice, "withdrawn", "withdrawn", "requested withdrawn"},
		"revoked in advance": {updateRevoke, carol, "revoked", "revoked", "requested revoked"},
		"lapsed":             {"", bob, "expired", "not_approved_in_time", "requested reminded" + strings.Repeat(" escalated", 23) + " expired"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			if c.act != "" {
				o := r.act(time.Minute, c.act, Act{By: c.by, Digest: r.c.Digest, Comment: "because"})
				defer func() { r.wants(o.code(), "", "update") }()
			}
			out := r.result()
			r.wants(string(out.State), c.state, "state")
			r.wants(out.Code, c.code, "code")
			r.wants(r.story(), c.story, "record")
			r.wants(len(r.events), 0, "events published")
		})
	}
}

func TestEndsWhileActive(t *testing.T) {
	for _, c := range []struct {
		act   string
		by    identity.Claims
		state State
	}{{updateReturn, alice, Returned}, {updateRevoke, carol, Revoked}} {
		t.Run(c.act, func(t *testing.T) {
			r := newRun(t)
			r.approve(time.Minute, bob)
			o := r.act(5*time.Minute, c.act, Act{By: c.by, Comment: "done"})
			r.after(6*time.Minute, func() { r.wants(r.honoured(r.env.Now()), false, "honoured after the end") })
			out := r.result()
			r.wants(o.code(), "", "update")
			r.wants(out.State, c.state, "state")
			r.wants(out.Settled, true, "settled")
			r.wants(r.story(), "requested approved activated "+string(c.state)+" ended", "record")
		})
	}
}

// Threat 40: approver = requester, also through a second account.
func TestThreat40NobodyApprovesTheirOwn(t *testing.T) {
	elsewhere := alice
	elsewhere.Issuer = "https://acme.example/oauth2/other"
	admin := claims("ALICE@acme.example", "temporal:payments:admin")
	admin.ID = "00uanother"
	service := identity.Claims{Issuer: issuer, Kind: identity.Client, ID: "0oabot", ClientID: "0oabot", Login: "0oabot"}
	agent := bob
	agent.Actors = []identity.Actor{{Subject: "0oaagent", Profile: "ai_agent"}}
	for name, c := range map[string]struct {
		by   identity.Claims
		code string
	}{
		"the same":                          {alice, "approver_is_requester"},
		"at another authorization server":   {elsewhere, "approver_is_requester"},
		"another account of the same login": {admin, "approver_is_requester"},
		"a service":                         {service, "approver_not_a_person"},
		"an agent for an approver":          {agent, "approver_not_a_person"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			no := r.approve(time.Minute, c.by)
			r.act(2*time.Minute, updateDeny, Act{By: bob, Digest: r.c.Digest})
			r.result()
			r.wants(no.code(), c.code, "approval")
		})
	}
}

func TestTwoOfThree(t *testing.T) {
	r := newRun(t, func(c *Case) { c.Rules.Approvals = 2 })
	second := bob
	second.Issuer = "https://acme.example/oauth2/other"
	one := r.approve(time.Minute, bob)
	again := r.approve(2*time.Minute, bob)
	other := r.approve(3*time.Minute, second)
	r.after(4*time.Minute, func() { r.wants(r.honoured(r.env.Now()), false, "honoured after one of two") })
	two := r.approve(5*time.Minute, carol)
	late := r.approve(6*time.Minute, dave)
	out := r.result()
	for what, want := range map[*outcome]string{one: "", again: "already_approved", other: "already_approved", two: "", late: "not_pending"} {
		r.wants(what.code(), want, "approval")
	}
	r.wants(one.view.State, Pending, "after one")
	r.wants(two.view.State, Approved, "after two")
	r.wants(len(out.Approvals), 2, "approvals")
}

// Two people who decide in the same moment: one is first, the other is told.
func TestTwoApproversAtOnce(t *testing.T) {
	for name, second := range map[string]string{"both approve": updateApprove, "one denies": updateDeny} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			var one, two *outcome = &outcome{}, &outcome{}
			r.after(time.Minute, func() {
				r.env.UpdateWorkflow(updateApprove, "1", one, Act{By: bob, Digest: r.c.Digest, At: r.env.Now()})
				r.env.UpdateWorkflow(second, "2", two, Act{By: carol, Digest: r.c.Digest, At: r.env.Now()})
			})
			out := r.result()
			r.wants(one.code(), "", "the first")
			r.wants(two.code(), "not_pending", "the second")
			r.wants(len(out.Approvals), 1, "approvals")
		})
	}
}

// Threat 40: what is approved is what was seen.
func TestThreat40DigestBinds(t *testing.T) {
	t.Run("approval of something else", func(t *testing.T) {
		r := newRun(t)
		other := r.c.Asked
		other.Role = "admin"
		no := r.act(time.Minute, updateApprove, Act{By: bob, Digest: other.Digest()})
		empty := r.act(2*time.Minute, updateApprove, Act{By: bob})
		r.act(3*time.Minute, updateWithdraw, Act{By: alice})
		r.result()
		r.wants(no.code(), "digest_mismatch", "approval")
		r.wants(empty.code(), "digest_mismatch", "approval without a digest")
	})
	t.Run("request edited", func(t *testing.T) {
		r := newRun(t, func(c *Case) { c.Digest = c.Asked.Digest(); c.Asked.Seconds *= 10 })
		out := r.result()
		r.wants(out.State, Denied, "state")
		r.wants(out.Code, "digest_mismatch", "code")
	})
	t.Run("for somebody else", func(t *testing.T) {
		r := newRun(t, func(c *Case) { c.Asked.Principal = bob.Principal() })
		r.wants(r.result().Code, "requester_mismatch", "code")
	})
}

// Threat 40: an approver who lost the right between approving and activation.
func TestThreat40ApproverLosesTheRight(t *testing.T) {
	r := newRun(t)
	r.set(func() {
		r.people[bob.Principal()] = standing.Person{Principal: bob.Principal(), Active: true, Groups: []string{"Everyone"}}
	})
	r.approve(time.Minute, bob)
	r.after(2*time.Minute, func() { r.wants(r.honoured(r.env.Now()), false, "honoured by a lost approval") })
	r.approve(3*time.Minute, carol)
	out := r.result()
	r.wants(r.story(), "requested approved refused approved activated expired ended", "record")
	r.wants(len(out.Approvals), 1, "approvals")
	r.wants(out.Approvals[0].By.Login, carol.Login, "approver")
}

// A manager approves without a role, and must still be the manager when the grant goes out.
func TestManagerApproves(t *testing.T) {
	for want, manager := range map[string]string{
		"requested approved activated expired ended":                  frank.Principal(),
		"requested approved refused approved activated expired ended": carol.Principal(),
	} {
		r := newRun(t)
		r.set(func() { r.managers[alice.Principal()] = manager })
		r.approve(time.Minute, frank)
		r.approve(3*time.Minute, carol)
		r.result()
		r.wants(r.story(), want, "record")
	}
}

func TestRequesterGone(t *testing.T) {
	for name, set := range map[string]func(*run){
		"deprovisioned": func(r *run) { r.people[alice.Principal()] = standing.Person{Principal: alice.Principal()} },
		"barred": func(r *run) {
			bar := standing.Bar{ID: "b", Principal: alice.Principal(), Reason: "user_deactivated", Since: r.env.Now()}
			if err := r.state.Apply(standing.Event{Seq: 1, ID: "e", Kind: standing.EventBar, At: r.env.Now(), Bar: &bar}); err != nil {
				panic(err)
			}
		},
		"not allowed any more": func(r *run) { r.unfit[alice.Principal()+" "+ActionRequest] = "contractors may not ask" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			r.after(30*time.Second, func() { r.set(func() { set(r) }) })
			r.approve(time.Minute, bob)
			out := r.result()
			r.wants(out.State, Denied, "state")
			r.wants(out.Code, "requester_not_entitled", "code")
			r.wants(r.story(), "requested approved refused", "record")
			r.wants(r.honoured(r.env.Now()), false, "honoured")
		})
	}
}

// The directory does not answer: nobody gets in on old facts, but for those who break glass.
func TestDirectoryDown(t *testing.T) {
	r := newRun(t)
	r.set(func() { r.ask = errBroken })
	r.approve(time.Minute, bob)
	out := r.result()
	r.wants(out.Code, "not_activated_in_time", "code")
	r.wants(r.honoured(r.env.Now()), false, "honoured")

	r = newRun(t)
	r.set(func() { r.ask = errBroken })
	r.approve(time.Minute, bob)
	r.after(5*time.Minute, func() { r.set(func() { r.ask = nil }) })
	r.wants(r.result().Code, "time_up", "code after it came back")

	r = newRun(t, breakGlass)
	r.set(func() { r.ask = errBroken })
	r.act(time.Hour, updateReview, Act{By: carol, Comment: "needed", Justified: true})
	r.wants(r.result().Code, "time_up", "code of break-glass")
}

func breakGlass(c *Case) { c.Asked.BreakGlass, c.Rules.Approvals = true, 0 }

// Threat 41: break-glass is loud, and somebody else looks at it afterwards.
func TestThreat41BreakGlass(t *testing.T) {
	r := newRun(t, breakGlass, func(c *Case) { c.Channels = []string{"ops"} })
	r.after(time.Minute, func() {
		g := r.state.Grants(alice.Principal(), r.env.Now())
		if len(g) != 1 || !g[0].BreakGlass {
			t.Errorf("the gate knows %+v", g)
		}
		r.wants(r.world.loud(), 2, "loud notices in the first minute")
	})
	own := r.act(2*time.Hour, updateReview, Act{By: alice, Comment: "fine", Justified: true})
	mute := r.act(2*time.Hour, updateReview, Act{By: carol})
	yes := r.act(30*time.Hour, updateReview, Act{By: carol, Comment: "INC-123 was real", Justified: true})
	again := r.act(30*time.Hour+time.Second, updateReview, Act{By: bob, Comment: "me too"})
	out := r.result()
	r.wants(own.code(), "reviewer_is_requester", "own review")
	r.wants(mute.code(), "reason_missing", "review without a word")
	r.wants(yes.code(), "", "review")
	if again.err == nil && again.done {
		t.Error("reviewed twice")
	}
	r.wants(out.State, Expired, "state")
	r.wants(out.Review.By.Login, carol.Login, "reviewer")
	r.wants(r.story(), "requested approved activated expired ended escalated reviewed", "record")
}

func (w *world) loud() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n2 := range w.notices {
		if n2.Loud {
			n++
		}
	}
	return n
}

func TestBreakGlassNeedsPolicy(t *testing.T) {
	r := newRun(t, breakGlass, func(c *Case) { c.Rules.Approvals = 1 })
	out := r.result()
	r.wants(out.Code, "break_glass_not_allowed", "code")
}

func TestExtension(t *testing.T) {
	rules := DefaultRules()
	rules.MaxSeconds = 3600
	more := func(seconds int64) Act {
		return Act{By: alice, Seconds: seconds, Comment: "not done yet", Rules: rules}
	}
	t.Run("approved", func(t *testing.T) {
		r := newRun(t)
		r.approve(time.Minute, bob)
		too := r.act(10*time.Minute, updateExtend, more(3600))
		foreign := r.act(10*time.Minute, updateExtend, Act{By: bob, Seconds: 600, Comment: "x", Rules: rules})
		ask := r.act(11*time.Minute, updateExtend, more(1200))
		twice := r.act(12*time.Minute, updateExtend, more(1200))
		var yes outcome
		old := r.approve(13*time.Minute, carol)
		r.after(14*time.Minute, func() {
			r.env.UpdateWorkflow(updateApprove, "x", &yes, Act{By: carol, Digest: ask.view.Extension.Digest, At: r.env.Now()})
		})
		r.after(40*time.Minute, func() { r.wants(r.honoured(r.env.Now()), true, "honoured in the time given besides") })
		out := r.result()
		for o, want := range map[*outcome]string{too: "duration_over_limit", foreign: "not_yours", ask: "", twice: "extension_pending", &yes: "", old: "digest_mismatch"} {
			r.wants(o.code(), want, "update")
		}
		r.wants(out.Expires.Sub(out.Activated), 50*time.Minute, "time given")
		r.wants(r.story(), "requested approved activated requested approved extended expired ended", "record")
		if g := r.state.Grants(alice.Principal(), out.Activated); len(g) != 0 {
			t.Errorf("left: %+v", g)
		}
	})
	t.Run("not approved", func(t *testing.T) {
		r := newRun(t)
		r.approve(time.Minute, bob)
		r.act(11*time.Minute, updateExtend, more(1200))
		out := r.result()
		r.wants(out.Expires.Sub(out.Activated), 30*time.Minute, "time given")
	})
	t.Run("approver lost the right", func(t *testing.T) {
		r := newRun(t)
		r.approve(time.Minute, bob)
		ask := r.act(11*time.Minute, updateExtend, more(1200))
		r.after(12*time.Minute, func() {
			r.set(func() { r.unfit[carol.Principal()+" "+ActionApprove] = "gone" })
			r.env.UpdateWorkflow(updateApprove, "x", &outcome{}, Act{By: carol, Digest: ask.view.Extension.Digest, At: r.env.Now()})
		})
		out := r.result()
		r.wants(out.Expires.Sub(out.Activated), 30*time.Minute, "time given")
		r.wants(r.story(), "requested approved activated requested approved refused expired ended", "record")
	})
	t.Run("revoked while it is approved", func(t *testing.T) {
		r := newRun(t)
		r.approve(time.Minute, bob)
		ask := r.act(11*time.Minute, updateExtend, more(1200))
		r.after(12*time.Minute, func() {
			r.env.UpdateWorkflow(updateApprove, "x", &outcome{}, Act{By: carol, Digest: ask.view.Extension.Digest, At: r.env.Now()})
			r.env.UpdateWorkflow(updateRevoke, "y", &outcome{}, Act{By: carol, At: r.env.Now()})
		})
		out := r.result()
		r.wants(out.State, Revoked, "state")
		r.wants(r.honoured(r.env.Now()), false, "honoured")
	})
}

// The journal does not write: nothing is in force that is not on record.
func TestNoAuditNoAccess(t *testing.T) {
	r := newRun(t)
	r.after(30*time.Second, func() { r.set(func() { r.journal = errBroken }) })
	r.approve(time.Minute, bob)
	r.after(10*time.Minute, func() {
		r.wants(len(r.events), 0, "published without a record")
		r.set(func() { r.journal = nil })
	})
	out := r.result()
	r.wants(out.Code, "time_up", "code")
	r.wants(r.story(), "requested approved activated expired ended", "record")
}

// The feed's store does not answer while a request is approved; the time runs, and a revocation meanwhile wins.
func TestStoreDownAtApproval(t *testing.T) {
	t.Run("comes back", func(t *testing.T) {
		r := newRun(t)
		r.set(func() { r.feed = errBroken })
		r.approve(time.Minute, bob)
		r.after(9*time.Minute, func() { r.set(func() { r.feed = nil }) })
		r.after(10*time.Minute, func() { r.wants(r.honoured(r.env.Now()), true, "honoured when it is back") })
		out := r.result()
		r.wants(out.Code, "time_up", "code")
		r.wants(out.Expires.Sub(out.Activated), 30*time.Minute, "time given")
	})
	t.Run("stays away", func(t *testing.T) {
		r := newRun(t)
		r.set(func() { r.feed = errBroken })
		r.approve(time.Minute, bob)
		r.after(time.Hour, func() { r.set(func() { r.feed = nil }) })
		out := r.result()
		r.wants(out.Code, "not_activated_in_time", "code")
		r.wants(r.honoured(out.Ended), false, "honoured")
	})
	t.Run("revoked meanwhile", func(t *testing.T) {
		r := newRun(t)
		r.set(func() { r.feed = errBroken })
		r.approve(time.Minute, bob)
		o := r.act(5*time.Minute, updateRevoke, Act{By: carol})
		r.after(6*time.Minute, func() { r.set(func() { r.feed = nil }) })
		out := r.result()
		r.wants(o.code(), "", "revocation")
		r.wants(out.State, Revoked, "state")
		r.wants(r.honoured(r.env.Now()), false, "honoured")
	})
}

// Nobody can be told for a day: the request goes on all the same.
func TestNoticesHoldNothingUp(t *testing.T) {
	r := newRun(t, func(c *Case) { c.Channels = []string{"ops"} })
	r.set(func() { r.deliver = errBroken })
	r.approve(time.Minute, bob)
	out := r.result()
	r.wants(out.Expires.Sub(out.Activated), 30*time.Minute, "time given")
	if d := out.Activated.Sub(out.Created); d > 2*time.Minute {
		t.Errorf("active only after %v", d)
	}
}

// A worker may die before or after each deed: the deed is lost, or done without word of it. Whatever happens, the grant ends, nobody is left in a
// group, and every step is on record.
func TestEveryDeedLostOrRepeated(t *testing.T) {
	deeds := 0
	for _, back := range []string{Native, Okta} {
		scene := func(r *run) {
			r.approve(time.Minute, bob)
			r.act(10*time.Minute, updateRevoke, Act{By: carol, Comment: "over"})
		}
		edit := func(c *Case) {
			if c.Backend = back; back == Okta {
				c.Group = "payments-writers"
			}
		}
		count := func(n *int, at int) func(string) bool {
			return func(string) bool { *n++; return *n == at }
		}
		plain := newRun(t, edit)
		plain.lost = count(&deeds, -1)
		deeds = 0
		scene(plain)
		want := plain.result()
		story := plain.story()
		if deeds < 6 {
			t.Fatalf("only %d deeds", deeds)
		}
		all := deeds
		for at := 1; at <= all; at++ {
			for _, how := range []string{"lost", "mute"} {
				t.Run(fmt.Sprintf("%s/%d %s", back, at, how), func(t *testing.T) {
					r := newRun(t, edit)
					n := 0
					if how == "lost" {
						r.lost = count(&n, at)
					} else {
						r.mute = count(&n, at)
					}
					scene(r)
					got := r.result()
					r.wants(got.State, want.State, "state")
					r.wants(r.story(), story, "record")
					r.wants(r.honoured(r.env.Now()), false, "honoured")
					r.wants(len(r.members["payments-writers"]), 0, "members left")
				})
			}
		}
	}
}

// reached is a world whose gates confirm, or never do.
type reached struct {
	*world
	confirm bool
	asked   []uint64
}

func (r *reached) WaitSeen(ctx context.Context, seq uint64) error {
	r.asked = append(r.asked, seq)
	if r.confirm {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestPublishWaitsForGates: who is told that it is in force can call; a gate that is down delays it, and does not prevent it.
func TestPublishWaitsForGates(t *testing.T) {
	for _, confirm := range []bool{true, false} {
		w := newWorld()
		gates := &reached{world: w, confirm: confirm}
		s := w.service(t)
		s.cfg.Publisher = gates
		a := Asked{Version: AskedVersion, ID: "ar-aaaaaaaaaaaa", Principal: alice.Principal(), Login: alice.Login, Namespace: "payments", Role: "write", Seconds: 1800, Reason: "INC-123"}
		e := standing.Event{ID: a.ID + "/1", Kind: standing.EventGrant, At: time.Now().UTC(), Grant: a.grant(a.Digest(), nil, time.Now(), time.Now().Add(time.Hour))}
		began := time.Now()
		everywhere, err := (&activities{s}).publish(t.Context(), e)
		if err != nil || everywhere != confirm || len(gates.asked) != 1 || gates.asked[0] != 1 {
			t.Errorf("confirming %v: everywhere %v, %v, waited for %v", confirm, everywhere, err, gates.asked)
		}
		if took := time.Since(began); !confirm && took < arriveWithin {
			t.Errorf("it waited for %v only", took)
		}
		if len(w.state.Grants(alice.Principal(), time.Now())) != 1 {
			t.Error("it is not published")
		}
	}
}
