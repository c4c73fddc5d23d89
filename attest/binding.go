package attest

import (
	"fmt"
	"strings"
	"time"
)

// Run is what a verifier knows, from Temporal itself, about the run it works for. Empty fields are unknown or absent.
type Run struct {
	Namespace    string `json:"namespace"`
	WorkflowID   string `json:"workflow_id"`
	RunID        string `json:"run_id,omitempty"`
	WorkflowType string `json:"workflow_type,omitempty"`

	ParentNamespace  string `json:"parent_namespace,omitempty"`
	ParentWorkflowID string `json:"parent_workflow_id,omitempty"` // empty: not a child
	ParentRunID      string `json:"parent_run_id,omitempty"`
	RootWorkflowID   string `json:"root_workflow_id,omitempty"`
	RootRunID        string `json:"root_run_id,omitempty"`

	FirstRunID     string `json:"first_run_id,omitempty"`     // of the chain of continue-as-new, retry, cron and reset
	ContinuedRunID string `json:"continued_run_id,omitempty"` // the run that this one continues (continue-as-new, retry, cron)
	OriginalRunID  string `json:"original_run_id,omitempty"`  // the run id before a reset

	ScheduleID string `json:"schedule_id,omitempty"` // the schedule that started the run
}

// CheckRun reports whether the statement is about how this run came to be: a start or schedule of the run itself, or one that was
// carried here from the run's parent or root. The error is a *Error with CodeBinding always.
//
// The run itself: namespace and workflow id are equal, so is the type (except in a run continued from another, since continue-as-new
// may change the type), the run id is unbound or one of the chain's, and so are first run and parent if bound. A schedule binds the base workflow id, to which Temporal
// adds the time, and the schedule id. Parent and root: namespace, workflow id and run id only; a child does not know their type.
func (v Verified) CheckRun(r Run) error {
	b := v.statement.Binding
	if v.statement.Edge != EdgeStart && v.statement.Edge != EdgeSchedule {
		return refuse(CodeBinding, fmt.Sprintf("a %q attestation says nothing about how a run came to be", v.statement.Edge))
	}
	if r.Namespace == "" || r.WorkflowID == "" {
		return refuse(CodeBinding, "the run to check against is not known")
	}
	own := v.checkOwn(r)
	if own == nil || v.matchesAncestor(r) {
		return nil
	}
	if r.ParentWorkflowID != "" && b.WorkflowID != r.WorkflowID {
		return refuse(CodeBinding, fmt.Sprintf("about workflow %q in namespace %q, which is neither this run (%q in %q) nor its parent (%q) nor its root (%q)",
			b.WorkflowID, b.Namespace, r.WorkflowID, r.Namespace, r.ParentWorkflowID, r.RootWorkflowID))
	}
	return own
}

func (v Verified) checkOwn(r Run) error {
	b := v.statement.Binding
	if err := v.checkTarget(r); err != nil {
		return err
	}
	if b.WorkflowType != r.WorkflowType && r.ContinuedRunID == "" {
		return refuse(CodeBinding, fmt.Sprintf("about a workflow of type %q, not %q", b.WorkflowType, r.WorkflowType))
	}
	if parent := r.parentNamespace(); b.ParentWorkflowID != "" && (b.ParentWorkflowID != r.ParentWorkflowID ||
		(b.ParentNamespace != "" && b.ParentNamespace != parent) || (b.ParentNamespace == "" && b.Namespace != parent) || !boundTo(b.ParentRunID, r.ParentRunID)) {
		return refuse(CodeBinding, fmt.Sprintf("about a child of workflow %q, but the run's parent is %q", b.ParentWorkflowID, r.ParentWorkflowID))
	}
	if v.statement.Edge == EdgeSchedule && b.ScheduleID != r.ScheduleID {
		return refuse(CodeBinding, fmt.Sprintf("about schedule %q, but the run was started by schedule %q", b.ScheduleID, r.ScheduleID))
	}
	return nil
}

// checkTarget compares namespace, workflow id and run id with the run's own.
func (v Verified) checkTarget(r Run) error {
	b := v.statement.Binding
	if b.Namespace != r.Namespace {
		return refuse(CodeBinding, fmt.Sprintf("about namespace %q, not %q", b.Namespace, r.Namespace))
	}
	if !v.namesWorkflow(r.WorkflowID) {
		return refuse(CodeBinding, fmt.Sprintf("about workflow %q, not %q", b.WorkflowID, r.WorkflowID))
	}
	if !boundTo(b.RunID, r.RunID, r.FirstRunID, r.ContinuedRunID, r.OriginalRunID) {
		return refuse(CodeBinding, fmt.Sprintf("about run %q, not %q", b.RunID, r.RunID))
	}
	if !boundTo(b.FirstRunID, r.FirstRunID) {
		return refuse(CodeBinding, fmt.Sprintf("about the runs that began with %q, not with %q", b.FirstRunID, r.FirstRunID))
	}
	return nil
}

func (r Run) parentNamespace() string {
	if r.ParentNamespace == "" {
		return r.Namespace
	}
	return r.ParentNamespace
}

// matchesAncestor reports whether the statement was carried from the run's parent or root. A run without a parent has no ancestors,
// whatever its root field says: otherwise the type check of its own start could be walked around.
func (v Verified) matchesAncestor(r Run) bool {
	if r.ParentWorkflowID == "" {
		return false
	}
	b := v.statement.Binding
	parentNamespace := r.parentNamespace()
	if b.Namespace == parentNamespace && v.namesWorkflow(r.ParentWorkflowID) && boundTo(b.RunID, r.ParentRunID) {
		return true
	}
	return r.RootWorkflowID != "" && b.Namespace == parentNamespace && v.namesWorkflow(r.RootWorkflowID) && boundTo(b.RunID, r.RootRunID)
}

// CheckCall reports whether the statement is about a signal, update or query of the given name to this run. The error is a *Error with
// CodeBinding always.
//
// Accepted: a statement of that edge and name bound to the run; for a signal also the start of a signal-with-start, which names its
// signal, and an adoption, for its own signal. A signal sent by a workflow has no signal statement of its own: it carries its sender's, see CheckCarriedSignal.
func (v Verified) CheckCall(e Edge, r Run, name string) error {
	s := v.statement
	if e != EdgeSignal && e != EdgeUpdate && e != EdgeQuery {
		return refuse(CodeBinding, fmt.Sprintf("%q is not a call into a run", e))
	}
	if r.Namespace == "" || r.WorkflowID == "" || name == "" {
		return refuse(CodeBinding, "the call to check against is not known")
	}
	if s.Edge != e && !(e == EdgeSignal && (s.Edge == EdgeStart && s.Binding.Name != "" || s.Edge == EdgeAdopt && name == AdoptSignal)) {
		return refuse(CodeBinding, fmt.Sprintf("a %q attestation, where one of %q is needed", s.Edge, e))
	}
	if err := v.checkTarget(r); err != nil {
		return err
	}
	if s.Binding.Name != name {
		return refuse(CodeBinding, fmt.Sprintf("about the %s %q, not %q", e, s.Binding.Name, name))
	}
	if s.Binding.WorkflowType != "" && s.Binding.WorkflowType != r.WorkflowType && r.ContinuedRunID == "" {
		return refuse(CodeBinding, fmt.Sprintf("about a workflow of type %q, not %q", s.Binding.WorkflowType, r.WorkflowType))
	}
	return nil
}

// CheckActivity reports whether the statement is about the start of this activity, which belongs to no workflow. The error is a *Error with
// CodeBinding always.
func (v Verified) CheckActivity(namespace, activityID, activityType string) error {
	b := v.statement.Binding
	switch {
	case v.statement.Edge != EdgeActivity:
		return refuse(CodeBinding, fmt.Sprintf("a %q attestation says nothing about an activity without a workflow", v.statement.Edge))
	case b.Namespace != namespace || b.ActivityID != activityID:
		return refuse(CodeBinding, fmt.Sprintf("about activity %q in namespace %q, not %q in %q", b.ActivityID, b.Namespace, activityID, namespace))
	case b.Name != activityType:
		return refuse(CodeBinding, fmt.Sprintf("about an activity of type %q, not %q", b.Name, activityType))
	}
	return nil
}

// CheckCarriedSignal reports whether the statement may come with a signal that another workflow sent to this run: it must be the start
// or schedule of the run's own family (the run itself, its parent or its root). The error is a *Error with CodeBinding always.
func (v Verified) CheckCarriedSignal(r Run) error { return v.CheckRun(r) }

// namesWorkflow reports whether id is the workflow the statement is bound to. A scheduled run's id is the bound id, a hyphen and the
// nominal time in RFC 3339, UTC, in whole seconds.
func (v Verified) namesWorkflow(id string) bool {
	base := v.statement.Binding.WorkflowID
	if base == "" || v.statement.Edge != EdgeSchedule {
		return base != "" && base == id
	}
	rest, ok := strings.CutPrefix(id, base+"-")
	if !ok {
		return false
	}
	t, err := time.Parse(time.RFC3339, rest)
	return err == nil && t.UTC().Truncate(time.Second).Format(time.RFC3339) == rest
}

// boundTo reports whether a bound run id admits one of the ids; an unbound one admits any.
func boundTo(bound string, ids ...string) bool {
	if bound == "" {
		return true
	}
	for _, id := range ids {
		if id == bound {
			return true
		}
	}
	return false
}
