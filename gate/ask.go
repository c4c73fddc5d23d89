package gate

import (
	"errors"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// ask is one act that a call would perform. A call is allowed when each of its acts is.
type ask struct {
	action   string
	resource policy.Resource
	run      runBinding
	target   int   // with namedRun: which of the request's targets (target.go)
	looked   bool  // the run was looked up
	missing  error // why that did not find it
}

// runBinding says how the act's run stands to what Temporal will act on.
type runBinding uint8

const (
	noRun      runBinding = iota // the act is about no existing run, or about runs that the request does not name
	namedRun                     // the request has a place for the run's id, so that the run decided on can be pinned there
	currentRun                   // whichever run of the workflow id is under way when Temporal acts; it can't be pinned
	taskRun                      // the run of a task that a worker answers; the task's token names it (task.go)
)

// asks lists the acts inside a call, the call's own method first, appended to out. Requests that do more than their name says are taken
// apart here, so that none is a detour to an act that its caller may not do.
func (c *Call) asks(out []ask) ([]ask, error) {
	out = append(out, ask{action: c.actionName()})
	own := &out[0]
	c.describeRequest(&own.resource)
	r := own.resource
	if err := changesReserved(c.Request); err != nil {
		return nil, err
	}

	var err error
	switch req := c.Request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		out = terminating(out, r, req.GetWorkflowIdReusePolicy(), req.GetWorkflowIdConflictPolicy())
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		out = append(out,
			ask{action: "StartWorkflowExecution", resource: r},
			// The signal goes to the run that is under way, which may be of another type than the start names.
			ask{action: "SignalWorkflowExecution", resource: r, run: currentRun})
		if req.GetWorkflowIdConflictPolicy() == enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING {
			out = append(out, ask{action: "SignalWorkflowExecution", resource: r}) // or to the one that takes its place
		}
		out = terminating(out, r, req.GetWorkflowIdReusePolicy(), req.GetWorkflowIdConflictPolicy())
	case *workflowservice.ExecuteMultiOperationRequest:
		out, err = multiOperation(out, req)
	case *workflowservice.CreateScheduleRequest, *workflowservice.UpdateScheduleRequest, *workflowservice.PatchScheduleRequest:
		out, err = scheduleAsks(out, req)
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		out = commandAsks(out, req)
	case *workflowservice.StartBatchOperationRequest:
		out, err = batchAsks(out, req)
	case *workflowservice.ResetWorkflowExecutionRequest:
		own.run = namedRun
		out, err = afterReset(out, *own, req.GetPostResetOperations())
	case *workflowservice.CreateWorkflowRuleRequest:
		out, err = ruleAsks(out, policy.Resource{Namespace: r.Namespace, Unresolved: true}, req.GetSpec())
	case *workflowservice.TriggerWorkflowRuleRequest:
		own.run = namedRun
		out, err = ruleAsks(out, r, req.GetSpec())
	case *workflowservice.DescribeNamespaceRequest:
		err = oneNamespace(req.GetNamespace(), req.GetId())
	case *operatorservice.DeleteNamespaceRequest:
		err = oneNamespace(req.GetNamespace(), req.GetNamespaceId())
	default:
		if len(targets(c.Request)) > 0 {
			own.run = namedRun
		}
		out = byID(out, c.Request)
	}
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].resource.Signal == attest.AdoptSignal && !adopts(c.Request) {
			return nil, errSmuggledAdoption
		}
		if err := checkSize(&out[i].resource); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// oneNamespace refuses a request that could be decided by one namespace and act on another. One that has only an id is in no namespace that
// policies know.
func oneNamespace(name, id string) error {
	if name != "" && id != "" {
		return errors.New("the request names a namespace by name and by id; send one of them")
	}
	return nil
}

// terminating adds the termination of a run that is under way, where the policies for a workflow id that is in use ask for it.
func terminating(out []ask, r policy.Resource, reuse enumspb.WorkflowIdReusePolicy, conflict enumspb.WorkflowIdConflictPolicy) []ask {
	//lint:ignore SA1019 deprecated, and still sent by clients and obeyed by the server
	if reuse == enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING || conflict == enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING {
		out = append(out, ask{action: "TerminateWorkflowExecution", resource: r, run: currentRun})
	}
	return out
}

// multiOperation adds the operations of an update-with-start.
func multiOperation(out []ask, req *workflowservice.ExecuteMultiOperationRequest) ([]ask, error) {
	var started policy.Resource
	replaces := false
	for _, op := range req.GetOperations() {
		var inner Call
		switch {
		case op.GetStartWorkflow() != nil:
			inner = Call{Method: workflowService + "StartWorkflowExecution", Request: op.GetStartWorkflow()}
		case op.GetUpdateWorkflow() != nil:
			inner = Call{Method: workflowService + "UpdateWorkflowExecution", Request: op.GetUpdateWorkflow()}
		default:
			return nil, errors.New("ExecuteMultiOperation holds an operation that this gate does not know")
		}
		if inner.namespace() != req.GetNamespace() {
			return nil, errors.New("ExecuteMultiOperation holds an operation in another namespace than its own")
		}
		more, err := inner.asks(nil)
		if err != nil {
			return nil, err
		}
		if op.GetStartWorkflow() != nil {
			started = more[0].resource
			replaces = op.GetStartWorkflow().GetWorkflowIdConflictPolicy() == enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
		} else {
			// The update goes to the run under way, or to the one that is started now.
			update := &more[0]
			update.run = currentRun
			if started.WorkflowID == update.resource.WorkflowID {
				update.resource.WorkflowType, update.resource.TaskQueue, update.resource.SearchAttributes = started.WorkflowType, started.TaskQueue, started.SearchAttributes
			}
			if replaces { // the update goes to the run that takes the place of the one under way; to that one only if the start is a repeated one
				more = append(more, ask{action: update.action, resource: update.resource})
			}
		}
		out = append(out, more...)
	}
	// The wrapper's own resource is what its first operation acts on, so that the audit entry names the workflow.
	if len(out) > 1 {
		out[0].resource = out[1].resource
	}
	return out, nil
}

// verb is the action as a person would say it: "StartWorkflowExecution" reads well enough, "Operator.X" and "Command.X" lose their prefix.
func (a *ask) verb() string { return a.action[strings.LastIndexByte(a.action, '.')+1:] }

func unknownOperation(in string, op any) error {
	return fmt.Errorf("%s holds an operation that this gate does not know (%T)", in, op)
}
