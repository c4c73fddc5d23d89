package gate

import (
	enumspb "go.temporal.io/api/enums/v1"
	rulespb "go.temporal.io/api/rules/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// batchAsks adds what a batch does to each run that it names, or once, unresolved, for the runs that its query will find.
func batchAsks(out []ask, req *workflowservice.StartBatchOperationRequest) ([]ask, error) {
	namespace := req.GetNamespace()
	act := ask{resource: policy.Resource{Namespace: namespace}}
	var after []*workflowpb.PostResetOperation
	activities := false // the batch is about standalone activities
	switch op := req.GetOperation().(type) {
	case *workflowservice.StartBatchOperationRequest_TerminationOperation:
		act.action = "TerminateWorkflowExecution"
	case *workflowservice.StartBatchOperationRequest_SignalOperation:
		act.action, act.resource.Signal = "SignalWorkflowExecution", op.SignalOperation.GetSignal()
	case *workflowservice.StartBatchOperationRequest_CancellationOperation:
		act.action = "RequestCancelWorkflowExecution"
	case *workflowservice.StartBatchOperationRequest_DeletionOperation:
		act.action = "DeleteWorkflowExecution"
	case *workflowservice.StartBatchOperationRequest_ResetOperation:
		act.action, after = "ResetWorkflowExecution", op.ResetOperation.GetPostResetOperations()
	case *workflowservice.StartBatchOperationRequest_UpdateWorkflowOptionsOperation:
		act.action = "UpdateWorkflowExecutionOptions"
		act.resource.Versioning = versioning(op.UpdateWorkflowOptionsOperation.GetWorkflowExecutionOptions().GetVersioningOverride())
	case *workflowservice.StartBatchOperationRequest_UnpauseActivitiesOperation:
		act.action = "UnpauseActivity"
	case *workflowservice.StartBatchOperationRequest_ResetActivitiesOperation:
		act.action = "ResetActivity"
	case *workflowservice.StartBatchOperationRequest_UpdateActivityOptionsOperation:
		act.action = "UpdateActivityOptions"
	case *workflowservice.StartBatchOperationRequest_CancelActivitiesOperation:
		act.action, activities = "RequestCancelActivityExecution", true
	case *workflowservice.StartBatchOperationRequest_TerminateActivitiesOperation:
		act.action, activities = "TerminateActivityExecution", true
	case *workflowservice.StartBatchOperationRequest_DeleteActivitiesOperation:
		act.action, activities = "DeleteActivityExecution", true
	default:
		return nil, unknownOperation("StartBatchOperation", op)
	}

	add := func(act ask) (err error) {
		out = append(out, act)
		out, err = afterReset(out, act, after)
		return err
	}
	named := 0
	if !activities {
		for i, t := range targets(req) {
			one := act
			one.resource.WorkflowID, one.resource.RunID, one.run, one.target = t.workflowID, *t.runID, namedRun, i
			if err := add(one); err != nil {
				return nil, err
			}
			named++
		}
	}
	// By a query, or by activities, which policies don't tell apart.
	if named == 0 || req.GetVisibilityQuery() != "" {
		act.resource.Unresolved = !activities
		if err := add(act); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// afterReset adds what a reset does to the run that it makes.
func afterReset(out []ask, reset ask, operations []*workflowpb.PostResetOperation) ([]ask, error) {
	for _, op := range operations {
		act := reset // the new run is of the type of the one that is reset
		switch variant := op.GetVariant().(type) {
		case *workflowpb.PostResetOperation_SignalWorkflow_:
			act.action, act.resource.Signal = "SignalWorkflowExecution", variant.SignalWorkflow.GetSignalName()
		case *workflowpb.PostResetOperation_UpdateWorkflowOptions_:
			act.action = "UpdateWorkflowExecutionOptions"
			act.resource.Versioning = versioning(variant.UpdateWorkflowOptions.GetWorkflowExecutionOptions().GetVersioningOverride())
		default:
			return nil, unknownOperation("the reset", variant)
		}
		out = append(out, act)
	}
	return out, nil
}

// ruleAsks adds what a workflow rule will do to the activities of the runs that it matches.
func ruleAsks(out []ask, r policy.Resource, spec *rulespb.WorkflowRuleSpec) ([]ask, error) {
	run := noRun
	if r.WorkflowID != "" {
		run = namedRun
	}
	if spec == nil {
		return append(out, ask{action: "PauseActivity", resource: r, run: run}), nil // a rule named by its id: all that rules can do
	}
	for _, action := range spec.GetActions() {
		if _, ok := action.GetVariant().(*rulespb.WorkflowRuleAction_ActivityPause); !ok {
			return nil, unknownOperation("the workflow rule", action.GetVariant())
		}
		out = append(out, ask{action: "PauseActivity", resource: r, run: run})
	}
	return out, nil
}

// isWorkflow reports whether a batch target is a workflow. Temporal refuses targets of another type than the operation's.
func isWorkflow(t enumspb.ExecutionType) bool { return t != enumspb.EXECUTION_TYPE_ACTIVITY }
