package reconcile

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

// actionsOf are the actions whose decision can be behind an event of a kind, acts inside a worker's answer and a batch included.
var actionsOf = map[runs.Kind][]string{
	runs.KindStart: {"StartWorkflowExecution", "SignalWithStartWorkflowExecution", "ExecuteMultiOperation", "Command.StartChildWorkflowExecution", "Command.ContinueAsNewWorkflowExecution",
		"StartNexusOperationExecution", "CreateSchedule", "UpdateSchedule", "PatchSchedule", "ResetWorkflowExecution", "Command.ScheduleNexusOperation"},
	runs.KindSignal:        {"SignalWorkflowExecution", "SignalWithStartWorkflowExecution", "Command.SignalExternalWorkflowExecution", "StartBatchOperation"},
	runs.KindUpdate:        {"UpdateWorkflowExecution", "ExecuteMultiOperation"},
	runs.KindCancelRequest: {"RequestCancelWorkflowExecution", "Command.RequestCancelExternalWorkflowExecution", "StartBatchOperation", "PatchSchedule"},
	runs.KindTerminate:     {"TerminateWorkflowExecution", "StartBatchOperation", "DeleteWorkflowExecution"},
	runs.KindPause:         {"PauseWorkflowExecution", "StartBatchOperation"},
	runs.KindUnpause:       {"UnpauseWorkflowExecution", "StartBatchOperation"},
	runs.KindOptions:       {"UpdateWorkflowExecutionOptions", "StartWorkflowExecution", "StartBatchOperation", "ResetWorkflowExecution"},
	runs.KindReset:         {"ResetWorkflowExecution", "StartBatchOperation", "TriggerWorkflowRule"},
}

// leavesEvent are the actions that leave an event in a history when they have their effect.
func leavesEvent(action string) bool {
	switch action {
	case "StartWorkflowExecution", "SignalWithStartWorkflowExecution", "ExecuteMultiOperation", "SignalWorkflowExecution", "UpdateWorkflowExecution",
		"RequestCancelWorkflowExecution", "TerminateWorkflowExecution", "ResetWorkflowExecution", "PauseWorkflowExecution", "UnpauseWorkflowExecution":
		return true
	}
	return false
}

// step judges one event. Those before the time reconciled are looked at only for what they name.
func (r *reconciliation) step(ctx context.Context, t *runs.Timeline, s *runs.Step, named map[string]map[runs.Kind]int64, within bool) error {
	id, strength := "", Strength("")
	switch {
	case s.Verdict == runs.Verified:
		id, strength = s.Attestation.ID, Attested
	case s.Verdict == runs.Invalid:
		if within {
			r.bypass(t, s, CodeBadAttestation, "", "its attestation is not good for it: %s", s.Problem)
		}
		return nil
	default:
		var ok bool
		if id, ok = r.cfg.DecisionOf(s.Identity); !ok && s.Kind == runs.KindTerminate {
			id, ok = r.cfg.DecisionOf(s.Name) // a batch leaves its reason, and no identity
		}
		if ok {
			strength = Signed
		}
	}
	if !within {
		if id != "" {
			r.seen[id] = true
		}
		return nil
	}
	if id == "" {
		return r.unnamed(ctx, t, s)
	}
	r.seen[id] = true
	d, ok, err := r.cfg.Record.Decision(ctx, id)
	switch {
	case err != nil:
		return err
	case !ok:
		r.bypass(t, s, CodeUnknownDecision, id, "it names the decision %s, which is not in the log", id)
		return nil
	case !d.Allow:
		r.bypass(t, s, CodeDenied, id, "it names the decision %s, which refused the call of %s", id, d.Who)
		return nil
	}
	if why := r.mismatch(t, s, d, strength); why != "" {
		r.bypass(t, s, CodeOtherTarget, id, "it names the decision %s, which %s", id, why)
		return nil
	}
	// One decision is one act. A run may carry the statement of its start on; what comes in by a call is used once.
	if s.Kind != runs.KindStart && !r.batch(d) && t.Lineage.OriginalRunID == t.RunID {
		if named[id] == nil {
			named[id] = map[runs.Kind]int64{}
		}
		if before, again := named[id][s.Kind]; again {
			r.bypass(t, s, CodeReused, id, "it names the decision %s, as event %d of this run does already", id, before)
			return nil
		}
		named[id][s.Kind] = s.EventID
	}
	r.report.By[strength]++
	return nil
}

func (r *reconciliation) batch(d Decision) bool {
	return len(d.Acts) > 0 && (d.Acts[0].Action == "StartBatchOperation" || d.Acts[0].Action == "RespondWorkflowTaskCompleted")
}

// mismatch says how a decision is not about an event. What a verified statement is bound to has been checked with it: only that the log's
// entry is of the same call is left.
func (r *reconciliation) mismatch(t *runs.Timeline, s *runs.Step, d Decision, strength Strength) string {
	if strength == Attested {
		b := s.Attestation.Binding
		for _, a := range d.Acts {
			if a.Namespace == b.Namespace && (a.WorkflowID == b.WorkflowID || s.Attestation.Edge == attest.EdgeSchedule && a.ScheduleID != "") {
				return ""
			}
		}
		return "is about something else than the statement with its id"
	}
	if r.batch(d) {
		if d.Acts[0].Namespace != t.Namespace {
			return "is about another namespace"
		}
		return ""
	}
	for _, a := range d.Acts {
		if a.Namespace == t.Namespace && a.WorkflowID == t.WorkflowID && acts(s.Kind, a.Action) && (a.RunID == "" || a.RunID == t.RunID || r.chained(t, a.RunID)) {
			return ""
		}
	}
	if len(d.Acts) == 0 {
		return "is about nothing"
	}
	return "is about " + d.Acts[0].Action + " on " + d.Acts[0].Namespace + "/" + d.Acts[0].WorkflowID
}

// chained reports whether a run id is one of this run's chain: a reset acts on one run and shows in the next.
func (r *reconciliation) chained(t *runs.Timeline, runID string) bool {
	l := t.Lineage
	return runID == l.FirstRunID || runID == l.OriginalRunID || runID == l.ContinuedRunID
}

// unnamed looks for a decision near an event that names none.
func (r *reconciliation) unnamed(ctx context.Context, t *runs.Timeline, s *runs.Step) error {
	if r.engine(t, s) {
		r.report.By[Engine]++
		return nil
	}
	around, err := r.cfg.Record.About(ctx, t.Namespace, t.WorkflowID, s.Time.Add(-r.cfg.Near), s.Time.Add(r.cfg.Near))
	if err != nil {
		return err
	}
	internal := ""
	for _, d := range around {
		if d.OnBehalf == "" && d.Actor == InternalPrincipal {
			internal = d.ID // whoever has its certificate; what Temporal's own services do for people, people have decisions about
			continue
		}
		// A start that carries no statement was stamped by no gate; only what a worker's answer started may be without.
		if s.Kind == runs.KindStart && !r.worker(d) || !d.Allow || r.seen[d.ID] && !r.batch(d) {
			continue
		}
		for _, a := range d.Acts {
			if a.Namespace == t.Namespace && a.WorkflowID == t.WorkflowID && acts(s.Kind, a.Action) && (d.OnBehalf != "" || by(s.Principal, d) || !gateSigns(s.Kind, d.Acts[0].Action)) {
				r.seen[d.ID], r.seen[d.OnBehalf] = true, true
				r.report.By[Near]++
				return nil
			}
		}
	}
	if s.Kind == runs.KindCancelRequest {
		// Temporal takes nothing along to what a batch cancels, and a batch by query names no runs.
		batches, err := r.cfg.Record.Batches(ctx, t.Namespace, s.Time.Add(-batchLasts), s.Time)
		if err != nil {
			return err
		}
		for _, d := range batches {
			if d.Allow && len(d.Acts) > 0 && !slices.ContainsFunc(d.Acts[1:], func(a Act) bool { return a.WorkflowID != "" }) {
				r.seen[d.ID] = true
				r.report.By[Near]++
				return nil
			}
		}
	}
	if internal != "" {
		r.bypass(t, s, CodeInternalOnly, internal, "it was made with the certificate of Temporal's own services, and nobody's batch, schedule or workflow explains it")
		return nil
	}
	r.bypass(t, s, CodeNoDecision, "", "nothing in it names a decision, and none about it was made within %v", r.cfg.Near)
	return nil
}

// batchLasts is how long after its decision a batch may still act.
const batchLasts = time.Hour

func acts(k runs.Kind, action string) bool { return slices.Contains(actionsOf[k], action) }

// by reports whether Temporal itself recorded the decision's caller on the event: it takes that from the gate, and nobody can send it.
func by(principal string, d Decision) bool {
	_, name, ok := strings.Cut(principal, ":")
	_, id, _ := strings.Cut(d.Actor, "|")
	return ok && name != "" && (name == d.Who || name == id || principal == d.Actor)
}

func (r *reconciliation) worker(d Decision) bool {
	return len(d.Acts) > 0 && d.Acts[0].Action == "RespondWorkflowTaskCompleted"
}

// gateSigns reports whether a gate leaves its mark on the events of a kind that a call made. Where it does, an event without one was not made by
// that call, however near.
func gateSigns(k runs.Kind, action string) bool {
	switch action {
	case "SignalWorkflowExecution", "UpdateWorkflowExecution", "RequestCancelWorkflowExecution", "TerminateWorkflowExecution", "ResetWorkflowExecution", "PauseWorkflowExecution", "UnpauseWorkflowExecution":
		return k != runs.KindOptions
	}
	return false
}

// engine reports whether Temporal did it by itself: it ended a child with its parent, or a run whose id was started again. Anybody can call
// themselves the history service, so the other run must be there.
func (r *reconciliation) engine(t *runs.Timeline, s *runs.Step) bool {
	if s.Identity != "history-service" && s.Identity != "" {
		return false
	}
	switch s.Kind {
	case runs.KindTerminate:
		for _, other := range r.starts[t.WorkflowID] {
			if other.runID != t.RunID && other.at.Sub(s.Time).Abs() < 10*time.Second && !other.at.Before(t.Started) {
				return true
			}
		}
		return t.Lineage.ParentWorkflowID != "" && r.parentEnded(t, s)
	case runs.KindCancelRequest:
		return t.Lineage.ParentWorkflowID != "" && r.parentEnded(t, s)
	}
	return false
}

// parentEnded is whether the parent's run had ended by then: its own history says why, and is reconciled like any other.
func (r *reconciliation) parentEnded(t *runs.Timeline, s *runs.Step) bool {
	if t.Lineage.ParentNamespace != "" && t.Lineage.ParentNamespace != t.Namespace {
		return true // in another namespace, where it is reconciled
	}
	for _, p := range r.starts[t.Lineage.ParentWorkflowID] {
		if p.runID == t.Lineage.ParentRunID && !p.closed.IsZero() && !p.closed.After(s.Time.Add(10*time.Second)) {
			return true
		}
	}
	return false
}
