// Package standing says how principals stand beyond their tokens: the short-lived grants they hold, what was revoked, and what the
// directory says of them.
//
// It owns those facts' types, the gate's in-memory view of them and its persistence, and the signed feed's wire format. The publisher, which runs
// in the control plane, is package feed. It refuses to know how a grant was approved, where a revocation came from, and Temporal's protos.
//
// A gate that has not heard of its control plane for longer than its stated staleness stops honouring grants; revocations stay in force.
package standing

import (
	"encoding/json"
	"time"
)

// Grant is a short-lived permission of one principal. Scope fields that are empty do not narrow.
type Grant struct {
	ID        string   `json:"id"`
	Principal string   `json:"principal"` // identity.Claims.Principal
	Login     string   `json:"login,omitempty"`
	Namespace string   `json:"namespace"`
	Role      string   `json:"role,omitempty"`    // "read", "write", "worker" or "admin"; or
	Actions   []string `json:"actions,omitempty"` // names of policy actions, such as "TerminateWorkflowExecution"

	WorkflowType string `json:"workflow_type,omitempty"`
	WorkflowID   string `json:"workflow_id,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	TaskQueue    string `json:"task_queue,omitempty"`

	NotBefore  time.Time `json:"not_before"`
	Expires    time.Time `json:"expires"` // on the gate's clock; the grant is not honoured at this instant any more
	BreakGlass bool      `json:"break_glass,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Request    string    `json:"request,omitempty"`   // id of the access request behind it
	Digest     string    `json:"digest,omitempty"`    // SHA-256 (hex) of what was asked for and approved
	Approvers  []string  `json:"approvers,omitempty"` // principals
}

// Bar takes access away before tokens run out. Exactly one of Principal, ClientID and SessionID says whose.
type Bar struct {
	ID        string `json:"id"`
	Principal string `json:"principal,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	SessionID string `json:"session_id,omitempty"`

	// Before bounds it to tokens issued before this instant (session revoked, credential changed); zero bars every token until it is lifted.
	Before time.Time `json:"before,omitzero"`
	// Group narrows it to one group: tokens issued before Before lose this group and nothing else.
	Group string `json:"group,omitempty"`

	Reason string    `json:"reason"`           // stable code, such as "user_deactivated"
	Source string    `json:"source,omitempty"` // "event_hook", "ssf", "system_log" or "admin"
	Since  time.Time `json:"since"`            // when it happened, as the source says
}

// Person is what the directory says of a principal.
type Person struct {
	Principal string    `json:"principal"`
	Login     string    `json:"login,omitempty"`
	Active    bool      `json:"active"`
	Groups    []string  `json:"groups,omitempty"`
	AsOf      time.Time `json:"as_of"`

	// Profile is attributes as the directory has them, by name, as JSON; only where a gate asked (PersonSource), never in the feed.
	Profile map[string]json.RawMessage `json:"profile,omitempty"`
}

// EventKind is what an event of the feed says.
type EventKind string

const (
	EventGrant  EventKind = "grant"  // Grant holds; a later event with the same Grant.ID replaces it (an extension)
	EventRevoke EventKind = "revoke" // the grant named by Grant.ID ends now
	EventBar    EventKind = "bar"
	EventUnbar  EventKind = "unbar" // the bar named by Bar.ID is lifted
	EventPerson EventKind = "person"
)

// Event is one change of somebody's standing. ID makes publishing it twice harmless.
type Event struct {
	Seq    uint64    `json:"seq"` // position in the feed, from 1; given by the publisher
	ID     string    `json:"id"`
	Kind   EventKind `json:"kind"`
	At     time.Time `json:"at"`
	Grant  *Grant    `json:"grant,omitempty"`
	Bar    *Bar      `json:"bar,omitempty"`
	Person *Person   `json:"person,omitempty"`
}
