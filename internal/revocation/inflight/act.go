package inflight

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
)

// act does what the rules say of one run or schedule, or undoes what was done. It may run twice: what is so already is left so.
func (s *Service) act(ctx context.Context, o Order) (Done, error) {
	c, err := s.temporal()
	if err != nil {
		return Done{}, err
	}
	rules, err := LoadRules(s.cfg.File)
	if err != nil {
		return Done{}, err
	}
	why := "who began it lost access: " + o.Loss.Reason
	if o.Resume {
		why = "who began it is back"
	}
	a := deed{service: c.WorkflowService(), o: o, why: why, note: noteOf(o), again: activity.GetInfo(ctx).Attempt > 1}
	ctx = s.cfg.Reason(ctx, why)
	rule := rules.effect(o.Loss.Reason, o.Target)
	if a.asks = rule.Do == AskOwner; a.asks {
		rule.Do, a.owners = Pause, rule.Owners
	}
	if o.Target.Schedule != "" {
		return a.schedule(ctx, rule.Do)
	}
	if !o.Resume && rule.Do != Block {
		owner, err := s.cfg.Owner(ctx, a.service, o.Target, o.Loss.Principal)
		if err != nil {
			return Done{}, fmt.Errorf("looking who answers for run %s: %w", o.Target.WorkflowID, err)
		}
		if owner != "" {
			return Done{Event: "run_kept", Text: "the run goes on: " + owner + " took it over"}, nil
		}
	}
	return a.run(ctx, rule.Do)
}

// deed is one act on one target.
type deed struct {
	service   workflowservice.WorkflowServiceClient
	o         Order
	why, note string
	asks      bool   // a new owner is sought
	owners    string // among this group
	again     bool   // an attempt before this one may have done it, and nobody heard
}

// Mark begins what we write where we pause something, so that we know it again; also who takes it over.
const Mark = "bailiwick: access lost"

// noteOf is of one person: nobody's return undoes what another's leaving did.
func noteOf(o Order) string {
	return Mark + " (" + workflowID(o.Loss.Principal) + ")"
}

// pauseNote is what stands where we pause something. It begins with note.
func (a *deed) pauseNote() string { return a.note + a.sought() }

// sought says that a new owner is sought, if one is.
func (a *deed) sought() string {
	switch {
	case !a.asks:
		return ""
	case a.owners == "":
		return "; a new owner is sought"
	}
	return "; a new owner is sought among " + a.owners
}

// paused is what is told of a pause of ours.
func (a *deed) paused(what string) Done {
	d := Done{Event: what + "_paused", Text: "the " + what + " is paused" + a.sought(), Held: true}
	if a.asks {
		d.Event = what + "_owner_asked"
	}
	return d
}

// request is the same for the same deed, so that Temporal does it once.
func (a *deed) request(what string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{what, a.o.Target.Namespace, a.o.Target.WorkflowID, a.o.Target.RunID, a.o.Loss.SourceEvent, a.o.Loss.At.UTC().String()}, "\x00")))
	return "bailiwick-" + hex.EncodeToString(sum[:12])
}

func (a *deed) run(ctx context.Context, e Effect) (Done, error) {
	t := a.o.Target
	run := &commonpb.WorkflowExecution{WorkflowId: t.WorkflowID, RunId: t.RunID}
	d, err := a.service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: t.Namespace, Execution: run})
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return Done{}, nil
	}
	if err != nil {
		return Done{}, fmt.Errorf("looking at run %s: %w", t.WorkflowID, err)
	}
	status := d.GetWorkflowExecutionInfo().GetStatus()
	paused := status == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
	running := status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	cancelled, terminated := Done{Event: "run_cancelled", Text: "the run is asked to end"}, Done{Event: "run_terminated", Text: "the run is ended"}
	resumed := Done{Event: "run_resumed", Text: "the run goes on"}
	switch {
	case a.again && a.o.Resume && running:
		return resumed, nil
	case a.again && !a.o.Resume && e == Cancel && status == enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return cancelled, nil
	case a.again && !a.o.Resume && e == Terminate && status == enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return terminated, nil
	case !paused && !running:
		return Done{}, nil // it has ended
	}
	pause := d.GetWorkflowExtendedInfo().GetPauseInfo()
	ours := paused && strings.Contains(pause.GetReason(), a.note)
	switch {
	case a.o.Resume && !ours:
		return Done{}, nil // somebody let it go on, or paused it for reasons of their own
	case a.o.Resume:
		_, err = a.service.UnpauseWorkflowExecution(ctx, &workflowservice.UnpauseWorkflowExecutionRequest{Namespace: t.Namespace, WorkflowId: t.WorkflowID, RunId: t.RunID, Reason: a.why, RequestId: a.request("unpause")})
		return settled(resumed, err)
	case e == Pause && ours:
		return a.paused("run"), nil
	case e == Pause && paused:
		return Done{Event: "run_blocked", Text: "the run was paused by somebody else and stays so"}, nil
	case e == Pause:
		_, err = a.service.PauseWorkflowExecution(ctx, &workflowservice.PauseWorkflowExecutionRequest{Namespace: t.Namespace, WorkflowId: t.WorkflowID, RunId: t.RunID, Reason: a.pauseNote(), RequestId: a.request("pause")})
		return settled(a.paused("run"), err)
	case e == Cancel:
		_, err = a.service.RequestCancelWorkflowExecution(ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: t.Namespace, WorkflowExecution: run, Reason: a.why, RequestId: a.request("cancel")})
		return settled(cancelled, err)
	case e == Terminate:
		_, err = a.service.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{Namespace: t.Namespace, WorkflowExecution: run, Reason: a.why})
		return settled(terminated, err)
	}
	return Done{Event: "run_blocked", Text: "workers refuse its next activity"}, nil
}

func (a *deed) schedule(ctx context.Context, e Effect) (Done, error) {
	t := a.o.Target
	d, err := a.service.DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: t.Namespace, ScheduleId: t.Schedule})
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return Done{}, nil
	}
	if err != nil {
		return Done{}, fmt.Errorf("looking at schedule %s: %w", t.Schedule, err)
	}
	state := d.GetSchedule().GetState()
	ours := state.GetPaused() && strings.Contains(state.GetNotes(), a.note)
	patch := &workflowservice.PatchScheduleRequest{Namespace: t.Namespace, ScheduleId: t.Schedule, Patch: &schedulepb.SchedulePatch{}}
	done := a.paused("schedule")
	switch {
	case a.o.Resume && !ours && !(a.again && !state.GetPaused()):
		return Done{}, nil
	case a.o.Resume:
		done = Done{Event: "schedule_resumed", Text: "the schedule goes on"}
		if !state.GetPaused() { // the attempt before did it
			return done, nil
		}
		patch.Patch.Unpause = a.why
	case e != Pause:
		return Done{Event: "schedule_blocked", Text: "its firings are refused"}, nil
	case ours:
		return done, nil
	case state.GetPaused():
		return Done{Event: "schedule_blocked", Text: "the schedule was paused by somebody else and stays so"}, nil
	default:
		patch.Patch.Pause = a.pauseNote()
	}
	patch.RequestId = a.request(done.Event)
	_, err = a.service.PatchSchedule(ctx, patch)
	return settled(done, err)
}

// settled tells what went wrong for now from what is over: a run that ended meanwhile needs nothing more.
func settled(d Done, err error) (Done, error) {
	var gone *serviceerror.NotFound
	var denied *serviceerror.PermissionDenied
	switch {
	case err == nil:
		return d, nil
	case errors.As(err, &gone):
		return Done{}, nil
	case errors.As(err, &denied):
		// Policy can be changed so that it may: it is tried again, and the failure stands in the workflow until then.
		return Done{}, temporal.NewApplicationErrorWithOptions("policy does not let this act on runs: "+denied.Error(), "not_allowed", temporal.ApplicationErrorOptions{Cause: err})
	}
	return Done{}, err
}
