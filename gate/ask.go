package gate

import (
	"errors"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// ask is one act that a call would perform. A call is allowed when each of its acts is.
type ask struct {
	action   string
	resource policy.Resource
}

// asks lists the acts inside a call, the call's own method first. Requests that do more than their name says are taken apart here, so that
// none is a detour to an act that its caller may not do.
func (c Call) asks() ([]ask, error) {
	own := ask{c.actionName(), resourceOf(c)}
	out := []ask{own}
	also := func(action string, r policy.Resource) { out = append(out, ask{action, r}) }

	switch r := c.Request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		if c.Method != workflowService+"StartWorkflowExecution" {
			break
		}
		if endsExisting(r.GetWorkflowIdReusePolicy(), r.GetWorkflowIdConflictPolicy()) {
			also("TerminateWorkflowExecution", own.resource)
		}
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		also("StartWorkflowExecution", own.resource)
		also("SignalWorkflowExecution", own.resource)
		if endsExisting(r.GetWorkflowIdReusePolicy(), r.GetWorkflowIdConflictPolicy()) {
			also("TerminateWorkflowExecution", own.resource)
		}
	case *workflowservice.ExecuteMultiOperationRequest:
		for _, op := range r.GetOperations() {
			var inner Call
			switch {
			case op.GetStartWorkflow() != nil:
				inner = Call{Method: workflowService + "StartWorkflowExecution", Request: op.GetStartWorkflow()}
			case op.GetUpdateWorkflow() != nil:
				inner = Call{Method: workflowService + "UpdateWorkflowExecution", Request: op.GetUpdateWorkflow()}
			default:
				return nil, errors.New("ExecuteMultiOperation holds an operation that this gate does not know")
			}
			if inner.namespace() != r.GetNamespace() {
				return nil, errors.New("ExecuteMultiOperation holds an operation in another namespace than its own")
			}
			more, err := inner.asks()
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		// The wrapper's own resource is what its first operation acts on, so that the audit entry names the workflow.
		if len(out) > 1 {
			out[0].resource = out[1].resource
		}
	case *workflowservice.CreateScheduleRequest:
		out = append(out, scheduledStart(own.resource, r.GetSchedule())...)
	case *workflowservice.UpdateScheduleRequest:
		out = append(out, scheduledStart(own.resource, r.GetSchedule())...)
	}
	return out, nil
}

// endsExisting reports whether starting with these policies may terminate a run that is under way.
func endsExisting(reuse enumspb.WorkflowIdReusePolicy, conflict enumspb.WorkflowIdConflictPolicy) bool {
	return reuse == enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING || conflict == enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
}

// scheduledStart is the start that a schedule will perform in its creator's name.
func scheduledStart(own policy.Resource, s *schedulepb.Schedule) []ask {
	start := s.GetAction().GetStartWorkflow()
	if start == nil {
		return nil
	}
	return []ask{{"StartWorkflowExecution", policy.Resource{
		Namespace: own.Namespace, ScheduleID: own.ScheduleID,
		WorkflowID: start.GetWorkflowId(), WorkflowType: start.GetWorkflowType().GetName(), TaskQueue: start.GetTaskQueue().GetName(),
	}}}
}

// verb is the action as a person would say it: "StartWorkflowExecution" reads well enough, "Operator.X" loses its prefix.
func (a ask) verb() string { return strings.TrimPrefix(a.action, "Operator.") }
