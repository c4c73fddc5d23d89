package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RequireReason is the obligation of a permit that holds only for a call that states a reason.
const RequireReason = "require_reason"

// Terms are what the obligations of permits on access requests ask for. Where several permits matched, the strictest of each holds.
type Terms struct {
	RequireReason bool
	Approvals     int           // how many must approve; at least 1 unless AutoApprove. "approvals:2"
	AutoApprove   bool          // nobody need approve: the grant is given at once and looked at afterwards. "auto_approve"
	MaxMinutes    int           // longest time that may be asked for; 0: no limit of policy's. "max_minutes:60"
	MinACR        string        // acr that an approver's token must have; "": any. "min_acr:phr"
	MaxAuthAge    time.Duration // how long ago an approver may have proven who they are; 0: any time. "max_auth_age:900", in seconds, or "max_auth_age:15m"
	ExpireAfter   time.Duration // when a request that nobody decided expires; 0: the service's default. "expire_after:24h"
	EscalateAfter time.Duration // when it is brought before others; 0: never. "escalate_after:30m"
}

// ParseTerms reads a decision's obligations. Without any, one approval is asked for; automatic approval holds only where no permit that
// matched asks for an approval. The error is for a term that this build does not know: loading a policy set finds it first.
func ParseTerms(obligations []string) (Terms, error) {
	var t Terms
	for _, o := range obligations {
		if err := t.add(o); err != nil {
			return Terms{}, err
		}
	}
	if t.Approvals > 0 {
		t.AutoApprove = false
	} else if !t.AutoApprove {
		t.Approvals = 1
	}
	return t, nil
}

// termNames are what an obligation may begin with.
var termNames = []string{RequireReason, "approvals", "auto_approve", "max_minutes", "min_acr", "max_auth_age", "expire_after", "escalate_after"}

// valued lists the terms that need a value.
func valued(name string) bool { return name != RequireReason && name != "auto_approve" }

func (t *Terms) add(term string) error {
	name, value, hasValue := strings.Cut(term, ":")
	if !slices.Contains(termNames, name) {
		return fmt.Errorf("obligation %q is not known", term)
	}
	if hasValue != valued(name) || hasValue && value == "" {
		return fmt.Errorf("obligation %q needs the form %q", term, termForm(name))
	}
	whole := func(into *int, limit int, stricter func(a, b int) int) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > limit {
			return fmt.Errorf("obligation %q needs a whole number from 1 to %d", term, limit)
		}
		*into = stricter(*into, n)
		return nil
	}
	span := func(into *time.Duration) error {
		d, err := time.ParseDuration(value)
		if seconds, bad := strconv.ParseInt(value, 10, 32); bad == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		if err != nil || d <= 0 {
			return fmt.Errorf("obligation %q needs a time, in seconds or as 90m", term)
		}
		*into = least(*into, d)
		return nil
	}
	switch name {
	case RequireReason:
		t.RequireReason = true
	case "auto_approve":
		t.AutoApprove = true
	case "approvals":
		return whole(&t.Approvals, 20, func(a, b int) int { return max(a, b) })
	case "max_minutes":
		return whole(&t.MaxMinutes, 366*24*60, least)
	case "min_acr":
		if t.MinACR != "" && t.MinACR != value {
			return fmt.Errorf("obligations ask for both min_acr:%s and min_acr:%s: which is stronger is not known", t.MinACR, value)
		}
		t.MinACR = value
	case "max_auth_age":
		return span(&t.MaxAuthAge)
	case "expire_after":
		return span(&t.ExpireAfter)
	case "escalate_after":
		return span(&t.EscalateAfter)
	}
	return nil
}

// least is the smaller of two limits, of which zero is none.
func least[T int | time.Duration](a, b T) T {
	if a == 0 || b < a {
		return b
	}
	return a
}

func termForm(name string) string {
	switch name {
	case RequireReason, "auto_approve":
		return name
	case "min_acr":
		return "min_acr:phr"
	case "approvals", "max_minutes":
		return name + ":2"
	}
	return name + ":900"
}

// terms splits an @obligation annotation: terms are separated by commas or spaces.
func terms(annotation string) []string {
	return strings.FieldsFunc(annotation, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' })
}

// wrongTerms says what is wrong with the obligations of one policy, or "".
func (r *rule) wrongTerms() (wrong, fix string) {
	if len(r.obligations) == 0 {
		return "an obligation with no term asks for nothing", "known are " + strings.Join(termNames, ", ")
	}
	var t Terms
	for _, term := range r.obligations {
		if err := t.add(term); err != nil {
			fix = "known are " + strings.Join(termNames, ", ")
			if name, _, _ := strings.Cut(term, ":"); slices.Contains(termNames, name) {
				fix = "such as " + termForm(name)
			} else if guess := nearest(name, termNames); guess != "" {
				fix = fmt.Sprintf("did you mean %s? %s", guess, fix)
			}
			return err.Error(), fix
		}
	}
	switch {
	case r.forbids:
		return "an obligation means nothing on a forbid", `put it on a permit, or forbid "unless { context has reason }"`
	case t.AutoApprove && t.Approvals > 0:
		return "auto_approve and approvals contradict each other", "keep one of them"
	case len(r.obligations) > 1 || !t.RequireReason:
		// On a call to Temporal nobody would ask for approvals: the call would go through without.
		for name := range methodsOf(r) {
			if a, _ := LookupAction(name); a.Access != Delegate {
				return fmt.Sprintf("obligations about approvals and time hold for access requests, and the policy also covers %s", name),
					`give them a policy of their own: action == Action::"Access.Request"`
			}
		}
	}
	return "", ""
}

// unmetTerm says which of the terms a request does not meet, and what to do about it.
func (q *question) unmetTerm(obligations []string) (unmet, hint string) {
	t, err := ParseTerms(obligations)
	switch {
	case err != nil:
		return err.Error(), "tell whoever edits the policies"
	case t.RequireReason && strings.TrimSpace(q.context.Reason) == "":
		return "it must state a reason: say what this call is for", `add --reason "…", or in the SDK sdkplugin.WithReason`
	case q.action.Name == AccessRequest && t.MaxMinutes > 0 && q.context.Minutes > t.MaxMinutes:
		return fmt.Sprintf("access of this kind is for %d minutes at most", t.MaxMinutes), fmt.Sprintf("ask for less: --for %dm", t.MaxMinutes)
	}
	if q.action.Name != AccessApprove {
		return "", ""
	}
	if t.MinACR != "" && q.p.claims.ACR != t.MinACR {
		return "an approver must log in with " + t.MinACR, "log in again that way"
	}
	if age, known := q.authAge(); t.MaxAuthAge > 0 && (!known || time.Duration(age)*time.Second >= t.MaxAuthAge) {
		return fmt.Sprintf("an approver must have logged in less than %d seconds ago", int(t.MaxAuthAge.Seconds())), "log in again: bailiwick login"
	}
	return "", ""
}
