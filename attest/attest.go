// Package attest makes and checks run attestations: signed statements of who did what to a run, and why.
//
// It owns the format (a JWS over readable JSON, EdDSA), the signing keys and key set, the Temporal header codec and the rules by which a
// statement may be carried to another edge of a run's life. It refuses to know policy engines, servers and how identity was proven.
// An attestation is evidence, never a credential: nothing accepts it in place of a token.
package attest

import "time"

// Version is the integer version of the format. History: 1 (2026-11) first.
const Version = 1

// Type is the JWS "typ" of an attestation. It is part of what is signed and does not travel.
const Type = "bailiwick-attestation"

// HeaderKey is the field of a Temporal header that carries an attestation.
const HeaderKey = "bailiwick-attestation"

// Edge is the kind of act that an attestation speaks of.
type Edge string

const (
	EdgeStart    Edge = "start"
	EdgeSignal   Edge = "signal"
	EdgeUpdate   Edge = "update"
	EdgeQuery    Edge = "query"
	EdgeSchedule Edge = "schedule" // creation or change of a schedule; carried to each run it starts
	EdgeActivity Edge = "activity" // start of an activity that belongs to no workflow
	EdgeAdopt    Edge = "adopt"    // a person takes over a run (adoption.go)
)

// Known reports whether statements are made of the edge.
func (e Edge) Known() bool {
	switch e {
	case EdgeStart, EdgeSignal, EdgeUpdate, EdgeQuery, EdgeSchedule, EdgeActivity, EdgeAdopt:
		return true
	}
	return false
}

// Party is a principal as an attestation names it.
type Party struct {
	Principal string `json:"principal"`            // identity.Claims.Principal
	Login     string `json:"login,omitempty"`      // display only
	ClientID  string `json:"client_id,omitempty"`  // the application the principal acted through
	Profile   string `json:"profile,omitempty"`    // "user", "client" or "ai_agent"
	SessionID string `json:"session_id,omitempty"` // reserved for the issuer's session
}

// Binding ties a statement to what it is about. Empty fields were not known when it was signed.
type Binding struct {
	Namespace    string `json:"namespace"`
	WorkflowID   string `json:"workflow_id,omitempty"` // empty only for a standalone activity
	WorkflowType string `json:"workflow_type,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	FirstRunID   string `json:"first_run_id,omitempty"` // of the chain of continue-as-new, retry, cron and reset
	TaskQueue    string `json:"task_queue,omitempty"`
	Name         string `json:"name,omitempty"` // signal, update or query name; type of a standalone activity
	ScheduleID   string `json:"schedule_id,omitempty"`
	ActivityID   string `json:"activity_id,omitempty"` // of a standalone activity

	ParentNamespace  string `json:"parent_namespace,omitempty"` // empty: Namespace
	ParentWorkflowID string `json:"parent_workflow_id,omitempty"`
	ParentRunID      string `json:"parent_run_id,omitempty"`
}

// Statement is what is signed. Its JSON is for people and reports; the signed bytes are in payload.go.
type Statement struct {
	Version       int       `json:"v"`
	ID            string    `json:"jti"` // the decision id: the audit entry with this id is the other half
	Issuer        string    `json:"iss"` // the gate's name
	Audience      string    `json:"aud"` // the environment, such as "bailiwick:dev"
	Edge          Edge      `json:"edge"`
	Originator    Party     `json:"originator"` // who began the chain of acts
	Actor         Party     `json:"actor"`      // who acts now
	Chain         []Party   `json:"chain,omitempty"`
	Cause         string    `json:"cause,omitempty"` // the decision id of the statement that Originator is taken from, where a gate took it from another
	Reason        string    `json:"reason,omitempty"`
	Grant         string    `json:"grant,omitempty"`
	Policies      []string  `json:"policies,omitempty"`      // ids; the digest of their set is in the audit entry
	GroupsDigest  string    `json:"groups_digest,omitempty"` // SHA-256 (hex) of the sorted group names, newline-joined
	AuthTime      time.Time `json:"auth_time,omitzero"`
	ACR           string    `json:"acr,omitempty"`
	Binding       Binding   `json:"bind"`
	RequestDigest string    `json:"request_digest,omitempty"` // SHA-256 (hex) of the request as the gate received it
	IssuedAt      time.Time `json:"iat"`

	// AuthorityUntil is when the authority to act ended or will end: the earlier of the caller's token's and grant's expiry. The statement
	// stays true afterwards; a worker may refuse to begin more under it. Zero: not stated.
	AuthorityUntil time.Time `json:"authority_until,omitzero"`
}
