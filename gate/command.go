package gate

import (
	commandpb "go.temporal.io/api/command/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// commandAsks adds what a worker's answer makes Temporal do to other runs of the same namespace. Commands that name another namespace are
// left out: the server asks for each of those again, as the call that it stands for.
func commandAsks(out []ask, req *workflowservice.RespondWorkflowTaskCompletedRequest) []ask {
	namespace := out[0].resource.Namespace
	here := func(a interface{ GetNamespace() string }) bool {
		// The field is deprecated in the API, and still obeyed by the server.
		return a.GetNamespace() == "" || a.GetNamespace() == namespace
	}
	for _, command := range req.GetCommands() {
		r := policy.Resource{Namespace: namespace}
		// Temporal goes by the command's type and takes attributes of another type as absent: going by the attributes sees no less.
		switch attrs := command.GetAttributes().(type) {
		case *commandpb.Command_StartChildWorkflowExecutionCommandAttributes:
			a := attrs.StartChildWorkflowExecutionCommandAttributes
			if !here(a) {
				continue
			}
			describeStart(&r, a)
			out = append(out, ask{action: policy.CommandStartChild, resource: r})
			out = terminating(out, r, a.GetWorkflowIdReusePolicy(), 0)
		case *commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes:
			a := attrs.ContinueAsNewWorkflowExecutionCommandAttributes
			r.WorkflowType, r.TaskQueue = a.GetWorkflowType().GetName(), queueName(a.GetTaskQueue())
			r.Cron, r.SearchAttributes = a.GetCronSchedule(), searchAttributes(a.GetSearchAttributes())
			r.Unresolved = r.WorkflowType == "" || r.TaskQueue == "" // absent ones stay as they are
			out = append(out, ask{action: policy.CommandContinueAsNew, resource: r})
		case *commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes:
			a := attrs.SignalExternalWorkflowExecutionCommandAttributes
			if !here(a) {
				continue
			}
			r.WorkflowID, r.RunID, r.Signal = a.GetExecution().GetWorkflowId(), a.GetExecution().GetRunId(), a.GetSignalName()
			out = append(out, ask{action: policy.CommandSignal, resource: r, run: currentRun})
		case *commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes:
			a := attrs.RequestCancelExternalWorkflowExecutionCommandAttributes
			if !here(a) {
				continue
			}
			r.WorkflowID, r.RunID = a.GetWorkflowId(), a.GetRunId()
			out = append(out, ask{action: policy.CommandRequestCancel, resource: r, run: currentRun})
		case *commandpb.Command_ScheduleNexusOperationCommandAttributes:
			r.Endpoint = attrs.ScheduleNexusOperationCommandAttributes.GetEndpoint()
			out = append(out, ask{action: policy.CommandNexusOperation, resource: r})
			if r.Endpoint == systemEndpoint {
				// Temporal answers it itself, without asking any gate: a signal with start, of what the input says.
				some := policy.Resource{Namespace: namespace, Unresolved: true}
				out = append(out, ask{action: policy.CommandStartChild, resource: some}, ask{action: policy.CommandSignal, resource: some}, ask{action: "TerminateWorkflowExecution", resource: some})
			}
		}
	}
	return out
}
