package policy

// Explanation says how a decision came about and what would have changed it.
type Explanation struct {
	Request  Asked    `json:"request"`
	Decision Decision `json:"decision"`
	Holds    []string `json:"holds,omitempty"` // what roles.yaml gives the principal, such as "write in deploy (group temporal:deploy:write)"
	Policies []Trace  `json:"policies"`        // the policies whose scope fits, those that decided first
	Others   int      `json:"others"`          // how many policies of the set have another scope
	Remedies []Remedy `json:"remedies,omitempty"`
}

// Asked is the request of an explanation, in words.
type Asked struct {
	Principal string   `json:"principal"` // "user:ISSUER|UID"
	Login     string   `json:"login,omitempty"`
	Action    string   `json:"action"`
	Access    Access   `json:"access,omitempty"`
	Resource  Resource `json:"resource"`
}

// Outcome is what one policy said about a request.
type Outcome string

const (
	Matched  Outcome = "matched"
	NotMet   Outcome = "not met" // a condition did not hold
	Failed   Outcome = "failed"  // a condition could not be evaluated
	Unknown  Outcome = "unknown" // a condition looks at what the call does not tell
	Surplus  Outcome = "surplus" // a permit that matched, but a forbid outweighed it
	NotScope Outcome = "scope"   // its scope fits only in part, such as another type of principal
)

// Trace is one policy in an explanation.
type Trace struct {
	ID         string      `json:"id"`
	Effect     string      `json:"effect"` // "permit" or "forbid"
	File       string      `json:"file"`
	Line       int         `json:"line"`
	Outcome    Outcome     `json:"outcome"`
	Reason     string      `json:"reason,omitempty"`
	Obligation string      `json:"obligation,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is one when or unless clause, or a part of one, and whether it held.
type Condition struct {
	Kind    string      `json:"kind,omitempty"` // "when", "unless", "scope", or "" for a part
	Text    string      `json:"text"`           // Cedar
	Line    int         `json:"line,omitempty"`
	Value   string      `json:"value"`             // "true", "false", "unknown" or "error: …"
	Saw     []string    `json:"saw,omitempty"`     // what its attributes were, such as "context.auth_age is 7200"
	Because []Condition `json:"because,omitempty"` // the parts that made the value what it is
}

// Remedy is one thing that would have turned a denial into a permission.
type Remedy struct {
	Kind string `json:"kind"`           // "role", "group", "reason", "login", "acr", "amr", "grant", "scope", "agent", "time", or "several"
	Text string `json:"text"`           // what to do, such as "ask for the group temporal:payments:write"
	Role string `json:"role,omitempty"` // "write in payments"
}
