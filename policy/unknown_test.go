package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/identity"
)

const byType = `
@id("stop-nightly") @reason("Nightly is stopped by nobody")
forbid (principal, action == Action::"TerminateWorkflowExecution", resource in Namespace::"deploy")
when { resource has type && resource.type == "Nightly" };

@id("one-run") @reason("That one stays")
forbid (principal, action == Action::"SignalWorkflowExecution", resource == Workflow::"deploy/keep");

@id("prod-signals") permit (principal in Group::"oncall", action == Action::"SignalWorkflowExecution", resource)
when { resource.search_attributes.contains("env=prod") };

@id("no-nightly-schedules") forbid (principal, action in [Action::"CreateSchedule", Action::"DeleteSchedule"], resource in Namespace::"deploy")
when { resource has type && resource.type == "Nightly" } unless { principal.admin.contains(resource.namespace) };

@id("no-cron") @reason("Only admins start cron workflows")
forbid (principal, action in [Action::"StartWorkflowExecution", Action::"CreateSchedule"], resource in Namespace::"deploy")
when { resource has cron } unless { principal.admin.contains(resource.namespace) };
`

func TestUnresolved(t *testing.T) {
	e := starter(t, "extra.cedar", byType)
	oncall := person("o", "oncall")
	for name, c := range map[string]struct {
		who    *identity.Claims
		action string
		at     Resource
		want   Code
		policy string
	}{
		"told":                   {alice, "TerminateWorkflowExecution", Resource{WorkflowID: "w", WorkflowType: "Deploy"}, CodeAllowed, "write-role"},
		"told, forbidden":        {alice, "TerminateWorkflowExecution", Resource{WorkflowID: "w", WorkflowType: "Nightly"}, CodeForbidden, "stop-nightly"},
		"not looked up":          {alice, "TerminateWorkflowExecution", Resource{WorkflowID: "w"}, CodeUnresolved, "stop-nightly"},
		"a batch":                {alice, "TerminateWorkflowExecution", Resource{Unresolved: true}, CodeUnresolved, "stop-nightly"},
		"a batch, type told":     {alice, "TerminateWorkflowExecution", Resource{WorkflowType: "Deploy", Unresolved: true}, CodeAllowed, "write-role"},
		"nobody looks":           {alice, "ResetWorkflowExecution", Resource{Unresolved: true}, CodeAllowed, "write-role"},
		"elsewhere":              {bob, "TerminateWorkflowExecution", Resource{Namespace: "payments", Unresolved: true}, CodeAllowed, "write-role"},
		"no role anyway":         {bob, "SignalWorkflowExecution", Resource{WorkflowID: "w", Unresolved: true}, CodeNoPermission, ""},
		"a named run":            {alice, "SignalWorkflowExecution", Resource{WorkflowID: "keep", WorkflowType: "T"}, CodeForbidden, "one-run"},
		"another run":            {alice, "SignalWorkflowExecution", Resource{WorkflowID: "w", WorkflowType: "T"}, CodeAllowed, "write-role"},
		"a batch may hit it":     {alice, "SignalWorkflowExecution", Resource{Unresolved: true}, CodeUnresolved, "one-run"},
		"permit by attribute":    {oncall, "SignalWorkflowExecution", Resource{Namespace: "payments", WorkflowID: "w", WorkflowType: "T", SearchAttributes: []string{"env", "env=prod"}}, CodeAllowed, "prod-signals"},
		"without it":             {oncall, "SignalWorkflowExecution", Resource{Namespace: "payments", WorkflowID: "w", WorkflowType: "T", SearchAttributes: []string{"env=test"}}, CodeNoPermission, ""},
		"unknown":                {oncall, "SignalWorkflowExecution", Resource{Namespace: "payments", WorkflowID: "w"}, CodeUnresolved, "prod-signals"},
		"writers need it not":    {bob, "SignalWorkflowExecution", Resource{Namespace: "payments", WorkflowID: "w"}, CodeAllowed, "write-role"},
		"cron":                   {alice, "StartWorkflowExecution", Resource{WorkflowID: "w", WorkflowType: "T", Cron: "@daily"}, CodeForbidden, "no-cron"},
		"no cron":                {alice, "StartWorkflowExecution", Resource{WorkflowID: "w", WorkflowType: "T"}, CodeAllowed, "write-role"},
		"cron by an admin":       {carol, "StartWorkflowExecution", Resource{WorkflowID: "w", WorkflowType: "T", Cron: "@daily"}, CodeAllowed, "admin-role"},
		"a schedule's trigger":   {alice, "StartWorkflowExecution", Resource{ScheduleID: "s", Unresolved: true}, CodeUnresolved, "no-cron"},
		"triggered by an admin":  {carol, "StartWorkflowExecution", Resource{ScheduleID: "s", Unresolved: true}, CodeAllowed, "admin-role"},
		"a schedule that exists": {alice, "DeleteSchedule", Resource{ScheduleID: "s"}, CodeUnresolved, "no-nightly-schedules"},
		"another's schedule":     {carol, "DeleteSchedule", Resource{ScheduleID: "s"}, CodeAllowed, "admin-role"},
		"a start has no type":    {alice, "StartWorkflowExecution", Resource{WorkflowID: "w"}, CodeAllowed, "write-role"},
	} {
		req := ask(c.who, c.action, "deploy", "because")
		c.at.Namespace = strings.TrimSpace(c.at.Namespace)
		if c.at.Namespace == "" {
			c.at.Namespace = "deploy"
		}
		req.Resource = c.at
		d := e.Decide(req)
		if d.Code != c.want || c.policy != "" && !slices.Contains(d.Policies, c.policy) {
			t.Errorf("%s: %+v, want %s by %s", name, d, c.want, c.policy)
		}
		if d.Code == CodeUnresolved && (len(d.Reasons) != 1 || !strings.Contains(d.Reasons[0], c.policy) || d.Hint == "") {
			t.Errorf("%s: says too little: %+v", name, d)
		}
	}
}

func TestNeeds(t *testing.T) {
	e := starter(t, "extra.cedar", byType)
	for _, c := range []struct {
		action, namespace string
		want              bool
	}{
		{"TerminateWorkflowExecution", "deploy", true},
		{"TerminateWorkflowExecution", "payments", false},
		{"SignalWorkflowExecution", "payments", true}, // a policy for any namespace
		{"SignalWorkflowExecution", "unheard-of", true},
		{"ResetWorkflowExecution", "deploy", false},
		{"StartWorkflowExecution", "deploy", false}, // cron is the caller's
		{"GetWorkflowExecutionHistory", "deploy", false},
		{"Nope", "deploy", false},
	} {
		if got := e.Needs(c.action, c.namespace); got != c.want {
			t.Errorf("%s in %s: %v", c.action, c.namespace, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { e.Needs("TerminateWorkflowExecution", "deploy") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const confinedRoles = "version: 1\npatterns:\n- group: 'temporal:{namespace}:{role}'\nclients:\n" +
	"- id: 0oadeployworker00001\n  roles: { deploy: worker, payments: worker }\n  task_queues: [deploy, canary]\n" +
	"- id: 0oareleaseagent00001\n  roles: { payments: worker }\n"

// A worker that roles.yaml confines takes tasks from its queues only and replays only their runs.
func TestConfinedWorker(t *testing.T) {
	e := starter(t, RolesFile, confinedRoles)
	also := machine("0oadeployworker00001") // has the role in deploy without a limit, by its group
	also.Groups = []string{"temporal:deploy:worker"}
	for _, c := range []struct {
		who       *identity.Claims
		action    string
		namespace string
		queue     string
		want      Code
	}{
		{worker, "PollWorkflowTaskQueue", "deploy", "deploy", CodeAllowed},
		{worker, "PollActivityTaskQueue", "payments", "canary", CodeAllowed},
		{worker, "PollWorkflowTaskQueue", "deploy", "payments", CodeNoPermission},
		{worker, "PollNexusTaskQueue", "deploy", "deploy2", CodeNoPermission},
		{worker, "PollNexusTaskQueue", "deploy", "", CodeNoPermission},
		{worker, "RespondWorkflowTaskCompleted", "deploy", "deploy", CodeAllowed},
		{worker, "RespondWorkflowTaskCompleted", "deploy", "billing", CodeNoPermission},
		{worker, "RespondWorkflowTaskCompleted", "deploy", "", CodeNoPermission},
		{worker, "RecordActivityTaskHeartbeat", "deploy", "canary", CodeAllowed},
		{worker, "RecordActivityTaskHeartbeat", "deploy", "billing", CodeNoPermission},
		{worker, "Command.StartChildWorkflowExecution", "deploy", "elsewhere", CodeAllowed},
		{worker, "GetWorkflowExecutionHistory", "deploy", "canary", CodeAllowed},
		{worker, "GetWorkflowExecutionHistory", "deploy", "billing", CodeNoPermission},
		{worker, "GetWorkflowExecutionHistory", "deploy", "", CodeUnresolved},
		{worker, "PollWorkflowTaskQueue", "default", "deploy", CodeNoPermission},
		{agent, "PollWorkflowTaskQueue", "payments", "anything", CodeAllowed},
		{agent, "GetWorkflowExecutionHistory", "payments", "", CodeAllowed}, // its answer depends on nothing unknown
		{carol, "GetWorkflowExecutionHistory", "deploy", "", CodeAllowed},
		{also, "PollWorkflowTaskQueue", "deploy", "anything", CodeAllowed},
		{also, "PollWorkflowTaskQueue", "payments", "anything", CodeNoPermission},
	} {
		req := ask(c.who, c.action, c.namespace, "")
		req.Resource = Resource{Namespace: c.namespace, WorkflowID: "w", TaskQueue: c.queue}
		if c.queue != "" {
			req.Resource.WorkflowType = "T"
		}
		if d := e.Decide(req); d.Code != c.want {
			t.Errorf("%s %s %s/%s: %+v, want %s", c.who.Login, c.action, c.namespace, c.queue, d, c.want)
		}
	}
	for namespace, want := range map[string]bool{"deploy": true, "payments": true, "default": false} {
		if e.Needs("GetWorkflowExecutionHistory", namespace) != want {
			t.Errorf("Needs in %s is %v", namespace, !want)
		}
	}
	if d := e.Decide(ask(worker, "PollWorkflowTaskQueue", "deploy", "")); d.Missing != "worker in deploy" {
		t.Errorf("what a wider role would give is not named: %+v", d)
	}
}
