package rotation

import "time"

// Version is the integer version of what a rotation is started with and shows. History: 1 (2026-11) first.
const Version = 1

// By is who asked for a rotation.
type By struct {
	Principal string `json:"principal,omitempty"` // empty: the schedule
	Login     string `json:"login,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Decision  string `json:"decision,omitempty"` // audit entry that let them
}

// Params are what a rotation is started with.
type Params struct {
	Version int    `json:"v"`
	ID      string `json:"id"` // the run's; set by the workflow
	Use     Use    `json:"use"`
	Target  string `json:"target"`
	By      By     `json:"by"`
	Reason  string `json:"reason,omitempty"`
	Times   Times  `json:"times"`
}

// Facts are what steps have found out, each for those after it.
type Facts struct {
	Issuer     string `json:"issuer,omitempty"`      // URL
	Previous   string `json:"previous,omitempty"`    // id of the key that is replaced
	PreviousID string `json:"previous_id,omitempty"` // what Okta calls it: for a client's credential; of a log, the verifier key
	Next       string `json:"next,omitempty"`        // id of the key that replaces it
	NextID     string `json:"next_id,omitempty"`
	NextJWK    string `json:"next_jwk,omitempty"` // public
	Dropped    string `json:"dropped,omitempty"`  // id of the key that the issuer publishes no more afterwards
	Mode       string `json:"mode,omitempty"`     // who rotated before: AUTO or MANUAL
	Elsewhere  bool   `json:"elsewhere,omitempty"`
	Verifiers  int    `json:"verifiers,omitempty"` // that have the next key
	Refused    uint64 `json:"refused"`             // tokens refused since because a verifier did not have the key
	Forged     uint64 `json:"forged,omitempty"`    // tokens refused since whose signature is not the key's
	Digest     string `json:"digest,omitempty"`    // of the file with the next credential
	Switched   bool   `json:"switched,omitempty"`  // the service has it
	Size       uint64 `json:"size,omitempty"`      // of the log, before its next key was put on record
	// From is when the next key begins to sign, Until when the previous one has ended; of attestation keys.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Work is what a step is given.
type Work struct {
	Params Params    `json:"params"`
	Facts  Facts     `json:"facts"`
	At     time.Time `json:"at"` // when the step was begun, first
	Fault  *told     `json:"fault,omitempty"`
}

// Done is what a step returns.
type Done struct {
	Facts  Facts  `json:"facts"`
	Detail string `json:"detail"` // for people
}

// State is where a rotation is.
type State string

const (
	Running State = "running"
	Rotated State = "rotated"
	Aborted State = "aborted" // what was begun is undone, and the old key is in force
)

// StepState is where a step is.
type StepState string

const (
	Pending   StepState = "pending"
	Underway  StepState = "running"
	Completed StepState = "done"
	Failed    StepState = "failed"
)

// Step is one of a rotation's steps.
type Step struct {
	Name   string    `json:"name"`
	Title  string    `json:"title"`
	State  StepState `json:"state"`
	Detail string    `json:"detail,omitempty"`
	Began  time.Time `json:"began,omitzero"`
	Ended  time.Time `json:"ended,omitzero"`
}

// Rotation is a rotation as it is seen.
type Rotation struct {
	Version  int       `json:"v"`
	ID       string    `json:"id"`
	Use      Use       `json:"use"`
	Target   string    `json:"target"`
	State    State     `json:"state"`
	By       By        `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	Previous string    `json:"previous,omitempty"`
	Next     string    `json:"next,omitempty"`
	Refused  uint64    `json:"refused"` // tokens refused for want of the new key
	Code     string    `json:"code,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Fix      string    `json:"fix,omitempty"`
	Waiting  string    `json:"waiting,omitempty"` // what the step that runs waits for
	Steps    []Step    `json:"steps"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero"`
}
