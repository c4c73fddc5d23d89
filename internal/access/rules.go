package access

import (
	"fmt"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Rules are how a request is dealt with: the terms that policy lays on it, over the defaults of the configuration.
type Rules struct {
	Approvals    int           `json:"approvals"`             // how many different people must agree; 0: approved by itself
	MaxSeconds   int64         `json:"max_seconds,omitempty"` // longest duration; 0: no limit of policy's
	RemindAfter  time.Duration `json:"remind_after"`          // of waiting
	Escalate     time.Duration `json:"escalate_after"`        // of waiting, and again after each further such time; 0: never
	ExpireAfter  time.Duration `json:"expire_after"`          // of waiting, the request lapses
	ActivateIn   time.Duration `json:"activate_within"`       // an approved request that can't be put in force for so long lapses
	ReviewWithin time.Duration `json:"review_within"`         // of a break-glass grant's activation
}

// DefaultRules hold where neither policy nor configuration says otherwise.
func DefaultRules() Rules {
	return Rules{Approvals: 1, RemindAfter: 30 * time.Minute, Escalate: time.Hour, ExpireAfter: 24 * time.Hour, ActivateIn: 15 * time.Minute, ReviewWithin: 24 * time.Hour}
}

// with applies a decision's obligations. An error means that the caller must be refused.
func (r Rules) with(obligations []string) (Rules, error) {
	t, err := policy.ParseTerms(obligations)
	if err != nil {
		return r, fmt.Errorf("reading policy's terms: %w", err)
	}
	r.Approvals = t.Approvals
	if t.AutoApprove {
		r.Approvals = 0
	}
	r.MaxSeconds = int64(t.MaxMinutes) * 60
	if t.ExpireAfter > 0 {
		r.ExpireAfter = t.ExpireAfter
	}
	if t.EscalateAfter > 0 {
		r.Escalate, r.RemindAfter = t.EscalateAfter, min(r.RemindAfter, t.EscalateAfter/2)
	}
	return r, nil
}

// samePerson reports whether two principals are, as far as anybody can tell, one person: one principal, one uid at two authorization servers of
// an organisation, or one login.
func samePerson(a, b *identity.Claims) bool {
	return a.Principal() == b.Principal() ||
		a.Kind == identity.User && b.Kind == identity.User && a.ID == b.ID ||
		a.Login != "" && strings.EqualFold(strings.TrimSpace(a.Login), strings.TrimSpace(b.Login))
}
