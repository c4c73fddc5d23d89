package sdkplugin

import (
	"errors"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Tolerance says which tasks and calls without an attestation run in mode Enforce, marked as not verified: Info.Verified is false, and rules
// in Options.Require refuse them still. The zero value is RefuseUnattested. An attestation that is there and not good is refused always.
//
// It is part of a workflow's course, like the workflow's code: making it wider or narrower for runs that are open changes how they
// replay. Its only measure is therefore when a run started.
type Tolerance struct {
	all    bool
	before time.Time
}

// RefuseUnattested refuses everything that has no attestation.
func RefuseUnattested() Tolerance { return Tolerance{} }

// AllowUnattested lets everything run that has no attestation.
func AllowUnattested() Tolerance { return Tolerance{all: true} }

// AllowUnattestedBefore lets runs that started before a time go on without attestations, with their signals, updates, queries and activities:
// histories from before Bailiwick was there. Use the time at which the last client got behind a gate. Activities do not know when their run
// started and trust the workflow's worker here; one that belongs to no workflow is refused. A run that continues another, as new or by
// its cron schedule, has a start of its own.
func AllowUnattestedBefore(t time.Time) Tolerance { return Tolerance{before: t} }

// run reports whether a verdict about a run that started at a time, or about a call into it, is tolerated.
func (t Tolerance) run(err error, started time.Time) bool {
	return hasCode(err, attest.CodeMissing) && (t.all || started.Before(t.before))
}

// activity reports the same of an activity.
func (t Tolerance) activity(err error, ofWorkflow bool) bool {
	return hasCode(err, attest.CodeMissing) && (t.all || ofWorkflow && !t.before.IsZero())
}

// SignalPolicy says what happens in mode Enforce to signals without a statement for them, such as those of workflows outside the run's
// family. The zero value is DropSignals.
type SignalPolicy struct {
	accept bool
	since  time.Time
}

// DropSignals drops and logs them: strangers must not steer runs, nor end them.
func DropSignals() SignalPolicy { return SignalPolicy{} }

// AcceptSignals delivers them to runs that started at or after a time, marked as not verified: ReceiveSignal tells who sent a signal, or
// that nobody knows. Forged ones are dropped still. A run that dropped a signal once must go on doing so, hence the time: take the
// moment of the worker's rollout.
func AcceptSignals(since time.Time) SignalPolicy { return SignalPolicy{accept: true, since: since} }

func (s SignalPolicy) delivers(err error, started time.Time) bool {
	return s.accept && !started.Before(s.since) && (hasCode(err, attest.CodeMissing) || hasCode(err, attest.CodeBinding))
}

func hasCode(err error, code attest.Code) bool {
	var e *attest.Error
	return errors.As(err, &e) && e.Code == code
}
