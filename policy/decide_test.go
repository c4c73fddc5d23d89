package policy

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

const acme = "http://127.0.0.1:9080/oauth2/default"

func person(login string, groups ...string) *identity.Claims {
	return &identity.Claims{Issuer: acme, Kind: identity.User, ID: "00u" + login, Login: login + "@acme.example",
		ClientID: "0oabailiwickcli00001", Groups: append(groups, "Everyone"), Scopes: []string{"openid", "temporal"}}
}

func machine(id string) *identity.Claims {
	return &identity.Claims{Issuer: acme, Kind: identity.Client, ID: id, Login: id, ClientID: id, Scopes: []string{"temporal"}}
}

// The people and machines of the development org, as the starter set sees them.
var (
	alice  = person("alice", "temporal:deploy:write", "temporal:payments:read")
	bob    = person("bob", "temporal:payments:write")
	carol  = person("carol", "temporal:payments:admin", "temporal:deploy:admin", "temporal:default:admin", "security")
	dave   = person("dave", "temporal:default:read", "contractors")
	erin   = person("erin")
	mallet = person("mallet", "temporal:default:admin", "contractors")
	worker = machine("0oadeployworker00001")
	agent  = machine("0oareleaseagent00001")
)

// starter opens an engine over the starter set plus the given extra files (name, text, name, text …).
func starter(t testing.TB, extra ...string) *Engine {
	t.Helper()
	dir := t.TempDir()
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(extra); i += 2 {
		write(t, filepath.Join(dir, extra[i]), extra[i+1])
	}
	return openEngine(t, dir)
}

func ask(who *identity.Claims, action, namespace, reason string) Request {
	return Request{Principal: who, Action: action, Resource: Resource{Namespace: namespace, WorkflowID: "w", TaskQueue: "q", ScheduleID: "s"},
		Context: Context{Now: time.Unix(1_800_000_000, 0), Reason: reason}}
}

func TestStarterDecisions(t *testing.T) {
	e := starter(t)
	const yes = CodeAllowed
	for _, c := range []struct {
		who       *identity.Claims
		actions   string
		namespace string
		reason    string
		want      Code
		missing   string
		policy    string // one that must be named
	}{
		// read
		{alice, "ListWorkflowExecutions CountWorkflowExecutions GetWorkflowExecutionHistory GetWorkflowExecutionHistoryReverse DescribeWorkflowExecution QueryWorkflow ListSchedules DescribeTaskQueue DescribeNamespace Operator.ListSearchAttributes", "payments", "", yes, "", "read-role"},
		{alice, "StartWorkflowExecution SignalWorkflowExecution CreateSchedule UpdateWorkerVersioningRules StartBatchOperation", "payments", "why", CodeNoPermission, "write in payments", ""},
		{alice, "PollWorkflowTaskQueue RespondWorkflowTaskCompleted", "payments", "", CodeNoPermission, "worker in payments", ""},
		{alice, "UpdateNamespace Operator.AddSearchAttributes", "payments", "", CodeNoPermission, "admin in payments", ""},
		{alice, "ListWorkflowExecutions DescribeNamespace QueryWorkflow", "default", "", CodeNoPermission, "read in default", ""},
		// write
		{alice, "StartWorkflowExecution SignalWithStartWorkflowExecution UpdateWorkflowExecution TerminateWorkflowExecution ResetWorkflowExecution PatchSchedule ExecuteMultiOperation PauseActivity QueryWorkflow", "deploy", "", yes, "", "write-role"},
		{alice, "PollActivityTaskQueue RecordActivityTaskHeartbeat RespondActivityTaskCompleted", "deploy", "", CodeNoPermission, "worker in deploy", ""},
		{alice, "Operator.DeleteNamespace DeprecateNamespace", "deploy", "", CodeNoPermission, "admin in deploy", ""},
		{bob, "StartWorkflowExecution SignalWorkflowExecution", "payments", "", yes, "", "write-role"},
		{bob, "TerminateWorkflowExecution DeleteWorkflowExecution ResetWorkflowExecution StartBatchOperation DeleteSchedule", "payments", "", CodeForbidden, "", "payments-stop-needs-reason"},
		{bob, "TerminateWorkflowExecution", "payments", " \t\n", CodeForbidden, "", "payments-stop-needs-reason"},
		{bob, "TerminateWorkflowExecution DeleteWorkflowExecution StartBatchOperation", "payments", "stuck since Monday", yes, "", "write-role"},
		{bob, "StartWorkflowExecution", "deploy", "", CodeNoPermission, "write in deploy", ""},
		// admin
		{carol, "StartWorkflowExecution PollWorkflowTaskQueue UpdateNamespace Operator.DeleteNamespace Operator.RemoveSearchAttributes DescribeNamespace", "payments", "", yes, "", "admin-role"},
		{carol, "TerminateWorkflowExecution", "payments", "", CodeForbidden, "", "payments-stop-needs-reason"},
		{carol, "RegisterNamespace Operator.CreateNexusEndpoint Admin", "", "", CodeNoPermission, "admin in every namespace", ""},
		{carol, "Operator.ListClusters Operator.ListNexusEndpoints", "", "", CodeNoPermission, "read in every namespace", ""},
		{carol, "UpdateNamespace", "temporal-system", "", CodeNoPermission, "admin in temporal-system", ""},
		// A namespace that a cluster action mentions does not bring the caller's role in it to bear.
		{carol, "RegisterNamespace Operator.AddOrUpdateRemoteCluster", "payments", "", CodeNoPermission, "admin in every namespace", ""},
		// everyone
		{erin, "GetSystemInfo GetClusterInfo ListNamespaces GetSearchAttributes", "", "", yes, "", "cluster-basics"},
		{erin, "ListWorkflowExecutions", "payments", "", CodeNoPermission, "read in payments", ""},
		{erin, "StartWorkflowExecution", "payments", "", CodeNoPermission, "write in payments", ""},
		{worker, "GetSystemInfo ListNamespaces", "", "", yes, "", "cluster-basics"},
		// contractors
		{dave, "ListWorkflowExecutions QueryWorkflow", "default", "", yes, "", "read-role"},
		{dave, "StartWorkflowExecution", "default", "", CodeForbidden, "", "contractors-only-look"},
		{mallet, "StartWorkflowExecution PollActivityTaskQueue UpdateNamespace CreateSchedule", "default", "please", CodeForbidden, "", "contractors-only-look"},
		{mallet, "DescribeNamespace ListSchedules", "default", "", yes, "", "admin-role"},
		// worker
		{worker, "PollWorkflowTaskQueue PollActivityTaskQueue PollNexusTaskQueue RespondWorkflowTaskCompleted RespondWorkflowTaskFailed RespondActivityTaskCompleted RespondActivityTaskFailed RespondActivityTaskCanceled RespondQueryTaskCompleted RespondNexusTaskCompleted RecordActivityTaskHeartbeat RecordActivityTaskHeartbeatById RecordWorkerHeartbeat ShutdownWorker ResetStickyTaskQueue", "deploy", "", yes, "", "worker-role"},
		{worker, "Command.StartChildWorkflowExecution Command.SignalExternalWorkflowExecution Command.RequestCancelExternalWorkflowExecution Command.ScheduleNexusOperation Command.ContinueAsNewWorkflowExecution", "deploy", "", yes, "", "worker-role"},
		{worker, "DescribeNamespace", "deploy", "", yes, "", "worker-starts"},
		{worker, "GetWorkflowExecutionHistory", "deploy", "", yes, "", "worker-replays"},
		{worker, "DescribeTaskQueue GetWorkerVersioningRules DescribeWorkflowExecution GetWorkflowExecutionHistoryReverse QueryWorkflow ListSchedules", "deploy", "", CodeNoPermission, "read in deploy", ""},
		{worker, "SignalWithStartWorkflowExecution UpdateWorkflowExecution CreateSchedule StartBatchOperation StartNexusOperationExecution", "deploy", "", CodeNoPermission, "write in deploy", ""},
		{alice, "Command.StartChildWorkflowExecution", "deploy", "", CodeNoPermission, "worker in deploy", ""},
		{worker, "StartWorkflowExecution SignalWorkflowExecution TerminateWorkflowExecution", "deploy", "", CodeNoPermission, "write in deploy", ""},
		{worker, "ListWorkflowExecutions", "deploy", "", CodeNoPermission, "read in deploy", ""},
		{worker, "PollWorkflowTaskQueue RespondActivityTaskCompleted", "payments", "", CodeNoPermission, "worker in payments", ""},
		{worker, "GetWorkflowExecutionHistory", "payments", "", CodeNoPermission, "read in payments", ""},
		{worker, "UpdateNamespace", "deploy", "", CodeForbidden, "", "machines-never-administer"},
		// agent
		{agent, "StartWorkflowExecution DescribeWorkflowExecution", "deploy", "", yes, "", "write-role"},
		{agent, "StartWorkflowExecution", "payments", "", CodeNoPermission, "write in payments", ""},
		{agent, "UpdateNamespace", "deploy", "", CodeForbidden, "", "agents-never-administer"},
		// nonsense
		{carol, "StartWorkflow Nope read operate Operator.Admin Admin.X", "payments", "", CodeUnknown, "", ""},
		{carol, "ListWorkflowExecutions", "pay/ments", "", CodeNoPermission, "", ""},
		{carol, "ListWorkflowExecutions", "payments\n", "", CodeNoPermission, "", ""},
		{carol, "ListWorkflowExecutions", "", "", CodeNoPermission, "read in every namespace", ""},
	} {
		for action := range strings.FieldsSeq(c.actions) {
			d := e.Decide(ask(c.who, action, c.namespace, c.reason))
			if d.Code != c.want || d.Allow != (c.want == yes) || d.Missing != c.missing || c.policy != "" && !slices.Contains(d.Policies, c.policy) {
				t.Errorf("%s %s in %q: got %+v, want %s missing %q policy %q", c.who.Login, action, c.namespace, d, c.want, c.missing, c.policy)
			}
			if !d.Allow && d.Missing == "" && (len(d.Reasons) == 0 || d.Reasons[0] == "") {
				t.Errorf("%s %s in %q: denied without a reason: %+v", c.who.Login, action, c.namespace, d)
			}
			if d.PolicyDigest != e.Status().Digest || len(d.PolicyDigest) != 64 {
				t.Errorf("digest %q", d.PolicyDigest)
			}
		}
	}
}

// Every action is decided for every sort of principal, and none by accident: the count of allowed actions per role is the table's.
func TestRolesCoverTheTable(t *testing.T) {
	e := starter(t)
	count := func(want func(Action) bool) (n int) {
		for _, a := range Actions() {
			if want(a) {
				n++
			}
		}
		return n
	}
	basics := 4
	inNamespace := func(a Action) bool { return a.Scope != ScopeCluster }
	for who, want := range map[*identity.Claims]int{
		person("r", "temporal:n:read"):   basics + count(func(a Action) bool { return inNamespace(a) && a.Access == Read }),
		person("w", "temporal:n:write"):  basics + count(func(a Action) bool { return inNamespace(a) && (a.Access == Read || a.Access == Operate) }),
		person("k", "temporal:n:worker"): basics + 2 + count(func(a Action) bool { return a.Access == Work }),
		// A request that says neither what it asks for nor who asks is none.
		person("p", "temporal:n:approver"): basics + count(func(a Action) bool { return inNamespace(a) && a.Access == Delegate && a.Name != AccessRequest }),
		person("a", "temporal:n:admin"):    basics + count(inNamespace) - 1,
		person("none"):                     basics,
	} {
		got := 0
		for _, a := range Actions() {
			if e.Decide(ask(who, a.Name, "n", "because")).Allow {
				got++
			}
		}
		if got != want {
			t.Errorf("%s may do %d actions, want %d", who.Login, got, want)
		}
	}
}

func TestClusterWideRoles(t *testing.T) {
	e := starter(t, RolesFile, "version: 1\ngroups:\n- name: platform\n  roles: { '*': admin }\n- name: auditors\n  roles: { '*': read, deploy: [write, worker] }\n")
	platform, auditor := person("p", "platform"), person("q", "auditors")
	for _, a := range Actions() {
		if a.Name == AccessRequest {
			continue // says nothing of what it asks for
		}
		if d := e.Decide(ask(platform, a.Name, "anything", "because")); !d.Allow {
			t.Errorf("platform admin may not %s: %+v", a.Name, d)
		}
		d := e.Decide(ask(auditor, a.Name, "anything", "because"))
		if d.Allow != (a.Access == Read) {
			t.Errorf("auditor %s: %+v", a.Name, d)
		}
	}
	if visible, all := e.NamespacesFor(auditor); !all || strings.Join(visible, " ") != "deploy" {
		t.Errorf("got %v %v", visible, all)
	}
	d := e.Decide(ask(auditor, "UpdateNamespace", "deploy", ""))
	if d.Missing != "admin in deploy" || !strings.Contains(d.Reasons[0], "you have read and worker and write there") {
		t.Errorf("got %+v", d)
	}
}

func TestNamespacesFor(t *testing.T) {
	e := starter(t)
	for _, c := range []struct {
		who  *identity.Claims
		want string
	}{
		{alice, "deploy payments"}, {carol, "default deploy payments"}, {erin, ""}, {worker, "deploy"}, {agent, "deploy"},
		{nil, ""}, {&identity.Claims{}, ""},
	} {
		visible, all := e.NamespacesFor(c.who)
		if strings.Join(visible, " ") != c.want || all {
			t.Errorf("%v: got %v %v, want %s", c.who, visible, all, c.want)
		}
	}
}

func TestPrincipalMustBeSomebody(t *testing.T) {
	e := starter(t)
	for _, c := range []*identity.Claims{nil, {}, {Kind: identity.User, ID: "x"}, {Kind: identity.User, Issuer: acme},
		{Kind: "temporal", ID: "internal", Issuer: acme, Groups: []string{"temporal:payments:admin"}}} {
		if d := e.Decide(ask(c, "GetSystemInfo", "", "")); d.Allow || d.Code != CodeNoPermission {
			t.Errorf("%+v: %+v", c, d)
		}
	}
}

// A person who signs in through a client's application gets none of the client's roles; the agent mark holds for both.
func TestClientRolesAreTheClients(t *testing.T) {
	e := starter(t)
	through := person("erin")
	through.ClientID = "0oareleaseagent00001"
	if d := e.Decide(ask(through, "StartWorkflowExecution", "deploy", "")); d.Code != CodeNoPermission {
		t.Errorf("got %+v", d)
	}
	admin := person("carol", "temporal:deploy:admin")
	admin.ClientID = "0oareleaseagent00001"
	if d := e.Decide(ask(admin, "UpdateNamespace", "deploy", "")); d.Code != CodeForbidden || !slices.Contains(d.Policies, "agents-never-administer") {
		t.Errorf("got %+v", d)
	}
	// A user whose uid equals a client's id is still a user.
	posing := person("x")
	posing.ID = "0oadeployworker00001"
	if d := e.Decide(ask(posing, "PollWorkflowTaskQueue", "deploy", "")); d.Allow {
		t.Errorf("got %+v", d)
	}
}

func TestOutermostActorDecides(t *testing.T) {
	e := starter(t)
	for _, c := range []struct {
		actors []identity.Actor
		want   Code
	}{
		{nil, CodeAllowed},
		{[]identity.Actor{{Subject: "a", Profile: "ai_agent"}}, CodeForbidden},
		{[]identity.Actor{{Subject: "s", Profile: "user"}, {Subject: "a", Profile: "ai_agent"}}, CodeAllowed}, // nested: for audit only
	} {
		who := person("carol", "temporal:deploy:admin")
		who.Actors = c.actors
		if d := e.Decide(ask(who, "UpdateNamespace", "deploy", "")); d.Code != c.want {
			t.Errorf("%v: %+v", c.actors, d)
		}
	}
}

func TestObligation(t *testing.T) {
	e := starter(t, "extra.cedar", `@id("erin-terminates") @reason("On-call may stop deploys") @obligation("require_reason")
permit (principal == User::"`+acme+`|00uerin", action == Action::"TerminateWorkflowExecution", resource in Namespace::"deploy");`)
	for reason, want := range map[string]Code{"": CodeObligation, "  ": CodeObligation, "it loops": CodeAllowed} {
		d := e.Decide(ask(erin, "TerminateWorkflowExecution", "deploy", reason))
		if d.Code != want || d.Allow != (want == CodeAllowed) || !slices.Equal(d.Obligations, []string{RequireReason}) ||
			!slices.Equal(d.Policies, []string{"erin-terminates"}) || d.Reasons[0] != "On-call may stop deploys" {
			t.Errorf("%q: %+v", reason, d)
		}
		if want == CodeObligation && (!strings.Contains(strings.Join(d.Reasons, " "), "must state a reason") || !strings.Contains(d.Hint, "--reason")) {
			t.Errorf("%q: %+v", reason, d)
		}
	}
	// An obligation binds even when another permit without one matches too.
	if d := e.Decide(ask(erinWith("temporal:deploy:write"), "TerminateWorkflowExecution", "deploy", "")); d.Code != CodeObligation {
		t.Errorf("got %+v", d)
	}
}

func erinWith(groups ...string) *identity.Claims { return person("erin", groups...) }

// Cedar itself skips a forbid that fails to evaluate and would allow these calls.
func TestFailingPolicyDenies(t *testing.T) {
	for name, text := range map[string]string{
		"forbid": `@id("broken") forbid (principal, action == Action::"StartWorkflowExecution", resource) when { 9223372036854775807 + 1 > 0 };`,
		"permit": `@id("broken") permit (principal, action == Action::"StartWorkflowExecution", resource) when { principal.id == "x" || 9223372036854775807 + 1 > 0 };`,
		"aged":   `@id("broken") forbid (principal, action == Action::"StartWorkflowExecution", resource) when { context has auth_age && context.auth_age * 9223372036854775807 > 5 };`,
	} {
		e := starter(t, "extra.cedar", text)
		who := person("alice", "temporal:deploy:write")
		who.AuthTime = time.Unix(1_800_000_000-60, 0)
		d := e.Decide(ask(who, "StartWorkflowExecution", "deploy", ""))
		if d.Allow || d.Code != CodePolicyError || !slices.Equal(d.Policies, []string{"broken"}) || !strings.Contains(d.Reasons[0], "extra.cedar:1") {
			t.Errorf("%s: %+v", name, d)
		}
		if d := e.Decide(ask(who, "SignalWorkflowExecution", "deploy", "")); !d.Allow {
			t.Errorf("%s spoils another action: %+v", name, d)
		}
	}
}

// Each attribute of context and resources reaches policies, absent ones are absent.
func TestWhatPoliciesSee(t *testing.T) {
	who := person("alice", "temporal:deploy:write")
	who.AuthTime, who.ACR = time.Unix(1_800_000_000-60, 0), "urn:okta:loa:2fa:any"
	full := ask(who, "StartWorkflowExecution", "deploy", "a reason")
	full.Resource = Resource{Namespace: "deploy", WorkflowID: "web-1", WorkflowType: "Deploy", RunID: "r1", TaskQueue: "q1", ScheduleID: "s1",
		Signal: "go", Update: "up", Query: "state", Endpoint: "ep"}
	full.Context = Context{Now: full.Context.Now, Reason: full.Context.Reason, SourceIP: netip.MustParseAddr("::ffff:10.1.2.3"), Granted: true, Grant: "g1", BreakGlass: true,
		AMR: []string{"pwd", "mfa"}, Role: "write", Wanted: []string{"TerminateWorkflowExecution"}, Minutes: 90, Requester: "user:" + acme + "|00ubob"}
	bare := ask(person("alice"), "StartWorkflowExecution", "deploy", "")
	bare.Resource = Resource{Namespace: "deploy", WorkflowID: "web-1"}
	bare.Context.Grant = "g1" // named, and not proven

	for _, c := range []struct {
		action    string
		condition string
		full      bool
		bare      bool
	}{
		{"StartWorkflowExecution", `context.now == datetime("2027-01-15T08:00:00Z")`, true, true},
		{"StartWorkflowExecution", `context.weekday == 5 && context.weekday <= 5`, true, true},
		{"StartWorkflowExecution", `context has auth_age && context.auth_age == 60`, true, false},
		{"StartWorkflowExecution", `context has acr && context.acr == "urn:okta:loa:2fa:any"`, true, false},
		{"StartWorkflowExecution", `context has reason && context.reason == "a reason"`, true, false},
		{"StartWorkflowExecution", `context has grant && context.grant == "g1"`, true, false},
		{"StartWorkflowExecution", `context.granted`, true, false},
		{"StartWorkflowExecution", `context.break_glass`, true, false},
		{"StartWorkflowExecution", `context.amr.contains("mfa")`, true, false},
		{"StartWorkflowExecution", `context.amr == ["mfa", "pwd"]`, true, false},
		{"Access.Request", `context has role && context.role == "write"`, true, false},
		{"Access.Request", `context has wanted && context.wanted.contains("TerminateWorkflowExecution")`, true, false},
		{"Access.Request", `context has minutes && context.minutes == 90 && context.minutes <= 90`, true, false},
		{"Access.Request", `context has requester && context.requester == "user:` + acme + `|00ubob"`, true, false},
		{"Access.Request", `principal.name == "user:` + acme + `|00ualice" && context has requester && context.requester != principal.name`, true, false},
		{"Access.Approve", `principal.approver.contains(resource.namespace)`, false, false},
		{"StartWorkflowExecution", `context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8"))`, true, false},
		{"StartWorkflowExecution", `context.client_id == "0oabailiwickcli00001"`, true, true},
		{"StartWorkflowExecution", `context.scopes.contains("temporal")`, true, true},
		{"StartWorkflowExecution", `context.agent`, false, false},
		{"SignalWorkflowExecution", `context has signal && context.signal == "go"`, true, false},
		{"UpdateWorkflowExecution", `context has update && context.update == "up"`, true, false},
		{"QueryWorkflow", `context has query && context.query == "state"`, true, false},
		{"StartNexusOperationExecution", `context has endpoint && context.endpoint == "ep"`, true, false},
		{"StartWorkflowExecution", `resource.id == "web-1" && resource == Workflow::"deploy/web-1"`, true, true},
		{"StartWorkflowExecution", `resource has type && resource.type == "Deploy"`, true, false},
		{"StartWorkflowExecution", `resource has run_id && resource.run_id == "r1"`, true, false},
		{"StartWorkflowExecution", `resource has task_queue && resource.task_queue == "q1"`, true, false},
		{"StartWorkflowExecution", `resource.namespace.name == "deploy"`, true, true},
		{"StartWorkflowExecution", `resource in Namespace::"deploy" && resource in Cluster::"temporal"`, true, true},
		{"DescribeTaskQueue", `resource.name == "q1" && resource in Namespace::"deploy"`, true, false},
		{"CreateSchedule", `resource == Schedule::"deploy/s1" && resource has type && resource.type == "Deploy"`, true, false},
		{"CreateSchedule", `resource.id == "s1" && resource has workflow_id && resource.workflow_id == "web-1"`, true, false},
		{"ListWorkflowExecutions", `resource == Namespace::"deploy" && resource.namespace == resource && resource.name == "deploy"`, true, true},
		{"GetSystemInfo", `resource == Cluster::"temporal" && resource.namespace == Namespace::""`, true, true},
		{"StartWorkflowExecution", `principal in Group::"temporal:deploy:write"`, true, false},
		{"StartWorkflowExecution", `principal in Group::"Temporal:deploy:write"`, false, false},
		{"StartWorkflowExecution", `principal.issuer == "` + acme + `" && principal.id == "00ualice"`, true, true},
		{"StartWorkflowExecution", `principal.write == [Namespace::"deploy"] && !principal.everywhere.contains("write")`, true, false},
		{"StartWorkflowExecution", `action in Action::"operate" && !(action in Action::"read")`, true, true},
		{"StartWorkflowExecution", `Workflow::"payments/x" in Namespace::"payments" && Workflow::"payments/x".namespace.name == "payments"`, true, true},
		{"StartWorkflowExecution", `{whole: context}.whole has reason`, true, false}, // the context as a value
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, RolesFile), "version: 1\npatterns:\n- group: 'temporal:{namespace}:{role}'\n")
		write(t, filepath.Join(dir, "one.cedar"), `@id("one") permit (principal, action == Action::"`+c.action+`", resource) when { `+c.condition+` };`)
		e, err := Open(dir, Options{})
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		for _, request := range []struct {
			Request
			want bool
		}{{full, c.full}, {bare, c.bare}} {
			request.Action = c.action
			if d := e.Decide(request.Request); d.Allow != request.want || d.Code == CodePolicyError {
				t.Errorf("%s: %s: got %+v, want %v", c.action, c.condition, d, request.want)
			}
		}
	}
}

func TestDecisionJSON(t *testing.T) {
	d := starter(t).Decide(ask(erin, "StartWorkflowExecution", "payments", ""))
	d.PolicyDigest = "d"
	got, err := json.Marshal(d)
	want := `{"allow":false,"code":"no_permission","missing":"write in payments","hint":"ask for the group temporal:payments:write","policy_digest":"d"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s %v", got, err)
	}
}
