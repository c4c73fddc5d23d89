// Package policy decides: identity + action + resource + context in, a Decision with reasons out.
//
// It owns the Cedar schema, the policy directory and its reload, the mapping of groups to namespace roles, and the scope index.
// It refuses to know tokens, gRPC and Temporal's protos: the gate hands it plain values.
package policy

import (
	"net/netip"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Resource is what a call acts on. Fields that a method does not have are empty.
type Resource struct {
	Namespace    string `json:"namespace,omitempty"`
	WorkflowType string `json:"workflow_type,omitempty"`
	WorkflowID   string `json:"workflow_id,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	TaskQueue    string `json:"task_queue,omitempty"`
	Signal       string `json:"signal,omitempty"`
	Update       string `json:"update,omitempty"`
	Query        string `json:"query,omitempty"`
	ScheduleID   string `json:"schedule_id,omitempty"`
	Endpoint     string `json:"endpoint,omitempty"`

	// What the caller sets with a start, or what the run that the call is about has.
	Cron             string   `json:"cron,omitempty"`              // cron expression of the start
	SearchAttributes []string `json:"search_attributes,omitempty"` // "Name" for each, and "Name=value" for text, keyword, bool and int values
	Versioning       string   `json:"versioning,omitempty"`        // the versioning override: "auto_upgrade", or "pinned:" and the version

	// Unresolved says that the call acts on runs which it does not describe: a batch chosen by a query, a patch of a schedule. Every
	// field above that is empty is then unknown, not absent, and a decision that depends on it is a denial with CodeUnresolved.
	Unresolved bool `json:"unresolved,omitempty"`
}

// Context is the circumstances of a call, as the gate saw them.
type Context struct {
	Now      time.Time  // the gate's clock
	SourceIP netip.Addr // zero when unknown
	Reason   string     // what the caller said the call is for

	RequestDigest string // SHA-256 (hex) of the request as received; empty for reads and task answers

	// What the gate has proven of the caller beyond the access token. Naming a grant proves nothing: without Granted, policies see no Grant.
	Granted    bool     // a live grant of the caller covers this action on this resource
	Grant      string   // id of that grant
	BreakGlass bool     // that grant was given without waiting for approval; of a request for access: it asks for one of that kind
	AMR        []string // how the person authenticated (RFC 8176), from the access token or a verified ID token beside it, such as "mfa"

	// What a request for access is about: for actions of the access level Delegate, empty for all others.
	Role      string   // role asked for in the resource's namespace, such as "write"; or
	Wanted    []string // names of the actions asked for, such as "TerminateWorkflowExecution"
	Minutes   int      // how long it is asked for
	Requester string   // who asks or asked, as identity.Claims.Principal names them: "user:ISSUER|ID"
	Manager   string   // their manager, named alike, as the directory has it; empty when it is not known
}

// Request is one question to the engine.
type Request struct {
	Principal *identity.Claims
	Action    string // an API method's short name, such as "StartWorkflowExecution"
	Resource  Resource
	Context   Context

	// Brief says that nobody will be told of a denial: its Missing and Hint, which take asking the policies again, stay empty, as do reasons
	// that only say what the principal holds. The rest of the decision is the same.
	Brief bool
}

// Code is the stable name of an outcome.
type Code string

const (
	CodeAllowed      Code = "allowed"
	CodeNoPermission Code = "no_permission" // nothing permits it
	CodeForbidden    Code = "forbidden"     // a forbid policy matched
	CodePolicyError  Code = "policy_error"  // a matching policy could not be evaluated: denied
	CodeUnknown      Code = "unknown_action"
	CodeObligation   Code = "obligation_unmet"  // a permit matched but asks for something that the call did not bring, such as a reason
	CodeUnresolved   Code = "unresolved"        // it depends on a workflow's type or attributes, which this call does not tell
	CodeAttribute    Code = "attribute_invalid" // an attribute of the principal is not of the type that roles.yaml declares
	CodeStale        Code = "policy_stale"      // the policy bundle in force has expired and no newer one came: everything is denied
)

// Decision is a value: a denial is not an error. What its slices hold is shared between decisions and must not be changed.
type Decision struct {
	Allow        bool     `json:"allow"`
	Code         Code     `json:"code"`
	Policies     []string `json:"policies,omitempty"`    // @id of the policies that determined it
	Reasons      []string `json:"reasons,omitempty"`     // @reason of those policies, told to the caller
	Obligations  []string `json:"obligations,omitempty"` // @obligation of the permits that matched, one term each, such as "require_reason" (see ParseTerms)
	Missing      string   `json:"missing,omitempty"`     // the permission that would have helped, such as "write in payments"
	Hint         string   `json:"hint,omitempty"`        // what the caller can do about a denial, such as "ask for the group temporal:payments:write"
	PolicyDigest string   `json:"policy_digest"`         // SHA-256 (hex) of the policy set that decided
}
