package gate_test

import (
	"fmt"
	"strings"
	"testing"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

func batch(op any, ids ...string) *workflowservice.StartBatchOperationRequest {
	req := &workflowservice.StartBatchOperationRequest{Namespace: "deploy", JobId: "job", Reason: "tidying"}
	for _, id := range ids {
		req.TargetExecutions = append(req.TargetExecutions, &commonpb.Execution{Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: id})
	}
	if len(ids) == 0 {
		req.VisibilityQuery = "WorkflowType = 'deploy'"
	}
	switch op := op.(type) {
	case *workflowservice.StartBatchOperationRequest_TerminationOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_SignalOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_CancellationOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_DeletionOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_ResetOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_UpdateWorkflowOptionsOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_UnpauseActivitiesOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_ResetActivitiesOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_UpdateActivityOptionsOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_CancelActivitiesOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_TerminateActivitiesOperation:
		req.Operation = op
	case *workflowservice.StartBatchOperationRequest_DeleteActivitiesOperation:
		req.Operation = op
	}
	return req
}

// What may not be done to one run may not be done to many, whichever way they are named.
func TestBatchesAreDecidedAsWhatTheyDo(t *testing.T) {
	signalAfter := []*workflowpb.PostResetOperation{{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{SignalWorkflow: &workflowpb.PostResetOperation_SignalWorkflow{SignalName: "approve"}}}}
	k := newKit(t, "")
	for _, tc := range []struct {
		forbidden string
		op        any
	}{
		{"TerminateWorkflowExecution", &workflowservice.StartBatchOperationRequest_TerminationOperation{}},
		{"SignalWorkflowExecution", &workflowservice.StartBatchOperationRequest_SignalOperation{}},
		{"RequestCancelWorkflowExecution", &workflowservice.StartBatchOperationRequest_CancellationOperation{}},
		{"DeleteWorkflowExecution", &workflowservice.StartBatchOperationRequest_DeletionOperation{}},
		{"ResetWorkflowExecution", &workflowservice.StartBatchOperationRequest_ResetOperation{}},
		{"SignalWorkflowExecution", &workflowservice.StartBatchOperationRequest_ResetOperation{ResetOperation: &batchpb.BatchOperationReset{PostResetOperations: signalAfter}}},
		{"UpdateWorkflowExecutionOptions", &workflowservice.StartBatchOperationRequest_UpdateWorkflowOptionsOperation{}},
		{"UnpauseActivity", &workflowservice.StartBatchOperationRequest_UnpauseActivitiesOperation{}},
		{"ResetActivity", &workflowservice.StartBatchOperationRequest_ResetActivitiesOperation{}},
		{"UpdateActivityOptions", &workflowservice.StartBatchOperationRequest_UpdateActivityOptionsOperation{}},
		{"RequestCancelActivityExecution", &workflowservice.StartBatchOperationRequest_CancelActivitiesOperation{}},
		{"TerminateActivityExecution", &workflowservice.StartBatchOperationRequest_TerminateActivitiesOperation{}},
		{"DeleteActivityExecution", &workflowservice.StartBatchOperationRequest_DeleteActivitiesOperation{}},
	} {
		t.Run(fmt.Sprintf("%s by %T", tc.forbidden, tc.op), func(t *testing.T) {
			for _, req := range []*workflowservice.StartBatchOperationRequest{batch(tc.op), batch(tc.op, "ship-1", "ship-2")} {
				k.setPolicies(t, "")
				if _, err := k.Admit(t.Context(), k.call("StartBatchOperation", req, k.alice())); err != nil {
					t.Fatalf("without the forbid: %v", err)
				}
				k.setPolicies(t, `@id("no") @reason("not this") forbid(principal, action == Action::"`+tc.forbidden+`", resource);`)
				_, err := k.Admit(t.Context(), k.call("StartBatchOperation", req, k.alice()))
				if d := denial(t, err); d.Code != "forbidden" {
					t.Errorf("%d named: got %v", len(req.GetTargetExecutions()), err)
				}
			}
		})
	}
}

func TestBatchByQueryIsUnresolved(t *testing.T) {
	k := newKit(t, `@id("no-deploys") @reason("not deploys") forbid(principal, action == Action::"TerminateWorkflowExecution", resource) when { resource has type && resource.type == "deploy" };`)
	req := batch(&workflowservice.StartBatchOperationRequest_TerminationOperation{})
	_, err := k.Admit(t.Context(), k.call("StartBatchOperation", req, k.alice()))
	if d := denial(t, err); d.Code != "unresolved" {
		t.Fatalf("got %v", err)
	}
	if e := k.log.last(t); len(e.Acts) != 1 || !e.Acts[0].Resource.Unresolved || e.Acts[0].Action != "TerminateWorkflowExecution" {
		t.Errorf("the entry does not say what was refused: %+v", e.Acts)
	}
}

func TestBatchRecordsEachRun(t *testing.T) {
	k := newKit(t, "")
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprintf("ship-%d", i))
	}
	op := &workflowservice.StartBatchOperationRequest_TerminationOperation{}
	if _, err := k.Admit(t.Context(), k.call("StartBatchOperation", batch(op, ids...), k.alice())); err != nil {
		t.Fatal(err)
	}
	e := k.log.last(t)
	if len(e.Acts) != 100 || e.Acts[99].Resource.WorkflowID != "ship-99" || e.Acts[99].Action != "TerminateWorkflowExecution" {
		t.Errorf("the entry has %d acts", len(e.Acts))
	}
	if _, err := e.Marshal(); err != nil {
		t.Errorf("the entry can't be written: %v", err)
	}
	for i := range ids {
		ids[i] = strings.Repeat("x", 1000) + ids[i]
	}
	_, err := k.Admit(t.Context(), k.call("StartBatchOperation", batch(op, ids...), k.alice()))
	if d := denial(t, err); d.Code != "bad_request" || !strings.Contains(d.Message, "split") {
		t.Errorf("more than an entry can hold: %v", err)
	}
	_, err = k.Admit(t.Context(), k.call("StartBatchOperation", batch(nil, "ship-1"), k.alice()))
	if d := denial(t, err); d.Code != "bad_request" {
		t.Errorf("no operation that this gate knows: %v", err)
	}
}
