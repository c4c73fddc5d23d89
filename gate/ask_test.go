package gate_test

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// None of these requests may be a detour to an act that a policy forbids.
func TestDetoursAreTakenApart(t *testing.T) {
	forbid := func(action string) string {
		return `@id("test-no-` + strings.ToLower(action) + `") @reason("not this") forbid(principal, action == Action::"` + action + `", resource);`
	}
	update := func(ns string) *workflowservice.UpdateWorkflowExecutionRequest {
		return &workflowservice.UpdateWorkflowExecutionRequest{Namespace: ns, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1"}, Request: &updatepb.Request{Input: &updatepb.Input{Name: "set-traffic"}}}
	}
	multi := func(ns string) *workflowservice.ExecuteMultiOperationRequest {
		return &workflowservice.ExecuteMultiOperationRequest{Namespace: "deploy", Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: startRequest()}},
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: update(ns)}},
		}}
	}
	replacing := startRequest()
	replacing.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	reusing := startRequest()
	reusing.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING //lint:ignore SA1019 clients still send it
	sws := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: "approve"}
	sched := &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "s", Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{
		Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}}},
	}}}

	for _, tc := range []struct {
		name, forbidden, method string
		req                     any
	}{
		{"update inside a multi-operation", "UpdateWorkflowExecution", "ExecuteMultiOperation", multi("deploy")},
		{"start inside a multi-operation", "StartWorkflowExecution", "ExecuteMultiOperation", multi("deploy")},
		{"start inside signal-with-start", "StartWorkflowExecution", "SignalWithStartWorkflowExecution", sws},
		{"signal inside signal-with-start", "SignalWorkflowExecution", "SignalWithStartWorkflowExecution", sws},
		{"termination by conflict policy", "TerminateWorkflowExecution", "StartWorkflowExecution", replacing},
		{"termination by reuse policy", "TerminateWorkflowExecution", "StartWorkflowExecution", reusing},
		{"start by schedule", "StartWorkflowExecution", "CreateSchedule", sched},
	} {
		t.Run(tc.name, func(t *testing.T) {
			open := newKit(t, "")
			if _, err := open.Admit(t.Context(), open.call(tc.method, tc.req, open.alice())); err != nil {
				t.Fatalf("without the forbid: %v", err)
			}
			k := newKit(t, forbid(tc.forbidden))
			_, err := k.Admit(t.Context(), k.call(tc.method, tc.req, k.alice()))
			if d := denial(t, err); d.Code != "forbidden" || !strings.Contains(d.Message, "not this") {
				t.Errorf("got %v", err)
			}
		})
	}
	k := newKit(t, "")
	_, err := k.Admit(t.Context(), k.call("ExecuteMultiOperation", multi("payments"), k.alice()))
	if d := denial(t, err); d.Code != "bad_request" {
		t.Errorf("an operation in another namespace: got %v", err)
	}
}
