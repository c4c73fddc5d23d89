package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// DefaultEvery is how often reports are made. Their window is an hour longer, so that a report that starts late leaves no gap.
const DefaultEvery = 24 * time.Hour

// Schedule has a report made every so often by the worker of taskQueue. A schedule that is there stays as it is: an operator may have paused or changed
// it. After an outage one report is made for all that were missed, and it goes back to where the one before it ended.
func Schedule(ctx context.Context, c client.Client, taskQueue string, every time.Duration) error {
	if every <= 0 {
		every = DefaultEvery
	}
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   ScheduleID,
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}},
		Action: &client.ScheduleWorkflowAction{
			ID: WorkflowName, Workflow: WorkflowName, TaskQueue: taskQueue, WorkflowExecutionTimeout: every,
			Args: []any{Params{Window: every + time.Hour}},
		},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: every,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the schedule of reconciliations: %w", err)
	}
	return nil
}
