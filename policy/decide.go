package policy

import (
	"fmt"
	"slices"
	"strings"

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
	if action.Access == Delegate {
		if wrong := invalidRequest(&req.Context); wrong != "" {
			return s.deny(CodeNoPermission, wrong)
		}
	}
	p := s.principal(req.Principal)
	if p.invalid != "" {
		return s.deny(CodeAttribute, p.invalid)
	}
	q := questions.Get().(*question)
	s.prepare(q, action, p, req)
	q.brief = req.Brief
	q.ask()
	s.settle(&d, q)
	*q = question{}
	questions.Put(q)
	return d
}

// invalidRequest says why nothing can be decided about a request for access, or "". Policies compare the requester with principal.name: one
// written otherwise would equal nobody, and people could approve their own requests.
func invalidRequest(c *Context) string {
	for _, one := range [...]struct{ who, name string }{{"requester", c.Requester}, {"requester's manager", c.Manager}} {
		kind, rest, _ := strings.Cut(one.name, ":")
		if issuer, id, _ := strings.Cut(rest, "|"); one.name != "" && (kind != string(identity.User) && kind != string(identity.Client) || issuer == "" || id == "") {
			return fmt.Sprintf("the %s %.100q is not a principal such as user:ISSUER|ID", one.who, one.name)
		}
	}
	return ""
}

func (s *Set) deny(code Code, reason string) Decision {
	return Decision{Code: code, Reasons: []string{reason}, PolicyDigest: s.digest}
}

// settle turns what the policies said into a decision.
func (s *Set) settle(d *Decision, q *question) {
	switch {
	case len(q.out.failed) > 0:
		s.broken(d, q.out.failed)
	case q.out.forbids.first != nil:
		d.Code = CodeForbidden
		q.out.forbids.tell(d)
		if !q.brief {
			if command := q.requestCommand(roleFor(q.action.Access)); command != "" {
				d.Hint = "request it: " + command
			}
		}
	case q.out.open():
		s.unresolved(d, q)
	case q.out.permits.first != nil:
		q.out.permits.tell(d)
		if len(d.Obligations) > 0 {
			if unmet, hint := q.unmetTerm(d.Obligations); unmet != "" {
				d.Code, d.Hint = CodeObligation, hint
				d.Reasons = append(slices.Clip(d.Reasons), unmet)
				return
			}
		}
		d.Allow, d.Code = true, CodeAllowed
	default:
		d.Code = CodeNoPermission
		if !q.brief {
			s.suggest(d, q)
		}
	}
}

// code decides a request without saying what would help, for asking often.
func (s *Set) code(req *Request, p *principal) Code {
	var d Decision
	q := questions.Get().(*question)
	s.prepare(q, s.index.methods[req.Action], p, req)
	q.brief = true
	q.ask()
	s.settle(&d, q)
	*q = question{}
	questions.Put(q)
	return d.Code
}

// open reports whether what is unknown could change the decision: another forbid, the only permit, or a permit with an obligation. Where
// no permit could apply nothing is open, so that strangers don't learn what there is by asking about it.
func (o *outcome) open() bool {
	if o.permits.first == nil && !slices.ContainsFunc(o.maybe.all(), func(r *rule) bool { return !r.forbids }) {
		return false
	}
	for _, r := range o.maybe.all() {
		if r.forbids || o.permits.first == nil || r.obligation != "" {
			return true
		}
	}
	return false
}

// unresolved denies because the decision depends on what the request does not tell.
func (s *Set) unresolved(d *Decision, q *question) {
	d.Code = CodeUnresolved
	open := looksNowhere
	for _, r := range q.out.maybe.all() {
		d.Policies = append(d.Policies, r.id)
		open |= r.looks & q.unknown
	}
	what := "which one it acts on"
	if names := open.names(); len(names) > 0 {
		what = "its " + strings.Join(names, ", ")
	}
	kind := strings.ToLower(string(q.action.of))
	d.Reasons = []string{fmt.Sprintf("policy %s decides by the %s: %s is not told by this call", strings.Join(d.Policies, ", "), kind, what)}
	if q.resource.Unresolved {
		d.Hint = "name the workflows one by one, by id, instead of a query; for a schedule, send its whole action with the call (UpdateSchedule)"
	} else if q.action.Scope == ScopeSchedule {
		d.Hint = "send the schedule's whole action with the call (UpdateSchedule), or ask someone whom the policy leaves out"
	} else {
		d.Hint = "the run could not be looked up: try again, and tell your operator if it stays so"
	}
}

// broken denies because a policy failed while it was evaluated. Cedar skips such a policy; if it was a forbid, skipping would allow.
func (s *Set) broken(d *Decision, failed []failure) {
	d.Code = CodePolicyError
	for _, f := range failed {
		d.Policies = append(d.Policies, f.rule.id)
		d.Reasons = append(d.Reasons, fmt.Sprintf("policy %s (%s) failed: %s", f.rule.id, f.rule.located(), f.text))
	}
	slices.Sort(d.Policies)
	slices.Sort(d.Reasons)
}

// tell names the policies that determined the outcome and passes on their annotations.
func (m *matches) tell(d *Decision) {
	if m.more == nil {
		d.Policies, d.Reasons, d.Obligations = m.first.policies, m.first.reasons, m.first.obligations
	} else {
		for _, r := range m.all() {
			d.Policies = append(d.Policies, r.id)
			if r.reason != "" && !slices.Contains(d.Reasons, r.reason) {
				d.Reasons = append(d.Reasons, r.reason)
			}
			for _, o := range r.obligations {
				if !slices.Contains(d.Obligations, o) {
					d.Obligations = append(d.Obligations, o)
				}
			}
		}
	}
	if m.first.forbids && len(d.Reasons) == 0 {
		for _, id := range d.Policies {
			d.Reasons = append(d.Reasons, "forbidden by policy "+id)
		}
	}
}

// allows reports whether the policies permit, leaving obligations aside.
func (o *outcome) allows() bool {
	return len(o.failed) == 0 && o.forbids.first == nil && o.permits.first != nil && !o.open()
}
