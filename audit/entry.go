// Package audit keeps the record: entries, the journal that makes them durable, and its reader.
//
// It owns the entry's format and the fsynced journal (one writer, the gate's process; readers in any). Sealing into Merkle tiles and
// verifying them offline is package tiles, which runs in the control plane. It refuses to know tokens, policy engines and Temporal.
package audit

import (
	"time"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// EntryVersion is the integer version of the entry format. History: 1 (2026-11) first.
const EntryVersion = 1

// Kind is what an entry records.
type Kind string

const (
	KindDecision Kind = "decision"
	KindPolicy   Kind = "policy" // the active policy set changed, or failed to
	KindGate     Kind = "gate"   // a gate started or stopped
	KindLost     Kind = "lost"   // stands where an acknowledged entry was that the disk did not keep

	// Lifecycle events. Actor is who did it; Detail says what, under the keys that docs/audit-log.md lists.
	KindAccess     Kind = "access"     // a step of an access request
	KindRevocation Kind = "revocation" // access was taken away before it ran out
	KindDirectory  Kind = "directory"  // somebody joined, left, or changed groups, as the identity provider says
	KindKey        Kind = "key"        // a key was made, published, rotated, retired
	KindReport     Kind = "report"     // a check of the record itself, such as a reconciliation
	KindAdmin      Kind = "admin"      // an act on Bailiwick itself
)

// Party is a principal as the log names it.
type Party struct {
	Principal string   `json:"principal,omitempty"` // identity.Claims.Principal; empty when nobody was authenticated
	Login     string   `json:"login,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	TokenID   string   `json:"token_id,omitempty"` // the token's jti, never the token
	Actors    []string `json:"actors,omitempty"`   // delegation chain, outermost first

	// What policies may look at besides, so that a decision can be replayed against a draft.
	ActorProfile string    `json:"actor_profile,omitempty"` // what the outermost actor is: "user", "ai_agent" or empty
	Scopes       []string  `json:"scopes,omitempty"`        // OAuth scopes of the token
	AuthTime     time.Time `json:"auth_time,omitzero"`      // when the user last proved who they are
	ACR          string    `json:"acr,omitempty"`           // how strongly
	TokenKey     string    `json:"token_key,omitempty"`     // id (kid) of the issuer's key that signed the token
	AMR          []string  `json:"amr,omitempty"`           // how, from a verified ID token beside the access token (RFC 8176)
}

// Act is one thing that a call would do.
type Act struct {
	Action   string          `json:"action"`
	Resource policy.Resource `json:"resource"`
}

// Entry is one record. It is written as one line of JSON with the fields in this order (canonical: no spaces, no HTML escaping).
type Entry struct {
	Version       int               `json:"v"`
	ID            string            `json:"id"` // UUIDv7; for a decision, the id that the attestation carries as jti
	Time          time.Time         `json:"time"`
	Kind          Kind              `json:"kind"`
	Gate          string            `json:"gate"`
	Actor         Party             `json:"actor"`
	Action        string            `json:"action,omitempty"`
	Access        string            `json:"access,omitempty"` // "read", "operate", "work", "administer" or "delegate"
	Resource      policy.Resource   `json:"resource"`
	Acts          []Act             `json:"acts,omitempty"` // what the call would do besides: the start in a multi-operation, each run of a batch
	Decision      *policy.Decision  `json:"decision,omitempty"`
	Reason        string            `json:"reason,omitempty"`      // what the caller said
	Grant         string            `json:"grant,omitempty"`       // id of the grant that the call was made under
	Granted       bool              `json:"granted,omitempty"`     // the gate had proven it, and policies saw it
	BreakGlass    bool              `json:"break_glass,omitempty"` // it was given without waiting for approval
	RequestDigest string            `json:"request_digest,omitempty"`
	Source        string            `json:"source,omitempty"` // address of the caller, without port
	Detail        map[string]string `json:"detail,omitempty"`
}
