package reconcile

import "time"

// Strength says what ties an event to its decision.
type Strength string

const (
	// Attested: a signed statement in the event names the decision, and is bound to this event.
	Attested Strength = "attested"
	// Signed: the identity that the gate wrote on the event names the decision, and the log's entry is about this act.
	Signed Strength = "signed"
	// Near: nothing names a decision; one about this act was made at that time. Weaker: it could be another's.
	Near Strength = "near"
	// Engine: Temporal did it by itself, as a run's end or a start's conflict policy makes it.
	Engine Strength = "engine"
)

// Codes of bypasses.
const (
	CodeNoDecision      = "no_decision"         // nothing names a decision, and none was made about it at that time
	CodeInternalOnly    = "internal_only"       // only Temporal's own services had a decision about it, and nobody's act explains theirs
	CodeUnknownDecision = "unknown_decision"    // it names a decision that the log does not have
	CodeDenied          = "decision_denied"     // it names a decision that refused the call
	CodeOtherTarget     = "decision_of_another" // it names a decision about something else
	CodeReused          = "decision_reused"     // two acts of one run name one decision
	CodeBadAttestation  = "attestation_invalid" // it carries a statement that is not good for it
)

// InternalPrincipal is how gates record Temporal's own services.
const InternalPrincipal = "temporal:internal"

// Bypass is an event with no decision behind it.
type Bypass struct {
	Code       string    `json:"code"`
	Namespace  string    `json:"namespace"`
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	EventID    int64     `json:"event_id"`
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	Identity   string    `json:"identity,omitempty"`  // what the event says of who it was; anyone can claim anything here
	Principal  string    `json:"principal,omitempty"` // Temporal's own record of the caller
	Decision   string    `json:"decision,omitempty"`  // the one that it names
	Text       string    `json:"text"`
}

// Orphan is an allowed decision whose act is in no history that was read.
type Orphan struct {
	Decision   string    `json:"decision"`
	Index      uint64    `json:"index"`
	Time       time.Time `json:"time"`
	Who        string    `json:"who"`
	Action     string    `json:"action"`
	Namespace  string    `json:"namespace"`
	WorkflowID string    `json:"workflow_id"`
	Likely     string    `json:"likely"` // why, most likely
}

// Report is what a reconciliation found.
type Report struct {
	From       time.Time        `json:"from"`
	To         time.Time        `json:"to"`
	Namespaces []string         `json:"namespaces"`
	Runs       int              `json:"runs"`
	Events     int              `json:"events"` // that need a decision
	By         map[Strength]int `json:"by"`     // how they are tied to theirs
	Decisions  int              `json:"decisions"`
	Bypasses   []Bypass         `json:"bypasses,omitempty"`
	Orphans    []Orphan         `json:"orphans,omitempty"`
	Unlisted   int              `json:"unlisted,omitempty"`   // bypasses and orphans beyond what is listed
	Gone       int              `json:"gone,omitempty"`       // runs whose history is no longer kept
	Unreadable []string         `json:"unreadable,omitempty"` // runs whose history is not one

	bypasses, orphans int
}

// OK reports whether there is no bypass. Orphans are no sign of one.
func (r *Report) OK() bool { return r.BypassCount() == 0 }

// BypassCount and OrphanCount count those beyond what is listed, too.
func (r *Report) BypassCount() int { return max(r.bypasses, len(r.Bypasses)) }
func (r *Report) OrphanCount() int { return max(r.orphans, len(r.Orphans)) }
