package gate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// standingKit is a kit whose gate follows a state, on a clock that a test turns.
type standingKit struct {
	*kit
	state *standing.State
	now   atomic.Int64 // ns that the clock is ahead of the real one
	seen  atomic.Int64 // times that the clock was read
}

func newStandingKit(t testing.TB, policies string, runs gate.Resolver) *standingKit {
	t.Helper()
	s := &standingKit{state: &standing.State{}}
	s.kit = newKitWith(t, policies, gate.Config{Standing: s.state, Runs: runs, Clock: s.clock})
	return s
}

func (s *standingKit) clock() time.Time {
	s.seen.Add(1)
	return time.Now().Add(time.Duration(s.now.Load()))
}

func (s *standingKit) principal(login string) string {
	return "user:" + s.issuer.URL + "|" + bailiwicktest.UID(login)
}

func (s *standingKit) apply(t testing.TB, events ...standing.Event) {
	t.Helper()
	for i := range events {
		events[i].At = time.Now()
		if events[i].ID == "" {
			events[i].ID = "e"
		}
	}
	if err := s.state.ApplyAll(events); err != nil {
		t.Fatal(err)
	}
}

// erin has no role. She is granted what edit makes of a write role in orders.
func (s *standingKit) grant(t testing.TB, id string, edit func(*standing.Grant)) *standing.Grant {
	t.Helper()
	g := &standing.Grant{
		ID: id, Principal: s.principal(erin), Namespace: "orders", Role: "write", NotBefore: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour),
		Reason: "INC-7", Request: "r1",
	}
	if edit != nil {
		edit(g)
	}
	s.apply(t, standing.Event{Kind: standing.EventGrant, Grant: g})
	return g
}

const erin = "erin@acme.example"

func (s *standingKit) erin() string { return s.issuer.User(erin) }

func terminate(id, run string) *workflowservice.TerminateWorkflowExecutionRequest {
	return &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "orders", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: run}}
}

func startIn(namespace string) *workflowservice.StartWorkflowExecutionRequest {
	r := startRequest()
	r.Namespace = namespace
	return r
}

func TestGrantOpensWhatItCoversForAsLongAsItLasts(t *testing.T) {
	s := newStandingKit(t, "", nil)
	call := s.call("StartWorkflowExecution", startIn("orders"), s.erin())
	if _, err := s.Admit(t.Context(), call); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Fatalf("without a grant: %v", err)
	}
	g := s.grant(t, "g-1", nil)
	a, err := s.Admit(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	e := s.log.last(t)
	if a.Grant() != "g-1" || e.Grant != "g-1" || !e.Granted || e.BreakGlass || !slices.Equal(e.Decision.Policies, []string{"grants"}) || !s.log.durable[a.ID()] {
		t.Errorf("the entry does not say what allowed it: %+v %+v", e, e.Decision)
	}
	req := startIn("orders")
	if err := s.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	raw, _ := attest.FromPayload(req.Header.Fields[attest.HeaderKey])
	v, err := s.signer.PublicKeySet().Verify(raw, "bailiwick:test")
	if err != nil {
		t.Fatal(err)
	}
	if st := v.Statement(); st.Grant != "g-1" || st.AuthorityUntil.Unix() != g.Expires.Unix() && !st.AuthorityUntil.Before(g.Expires) {
		t.Errorf("attested grant %q until %s, want g-1 until %s at the latest", st.Grant, st.AuthorityUntil, g.Expires)
	}
	for name, call := range map[string]gate.Call{
		"another namespace": s.call("StartWorkflowExecution", startIn("deploy"), s.erin()),
		"another person":    s.call("StartWorkflowExecution", startIn("orders"), s.issuer.User("dave@acme.example")),
		"the cluster":       {Method: "/temporal.api.operatorservice.v1.OperatorService/ListNexusEndpoints", Authorization: []string{"Bearer " + s.erin()}},
		"administering":     s.call("UpdateNamespace", &workflowservice.UpdateNamespaceRequest{Namespace: "orders"}, s.erin()),
	} {
		_, err := s.Admit(t.Context(), call)
		if d := denial(t, err); d.Code != string(policy.CodeNoPermission) || d.Missing == "" || d.Hint == "" { // who holds a grant is told like anybody else
			t.Errorf("%s: %v, missing %q, hint %q", name, err, d.Missing, d.Hint)
		}
	}
	// To the nanosecond, on the gate's clock, however wrong that is.
	s.now.Store(int64(time.Until(g.Expires)) + int64(time.Millisecond))
	if _, err := s.Admit(t.Context(), call); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("after its end: %v", err)
	}
	s.now.Store(int64(time.Until(g.NotBefore)) - int64(time.Millisecond))
	if _, err := s.Admit(t.Context(), call); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("before its beginning: %v", err)
	}
	s.now.Store(0)
	if _, err := s.Admit(t.Context(), call); err != nil {
		t.Errorf("in time again: %v", err)
	}
	s.apply(t, standing.Event{Kind: standing.EventRevoke, Grant: &standing.Grant{ID: "g-1"}})
	if _, err := s.Admit(t.Context(), call); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("after it was revoked: %v", err)
	}
	s.apply(t, standing.Event{Kind: standing.EventGrant, Grant: g})
	if _, err := s.Admit(t.Context(), call); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("an old event brought a revoked grant back: %v", err)
	}
}

func TestForbidsHoldUnderGrants(t *testing.T) {
	s := newStandingKit(t, `@id("freeze") @reason("orders is frozen") forbid(principal, action == Action::"StartWorkflowExecution", resource) when { resource.namespace == Namespace::"orders" };
@id("loud") @reason("not by break-glass") forbid(principal, action == Action::"TerminateWorkflowExecution", resource) when { context.break_glass };`, nil)
	s.grant(t, "g-1", nil)
	_, err := s.Admit(t.Context(), s.call("StartWorkflowExecution", startIn("orders"), s.erin()))
	if d := denial(t, err); d.Code != string(policy.CodeForbidden) || !strings.Contains(d.Message, "frozen") {
		t.Errorf("got %v", err)
	}
	if e := s.log.last(t); e.Granted {
		t.Error("a denied call is on record as granted")
	}
	// The ordinary grant comes before break-glass; without it policy sees that the glass is broken.
	s.grant(t, "g-2", func(g *standing.Grant) { g.BreakGlass, g.Expires = true, g.Expires.Add(time.Hour) })
	if a, err := s.Admit(t.Context(), s.call("TerminateWorkflowExecution", terminate("w", ""), s.erin())); err != nil || a.Grant() != "g-1" {
		t.Errorf("got %v", err)
	}
	s.apply(t, standing.Event{Kind: standing.EventRevoke, Grant: &standing.Grant{ID: "g-1"}})
	if _, err := s.Admit(t.Context(), s.call("TerminateWorkflowExecution", terminate("w", ""), s.erin())); denial(t, err).Code != string(policy.CodeForbidden) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Admit(t.Context(), s.call("RequestCancelWorkflowExecution", &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: "orders"}, s.erin())); err != nil {
		t.Fatal(err)
	}
	if e := s.log.last(t); e.Grant != "g-2" || !e.BreakGlass {
		t.Errorf("break-glass is not on record: %+v", e)
	}
}

func TestNamedGrants(t *testing.T) {
	s := newStandingKit(t, "", nil)
	s.grant(t, "g-1", nil)
	s.grant(t, "g-2", func(g *standing.Grant) { g.Expires = g.Expires.Add(time.Hour) })
	s.grant(t, "over", func(g *standing.Grant) { g.Expires = time.Now().Add(-time.Second) })
	s.grant(t, "early", func(g *standing.Grant) { g.NotBefore = time.Now().Add(time.Minute) })
	s.grant(t, "daves", func(g *standing.Grant) { g.Principal = s.principal("dave@acme.example") })
	s.grant(t, "deploy", func(g *standing.Grant) { g.Namespace = "deploy" })
	named := func(method string, req any, token, grant string) (*gate.Admission, error) {
		c := s.call(method, req, token)
		c.Grant = []string{grant}
		return s.Admit(t.Context(), c)
	}
	if a, err := named("StartWorkflowExecution", startIn("orders"), s.erin(), "g-1"); err != nil || a.Grant() != "g-1" {
		t.Errorf("got %v", err)
	}
	for _, grant := range []string{"over", "early", "daves", "nonsense"} {
		for method, req := range map[string]any{"StartWorkflowExecution": startIn("orders"), "GetSystemInfo": &workflowservice.GetSystemInfoRequest{}} {
			_, err := named(method, req, s.erin(), grant)
			if d := denial(t, err); d.Code != gate.CodeGrantInvalid || d.GRPCStatus().Code() != codes.PermissionDenied {
				t.Errorf("%s %s: %v", grant, method, err)
			}
		}
	}
	// One that does not cover the call opens nothing, and no other is taken in its place.
	if _, err := named("StartWorkflowExecution", startIn("orders"), s.erin(), "deploy"); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("got %v", err)
	}
	// What needs no grant goes on without; the record claims none.
	if a, err := named("GetSystemInfo", &workflowservice.GetSystemInfoRequest{}, s.erin(), "g-1"); err != nil || a.Grant() != "" {
		t.Errorf("got %v", err)
	}
	if e := s.log.last(t); e.Grant != "" || e.Granted {
		t.Errorf("a grant that was not used is on record: %+v", e)
	}
	// Who may do it anyway and names a grant acts under it.
	if a, err := named("StartWorkflowExecution", startIn("orders"), s.issuer.User(erin, "temporal:orders:write"), "g-2"); err != nil || a.Grant() != "g-2" {
		t.Errorf("got %v", err)
	}
	if a, err := s.Admit(t.Context(), s.call("StartWorkflowExecution", startIn("orders"), s.issuer.User(erin, "temporal:orders:write"))); err != nil || a.Grant() != "" {
		t.Errorf("a grant was used that was not needed: %v", err)
	}
	// A gate that follows nothing can prove none.
	k := newKit(t, "")
	c := k.call("StartWorkflowExecution", startRequest(), k.alice())
	c.Grant = []string{"g-1"}
	if _, err := k.Admit(t.Context(), c); denial(t, err).Code != gate.CodeGrantInvalid {
		t.Errorf("got %v", err)
	}
}

// Threats 32 and 40: a grant for one run acts on no other.
func TestGrantForOneRun(t *testing.T) {
	runs := fleet()
	s := newStandingKit(t, "", runs)
	s.grant(t, "g-1", func(g *standing.Grant) {
		g.Role, g.Actions, g.WorkflowID, g.RunID = "", []string{"TerminateWorkflowExecution", "ResetWorkflowExecution", "SignalWithStartWorkflowExecution", "StartWorkflowExecution", "SignalWorkflowExecution"}, "ship-1", "run-d"
	})
	admit := func(method string, req any) (*gate.Admission, error) {
		return s.Admit(t.Context(), s.call(method, req, s.erin()))
	}
	current := terminate("ship-1", "")
	a, err := admit("TerminateWorkflowExecution", current)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stamp(a, current); err != nil || current.WorkflowExecution.RunId != "run-d" {
		t.Errorf("the run that was decided on was not pinned: %v %v", current, err)
	}
	if e := s.log.last(t); e.Resource.RunID != "run-d" {
		t.Errorf("the entry does not name the run: %+v", e.Resource)
	}
	if _, err := admit("TerminateWorkflowExecution", terminate("ship-1", "run-d")); err != nil {
		t.Error(err)
	}
	asked := runs.asked.Load()
	for name, req := range map[string]any{
		"an older run of it": terminate("ship-1", "run-h"), "another workflow": terminate("tea-1", ""), "another workflow's run of that id": terminate("tea-1", "run-d"),
	} {
		if _, err := admit("TerminateWorkflowExecution", req); denial(t, err).Code != string(policy.CodeNoPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if runs.asked.Load() != asked {
		t.Error("runs were looked up that no grant is about")
	}
	// A signal with start goes to whichever run is under way, or starts one: that can't be fixed to a run.
	sws := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "orders", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: "go"}
	if _, err := admit("SignalWithStartWorkflowExecution", sws); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("signal with start: %v", err)
	}
	reset := func(run string) *workflowservice.ResetWorkflowExecutionRequest {
		return &workflowservice.ResetWorkflowExecutionRequest{Namespace: "orders", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: run}}
	}
	if _, err := admit("ResetWorkflowExecution", reset("run-d")); err != nil {
		t.Errorf("reset of the run: %v", err)
	}
	// The id has a new run by now. What the request says still names the old one.
	runs.runs["ship-1"] = gate.Execution{RunID: "run-n", Type: "deploy", TaskQueue: "q", Running: true}
	if _, err := admit("ResetWorkflowExecution", reset("run-d")); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("a reset would end a run that the grant is not about: %v", err)
	}
	s.now.Store(int64(2 * time.Second)) // past what the gate remembers of runs
	if _, err := admit("TerminateWorkflowExecution", terminate("ship-1", "")); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("the new run: %v", err)
	}
	runs.err = errors.New("history is away")
	if _, err := admit("TerminateWorkflowExecution", terminate("ship-1", "")); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("a run that can't be looked up: %v", err)
	}
	if _, err := admit("TerminateWorkflowExecution", terminate("ship-1", "run-d")); err != nil {
		t.Errorf("a run that needs no look: %v", err)
	}
}

func TestGrantForOneType(t *testing.T) {
	s := newStandingKit(t, "", fleet())
	s.grant(t, "g-1", func(g *standing.Grant) { g.WorkflowType = "harmless" })
	admit := func(method string, req any) error {
		_, err := s.Admit(t.Context(), s.call(method, req, s.erin()))
		return err
	}
	tea := terminate("tea-1", "")
	a, err := s.Admit(t.Context(), s.call("TerminateWorkflowExecution", tea, s.erin()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stamp(a, tea); err != nil || tea.WorkflowExecution.RunId != "run-t" {
		t.Errorf("not pinned: %v %v", tea, err)
	}
	harmless := startIn("orders")
	harmless.WorkflowType.Name = "harmless"
	if err := admit("StartWorkflowExecution", harmless); err != nil {
		t.Error(err)
	}
	if err := admit("DescribeNamespace", &workflowservice.DescribeNamespaceRequest{Namespace: "orders"}); err != nil {
		t.Errorf("a role can't look at its namespace: %v", err)
	}
	query := &workflowservice.StartBatchOperationRequest{Namespace: "orders", VisibilityQuery: `WorkflowType="harmless"`, Operation: &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{}}}
	terminating := startIn("orders")
	terminating.WorkflowType.Name, terminating.WorkflowIdConflictPolicy = "harmless", enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	for method, req := range map[string]any{
		"TerminateWorkflowExecution": terminate("ship-1", ""),
		"SignalWorkflowExecution":    &workflowservice.SignalWorkflowExecutionRequest{Namespace: "orders", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "nothing"}},
		"ListWorkflowExecutions":     &workflowservice.ListWorkflowExecutionsRequest{Namespace: "orders"},
		"StartBatchOperation":        query,
		"DeleteSchedule":             &workflowservice.DeleteScheduleRequest{Namespace: "orders", ScheduleId: "nightly"},
		"StartWorkflowExecution":     terminating, // of the run under way, a deploy
	} {
		if err := admit(method, req); denial(t, err).Code != string(policy.CodeNoPermission) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// A call of several acts needs one grant that covers each act which no role covers.
func TestOneGrantForAllActs(t *testing.T) {
	s := newStandingKit(t, "", fleet())
	only := func(actions ...string) func(*standing.Grant) {
		return func(g *standing.Grant) { g.Role, g.Actions = "", actions }
	}
	sws := s.call("SignalWithStartWorkflowExecution", &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "orders", WorkflowId: "new", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: "go"}, s.erin())
	s.grant(t, "signals", only("SignalWithStartWorkflowExecution", "SignalWorkflowExecution"))
	s.grant(t, "starts", only("StartWorkflowExecution"))
	if _, err := s.Admit(t.Context(), sws); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("two grants were put together: %v", err)
	}
	if e := s.log.last(t); len(e.Acts) != 1 || e.Acts[0].Action != "StartWorkflowExecution" {
		t.Errorf("the entry does not name the act that was refused: %+v", e.Acts)
	}
	// "signals" comes first, by its end; what counts is which one does for all.
	s.grant(t, "both", func(g *standing.Grant) {
		only("SignalWithStartWorkflowExecution", "SignalWorkflowExecution", "StartWorkflowExecution")(g)
		g.Expires = g.Expires.Add(-time.Minute)
	})
	if a, err := s.Admit(t.Context(), sws); err != nil || a.Grant() != "both" {
		t.Errorf("got %v", err)
	}
	// A role for one act and a grant for the other.
	s.apply(t, standing.Event{Kind: standing.EventRevoke, Grant: &standing.Grant{ID: "both"}}, standing.Event{Kind: standing.EventRevoke, Grant: &standing.Grant{ID: "signals"}})
	s.setPolicies(t, `@id("signallers") permit(principal, action in [Action::"SignalWithStartWorkflowExecution", Action::"SignalWorkflowExecution"], resource);`)
	a, err := s.Admit(t.Context(), sws)
	if err != nil || a.Grant() != "starts" {
		t.Fatalf("got %v", err)
	}
	if e := s.log.last(t); !slices.Equal(e.Decision.Policies, []string{"signallers", "grants"}) {
		t.Errorf("the decision leaves out what decided it: %v", e.Decision.Policies)
	}
}

func TestWorkersUnderGrants(t *testing.T) {
	s := newStandingKit(t, "", fleet())
	worker := s.issuer.Client("0oatemp0000000000001")
	s.apply(t, standing.Event{Kind: standing.EventGrant, Grant: &standing.Grant{
		ID: "g-w", Principal: "client:" + s.issuer.URL + "|0oatemp0000000000001", Namespace: "orders", Role: "worker", TaskQueue: "q",
		NotBefore: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour),
	}})
	poll := func(q string) *workflowservice.PollWorkflowTaskQueueRequest {
		return &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "orders", TaskQueue: &taskqueuepb.TaskQueue{Name: q}}
	}
	history := func(id string) *workflowservice.GetWorkflowExecutionHistoryRequest {
		return &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: "orders", Execution: &commonpb.WorkflowExecution{WorkflowId: id}}
	}
	for method, req := range map[string]any{
		"PollWorkflowTaskQueue": poll("q"), "DescribeNamespace": &workflowservice.DescribeNamespaceRequest{Namespace: "orders"}, "GetWorkflowExecutionHistory": history("tea-1"),
		"RecordWorkerHeartbeat": &workflowservice.RecordWorkerHeartbeatRequest{Namespace: "orders"},
	} {
		if _, err := s.Admit(t.Context(), s.call(method, req, worker)); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	for method, req := range map[string]any{
		"PollActivityTaskQueue": &workflowservice.PollActivityTaskQueueRequest{Namespace: "orders", TaskQueue: &taskqueuepb.TaskQueue{Name: "other"}}, "PollWorkflowTaskQueue": poll("other"),
		"StartWorkflowExecution": startIn("orders"), "RespondWorkflowTaskFailed": &workflowservice.RespondWorkflowTaskFailedRequest{Namespace: "orders", TaskToken: []byte("made up")},
	} {
		if _, err := s.Admit(t.Context(), s.call(method, req, worker)); denial(t, err).Code != string(policy.CodeNoPermission) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestNamespacesAreSeenByGrant(t *testing.T) {
	s := newStandingKit(t, "", nil)
	g := s.grant(t, "g-1", nil)
	list := func() (names []string) {
		a, err := s.Admit(t.Context(), s.call("ListNamespaces", &workflowservice.ListNamespacesRequest{}, s.erin()))
		if err != nil {
			t.Fatal(err)
		}
		resp := &workflowservice.ListNamespacesResponse{}
		for _, name := range []string{"deploy", "orders"} {
			resp.Namespaces = append(resp.Namespaces, &workflowservice.DescribeNamespaceResponse{NamespaceInfo: &namespacepb.NamespaceInfo{Name: name}})
		}
		s.FilterResponse(a, resp)
		for _, n := range resp.Namespaces {
			names = append(names, n.GetNamespaceInfo().GetName())
		}
		return names
	}
	if got := list(); !slices.Equal(got, []string{"orders"}) {
		t.Errorf("sees %v", got)
	}
	s.now.Store(int64(time.Until(g.Expires)) + 1)
	if got := list(); len(got) != 0 {
		t.Errorf("sees %v after the grant's end", got)
	}
}

func TestRevokedCallersAreRefused(t *testing.T) {
	s := newStandingKit(t, "", nil)
	token := s.issuer.Token(map[string]any{"sub": erin, "uid": bailiwicktest.UID(erin), "groups": []string{"temporal:deploy:write"}, "cid": "0oacli", "sid": "session-1", "act": map[string]any{"sub": "0oaagent", "sub_profile": "ai_agent"}})
	call := s.call("StartWorkflowExecution", startRequest(), token)
	old, young := time.Now().Add(-time.Hour), time.Now().Add(time.Minute)
	for _, tc := range []struct {
		name  string
		bar   standing.Bar
		takes bool
		hint  string
	}{
		{"the person", standing.Bar{Principal: s.principal(erin)}, true, "ask your operator"},
		{"another person", standing.Bar{Principal: s.principal("dave@acme.example")}, false, ""},
		{"the client", standing.Bar{ClientID: "0oacli"}, true, "ask your operator"},
		{"another client", standing.Bar{ClientID: "0oacl"}, false, ""},
		{"the agent that acts", standing.Bar{ClientID: "0oaagent"}, true, "ask your operator"},
		{"the agent by its principal", standing.Bar{Principal: "client:" + s.issuer.URL + "|0oaagent"}, true, "ask your operator"},
		{"the session", standing.Bar{SessionID: "session-1", Before: young}, true, "log in again"},
		{"another session", standing.Bar{SessionID: "session-2"}, false, ""},
		{"tokens from before", standing.Bar{Principal: s.principal(erin), Before: young}, true, "log in again"},
		{"tokens from long before", standing.Bar{Principal: s.principal(erin), Before: old}, false, ""},
	} {
		tc.bar.ID, tc.bar.Reason, tc.bar.Since = "b-1", "user_deactivated", old
		s.apply(t, standing.Event{Kind: standing.EventBar, Bar: &tc.bar})
		_, err := s.Admit(t.Context(), call)
		if !tc.takes {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		} else if d := denial(t, err); d.Code != gate.CodeRevoked || d.GRPCStatus().Code() != codes.PermissionDenied || !strings.Contains(d.Message, tc.hint) || !strings.Contains(d.Message, "user_deactivated") {
			t.Errorf("%s: %v", tc.name, err)
		} else if e := s.log.last(t); e.Detail["bar"] != "b-1" || e.Detail["bar_reason"] != "user_deactivated" || e.Actor.Login != erin || e.Decision.Allow || string(e.Decision.Code) != gate.CodeRevoked {
			t.Errorf("%s: the entry does not say which bar: %+v", tc.name, e)
		}
		s.apply(t, standing.Event{Kind: standing.EventUnbar, Bar: &standing.Bar{ID: "b-1"}})
		if _, err := s.Admit(t.Context(), call); err != nil {
			t.Errorf("%s: lifted, and still %v", tc.name, err)
		}
	}
	// A grant is no way around.
	s.grant(t, "g-1", nil)
	who, err := s.Authenticate(t.Context(), call.Authorization, nil, call.Source, "Access.View")
	if err != nil {
		t.Fatal(err)
	}
	s.apply(t, standing.Event{Kind: standing.EventBar, Bar: &standing.Bar{ID: "b-2", Principal: s.principal(erin), Reason: "user_suspended"}})
	if _, err := s.Admit(t.Context(), s.call("StartWorkflowExecution", startIn("orders"), s.erin())); denial(t, err).Code != gate.CodeRevoked {
		t.Errorf("got %v", err)
	}
	// Nor is what is no Temporal call.
	if _, err := s.Authenticate(t.Context(), call.Authorization, nil, call.Source, "Access.View"); denial(t, err).Code != gate.CodeRevoked {
		t.Errorf("got %v", err)
	}
	if _, err := s.Judge(t.Context(), gate.Question{Who: who, Action: "Access.View", Resource: policy.Resource{Namespace: "deploy"}}); denial(t, err).Code != gate.CodeRevoked {
		t.Errorf("got %v", err)
	}
	s.apply(t, standing.Event{Kind: standing.EventUnbar, Bar: &standing.Bar{ID: "b-2"}},
		standing.Event{Kind: standing.EventPerson, Person: &standing.Person{Principal: s.principal(erin), AsOf: time.Now()}})
	if _, err := s.Admit(t.Context(), call); denial(t, err).Code != gate.CodeRevoked {
		t.Errorf("somebody inactive: %v", err)
	}
}

// A group that was taken away counts no more, though the token, and everything that remembers it, still names it.
func TestLostGroupsAreTakenOut(t *testing.T) {
	s := newStandingKit(t, `@id("sec") permit(principal in Group::"security", action == Action::"StartWorkflowExecution", resource);`, nil)
	token := s.issuer.User(erin, "temporal:deploy:write", "security", "other")
	start, read := s.call("StartWorkflowExecution", startRequest(), token), s.call("ListWorkflowExecutions", &workflowservice.ListWorkflowExecutionsRequest{Namespace: "deploy"}, token)
	for _, c := range []gate.Call{start, read} { // now everything is remembered
		if _, err := s.Admit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	before := s.log.last(t)
	bar := func(group string, at time.Time) standing.Event {
		return standing.Event{Kind: standing.EventBar, Bar: &standing.Bar{ID: group, Principal: s.principal(erin), Group: group, Before: at, Reason: "group_removed"}}
	}
	s.apply(t, bar("temporal:deploy:write", time.Now().Add(time.Second)), bar("other", time.Now().Add(-time.Hour)))
	if _, err := s.Admit(t.Context(), read); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("a lost group still opens: %v", err)
	}
	e := s.log.last(t)
	if e.Detail["groups_lost"] != "temporal:deploy:write" || !slices.Equal(e.Actor.Groups, []string{"security", "other"}) {
		t.Errorf("the entry does not say what was taken out: %v %v", e.Detail, e.Actor.Groups)
	}
	a, err := s.Admit(t.Context(), start)
	if err != nil {
		t.Fatalf("the groups that are left do not count: %v", err)
	}
	req := startRequest()
	if err := s.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	raw, _ := attest.FromPayload(req.Header.Fields[attest.HeaderKey])
	v, err := s.signer.PublicKeySet().Verify(raw, "bailiwick:test")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := s.Admit(t.Context(), s.call("StartWorkflowExecution", startRequest(), s.issuer.User("dave@acme.example", "other", "security")))
	if err != nil {
		t.Fatal(err)
	}
	req = startRequest()
	if err := s.Stamp(whole, req); err != nil {
		t.Fatal(err)
	}
	raw, _ = attest.FromPayload(req.Header.Fields[attest.HeaderKey])
	same, err := s.signer.PublicKeySet().Verify(raw, "bailiwick:test")
	if err != nil || same.Statement().GroupsDigest != v.Statement().GroupsDigest {
		t.Errorf("the attestation speaks of groups that are lost: %v", err)
	}
	if !slices.Equal(before.Actor.Groups, []string{"temporal:deploy:write", "security", "other"}) {
		t.Errorf("what was shared was changed: %v", before.Actor.Groups)
	}
	s.apply(t, bar("security", time.Time{}))
	if _, err := s.Admit(t.Context(), start); denial(t, err).Code != string(policy.CodeNoPermission) {
		t.Errorf("the second group: %v", err)
	}
	s.apply(t, standing.Event{Kind: standing.EventUnbar, Bar: &standing.Bar{ID: "security"}}, standing.Event{Kind: standing.EventUnbar, Bar: &standing.Bar{ID: "temporal:deploy:write"}})
	for _, c := range []gate.Call{start, read} {
		if _, err := s.Admit(t.Context(), c); err != nil {
			t.Errorf("given back, and still %v", err)
		}
	}
}

// slowRuns lets a test act while a run is being looked up.
type slowRuns struct {
	*resolver
	during func()
}

func (r slowRuns) Describe(ctx context.Context, ns, id, run string) (gate.Execution, error) {
	r.during()
	return r.resolver.Describe(ctx, ns, id, run)
}

// A grant counts at the moment when the decision is made, not when the call came.
func TestGrantsThatEndWhileACallIsDecided(t *testing.T) {
	var s *standingKit
	var g *standing.Grant
	for name, during := range map[string]func(){
		"expired": func() { s.now.Store(int64(time.Until(g.Expires)) + 1) },
		"revoked": func() {
			s.apply(t, standing.Event{Kind: standing.EventRevoke, Grant: &standing.Grant{ID: "g-1"}})
		},
		"replaced by another": func() {
			s.grant(t, "g-1", func(g *standing.Grant) { g.Role = "read" })
		},
	} {
		s = newStandingKit(t, "", slowRuns{fleet(), during})
		g = s.grant(t, "g-1", func(g *standing.Grant) { g.WorkflowType = "harmless" })
		if _, err := s.Admit(t.Context(), s.call("TerminateWorkflowExecution", terminate("tea-1", ""), s.erin())); denial(t, err).Code != gate.CodeGrantInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if e := s.log.last(t); e.Decision.Allow || e.Granted {
			t.Errorf("%s: on record as %+v", name, e)
		}
	}
	s = newStandingKit(t, "", slowRuns{fleet(), func() { // extended meanwhile
		s.grant(t, "g-1", func(n *standing.Grant) { n.WorkflowType, n.Expires = "harmless", n.Expires.Add(time.Hour) })
	}})
	s.grant(t, "g-1", func(g *standing.Grant) { g.WorkflowType = "harmless" })
	if _, err := s.Admit(t.Context(), s.call("TerminateWorkflowExecution", terminate("tea-1", ""), s.erin())); err != nil {
		t.Errorf("extended: %v", err)
	}
}

// However revoking and deciding race, no call is allowed that began after the revocation was applied.
func TestRevocationIsBeforeTheNextDecision(t *testing.T) {
	s := newStandingKit(t, "", nil)
	token := s.erin()
	var revoked atomic.Bool
	var wg sync.WaitGroup
	for round := range 20 {
		id := "g-" + string(rune('a'+round))
		s.grant(t, id, nil)
		revoked.Store(false)
		for range 3 {
			wg.Go(func() {
				for range 50 {
					after := revoked.Load()
					_, err := s.Admit(t.Context(), s.call("StartWorkflowExecution", startIn("orders"), token))
					if after && err == nil {
						t.Error("a call was allowed after its grant was revoked")
						return
					}
				}
			})
		}
		s.apply(t, standing.Event{Kind: standing.EventRevoke, Grant: &standing.Grant{ID: id}})
		revoked.Store(true)
		wg.Wait()
	}
}
