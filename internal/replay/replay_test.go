package replay_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/replay"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// guards look at everything that a policy can know of a caller and a call, so that what a replay forgets changes a decision.
const guards = `
@id("fresh") forbid (principal, action == Action::"DeleteWorkflowExecution", resource) unless { context has auth_age && context.auth_age < 600 };
@id("strong") forbid (principal, action == Action::"ResetWorkflowExecution", resource) unless { context has acr && context.acr == "2fa" };
@id("office") forbid (principal, action == Action::"PauseWorkflowExecution", resource) unless { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };
@id("scope") forbid (principal, action == Action::"CreateSchedule", resource) unless { context.scopes.contains("temporal.plan") };
@id("app") forbid (principal, action == Action::"DeleteSchedule", resource) unless { context.client_id == "console" };
@id("no-agent") forbid (principal, action == Action::"SignalWorkflowExecution", resource) when { context.agent };
@id("contractors") forbid (principal in Group::"contractors", action in Action::"operate", resource);
@id("frank") forbid (principal, action == Action::"UpdateWorkflowExecution", resource) when { principal.id == "00utestfrank" };
@id("granted") forbid (principal, action == Action::"TerminateWorkflowExecution", resource) unless { context has reason };
@id("by-grant") forbid (principal, action == Action::"RequestCancelWorkflowExecution", resource) unless { context.granted && context has grant && context.grant == "grant-1" && context.break_glass };
@id("factor") forbid (principal, action == Action::"UpdateWorkflowExecutionOptions", resource) unless { context.amr.contains("mfa") };
@id("short") forbid (principal, action == Action::"Access.Request", resource) unless { context has minutes && context.minutes <= 60 && context has role && context.role == "write" && context has requester && context.requester == principal.name };
@id("no-cron") forbid (principal, action == Action::"StartWorkflowExecution", resource) when { resource has cron };
`

type setup struct {
	t       *testing.T
	gate    *gate.Gate
	issuer  *bailiwicktest.Issuer
	journal *audit.Journal
	dir     string
}

func newSetup(t *testing.T, policies string) *setup {
	issuer := bailiwicktest.NewIssuer(t)
	verifier, err := identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = verifier.Close() })
	engine, err := policy.Open(policies, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	signer, err := attest.LoadOrCreateSigner(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{t: t, issuer: issuer, dir: filepath.Join(dir, "journal")}
	if s.journal, err = audit.OpenJournal(audit.JournalConfig{Dir: s.dir}); err != nil {
		t.Fatal(err)
	}
	if s.gate, err = gate.New(gate.Config{Name: "g", Audience: "bailiwick:test", Verifier: verifier, Policy: engine, Signer: signer, Log: s.journal, Standing: lent{}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// lent is a gate's view of grants: one to alice, until the day after.
type lent struct{}

func (lent) Grants(principal string, now time.Time) []*standing.Grant {
	if !strings.HasSuffix(principal, "|00utestalice") {
		return nil
	}
	return []*standing.Grant{{ID: "grant-1", Principal: principal, Namespace: "deploy", Actions: []string{"RequestCancelWorkflowExecution"}, WorkflowID: "ship-1", BreakGlass: true,
		NotBefore: now.Add(-time.Hour), Expires: now.Add(24 * time.Hour)}}
}

func (lent) Barred(*identity.Claims, time.Time) (standing.Bar, bool) { return standing.Bar{}, false }
func (lent) GroupsLost(*identity.Claims, time.Time) []string         { return nil }
func (lent) Person(string) (standing.Person, bool)                   { return standing.Person{}, false }

func policies(t *testing.T, extra string) string {
	t.Helper()
	dir := t.TempDir()
	if err := policy.WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "guards.cedar"), []byte(extra), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, dir string) *policy.Set {
	t.Helper()
	s, err := policy.LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call reports whether the gate let the call through.
func (s *setup) call(token string, req any, method string, more ...func(*gate.Call)) bool {
	s.t.Helper()
	c := gate.Call{Method: "/temporal.api.workflowservice.v1.WorkflowService/" + method, Request: req, Authorization: []string{"Bearer " + token}, Source: netip.MustParseAddr("192.0.2.7")}
	for _, m := range more {
		m(&c)
	}
	_, err := s.gate.Admit(s.t.Context(), c)
	var d *gate.Denial
	if err != nil && !errors.As(err, &d) {
		s.t.Fatal(err)
	}
	return err == nil
}

// asks puts a request for access to the gate, as the control plane does, and reports whether the caller may make it.
func (s *setup) asks(token string, minutes int) bool {
	s.t.Helper()
	who, err := s.gate.Authenticate(s.t.Context(), []string{"Bearer " + token}, nil, netip.MustParseAddr("192.0.2.7"), "access")
	if err != nil {
		s.t.Fatal(err)
	}
	j, err := s.gate.Judge(s.t.Context(), gate.Question{Who: who, Action: policy.AccessRequest, Resource: policy.Resource{Namespace: "payments"},
		Context: policy.Context{Role: "write", Minutes: minutes, Requester: who.Claims().Principal()}})
	if err != nil {
		s.t.Fatal(err)
	}
	return j.Decision.Allow
}

// entries closes the journal and reads it from its files.
func (s *setup) entries() []audit.Entry {
	s.t.Helper()
	if err := s.journal.Close(); err != nil {
		s.t.Fatal(err)
	}
	return bailiwicktest.Entries(s.t, s.dir)
}

func start(ns, id string) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{Namespace: ns, WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"}}
}

var run = &commonpb.WorkflowExecution{WorkflowId: "ship-1"}

// traffic makes calls, of which each guard refuses one and lets through another that differs in the one thing it looks at.
func (s *setup) traffic() (allowed, refused int) {
	now := time.Now()
	token := func(claims map[string]any) string {
		all := map[string]any{"sub": "alice@acme.example", "uid": "00utestalice", "groups": []string{"temporal:deploy:write"}}
		for k, v := range claims {
			all[k] = v
		}
		return s.issuer.Token(all)
	}
	count := func(want, ok bool) {
		s.t.Helper()
		if ok != want {
			s.t.Errorf("allowed: %v, want %v", ok, want)
		}
		if ok {
			allowed++
		} else {
			refused++
		}
	}
	from := func(ip string) func(*gate.Call) {
		return func(c *gate.Call) { c.Source = netip.MustParseAddr(ip) }
	}
	said := func(c *gate.Call) { c.Reason = []string{"CHG-7"} }
	plain := token(nil)

	del := &workflowservice.DeleteWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: run}
	count(true, s.call(token(map[string]any{"auth_time": now.Unix() - 60}), del, "DeleteWorkflowExecution"))
	count(false, s.call(token(map[string]any{"auth_time": now.Unix() - 7200}), del, "DeleteWorkflowExecution"))
	reset := &workflowservice.ResetWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: run}
	count(true, s.call(token(map[string]any{"acr": "2fa"}), reset, "ResetWorkflowExecution"))
	count(false, s.call(plain, reset, "ResetWorkflowExecution"))
	pause := &workflowservice.PauseWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: "ship-1"}
	count(true, s.call(plain, pause, "PauseWorkflowExecution", from("10.1.2.3")))
	count(false, s.call(plain, pause, "PauseWorkflowExecution", from("192.0.2.1")))
	schedule := &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "nightly", Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{
		Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{WorkflowId: "nightly", WorkflowType: &commonpb.WorkflowType{Name: "deploy"},
			TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"}}}}}}
	count(true, s.call(token(map[string]any{"scp": []string{"temporal.plan"}}), schedule, "CreateSchedule"))
	count(false, s.call(plain, schedule, "CreateSchedule"))
	unschedule := &workflowservice.DeleteScheduleRequest{Namespace: "deploy", ScheduleId: "nightly"}
	count(true, s.call(token(map[string]any{"cid": "console"}), unschedule, "DeleteSchedule"))
	count(false, s.call(plain, unschedule, "DeleteSchedule"))
	signal := &workflowservice.SignalWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: run, SignalName: "approve"}
	count(true, s.call(plain, signal, "SignalWorkflowExecution"))
	count(false, s.call(token(map[string]any{"act": map[string]any{"sub": "bot", "sub_profile": "ai_agent"}}), signal, "SignalWorkflowExecution"))
	update := &workflowservice.UpdateWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: run}
	count(true, s.call(plain, update, "UpdateWorkflowExecution"))
	count(false, s.call(s.issuer.User("frank@acme.example", "temporal:deploy:write"), update, "UpdateWorkflowExecution"))
	terminate := &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: run}
	count(true, s.call(plain, terminate, "TerminateWorkflowExecution", said))
	count(false, s.call(plain, terminate, "TerminateWorkflowExecution"))
	cancel := func(id string) *workflowservice.RequestCancelWorkflowExecutionRequest {
		return &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}}
	}
	count(true, s.call(plain, cancel("ship-1"), "RequestCancelWorkflowExecution"))
	count(false, s.call(plain, cancel("ship-2"), "RequestCancelWorkflowExecution"))
	options := &workflowservice.UpdateWorkflowExecutionOptionsRequest{Namespace: "deploy", WorkflowExecution: run}
	byID := func(amr ...string) func(*gate.Call) {
		return func(c *gate.Call) {
			c.IDToken = []string{s.issuer.Token(map[string]any{"sub": "00utestalice", "aud": "0oatestclient0000001", "jti": "ID.1", "amr": amr, "cid": nil, "scp": nil})}
		}
	}
	count(true, s.call(plain, options, "UpdateWorkflowExecutionOptions", byID("pwd", "mfa")))
	count(false, s.call(plain, options, "UpdateWorkflowExecutionOptions", byID("pwd")))
	count(true, s.asks(plain, 60))
	count(false, s.asks(plain, 61))
	cron := start("deploy", "cron")
	cron.CronSchedule = "* * * * *"
	count(true, s.call(plain, start("deploy", "ship-1"), "StartWorkflowExecution"))
	count(false, s.call(plain, cron, "StartWorkflowExecution"))
	count(false, s.call(s.issuer.User("dave@acme.example", "contractors", "temporal:deploy:write"), start("deploy", "ship-2"), "StartWorkflowExecution"))
	count(true, s.call(s.issuer.Client("0oareleaseagent00001"), start("deploy", "ship-3"), "StartWorkflowExecution"))
	count(false, s.call(s.issuer.User("erin@acme.example"), start("deploy", "ship-4"), "StartWorkflowExecution"))
	// A call of several acts: the start is fine, the termination that it may cause is not.
	both := start("deploy", "ship-5")
	//lint:ignore SA1019 clients still send it
	both.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
	count(true, s.call(plain, both, "StartWorkflowExecution", said))
	count(false, s.call(plain, both, "StartWorkflowExecution"))
	return allowed, refused
}

// What decided then decides the same from the log alone: an entry tells all that policies look at.
func TestReplayOfTheSameSetChangesNothing(t *testing.T) {
	dir := policies(t, guards)
	s := newSetup(t, dir)
	allowed, refused := s.traffic()
	s.call("not.a.token", start("deploy", "x"), "StartWorkflowExecution")
	s.call(s.issuer.User("alice@acme.example"), nil, "NoSuchMethod")
	r := replay.New(replay.Config{Draft: load(t, dir)})
	for _, e := range s.entries() {
		r.Add(e)
	}
	got := r.Report()
	if got.Calls != allowed+refused || got.Same != got.Calls || !got.OK() || len(got.Changes) != 0 {
		t.Errorf("%d calls, report %+v", allowed+refused, got)
	}
	if got.Skipped[replay.SkipNobody] != 1 || got.Skipped[replay.SkipGate] != 1 {
		t.Errorf("skipped: %v", got.Skipped)
	}
	if got.Draft != load(t, dir).Digest() || got.From.IsZero() || got.To.Before(got.From) {
		t.Errorf("%+v", got)
	}
}

// Without any one guard, exactly the calls that it refused would be allowed.
func TestReplayOfADraft(t *testing.T) {
	dir := policies(t, guards)
	s := newSetup(t, dir)
	s.traffic()
	entries := s.entries()
	for i, line := range strings.Split(strings.TrimSpace(guards), "\n") {
		id := strings.Split(line, `"`)[1]
		r := replay.New(replay.Config{Draft: load(t, policies(t, strings.Replace(guards, line, "", 1)))})
		for _, e := range entries {
			r.Add(e)
		}
		got := r.Report()
		want := 1
		if id == "contractors" { // the starter set forbids them too
			want = 0
		}
		if id == "granted" { // also refused the start that would have terminated
			want = 2
		}
		if got.Allowed != want || got.Refused != 0 {
			t.Errorf("guard %d, %s, gone: %d newly allowed, %d newly refused: %+v", i, id, got.Allowed, got.Refused, got.Changes)
		}
		if partial := map[bool]int{true: 1}[id == "granted"]; got.Partial != partial {
			t.Errorf("guard %s gone: %d partial", id, got.Partial)
		}
	}

	// A draft that refuses starts by all but the agent.
	draft := load(t, policies(t, guards+`@id("only-agents") @reason("Only the agent starts") forbid (principal is User, action == Action::"StartWorkflowExecution", resource);`))
	r := replay.New(replay.Config{Draft: draft, Examples: 1})
	for _, e := range entries {
		r.Add(e)
	}
	got := r.Report()
	if got.Refused != 3 || got.Allowed != 0 || len(got.Changes) < 2 {
		t.Fatalf("%+v", got)
	}
	c := got.Changes[0]
	if c.Kind != replay.Refused || c.Action != "StartWorkflowExecution" || c.Namespace != "deploy" || c.Before != policy.CodeAllowed || c.After != policy.CodeForbidden ||
		!slices.Equal(c.Policies, []string{"only-agents"}) || !slices.Equal(c.Reasons, []string{"Only the agent starts"}) || c.Count != 2 || len(c.Examples) != 1 ||
		len(c.People) != 1 || c.People[0].Login != "alice@acme.example" || c.People[0].Count != 2 {
		t.Errorf("%+v", c)
	}
	// Making a schedule is starting what it starts.
	if c := got.Changes[1]; c.Action != "CreateSchedule" || c.Act != "StartWorkflowExecution" || c.Count != 1 {
		t.Errorf("%+v", c)
	}
	if e := c.Examples[0]; e.Resource.WorkflowID != "ship-1" || !slices.ContainsFunc(entries, func(x audit.Entry) bool { return x.ID == e.Decision }) {
		t.Errorf("%+v", e)
	}
	// erin's start was refused for want of a role and would be refused by the new policy.
	if got.Reason == 0 || !slices.ContainsFunc(got.Changes, func(c replay.Change) bool {
		return c.Kind == replay.Reason && c.Before == policy.CodeNoPermission && c.After == policy.CodeForbidden
	}) {
		t.Errorf("%+v", got.Changes)
	}

	// Against another set instead of what was decided: the same two sets differ in nothing.
	r = replay.New(replay.Config{Draft: draft, Base: draft})
	for _, e := range entries {
		r.Add(e)
	}
	if got := r.Report(); !got.OK() || got.Same != got.Calls || got.Base != got.Draft {
		t.Errorf("%+v", got)
	}
}

// Examples are of as many people as there is room for.
func TestExamples(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "roles.yaml"), []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.cedar"), []byte(`@id("a") forbid (principal, action, resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := replay.New(replay.Config{Draft: load(t, dir), Examples: 4})
	for i, who := range strings.Split("a a a a b a c a", " ") {
		r.Add(audit.Entry{ID: fmt.Sprint(i), Kind: audit.KindDecision, Time: time.Unix(int64(i), 0), Action: "ListNamespaces", Actor: audit.Party{Principal: "user:i|" + who, Login: who},
			Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed}})
	}
	got := r.Report()
	if len(got.Changes) != 1 || got.Changes[0].Count != 8 || len(got.Changes[0].People) != 3 || got.Changes[0].People[0] != (replay.PersonCount{Principal: "user:i|a", Login: "a", Count: 6}) {
		t.Fatalf("%+v", got)
	}
	var ids []string
	for _, e := range got.Changes[0].Examples {
		ids = append(ids, e.Decision)
	}
	if !slices.Equal(ids, []string{"0", "1", "4", "6"}) {
		t.Errorf("%v", ids)
	}
	if again := r.Report(); !reflect.DeepEqual(got, again) {
		t.Errorf("a report changes by being asked for: %+v", again)
	}
}

func TestClaims(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	p := audit.Party{Principal: "user:https://idp.example|auth0|77", Login: "a", ClientID: "cli", Groups: []string{"g"}, TokenID: "T", Scopes: []string{"s"}, AuthTime: at, ACR: "2",
		Actors: []string{"bot", "outer"}, ActorProfile: "ai_agent"}
	want := &identity.Claims{Issuer: "https://idp.example", Kind: identity.User, ID: "auth0|77", Login: "a", ClientID: "cli", Groups: []string{"g"}, TokenID: "T", Scopes: []string{"s"},
		AuthTime: at, ACR: "2", Actors: []identity.Actor{{Subject: "bot", Profile: "ai_agent"}, {Subject: "outer"}}}
	if got, ok := replay.Claims(p); !ok || !reflect.DeepEqual(got, want) || got.Principal() != p.Principal {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, principal := range []string{"", "temporal:internal", "gate:dev", "user:", "user:https://idp.example", "user:|x", "user:i|", "robot:i|x"} {
		if c, ok := replay.Claims(audit.Party{Principal: principal}); ok {
			t.Errorf("%q: %+v", principal, c)
		}
	}
}

func TestSkipped(t *testing.T) {
	yes := &policy.Decision{Allow: true, Code: policy.CodeAllowed}
	who := audit.Party{Principal: "user:i|x"}
	for want, e := range map[string]audit.Entry{
		replay.SkipOther:    {Kind: audit.KindPolicy},
		replay.SkipNobody:   {Kind: audit.KindDecision, Decision: yes},
		replay.SkipInternal: {Kind: audit.KindDecision, Decision: yes, Actor: audit.Party{Principal: "temporal:internal"}},
		replay.SkipGate:     {Kind: audit.KindDecision, Decision: &policy.Decision{Code: "bad_request"}, Actor: who},
		"":                  {Kind: audit.KindDecision, Decision: yes, Actor: who, Action: "ListNamespaces"},
	} {
		if _, why := replay.Ask(e); why != want {
			t.Errorf("%q, want %q", why, want)
		}
	}
}

// A day of a busy cluster should be answered while one waits: 100,000 calls by 500 tokens.
func BenchmarkAdd(b *testing.B) {
	dir := b.TempDir()
	if err := policy.WriteStarter(dir); err != nil {
		b.Fatal(err)
	}
	set, err := policy.LoadSet(dir)
	if err != nil {
		b.Fatal(err)
	}
	var entries []audit.Entry
	for i := range 500 {
		login := fmt.Sprintf("user%d@acme.example", i)
		entries = append(entries, audit.Entry{Kind: audit.KindDecision, Time: time.Date(2026, 11, 23, 9, 0, i, 0, time.UTC), Action: "StartWorkflowExecution",
			Actor: audit.Party{Principal: "user:https://idp.example|" + login, Login: login, Groups: []string{"Everyone", "temporal:deploy:write"}}, Source: "10.0.0.1",
			Resource: policy.Resource{Namespace: "deploy", WorkflowID: "w", WorkflowType: "deploy"}, Decision: &policy.Decision{Code: policy.CodeNoPermission}})
	}
	r := replay.New(replay.Config{Draft: set})
	for i := 0; b.Loop(); i++ {
		r.Add(entries[i%len(entries)])
	}
	if got := r.Report(); got.Allowed != got.Calls || len(got.Changes) != 1 {
		b.Fatalf("%+v", got)
	}
}
