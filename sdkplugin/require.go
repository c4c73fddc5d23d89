package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

const (
	// FailureForbidden is the type of the non-retryable application error of a task whose attestation is valid and does not meet a
	// requirement. Its details hold a Violation.
	FailureForbidden = "BailiwickForbidden"
	// FailureHeld is the type of the retryable application error of an activity that a rule holds instead of refusing.
	FailureHeld = "BailiwickHeld"
)

// clockSkew is how far in the future the gate's and the issuer's times may lie.
const clockSkew = time.Minute

// Requirement is what must be true of an attestation before code runs, beyond being valid. Everything that is set must hold; the zero value
// requires a verified attestation and no more.
//
// There is no requirement on groups. An attestation holds a digest of the whole sorted list, which proves a list that somebody presents and
// cannot say whether one group is in it: require groups in the gate's policy, and name that policy in Policies.
type Requirement struct {
	// ACR are the accepted authentication strengths, as the issuer writes them (such as "phr" or "urn:okta:loa:2fa:any"). They are compared
	// whole: no order between them is known.
	ACR []string
	// MaxLoginAge is the longest time since the originator last proved who they are (auth_time). An unknown time is refused.
	MaxLoginAge time.Duration
	// MaxAge is the longest time since the gate allowed the act that the attestation speaks of: how long that permission lasts.
	MaxAge time.Duration
	// Authority asks that the caller's token or grant, whichever ended first, had not ended yet: that nothing begins under an authority that
	// is over. A statement that does not say when is refused; a schedule's does not.
	Authority bool
	// Human asks that the originator or the current actor is a person. Nested actors don't count: by RFC 8693 section 4.1 they are for
	// the record and must not open doors.
	Human bool
	// Originators and Actors are the accepted principals, such as "user:https://acme.okta.com/oauth2/default|00u1". A "*" stands for any
	// text, so "user:*" is every person. Logins are for display and are not compared.
	Originators []string
	Actors      []string
	// NoAgents refuses when an AI agent takes part anywhere, nested actors included, and also an actor whose kind the issuer did not state.
	NoAgents bool
	// Reason and Grant ask that there is one. What a grant permits is the gate's to judge; it is named here so that a run without one stops.
	Reason bool
	Grant  bool
	// Policies are policy ids of which at least one must have allowed the act.
	Policies []string
	// Edges are the accepted kinds of act: a run's code sees "start" or "schedule", an update handler "update", a standalone activity
	// "activity".
	Edges []attest.Edge
}

// ViolationCode is a stable reason for not meeting a requirement.
type ViolationCode string

const (
	ForbiddenUnattested   ViolationCode = "forbidden_unattested"    // there is no verified attestation
	ForbiddenACR          ViolationCode = "forbidden_acr"           // not authenticated strongly enough
	ForbiddenLoginUnknown ViolationCode = "forbidden_login_unknown" // when they logged in is not stated, or lies in the future
	ForbiddenLoginAge     ViolationCode = "forbidden_login_age"     // logged in too long ago
	ForbiddenAge          ViolationCode = "forbidden_age"           // allowed too long ago
	ForbiddenAuthority    ViolationCode = "forbidden_authority"     // the authority to act has ended, or when it ends is not stated
	ForbiddenNoHuman      ViolationCode = "forbidden_no_human"
	ForbiddenOriginator   ViolationCode = "forbidden_originator"
	ForbiddenActor        ViolationCode = "forbidden_actor"
	ForbiddenAgent        ViolationCode = "forbidden_agent"
	ForbiddenNoReason     ViolationCode = "forbidden_no_reason"
	ForbiddenNoGrant      ViolationCode = "forbidden_no_grant"
	ForbiddenPolicy       ViolationCode = "forbidden_policy"
	ForbiddenEdge         ViolationCode = "forbidden_edge"
	ForbiddenRequirement  ViolationCode = "forbidden_requirement" // the requirement itself makes no sense, so nothing meets it
)

// Violation says which requirement was not met and what to do. It holds no names of people, so it may stand in any history.
type Violation struct {
	Code   ViolationCode `json:"code"`
	Detail string        `json:"detail"`
	Fix    string        `json:"fix"`
	Rule   string        `json:"rule,omitempty"` // the Options.Require rule that asked; empty for a requirement in code
}

func (v *Violation) Error() string {
	text := string(v.Code) + ": " + v.Detail
	if v.Rule != "" {
		text += " (rule " + v.Rule + ")"
	}
	return text + "; " + v.Fix
}

// Check judges an identity against the requirement at a time. It is a pure function, so that workflow code may call it with workflow.Now. A
// nil result means that it is met.
func (r Requirement) Check(info Info, now time.Time) *Violation {
	if err := r.validate(); err != nil {
		return &Violation{Code: ForbiddenRequirement, Detail: err.Error(), Fix: "correct the requirement in the worker's code"}
	}
	if !info.Verified {
		return &Violation{Code: ForbiddenUnattested, Detail: "nobody is known to have asked for this", Fix: "start the run through a Bailiwick gate, with a worker that has the plugin"}
	}
	s := info.Statement
	for _, check := range []func(attest.Statement, time.Time) *Violation{r.checkLogin, r.checkParties, r.checkAct} {
		if v := check(s, now); v != nil {
			return v
		}
	}
	return nil
}

func (r Requirement) checkLogin(s attest.Statement, now time.Time) *Violation {
	if len(r.ACR) > 0 && !slices.Contains(r.ACR, s.ACR) {
		return &Violation{Code: ForbiddenACR, Detail: fmt.Sprintf("the login's strength is %s, not one of %q", orNone(s.ACR), r.ACR), Fix: "log in again with the stronger factor and start again"}
	}
	if r.MaxLoginAge > 0 {
		if s.AuthTime.IsZero() || s.AuthTime.After(now.Add(clockSkew)) {
			return &Violation{Code: ForbiddenLoginUnknown, Detail: "when the originator logged in is not known", Fix: "have the issuer put auth_time into access tokens, and start again as a person who logs in"}
		}
		if age := now.Sub(s.AuthTime); age > r.MaxLoginAge {
			return &Violation{Code: ForbiddenLoginAge, Detail: fmt.Sprintf("the login is %s old, more than %s", age.Round(time.Second), r.MaxLoginAge), Fix: "log in again and start again"}
		}
	}
	return nil
}

func (r Requirement) checkParties(s attest.Statement, _ time.Time) *Violation {
	if r.Human && !isPerson(s.Originator) && !isPerson(s.Actor) {
		return &Violation{Code: ForbiddenNoHuman, Detail: "no person asked for this", Fix: "let a person start it, or delegate to the service that does"}
	}
	if len(r.Originators) > 0 && !matchesAny(r.Originators, s.Originator.Principal) {
		return &Violation{Code: ForbiddenOriginator, Detail: "the originator is not on the list", Fix: "let somebody who is on it start it, or extend the worker's list"}
	}
	if len(r.Actors) > 0 && !matchesAny(r.Actors, s.Actor.Principal) {
		return &Violation{Code: ForbiddenActor, Detail: "the current actor is not on the list", Fix: "let somebody who is on it start it, or extend the worker's list"}
	}
	if r.NoAgents {
		for _, p := range append([]attest.Party{s.Originator, s.Actor}, s.Chain...) {
			if p.Profile != "user" && p.Profile != "client" {
				return &Violation{Code: ForbiddenAgent, Detail: fmt.Sprintf("an actor of the kind %s takes part", orNone(p.Profile)), Fix: "let a person or an ordinary service start it"}
			}
		}
	}
	return nil
}

func (r Requirement) checkAct(s attest.Statement, now time.Time) *Violation {
	switch {
	case len(r.Edges) > 0 && !slices.Contains(r.Edges, s.Edge):
		return &Violation{Code: ForbiddenEdge, Detail: fmt.Sprintf("it came about by a %s, not by one of %q", s.Edge, r.Edges), Fix: "call it in the way that the worker expects"}
	case r.MaxAge > 0 && (now.Sub(s.IssuedAt) > r.MaxAge || s.IssuedAt.After(now.Add(clockSkew))):
		return &Violation{Code: ForbiddenAge, Detail: fmt.Sprintf("it was allowed %s ago, which is not within %s", now.Sub(s.IssuedAt).Round(time.Second), r.MaxAge), Fix: "start again, so that it is decided anew"}
	case r.Authority && s.AuthorityUntil.IsZero():
		return &Violation{Code: ForbiddenAuthority, Detail: "when the authority to act ends is not stated", Fix: "start it by hand; a schedule's runs state no end, because the gate asks again at each firing"}
	case r.Authority && !now.Before(s.AuthorityUntil):
		return &Violation{Code: ForbiddenAuthority, Detail: fmt.Sprintf("the authority to act ended %s ago", now.Sub(s.AuthorityUntil).Round(time.Second)), Fix: "start again with a fresh login or grant"}
	case r.Reason && strings.TrimSpace(s.Reason) == "":
		return &Violation{Code: ForbiddenNoReason, Detail: "no reason was given", Fix: "start again with a reason (sdkplugin.WithReason, or bailiwick run start --reason)"}
	case r.Grant && s.Grant == "":
		return &Violation{Code: ForbiddenNoGrant, Detail: "no grant was used", Fix: "ask for a grant and start again with it (sdkplugin.WithGrant)"}
	case len(r.Policies) > 0 && !slices.ContainsFunc(r.Policies, func(id string) bool { return slices.Contains(s.Policies, id) }):
		return &Violation{Code: ForbiddenPolicy, Detail: fmt.Sprintf("it was allowed by %q, none of which is of %q", s.Policies, r.Policies), Fix: "ask for the access that the named policies give"}
	}
	return nil
}

func (r Requirement) validate() error {
	switch {
	case r.MaxLoginAge < 0 || r.MaxAge < 0:
		return errors.New("a negative age")
	case slices.Contains(r.ACR, "") || slices.Contains(r.Policies, ""):
		return errors.New("an empty text in ACR or Policies")
	}
	for _, p := range slices.Concat(r.Originators, r.Actors) {
		if !strings.HasPrefix(p, "user:") && !strings.HasPrefix(p, "client:") {
			return fmt.Errorf("%q in Originators or Actors is not a principal, such as user:ISSUER|UID or client:ISSUER|ID; logins are not compared", p)
		}
	}
	for _, e := range r.Edges {
		if !e.Known() {
			return fmt.Errorf("the edge %q is unknown", e)
		}
	}
	return nil
}

// Require is for activity code: it fails, with a non-retryable error of type FailureForbidden, unless the run's attestation meets the
// requirement. Being code it holds in both modes, and without the plugin nothing meets it.
func Require(ctx context.Context, r Requirement) error {
	info, _ := FromContext(ctx)
	now := time.Now
	if p, ok := ctx.Value(pluginKey).(*Plugin); ok {
		now = p.now
	}
	if v := r.Check(info, now()); v != nil {
		return forbidden(v)
	}
	return nil
}

// RequireInWorkflow is Require for workflow code: in the workflow function it judges who started the run, in an update handler and its
// validator who sent the update. Time is workflow.Now, so the verdict is the same at replay.
func RequireInWorkflow(ctx workflow.Context, r Requirement) error {
	info, _ := FromWorkflow(ctx)
	if v := r.Check(info, workflow.Now(ctx)); v != nil {
		return forbidden(v)
	}
	return nil
}

func forbidden(v *Violation) error {
	return temporal.NewNonRetryableApplicationError("refused by Bailiwick: "+v.Error(), FailureForbidden, nil, v)
}

func isPerson(p attest.Party) bool {
	return strings.HasPrefix(p.Principal, "user:") && p.Profile == "user"
}

func orNone(s string) string {
	if s == "" {
		return "not stated"
	}
	return fmt.Sprintf("%q", s)
}

// matchesAny reports whether one of the patterns matches the whole text; "*" stands for any text, of any length.
func matchesAny(patterns []string, text string) bool {
	return text != "" && slices.ContainsFunc(patterns, func(p string) bool { return matches(p, text) })
}

func matches(pattern, text string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], more
	}
}
