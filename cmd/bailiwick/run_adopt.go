package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/inflight"
)

// adoptFlags are what taking over a run and a schedule share.
type adoptFlags struct{ namespace, reason string }

func (f *adoptFlags) register(a *app, c *cobra.Command) {
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	c.Flags().StringVarP(&f.reason, "reason", "r", "", "why you take it over; required, signed and written into the log")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
}

// dial connects to where it is to be taken over.
func (f *adoptFlags) dial(a *app, c *cobra.Command) (conn client.Client, namespace string, err error) {
	if strings.TrimSpace(f.reason) == "" {
		return nil, "", badUsage(c, "--reason is missing: say why you take it over")
	}
	where, err := a.where()
	if err != nil {
		return nil, "", err
	}
	namespace = a.namespace(f.namespace, where)
	conn, err = a.dial(c.Context(), where, namespace, f.reason)
	return conn, namespace, err
}

func (a *app) runAdoptCommand() *cobra.Command {
	var f adoptFlags
	var runID string
	c := &cobra.Command{
		Use:   "adopt ID",
		Short: "Take over a run of somebody who lost access",
		Long: `Take over a run of somebody who lost access: from now on you answer for it, and its activities go on while you have access. Who began the run stays
on record as they are; your name, the reason and the decision are signed into its history beside them. What it starts, such as children, goes with it.

You need to be allowed to signal the run and to start one like it, and have to ask in person: programs and agents can't take over runs. Whoever
began it can't either. If the run was paused because its owner left, it is let go on, which needs that permission too.`,
		Example: `  bailiwick run adopt ship-142 --reason "CHG-7: alice left, I finish the release"
  bailiwick run adopt refund-9 --namespace payments --run-id 0199… --reason "INC-123"`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeWorkflow,
		RunE: func(c *cobra.Command, args []string) error {
			conn, ns, err := f.dial(a, c)
			if err != nil {
				return err
			}
			defer conn.Close()
			d, err := conn.DescribeWorkflowExecution(c.Context(), args[0], runID)
			if err != nil {
				return fmt.Errorf("looking at %s: %w", args[0], err)
			}
			info := d.GetWorkflowExecutionInfo()
			paused := info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
			if !paused && info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
				return &coded{Code: "run_over", Text: fmt.Sprintf("%s is over (%s); there is nothing left to answer for", args[0], info.GetStatus()), Fix: "name another run with --run-id"}
			}
			run := info.GetExecution().GetRunId()
			if err := conn.SignalWorkflow(c.Context(), args[0], run, attest.AdoptSignal, nil); err != nil {
				return fmt.Errorf("taking over %s: %w", args[0], err)
			}
			resumed := paused && strings.Contains(d.GetWorkflowExtendedInfo().GetPauseInfo().GetReason(), inflight.Mark)
			if resumed {
				if _, err := conn.WorkflowService().UnpauseWorkflowExecution(c.Context(), &workflowservice.UnpauseWorkflowExecutionRequest{Namespace: ns, WorkflowId: args[0], RunId: run, Reason: f.reason}); err != nil {
					return fmt.Errorf("%s is yours, and still paused; letting it go on: %w", args[0], err)
				}
			}
			if a.asJSON {
				return a.out.json(map[string]any{"namespace": ns, "workflow_id": args[0], "run_id": run, "resumed": resumed, "paused": paused && !resumed})
			}
			fmt.Fprintf(a.out, "%s %s: you answer for run %s now.\n", a.out.green("Taken over"), safe(args[0]), run)
			switch {
			case resumed:
				fmt.Fprintln(a.out, "  It was paused because its owner lost access; it goes on.")
			case paused:
				fmt.Fprintln(a.out, "  It is paused for another reason, and stays so.")
			}
			fmt.Fprintln(a.out, a.out.dim("  see it: bailiwick run show "+shellWord(args[0])+namespaceHint(f.namespace)))
			return nil
		},
	}
	f.register(a, c)
	c.Flags().StringVar(&runID, "run-id", "", "a particular run (default: the current one)")
	return c
}
