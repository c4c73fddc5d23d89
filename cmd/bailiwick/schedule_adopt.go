package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/internal/revocation/inflight"
)

func (a *app) scheduleCommand() *cobra.Command {
	return group("schedule", "Take over schedules", `Take over schedules of people who lost access. Each firing of a schedule is decided as whoever saved it last.`, a.scheduleAdoptCommand())
}

func (a *app) scheduleAdoptCommand() *cobra.Command {
	var f adoptFlags
	c := &cobra.Command{
		Use:   "adopt ID",
		Short: "Take over a schedule of somebody who lost access",
		Long: `Take over a schedule of somebody who lost access: it is saved again as it is, in your name. From then on each firing is decided as you, and signed with
your name and the reason. If it was paused because its owner left, it goes on; if for another reason, it stays paused.

You need to be allowed to change the schedule and to start what it starts. If somebody changes it meanwhile, nothing is done. Runs that it started before
stay their owner's; those still open are named, because a schedule that skips overlaps waits for them.`,
		Example: `  bailiwick schedule adopt nightly-report --reason "HR-88: bob left, reports are mine now"`,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			conn, ns, err := f.dial(a, c)
			if err != nil {
				return err
			}
			defer conn.Close()
			service := conn.WorkflowService()
			d, err := service.DescribeSchedule(c.Context(), &workflowservice.DescribeScheduleRequest{Namespace: ns, ScheduleId: args[0]})
			if err != nil {
				return fmt.Errorf("looking at schedule %s: %w", args[0], err)
			}
			s := d.GetSchedule()
			resumed := s.GetState().GetPaused() && strings.Contains(s.GetState().GetNotes(), inflight.Mark)
			if resumed {
				s.State.Paused, s.State.Notes = false, ""
			}
			open, unlisted := openRuns(c.Context(), service, ns, args[0])
			// The token makes it fail where somebody changed the schedule since it was read: what is accepted is what was there.
			if _, err := service.UpdateSchedule(c.Context(), &workflowservice.UpdateScheduleRequest{
				Namespace: ns, ScheduleId: args[0], Schedule: s, ConflictToken: d.GetConflictToken(), RequestId: rand.Text(),
			}); err != nil {
				return fmt.Errorf("taking over schedule %s: %w", args[0], err)
			}
			if unlisted != nil {
				fmt.Fprintf(c.ErrOrStderr(), "bailiwick: the schedule is yours now, but its open runs can't be listed: %v\n", unlisted)
			}
			paused := s.GetState().GetPaused()
			if a.asJSON {
				return a.out.json(map[string]any{"namespace": ns, "schedule_id": args[0], "resumed": resumed, "paused": paused, "open_runs": open})
			}
			fmt.Fprintf(a.out, "%s schedule %s: its firings are decided as you now.\n", a.out.green("Taken over"), safe(args[0]))
			switch {
			case resumed:
				fmt.Fprintln(a.out, "  It was paused because its owner lost access; it goes on.")
			case paused:
				fmt.Fprintln(a.out, "  It is paused for another reason, and stays so.")
			}
			for _, id := range open {
				fmt.Fprintf(a.out, "  A run that it started before is still open, and waits for an owner of its own: bailiwick run adopt %s --namespace %s\n", safe(id), safe(ns))
			}
			return nil
		},
	}
	f.register(a, c)
	return c
}

// openRuns are the ids of what a schedule started and is not over, at most 100. They are listed, because a schedule's description leaves out paused ones.
func openRuns(ctx context.Context, service workflowservice.WorkflowServiceClient, namespace, schedule string) ([]string, error) {
	r, err := service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: namespace, PageSize: 100, Query: "TemporalScheduledById = " + inflight.Literal(schedule) + " AND ExecutionStatus IN ('Running', 'Paused')",
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(r.GetExecutions()))
	for _, run := range r.GetExecutions() {
		ids = append(ids, run.GetExecution().GetWorkflowId())
	}
	return ids, nil
}
