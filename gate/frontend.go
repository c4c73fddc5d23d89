package gate

import (
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Frontend is a Resolver that asks a Temporal frontend. Its client's rights decide what it can see: it must be able to describe every
// workflow, and its calls must not come back to the gate as somebody's.
type Frontend struct {
	Client   workflowservice.WorkflowServiceClient
	Operator operatorservice.OperatorServiceClient // nil: runs are not marked with search attributes
}

// Describe implements Resolver.
func (f Frontend) Describe(ctx context.Context, namespace, workflowID, runID string) (Execution, error) {
	resp, err := f.Client.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
	})
	if err := runError("describing the run", err); err != nil {
		return Execution{}, err
	}
	info := resp.GetWorkflowExecutionInfo()
	return Execution{
		RunID: info.GetExecution().GetRunId(), Type: info.GetType().GetName(), TaskQueue: info.GetTaskQueue(),
		SearchAttributes: runAttributes(info.GetSearchAttributes()), Running: info.GetCloseTime() == nil,
	}, nil
}

// Started implements Resolver.
func (f Frontend) Started(ctx context.Context, namespace, workflowID, runID string) (*historypb.WorkflowExecutionStartedEventAttributes, error) {
	resp, err := f.Client.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID}, MaximumPageSize: 1,
	})
	if err := runError("reading the run's history", err); err != nil {
		return nil, err
	}
	events := resp.GetHistory().GetEvents()
	if len(events) == 0 || events[0].GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED {
		return nil, errors.New("reading the run's history: it does not begin with the run's start")
	}
	return events[0].GetWorkflowExecutionStartedEventAttributes(), nil
}

// SearchAttributes implements Resolver.
func (f Frontend) SearchAttributes(ctx context.Context, namespace string) (map[string]enumspb.IndexedValueType, error) {
	if f.Operator == nil {
		return nil, errors.New("listing search attributes: this gate has no operator client")
	}
	resp, err := f.Operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, fmt.Errorf("listing search attributes: %w", err)
	}
	return resp.GetCustomAttributes(), nil
}

// ActivityQueue implements Resolver.
func (f Frontend) ActivityQueue(ctx context.Context, namespace, workflowID, runID, activityID string) (string, error) {
	if workflowID == "" {
		resp, err := f.Client.DescribeActivityExecution(ctx, &workflowservice.DescribeActivityExecutionRequest{Namespace: namespace, ActivityId: activityID, RunId: runID})
		if err := runError("describing the activity", err); err != nil {
			return "", err
		}
		return resp.GetInfo().GetTaskQueue(), nil
	}
	resp, err := f.Client.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
	})
	if err := runError("describing the run", err); err != nil {
		return "", err
	}
	for _, pending := range resp.GetPendingActivities() {
		if pending.GetActivityId() == activityID {
			return queueName(pending.GetActivityOptions().GetTaskQueue()), nil
		}
	}
	return "", fmt.Errorf("describing the run: it has no pending activity %q", clip(activityID, 64))
}

// runError tells a run that does not exist from a look-up that failed. An id that can't be one names no run either.
func runError(doing string, err error) error {
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.NotFound, codes.InvalidArgument:
		return fmt.Errorf("%s: %w: %w", doing, ErrNoRun, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
