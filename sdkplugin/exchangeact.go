package sdkplugin

import (
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// exchangeAct is the description of one act as the token endpoint takes it (RFC 9396, type temporal_act).
type exchangeAct struct {
	Type          string      `json:"type"`
	Edge          attest.Edge `json:"edge"`
	Namespace     string      `json:"namespace"`
	WorkflowID    string      `json:"workflow_id,omitempty"`
	RunID         string      `json:"run_id,omitempty"`
	WorkflowType  string      `json:"workflow_type,omitempty"`
	TaskQueue     string      `json:"task_queue,omitempty"`
	Name          string      `json:"name,omitempty"`
	ScheduleID    string      `json:"schedule_id,omitempty"`
	Change        bool        `json:"change,omitempty"`
	ActivityID    string      `json:"activity_id,omitempty"`
	Cron          string      `json:"cron,omitempty"`
	RequestDigest string      `json:"request_digest,omitempty"`
	Reason        string      `json:"reason,omitempty"`
	Grant         string      `json:"grant,omitempty"`
}

// place is an act in a request and where its attestation goes.
type place struct {
	act    exchangeAct
	header **commonpb.Header
}

// placesIn finds the acts of a request, by the same table as the gate's stamp.
func placesIn(req any) []place {
	switch r := req.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		return []place{startPlace(r)}
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		return []place{{exchangeAct{Edge: attest.EdgeStart, Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowId(), WorkflowType: r.GetWorkflowType().GetName(),
			TaskQueue: r.GetTaskQueue().GetName(), Name: r.GetSignalName(), Cron: r.GetCronSchedule()}, &r.Header}}
	case *workflowservice.SignalWorkflowExecutionRequest:
		return []place{{callAct(attest.EdgeSignal, r.GetNamespace(), r.GetWorkflowExecution(), r.GetSignalName()), &r.Header}}
	case *workflowservice.UpdateWorkflowExecutionRequest:
		return updatePlace(r)
	case *workflowservice.QueryWorkflowRequest:
		if r.GetQuery() != nil {
			return []place{{callAct(attest.EdgeQuery, r.GetNamespace(), r.GetExecution(), r.GetQuery().GetQueryType()), &r.Query.Header}}
		}
	case *workflowservice.ExecuteMultiOperationRequest:
		var out []place
		for _, op := range r.GetOperations() {
			if start := op.GetStartWorkflow(); start != nil {
				out = append(out, startPlace(start))
			} else if update := op.GetUpdateWorkflow(); update != nil {
				out = append(out, updatePlace(update)...)
			}
		}
		return out
	case *workflowservice.CreateScheduleRequest:
		return schedulePlace(r.GetNamespace(), r.GetScheduleId(), r.GetSchedule().GetAction().GetStartWorkflow(), false)
	case *workflowservice.UpdateScheduleRequest:
		return schedulePlace(r.GetNamespace(), r.GetScheduleId(), r.GetSchedule().GetAction().GetStartWorkflow(), true)
	case *workflowservice.StartActivityExecutionRequest:
		return []place{{exchangeAct{Edge: attest.EdgeActivity, Namespace: r.GetNamespace(), ActivityID: r.GetActivityId(), Name: r.GetActivityType().GetName(),
			TaskQueue: r.GetTaskQueue().GetName()}, &r.Header}}
	case *workflowservice.ResetWorkflowExecutionRequest:
		var out []place
		for _, op := range r.GetPostResetOperations() {
			if s := op.GetSignalWorkflow(); s != nil { // the run that gets it does not exist yet, so none is named
				run := &commonpb.WorkflowExecution{WorkflowId: r.GetWorkflowExecution().GetWorkflowId()}
				out = append(out, place{callAct(attest.EdgeSignal, r.GetNamespace(), run, s.GetSignalName()), &s.Header})
			}
		}
		return out
	}
	return nil
}

func startPlace(r *workflowservice.StartWorkflowExecutionRequest) place {
	return place{exchangeAct{Edge: attest.EdgeStart, Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowId(), WorkflowType: r.GetWorkflowType().GetName(),
		TaskQueue: r.GetTaskQueue().GetName(), Cron: r.GetCronSchedule()}, &r.Header}
}

func updatePlace(r *workflowservice.UpdateWorkflowExecutionRequest) []place {
	in := r.GetRequest().GetInput()
	if in == nil {
		return nil // Temporal refuses it
	}
	return []place{{callAct(attest.EdgeUpdate, r.GetNamespace(), r.GetWorkflowExecution(), in.GetName()), &in.Header}}
}

func schedulePlace(namespace, id string, start *workflowpb.NewWorkflowExecutionInfo, change bool) []place {
	if start == nil {
		return nil
	}
	return []place{{exchangeAct{Edge: attest.EdgeSchedule, Namespace: namespace, ScheduleID: id, WorkflowID: start.GetWorkflowId(), WorkflowType: start.GetWorkflowType().GetName(),
		TaskQueue: start.GetTaskQueue().GetName(), Change: change}, &start.Header}}
}

func callAct(edge attest.Edge, namespace string, run *commonpb.WorkflowExecution, name string) exchangeAct {
	return exchangeAct{Edge: edge, Namespace: namespace, WorkflowID: run.GetWorkflowId(), RunID: run.GetRunId(), Name: name}
}
