package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// runID is how Temporal writes a run id: a UUID.
var runID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// workflowOf finds the workflow id that a run belongs to, as the person logged in. Who may not look names it themselves.
func (a *app) workflowOf(c *cobra.Command, where login.Context, namespace, run string) (string, error) {
	if !runID.MatchString(run) { // it goes into a query
		return "", badUsage(c, "--run is %q; a run id, such as 0198c000-1111-7111-8111-111111111111, is needed", run)
	}
	ask := func() (string, error) {
		conn, err := a.dial(c.Context(), where, namespace, "")
		if err != nil {
			return "", err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(c.Context(), settleWithin)
		defer cancel()
		res, err := conn.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace, Query: fmt.Sprintf("RunId = '%s'", run), PageSize: 1})
		if err != nil {
			return "", err
		}
		if len(res.GetExecutions()) == 0 {
			return "", fmt.Errorf("namespace %s has no such run", namespace)
		}
		return res.GetExecutions()[0].GetExecution().GetWorkflowId(), nil
	}
	id, err := ask()
	if err != nil {
		return "", &coded{Code: "workflow_missing", Text: fmt.Sprintf("which workflow run %s belongs to could not be found out: %v", run, err), Fix: "name it with --workflow", exit: exitUsage}
	}
	return id, nil
}

// recentRun is a run as completion shows it.
type recentRun struct{ Namespace, Workflow, Run string }

// rememberRuns keeps ids of runs for completion.
func (a *app) rememberRuns(seen ...recentRun) {
	remember(a, "runs", seen, func(x, y recentRun) bool { return x == y })
}

// completeRuns offers run ids, and completeWorkflows workflow ids, that were seen here lately in the namespace that is named.
func (a *app) completeRuns(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.completeRecent(c, prefix, func(r recentRun) (string, string) { return r.Run, r.Workflow })
}

func (a *app) completeWorkflows(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.completeRecent(c, prefix, func(r recentRun) (string, string) { return r.Workflow, r.Namespace })
}

// completeWorkflow offers a workflow id as the first argument, and nothing after it.
func (a *app) completeWorkflow(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeWorkflows(c, nil, prefix)
}

func (a *app) completeRecent(c *cobra.Command, prefix string, show func(recentRun) (id, what string)) (out []string, _ cobra.ShellCompDirective) {
	named, workflow := c.Flag("namespace").Value.String(), ""
	if f := c.Flag("workflow"); f != nil {
		workflow = f.Value.String()
	}
	for _, r := range recent[recentRun](a, "runs") {
		id, what := show(r)
		word := id + "\t" + safe(what)
		if strings.HasPrefix(id, prefix) && (named == "" || named == r.Namespace) && (workflow == "" || id == r.Workflow || workflow == r.Workflow) && !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
