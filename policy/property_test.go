package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// dice makes policies and requests from few names, so that they meet often. Policies are not type-checked: some of them fail when
// they are evaluated, and those failures must be the same with and without the index.
type dice struct{ *rand.Rand }

func (d dice) of(options ...string) string { return options[d.IntN(len(options))] }

func (d dice) policy(id int, effect string) string {
	ns, group, user := d.of("a", "b", "c"), d.of("g1", "g2", "g3"), d.of("u1", "u2")
	principal := d.of("principal", "principal", `principal in Group::"`+group+`"`, `principal == User::"i|`+user+`"`, "principal is User", "principal is Client",
		`principal is User in Group::"`+group+`"`, `principal == Group::"`+group+`"`, `principal in User::"i|`+user+`"`, `principal == Client::"i|`+user+`"`)
	action := d.of("action", `action in Action::"`+d.of("read", "operate", "work", "administer", "delegate")+`"`, `action == Action::"`+d.action()+`"`,
		`action in Action::"`+d.action()+`"`, `action == Action::"operate"`,
		`action in [Action::"`+d.action()+`", Action::"`+d.of("read", "operate")+`", Action::"`+d.action()+`"]`)
	resource := d.of("resource", "resource", `resource in Namespace::"`+ns+`"`, `resource == Namespace::"`+ns+`"`, `resource == Workflow::"`+ns+`/w1"`,
		`resource in Workflow::"`+ns+`/w1"`, `resource == TaskQueue::"`+ns+`/q1"`, `resource in Cluster::"temporal"`, `resource == Cluster::"temporal"`,
		"resource is Workflow", `resource is Workflow in Namespace::"`+ns+`"`, `resource is Namespace in Cluster::"temporal"`)
	text := fmt.Sprintf("@id(\"p%d\") %s (%s, %s, %s)", id, effect, principal, action, resource)
	for range d.IntN(3) {
		text += " " + d.of("when", "unless") + " { " + d.condition(ns, group, 2) + " }"
	}
	return text + ";\n"
}

func (d dice) condition(ns, group string, depth int) string {
	if depth > 0 && d.IntN(3) == 0 {
		a, b := d.condition(ns, group, depth-1), d.condition(ns, group, depth-1)
		return d.of("("+a+") && ("+b+")", "("+a+") || ("+b+")", "!("+a+")", "if "+a+" then "+b+" else !("+a+")")
	}
	return d.of(
		`principal.write.contains(resource.namespace)`, `principal.everywhere.contains("admin")`, `context has reason`, `context.agent`,
		`context.reason == "r"`, `resource has type && resource.type == "T"`, `resource.type == "T"`, `resource.id == "w1"`, `resource.name == "q1"`,
		`resource in Namespace::"`+ns+`"`, `principal in Group::"`+group+`"`, `action in Action::"read"`, `{x: context}.x has reason`,
		`context == {agent: false}`, `context has actor && context.actor == "agent"`, `context has request_digest`, `context has source_ip && context.source_ip.isLoopback()`, `context.now > datetime("2020-01-01")`,
		`context has auth_age && context.auth_age < 60`, `context.scopes.contains("s")`, `principal.id == "u1"`, `resource.namespace.name == "a"`,
		`Workflow::"a/w1" in Namespace::"a"`, `9223372036854775807 + 1 > 0`, `true`, `false`,
		`principal.confined.contains(resource.namespace) && resource is TaskQueue && !principal.queues.contains(resource)`,
		`resource has queue && principal.queues.contains(resource.queue)`, `principal.queues.contains(resource.queue)`,
		`resource.search_attributes.contains("env=prod")`, `resource has search_attributes`, `resource has cron`,
		`resource has versioning && resource.versioning like "pinned:*"`, `["T", "U"].contains(resource.type)`,
		`principal in [Group::"g1", Group::"g2"]`, `principal is User in Group::"g1"`, `resource is Workflow in Namespace::"a"`,
		`resource == Workflow::"a/w1"`, `resource in [Namespace::"a", Workflow::"b/w2"]`, `context.auth_age >= 5`, `context.weekday < 6`, `context.weekday > 5`, `context has acr`,
		`resource.namespace == Namespace::"a"`, `"T" == resource.type`, `principal.worker.contains(resource.namespace)`,
		`principal == User::"i|u1"`, `context.client_id like "*c"`, `context.signal == "go"`, `action in [Action::"read", Action::"Admin"]`,
		`context has nonsense`, `resource.run_id == "r1"`, `resource has workflow_id && resource.workflow_id != "w1"`, `principal.everywhere.contains("nonsense")`,
		`context.granted`, `!context.granted`, `context.break_glass`, `context has granted && context.granted`, `context has grant`, `context.grant == "G"`, `context has break_glass`,
		`context.amr.contains("mfa")`, `context.amr.containsAll(["mfa", "pwd"])`, `context has amr`, `context.amr.isEmpty()`,
		`context has role && context.role == "write"`, `context.role == "admin"`, `["read", "write"].contains(context.role)`, `context.role like "w*"`,
		`context has wanted && context.wanted.contains("X")`, `context.wanted.contains("X")`, `context has wanted && ["X", "Y"].containsAll(context.wanted)`,
		`context has minutes && context.minutes <= 60`, `context.minutes > 60`, `context has requester && context.requester == principal.name`,
		`context.requester == "user:i|u1"`, `principal.name == "user:i|u1"`, `principal.approver.contains(resource.namespace)`, `principal.everywhere.contains("approver")`,
		`resource.id == ""`, `principal.write.isEmpty()`, `principal.`+d.of("read", "worker", "approver", "admin")+`.isEmpty()`, `principal.everywhere.isEmpty()`, `context.scopes.isEmpty()`,
		`context.wanted.isEmpty()`, `["X", "Z"].containsAll(context.amr)`, `context.wanted.containsAll(["X"])`, `resource.type == principal.id`, `context.reason == resource.id`, `principal.confined.isEmpty()`)
}

func (d dice) action() string {
	return d.of("StartWorkflowExecution", "DescribeWorkflowExecution", "PollWorkflowTaskQueue", "ListWorkflowExecutions", "GetSystemInfo", "UpdateNamespace", "Admin", "CreateSchedule", "Access.Request", "Access.Approve")
}

func (d dice) request() Request {
	claims := &identity.Claims{Issuer: "i", ID: d.of("u1", "u2"), Kind: identity.Kind(d.of("user", "user", "client")), ClientID: "c"}
	for _, g := range []string{"g1", "g2", "g3", "temporal:a:write", "temporal:b:read", "temporal:a:admin", "temporal:b:approver", "everything"} {
		if d.IntN(3) == 0 {
			claims.Groups = append(claims.Groups, g)
		}
	}
	if d.IntN(2) == 0 {
		claims.Scopes, claims.AuthTime = []string{"s"}, time.Unix(1_800_000_000-int64(d.IntN(100)), 0)
	}
	r := Request{Principal: claims, Action: d.action(), Context: Context{Now: time.Unix(1_800_000_000, 0), Reason: d.of("", "r", "q")},
		Resource: Resource{Namespace: d.of("a", "b", "c", ""), WorkflowID: d.of("w1", "w2"), WorkflowType: d.of("", "T"), TaskQueue: d.of("", "q1", "q2"), ScheduleID: d.of("s1", "w1"),
			RunID: d.of("", "r1"), Cron: d.of("", "@daily"), Versioning: d.of("", "pinned:1", "auto_upgrade"), Signal: d.of("", "go")}}
	if d.IntN(2) == 0 {
		r.Resource.SearchAttributes = []string{d.of("env=prod", "env=test"), "env"}
	}
	if d.IntN(2) == 0 {
		claims.Actors, r.Context.RequestDigest = []identity.Actor{{Subject: d.of("agent", "other")}}, d.of("", "d1")
	}
	if d.IntN(2) == 0 {
		r.Context.SourceIP = netip.MustParseAddr(d.of("127.0.0.1", "::1", "10.0.0.1", "fe80::1%eth0"))
	}
	if d.IntN(2) == 0 {
		r.Context.Granted, r.Context.Grant, r.Context.BreakGlass = d.IntN(2) == 0, d.of("", "G"), d.IntN(2) == 0
		r.Context.AMR = [][]string{nil, {"pwd"}, {"pwd", "mfa"}, {"mfa", "mfa"}}[d.IntN(4)]
	}
	if d.IntN(2) == 0 {
		r.Context.Role, r.Context.Minutes, r.Context.Requester = d.of("", "write", "admin"), []int{0, 60, 61, -1}[d.IntN(4)], d.of("", "user:i|u1", "user:i|u2")
		r.Context.Manager = d.of("", "user:i|u1", "user:i|u2")
		r.Context.Wanted = [][]string{nil, {"X"}, {"X", "Z"}}[d.IntN(3)]
	}
	return r
}

func (d dice) set(t *testing.T, n int) (*Set, []string) {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = d.policy(i, d.of("permit", "permit", "permit", "forbid"))
	}
	return unchecked(t, texts), texts
}

// diceRoles is the roles.yaml of the dice's people.
const diceRoles = "version: 1\npatterns:\n- group: 'temporal:{namespace}:{role}'\ngroups:\n- name: everything\n  roles: { '*': admin }\nclients:\n- id: u1\n  roles: { a: worker }\n  task_queues: [q1]\n"

// unchecked makes a set without the type check.
func unchecked(t testing.TB, texts []string) *Set {
	t.Helper()
	roles, problems := parseRoles([]byte(diceRoles))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	list, err := cedar.NewPolicyListFromBytes("x.cedar", []byte(strings.Join(texts, "")))
	if err != nil {
		t.Fatal(err)
	}
	rules := make([]*rule, len(list))
	for i, p := range list {
		rules[i] = newRule("x.cedar", p)
		if bad := rules[i].annotate(nil); len(bad) > 0 {
			t.Fatal(bad)
		}
	}
	s, err := newSet(rules, roles)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ids[T any](list []T, id func(T) cedar.PolicyID) string {
	var names []string
	for _, x := range list {
		names = append(names, string(id(x)))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func verdict(allow bool, d cedar.Diagnostic) string {
	return fmt.Sprint(allow, " by ", ids(d.Reasons, func(r cedar.DiagnosticReason) cedar.PolicyID { return r.PolicyID }),
		" failed ", ids(d.Errors, func(r cedar.DiagnosticError) cedar.PolicyID { return r.PolicyID }))
}

// verdict of our own evaluation, told as Cedar tells it.
func (q *question) verdict() string {
	by, allow := q.out.forbids, false
	if by.first == nil {
		by, allow = q.out.permits, q.out.permits.first != nil
	}
	return fmt.Sprint(allow, " by ", ids(by.all(), (*rule).pid), " failed ", ids(q.out.failed, func(f failure) cedar.PolicyID { return f.rule.pid() }))
}

// asked puts a request to a set, past the checks that come before, taking what it does not tell for absent as Cedar does.
func asked(s *Set, req *Request) *question {
	q := &question{}
	s.prepare(q, s.index.methods[req.Action], s.principal(req.Principal), req)
	q.unknown = looksNowhere
	q.ask()
	return q
}

// The index must change nothing but the time: same outcome, same policies, same failures as handing Cedar everything.
func TestIndexedEqualsUnindexed(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 2))}
	outcomes := map[string]int{}
	for range 250 {
		s, texts := d.set(t, 1+d.IntN(25))
		all := cedar.PolicyMap{}
		for id, r := range s.policies {
			all[id] = r.compiled
		}
		for range 40 {
			req := d.request()
			action := s.index.methods[req.Action]
			got := asked(s, &req)
			wantAllow, want := evaluateAll(s, all, action, &req)
			if got.verdict() != verdict(bool(wantAllow), want) {
				t.Fatalf("%+v of %+v\nours  %s\nCedar %s\n%s", req, req.Principal, got.verdict(), verdict(bool(wantAllow), want), strings.Join(texts, ""))
			}
			outcomes[string(s.decide(&req).Code)]++
		}
	}
	for _, code := range []Code{CodeAllowed, CodeNoPermission, CodeForbidden, CodePolicyError} {
		if outcomes[string(code)] < 200 {
			t.Errorf("the dice are loaded: %v", outcomes)
		}
	}
}

// No forbid that is added to a set makes anything allowed that was not.
func TestForbidNeverWidens(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 4))}
	narrowed := 0
	for range 200 {
		_, texts := d.set(t, 1+d.IntN(6))
		texts = append(texts, "@id(\"open\") permit (principal, action, resource);\n") // so that there is something to narrow
		s, more := unchecked(t, texts), d.policy(len(texts), "forbid")
		stricter := unchecked(t, append(slices.Clone(texts), more))
		for range 40 {
			req := d.request()
			before, after := s.decide(&req), stricter.decide(&req)
			if after.Allow && !before.Allow {
				t.Fatalf("%+v of %+v\nbefore %+v\nafter  %+v\n%s%s", req, req.Principal, before, after, strings.Join(texts, ""), more)
			}
			if before.Allow && !after.Allow {
				narrowed++
			}
		}
	}
	if narrowed < 100 {
		t.Errorf("only %d requests met the added forbid", narrowed)
	}
}

// A role in one namespace never opens another, whatever the starter set's policies.
func TestRolesStayInTheirNamespace(t *testing.T) {
	e := starter(t)
	d := dice{rand.New(rand.NewPCG(5, 6))}
	nobody := person("nobody")
	actions := Actions()
	for range 3000 {
		in, other := d.of("a", "a.b", "payments", "x-y"), d.of("b", "ab", "payment", "payments2", "a-b", "")
		who := person("x", "temporal:"+in+":"+d.of("read", "write", "worker", "approver", "admin"))
		action := actions[d.IntN(len(actions))].Name
		got, base := e.Decide(ask(who, action, other, "r")), e.Decide(ask(nobody, action, other, "r"))
		if got.Allow != base.Allow {
			t.Fatalf("%v may %s in %q: %+v", who.Groups, action, other, got)
		}
	}
}

// Missing is honest: whoever gets the role that a denial names is allowed.
func TestMissingIsEnough(t *testing.T) {
	e := starter(t)
	d := dice{rand.New(rand.NewPCG(7, 8))}
	actions, suggested := Actions(), 0
	for range 2000 {
		who := person("x", "temporal:"+d.of("a", "payments")+":"+d.of("read", "write", "worker"))
		req := ask(who, actions[d.IntN(len(actions))].Name, d.of("a", "payments", "deploy"), "r")
		if req.Action == AccessRequest {
			continue // open to whoever has any role, and to no role in particular
		}
		got := e.Decide(req)
		if got.Code != CodeNoPermission {
			continue
		}
		role, place, ok := strings.Cut(got.Missing, " in ")
		if !ok {
			t.Fatalf("%s: no suggestion: %+v", req.Action, got)
		}
		if place == "every namespace" {
			continue // needs roles.yaml, see TestClusterWideRoles
		}
		suggested++
		req.Principal = person("x", append(who.Groups, "temporal:"+place+":"+role)...)
		if after := e.Decide(req); !after.Allow {
			t.Fatalf("%s with %s: %+v", req.Action, got.Missing, after)
		}
	}
	if suggested < 500 {
		t.Errorf("only %d suggestions", suggested)
	}
}

// The narrow validator finds what the full one finds.
func TestNarrowTypecheck(t *testing.T) {
	c, err := newTypechecker(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := dice{rand.New(rand.NewPCG(9, 10))}
	good, bad := 0, 0
	for range 1500 {
		text := d.policy(1, "permit")
		list, err := cedar.NewPolicyListFromBytes("x.cedar", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r := newRule("x.cedar", list[0])
		narrow, full := c.check(r.tree()), c.full.Policy("", r.tree())
		if (narrow == nil) != (full == nil) {
			t.Fatalf("%s\nnarrow: %v\nfull: %v", text, narrow, full)
		}
		if full == nil {
			good++
			continue
		}
		bad++
		if a, b := fmt.Sprint(typeProblems(r, []byte(text), narrow)), fmt.Sprint(typeProblems(r, []byte(text), full)); a != b {
			t.Fatalf("%s\nnarrow: %s\nfull: %s", text, a, b)
		}
	}
	if good < 300 || bad < 300 || len(c.narrow) < 10 {
		t.Errorf("%d good, %d bad, %d validators", good, bad, len(c.narrow))
	}
}

// What is refused or allowed of a call that does not tell all is so whatever it leaves out: filling in the unknown never turns an
// allowed call into a refused one, nor one that is settled as refused into an allowed one.
func TestUnresolvedIsSound(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(11, 12))}
	outcomes := map[Code]int{}
	for range 300 {
		s, texts := d.set(t, 4+d.IntN(20))
		for range 30 {
			vague := d.request()
			vague.Action = d.of("StartWorkflowExecution", "DescribeWorkflowExecution", "CreateSchedule", "DeleteSchedule", vague.Action)
			vague.Resource.Unresolved = d.IntN(2) == 0
			vague.Resource.WorkflowType, vague.Resource.SearchAttributes, vague.Resource.RunID = "", nil, ""
			vague.Resource.TaskQueue = d.of("", vague.Resource.TaskQueue)
			if vague.Resource.Unresolved {
				vague.Resource.WorkflowID, vague.Resource.Cron, vague.Resource.Versioning = d.of("", "w1"), "", ""
			}
			got := s.decide(&vague)
			outcomes[got.Code]++
			if got.Code == CodeUnresolved || got.Code == CodePolicyError {
				continue
			}
			for range 6 {
				told, full := vague, d.request().Resource
				told.Resource.Unresolved = false
				told.Resource.WorkflowType = d.of("T", "U")
				told.Resource.SearchAttributes, told.Resource.RunID = full.SearchAttributes, full.RunID
				fill := func(at *string, value string) {
					if *at == "" {
						*at = value
					}
				}
				fill(&told.Resource.TaskQueue, full.TaskQueue)
				if vague.Resource.Unresolved {
					fill(&told.Resource.WorkflowID, full.WorkflowID)
					fill(&told.Resource.Cron, full.Cron)
					fill(&told.Resource.Versioning, full.Versioning)
				} else if !s.index.methods[vague.Action].existing {
					told.Resource.WorkflowType, told.Resource.TaskQueue = vague.Resource.WorkflowType, vague.Resource.TaskQueue
					told.Resource.SearchAttributes, told.Resource.RunID = nil, ""
				}
				if after := s.decide(&told); after.Allow != got.Allow && after.Code != CodePolicyError { // type-checked policies don't fail this way
					t.Fatalf("%+v of %+v\nvague %+v\ntold  %+v %+v\n%s", vague, vague.Principal, got, told.Resource, after, strings.Join(texts, ""))
				}
			}
		}
	}
	for _, code := range []Code{CodeAllowed, CodeNoPermission, CodeForbidden, CodeUnresolved} {
		if outcomes[code] < 150 {
			t.Errorf("the dice are loaded: %v", outcomes)
		}
	}
}

// Supposing that someone had another role comes to the same as giving it to them.
func TestSupposedRoles(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(13, 14))}
	changed := 0
	for range 150 {
		_, texts := d.set(t, 1+d.IntN(20))
		role := d.of("read", "write", "worker", "approver", "admin")
		texts = append(texts, fmt.Sprintf("@id(\"by-role\") permit (principal, action, resource) when { principal.%s.contains(resource.namespace) || principal.everywhere.contains(%q) };\n", role, role))
		s := unchecked(t, texts)
		for range 20 {
			req := d.request()
			req.Principal.ClientID, req.Principal.ID = "u1", "u1" // a client of that id is confined to a task queue
			p, grant := s.principal(req.Principal), roleGrant{d.of(everyNamespace, req.Resource.Namespace), Role(d.of("read", "write", "worker", "approver", "admin"))}
			if grant.namespace == "" || s.index.methods[req.Action].Scope == ScopeCluster {
				grant.namespace = everyNamespace
			}
			given := &question{}
			s.prepare(given, s.index.methods[req.Action], s.newPrincipal(req.Principal, p.holdings.with(grant)), &req)
			given.ask()
			supposed := &question{}
			s.prepare(supposed, s.index.methods[req.Action], p, &req)
			supposed.suppose(grant)
			supposed.ask()
			if given.verdict() != supposed.verdict() {
				t.Fatalf("%+v of %+v with %v\ngiven    %s\nsupposed %s\n%s", req, req.Principal, grant, given.verdict(), supposed.verdict(), strings.Join(texts, ""))
			}
			if plain := asked(s, &req); plain.verdict() != given.verdict() {
				changed++
			}
		}
	}
	if changed < 50 {
		t.Errorf("the role mattered only %d times", changed)
	}
}
