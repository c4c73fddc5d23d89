package inflight

import (
	"errors"
	"fmt"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

// TestMany: somebody with more open runs than a page, or a history, has room for: all are paused, all go on, and each act is on record once. Each run of the
// workflow leaves to the next what it holds and where it was, and the news that it has not looked at.
func TestMany(t *testing.T) {
	const many = 1300
	for _, noAttr := range []bool{false, true} {
		w := newWorld(t)
		w.noAttr["deploy"] = noAttr
		for i := range many {
			w.runs = append(w.runs, &run{"deploy", fmt.Sprintf("many-%d", i), "deploy", alice, "alice@acme.example", enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, ""})
		}
		s := w.service(everyEffect)
		count := func(status enumspb.WorkflowExecutionStatus) (n int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, x := range w.runs {
				if x.status == status && len(x.id) > len("many-") && x.id[:5] == "many-" {
					n++
				}
			}
			return n
		}
		c, paused, runs := Case{Version: caseVersion, Principal: alice}, 0, 0
		for first := true; ; first = false {
			news := []func(*environment){after(time.Hour, change{Loss: loss("lifted"), Back: true}),
				func(env *environment) {
					env.RegisterDelayedCallback(func() { paused = count(enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED) }, 30*time.Minute)
				}}
			if first {
				news = append(news, after(0, change{Loss: loss("user_suspended")}))
			}
			runs++
			env := w.runOf(s, c, news...)
			var again *workflow.ContinueAsNewError
			if err := env.GetWorkflowError(); !errors.As(err, &again) {
				if err != nil || !env.IsWorkflowCompleted() {
					t.Fatal(err)
				}
				break
			}
			c = Case{}
			if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &c); err != nil || again.WorkflowType.Name != WorkflowName || len(c.News) == 0 {
				t.Fatalf("%+v, %v", again.WorkflowType, err)
			}
		}
		if paused != many || count(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING) != many {
			t.Errorf("of %d, %d were paused, and %d go on", many, paused, count(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING))
		}
		if want := 2*many + len(lostTold) + len(backTold); len(w.told()) != want || runs < 4 || len(w.deeds) != 2*many+3+2+3 {
			t.Errorf("%d entries of %d, %d deeds, in %d runs of the workflow", len(w.told()), want, len(w.deeds), runs)
		}
	}
}

// TestNewsBetweenRuns: a signal that one run of the workflow was given and did not come to is the next one's.
func TestNewsBetweenRuns(t *testing.T) {
	const many = maxActivities/2 + 50 // a deed and its record for each
	w := newWorld(t)
	for i := range many {
		w.runs = append(w.runs, &run{"deploy", fmt.Sprintf("many-%d", i), "deploy", alice, "alice@acme.example", enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, ""})
	}
	s := w.service(everyEffect)
	var c Case
	c.Version, c.Principal = caseVersion, alice
	left, signalled := false, false
	for first := true; ; first = false {
		news := []func(*environment){after(time.Hour, change{Loss: loss("lifted"), Back: true}), func(env *environment) {
			w.lost = func(deed string) bool {
				if deed == "unpause many-1/after" && !signalled { // lost again while their runs are let go on
					signalled = true
					env.SignalWorkflow(signalChange, change{Loss: loss("user_suspended")})
				}
				return false
			}
		}}
		if first {
			news = append(news, after(0, change{Loss: loss("user_suspended")}))
		}
		err := w.runOf(s, c, news...).GetWorkflowError()
		var again *workflow.ContinueAsNewError
		if !errors.As(err, &again) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		c = Case{}
		if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &c); err != nil {
			t.Fatal(err)
		}
		left = left || len(c.News) == 2 && c.News[0].Back && !c.News[1].Back
	}
	n := 0
	for _, d := range w.deeds {
		if d == "pause many-0" || d == "unpause many-0" {
			n++
		}
	}
	if !left || n != 4 || w.find("many-0").status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("left: %v; a run was paused and let go on %d times, want 4", left, n)
	}
}

// TestNoRoom: what a run leaves to the next stays within what Temporal takes. What there is no room for is left to workers.
func TestNoRoom(t *testing.T) {
	p := &person{held: map[Target]bool{}, seen: map[Target]string{}}
	n := 0
	for p.remember(acted{Target{Namespace: "deploy", WorkflowID: fmt.Sprintf("<%0500d>", n), RunID: "r", Type: "t"}, longestReason, true}) {
		n++
	}
	if n < 2000 || n > 3500 || !p.remember(acted{Target{Namespace: "deploy", WorkflowID: fmt.Sprintf("<%0500d>", 0), RunID: "r", Type: "t"}, "user_suspended", false}) {
		t.Errorf("room for %d", n)
	}
	for _, reason := range reasons {
		if len(reason) > len(longestReason) {
			t.Errorf("%s is longer than %s", reason, longestReason)
		}
	}
}
