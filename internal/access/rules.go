package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Rules are how a request is dealt with: the terms that policy lays on it, over the defaults of the configuration.
type Rules struct {
	Approvals    int           `json:"approvals"`              // how many different people must agree; 0: approved by itself
	MaxSeconds   int64         `json:"max_seconds,omitempty"`  // longest duration; 0: no limit of policy's
	MinACR       string        `json:"min_acr,omitempty"`      // how strongly an approver must have signed in
	MaxAuthAge   time.Duration `json:"max_auth_age,omitempty"` // how long ago at most, when they approve; 0: any time
	RemindAfter  time.Duration `json:"remind_after"`           // of waiting
	Escalate     time.Duration `json:"escalate_after"`         // of waiting, and again after each further such time; 0: never
	ExpireAfter  time.Duration `json:"expire_after"`           // of waiting, the request lapses
	ActivateIn   time.Duration `json:"activate_within"`        // an approved request that can't be put in force for so long lapses
	ReviewWithin time.Duration `json:"review_within"`          // of a break-glass grant's activation
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
	r.MaxSeconds, r.MinACR, r.MaxAuthAge = int64(t.MaxMinutes)*60, t.MinACR, t.MaxAuthAge
	if t.ExpireAfter > 0 {
		r.ExpireAfter = t.ExpireAfter
	}
	if t.EscalateAfter > 0 {
		r.Escalate, r.RemindAfter = t.EscalateAfter, min(r.RemindAfter, t.EscalateAfter/2)
	}
	return r, nil
}

// Okta's authentication context classes from weak to strong, without their prefix. "2fa:any:ifpossible" promises no second factor.
var acrOrder = [...]string{"1fa:any", "1fa:pwd", "2fa:any:ifpossible", "2fa:any", "phr", "phrh"}

// acrRank orders classes; one that is not known ranks above all.
func acrRank(acr string) int {
	if i := slices.Index(acrOrder[:], strings.TrimPrefix(acr, "urn:okta:loa:")); i >= 0 {
		return i
	}
	return len(acrOrder)
}

// strongEnough reports whether a class meets another. One that is not known is met by itself only, and meets nothing else.
func strongEnough(acr, least string) bool {
	if acr == least {
		return true
	}
	rank := acrRank(acr)
	return rank < len(acrOrder) && rank >= acrRank(least)
}

// authSkew is how far ahead of ours an issuer's clock may be.
const authSkew = 5 * time.Minute

// stepUp refuses an approver who has not signed in strongly or recently enough.
func (r Rules) stepUp(c *identity.Claims, now time.Time) *Refusal {
	refuse := func(format string, args ...any) *Refusal {
		return &Refusal{Status: 403, Code: "step_up_required", Detail: fmt.Sprintf(format, args...), Next: "sign in again, as strongly as it asks for: bailiwick login"}
	}
	if r.MinACR != "" && !strongEnough(c.ACR, r.MinACR) {
		was := c.ACR
		if was == "" {
			was = "not told by your token"
		}
		return refuse("an approver must have signed in with strength %s; yours was %s", r.MinACR, was)
	}
	if r.MaxAuthAge == 0 {
		return nil
	}
	if c.AuthTime.IsZero() {
		return refuse("an approver must have signed in within the last %s; your token does not tell when you did", Spell(r.MaxAuthAge))
	}
	if age := now.Sub(c.AuthTime); age > r.MaxAuthAge || age < -authSkew {
		return refuse("an approver must have signed in within the last %s; you did %s ago", Spell(r.MaxAuthAge), Spell(age.Round(time.Second)))
	}
	return nil
}

// samePerson reports whether two principals are, as far as anybody can tell, one person: one principal, one uid at two authorization servers of
// an organisation, or one login.
func samePerson(a, b *identity.Claims) bool {
	return a.Principal() == b.Principal() ||
		a.Kind == identity.User && b.Kind == identity.User && a.ID == b.ID ||
		a.Login != "" && strings.EqualFold(strings.TrimSpace(a.Login), strings.TrimSpace(b.Login))
}
