package sdkplugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// guardedStart runs workflow "family" at noon under rules.
func guardedStart(t *testing.T, o sdkplugin.Options, s attest.Statement) (*testsuite.TestWorkflowEnvironment, *journal) {
	t.Helper()
	log := &journal{}
	env := environment(t, newPlugin(t, o), log)
	registerFamily(env)
	env.SetStartTime(noon)
	env.SetHeader(header(sign(t, s)))
	env.ExecuteWorkflow("family", 0)
	return env, log
}

func TestWorkflowRules(t *testing.T) {
	fresh := sdkplugin.Requirement{MaxLoginAge: 30 * time.Minute}
	stale := strong(nil) // an hour old
	rules := func(r ...sdkplugin.Rule) sdkplugin.Options { return sdkplugin.Options{Require: r} }

	env, _ := guardedStart(t, rules(sdkplugin.Rule{Workflow: "family", Requirement: fresh}), strong(func(s *attest.Statement) { s.AuthTime = noon.Add(-30 * time.Minute) }))
	if err := env.GetWorkflowError(); err != nil {
		t.Errorf("met: %v", err)
	}

	env, log := guardedStart(t, rules(sdkplugin.Rule{Workflow: "fam*", Requirement: fresh}), stale)
	if f, v := failure(t, env.GetWorkflowError()); f.Type() != sdkplugin.FailureForbidden || !f.NonRetryable() || v.Code != sdkplugin.ForbiddenLoginAge || v.Rule != "workflow fam*" {
		t.Errorf("not met: %v with %+v", f, v)
	}
	if log.line("refusing workflow that does not meet a rule", "forbidden_login_age", "alice@acme.example") == "" {
		t.Errorf("the refusal is not in the log:\n%s", log)
	}

	for name, r := range map[string]sdkplugin.Rule{
		"another type":          {Workflow: "payout", Requirement: fresh},
		"a rule for activities": {Activity: "other", Workflow: "family", Requirement: fresh},
		"started earlier":       {Workflow: "family", Requirement: fresh, Since: noon.Add(time.Second)},
	} {
		if env, _ := guardedStart(t, rules(r), stale); env.GetWorkflowError() != nil {
			t.Errorf("%s: %v", name, env.GetWorkflowError())
		}
	}

	env, _ = guardedStart(t, rules(sdkplugin.Rule{Workflow: "family", Requirement: fresh, Hold: time.Minute}), stale)
	var panicked *temporal.PanicError // which a worker turns into a failed task
	if err := env.GetWorkflowError(); !errors.As(err, &panicked) || !strings.Contains(err.Error(), "held by Bailiwick") {
		t.Errorf("held: %v", err)
	}

	o := rules(sdkplugin.Rule{Workflow: "family", Requirement: fresh})
	o.Mode = sdkplugin.Observe
	env, log = guardedStart(t, o, stale)
	if env.GetWorkflowError() != nil || log.line("running workflow that does not meet a rule", "forbidden_login_age") == "" {
		t.Errorf("observing: %v\n%s", env.GetWorkflowError(), log)
	}
}

// The verdict over a run is the same years later: it depends on the time of the run's first task, not on today's.
func TestRulesAtReplay(t *testing.T) {
	first := time.Unix(1795446123+2, 0) // when story's first workflow task starts
	history := func(login time.Time, forbidden bool) *story {
		st := statement("alice", attest.EdgeStart, bound(attest.EdgeStart, "go"))
		st.AuthTime = login
		var s story
		s.start("listening", header(sign(t, st)), nil)
		if forbidden {
			s.fail(s.task())
			return &s
		}
		rest := senders(t)
		s.events = append(s.events, rest.events[1:]...)
		return &s
	}
	rule := sdkplugin.Rule{Workflow: "listening", Requirement: sdkplugin.Requirement{MaxLoginAge: time.Hour}}
	o := sdkplugin.Options{Require: []sdkplugin.Rule{rule}}

	// senders has its signals before the first task: its third event from the end of them starts it.
	var got []string
	if log, err := replay(t, o, history(first.Add(-30*time.Minute), false), &got); err != nil || strings.Join(got, "|") != whoSent {
		t.Errorf("a run that met the rule: %q, %v\n%s", got, err, log)
	}
	for age, want := range map[time.Duration]int{2 * time.Hour: 0, 30 * time.Minute: 1} {
		r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Plugins: []worker.Plugin{newPlugin(t, o)}})
		if err != nil {
			t.Fatal(err)
		}
		reached := 0
		r.RegisterWorkflowWithOptions(func(workflow.Context) error { reached++; return errors.New("refused") }, workflow.RegisterOptions{Name: "listening"})
		if err := r.ReplayWorkflowHistory(nil, &historypb.History{Events: history(first.Add(-age), true).events}); err != nil || reached != want {
			t.Errorf("a run that failed at its start, login %s old: %v, the code ran %d times, want %d", age, err, reached, want)
		}
	}

	// A stricter rule would fail the tasks of a run that is under way; Since excuses it.
	under := history(first.Add(-2*time.Hour), false)
	if _, err := replay(t, o, under, &got); err == nil {
		t.Error("a new rule did not change the course of an old run: then what does it guard?")
	}
	rule.Since = first.Add(time.Hour)
	if log, err := replay(t, sdkplugin.Options{Require: []sdkplugin.Rule{rule}}, under, &got); err != nil || strings.Join(got, "|") != whoSent {
		t.Errorf("with Since: %q, %v\n%s", got, err, log)
	}
}

// fail ends the run as a refused one ends.
func (s *story) fail(task int64) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED, failedEvent(task))
}

func TestRequireInWorkflow(t *testing.T) {
	guarded := func(ctx workflow.Context) error {
		if err := workflow.Sleep(ctx, time.Hour); err != nil {
			return err
		}
		return sdkplugin.RequireInWorkflow(ctx, sdkplugin.Requirement{MaxLoginAge: 90 * time.Minute}) // an hour old at the start, two hours now
	}
	var log journal
	env := environment(t, newPlugin(t, sdkplugin.Options{}), &log)
	env.RegisterWorkflowWithOptions(guarded, workflow.RegisterOptions{Name: "family"})
	env.SetStartTime(noon)
	env.SetHeader(header(sign(t, strong(nil))))
	env.ExecuteWorkflow("family")
	if f, v := failure(t, env.GetWorkflowError()); f.Type() != sdkplugin.FailureForbidden || v.Code != sdkplugin.ForbiddenLoginAge {
		t.Errorf("%v", f)
	}
	if err := sdkplugin.Require(context.Background(), sdkplugin.Requirement{}); err == nil {
		t.Error("a context from nowhere met a requirement")
	}
}
