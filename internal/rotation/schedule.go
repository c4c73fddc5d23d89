package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

const (
	actDue = "bailiwick-rotation-find-due"
	// LookEvery is how often the schedule looks for keys that are due.
	LookEvery = 24 * time.Hour
)

// WorkflowID is under which a target's rotations run: two at once are not possible.
func WorkflowID(use Use, target string) string { return "key-rotation/" + string(use) + "/" + target }

// Schedule has keys that are due rotated, by the worker of TaskQueue. A schedule that is there stays as it is: an operator may have paused it.
func Schedule(ctx context.Context, c client.Client) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:      ScheduleID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: LookEvery}}},
		Action:  &client.ScheduleWorkflowAction{ID: DueName, Workflow: DueName, TaskQueue: TaskQueue, WorkflowExecutionTimeout: LookEvery},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: LookEvery,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the schedule of rotations: %w", err)
	}
	return nil
}

// Due starts a rotation of each key that is due. Each runs on by itself; one that runs already is left alone.
func Due(ctx workflow.Context) (started int, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{ScheduleToCloseTimeout: LookEvery / 2, StartToCloseTimeout: 5 * time.Minute,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 10 * time.Second, MaximumInterval: 10 * time.Minute}})
	var due []Params
	if err := workflow.ExecuteActivity(ctx, actDue).Get(ctx, &due); err != nil {
		return 0, err
	}
	for _, p := range due {
		child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: WorkflowID(p.Use, p.Target), TaskQueue: TaskQueue, ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		})
		if err := workflow.ExecuteChildWorkflow(child, WorkflowName, p).GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("a rotation that is due was not started", "use", p.Use, "target", p.Target, "error", err)
			continue
		}
		started++
	}
	return started, nil
}

// due lists the targets whose key is older than Times.Every. One that can't be looked at now is left for the next time.
func (s *Service) due(ctx context.Context) (due []Params, err error) {
	now := s.cfg.Clock()
	add := func(use Use, target string, since time.Time) {
		if !since.IsZero() && now.Sub(since) >= s.cfg.Times.Every {
			due = append(due, Params{Version: Version, Use: use, Target: target, Times: s.cfg.Times, Reason: fmt.Sprintf("the key is from %s", since.UTC().Format(time.DateOnly))})
		}
	}
	skip := func(use Use, target string, err error) {
		s.cfg.Logger.WarnContext(ctx, "whether a key is due can't be told", "use", use, "target", target, "error", err)
	}
	for _, t := range s.cfg.Issuers {
		if is, err := s.cfg.Servers.Signing(ctx, t.ID); err != nil {
			skip(Issuer, t.ID, err)
		} else {
			add(Issuer, t.ID, is.LastRotated)
		}
	}
	for _, t := range s.cfg.Clients {
		if is, _, err := s.clientCredential(ctx, t); err != nil {
			skip(Client, t.ID, err)
		} else {
			add(Client, t.ID, is.Created)
		}
	}
	for _, t := range s.cfg.Attestations {
		var is attest.Key
		if is, _, err = signing(t.Dir); err != nil {
			skip(Attestation, t.ID, err)
			continue
		}
		add(Attestation, t.ID, is.NotBefore)
	}
	return due, nil
}
