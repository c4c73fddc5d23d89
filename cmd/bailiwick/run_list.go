package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// listed is a row of `bailiwick run list --json`.
type listed struct {
	WorkflowID   string    `json:"workflow_id"`
	RunID        string    `json:"run_id"`
	WorkflowType string    `json:"workflow_type"`
	Status       string    `json:"status"`
	StartedBy    string    `json:"started_by,omitempty"` // as the gate that let it start wrote it on the run: for finding, no proof
	Started      time.Time `json:"started"`
	Closed       time.Time `json:"closed,omitzero"`
}

func (a *app) runListCommand() *cobra.Command {
	var namespace, query string
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List workflow runs, newest first",
		Long: `List the runs that you may see. With --query, those that Temporal's visibility finds; gates write on each run who started it and why, in
BailiwickOriginator, BailiwickActor, BailiwickReason and BailiwickGrant. That is for finding runs: the proof is in "bailiwick run show".`,
		Example: `  bailiwick run list
  bailiwick run list --namespace payments --query 'ExecutionStatus="Running"'
  bailiwick run list --query 'BailiwickOriginator="alice@acme.example" AND StartTime > "2026-11-16T00:00:00Z"'
  bailiwick run list --json | jq -r .workflow_id`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return badUsage(c, "--limit is %d; 1 to 1000 are possible", limit)
			}
			where, err := a.where()
			if err != nil {
				return err
			}
			ns := a.namespace(namespace, where)
			conn, err := a.dial(c.Context(), where, ns, "")
			if err != nil {
				return err
			}
			defer conn.Close()
			var all []listed
			req := &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, Query: query, PageSize: int32(limit)}
			for len(all) < limit {
				res, err := conn.ListWorkflow(c.Context(), req)
				if err != nil {
					return fmt.Errorf("listing runs: %w", err)
				}
				for _, e := range res.GetExecutions() {
					l := listed{WorkflowID: e.GetExecution().GetWorkflowId(), RunID: e.GetExecution().GetRunId(), WorkflowType: e.GetType().GetName(),
						Status: strings.ToLower(e.GetStatus().String()), StartedBy: startedBy(e), Started: e.GetStartTime().AsTime()}
					if e.GetCloseTime() != nil {
						l.Closed = e.GetCloseTime().AsTime()
					}
					all = append(all, l)
				}
				if req.NextPageToken = res.GetNextPageToken(); len(req.NextPageToken) == 0 {
					break
				}
			}
			all = all[:min(limit, len(all))]
			seen := make([]recentRun, len(all))
			for i, l := range all {
				seen[i] = recentRun{ns, l.WorkflowID, l.RunID}
			}
			a.rememberRuns(seen...)
			if a.asJSON {
				for _, l := range all {
					if err := a.out.json(l); err != nil {
						return err
					}
				}
				return nil
			}
			if len(all) == 0 {
				fmt.Fprintf(a.out, "No runs in namespace %s.\n", safe(ns))
				return nil
			}
			rows := make([][]string, len(all))
			for i, l := range all {
				rows[i] = []string{a.statusWord(l.Status), clip(safe(l.WorkflowID), 60), clip(safe(l.WorkflowType), 30), clip(safe(l.StartedBy), 40), l.Started.Local().Format("2006-01-02 15:04:05"), l.RunID}
			}
			a.out.rows([]string{"STATUS", "WORKFLOW", "TYPE", "STARTED BY", "STARTED", "RUN"}, rows)
			return nil
		},
	}
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	c.Flags().StringVarP(&query, "query", "q", "", "visibility query, as in Temporal")
	c.Flags().IntVarP(&limit, "limit", "l", 20, "at most so many")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

// startedBy is whom a run names as its originator: where the namespace has the search attribute, else in the memo; "" from before there was a gate.
func startedBy(e *workflowpb.WorkflowExecutionInfo) string {
	for _, fields := range []map[string]*commonpb.Payload{e.GetSearchAttributes().GetIndexedFields(), e.GetMemo().GetFields()} {
		var who string
		if p := fields["BailiwickOriginator"]; p != nil && json.Unmarshal(p.GetData(), &who) == nil && who != "" {
			return who
		}
	}
	return ""
}

func (a *app) statusWord(s string) string {
	switch s {
	case "completed":
		return a.out.green(s)
	case "running", "continued as new", "continuedasnew":
		return a.out.cyan(s)
	case "failed", "terminated", "timed out", "timedout":
		return a.out.red(s)
	}
	return a.out.yellow(s)
}
