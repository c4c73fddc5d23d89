// Package access is short-lived access: somebody asks, others approve, a grant holds for as long as its reason does, and ends.
//
// It owns the request's life, a durable workflow on Temporal in a namespace of its own; the HTTP API by which people ask, approve and look on;
// and the notices that go out. It refuses to know how callers are authenticated, what policies say, how grants reach the gates, and Okta: those
// come through interfaces that it declares. A grant's end is the gate's to enforce, on the gate's clock; the timer here only cleans up.
//
// Follow a request: api.go (who may ask, by policy) → service.go (starts the workflow) → machine.go (its states) → activate.go (from approved to
// active) → activities.go (what touches the world).
package access

import (
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Namespace is where the workflows run. Policies keep everybody but the control plane out of it.
const Namespace = "bailiwick"

// TaskQueue is what the workflows' worker polls.
const TaskQueue = "bailiwick-access"

// Actions that policies decide about, in the access group "delegate".
const (
	ActionRequest = "Access.Request"
	ActionApprove = "Access.Approve"
	ActionRevoke  = "Access.Revoke"
	ActionReview  = "Access.Review"
	ActionView    = "Access.View"
)

// State is where a request is in its life.
type State string

const (
	Pending   State = "pending"   // waits for approvals
	Approved  State = "approved"  // enough people agreed; not in force yet
	Active    State = "active"    // gates honour the grant
	Denied    State = "denied"    // somebody said no, or it could not be allowed any more
	Expired   State = "expired"   // nobody agreed in time, or the time that was granted is over
	Withdrawn State = "withdrawn" // the requester took it back before it was active
	Returned  State = "returned"  // the requester gave it back early
	Revoked   State = "revoked"   // somebody took it away
)

// Ended reports whether nothing follows but a review.
func (s State) Ended() bool {
	switch s {
	case Denied, Expired, Withdrawn, Returned, Revoked:
		return true
	}
	return false
}

// States are all of them, in the order of a request's life.
func States() []State {
	return []State{Pending, Approved, Active, Denied, Expired, Withdrawn, Returned, Revoked}
}

// Roles that a request may name, and what they cover (standing.Grant).
func Roles() []string { return []string{"read", "write", "worker", "admin"} }

// Backends by which a grant takes effect.
const (
	Native = "native" // gates know the grant
	Okta   = "okta"   // the requester is a member of a group for as long as it lasts
)

// Person is who did something, as a request shows it.
type Person struct {
	Principal string    `json:"principal"`
	Login     string    `json:"login,omitempty"`
	ClientID  string    `json:"client_id,omitempty"`
	ACR       string    `json:"acr,omitempty"`      // how strongly they had proved who they are
	AuthTime  time.Time `json:"auth_time,omitzero"` // when they had
	Agent     string    `json:"agent,omitempty"`    // who acted on their behalf, if somebody did
	Actors    []string  `json:"actors,omitempty"`   // the whole delegation chain, outermost first
	TokenID   string    `json:"token_id,omitempty"` // jti
}

// Approval is one person's yes.
type Approval struct {
	By       Person    `json:"by"`
	At       time.Time `json:"at"`
	Digest   string    `json:"digest"` // of what they approved
	Comment  string    `json:"comment,omitempty"`
	Decision string    `json:"decision,omitempty"` // audit entry that let them
}

// Step is one event of a request's life. Event is the audit entry's detail "event".
type Step struct {
	At    time.Time `json:"at"`
	Event string    `json:"event"`
	By    string    `json:"by,omitempty"` // login, or principal without one; empty: the control plane
	Text  string    `json:"text,omitempty"`
	Entry string    `json:"entry"` // id of the audit entry
}

// Extension is more time for an active grant, approved like a request of its own.
type Extension struct {
	Asked     Asked      `json:"asked"`
	Digest    string     `json:"digest"`
	Needed    int        `json:"approvals_needed"`
	Approvals []Approval `json:"approvals,omitempty"`
}

// Review is the look that somebody else takes at a break-glass grant afterwards.
type Review struct {
	Due       time.Time `json:"due,omitzero"`
	By        *Person   `json:"by,omitempty"` // nil: nobody yet
	At        time.Time `json:"at,omitzero"`
	Justified bool      `json:"justified"`
	Comment   string    `json:"comment,omitempty"`
}

// Request is a request as people see it.
type Request struct {
	ID        string     `json:"id"`
	Asked     Asked      `json:"asked"`
	Digest    string     `json:"digest"` // of Asked; what approvals are bound to
	State     State      `json:"state"`
	Code      string     `json:"code,omitempty"` // why it is in this state, as a stable code
	Text      string     `json:"text,omitempty"` // the same in words
	Requester Person     `json:"requester"`
	Created   time.Time  `json:"created"`
	Lapses    time.Time  `json:"lapses,omitzero"` // when a pending request expires
	Needed    int        `json:"approvals_needed"`
	Approvals []Approval `json:"approvals,omitempty"`
	Backend   string     `json:"backend"`
	Group     string     `json:"group,omitempty"` // of the Okta back end
	Policies  []string   `json:"policies,omitempty"`

	Grant      string     `json:"grant,omitempty"` // id, once active
	Activated  time.Time  `json:"activated,omitzero"`
	Expires    time.Time  `json:"expires,omitzero"`
	Ended      time.Time  `json:"ended,omitzero"`
	Listed     bool       `json:"listed,omitempty"`     // the group membership came of this request
	Settled    bool       `json:"settled"`              // what the state says is published and on record
	Everywhere bool       `json:"everywhere,omitempty"` // every gate that was heard of lately has confirmed the grant
	Extension  *Extension `json:"extension,omitempty"`
	Review     *Review    `json:"review,omitempty"`
	Steps      []Step     `json:"steps,omitempty"`
	Waiting    string     `json:"waiting,omitempty"` // what it waits for when something does not answer
}

// MaxUses is how many calls under a grant a request shows at most; the audit log has all.
const MaxUses = 10_000

// Use is one call that was made under a grant.
type Use struct {
	At       time.Time       `json:"at"`
	Entry    string          `json:"entry"`
	Sealed   bool            `json:"sealed"` // under the log's checkpoint: the entry can be proved
	Gate     string          `json:"gate"`
	Login    string          `json:"login,omitempty"`
	Action   string          `json:"action"`
	Resource policy.Resource `json:"resource"`
	Allow    bool            `json:"allow"`
	Code     string          `json:"code"`
	Reason   string          `json:"reason,omitempty"`
}

// person shows verified claims.
func person(c *identity.Claims) Person {
	p := Person{Principal: c.Principal(), Login: c.Login, ClientID: c.ClientID, ACR: c.ACR, AuthTime: c.AuthTime, TokenID: c.TokenID}
	for _, a := range c.Actors {
		p.Actors = append(p.Actors, a.Subject)
	}
	if len(p.Actors) > 0 {
		p.Agent = p.Actors[0]
	}
	return p
}

// party is the same for the record.
func party(c *identity.Claims) audit.Party {
	p := audit.Party{Principal: c.Principal(), Login: c.Login, ClientID: c.ClientID, Groups: c.Groups, TokenID: c.TokenID, Scopes: c.Scopes, AuthTime: c.AuthTime, ACR: c.ACR, TokenKey: c.KeyID}
	for _, a := range c.Actors {
		p.Actors = append(p.Actors, a.Subject)
	}
	if len(c.Actors) > 0 {
		p.ActorProfile = c.Actors[0].Profile
	}
	return p
}
