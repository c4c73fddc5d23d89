package gate

import (
	commonpb "go.temporal.io/api/common/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// target is a place in a request that names an existing run: by its workflow id and, if the caller filled it in, its run id.
type target struct {
	workflowID string
	runID      *string // the field of the request, so that a run can be pinned there
}

// targets lists the existing runs that a request names, in a fixed order. A start names none.
func targets(request any) []target {
	at := func(e *commonpb.WorkflowExecution) []target {
		if e.GetWorkflowId() == "" {
			return nil
		}
		return []target{{e.WorkflowId, &e.RunId}}
	}
	byID := func(workflowID string, runID *string) []target {
		if workflowID == "" {
			return nil // a standalone activity
		}
		return []target{{workflowID, runID}}
	}
	switch r := request.(type) {
	case interface {
		GetWorkflowExecution() *commonpb.WorkflowExecution
	}:
		return at(r.GetWorkflowExecution())
	case interface {
		GetExecution() *commonpb.WorkflowExecution
	}:
		return at(r.GetExecution())
	case interface{ GetUpdateRef() *updatepb.UpdateRef }:
		return at(r.GetUpdateRef().GetWorkflowExecution())
	case *workflowservice.PauseWorkflowExecutionRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.UnpauseWorkflowExecutionRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.PauseActivityExecutionRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.UnpauseActivityExecutionRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.ResetActivityExecutionRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.UpdateActivityExecutionOptionsRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.RecordActivityTaskHeartbeatByIdRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.RespondActivityTaskCompletedByIdRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.RespondActivityTaskFailedByIdRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.RespondActivityTaskCanceledByIdRequest:
		return byID(r.GetWorkflowId(), &r.RunId)
	case *workflowservice.StartBatchOperationRequest:
		var out []target
		//lint:ignore SA1019 deprecated, and still sent by clients and obeyed by the server
		for _, e := range r.GetExecutions() {
			if e != nil {
				out = append(out, target{e.WorkflowId, &e.RunId})
			}
		}
		for _, e := range r.GetTargetExecutions() {
			if e != nil && isWorkflow(e.GetType()) {
				out = append(out, target{e.BusinessId, &e.RunId})
			}
		}
		return out
	}
	return nil
}
