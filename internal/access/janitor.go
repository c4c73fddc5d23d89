package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// JanitorName is the workflow type of the janitor, and JanitorID its schedule's id.
const (
	JanitorName = "bailiwick.access.janitor"
	JanitorID   = "bailiwick-access-janitor"
)

// Grants lists what gates honour now.
type Grants interface {
	Live(ctx context.Context) ([]*standing.Grant, error)
}

// Sweep is what one round of the janitor found and did.
type Sweep struct {
	Grants      int      `json:"grants"`                // live in the feed
	Orphans     []string `json:"orphans,omitempty"`     // grants that no request stood behind any more: revoked
	Memberships []string `json:"memberships,omitempty"` // "GROUP UID": members whose grant was over: removed
}

// Janitor compares what is in force with what should be, and takes back what nobody answers for.
func Janitor(ctx workflow.Context) (s Sweep, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 3}})
	err = workflow.ExecuteActivity(ctx, actSweep).Get(ctx, &s)
	return s, err
}

// Tend makes the janitor's schedule if there is none. It runs every interval.
func Tend(ctx context.Context, c client.Client, every time.Duration) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:      JanitorID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}},
		Action:  &client.ScheduleWorkflowAction{ID: JanitorID, Workflow: JanitorName, TaskQueue: TaskQueue, WorkflowExecutionTimeout: 5 * time.Minute},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the janitor's schedule: %w", err)
	}
	return nil
}

// settling is how long a request may take from its end to the end of its grant before the janitor steps in.
const settling = time.Minute

func (a *activities) sweep(ctx context.Context) (s Sweep, err error) {
	return s, errors.Join(a.sweepGrants(ctx, &s), a.sweepGroups(ctx, &s))
}

// sweepGrants revokes live grants whose request is unknown, or has ended and could not take them back.
func (a *activities) sweepGrants(ctx context.Context, s *Sweep) error {
	if a.s.cfg.Grants == nil {
		return nil
	}
	live, err := a.s.cfg.Grants.Live(ctx)
	if err != nil {
		return fmt.Errorf("listing live grants: %w", err)
	}
	s.Grants = len(live)
	var failed []error
	for _, g := range live {
		if g.Request == "" {
			continue // not of ours
		}
		r, err := a.s.Get(ctx, g.Request)
		var refused *Refusal
		switch {
		case errors.As(err, &refused) && refused.Code == "request_unknown":
		case err != nil:
			failed = append(failed, err)
			continue
		case r.State.Ended() && a.s.cfg.Clock().Sub(r.Ended) < settling:
			continue
		case r.State == Active || r.State == Approved:
			running, err := a.s.running(ctx, g.Request)
			if err != nil || running {
				failed = append(failed, err)
				continue
			}
		}
		s.Orphans = append(s.Orphans, g.ID)
		failed = append(failed, a.takeBack(ctx, g))
	}
	return errors.Join(failed...)
}

// running reports whether a request's workflow lives: one that somebody terminated says for ever what it said last.
func (s *Service) running(ctx context.Context, id string) (bool, error) {
	t, err := s.temporal()
	if err != nil {
		return false, err
	}
	d, err := t.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return false, s.down(ctx, err, "describing request "+id)
	}
	return d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

func (a *activities) takeBack(ctx context.Context, g *standing.Grant) error {
	now := a.s.cfg.Clock().UTC()
	if _, err := a.s.cfg.Publisher.Put(ctx, standing.Event{ID: g.ID + "/swept/" + now.Format("20060102T150405"), Kind: standing.EventRevoke, At: now, Grant: &standing.Grant{ID: g.ID, Principal: g.Principal, Namespace: g.Namespace, Request: g.Request, Expires: now}}); err != nil {
		return fmt.Errorf("revoking orphan %s: %w", g.ID, err)
	}
	_, err := a.s.cfg.Recorder.Record(ctx, audit.Entry{Kind: audit.KindAccess, Grant: g.ID, Resource: Asked{Namespace: g.Namespace, WorkflowID: g.WorkflowID, RunID: g.RunID, WorkflowType: g.WorkflowType}.resource(), Detail: map[string]string{
		"event": "revoked", "code": "orphan", "request": g.Request, "requester": g.Principal, "requester_login": g.Login, "role": g.Role, "text": "no request stands behind this grant any more", "backend": Native,
	}})
	return err
}

// sweepGroups removes members whose grant is over and who came back, by a sync of somebody else's or because two requests ended at once. It adds
// nobody: who was removed by hand during their grant stays removed.
func (a *activities) sweepGroups(ctx context.Context, s *Sweep) error {
	if a.s.cfg.Groups == nil {
		return nil
	}
	type member struct{ group, user string }
	over, held := map[member]Request{}, map[member]bool{}
	all, err := a.s.list(ctx, Filter{Limit: maxScanned}, func(r *Request) bool { return r.Backend == Okta && r.Group != "" })
	if err != nil {
		return err
	}
	for _, r := range all {
		m := member{r.Group, uid(r.Asked.Principal)}
		switch {
		case r.State == Active || r.State == Approved:
			held[m] = true
		case r.State.Ended() && r.Listed && r.Settled && a.s.cfg.Clock().Sub(r.Ended) > settling:
			over[m] = r
		}
	}
	var failed []error
	for m, r := range over {
		if held[m] {
			continue
		}
		back, err := a.isMember(ctx, Membership{Group: m.group, User: m.user})
		if err != nil || !back {
			failed = append(failed, err)
			continue
		}
		if err := a.s.cfg.Groups.Remove(ctx, m.group, m.user); err != nil {
			failed = append(failed, fmt.Errorf("removing %s from %s again: %w", m.user, m.group, err))
			continue
		}
		s.Memberships = append(s.Memberships, m.group+" "+m.user)
		_, err = a.s.cfg.Recorder.Record(ctx, audit.Entry{Kind: audit.KindAccess, Grant: r.Grant, Resource: r.Asked.resource(), Detail: map[string]string{
			"event": "revoked", "code": "drift", "request": r.Asked.ID, "requester": r.Asked.Principal, "requester_login": r.Asked.Login, "role": r.Asked.Role, "group": m.group, "text": "the member was back in the group after the grant's end", "backend": Okta,
		}})
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
