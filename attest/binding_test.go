package attest_test

import (
	"testing"

	"github.com/bailiwick-dev/bailiwick/attest"
)

func bound(t *testing.T, edge attest.Edge, b attest.Binding) attest.Verified {
	t.Helper()
	st := typical()
	st.Edge, st.Binding = edge, b
	return mustVerify(t, attest.NewSigner(fixedKey("a")), st)
}

func TestCheckRun(t *testing.T) {
	run := attest.Run{Namespace: "deploy", WorkflowID: "d-1", RunID: "r1", FirstRunID: "r1", WorkflowType: "deploy"}
	start := attest.Binding{Namespace: "deploy", WorkflowID: "d-1", WorkflowType: "deploy"}
	schedule := attest.Binding{Namespace: "deploy", WorkflowID: "night", WorkflowType: "nightly-report", ScheduleID: "nightly"}
	scheduled := attest.Run{Namespace: "deploy", WorkflowID: "night-2026-11-23T03:00:00Z", RunID: "r9", WorkflowType: "nightly-report", ScheduleID: "nightly"}
	child := attest.Run{Namespace: "deploy", WorkflowID: "smoke", RunID: "c1", WorkflowType: "smoke-test",
		ParentNamespace: "deploy", ParentWorkflowID: "d-1", ParentRunID: "r1", RootWorkflowID: "d-1", RootRunID: "r1"}
	grandchild := attest.Run{Namespace: "deploy", WorkflowID: "probe", RunID: "g1", WorkflowType: "probe",
		ParentNamespace: "deploy", ParentWorkflowID: "smoke", ParentRunID: "c1", RootWorkflowID: "d-1", RootRunID: "r1"}
	with := func(r attest.Run, change func(*attest.Run)) attest.Run { change(&r); return r }
	bind := func(b attest.Binding, change func(*attest.Binding)) attest.Binding { change(&b); return b }

	childOf := func(id, run, namespace string) attest.Binding {
		return attest.Binding{Namespace: "deploy", WorkflowID: "smoke", WorkflowType: "smoke-test", ParentWorkflowID: id, ParentRunID: run, ParentNamespace: namespace}
	}

	for _, c := range []struct {
		name string
		edge attest.Edge
		bind attest.Binding
		run  attest.Run
		ok   bool
	}{
		{"its own start", attest.EdgeStart, start, run, true},
		{"bound to its run id", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.RunID = "r1" }), run, true},
		{"bound to another run id", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.RunID = "r0" }), run, false},
		{"bound to the first run, continued", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.RunID = "r1" }),
			with(run, func(r *attest.Run) { r.RunID, r.ContinuedRunID = "r3", "r2" }), true},
		{"bound to the run before a reset", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.RunID = "r1" }),
			with(run, func(r *attest.Run) { r.RunID, r.OriginalRunID = "r7", "r1" }), true},
		{"another namespace", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.Namespace = "payments" }), run, false},
		{"another workflow id", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.WorkflowID = "d-2" }), run, false},
		{"a prefix of the workflow id", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.WorkflowID = "d" }), run, false},
		{"another type", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.WorkflowType = "payout" }), run, false},
		{"continue-as-new to another type", attest.EdgeStart, start, with(run, func(r *attest.Run) { r.WorkflowType, r.ContinuedRunID, r.RunID = "deploy-2", "r1", "r2" }), true},
		{"another type, root claims itself", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.WorkflowType = "payout" }),
			with(run, func(r *attest.Run) { r.RootWorkflowID = r.WorkflowID }), false},
		{"a signal's", attest.EdgeSignal, bind(start, func(b *attest.Binding) { b.Name = "approve" }), run, false},
		{"an update's", attest.EdgeUpdate, bind(start, func(b *attest.Binding) { b.Name = "set-traffic" }), run, false},
		{"a query's", attest.EdgeQuery, bind(start, func(b *attest.Binding) { b.Name = "status" }), run, false},
		{"unknown run", attest.EdgeStart, start, attest.Run{}, false},
		{"first run", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.FirstRunID = "r1" }), run, true},
		{"another first run", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.FirstRunID = "r0" }), run, false},
		{"first run, but this run's is not known", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.FirstRunID = "r1" }), with(run, func(r *attest.Run) { r.FirstRunID = "" }), false},
		{"parent bound, run has none", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.ParentWorkflowID = "d-0" }), run, false},
		{"bound to its parent", attest.EdgeStart, childOf("d-1", "r1", ""), child, true},
		{"bound to its parent by namespace", attest.EdgeStart, childOf("d-1", "", "deploy"), child, true},
		{"bound to another parent", attest.EdgeStart, childOf("d-2", "", ""), child, false},
		{"bound to another run of its parent", attest.EdgeStart, childOf("d-1", "r0", ""), child, false},
		{"bound to a parent in another namespace", attest.EdgeStart, childOf("d-1", "r1", "payments"), child, false},

		{"carried to a child", attest.EdgeStart, start, child, true},
		{"carried to a grandchild", attest.EdgeStart, start, grandchild, true},
		{"parent's run id", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.RunID = "r1" }), child, true},
		{"another run of the parent", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.RunID = "r0" }), child, false},
		{"a stranger's, in a child", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.WorkflowID = "d-2" }), child, false},
		{"the parent's namesake in another namespace", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.Namespace = "payments" }), child, false},
		{"a child's own start", attest.EdgeStart, attest.Binding{Namespace: "deploy", WorkflowID: "smoke", WorkflowType: "smoke-test"}, child, true},
		{"a parent in another namespace", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.Namespace = "payments" }),
			with(child, func(r *attest.Run) { r.ParentNamespace = "payments" }), true},
		{"a signal's, carried to a child", attest.EdgeSignal, bind(start, func(b *attest.Binding) { b.Name = "approve" }), child, false},

		{"schedule", attest.EdgeSchedule, schedule, scheduled, true},
		{"schedule without a time", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.WorkflowID = "night" }), false},
		{"schedule with another suffix", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.WorkflowID = "night-shift" }), false},
		{"schedule with an offset time", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.WorkflowID = "night-2026-11-23T03:00:00+01:00" }), false},
		{"schedule with fractions", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.WorkflowID = "night-2026-11-23T03:00:00.5Z" }), false},
		{"schedule of another id", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.ScheduleID = "weekly" }), false},
		{"schedule, run not scheduled", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.ScheduleID = "" }), false},
		{"schedule of another type", attest.EdgeSchedule, schedule, with(scheduled, func(r *attest.Run) { r.WorkflowType = "deploy" }), false},
		{"a start where a schedule's time was added", attest.EdgeStart, bind(start, func(b *attest.Binding) { b.WorkflowID = "night" }), scheduled, false},
		{"schedule carried to a child", attest.EdgeSchedule, schedule,
			with(child, func(r *attest.Run) {
				r.ParentWorkflowID, r.RootWorkflowID = "night-2026-11-23T03:00:00Z", "night-2026-11-23T03:00:00Z"
			}), true},
		{"another schedule carried to a child", attest.EdgeSchedule, schedule,
			with(child, func(r *attest.Run) {
				r.ParentWorkflowID, r.RootWorkflowID = "day-2026-11-23T03:00:00Z", "day-2026-11-23T03:00:00Z"
			}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := bound(t, c.edge, c.bind).CheckRun(c.run)
			if c.ok && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !c.ok {
				wantCode(t, err, attest.CodeBinding)
			}
		})
	}
	wantCode(t, attest.Verified{}.CheckRun(run), attest.CodeBinding)
	wantCode(t, attest.Verified{}.CheckRun(attest.Run{}), attest.CodeBinding)
}

func TestCheckCall(t *testing.T) {
	run := attest.Run{Namespace: "deploy", WorkflowID: "d-1", RunID: "r1", WorkflowType: "deploy"}
	call := attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "approve"}
	bind := func(change func(*attest.Binding)) attest.Binding { b := call; change(&b); return b }
	typed := bind(func(b *attest.Binding) { b.WorkflowType = "deploy" })
	for _, c := range []struct {
		name string
		edge attest.Edge
		bind attest.Binding
		as   attest.Edge
		call string
		ok   bool
	}{
		{"signal", attest.EdgeSignal, call, attest.EdgeSignal, "approve", true},
		{"update", attest.EdgeUpdate, call, attest.EdgeUpdate, "approve", true},
		{"query", attest.EdgeQuery, call, attest.EdgeQuery, "approve", true},
		{"signal to the run", attest.EdgeSignal, bind(func(b *attest.Binding) { b.RunID = "r1" }), attest.EdgeSignal, "approve", true},
		{"signal to another run", attest.EdgeSignal, bind(func(b *attest.Binding) { b.RunID = "r2" }), attest.EdgeSignal, "approve", false},
		{"another name", attest.EdgeSignal, call, attest.EdgeSignal, "reject", false},
		{"another case", attest.EdgeSignal, call, attest.EdgeSignal, "Approve", false},
		{"another workflow", attest.EdgeSignal, bind(func(b *attest.Binding) { b.WorkflowID = "d-2" }), attest.EdgeSignal, "approve", false},
		{"another namespace", attest.EdgeSignal, bind(func(b *attest.Binding) { b.Namespace = "payments" }), attest.EdgeSignal, "approve", false},
		{"a query used as an update", attest.EdgeQuery, call, attest.EdgeUpdate, "approve", false},
		{"a query used as a signal", attest.EdgeQuery, call, attest.EdgeSignal, "approve", false},
		{"an update used as a signal", attest.EdgeUpdate, call, attest.EdgeSignal, "approve", false},
		{"a signal used as an update", attest.EdgeSignal, call, attest.EdgeUpdate, "approve", false},
		{"signal-with-start", attest.EdgeStart, typed, attest.EdgeSignal, "approve", true},
		{"signal-with-start, another signal", attest.EdgeStart, typed, attest.EdgeSignal, "reject", false},
		{"signal-with-start of another type", attest.EdgeStart, bind(func(b *attest.Binding) { b.WorkflowType = "payout" }), attest.EdgeSignal, "approve", false},
		{"signal-with-start used as an update", attest.EdgeStart, typed, attest.EdgeUpdate, "approve", false},
		{"a plain start used as a signal", attest.EdgeStart, bind(func(b *attest.Binding) { b.WorkflowType, b.Name = "deploy", "" }), attest.EdgeSignal, "approve", false},
		{"asked about a start", attest.EdgeStart, typed, attest.EdgeStart, "approve", false},
		{"asked about nothing", attest.EdgeSignal, call, attest.EdgeSignal, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := bound(t, c.edge, c.bind).CheckCall(c.as, run, c.call)
			if c.ok && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !c.ok {
				wantCode(t, err, attest.CodeBinding)
			}
		})
	}
	wantCode(t, attest.Verified{}.CheckCall(attest.EdgeSignal, run, "approve"), attest.CodeBinding)
	if err := bound(t, attest.EdgeStart, typed).CheckRun(run); err != nil {
		t.Errorf("signal-with-start does not count as the start: %v", err)
	}
}

func TestCheckActivity(t *testing.T) {
	v := bound(t, attest.EdgeActivity, attest.Binding{Namespace: "deploy", ActivityID: "a-1", Name: "push", TaskQueue: "deploy"})
	if err := v.CheckActivity("deploy", "a-1", "push"); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][3]string{{"payments", "a-1", "push"}, {"deploy", "a-2", "push"}, {"deploy", "a-1", "pull"}, {"deploy", "", ""}} {
		wantCode(t, v.CheckActivity(wrong[0], wrong[1], wrong[2]), attest.CodeBinding)
	}
	wantCode(t, v.CheckRun(attest.Run{Namespace: "deploy", WorkflowID: "a-1", WorkflowType: "push"}), attest.CodeBinding)
	wantCode(t, v.CheckCall(attest.EdgeSignal, attest.Run{Namespace: "deploy", WorkflowID: "a-1"}, "push"), attest.CodeBinding)
	wantCode(t, bound(t, attest.EdgeStart, attest.Binding{Namespace: "deploy", WorkflowID: "a-1", WorkflowType: "push"}).CheckActivity("deploy", "a-1", "push"), attest.CodeBinding)
	wantCode(t, attest.Verified{}.CheckActivity("", "", ""), attest.CodeBinding)
}

// TestAdoption: what takes over a run is of its own edge, by a person in person, about one run of the chain, and by nobody who began it.
func TestAdoption(t *testing.T) {
	signer := attest.NewSigner(fixedKey("a"))
	bob := attest.Party{Principal: "user:https://issuer.example|bob", Profile: "user"}
	run := attest.Run{Namespace: "deploy", WorkflowID: "ship-1", RunID: "run-2", WorkflowType: "deploy", FirstRunID: "run-1"}
	good := func() attest.Statement {
		s := typical()
		s.Edge, s.Originator, s.Actor, s.Chain, s.Reason = attest.EdgeAdopt, bob, bob, nil, "alice left"
		s.Binding = attest.Binding{Namespace: "deploy", WorkflowID: "ship-1", RunID: "run-1", Name: attest.AdoptSignal}
		return s
	}
	for what, c := range map[string]struct {
		change func(*attest.Statement)
		want   bool
	}{
		"the first run's":       {func(*attest.Statement) {}, true},
		"another run's":         {func(s *attest.Statement) { s.Binding.RunID = "run-9" }, false},
		"another workflow's":    {func(s *attest.Statement) { s.Binding.WorkflowID = "ship-2" }, false},
		"another namespace's":   {func(s *attest.Statement) { s.Binding.Namespace = "payments" }, false},
		"a signal of that name": {func(s *attest.Statement) { s.Edge = attest.EdgeSignal }, false},
		"by a program": {func(s *attest.Statement) {
			s.Originator.Principal = "client:https://issuer.example|x"
			s.Actor = s.Originator
		}, false},
		"through an agent": {func(s *attest.Statement) {
			s.Actor = attest.Party{Principal: "client:https://issuer.example|agent", Profile: "ai_agent"}
		}, false},
		"without a reason": {func(s *attest.Statement) { s.Reason = " " }, false},
		"by who began it": {func(s *attest.Statement) {
			s.Originator.Principal = "user:https://issuer.example|alice"
			s.Actor = s.Originator
		}, false},
	} {
		s := good()
		c.change(&s)
		v := mustVerify(t, signer, s)
		if err := v.CheckAdoption(run, "user:https://issuer.example|alice"); (err == nil) != c.want {
			t.Errorf("%s: %v", what, err)
		}
		if v.CheckRun(run) == nil {
			t.Errorf("%s: it passes for a start", what)
		}
		if s.Edge == attest.EdgeAdopt && v.CheckCall(attest.EdgeSignal, run, "approve") == nil {
			t.Errorf("%s: it passes for another signal", what)
		}
	}
	for what, change := range map[string]func(*attest.Statement){"no run": func(s *attest.Statement) { s.Binding.RunID = "" }, "another signal": func(s *attest.Statement) { s.Binding.Name = "approve" }} {
		s := good()
		change(&s)
		if _, err := signer.Sign(s); err == nil {
			t.Errorf("an adoption with %s is signed", what)
		}
	}
}
