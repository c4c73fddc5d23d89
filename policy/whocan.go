package policy

import "time"

// Question asks who may do something.
type Question struct {
	Action   string
	Resource Resource
	Now      time.Time // for conditions on the time; zero leaves these among the conditions
}

// Grantee is someone who may do what was asked, and what else must hold.
type Grantee struct {
	Kind       string   `json:"kind"` // "group", "client", "user" or "everyone"
	Name       string   `json:"name"` // group name, client id, or the user as the policy names them; empty for everyone
	Note       string   `json:"note,omitempty"`
	Role       string   `json:"role,omitempty"`       // "write in payments", when a role opens it
	Policies   []string `json:"policies"`             // @id of the permits
	Conditions []string `json:"conditions,omitempty"` // what must hold besides, such as "needs a reason"
}

// WhoCan lists who may do the action on the resource, as far as roles.yaml and the policies name them.
func (s *Set) WhoCan(q Question) []Grantee { return nil }
