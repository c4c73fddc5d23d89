package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/testsuite"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bailiwick-dev/bailiwick/audit"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is Temporal and the log, made up.
type world struct {
	runs      []Run
	histories map[string][]*historypb.HistoryEvent
	decisions []Decision
	gone      map[string]bool
}

func (w *world) Runs(_ context.Context, ns string, _, _ time.Time, page []byte) ([]Run, []byte, error) {
	var mine []Run
	for _, r := range w.runs {
		if r.Namespace == ns {
			mine = append(mine, r)
		}
	}
	i := len(page) // one run a page
	if i >= len(mine) {
		return nil, nil, nil
	}
	var next []byte
	if i+1 < len(mine) {
		next = make([]byte, i+1)
	}
	return mine[i : i+1], next, nil
}

func (w *world) Events(_ context.Context, r Run) ([]*historypb.HistoryEvent, error) {
	if w.gone[r.RunID] {
		return nil, fmt.Errorf("%w: deleted", ErrGone)
	}
	return w.histories[r.RunID], nil
}

func (w *world) Decision(_ context.Context, id string) (Decision, bool, error) {
	for _, d := range w.decisions {
		if d.ID == id {
			return d, true, nil
		}
	}
	return Decision{}, false, nil
}

func (w *world) About(_ context.Context, ns, id string, from, to time.Time) ([]Decision, error) {
	return w.where(func(d Decision) bool {
		return !d.Time.Before(from) && d.Time.Before(to) && d.Allow && slices.ContainsFunc(d.Acts, func(a Act) bool { return a.Namespace == ns && a.WorkflowID == id })
	}), nil
}

func (w *world) Batches(_ context.Context, ns string, from, to time.Time) ([]Decision, error) {
	return w.where(func(d Decision) bool {
		return d.Acts[0].Action == "StartBatchOperation" && d.Time.Before(to) && !d.Time.Before(from)
	}), nil
}

func (w *world) Allowed(_ context.Context, ns string, _, _ time.Time, each func(Decision) error) error {
	for _, d := range w.where(func(d Decision) bool { return d.Allow && d.Acts[0].Namespace == ns }) {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) where(f func(Decision) bool) (out []Decision) {
	for _, d := range w.decisions {
		if f(d) {
			out = append(out, d)
		}
	}
	return out
}

// decided adds an allowed decision and returns the identity that a gate would write.
func (w *world) decided(id, action, workflow string, more ...Act) string {
	w.decisions = append(w.decisions, Decision{ID: id, Time: noon, Allow: true, Who: "alice", Actor: "user:idp|00u1", Acts: append([]Act{{Action: action, Namespace: "pay", WorkflowID: workflow}}, more...)})
	return "alice via [" + id + "]"
}

// run adds a history. The first event is its start.
func (w *world) run(id string, events ...*historypb.HistoryEvent) {
	for i, e := range events {
		e.EventId = int64(i + 1)
		if e.EventTime == nil {
			e.EventTime = timestamppb.New(noon.Add(time.Duration(i) * time.Millisecond))
		}
		if a := e.GetWorkflowExecutionStartedEventAttributes(); a != nil {
			a.FirstExecutionRunId, a.OriginalExecutionRunId, a.WorkflowType = id+"-run", id+"-run", &commonpb.WorkflowType{Name: "settle"}
		}
	}
	w.runs = append(w.runs, Run{Namespace: "pay", WorkflowID: strings.TrimSuffix(id, "-2"), RunID: id + "-run", Started: events[0].GetEventTime().AsTime()})
	if w.histories == nil {
		w.histories = map[string][]*historypb.HistoryEvent{}
	}
	w.histories[id+"-run"] = events
}

func begun(identity string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Identity: identity}}}
}

func signalled(identity string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: "go", Identity: identity}}}
}

func terminated(identity, reason string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, Attributes: &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{
		WorkflowExecutionTerminatedEventAttributes: &historypb.WorkflowExecutionTerminatedEventAttributes{Reason: reason, Identity: identity}}}
}

func cancelled(identity string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED, Attributes: &historypb.HistoryEvent_WorkflowExecutionCancelRequestedEventAttributes{
		WorkflowExecutionCancelRequestedEventAttributes: &historypb.WorkflowExecutionCancelRequestedEventAttributes{Identity: identity}}}
}

func (w *world) config() Config {
	return Config{
		Namespaces: []string{"pay"}, From: noon.Add(-time.Hour), To: noon.Add(time.Hour), Histories: w, Record: w, PerSecond: 100_000,
		DecisionOf: func(s string) (string, bool) {
			_, id, ok := strings.Cut(strings.TrimSuffix(s, "]"), "via [")
			return id, ok
		},
	}
}

func TestJudgements(t *testing.T) {
	for name, x := range map[string]struct {
		make func(w *world)
		want string // codes of bypasses, or how the second event is tied
	}{
		"signed by the gate": {func(w *world) { w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a"))) }, "signed"},
		"nothing at all":     {func(w *world) { w.run("a", begun("alice")) }, CodeNoDecision},
		"an allowed start at that time is not enough for a start without mark": {func(w *world) {
			w.decided("1", "StartWorkflowExecution", "a")
			w.run("a", begun("alice"))
		}, CodeNoDecision},
		"refused": {func(w *world) {
			identity := w.decided("1", "StartWorkflowExecution", "a")
			w.decisions[0].Allow = false
			w.run("a", begun(identity))
		}, CodeDenied},
		"not in the log":    {func(w *world) { w.run("a", begun("alice via [9]")) }, CodeUnknownDecision},
		"of another run":    {func(w *world) { w.run("a", begun(w.decided("1", "StartWorkflowExecution", "b"))) }, CodeOtherTarget},
		"of another action": {func(w *world) { w.run("a", begun(w.decided("1", "SignalWorkflowExecution", "a"))) }, CodeOtherTarget},
		"used twice": {func(w *world) {
			signal := w.decided("2", "SignalWorkflowExecution", "a")
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), signalled(signal), signalled(signal))
		}, CodeReused},
		"a batch acts more than once": {func(w *world) {
			batch := w.decided("2", "StartBatchOperation", "")
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), signalled(batch), signalled(batch))
		}, "signed signed signed"},
		"a batch leaves its reason": {func(w *world) {
			batch := w.decided("2", "StartBatchOperation", "")
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), terminated("temporal-worker", "tidy up "+batch))
		}, "signed signed"},
		"a batch by query cancels": {func(w *world) {
			w.decided("2", "StartBatchOperation", "")
			e := cancelled("1@host")
			e.EventTime = timestamppb.New(noon.Add(20 * time.Minute))
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), e)
		}, "signed near"},
		"its id was started again": {func(w *world) {
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), terminated("history-service", "TerminateIfRunning"))
			w.run("a-2", begun(w.decided("2", "StartWorkflowExecution", "a")))
		}, "signed engine signed"},
		"who says they are Temporal": {func(w *world) {
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), terminated("history-service", "TerminateIfRunning"))
		}, CodeNoDecision},
		"Temporal's own, for nobody": {func(w *world) {
			w.decided("2", "SignalWorkflowExecution", "a")
			w.decisions[0].Actor = InternalPrincipal
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), signalled("alice"))
		}, CodeInternalOnly},
		"Temporal's own, in somebody's name": {func(w *world) {
			w.decided("2", "SignalWorkflowExecution", "a")
			w.decisions[0].Actor, w.decisions[0].OnBehalf = InternalPrincipal, "3"
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), signalled("worker"))
		}, "signed near"},
		"Temporal recorded the caller": {func(w *world) {
			w.decided("2", "SignalWorkflowExecution", "a")
			e := signalled("")
			e.Principal = &commonpb.Principal{Type: "user", Name: "alice"}
			w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")), e)
		}, "signed near"},
		"a worker's command": {func(w *world) {
			w.decided("2", "RespondWorkflowTaskCompleted", "", Act{Action: "Command.StartChildWorkflowExecution", Namespace: "pay", WorkflowID: "a"})
			w.run("a", begun(""))
		}, "near"},
		"before the time": {func(w *world) {
			e := begun("alice")
			e.EventTime = timestamppb.New(noon.Add(-2 * time.Hour))
			w.run("a", e)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{}
			x.make(w)
			r, err := Reconcile(t.Context(), w.config())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range r.Bypasses {
				got = append(got, b.Code)
			}
			if len(got) == 0 {
				want := map[Strength]int{}
				for _, s := range strings.Fields(x.want) {
					want[Strength(s)]++
				}
				if fmt.Sprint(r.By) != fmt.Sprint(want) {
					t.Errorf("tied by %v, want %v", r.By, want)
				}
			} else if strings.Join(got, " ") != x.want {
				t.Errorf("found %q, want %q: %+v", got, x.want, r.Bypasses)
			}
		})
	}
}

func TestOrphansAndBounds(t *testing.T) {
	w := &world{gone: map[string]bool{"old-run": true}}
	w.run("old", begun("alice"))
	w.run("a", begun(w.decided("1", "StartWorkflowExecution", "a")))
	for i := range 5 {
		w.decided(fmt.Sprint("s", i), "SignalWorkflowExecution", "nobody")
		w.run(fmt.Sprint("smuggled", i), begun("x"))
	}
	w.decided("list", "ListWorkflowExecutions", "")
	cfg := w.config()
	cfg.MaxListed = 2
	r, err := Reconcile(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Gone != 1 || r.OrphanCount() != 5 || r.BypassCount() != 5 || len(r.Orphans) != 2 || len(r.Bypasses) != 2 || r.Unlisted != 6 || r.OK() {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.Orphans[0].Likely, "Temporal refused the call") {
		t.Errorf("likely %q", r.Orphans[0].Likely)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Reconcile(ctx, cfg); err == nil {
		t.Error("went on when it was told to stop")
	}
}

// The scheduled workflow leaves a report, an entry, and a little in its own history.
func TestWorkflow(t *testing.T) {
	w := &world{}
	w.run("a", begun("x"))
	var recorded []audit.Entry
	reporter := &Reporter{
		Open: func(context.Context) (Config, func(), error) { return w.config(), func() {}, nil },
		Dir:  t.TempDir() + "/reports",
		Record: func(_ context.Context, e audit.Entry) (string, error) {
			recorded = append(recorded, e)
			return "entry-1", nil
		},
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(noon.Add(30 * time.Minute))
	reporter.Register(env)
	env.ExecuteWorkflow(WorkflowName, Params{Window: 2 * time.Hour})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	var out Outcome
	if err := env.GetWorkflowResult(&out); err != nil {
		t.Fatal(err)
	}
	if out.Bypasses != 1 || out.Runs != 1 || out.Entry != "entry-1" || len(out.Digest) != 64 || !out.To.Equal(noon.Add(29*time.Minute)) {
		t.Errorf("%+v", out)
	}
	if len(recorded) != 1 || recorded[0].Kind != audit.KindReport || recorded[0].Detail["bypasses"] != "1" || recorded[0].Detail["digest"] != out.Digest {
		t.Errorf("recorded %+v", recorded)
	}
	read, err := ReadReport(reporter.Dir, out.To, out.Digest)
	if err != nil || read.BypassCount() != 1 {
		t.Errorf("read back: %+v, %v", read, err)
	}
	if _, err := ReadReport(reporter.Dir, out.To, strings.Repeat("0", 64)); !errors.Is(err, ErrNotTheReport) {
		t.Errorf("another report's file: %v", err)
	}
	// Nothing ran for three days: the next one goes back to where this one ended. A day later it is its own window again.
	for _, next := range []struct{ start, from time.Time }{
		{noon.Add(72 * time.Hour), out.To.Truncate(time.Second)},
		{noon.Add(73 * time.Hour), noon.Add(71*time.Hour - time.Minute)},
	} {
		env = suite.NewTestWorkflowEnvironment()
		env.SetStartTime(next.start)
		reporter.Register(env)
		env.ExecuteWorkflow(WorkflowName, Params{Window: 2 * time.Hour})
		var later Outcome
		if err := env.GetWorkflowResult(&later); err != nil || !later.From.Equal(next.from) {
			t.Errorf("at %s: %+v, %v, want it from %s", next.start, later, err, next.from)
		}
	}
	env = suite.NewTestWorkflowEnvironment()
	reporter.Register(env)
	env.ExecuteWorkflow(WorkflowName, Params{})
	if env.GetWorkflowError() == nil {
		t.Error("a window of nothing is accepted")
	}
}
