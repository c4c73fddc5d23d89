package inflight

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

const everyEffect = `
runs:
  - {namespace: payments, type: refund, do: terminate}
  - {namespace: payments, do: cancel}
  - {do: pause}
schedules:
  - {do: pause}
`

// What becomes of alice's things under everyEffect.
const (
	lostStates = "d-1:Paused d-agent:Paused d-bob:Running d-liar:Running d-unverified:Running d-over:Completed d-paused:Paused p-1:Terminated p-2:Canceled s-1:true s-bob:false s-paused:true"
	backStates = "d-1:Running d-agent:Running d-bob:Running d-liar:Running d-unverified:Running d-over:Completed d-paused:Paused p-1:Terminated p-2:Canceled s-1:false s-bob:false s-paused:true"
)

var lostTold = []string{"run_blocked d-paused", "run_cancelled p-2", "run_paused d-1", "run_paused d-agent", "run_terminated p-1", "schedule_blocked s-paused", "schedule_paused s-1"}
var backTold = []string{"run_resumed d-1", "run_resumed d-agent", "schedule_resumed s-1"}

func TestLossAndReturn(t *testing.T) {
	for _, noAttr := range []bool{false, true} {
		w := newWorld(t)
		w.noAttr["deploy"], w.noAttr["payments"] = noAttr, noAttr
		var between string
		w.env(w.service(everyEffect), after(0, change{Loss: loss("user_suspended")}),
			after(10*time.Minute, change{Loss: loss("user_suspended")}), // told again
			after(time.Hour, change{Loss: loss("lifted"), Back: true}),
			func(env *environment) { env.RegisterDelayedCallback(func() { between = w.states() }, 30*time.Minute) })
		if between != lostStates {
			t.Errorf("after the loss:  %s\nwant %s", between, lostStates)
		}
		if got := w.states(); got != backStates {
			t.Errorf("after the return: %s\nwant %s", got, backStates)
		}
		want := slices.Sorted(slices.Values(slices.Concat(lostTold, backTold)))
		if got := w.told(); !slices.Equal(got, want) {
			t.Errorf("on record: %v\nwant %v", got, want)
		}
		for _, e := range w.entries {
			if e.Kind != audit.KindRevocation || e.Detail["subject"] != alice || e.Detail["source_event"] != "uuid-1" || e.Detail["effect"] == "" || e.Detail["source_time"] == "" || e.Resource.Namespace == "" {
				t.Errorf("%+v", e)
			}
		}
	}
}

// TestEveryStepTwice fails each deed of the whole course once before it is done, and once after, as when the worker dies there: the end is the same, each
// act is done once where doing it twice would show, and each is on record once.
func TestEveryStepTwice(t *testing.T) {
	var steps []string
	count := newWorld(t)
	count.lost = func(deed string) bool {
		if !slices.Contains(steps, deed) {
			steps = append(steps, deed)
		}
		return false
	}
	course := func(w *world) {
		w.env(w.service(everyEffect), after(0, change{Loss: loss("user_deactivated")}), after(time.Hour, change{Loss: loss("lifted"), Back: true}))
	}
	course(count)
	if len(steps) < 30 {
		t.Fatalf("only %d steps: %v", len(steps), steps)
	}
	for _, step := range steps {
		w := newWorld(t)
		failed := false
		w.lost = func(deed string) bool {
			if deed != step || failed {
				return false
			}
			failed = true
			return true
		}
		course(w)
		if got := w.states(); !failed || got != backStates {
			t.Errorf("%s (failed: %v): %s", step, failed, got)
		}
		if got := w.told(); len(got) != len(count.told()) || !slices.Equal(slices.Compact(got), count.told()) {
			t.Errorf("%s: on record %v", step, got)
		}
	}
}

// TestNewOwners: what asks for a new owner is paused and says so, goes on when its person is back, and what somebody took over is left alone.
func TestNewOwners(t *testing.T) {
	w := newWorld(t)
	w.adopted = map[string]string{"p-1": "bob@acme.example"}
	var run, plan string
	w.env(w.service("runs:\n  - {namespace: payments, do: terminate}\n  - {do: ask_owner, owners: release-managers}\nschedules: [{do: ask_owner}]\n"),
		after(0, change{Loss: loss("user_suspended")}), after(time.Hour, change{Loss: loss("lifted"), Back: true}),
		func(env *environment) {
			env.RegisterDelayedCallback(func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				run, plan = w.find("d-1").reason, w.schedule("s-1").notes
			}, 30*time.Minute)
		})
	if !strings.HasPrefix(run, Mark) || !strings.HasSuffix(run, "; a new owner is sought among release-managers") || !strings.HasSuffix(plan, "; a new owner is sought") {
		t.Errorf("notes: %q, %q", run, plan)
	}
	want := []string{"run_blocked d-paused", "run_kept p-1", "run_owner_asked d-1", "run_owner_asked d-agent", "run_resumed d-1", "run_resumed d-agent", "run_terminated p-2",
		"schedule_blocked s-paused", "schedule_owner_asked s-1", "schedule_resumed s-1"}
	if got := w.told(); !slices.Equal(got, want) {
		t.Errorf("on record: %v\nwant %v", got, want)
	}
}

// TestDefault: without rules everything is left to workers and gates, and it is on record what there was.
func TestDefault(t *testing.T) {
	w := newWorld(t)
	w.env(w.service(""), after(0, change{Loss: loss("user_deactivated")}))
	if len(w.deeds) > 0 {
		t.Errorf("done: %v", w.deeds)
	}
	want := []string{"run_blocked d-1", "run_blocked d-agent", "run_blocked d-paused", "run_blocked p-1", "run_blocked p-2", "schedule_blocked s-1", "schedule_blocked s-paused"}
	if got := w.told(); !slices.Equal(got, want) {
		t.Errorf("on record: %v", got)
	}
}

// TestReturnFirst: a person who is back before the second look is not acted upon any more; what somebody else let go on or paused anew is left so.
func TestReturnFirst(t *testing.T) {
	w := newWorld(t)
	w.env(w.service(everyEffect), after(0, change{Loss: loss("user_suspended")}),
		func(env *environment) {
			env.RegisterDelayedCallback(func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.find("d-1").status, w.find("d-1").reason = 1, ""   // let go on by hand
				w.schedule("s-1").notes = "paused again by somebody" // theirs now
				w.find("d-agent").reason = "somebody's own pause"
			}, 5*time.Second)
		},
		after(10*time.Second, change{Loss: loss("lifted"), Back: true}))
	if slices.ContainsFunc(w.deeds, func(d string) bool { return strings.HasPrefix(d, "unpause") }) {
		t.Errorf("undone: %v", w.deeds)
	}
	if !w.schedule("s-1").paused {
		t.Error("somebody's own pause was ended")
	}
}

// TestUnreadableNamespace: one that can't be read holds up no other, and is read when it can be.
func TestUnreadableNamespace(t *testing.T) {
	w := newWorld(t)
	w.unreadable["deploy"] = 5
	w.env(w.service(everyEffect), after(0, change{Loss: loss("user_suspended")}), after(time.Hour, change{Loss: loss("lifted"), Back: true}))
	if got := w.states(); got != backStates {
		t.Error(got)
	}
	if i, j := slices.Index(w.order, "run_terminated p-1"), slices.Index(w.order, "run_paused d-1"); i < 0 || j < 0 || i > j {
		t.Errorf("%v", w.order)
	}
}

func TestRules(t *testing.T) {
	for what, text := range map[string]string{
		"no version": "runs: []", "another version": "version: 2", "an unknown field": "version: 1\nrun: []", "an unknown effect": "version: 1\nruns: [{do: explode}]",
		"a schedule that is terminated": "version: 1\nschedules: [{do: terminate}]", "an unknown reason": "version: 1\nruns: [{when: [bored], do: pause}]",
		"no effect": "version: 1\nruns: [{namespace: x}]", "owners without asking": "version: 1\nruns: [{do: pause, owners: x}]", "no pattern": "version: 1\nruns: [{namespace: '[', do: pause}]", "two documents": "version: 1\n---\nversion: 1",
	} {
		if r, err := parseRules([]byte(text)); err == nil {
			t.Errorf("%s is accepted: %+v", what, r)
		}
	}
	r, err := parseRules([]byte("version: 1\nruns:\n  - {when: [session_revoked], namespace: 'pay*', do: pause}\n  - {type: deploy, do: cancel}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason, namespace, typ string
		want                   Effect
	}{
		{"session_revoked", "payments", "x", Pause}, {"session_revoked", "deploy", "deploy", Block}, {"user_suspended", "payments", "x", Block},
		{"user_suspended", "payments", "deploy", Cancel}, {"credential_changed", "payments", "deploy", Block},
	} {
		if got := r.effect(c.reason, Target{Namespace: c.namespace, Type: c.typ}).Do; got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if !r.concern("session_revoked") || r.concern("credential_changed") || !(&Rules{}).concern("user_deactivated") {
		t.Error("concerns are wrong")
	}
}
