// Package runs reads a workflow run's history and tells who did what to it, checking every signature on the way.
//
// It owns the identity timeline: which events can carry an attestation, what each must be bound to, and the verdict. It refuses to know
// how the history was fetched beyond the SDK client, and how a timeline is printed.
package runs

import (
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Verdict says how far an event's authorship is proven.
type Verdict string

const (
	// Verified: the attestation's signature and binding are good.
	Verified Verdict = "verified"
	// Unattested: the event could carry an attestation and has none.
	Unattested Verdict = "unattested"
	// Invalid: there is an attestation, and it is not good for this event.
	Invalid Verdict = "invalid"
	// Recorded: events of this kind carry no attestation; Temporal's own principal is all there is.
	Recorded Verdict = "recorded"
)

// Kind is what happened.
type Kind string

const (
	KindStart          Kind = "start"
	KindTrigger        Kind = "triggered" // somebody made the schedule start this run now
	KindSignal         Kind = "signal"
	KindUpdate         Kind = "update"
	KindActivity       Kind = "activity"
	KindChild          Kind = "child"
	KindAdopt          Kind = "adopted" // by a signal: somebody answers for the run from then on
	KindSignalOut      Kind = "signal_sent"
	KindNexus          Kind = "nexus"
	KindContinuedAsNew Kind = "continued_as_new"
	KindCancelRequest  Kind = "cancel_requested"
	KindTerminate      Kind = "terminated"
	KindPause          Kind = "paused"
	KindUnpause        Kind = "unpaused"
	KindOptions        Kind = "options_updated"
	KindReset          Kind = "reset"
	KindClose          Kind = "closed"
)

// Step is one act in a run's life: an event, with those that only report how it went (started, completed …) folded in.
type Step struct {
	EventID  int64     `json:"event_id"`
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`
	Name     string    `json:"name,omitempty"`                // type of an activity or child, name of a signal or update, status of a close, what Temporal was told as the reason of a termination, reset or pause
	ID       string    `json:"id,omitempty"`                  // activity id, update id, child's or target's workflow id, next run id; of a reset the run that it was made from
	Space    string    `json:"target_namespace,omitempty"`    // the child's namespace, if it is not the run's own
	RunID    string    `json:"child_run_id,omitempty"`        // the child's first run, once it started; the run that backs a Nexus operation
	Backing  string    `json:"backing_workflow_id,omitempty"` // the workflow that backs a Nexus operation, as its handler said
	Outcome  string    `json:"outcome,omitempty"`
	Ended    time.Time `json:"ended,omitzero"`
	Attempts int32     `json:"attempts,omitempty"`

	Verdict     Verdict           `json:"verdict"`
	Code        attest.Code       `json:"code,omitempty"`    // why it is invalid
	Problem     string            `json:"problem,omitempty"` // the same in words; of a recorded act, why its decision is not believed
	Attestation *attest.Statement `json:"attestation,omitempty"`
	KeyID       string            `json:"key_id,omitempty"`
	CarriedFrom int64             `json:"carried_from,omitempty"` // the event of this run that brought the attestation in; 0: this one

	Principal  string `json:"principal,omitempty"`   // Temporal's own record of the caller, "type:name"; for commands the worker that issued them
	ExecutedBy string `json:"executed_by,omitempty"` // Temporal's record of who reported the outcome: the worker that ran it
	Identity   string `json:"identity,omitempty"`    // what the client called itself, or what a gate wrote there instead

	Decision string   `json:"decision,omitempty"` // of an act without a header: the decision that its identity or reason names
	Decided  *Decided `json:"decided,omitempty"`  // the same as the audit log has it; nil when it was not asked, or says otherwise (Problem)
}

// Caller is the run that called the Nexus operation which a run backs, by the link that the handler left: a pointer and no proof. The statement
// of the run's start says for whom it is.
type Caller struct {
	Namespace  string `json:"namespace"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	EventID    int64  `json:"event_id,omitempty"` // in the caller's history
}

// Timeline is a run and its steps, oldest first.
type Timeline struct {
	Namespace    string     `json:"namespace"`
	WorkflowID   string     `json:"workflow_id"`
	RunID        string     `json:"run_id"`
	WorkflowType string     `json:"workflow_type"`
	TaskQueue    string     `json:"task_queue"`
	Status       string     `json:"status"`
	Started      time.Time  `json:"started"`
	Closed       time.Time  `json:"closed,omitzero"`
	Lineage      attest.Run `json:"lineage"`             // parent, root, chain and schedule, as Temporal recorded them
	Caller       *Caller    `json:"called_by,omitempty"` // of a run that backs a Nexus operation
	NextRunID    string     `json:"next_run_id,omitempty"`

	// Owner is who took this run over last, by a verified statement; nil: whoever began it answers for it. What was taken over before a
	// continue-as-new, or as a parent, stands there.
	Owner *attest.Party `json:"owner,omitempty"`

	Steps []Step `json:"steps"`

	Verified   int `json:"verified"`
	Unattested int `json:"unattested"`
	Invalid    int `json:"invalid"`
}

// OK reports whether nothing in the run is invalid. A run that was never attested is OK: absence is shown, not punished.
func (t Timeline) OK() bool { return t.Invalid == 0 }
