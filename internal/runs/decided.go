package runs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Temporal keeps no header of cancellations, terminations, resets and pauses. A gate writes who it was and under which decision into the
// identity that Temporal keeps, and into the reason of what a reset or a batch does:
//
//	alice@acme.example via bailiwick [01936a2e-…]
//
// A run that a schedule started because somebody asked has the same in its memo, because its header is the schedule's creator's.
//
// Behind a gate nobody else can write that. Where there is none anybody can, so it counts when the audit log has the decision.

var (
	signedIdentity = regexp.MustCompile(` via bailiwick \[([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\]$`)
	signedReason   = regexp.MustCompile(` \([^()]* via bailiwick \[([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\]\)$`)
)

// Decided is what the audit log says of a decision.
type Decided struct {
	Actor      attest.Party  `json:"actor"`
	Originator *attest.Party `json:"originator,omitempty"` // when somebody else acted for them
	Reason     string        `json:"reason,omitempty"`
	Grant      string        `json:"grant,omitempty"`
	Action     string        `json:"action"`
	Allowed    bool          `json:"allowed"`
	Namespace  string        `json:"namespace"`
	WorkflowID string        `json:"workflow_id,omitempty"` // empty for a batch
}

// decides are the actions by which an act of a kind can have come about.
func (k Kind) decides() []string {
	switch k {
	case KindTrigger:
		return []string{"PatchSchedule", "CreateSchedule", "UpdateSchedule"}
	case KindCancelRequest:
		return []string{"RequestCancelWorkflowExecution", "StartBatchOperation"}
	case KindTerminate: // a start may end the run that is in its way, a reset the run that it begins anew
		return []string{"TerminateWorkflowExecution", "ResetWorkflowExecution", "StartBatchOperation", "StartWorkflowExecution", "SignalWithStartWorkflowExecution", "ExecuteMultiOperation"}
	case KindPause:
		return []string{"PauseWorkflowExecution"}
	case KindUnpause:
		return []string{"UnpauseWorkflowExecution"}
	case KindReset:
		return []string{"ResetWorkflowExecution", "StartBatchOperation"}
	case KindOptions:
		return []string{"UpdateWorkflowExecutionOptions", "StartBatchOperation"}
	}
	return nil
}

// attribute finds the decision that a step without a header names, and what the log says of it.
func (b *builder) attribute(s *Step, look func(id string) (*Decided, error)) {
	actions := s.Kind.decides()
	if actions == nil || s.Verdict != Recorded {
		return
	}
	if m := signedReason.FindStringSubmatchIndex(s.Name); m != nil {
		s.Decision, s.Name = s.Name[m[2]:m[3]], s.Name[:m[0]]
	}
	if m := signedIdentity.FindStringSubmatch(s.Identity); m != nil && s.Decision == "" {
		s.Decision = m[1]
	}
	if s.Decision == "" || look == nil {
		return
	}
	d, err := look(s.Decision)
	switch {
	case err != nil: // nothing is known against it
	case d == nil:
		s.Problem = fmt.Sprintf("the audit log does not know the decision %s that it names", s.Decision)
	case !d.Allowed, d.Namespace != b.Namespace, d.WorkflowID != "" && d.WorkflowID != b.WorkflowID, !slices.Contains(actions, d.Action):
		s.Problem = fmt.Sprintf("the decision %s that it names is about something else: %s", s.Decision, strings.TrimSpace(d.Action+" "+d.WorkflowID))
	default:
		s.Decided = d
	}
}
