package gate

import (
	"net/netip"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Admission is a call that may go on: who, under which decision, about what. Only Admit and AdmitSystem make one.
type Admission struct {
	id       string
	person   *person // nil for Temporal's own calls
	decision policy.Decision
	reason   string
	grant    string // that the call is made under: proven, once the call is decided
	digest   string
	at       time.Time
	pins     []pin

	namespace string
	access    policy.Access
	request   any
	task      *Task   // of a worker's answer
	origin    *origin // of the run that a worker answers for, once known
	source    netip.Addr
	trigger   string  // of a schedule's firing: who made it fire out of turn
	batch     *errand // of Temporal's own call: the batch that it is part of
	cause     cause   // of a start for a Nexus operation: for whom that is called

	named  *standing.Grant // the grant that the caller names (standing.go)
	trying *standing.Grant // while an act is decided under it
	holds  []hold          // under any of which all acts so far are allowed; empty while none was needed
	until  time.Time       // when the grant of the call ends

	room [1]ask // the usual call is one act
}

// System reports whether the call is Temporal's own.
func (a *Admission) System() bool { return a.person == nil }

// ID is the decision id, shared by the audit entry and the attestation.
func (a *Admission) ID() string { return a.id }

// Principal is what Temporal should write on the events of this call (its native principal). Empty for Temporal's own calls, which name themselves.
func (a *Admission) Principal() (typ, name string) {
	if a.person == nil {
		return "", ""
	}
	return string(a.person.claims.Kind), a.person.claims.Login
}

// merge joins the decisions on several acts of one call, all of which were allowed.
func merge(a, b policy.Decision) policy.Decision {
	if !a.Allow {
		return b
	}
	for _, p := range b.Policies {
		if !slices.Contains(a.Policies, p) {
			a.Policies = append(a.Policies[:len(a.Policies):len(a.Policies)], p)
		}
	}
	for _, o := range b.Obligations {
		if !slices.Contains(a.Obligations, o) {
			a.Obligations = append(a.Obligations[:len(a.Obligations):len(a.Obligations)], o)
		}
	}
	return a
}
