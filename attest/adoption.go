package attest

import (
	"fmt"
	"slices"
	"strings"
)

// AdoptSignal is the signal by which a person takes over a run of somebody who lost access. A gate decides it as a start of such a run besides, and
// signs for it with EdgeAdopt and for no other call; a worker with sdkplugin hands it to no workflow code.
const AdoptSignal = "__bailiwick_adopt"

// CheckAdoption reports whether the statement says that a person answers for this run from now on. The error is a *Error with CodeBinding always.
//
// Accepted: edge "adopt" and its signal's name, bound to one run of the chain; a person who acted in person, with a reason; not one of former, the
// principals who began the run. Who began it stays what the run's own statement says.
func (v Verified) CheckAdoption(r Run, former ...string) error {
	s := v.statement
	if s.Edge != EdgeAdopt || s.Binding.Name != AdoptSignal {
		return refuse(CodeBinding, fmt.Sprintf("a %q attestation takes over no run", s.Edge))
	}
	if r.Namespace == "" || r.WorkflowID == "" || s.Binding.RunID == "" {
		return refuse(CodeBinding, "the run to check against is not known, or the statement names none")
	}
	if err := v.checkTarget(r); err != nil {
		return err
	}
	if !strings.HasPrefix(s.Originator.Principal, "user:") || s.Originator.Profile != "user" || s.Actor != s.Originator || len(s.Chain) > 0 {
		return refuse(CodeBinding, "a run is taken over by a person who asks for it in person")
	}
	if strings.TrimSpace(s.Reason) == "" {
		return refuse(CodeBinding, "a run is taken over with a reason")
	}
	if slices.Contains(former, s.Originator.Principal) {
		return refuse(CodeBinding, "whoever began a run has nothing to take over")
	}
	return nil
}
