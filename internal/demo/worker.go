package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// ScheduleID is the schedule that EnsureSchedule creates.
const ScheduleID = "nightly-report"

const (
	pace        = 300 * time.Millisecond
	stopTimeout = 5 * time.Second
	identity    = "bailiwick-demo-worker" // display only: anyone may claim it, so nothing decides on it
)

// Config says where the worker polls and as whom.
type Config struct {
	Address     string                // Temporal's gRPC address, host:port
	Namespace   string                // such as "deploy"
	Credentials sdkplugin.Credentials // the worker's own identity; it needs no more than the role worker
	KeysURL     string                // the gate's published attestation keys
	Audience    string                // the environment, such as "bailiwick:dev"
	RevokedURL  string                // where the control plane tells who has lost access; empty: nobody is asked
	Logger      *slog.Logger          // nil: slog.Default()
}

// registry is what worker.Worker, worker.WorkflowReplayer's callers and the SDK's test environments have in common.
type registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// RegisterWorkflows registers the workflows under their names.
func RegisterWorkflows(r registry) {
	r.RegisterWorkflowWithOptions(Deploy, workflow.RegisterOptions{Name: WorkflowDeploy})
	r.RegisterWorkflowWithOptions(SmokeTest, workflow.RegisterOptions{Name: WorkflowSmokeTest})
	r.RegisterWorkflowWithOptions(NightlyReport, workflow.RegisterOptions{Name: WorkflowNightlyReport})
}

// activityRegistry is the other half.
type activityRegistry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// RegisterActivities registers the activities under their names.
func RegisterActivities(r activityRegistry, a *Activities) {
	r.RegisterActivityWithOptions(a.Build, activity.RegisterOptions{Name: activityBuild})
	r.RegisterActivityWithOptions(a.Push, activity.RegisterOptions{Name: activityPush})
	r.RegisterActivityWithOptions(a.Verify, activity.RegisterOptions{Name: activityVerify})
}

// Run polls task queue "deploy" until ctx is done, which is not an error. It returns early only if the worker cannot start or go on.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	options := sdkplugin.Options{Credentials: cfg.Credentials, KeysURL: cfg.KeysURL, Audience: cfg.Audience, Logger: cfg.Logger}
	if cfg.RevokedURL != "" {
		source, err := sdkplugin.NewRevocationSource(sdkplugin.RevocationSourceConfig{URL: cfg.RevokedURL, Credentials: cfg.Credentials, Namespace: cfg.Namespace, TaskQueue: TaskQueue})
		if err != nil {
			return fmt.Errorf("starting demo worker: %w", err)
		}
		options.Revocations = source
	}
	plugin, err := sdkplugin.New(options)
	if err != nil {
		return fmt.Errorf("starting demo worker: %w", err)
	}
	c, err := client.DialContext(ctx, client.Options{HostPort: cfg.Address, Namespace: cfg.Namespace, Identity: identity, Plugins: []client.Plugin{plugin}})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("connecting demo worker to %s: %w", cfg.Address, err)
	}
	defer c.Close()

	fatal := make(chan error, 1)
	w := worker.New(c, TaskQueue, worker.Options{
		WorkerStopTimeout: stopTimeout,
		OnFatalError:      func(err error) { fatal <- err }, // at most once per worker, says the SDK
	})
	RegisterWorkflows(w)
	RegisterActivities(w, &Activities{Pace: pace, Logger: cfg.Logger})
	if err := w.Start(); err != nil {
		return fmt.Errorf("starting demo worker in namespace %s: %w", cfg.Namespace, err)
	}
	cfg.Logger.InfoContext(ctx, "demo worker polls", "namespace", cfg.Namespace, "task_queue", TaskQueue)
	select {
	case <-ctx.Done():
		w.Stop()
		return nil
	case err := <-fatal:
		w.Stop()
		return fmt.Errorf("demo worker stopped: %w", err)
	}
}

// EnsureSchedule creates the schedule that starts "nightly-report" at 03:00 UTC, unless it is there. The client must be of someone with
// write rights in its namespace: the runs are theirs. A worker's own identity may not do this.
func EnsureSchedule(ctx context.Context, c client.Client) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:     ScheduleID,
		Spec:   client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: 3}}}}},
		Action: &client.ScheduleWorkflowAction{ID: WorkflowNightlyReport, Workflow: WorkflowNightlyReport, TaskQueue: TaskQueue},
		Note:   "Bailiwick's demo: each run carries the attestation of whoever made the schedule",
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating schedule %s: %w", ScheduleID, err)
	}
	return nil
}
