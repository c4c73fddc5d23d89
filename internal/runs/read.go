package runs

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
)

// Read fetches a run's whole history with the client, which must be bound to cfg.Namespace, and builds its timeline. An empty
// cfg.RunID means the current run; it is pinned before reading, so that a run which starts meanwhile is not mixed in.
func Read(ctx context.Context, c client.Client, cfg Config) (Timeline, error) {
	if cfg.RunID == "" {
		d, err := c.DescribeWorkflowExecution(ctx, cfg.WorkflowID, "")
		if err != nil {
			return Timeline{}, fmt.Errorf("finding the run: %w", err)
		}
		cfg.RunID = d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	}
	var events []*historypb.HistoryEvent
	for it := c.GetWorkflowHistory(ctx, cfg.WorkflowID, cfg.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
		e, err := it.Next()
		if err != nil {
			return Timeline{}, fmt.Errorf("reading the history: %w", err)
		}
		events = append(events, e)
	}
	return Build(events, cfg)
}
