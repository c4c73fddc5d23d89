package revocation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/standing"
)

func TestLeaverIsBarredAndComesBack(t *testing.T) {
	w := newWorld()
	r := open(t, w.config(t))
	at := time.Now()
	old := token("00ualice", at.Add(-time.Minute))
	w.set(func() { w.people["00ualice"] = Person{Login: "alice@acme.example", Status: "DEPROVISIONED"} })
	if err := r.Accept(t.Context(), signals(happening("user.lifecycle.deactivate", "00ualice", "", at))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := w.barred(old); got != "user_deactivated" {
		t.Errorf("barred: %q", got)
	}
	if got := w.barred(token("00ubob", at.Add(-time.Minute))); got != "" {
		t.Errorf("somebody else is barred: %q", got)
	}
	if p, known := w.state.Person("user:" + issuer + "|00ualice"); !known || p.Active {
		t.Errorf("%+v %v", p, known)
	}
	eventually(t, "requests to be ended", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.ended) == 1 })

	w.set(func() {
		w.people["00ualice"] = Person{Login: "alice@acme.example", Status: "ACTIVE", Active: true, Groups: []string{"Everyone"}}
	})
	if err := r.Accept(t.Context(), signals(happening("user.lifecycle.activate", "00ualice", "", at.Add(time.Second)))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := w.barred(old); got != "session_revoked" {
		t.Errorf("a token from before the bar counts again: %q", got)
	}
	if got := w.barred(token("00ualice", at.Add(2*time.Second))); got != "" {
		t.Errorf("a token from after is barred: %q", got)
	}
	if got := w.told(audit.KindRevocation); !slices.Equal(got, []string{"user_deactivated event_hook", "session_revoked event_hook", "lifted event_hook"}) {
		t.Errorf("revocations on record: %v", got)
	}
	if got := w.told(audit.KindDirectory); !slices.Equal(got, []string{"left event_hook", "joined event_hook"}) {
		t.Errorf("the directory on record: %v", got)
	}
	for _, id := range w.order {
		d := w.entries[id].Detail
		if d["subject"] != "user:"+issuer+"|00ualice" || d["login"] != "alice@acme.example" || d["source_event"] == "" {
			t.Errorf("%v", d)
		}
		if _, err := time.Parse(time.RFC3339Nano, d["source_time"]); err != nil {
			t.Errorf("source_time: %v", err)
		}
	}
}

func TestGroupLostAndBack(t *testing.T) {
	w := newWorld()
	r := open(t, w.config(t))
	at := time.Now()
	const group = "temporal:deploy:write"
	old := token("00ualice", at.Add(-time.Minute), group, "other")
	lost := func() []string { return w.state.GroupsLost(old, time.Now()) }
	alice := w.people["00ualice"]

	w.set(func() { w.people["00ualice"] = Person{Login: alice.Login, Active: true, Groups: []string{"Everyone"}} })
	if err := r.Accept(t.Context(), signals(happening("group.user_membership.remove", "00ualice", group, at))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := lost(); !slices.Equal(got, []string{group}) || w.barred(old) != "" {
		t.Errorf("lost %v, barred %q", got, w.barred(old))
	}
	if got := w.state.GroupsLost(token("00ualice", at.Add(time.Second), group), time.Now()); got != nil {
		t.Errorf("a token from after loses %v", got)
	}
	w.set(func() { w.people["00ualice"] = alice })
	if err := r.Accept(t.Context(), signals(happening("group.user_membership.add", "00ualice", group, at.Add(time.Second)))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := lost(); got != nil {
		t.Errorf("a member again, and lost %v", got)
	}

	// Another signal about her finds that a group is gone that nobody told of.
	w.set(func() { w.people["00ualice"] = Person{Login: alice.Login, Active: true, Groups: []string{"Everyone"}} })
	if err := r.Accept(t.Context(), signals(happening("group.user_membership.add", "00ualice", "unrelated", at))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := lost(); !slices.Equal(got, []string{group}) {
		t.Errorf("lost %v", got)
	}
}

func TestSignedOutEverywhere(t *testing.T) {
	w := newWorld()
	r := open(t, w.config(t))
	at := time.Now()
	if err := r.Accept(t.Context(), signals(happening("user.session.clear", "00ualice", "", at))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if w.asked != 0 {
		t.Error("the directory was asked about a session")
	}
	if before, after := w.barred(token("00ualice", at.Add(-time.Second))), w.barred(token("00ualice", at.Add(time.Second))); before != "session_revoked" || after != "" {
		t.Errorf("before %q, after %q", before, after)
	}
	// An older one that comes late does not move it back.
	if err := r.Accept(t.Context(), signals(happening("user.session.clear", "00ualice", "", at.Add(-time.Hour)))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := w.barred(token("00ualice", at.Add(-time.Second))); got != "session_revoked" {
		t.Errorf("moved back: %q", got)
	}
	// One session, named by the event.
	h := happening("user.session.end", "00ubob", "", at)
	h.Session = "102session-00ubob"
	if err := r.Accept(t.Context(), signals(h)...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := w.barred(token("00ubob", at.Add(-time.Second))); got != "session_revoked" {
		t.Errorf("the session's token: %q", got)
	}
	other := token("00ubob", at.Add(-time.Second))
	other.SessionID = "102other"
	if got := w.barred(other); got != "" {
		t.Errorf("another session's token: %q", got)
	}
}

// Uncertain is closed: what takes access away is believed while the directory does not answer, and what gives it back waits.
func TestDirectoryDown(t *testing.T) {
	for name, broken := range map[string]func(*world){"down": func(w *world) { w.down = true }, "slow": func(w *world) { w.slow = time.Minute }} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.set(func() { broken(w) })
			r := open(t, w.config(t))
			at := time.Now()
			old, fresh := token("00ualice", at.Add(-time.Minute)), token("00ualice", at.Add(time.Minute))
			if err := r.Accept(t.Context(), signals(happening("user.lifecycle.suspend", "00ualice", "", at))...); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the bar", func() bool { return w.barred(old) == "user_suspended" && w.barred(fresh) == "user_suspended" })
			if err := r.Accept(t.Context(), signals(happening("user.lifecycle.unsuspend", "00ualice", "", at.Add(time.Second)))...); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond) // longer than Trust and a retry
			if w.barred(fresh) == "" {
				t.Error("opened on a signal's word")
			}
			w.set(func() { w.down, w.slow = false, 0 })
			eventually(t, "the lift", func() bool { return w.barred(fresh) == "" })
			idle(t, r)
			if got := w.barred(old); got != "session_revoked" {
				t.Errorf("a token from before: %q", got)
			}
			if got := w.told(audit.KindDirectory); !slices.Equal(got, []string{"suspended event_hook", "restored event_hook"}) {
				t.Errorf("recorded more than once, or not at all: %v", got)
			}
		})
	}
}

// Signals that come twice, late and out of order end in the same state.
func TestAnyOrderEndsTheSame(t *testing.T) {
	at := time.Now().Add(-time.Minute)
	const group = "temporal:payments:write"
	all := signals(
		happening("user.lifecycle.suspend", "00ubob", "", at), happening("user.lifecycle.unsuspend", "00ubob", "", at.Add(time.Second)),
		happening("group.user_membership.remove", "00ubob", group, at.Add(2*time.Second)), happening("group.user_membership.add", "00ubob", group, at.Add(3*time.Second)),
		happening("group.user_membership.remove", "00ubob", group, at.Add(4*time.Second)), happening("user.session.clear", "00ubob", "", at.Add(5*time.Second)),
	)
	probe := func(w *world) string {
		out := ""
		for s := -1; s < 8; s++ {
			c := token("00ubob", at.Add(time.Duration(s)*time.Second), group)
			out += fmt.Sprintf("%s %v;", w.barred(c), w.state.GroupsLost(c, time.Now()))
		}
		return out
	}
	want := ""
	for round := range 12 {
		w := newWorld()
		w.people["00ubob"] = Person{Login: "bob@acme.example", Active: true, Groups: []string{"Everyone"}} // as he is in the end
		r := open(t, w.config(t))
		mixed := append(slices.Clone(all), all...)
		if round > 0 {
			rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		}
		for len(mixed) > 0 {
			n := 1 + rand.IntN(len(mixed))
			if err := r.Accept(t.Context(), mixed[:n]...); err != nil {
				t.Fatal(err)
			}
			mixed = mixed[n:]
			if rand.IntN(2) == 0 {
				idle(t, r)
			}
		}
		idle(t, r)
		got := probe(w)
		if round == 0 {
			want = got
			if !strings.Contains(got, "session_revoked") || !strings.HasSuffix(got, " [];") {
				t.Fatalf("in order: %s", got)
			}
		}
		if got != want {
			t.Errorf("round %d:\n got %s\nwant %s", round, got, want)
		}
		if n := len(w.told(audit.KindDirectory)); n != 5 {
			t.Errorf("round %d: %d directory entries, want one for each signal that is about the directory", round, n)
		}
	}
}

// What was accepted is done after a crash, and nothing of it twice.
func TestRestart(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	w.set(func() {
		w.people["00ualice"] = Person{Login: "alice@acme.example", Status: "SUSPENDED"}
		w.feedErr, w.recErr, w.endErr = errDown, errDown, errDown
	})
	r := open(t, cfg)
	if err := r.Accept(t.Context(), signals(happening("user.lifecycle.suspend", "00ualice", "", time.Now()))...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the decision to be queued", func() bool { s, err := r.Status(t.Context()); return err == nil && s.Open == 0 && s.Queue == 5 })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.feedErr = nil })
	r = open(t, cfg)
	eventually(t, "the bar, though nothing can be recorded", func() bool { return w.barred(token("00ualice", time.Now().Add(time.Hour))) == "user_suspended" })
	w.set(func() { w.recErr, w.endErr = nil, nil })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, cfg)
	idle(t, r)
	if got := w.told(audit.KindRevocation); len(got) != 1 || len(w.ended) != 1 {
		t.Errorf("%v, %v", got, w.ended)
	}
}

func TestPollingIsTheNet(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	cfg.Log = w
	at := time.Now()
	left := happening("user.lifecycle.deactivate", "00ualice", "", at)
	old := happening("user.session.clear", "00ubob", "", at.Add(-26*time.Hour)) // no token from before it lives
	failed := happening("user.session.start", "00ubob", "", at)
	failed.Outcome = "FAILURE"
	w.set(func() {
		w.people["00ualice"] = Person{Login: "alice@acme.example", Status: "DEPROVISIONED"}
		w.log = []Happening{old, left, failed}
	})
	r := open(t, cfg)
	eventually(t, "the bar", func() bool { return w.barred(token("00ualice", at)) == "user_deactivated" })
	// The hook brings it again, by the same id.
	if err := r.Accept(t.Context(), left.Signals(SourceHook, at)...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	if got := w.told(audit.KindRevocation); !slices.Equal(got, []string{"user_deactivated system_log"}) {
		t.Errorf("%v", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	// The cursor survives, and a cursor that does not is made good for.
	w.set(func() { w.log = append(w.log, happening("user.session.clear", "00ubob", "", at)); w.logErr = errDown })
	r = open(t, cfg)
	eventually(t, "the failure to show", func() bool { s, err := r.Status(t.Context()); return err == nil && s.PollError != "" })
	if _, err := r.store.accept(t.Context(), nil, at, map[string]string{"cursor": "expired"}); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.logErr = nil })
	eventually(t, "the rest of the log", func() bool { return w.barred(token("00ubob", at.Add(-time.Second))) == "session_revoked" })
	idle(t, r) // a bar is in force before its record is made
	if got := w.told(audit.KindRevocation); len(got) != 2 {
		t.Errorf("two revocations, and what was read again is not done again: %v", got)
	}
}

func TestTwoIssuers(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	const second = "https://acme.example/oauth2/second"
	cfg.Issuers = append(cfg.Issuers, second)
	r := open(t, cfg)
	w.set(func() { delete(w.people, "00ualice") }) // deleted for good
	if err := r.Accept(t.Context(), signals(happening("user.lifecycle.delete.initiated", "00ualice", "", time.Now()))...); err != nil {
		t.Fatal(err)
	}
	idle(t, r)
	c := token("00ualice", time.Now().Add(time.Hour))
	other := *c
	other.Issuer = second
	if w.barred(c) != "user_deactivated" || w.barred(&other) != "user_deactivated" {
		t.Errorf("%q, %q", w.barred(c), w.barred(&other))
	}
	ids := map[string]bool{}
	for _, e := range w.events {
		if e.Kind == standing.EventBar {
			ids[e.Bar.ID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("bars %v", ids)
	}
}

// When many leave at once, nobody keeps access until the directory was asked about everybody before them.
func TestManyLeaveAtOnce(t *testing.T) {
	const many = 60
	w := newWorld()
	cfg := w.config(t)
	cfg.Trust = time.Minute
	var all []Signal
	w.set(func() {
		w.held = make(chan struct{})
		for i := range many {
			uid := fmt.Sprintf("00umany%03d", i)
			w.people[uid] = Person{Login: uid + "@acme.example", Status: "DEPROVISIONED"}
			all = append(all, signals(happening("user.lifecycle.deactivate", uid, "", time.Now()))...)
		}
	})
	r := open(t, cfg)
	if err := r.Accept(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every bar", func() bool {
		for _, s := range all {
			if w.barred(token(s.UID, s.At)) != "user_deactivated" {
				return false
			}
		}
		return true
	})
	w.mu.Lock()
	asked := w.asked
	close(w.held)
	w.mu.Unlock()
	if asked > inRound {
		t.Errorf("the directory was asked %d times, and has not answered once", asked)
	}
	idle(t, r)
	if n := len(w.told(audit.KindRevocation)); n != many {
		t.Errorf("%d revocations on record, want %d", n, many)
	}
}
