package gate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// resolver knows runs by workflow id, or by "workflow id/run id".
type resolver struct {
	runs  map[string]gate.Execution
	err   error
	asked atomic.Int64

	started map[string]*historypb.WorkflowExecutionStartedEventAttributes // by "workflow id/run id"
	read    atomic.Int64                                                  // first events that were read
	listed  atomic.Int64

	attributes map[string]map[string]enumspb.IndexedValueType // by namespace
	queues     map[string]string                              // by "workflow id/activity id"
}

func (r *resolver) Describe(_ context.Context, _, workflowID, runID string) (gate.Execution, error) {
	r.asked.Add(1)
	if r.err != nil {
		return gate.Execution{}, r.err
	}
	key := workflowID
	if runID != "" {
		key += "/" + runID
	}
	if e, ok := r.runs[key]; ok {
		return e, nil
	}
	return gate.Execution{}, fmt.Errorf("looking: %w", gate.ErrNoRun)
}

func (r *resolver) Started(_ context.Context, _, workflowID, runID string) (*historypb.WorkflowExecutionStartedEventAttributes, error) {
	r.read.Add(1)
	if r.err != nil {
		return nil, r.err
	}
	if s, ok := r.started[workflowID+"/"+runID]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("looking: %w", gate.ErrNoRun)
}

func (r *resolver) SearchAttributes(_ context.Context, namespace string) (map[string]enumspb.IndexedValueType, error) {
	r.listed.Add(1)
	if r.err != nil {
		return nil, r.err
	}
	return r.attributes[namespace], nil
}

func (r *resolver) ActivityQueue(_ context.Context, _, workflowID, _, activityID string) (string, error) {
	r.asked.Add(1)
	if q, ok := r.queues[workflowID+"/"+activityID]; ok && r.err == nil {
		return q, nil
	}
	return "", errors.New("no such activity")
}

const noDeploySignals = `@id("no-deploy-signals") @reason("deploys are not to be disturbed")
forbid(principal, action in [Action::"SignalWorkflowExecution", Action::"TerminateWorkflowExecution", Action::"UpdateWorkflowExecution", Action::"Command.SignalExternalWorkflowExecution"], resource)
when { resource has type && resource.type == "deploy" };`

func fleet() *resolver {
	return &resolver{runs: map[string]gate.Execution{
		"ship-1":       {RunID: "run-d", Type: "deploy", TaskQueue: "q", Running: true},
		"ship-1/run-d": {RunID: "run-d", Type: "deploy", TaskQueue: "q", Running: true},
		"ship-1/run-h": {RunID: "run-h", Type: "harmless", TaskQueue: "q"},
		"tea-1":        {RunID: "run-t", Type: "harmless", TaskQueue: "q", SearchAttributes: []string{"env", "env=dev"}, Running: true},
		"done-1":       {RunID: "run-x", Type: "deploy", TaskQueue: "q"},
	}}
}

func signalTo(id, run string) *workflowservice.SignalWorkflowExecutionRequest {
	return &workflowservice.SignalWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: run}, SignalName: "go"}
}

// The request names only an id; what policy forbids is a type.
func TestRunsAreResolvedAndPinned(t *testing.T) {
	k := newKitWith(t, noDeploySignals, gate.Config{Runs: fleet()})
	refused := signalTo("ship-1", "")
	_, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", refused, k.alice()))
	if d := denial(t, err); d.Code != "forbidden" || !strings.Contains(d.Message, "not to be disturbed") {
		t.Fatalf("a deploy was signalled: %v", err)
	}
	if e := k.log.last(t); e.Resource.WorkflowType != "deploy" || e.Resource.RunID != "run-d" {
		t.Errorf("the entry does not say what the run is: %+v", e.Resource)
	}

	allowed := signalTo("tea-1", "")
	a, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", allowed, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, allowed); err != nil {
		t.Fatal(err)
	}
	if allowed.WorkflowExecution.RunId != "run-t" {
		t.Errorf("the run is not pinned: %v", allowed.WorkflowExecution)
	}
	raw, _ := attest.FromPayload(allowed.Header.Fields[attest.HeaderKey])
	if v, err := k.signer.PublicKeySet().Verify(raw, "bailiwick:test"); err != nil || v.Statement().Binding.RunID != "run-t" {
		t.Errorf("the statement is not about that run: %v %v", v.Statement().Binding, err)
	}
	if e := k.log.last(t); e.Resource.WorkflowType != "harmless" || e.Resource.RunID != "run-t" || len(e.Resource.SearchAttributes) != 2 {
		t.Errorf("the entry does not say what the run is: %+v", e.Resource)
	}

	// An admission is for the request that was decided on.
	other := signalTo("ship-1", "")
	if err := k.Stamp(a, other); err == nil || other.WorkflowExecution.RunId != "" {
		t.Errorf("another workflow was stamped: %v %v", other, err)
	}
	if err := k.Stamp(a, signalTo("tea-1", "another-run")); err == nil {
		t.Error("another run was stamped")
	}

	// A run that is named is taken at its word.
	if _, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", signalTo("ship-1", "run-h"), k.alice())); err != nil {
		t.Errorf("a former run of another type: %v", err)
	}
}

func TestWhatCannotBeLookedUpIsDenied(t *testing.T) {
	broken := &resolver{err: errors.New("connection refused by 10.0.0.7")}
	for name, k := range map[string]*kit{
		"no resolver":     newKit(t, noDeploySignals),
		"broken resolver": newKitWith(t, noDeploySignals, gate.Config{Runs: broken}),
		"empty answer":    newKitWith(t, noDeploySignals, gate.Config{Runs: &resolver{runs: map[string]gate.Execution{"tea-1": {}}}}),
		"another run":     newKitWith(t, noDeploySignals, gate.Config{Runs: &resolver{runs: map[string]gate.Execution{"tea-1/run-t": {RunID: "run-u", Type: "harmless"}}}}),
	} {
		run := ""
		if name == "another run" {
			run = "run-t"
		}
		_, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", signalTo("tea-1", run), k.alice()))
		d := denial(t, err)
		if d.Code != "unresolved" || d.GRPCStatus().Code() != codes.PermissionDenied || strings.Contains(d.Message, "10.0.0.7") {
			t.Errorf("%s: %v", name, err)
		}
		// Where no policy looks at the type, nothing needs looking up.
		if _, err := k.Admit(t.Context(), k.call("QueryWorkflow", &workflowservice.QueryWorkflowRequest{Namespace: "deploy", Execution: &commonpb.WorkflowExecution{WorkflowId: "tea-1"}}, k.alice())); err != nil {
			t.Errorf("%s: a query: %v", name, err)
		}
	}
}

func TestAbsentRunsAreToldToReadersOnly(t *testing.T) {
	runs := fleet()
	k := newKitWith(t, noDeploySignals, gate.Config{Runs: runs})
	_, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", signalTo("nowhere", ""), k.alice()))
	if d := denial(t, err); d.Code != gate.CodeNotFound || d.GRPCStatus().Code() != codes.NotFound {
		t.Errorf("alice may read: %v", err)
	}
	asked := runs.asked.Load()
	for _, group := range []string{"temporal:deploy:read", "temporal:payments:write"} {
		for _, id := range []string{"nowhere", "ship-1", "tea-1"} {
			_, err = k.Admit(t.Context(), k.call("SignalWorkflowExecution", signalTo(id, ""), k.issuer.User("rita@acme.example", group)))
			if d := denial(t, err); d.Code != "no_permission" {
				t.Errorf("%s to somebody with %s: %v", id, group, err)
			}
		}
	}
	if runs.asked.Load() != asked {
		t.Error("a run was looked up for somebody who may not signal any")
	}
}

// Without pinning, an answer that is a moment old would be a hole; with it, it saves asking again.
func TestAnswersAreKeptForAMoment(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	runs := fleet()
	timed := newKitWith(t, noDeploySignals, gate.Config{Runs: runs, Clock: func() time.Time { return time.Unix(0, now.Load()) }})
	ask := func() *workflowservice.SignalWorkflowExecutionRequest {
		t.Helper()
		req := signalTo("tea-1", "")
		a, err := timed.Admit(t.Context(), timed.call("SignalWorkflowExecution", req, timed.alice()))
		if err != nil {
			t.Fatal(err)
		}
		if err := timed.Stamp(a, req); err != nil {
			t.Fatal(err)
		}
		return req
	}
	ask()
	ask()
	if n := runs.asked.Load(); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	// The id is used again: the old answer still pins the old run, never the new one.
	runs.runs["tea-1"] = gate.Execution{RunID: "run-2", Type: "deploy", Running: true}
	if req := ask(); req.WorkflowExecution.RunId != "run-t" {
		t.Errorf("decided on run-t, acts on %s", req.WorkflowExecution.RunId)
	}
	now.Add(int64(2 * time.Second))
	if _, err := timed.Admit(t.Context(), timed.call("SignalWorkflowExecution", signalTo("tea-1", ""), timed.alice())); denial(t, err).Code != "forbidden" {
		t.Errorf("after a moment: %v", err)
	}
	now.Add(-int64(time.Hour)) // a clock that is set back makes answers old, not eternal
	asked := runs.asked.Load()
	_, _ = timed.Admit(t.Context(), timed.call("SignalWorkflowExecution", signalTo("tea-1", ""), timed.alice()))
	if runs.asked.Load() == asked {
		t.Error("an answer from the future was used")
	}
}

// hangs never answers.
// A run that has ended while it was remembered, as one does that continues as new, is looked up anew as soon as Temporal has said so.
func TestMissedRunsAreForgotten(t *testing.T) {
	f := fleet()
	f.runs["cup-1"] = gate.Execution{RunID: "run-c", Type: "harmless", TaskQueue: "q"}
	k := newKitWith(t, noDeploySignals, gate.Config{Runs: f})
	admit := func(id, run string) (*gate.Admission, string) {
		t.Helper()
		req := signalTo(id, run)
		a, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", req, k.alice()))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Stamp(a, req); err != nil {
			t.Fatal(err)
		}
		return a, req.WorkflowExecution.RunId
	}
	if a, _ := admit("cup-1", ""); k.Missed(a) {
		t.Error("a run that had ended when it was looked up: asking again does not help")
	}
	admit("tea-1", "")
	f.runs["tea-1"] = gate.Execution{RunID: "run-u", Type: "harmless", TaskQueue: "q", Running: true}
	a, run := admit("tea-1", "")
	if run != "run-t" || !k.Missed(a) {
		t.Errorf("decided on %s, which was remembered and has ended", run)
	}
	if a, run = admit("tea-1", ""); run != "run-u" || !k.Missed(a) {
		t.Errorf("asked again, and decided on %s, which ran a moment ago", run)
	}
	admit("ship-1", "run-h")
	if a, _ = admit("ship-1", "run-h"); k.Missed(a) {
		t.Error("a run that the caller named is gone for good")
	}
}

type hangs struct{}

func (hangs) Started(ctx context.Context, _, _, _ string) (*historypb.WorkflowExecutionStartedEventAttributes, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangs) SearchAttributes(ctx context.Context, _ string) (map[string]enumspb.IndexedValueType, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangs) ActivityQueue(ctx context.Context, _, _, _, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func (hangs) Describe(ctx context.Context, _, _, _ string) (gate.Execution, error) {
	<-ctx.Done()
	return gate.Execution{}, ctx.Err()
}

func TestSilentResolverIsGivenUp(t *testing.T) {
	t.Parallel() // it waits for real: tokens are valid only now
	k := newKitWith(t, noDeploySignals, gate.Config{Runs: hangs{}})
	began := time.Now()
	_, err := k.Admit(t.Context(), k.call("SignalWorkflowExecution", signalTo("tea-1", ""), k.alice()))
	if denial(t, err).Code != "unresolved" || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// Signal-with-start, update-with-start and starts that terminate act on whichever run is under way, of whatever type.
func TestDeclaredTypesDoNotHideRunningOnes(t *testing.T) {
	sws := func(id, typ string) *workflowservice.SignalWithStartWorkflowExecutionRequest {
		return &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: typ}, SignalName: "go"}
	}
	uws := func(id string) *workflowservice.ExecuteMultiOperationRequest {
		start := startRequest()
		start.WorkflowId, start.WorkflowType.Name = id, "harmless"
		return &workflowservice.ExecuteMultiOperationRequest{Namespace: "deploy", Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: start}},
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: &workflowservice.UpdateWorkflowExecutionRequest{
				Namespace: "deploy", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}, Request: &updatepb.Request{Input: &updatepb.Input{Name: "u"}},
			}}},
		}}
	}
	startOf := func(req *workflowservice.ExecuteMultiOperationRequest, typ string) any {
		req.Operations[0].GetStartWorkflow().WorkflowType.Name = typ
		return req
	}
	instead := func(req any, typ string) any { // of the run under way, one of this type
		const policy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
		switch r := req.(type) {
		case *workflowservice.SignalWithStartWorkflowExecutionRequest:
			r.WorkflowIdConflictPolicy = policy
		case *workflowservice.ExecuteMultiOperationRequest:
			r.Operations[0].GetStartWorkflow().WorkflowIdConflictPolicy, r.Operations[0].GetStartWorkflow().WorkflowType.Name = policy, typ
		}
		return req
	}
	replace := func(id string) *workflowservice.StartWorkflowExecutionRequest {
		start := startRequest()
		start.WorkflowId, start.WorkflowType.Name = id, "harmless"
		start.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
		return start
	}
	runs := fleet()
	k := newKitWith(t, noDeploySignals, gate.Config{Runs: runs})
	for _, tc := range []struct {
		name, method string
		req          any
		code         string
	}{
		{"signal to a running deploy", "SignalWithStartWorkflowExecution", sws("ship-1", "harmless"), "forbidden"},
		{"signal to a new deploy", "SignalWithStartWorkflowExecution", sws("new", "deploy"), "forbidden"},
		{"signal to a running other, or to a new deploy if that ends meanwhile", "SignalWithStartWorkflowExecution", sws("tea-1", "deploy"), "forbidden"},
		{"signal to a running other, or to a new one", "SignalWithStartWorkflowExecution", sws("tea-1", "harmless"), ""},
		{"signal where a deploy has ended", "SignalWithStartWorkflowExecution", sws("done-1", "harmless"), ""},
		{"signal to a new other", "SignalWithStartWorkflowExecution", sws("new", "harmless"), ""},
		{"update of a running deploy", "ExecuteMultiOperation", uws("ship-1"), "forbidden"},
		{"update of a running other", "ExecuteMultiOperation", uws("tea-1"), ""},
		{"update of a running other, or of a new deploy if that ends meanwhile", "ExecuteMultiOperation", startOf(uws("tea-1"), "deploy"), "forbidden"},
		{"update of a new other", "ExecuteMultiOperation", uws("new"), ""},
		{"signal to a deploy in place of a running other", "SignalWithStartWorkflowExecution", instead(sws("tea-1", "deploy"), ""), "forbidden"},
		{"signal to an other in place of a running other", "SignalWithStartWorkflowExecution", instead(sws("tea-1", "harmless"), ""), ""},
		{"update of a deploy in place of a running other", "ExecuteMultiOperation", instead(uws("tea-1"), "deploy"), "forbidden"},
		{"update of an other in place of a running other", "ExecuteMultiOperation", instead(uws("tea-1"), "harmless"), ""},
		{"end of a running deploy", "StartWorkflowExecution", replace("ship-1"), "forbidden"},
		{"end of a running other", "StartWorkflowExecution", replace("tea-1"), ""},
	} {
		_, err := k.Admit(t.Context(), k.call(tc.method, tc.req, k.alice()))
		if tc.code == "" && err != nil {
			t.Errorf("%s: %v", tc.name, err)
		} else if tc.code != "" && denial(t, err).Code != tc.code {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	runs.err = errors.New("down")
	if _, err := k.Admit(t.Context(), k.call("SignalWithStartWorkflowExecution", sws("new", "harmless"), k.alice())); denial(t, err).Code != "unresolved" {
		t.Errorf("with the resolver down: %v", err)
	}
}

func TestBatchPinsEachRun(t *testing.T) {
	k := newKitWith(t, noDeploySignals, gate.Config{Runs: fleet()})
	op := &workflowservice.StartBatchOperationRequest_TerminationOperation{}
	req := batch(op, "tea-1", "ship-1")
	if _, err := k.Admit(t.Context(), k.call("StartBatchOperation", req, k.alice())); denial(t, err).Code != "forbidden" {
		t.Errorf("a deploy among others: %v", err)
	}
	req = batch(op, "tea-1")
	a, err := k.Admit(t.Context(), k.call("StartBatchOperation", req, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil || req.TargetExecutions[0].RunId != "run-t" {
		t.Errorf("not pinned: %v %v", req.TargetExecutions, err)
	}
}

func TestWorkersCommandsAreDecided(t *testing.T) {
	worker := func(k *kit) string { return k.issuer.Client("0oadeployworker00001") }
	task := func(commands ...*commandpb.Command) *workflowservice.RespondWorkflowTaskCompletedRequest {
		return &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", Commands: commands}
	}
	child := func(namespace, typ string, reuse enumspb.WorkflowIdReusePolicy) *commandpb.Command {
		return &commandpb.Command{Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{
			//lint:ignore SA1019 deprecated, and still obeyed by the server
			Namespace: namespace, WorkflowId: "child-1", WorkflowType: &commonpb.WorkflowType{Name: typ}, WorkflowIdReusePolicy: reuse,
		}}}
	}
	signal := func(id string) *commandpb.Command {
		return &commandpb.Command{Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{SignalExternalWorkflowExecutionCommandAttributes: &commandpb.SignalExternalWorkflowExecutionCommandAttributes{
			Execution: &commonpb.WorkflowExecution{WorkflowId: id}, SignalName: "go",
		}}}
	}
	cancel := &commandpb.Command{Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{RequestCancelExternalWorkflowExecutionCommandAttributes: &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{WorkflowId: "tea-1"}}}
	nexus := &commandpb.Command{Attributes: &commandpb.Command_ScheduleNexusOperationCommandAttributes{ScheduleNexusOperationCommandAttributes: &commandpb.ScheduleNexusOperationCommandAttributes{Endpoint: "billing"}}}
	again := &commandpb.Command{Attributes: &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{ContinueAsNewWorkflowExecutionCommandAttributes: &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{
		WorkflowType: &commonpb.WorkflowType{Name: "deploy"},
	}}}

	k := newKitWith(t, "", gate.Config{Runs: fleet()})
	for _, tc := range []struct {
		name, forbid string
		command      *commandpb.Command
	}{
		{"child", `action == Action::"Command.StartChildWorkflowExecution", resource) when { resource has type && resource.type == "deploy" }`, child("", "deploy", 0)},
		{"child, namespace spelt out", `action == Action::"Command.StartChildWorkflowExecution", resource)`, child("deploy", "other", 0)},
		{"signal", `action == Action::"Command.SignalExternalWorkflowExecution", resource) when { context has signal && context.signal == "go" }`, signal("tea-1")},
		{"cancel", `action == Action::"Command.RequestCancelExternalWorkflowExecution", resource)`, cancel},
		{"nexus", `action == Action::"Command.ScheduleNexusOperation", resource) when { context has endpoint && context.endpoint == "billing" }`, nexus},
		{"continue as new", `action == Action::"Command.ContinueAsNewWorkflowExecution", resource) when { resource has type && resource.type == "deploy" }`, again},
	} {
		k.setPolicies(t, "")
		if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(tc.command), worker(k))); err != nil {
			t.Errorf("%s, without the forbid: %v", tc.name, err)
		}
		k.setPolicies(t, `@id("no") forbid(principal, `+tc.forbid+`;`)
		_, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(tc.command), worker(k)))
		if denial(t, err).Code != "forbidden" {
			t.Errorf("%s: %v", tc.name, err)
		}
		if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(), worker(k))); err != nil {
			t.Errorf("%s, an answer without it: %v", tc.name, err)
		}
	}

	k.setPolicies(t, noDeploySignals)
	if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(signal("ship-1")), worker(k))); denial(t, err).Code != "forbidden" {
		t.Errorf("a signal to a running deploy: %v", err)
	}
	if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(signal("tea-1")), worker(k))); err != nil {
		t.Errorf("a signal to another: %v", err)
	}
	if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(signal("nowhere")), worker(k))); denial(t, err).Code != "unresolved" {
		t.Errorf("a signal to nobody: %v", err)
	}
	// Ending a run by starting a child over it is terminating.
	_, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(child("", "tea", enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING)), worker(k))) //lint:ignore SA1019 clients still send it
	if denial(t, err).Code != "no_permission" {
		t.Errorf("a child over a running workflow: %v", err)
	}
	// Behind Temporal's own endpoint is a signal with start, of what only the input says.
	system := &commandpb.Command{Attributes: &commandpb.Command_ScheduleNexusOperationCommandAttributes{ScheduleNexusOperationCommandAttributes: &commandpb.ScheduleNexusOperationCommandAttributes{Endpoint: "__temporal_system"}}}
	k.setPolicies(t, "")
	if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(system), worker(k))); denial(t, err).Code != "no_permission" {
		t.Errorf("an operation of Temporal's own endpoint: %v", err)
	}
	// Commands for other namespaces are the server's to ask about, each as the call that it stands for.
	if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(child("payments", "pay", 0)), worker(k))); err != nil {
		t.Errorf("a child elsewhere: %v", err)
	}
	if e := k.log.last(t); len(e.Acts) != 0 {
		t.Errorf("it was decided here: %+v", e.Acts)
	}
	// A worker is never refused because it does much; the entry stays writable and says how much it leaves out.
	var many []*commandpb.Command
	for range 1000 {
		many = append(many, child("", "tea", 0))
	}
	if _, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", task(many...), worker(k))); err != nil {
		t.Fatal(err)
	}
	e := k.log.last(t)
	if _, err := e.Marshal(); err != nil || len(e.Acts) < 100 || e.Detail["acts_omitted"] == "" {
		t.Errorf("%d acts, %v, %v", len(e.Acts), e.Detail, err)
	}
}

// A method that acts on an existing run and has no place for the run's id known to the gate would be decided without it.
func TestEveryExistingRunCanBePinned(t *testing.T) {
	k := newKitWith(t, `@id("no") forbid(principal, action, resource is Workflow) when { resource has type && resource.type == "deploy" };`, gate.Config{Runs: &resolver{runs: map[string]gate.Execution{
		"some-workflow-id": {RunID: "pinned", Type: "harmless", Running: true}, "some-workflow-id/some-run-id": {RunID: "some-run-id", Type: "deploy"},
	}}})
	for _, m := range apiMethods(t) {
		action, ok := policy.LookupAction(m.name)
		if !ok || action.Scope != policy.ScopeWorkflow || strings.Contains(m.name, "Start") {
			continue
		}
		req := m.usual("deploy")
		carol := k.issuer.User("carol@acme.example", "temporal:deploy:admin")
		c := gate.Call{Method: m.full, Request: req, Authorization: []string{"Bearer " + carol}, Reason: []string{"a test"}}
		if _, err := k.Admit(t.Context(), c); denial(t, err).Code != "forbidden" {
			t.Errorf("%s on a run of the forbidden type: %v", m.name, err)
		}
		if n := clearRunIDs(req.ProtoReflect()); n == 0 {
			t.Errorf("%s has no run id", m.name)
		}
		a, err := k.Admit(t.Context(), c)
		if err != nil {
			t.Errorf("%s on another run: %v", m.name, err)
			continue
		}
		if err := k.Stamp(a, req); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if !strings.Contains(fmt.Sprint(req), "pinned") {
			t.Errorf("%s is not pinned: %v", m.name, req)
		}
	}
}

func clearRunIDs(m protoreflect.Message) (n int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Name() == "run_id":
			m.Clear(f)
			n++
		case f.Message() != nil && !f.IsList() && !f.IsMap():
			n += clearRunIDs(v.Message())
		}
		return true
	})
	return n
}
