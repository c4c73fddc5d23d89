package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
)

// Temporal reads histories through a frontend, with the caller's own rights.
type Temporal struct {
	Service workflowservice.WorkflowServiceClient
}

const pageSize = 500

// Namespaces lists those that the caller may see, Temporal's own left out.
func (t Temporal) Namespaces(ctx context.Context) ([]string, error) {
	var names []string
	for page := []byte(nil); ; {
		resp, err := t.Service.ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{PageSize: pageSize, NextPageToken: page})
		if err != nil {
			return nil, fmt.Errorf("listing namespaces: %w", err)
		}
		for _, ns := range resp.GetNamespaces() {
			if name := ns.GetNamespaceInfo().GetName(); name != "temporal-system" {
				names = append(names, name)
			}
		}
		if page = resp.GetNextPageToken(); len(page) == 0 {
			return names, nil
		}
	}
}

// Runs implements Histories.
func (t Temporal) Runs(ctx context.Context, namespace string, from, to time.Time, page []byte) ([]Run, []byte, error) {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	resp, err := t.Service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: namespace, PageSize: pageSize, NextPageToken: page,
		Query: fmt.Sprintf("StartTime < '%s' AND (CloseTime IS NULL OR CloseTime >= '%s')", at(to), at(from)),
	})
	if err != nil {
		return nil, nil, err
	}
	var list []Run
	for _, e := range resp.GetExecutions() {
		r := Run{Namespace: namespace, WorkflowID: e.GetExecution().GetWorkflowId(), RunID: e.GetExecution().GetRunId(), Type: e.GetType().GetName(), Started: e.GetStartTime().AsTime()}
		if e.GetCloseTime() != nil {
			r.Closed = e.GetCloseTime().AsTime()
		}
		list = append(list, r)
	}
	return list, resp.GetNextPageToken(), nil
}

// Events implements Histories.
func (t Temporal) Events(ctx context.Context, r Run) ([]*historypb.HistoryEvent, error) {
	var events []*historypb.HistoryEvent
	for page := []byte(nil); ; {
		resp, err := t.Service.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: r.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: r.WorkflowID, RunId: r.RunID}, NextPageToken: page,
		})
		if _, ok := errors.AsType[*serviceerror.NotFound](serviceerror.FromStatus(serviceerror.ToStatus(err))); err != nil && ok {
			return nil, fmt.Errorf("%w: %w", ErrGone, err)
		}
		if err != nil {
			return nil, err
		}
		events = append(events, resp.GetHistory().GetEvents()...)
		if page = resp.GetNextPageToken(); len(page) == 0 {
			return events, nil
		}
	}
}
