// Package demo is the worker that `bailiwick dev` runs: a deployment that shows every edge of a run's life with its attestation.
//
// It owns the workflows and activities of task queue "deploy" and a schedule to try. It refuses to know how the server, the gate and the
// development org are started, and it has no more rights than any other worker: it polls.
package demo

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// Names as callers use them.
const (
	TaskQueue = "deploy"

	WorkflowDeploy        = "deploy"
	WorkflowSmokeTest     = "smoke-test"
	WorkflowNightlyReport = "nightly-report"

	SignalApprove    = "approve"
	UpdateSetTraffic = "set-traffic"
	QueryStatus      = "status"

	activityBuild  = "build"
	activityPush   = "push"
	activityVerify = "verify"
)

const (
	defaultApprovalTimeout = 24 * time.Hour
	maxStepSeconds         = 3600
)

// DeployInput is what workflow "deploy" takes, such as {"service":"checkout","version":"1.4.2"}.
type DeployInput struct {
	Service                string `json:"service"`
	Version                string `json:"version"`
	Approval               bool   `json:"approval,omitempty"`                 // wait for signal "approve" before going live
	ApprovalTimeoutSeconds int    `json:"approval_timeout_seconds,omitempty"` // default a day
	StepSeconds            int    `json:"step_seconds,omitempty"`             // pause after each step, 0 to 3600
}

func (in DeployInput) check() error {
	switch {
	case in.Service == "" || in.Version == "":
		return fmt.Errorf(`service and version are needed, such as {"service":"checkout","version":"1.4.2"}`)
	case in.StepSeconds < 0 || in.StepSeconds > maxStepSeconds:
		return fmt.Errorf("step_seconds is %d, not between 0 and %d", in.StepSeconds, maxStepSeconds)
	case in.ApprovalTimeoutSeconds < 0:
		return fmt.Errorf("approval_timeout_seconds is %d, less than 0", in.ApprovalTimeoutSeconds)
	}
	return nil
}

// Status is what query "status" answers and workflow "deploy" returns.
type Status struct {
	Service    string `json:"service"`
	Version    string `json:"version"`
	Phase      string `json:"phase"` // building, pushing, smoke-testing, waiting for approval, going live, live
	StartedBy  string `json:"started_by"`
	Reason     string `json:"reason,omitempty"`
	ApprovedBy string `json:"approved_by,omitempty"`
	Traffic    int    `json:"traffic"` // percent
	TrafficBy  string `json:"traffic_by,omitempty"`
	Steps      []Step `json:"steps"`
}

// Deploy builds, pushes, smoke-tests (in a child), waits for approval if asked to, and verifies. Update "set-traffic" takes a percentage.
func Deploy(ctx workflow.Context, in DeployInput) (Status, error) {
	if err := in.check(); err != nil {
		return Status{}, temporal.NewNonRetryableApplicationError(err.Error(), "BadInput", nil)
	}
	info, _ := sdkplugin.FromWorkflow(ctx)
	st := Status{Service: in.Service, Version: in.Version, StartedBy: who(info), Reason: info.Reason, Steps: []Step{}}
	if err := handleCalls(ctx, &st); err != nil {
		return st, err
	}
	ctx = withActivities(ctx)
	target := Target{Service: in.Service, Version: in.Version}

	for _, step := range []struct{ phase, activity string }{{"building", activityBuild}, {"pushing", activityPush}} {
		st.Phase = step.phase
		if err := run(ctx, &st, step.activity, target, in.StepSeconds); err != nil {
			return st, err
		}
	}

	st.Phase = "smoke-testing"
	var tested Step
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID + "-smoke-test"})
	if err := workflow.ExecuteChildWorkflow(child, WorkflowSmokeTest, target).Get(ctx, &tested); err != nil {
		return st, err
	}
	st.Steps = append(st.Steps, tested)
	if err := pause(ctx, in.StepSeconds); err != nil {
		return st, err
	}

	if in.Approval {
		st.Phase = "waiting for approval"
		approver, err := awaitApproval(ctx, in.ApprovalTimeoutSeconds)
		if err != nil {
			return st, err
		}
		st.ApprovedBy = approver
	}

	st.Phase = "going live"
	if err := run(ctx, &st, activityVerify, target, in.StepSeconds); err != nil {
		return st, err
	}
	st.Phase = "live"
	if st.TrafficBy == "" {
		st.Traffic = 100
	}
	// An update that was accepted gets its answer before the run ends.
	return st, workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func handleCalls(ctx workflow.Context, st *Status) error {
	if err := workflow.SetQueryHandler(ctx, QueryStatus, func() (Status, error) { return *st, nil }); err != nil {
		return err
	}
	set := func(ctx workflow.Context, percent int) (Status, error) {
		info, _ := sdkplugin.FromWorkflow(ctx) // the updater, not the starter
		st.Traffic, st.TrafficBy = percent, who(info)
		workflow.GetLogger(ctx).Info("traffic set", "percent", percent, "by", st.TrafficBy)
		return *st, nil
	}
	validate := func(_ workflow.Context, percent int) error {
		if percent < 0 || percent > 100 {
			return fmt.Errorf("%d is not a percentage between 0 and 100", percent)
		}
		return nil
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateSetTraffic, set, workflow.UpdateHandlerOptions{Validator: validate, Description: "percent of traffic that goes to the new version, 0 to 100"})
}

// awaitApproval waits for signal "approve" and returns who sent it. Who approves is what the gate attested; the signal's argument is ignored.
func awaitApproval(ctx workflow.Context, timeoutSeconds int) (string, error) {
	timeout := defaultApprovalTimeout
	if timeoutSeconds > 0 {
		timeout = time.Duration(timeoutSeconds) * time.Second
	}
	ch := workflow.GetSignalChannel(ctx, SignalApprove)
	ok, err := workflow.AwaitWithTimeout(ctx, timeout, func() bool { return ch.Len() > 0 })
	if err != nil {
		return "", err
	}
	if !ok {
		return "", temporal.NewNonRetryableApplicationError(fmt.Sprintf("nobody approved within %s; start again and send signal %q", timeout, SignalApprove), "NotApproved", nil)
	}
	info, err := sdkplugin.ReceiveSignal(ctx, SignalApprove, nil)
	if err != nil {
		return "", err
	}
	workflow.GetLogger(ctx).Info("approved", "by", who(info))
	return who(info), nil
}

// SmokeTest is a child of Deploy: it runs as whoever started the deployment.
func SmokeTest(ctx workflow.Context, target Target) (Step, error) {
	var step Step
	target.Environment = "staging"
	err := workflow.ExecuteActivity(withActivities(ctx), activityVerify, target).Get(ctx, &step)
	step.Name = WorkflowSmokeTest
	return step, err
}

// NightlyReport is started by a schedule: it runs as whoever created or last changed the schedule.
func NightlyReport(ctx workflow.Context) (Step, error) {
	var step Step
	err := workflow.ExecuteActivity(withActivities(ctx), activityVerify, Target{Service: "everything", Environment: "production"}).Get(ctx, &step)
	step.Name = WorkflowNightlyReport
	return step, err
}

func run(ctx workflow.Context, st *Status, activity string, target Target, pauseSeconds int) error {
	var step Step
	if err := workflow.ExecuteActivity(ctx, activity, target).Get(ctx, &step); err != nil {
		return err
	}
	st.Steps = append(st.Steps, step)
	return pause(ctx, pauseSeconds)
}

// pause is a durable timer, so that a worker or server may be restarted in it.
func pause(ctx workflow.Context, seconds int) error {
	if seconds == 0 {
		return nil
	}
	return workflow.Sleep(ctx, time.Duration(seconds)*time.Second)
}

func withActivities(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}

// who names a person or service for a reader.
func who(info sdkplugin.Info) string {
	switch {
	case !info.Verified:
		return "unverified"
	case info.Actor.Login != "":
		return info.Actor.Login
	default:
		return info.Actor.Principal
	}
}
