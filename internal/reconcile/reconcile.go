// Package reconcile holds Temporal's histories against the audit log: each event that needs somebody's decision must have one, and each decision
// that was allowed should have had its effect.
//
// It owns the rules by which an event and a decision are of each other, the report, and the workflow that makes one by schedule. It refuses to
// know how histories and the log are reached: both come through small interfaces. It judges nobody: a bypass is an event with no decision behind
// it, however that came about.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	historypb "go.temporal.io/api/history/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

// Run is one run as Temporal lists it.
type Run struct {
	Namespace, WorkflowID, RunID, Type string
	Started, Closed                    time.Time // Closed is zero while it runs
}

// Histories is Temporal, as it may be read.
type Histories interface {
	// Runs lists the runs that were open at some time in [from, to), by pages. next is empty at the end.
	Runs(ctx context.Context, namespace string, from, to time.Time, page []byte) (list []Run, next []byte, err error)
	// Events returns a whole history. An error that wraps ErrGone means that it is not there any more.
	Events(ctx context.Context, r Run) ([]*historypb.HistoryEvent, error)
}

// ErrGone is wrapped by an error for a history that was listed and is no longer kept.
var ErrGone = errors.New("history is no longer kept")

// Decision is what a reconciliation needs of a decision's entry.
type Decision struct {
	ID    string
	Index uint64
	Time  time.Time
	Allow bool
	Acts  []Act // the call itself first, then what it would do besides
	Who   string
	Actor string // principal

	// OnBehalf is, for an act of Temporal's own services, the decision in whose name they act, as the gate found it.
	OnBehalf string
}

// Act is an action on a workflow.
type Act struct{ Action, Namespace, WorkflowID, RunID, ScheduleID string }

// Record is the audit log, the unsealed tail included.
type Record interface {
	// Decision returns the decision of an id; ok is false when the log has none.
	Decision(ctx context.Context, id string) (d Decision, ok bool, err error)
	// About returns the allowed decisions that name the workflow in [from, to).
	About(ctx context.Context, namespace, workflowID string, from, to time.Time) ([]Decision, error)
	// Batches returns the decisions of [from, to) that started batches in the namespace.
	Batches(ctx context.Context, namespace string, from, to time.Time) ([]Decision, error)
	// Allowed calls each with the allowed decisions of [from, to) that operate on something in the namespace, the oldest first.
	Allowed(ctx context.Context, namespace string, from, to time.Time, each func(Decision) error) error
}

// Config says what to reconcile.
type Config struct {
	Namespaces []string
	From, To   time.Time // events in [From, To). To must not be later than when the record was last brought up to date
	Histories  Histories
	Record     Record
	Keys       attest.KeySet                     // the gates' attestation keys
	Archive    func() (attest.KeySet, error)     // those of the past, from the log; may be nil
	Audience   string                            // of attestations
	DecisionOf func(string) (id string, ok bool) // reads the decision out of the identity that the gate gave an event

	PerSecond int           // histories read in a second, to spare the server. Default 50
	Near      time.Duration // how far from a decision an event may be that names none. Default 1m
	MaxListed int           // bypasses and orphans in the report, of each. Default 1000; more are counted
	Progress  func(Progress)
}

// Progress is how far a reconciliation is.
type Progress struct {
	Namespace    string
	Runs, Events int
}

// reconciliation is one run of it.
type reconciliation struct {
	cfg    Config
	report Report
	seen   map[string]bool      // decisions that events name
	starts map[string][]started // of the namespace under way, by workflow id
	pace   *pace
}

// started is a run of a workflow id.
type started struct {
	runID      string
	at, closed time.Time
}

// Reconcile reads the histories of every run that was open in the time given, and then the decisions of that time. It keeps the ids of the
// decisions seen in memory, and of the histories one at a time.
func Reconcile(ctx context.Context, cfg Config) (Report, error) {
	if cfg.PerSecond <= 0 {
		cfg.PerSecond = 50
	}
	if cfg.Near <= 0 {
		cfg.Near = time.Minute
	}
	if cfg.MaxListed <= 0 {
		cfg.MaxListed = 1000
	}
	switch {
	case cfg.Histories == nil || cfg.Record == nil || cfg.DecisionOf == nil:
		return Report{}, errors.New("reconciling: histories, record and the reading of identities are needed")
	case !cfg.From.Before(cfg.To):
		return Report{}, errors.New("reconciling: the time ends before it begins")
	case len(cfg.Namespaces) == 0:
		return Report{}, errors.New("reconciling: no namespace is named")
	}
	r := &reconciliation{cfg: cfg, seen: map[string]bool{}, pace: newPace(cfg.PerSecond)}
	r.report = Report{From: cfg.From, To: cfg.To, Namespaces: slices.Clone(cfg.Namespaces), By: map[Strength]int{}}
	slices.Sort(r.report.Namespaces)
	for _, ns := range r.report.Namespaces {
		if err := r.namespace(ctx, ns); err != nil {
			return r.report, fmt.Errorf("reconciling namespace %q: %w", ns, err)
		}
	}
	return r.report, nil
}

func (r *reconciliation) namespace(ctx context.Context, ns string) error {
	r.starts = map[string][]started{}
	// All runs are known before the first is judged: a start may explain another run's end.
	var list []Run
	for page := []byte(nil); ; {
		more, next, err := r.cfg.Histories.Runs(ctx, ns, r.cfg.From, r.cfg.To, page)
		if err != nil {
			return fmt.Errorf("listing runs: %w", err)
		}
		for _, run := range more {
			list = append(list, run)
			r.starts[run.WorkflowID] = append(r.starts[run.WorkflowID], started{run.RunID, run.Started, run.Closed})
		}
		if page = next; len(page) == 0 {
			break
		}
	}
	for _, run := range list {
		if err := r.pace.wait(ctx); err != nil {
			return err
		}
		if err := r.run(ctx, run); err != nil {
			return err
		}
		if r.cfg.Progress != nil {
			r.cfg.Progress(Progress{ns, r.report.Runs, r.report.Events})
		}
	}
	return r.cfg.Record.Allowed(ctx, ns, r.cfg.From, r.cfg.To, r.decision)
}

func (r *reconciliation) run(ctx context.Context, run Run) error {
	events, err := r.cfg.Histories.Events(ctx, run)
	if errors.Is(err, ErrGone) {
		r.report.Gone++
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the history of %s: %w", run.WorkflowID, err)
	}
	r.report.Runs++
	t, err := runs.Build(events, runs.Config{Namespace: run.Namespace, WorkflowID: run.WorkflowID, RunID: run.RunID, Keys: r.cfg.Keys, Archive: r.cfg.Archive, Audience: r.cfg.Audience})
	if err != nil {
		r.report.Unreadable = append(r.report.Unreadable, run.Namespace+"/"+run.WorkflowID+"/"+run.RunID)
		return nil
	}
	named := map[string]map[runs.Kind]int64{} // what each decision has done in this run
	for i := range t.Steps {
		s := &t.Steps[i]
		if !needsDecision(s.Kind) {
			continue
		}
		within := !s.Time.Before(r.cfg.From) && s.Time.Before(r.cfg.To)
		if within {
			r.report.Events++
		}
		if err := r.step(ctx, &t, s, named, within); err != nil {
			return err
		}
	}
	return nil
}

func needsDecision(k runs.Kind) bool {
	switch k {
	case runs.KindStart, runs.KindSignal, runs.KindUpdate, runs.KindCancelRequest, runs.KindTerminate, runs.KindPause, runs.KindUnpause, runs.KindOptions, runs.KindReset:
		return true
	}
	return false
}

func (r *reconciliation) bypass(t *runs.Timeline, s *runs.Step, code, decision, format string, args ...any) {
	r.report.bypasses++
	if len(r.report.Bypasses) >= r.cfg.MaxListed {
		r.report.Unlisted++
		return
	}
	kind := string(s.Kind)
	if s.Name != "" && (s.Kind == runs.KindSignal || s.Kind == runs.KindUpdate || s.Kind == runs.KindStart) {
		kind += " " + s.Name
	}
	r.report.Bypasses = append(r.report.Bypasses, Bypass{
		Code: code, Namespace: t.Namespace, WorkflowID: t.WorkflowID, RunID: t.RunID, EventID: s.EventID, Time: s.Time, Kind: kind,
		Identity: s.Identity, Principal: s.Principal, Decision: decision, Text: fmt.Sprintf(format, args...),
	})
}

// decision takes one allowed decision of the log.
func (r *reconciliation) decision(d Decision) error {
	r.report.Decisions++
	if d.Actor == InternalPrincipal {
		return nil
	}
	if r.seen[d.ID] || len(d.Acts) == 0 || !leavesEvent(d.Acts[0].Action) {
		return nil
	}
	r.report.orphans++
	if len(r.report.Orphans) >= r.cfg.MaxListed {
		r.report.Unlisted++
		return nil
	}
	a := d.Acts[0]
	r.report.Orphans = append(r.report.Orphans, Orphan{d.ID, d.Index, d.Time, d.Who, a.Action, a.Namespace, a.WorkflowID, r.likely(d)})
	return nil
}

// likely says why an allowed call may have left no event.
func (r *reconciliation) likely(d Decision) string {
	a := d.Acts[0]
	known := r.starts[a.WorkflowID]
	switch {
	case r.cfg.To.Sub(d.Time) < 10*time.Second:
		return "the call was still under way when the histories were read"
	case strings.HasPrefix(a.Action, "UpdateWorkflowExecution"):
		return "the workflow's validator rejected the update, or no worker has taken it yet: neither leaves an event"
	case a.Action == "StartWorkflowExecution" && len(known) > 0:
		return "Temporal refused a second run of this id, or answered with the one that was there"
	case len(known) == 0:
		return "Temporal refused the call (such as: no such run), the gate stopped between the record and the act, or the run was deleted or is past its retention"
	}
	return "Temporal refused the call (such as: the run was closed), took it for a repetition, or the gate stopped between the record and the act"
}

// pace spreads calls over time.
type pace struct {
	every time.Duration
	next  time.Time
}

func newPace(perSecond int) *pace { return &pace{every: time.Second / time.Duration(perSecond)} }

func (p *pace) wait(ctx context.Context) error {
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	if wait <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
