package policy

import (
	"fmt"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// decide answers one request. Every path that can't be sure ends in a denial.
func (s *Set) decide(req *Request) (d Decision) {
	d.PolicyDigest = s.digest
	defer func() {
		if r := recover(); r != nil {
			d = Decision{Code: CodePolicyError, Reasons: []string{"the policies could not be evaluated"}, PolicyDigest: s.digest}
		}
	}()
	if wrong := invalidClaims(req.Principal); wrong != "" {
		return s.deny(CodeNoPermission, wrong)
	}
	action := s.index.methods[req.Action]
	if action == nil {
		return s.deny(CodeUnknown, fmt.Sprintf("%.100q is not an action that this gate knows", req.Action))
	}
	if ns := req.Resource.Namespace; ns != "" && action.Scope != ScopeCluster && !isNamespaceName(ns) {
		return s.deny(CodeNoPermission, fmt.Sprintf("%.100q can't be a namespace: names have only letters, digits, \".\", \"_\" and \"-\"", ns))
	}
	p := s.principal(req.Principal)
	t := s.target(action.Scope, &req.Resource)
	allow, diagnostic := s.evaluate(action, p, t, req)

	if len(diagnostic.Errors) > 0 {
		return s.broken(diagnostic)
	}
	if !allow {
		if len(diagnostic.Reasons) > 0 {
			d.Code = CodeForbidden
			s.explain(&d, diagnostic, "forbidden by policy %s")
			return d
		}
		d.Code = CodeNoPermission
		s.suggest(&d, action, p, t, req)
		return d
	}
	s.explain(&d, diagnostic, "")
	if slices.Contains(d.Obligations, RequireReason) && strings.TrimSpace(req.Context.Reason) == "" {
		d.Code = CodeObligation
		d.Reasons = append(d.Reasons, "it must state a reason: say what this call is for")
		return d
	}
	d.Allow, d.Code = true, CodeAllowed
	return d
}

func (s *Set) deny(code Code, reason string) Decision {
	return Decision{Code: code, Reasons: []string{reason}, PolicyDigest: s.digest}
}

func (s *Set) evaluate(a *actionInfo, p *principal, t target, req *Request) (bool, cedar.Diagnostic) {
	var room [8][]*rule
	found := candidates{groups: room[:0]}
	keys := t.ns.inKeys
	if n, named := s.index.resources[t.uid]; named && t.uid != t.ns.uid {
		if a.Scope == ScopeCluster {
			keys = []int32{n}
		} else {
			keys = append([]int32{n}, keys...)
		}
	}
	found.collect(a, p.keys, keys)
	ask := &entities{set: s, principal: p, target: t, resource: &req.Resource, looks: found.looks}
	allow, diagnostic := cedar.Authorize(&found, ask, types.Request{
		Principal: p.entity.UID,
		Action:    a.uid,
		Resource:  t.uid,
		Context:   circumstances(found.looks, p, req),
	})
	return bool(allow), diagnostic
}

// broken denies because a policy failed while it was evaluated. Cedar skips such a policy; if it was a forbid, skipping would allow.
func (s *Set) broken(diagnostic cedar.Diagnostic) Decision {
	d := Decision{Code: CodePolicyError, PolicyDigest: s.digest}
	for _, e := range diagnostic.Errors {
		d.Policies = append(d.Policies, string(e.PolicyID))
		if r := s.policies[e.PolicyID]; r != nil {
			d.Reasons = append(d.Reasons, fmt.Sprintf("policy %s (%s) failed: %s", r.id, r.located(), e.Message))
		}
	}
	slices.Sort(d.Policies)
	slices.Sort(d.Reasons)
	return d
}

// explain names the policies that determined the outcome and passes on their annotations.
func (s *Set) explain(d *Decision, diagnostic cedar.Diagnostic, fallback string) {
	d.Policies = make([]string, 0, len(diagnostic.Reasons))
	for _, reason := range diagnostic.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	slices.Sort(d.Policies) // the order of the index means nothing
	for _, id := range d.Policies {
		r := s.policies[types.PolicyID(id)]
		if r.reason != "" && !slices.Contains(d.Reasons, r.reason) {
			d.Reasons = append(d.Reasons, r.reason)
		} else if r.reason == "" && fallback != "" {
			d.Reasons = append(d.Reasons, fmt.Sprintf(fallback, id))
		}
		if r.obligation != "" && !slices.Contains(d.Obligations, r.obligation) {
			d.Obligations = append(d.Obligations, r.obligation)
		}
	}
}

// hint says how a principal gets a role that it lacks: people by a group, services by their entry.
func (s *Set) hint(want roleGrant, c *identity.Claims) string {
	if c.Kind != identity.Client {
		if group := s.roles.groupFor(want, c.Issuer); group != "" {
			return "ask for the group " + group
		}
	}
	return "ask whoever edits " + RolesFile + " for it"
}

// suggest finds the least role that would have allowed the request, by asking the policies themselves.
func (s *Set) suggest(d *Decision, a *actionInfo, p *principal, t target, req *Request) {
	place, scope := req.Resource.Namespace, req.Resource.Namespace
	if a.Scope == ScopeCluster || place == "" {
		place, scope = "every namespace", everyNamespace
	}
	for _, role := range leastFirst {
		more := s.newPrincipal(p.claims, p.holdings.with(roleGrant{scope, role}))
		if allow, diagnostic := s.evaluate(a, more, t, req); allow && len(diagnostic.Errors) == 0 {
			d.Missing, d.Hint = string(role)+" in "+place, s.hint(roleGrant{scope, role}, p.claims)
			break
		}
	}
	held := "no role"
	if roles := p.holdings.rolesIn(req.Resource.Namespace); len(roles) > 0 {
		held = strings.Join(roles, " and ")
	}
	where := "there"
	if a.Scope == ScopeCluster {
		where = "on the cluster"
	}
	if d.Missing != "" {
		d.Reasons = []string{fmt.Sprintf("%s needs %s; this principal has %s %s", a.Name, d.Missing, held, where)}
	} else {
		d.Reasons = []string{fmt.Sprintf("no policy permits %s to this principal, and no role would", a.Name)}
	}
}
