package gate_test

import (
	"testing"

	batchpb "go.temporal.io/api/batch/v1"
	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	querypb "go.temporal.io/api/query/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
)

func header(payload string) *commonpb.Header {
	return &commonpb.Header{Fields: map[string]*commonpb.Payload{
		attest.HeaderKey: attest.ToPayload(payload), "Bailiwick-Attestation": attest.ToPayload(payload), "other": attest.ToPayload("kept"),
	}}
}

// statement admits and stamps the request, and returns what the header then says.
func (k *kit) statement(t *testing.T, method string, req any, h func() *commonpb.Header) attest.Statement {
	t.Helper()
	c := k.call(method, req, k.alice())
	c.Reason = []string{"why"}
	a, err := k.Admit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	if n := len(h().GetFields()); n != 2 {
		t.Errorf("header has %d fields, want ours and the client's other one", n)
	}
	raw, ok := attest.FromPayload(h().GetFields()[attest.HeaderKey])
	if !ok {
		t.Fatal("no attestation in the header")
	}
	v, err := k.signer.PublicKeySet().Verify(raw, "bailiwick:test")
	if err != nil {
		t.Fatal(err)
	}
	s := v.Statement()
	if s.ID != a.ID() || s.Actor.Login != "alice@acme.example" || s.Originator != s.Actor || s.Reason != "why" || s.Issuer != "gate-1" || len(s.Policies) == 0 {
		t.Errorf("statement lacks facts: %+v", s)
	}
	return s
}

func TestStampSignsAndStripsClientCopies(t *testing.T) {
	k := newKit(t, "")
	exec := &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: "run-1"}

	start := startRequest()
	start.Header = header("forged")
	if s := k.statement(t, "StartWorkflowExecution", start, start.GetHeader); s.Edge != attest.EdgeStart || s.Binding.WorkflowID != "ship-1" || s.Binding.WorkflowType != "deploy" {
		t.Errorf("start: %+v", s)
	}
	signal := &workflowservice.SignalWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: exec, SignalName: "approve", Header: header("forged")}
	if s := k.statement(t, "SignalWorkflowExecution", signal, signal.GetHeader); s.Edge != attest.EdgeSignal || s.Binding.Name != "approve" || s.Binding.RunID != "run-1" {
		t.Errorf("signal: %+v", s)
	}
	update := &workflowservice.UpdateWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: exec, Request: &updatepb.Request{Input: &updatepb.Input{Name: "set-traffic", Header: header("forged")}}}
	if s := k.statement(t, "UpdateWorkflowExecution", update, update.Request.Input.GetHeader); s.Edge != attest.EdgeUpdate || s.Binding.Name != "set-traffic" {
		t.Errorf("update: %+v", s)
	}
	query := &workflowservice.QueryWorkflowRequest{Namespace: "deploy", Execution: exec, Query: &querypb.WorkflowQuery{QueryType: "state", Header: header("forged")}}
	if s := k.statement(t, "QueryWorkflow", query, query.Query.GetHeader); s.Edge != attest.EdgeQuery || s.Binding.Name != "state" {
		t.Errorf("query: %+v", s)
	}
	sws := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: "approve", Header: header("forged")}
	if s := k.statement(t, "SignalWithStartWorkflowExecution", sws, sws.GetHeader); s.Edge != attest.EdgeStart || s.Binding.Name != "approve" {
		t.Errorf("signal with start: %+v", s)
	}
	nightly := &workflowpb.NewWorkflowExecutionInfo{WorkflowId: "nightly", WorkflowType: &commonpb.WorkflowType{Name: "nightly-report"}, Header: header("forged")}
	sched := &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "nightly", Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{
		Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: nightly},
	}}}
	if s := k.statement(t, "CreateSchedule", sched, nightly.GetHeader); s.Edge != attest.EdgeSchedule || s.Binding.ScheduleID != "nightly" || s.Binding.WorkflowID != "nightly" {
		t.Errorf("schedule: %+v", s)
	}
	after := &workflowpb.PostResetOperation_SignalWorkflow{SignalName: "approve", Header: header("forged")}
	reset := &workflowservice.ResetWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: exec, PostResetOperations: []*workflowpb.PostResetOperation{
		{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{SignalWorkflow: after}}, {Variant: &workflowpb.PostResetOperation_UpdateWorkflowOptions_{}},
	}}
	if s := k.statement(t, "ResetWorkflowExecution", reset, after.GetHeader); s.Edge != attest.EdgeSignal || s.Binding.Name != "approve" || s.Binding.WorkflowID != "ship-1" || s.Binding.RunID != "" {
		t.Errorf("signal after a reset: %+v", s)
	}
	inner := startRequest()
	inner.Header = header("forged")
	multi := &workflowservice.ExecuteMultiOperationRequest{Namespace: "deploy", Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: inner}},
		{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: update}},
	}}
	if s := k.statement(t, "ExecuteMultiOperation", multi, inner.GetHeader); s.Edge != attest.EdgeStart {
		t.Errorf("multi-operation: %+v", s)
	}
}

func TestStampStripsWhereItDoesNotSign(t *testing.T) {
	k := newKit(t, "")
	admit := func(method string, req any) {
		t.Helper()
		a, err := k.Admit(t.Context(), k.call(method, req, k.issuer.User("carol@acme.example", "temporal:deploy:admin")))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Stamp(a, req); err != nil {
			t.Fatal(err)
		}
	}
	batch := &batchpb.BatchOperationSignal{Header: header("forged")}
	admit("StartBatchOperation", &workflowservice.StartBatchOperationRequest{Namespace: "deploy", Operation: &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: batch}})
	after := &workflowpb.PostResetOperation_SignalWorkflow{SignalName: "approve", Header: header("forged")}
	admit("StartBatchOperation", &workflowservice.StartBatchOperationRequest{Namespace: "deploy", Operation: &workflowservice.StartBatchOperationRequest_ResetOperation{ResetOperation: &batchpb.BatchOperationReset{
		PostResetOperations: []*workflowpb.PostResetOperation{{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{SignalWorkflow: after}}}}}})
	activity := &workflowservice.StartActivityExecutionRequest{Namespace: "deploy", Header: header("forged")}
	admit("StartActivityExecution", activity)
	for name, h := range map[string]*commonpb.Header{"batch signal": batch.Header, "signal after a batch of resets": after.Header, "standalone activity": activity.Header} {
		if len(h.Fields) != 1 || h.Fields["other"] == nil {
			t.Errorf("%s: forged attestations went through: %v", name, h.Fields)
		}
	}
}

// A worker may carry a statement forward; it can't make one.
func TestCarriedAttestationsMustBeOurs(t *testing.T) {
	k := newKit(t, "")
	start := startRequest()
	start.Header = header("x")
	k.statement(t, "StartWorkflowExecution", start, start.GetHeader)
	genuine, _ := attest.FromPayload(start.Header.Fields[attest.HeaderKey])

	activity := func(raw string) *commandpb.Command {
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{Header: &commonpb.Header{Fields: map[string]*commonpb.Payload{attest.HeaderKey: attest.ToPayload(raw)}}},
		}}
	}
	child := &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{
		StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{Header: header(genuine)},
	}}
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", Commands: []*commandpb.Command{activity(genuine), activity("forged"), child}}
	a, err := k.Admit(t.Context(), k.call("RespondWorkflowTaskCompleted", req, k.issuer.Client("0oadeployworker00001")))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	has := func(c *commandpb.Command) bool {
		return c.GetScheduleActivityTaskCommandAttributes().GetHeader().GetFields()[attest.HeaderKey] != nil
	}
	if !has(req.Commands[0]) || has(req.Commands[1]) {
		t.Errorf("genuine kept: %v, forged kept: %v", has(req.Commands[0]), has(req.Commands[1]))
	}
	fields := child.GetStartChildWorkflowExecutionCommandAttributes().Header.Fields
	if fields[attest.HeaderKey] == nil || fields["Bailiwick-Attestation"] != nil || fields["other"] == nil {
		t.Errorf("child's header: %v", fields)
	}
}

func TestSystemCallsKeepTheirHeaders(t *testing.T) {
	k := newKit(t, "")
	req := startRequest()
	req.Header = header("carried")
	a, err := k.AdmitSystem(t.Context(), gate.Call{Method: service + "StartWorkflowExecution", Request: req})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	if raw, _ := attest.FromPayload(req.Header.Fields[attest.HeaderKey]); raw != "carried" {
		t.Errorf("the scheduled start was overwritten with %q", raw)
	}
	if e := k.log.last(t); e.Actor.Principal != "temporal:internal" || !k.log.durable[a.ID()] {
		t.Errorf("a system start in a user's namespace was not recorded durably: %+v", e)
	}
}

func TestListNamespacesIsFiltered(t *testing.T) {
	k := newKit(t, "")
	req := &workflowservice.ListNamespacesRequest{}
	a, err := k.Admit(t.Context(), k.call("ListNamespaces", req, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	resp := &workflowservice.ListNamespacesResponse{}
	for _, n := range []string{"default", "deploy", "payments", "temporal-system"} {
		resp.Namespaces = append(resp.Namespaces, &workflowservice.DescribeNamespaceResponse{NamespaceInfo: &namespacepb.NamespaceInfo{Name: n}})
	}
	k.FilterResponse(a, resp)
	if len(resp.Namespaces) != 1 || resp.Namespaces[0].GetNamespaceInfo().GetName() != "deploy" {
		t.Errorf("alice sees %v", resp.Namespaces)
	}
}
