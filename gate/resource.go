package gate

import (
	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// resourceOf reads what a request acts on. Temporal's requests share field names, so getters cover all methods: a new method with the usual
// fields needs no line here.
func resourceOf(c Call) policy.Resource {
	out := policy.Resource{Namespace: c.namespace()}
	req := c.Request
	if r, ok := req.(interface{ GetWorkflowId() string }); ok {
		out.WorkflowID = r.GetWorkflowId()
	}
	if r, ok := req.(interface{ GetRunId() string }); ok {
		out.RunID = r.GetRunId()
	}
	if r, ok := req.(interface {
		GetWorkflowExecution() *commonpb.WorkflowExecution
	}); ok {
		out.WorkflowID, out.RunID = r.GetWorkflowExecution().GetWorkflowId(), r.GetWorkflowExecution().GetRunId()
	}
	if r, ok := req.(interface {
		GetExecution() *commonpb.WorkflowExecution
	}); ok {
		out.WorkflowID, out.RunID = r.GetExecution().GetWorkflowId(), r.GetExecution().GetRunId()
	}
	if r, ok := req.(interface {
		GetWorkflowType() *commonpb.WorkflowType
	}); ok {
		out.WorkflowType = r.GetWorkflowType().GetName()
	}
	switch r := req.(type) {
	case interface{ GetTaskQueue() *taskqueuepb.TaskQueue }:
		// A sticky queue is named after the worker process; the queue it stands for is what policies name.
		out.TaskQueue = r.GetTaskQueue().GetName()
		if normal := r.GetTaskQueue().GetNormalName(); normal != "" {
			out.TaskQueue = normal
		}
	case interface{ GetTaskQueue() string }:
		out.TaskQueue = r.GetTaskQueue()
	}
	if r, ok := req.(interface{ GetSignalName() string }); ok {
		out.Signal = r.GetSignalName()
	}
	if r, ok := req.(interface{ GetRequest() *updatepb.Request }); ok {
		out.Update = r.GetRequest().GetInput().GetName()
	}
	if r, ok := req.(interface{ GetUpdateRef() *updatepb.UpdateRef }); ok {
		out.WorkflowID, out.RunID = r.GetUpdateRef().GetWorkflowExecution().GetWorkflowId(), r.GetUpdateRef().GetWorkflowExecution().GetRunId()
	}
	if r, ok := req.(interface{ GetQuery() *querypb.WorkflowQuery }); ok {
		out.Query = r.GetQuery().GetQueryType()
	}
	if r, ok := req.(interface{ GetScheduleId() string }); ok {
		out.ScheduleID = r.GetScheduleId()
	}
	if r, ok := req.(interface{ GetSchedule() *schedulepb.Schedule }); ok {
		start := r.GetSchedule().GetAction().GetStartWorkflow()
		out.WorkflowID, out.WorkflowType = start.GetWorkflowId(), start.GetWorkflowType().GetName()
		out.TaskQueue = start.GetTaskQueue().GetName()
	}
	if r, ok := req.(interface{ GetEndpoint() string }); ok {
		out.Endpoint = r.GetEndpoint()
	}
	return out
}
