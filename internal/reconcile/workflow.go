package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Names under which a worker of the control plane registers the workflow and the activity, and the schedule that starts it.
const (
	WorkflowName = "bailiwick-reconcile"
	ActivityName = "bailiwick-reconcile-histories"
	ScheduleID   = "bailiwick-reconcile"
)

// Params are what the scheduled workflow is started with.
type Params struct {
	Window  time.Duration `json:"window"`  // how far back from the start of the run; longer than the schedule's interval, so that nothing falls between
	Overlap time.Duration `json:"overlap"` // how much of the latest is left to the next one, whose record is complete then. Default 1m
}

// Outcome is what the workflow returns: the report is in a file.
type Outcome struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Runs     int       `json:"runs"`
	Bypasses int       `json:"bypasses"`
	Orphans  int       `json:"orphans"`
	Digest   string    `json:"digest"` // SHA-256 of the report file
	Entry    string    `json:"entry"`  // of the log
}

// Workflow makes one report. Start it by a schedule.
func Workflow(ctx workflow.Context, p Params) (Outcome, error) {
	if p.Overlap <= 0 {
		p.Overlap = time.Minute
	}
	if p.Window <= 0 {
		return Outcome{}, temporal.NewNonRetryableApplicationError("window must be positive", "bad_params", nil)
	}
	to := workflow.Now(ctx).Add(-p.Overlap)
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 6 * time.Hour, HeartbeatTimeout: 2 * time.Minute,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 10 * time.Second, MaximumInterval: 10 * time.Minute, MaximumAttempts: 10},
	})
	var out Outcome
	err := workflow.ExecuteActivity(ctx, ActivityName, Span{to.Add(-p.Window), to}).Get(ctx, &out)
	return out, err
}

// Span is the time that an activity reconciles.
type Span struct{ From, To time.Time }

// Reporter is the activity with what it needs.
type Reporter struct {
	// Open brings the record up to date and returns what to reconcile with, for one report; From, To and Progress are filled in. close is called
	// when it is done.
	Open   func(ctx context.Context) (cfg Config, close func(), err error)
	Dir    string                                                          // where report files go; made if need be
	Record func(ctx context.Context, e audit.Entry) (id string, err error) // appends to the log, durably
	Logger *slog.Logger
}

// Report is the activity. Done again after a crash it makes the report again: the same span has one file, and the log an entry for each time.
func (r *Reporter) Report(ctx context.Context, span Span) (Outcome, error) {
	cfg, done, err := r.Open(ctx)
	if err != nil {
		return Outcome{}, fmt.Errorf("opening what to reconcile: %w", err)
	}
	defer done()
	last, err := lastEnd(r.Dir, span.To)
	if err != nil {
		return Outcome{}, err
	}
	if !last.IsZero() && last.Before(span.From) {
		span.From = last // nothing was compared since, as after an outage
	}
	cfg.From, cfg.To = span.From, span.To
	cfg.Progress = func(p Progress) { activity.RecordHeartbeat(ctx, p) }
	report, err := Reconcile(ctx, cfg)
	if err != nil {
		return Outcome{}, err
	}
	name, digest, err := save(r.Dir, &report)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{From: span.From, To: span.To, Runs: report.Runs, Bypasses: report.BypassCount(), Orphans: report.OrphanCount(), Digest: digest}
	if out.Entry, err = r.Record(ctx, Entry(&report, out.Digest)); err != nil {
		return Outcome{}, fmt.Errorf("recording the report: %w", err)
	}
	if r.Logger != nil && !report.OK() {
		r.Logger.WarnContext(ctx, "histories have events with no decision behind them", "bypasses", out.Bypasses, "report", name)
	}
	return out, nil
}

// Entry is what the log says of a report.
func Entry(r *Report, digest string) audit.Entry {
	return audit.Entry{Kind: audit.KindReport, Detail: map[string]string{
		"event": "reconciled", "from": r.From.UTC().Format(time.RFC3339), "to": r.To.UTC().Format(time.RFC3339),
		"bypasses": strconv.Itoa(r.BypassCount()), "orphans": strconv.Itoa(r.OrphanCount()), "runs": strconv.Itoa(r.Runs), "digest": digest,
	}}
}

// registry is what a worker, or a test's environment, registers with.
type registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register makes a worker take the workflow and its activity.
func (r *Reporter) Register(w registry) {
	w.RegisterWorkflowWithOptions(Workflow, workflow.RegisterOptions{Name: WorkflowName})
	w.RegisterActivityWithOptions(r.Report, activity.RegisterOptions{Name: ActivityName})
}
