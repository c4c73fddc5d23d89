package gate

import (
	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// describeRequest writes into out what a request acts on. Temporal's requests share field names, so getters cover all methods: a new method
// with the usual fields needs no line here. What a query or a schedule holds inside is in ask.go and its neighbours.
func (c *Call) describeRequest(out *policy.Resource) {
	out.Namespace = c.namespace()
	req := c.Request
	if r, ok := req.(*workflowservice.StartWorkflowExecutionRequest); ok { // by far the most frequent of those that wait for their record
		describeStart(out, r)
		out.Versioning = versioning(r.GetVersioningOverride())
		return
	}
	if r, ok := req.(starting); ok {
		describeStart(out, r)
	} else {
		describeParts(out, req)
	}
	if r, ok := req.(interface{ GetSignalName() string }); ok {
		out.Signal = r.GetSignalName()
	}
	if r, ok := req.(interface{ GetRequest() *updatepb.Request }); ok {
		out.Update = r.GetRequest().GetInput().GetName()
	}
	if r, ok := req.(interface{ GetQuery() *querypb.WorkflowQuery }); ok {
		out.Query = r.GetQuery().GetQueryType()
	}
	if r, ok := req.(interface{ GetScheduleId() string }); ok {
		out.ScheduleID = r.GetScheduleId()
	}
	if r, ok := req.(interface{ GetSchedule() *schedulepb.Schedule }); ok {
		if start := r.GetSchedule().GetAction().GetStartWorkflow(); start != nil {
			describeStart(out, start)
		}
	}
	if r, ok := req.(interface{ GetEndpoint() string }); ok {
		out.Endpoint = r.GetEndpoint()
	}
	if r, ok := req.(interface {
		GetVersioningOverride() *workflowpb.VersioningOverride
	}); ok {
		out.Versioning = versioning(r.GetVersioningOverride())
	}
	if r, ok := req.(interface {
		GetWorkflowExecutionOptions() *workflowpb.WorkflowExecutionOptions
	}); ok {
		out.Versioning = versioning(r.GetWorkflowExecutionOptions().GetVersioningOverride())
	}
}

// starting is what starts a workflow: a request, the action of a schedule, a worker's command for a child.
type starting interface {
	GetWorkflowId() string
	GetWorkflowType() *commonpb.WorkflowType
	GetTaskQueue() *taskqueuepb.TaskQueue
	GetCronSchedule() string
	GetSearchAttributes() *commonpb.SearchAttributes
}

func describeStart(out *policy.Resource, r starting) {
	out.WorkflowID, out.WorkflowType = r.GetWorkflowId(), r.GetWorkflowType().GetName()
	out.TaskQueue = queueName(r.GetTaskQueue())
	out.Cron = r.GetCronSchedule()
	out.SearchAttributes = searchAttributes(r.GetSearchAttributes())
}

func describeParts(out *policy.Resource, req any) {
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
	if r, ok := req.(interface{ GetUpdateRef() *updatepb.UpdateRef }); ok {
		out.WorkflowID, out.RunID = r.GetUpdateRef().GetWorkflowExecution().GetWorkflowId(), r.GetUpdateRef().GetWorkflowExecution().GetRunId()
	}
	switch r := req.(type) {
	case interface{ GetTaskQueue() *taskqueuepb.TaskQueue }:
		out.TaskQueue = queueName(r.GetTaskQueue())
	case interface{ GetTaskQueue() string }:
		out.TaskQueue = r.GetTaskQueue()
	}
	if r, ok := req.(interface {
		GetSearchAttributes() *commonpb.SearchAttributes
	}); ok {
		out.SearchAttributes = searchAttributes(r.GetSearchAttributes())
	}
}

// queueName is the queue that policies name. A sticky queue is named after the worker's process and says which queue it stands for.
func queueName(q *taskqueuepb.TaskQueue) string {
	if normal := q.GetNormalName(); normal != "" {
		return normal
	}
	return q.GetName()
}
