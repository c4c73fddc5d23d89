package gate

import (
	"context"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Frontend is a Resolver that asks a Temporal frontend. Its client's rights decide what it can see: it must be able to describe every
// workflow, and its calls must not come back to the gate as somebody's.
type Frontend struct {
	Client workflowservice.WorkflowServiceClient
}

// Describe implements Resolver.
func (f Frontend) Describe(ctx context.Context, namespace, workflowID, runID string) (Execution, error) {
	resp, err := f.Client.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
	})
	switch status.Code(err) {
	case codes.OK:
	case codes.NotFound, codes.InvalidArgument: // an id that can't be one names no run either
		return Execution{}, fmt.Errorf("describing the run: %w: %w", ErrNoRun, err)
	default:
		return Execution{}, fmt.Errorf("describing the run: %w", err)
	}
	info := resp.GetWorkflowExecutionInfo()
	return Execution{
		RunID: info.GetExecution().GetRunId(), Type: info.GetType().GetName(), TaskQueue: info.GetTaskQueue(),
		SearchAttributes: searchAttributes(info.GetSearchAttributes()), Running: info.GetCloseTime() == nil,
	}, nil
}
