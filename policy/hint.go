package policy

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/bailiwick-dev/bailiwick/identity"
)

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
func (s *Set) suggest(d *Decision, q *question) {
	place, scope := q.resource.Namespace, q.resource.Namespace
	if q.action.Scope == ScopeCluster || place == "" {
		place, scope = "every namespace", everyNamespace
	}
	held := q.p.holdings.rolesIn(q.resource.Namespace)
	if len(held) > 0 {
		where := "there"
		if q.action.Scope == ScopeCluster {
			where = "on the cluster"
		}
		d.Reasons = []string{"you have " + strings.Join(held, " and ") + " " + where}
	}
	more := questions.Get().(*question)
	defer func() { *more = question{}; questions.Put(more) }()
	for _, role := range leastFirst {
		*more = question{}
		s.prepare(more, q.action, q.p, &q.request)
		more.suppose(roleGrant{scope, role})
		more.ask()
		if more.out.allows() {
			d.Missing, d.Hint = string(role)+" in "+place, s.hint(roleGrant{scope, role}, q.p.claims)
			if command := q.requestCommand(role); command != "" {
				d.Hint = "request it: " + command + ", or " + d.Hint
			}
			return
		}
	}
	d.Reasons = append(d.Reasons, fmt.Sprintf("no policy permits %s to this principal, and no role would", q.action.Name))
	if command := q.requestCommand(roleFor(q.action.Access)); command != "" {
		d.Hint = "request it: " + command
	}
}

// roleFor is the role that opens a level of access, where no policy says.
func roleFor(a Access) Role {
	switch a {
	case Read:
		return RoleRead
	case Operate:
		return RoleWrite
	case Work:
		return RoleWorker
	}
	return RoleAdmin
}

// requestCommand is the command by which the caller would ask for access to what was denied, if a grant would open it and the policies let the
// caller ask for one; else "". It asks for one action on one workflow where the call is about one, and for a role otherwise.
func (q *question) requestCommand(role Role) string {
	at := q.resource
	if q.action.Access == Delegate || q.action.Scope == ScopeCluster || !isNamespaceName(at.Namespace) || q.p.claims.Kind != identity.User || q.extra != nil || !q.opensGranted() {
		return ""
	}
	command := "bailiwick access request --namespace " + at.Namespace
	if id, ok := shellWord(at.WorkflowID); ok && q.action.Access == Operate && q.action.Scope == ScopeWorkflow && q.action.existing {
		one := Resource{Namespace: at.Namespace, WorkflowID: at.WorkflowID, RunID: at.RunID, WorkflowType: at.WorkflowType, TaskQueue: at.TaskQueue, SearchAttributes: at.SearchAttributes}
		if span := q.mayAsk(one, Context{Wanted: []string{q.action.Name}}); span != "" {
			return fmt.Sprintf(`%s --action %s --workflow %s --for %s --reason "…"`, command, q.action.Name, id, span)
		}
	}
	if span := q.mayAsk(Resource{Namespace: at.Namespace}, Context{Role: string(role)}); span != "" {
		return fmt.Sprintf(`%s --role %s --for %s --reason "…"`, command, role, span)
	}
	return ""
}

// opensGranted reports whether the policies would permit the request under a grant.
func (q *question) opensGranted() bool {
	req := q.request
	req.Context.Granted, req.Context.Grant = true, "any"
	more := questions.Get().(*question)
	defer func() { *more = question{}; questions.Put(more) }()
	q.set.prepare(more, q.action, q.p, &req)
	more.ask()
	return more.out.allows()
}

// usualMinutes is for how long a hint asks, unless policy allows less.
const usualMinutes = 60

// mayAsk returns for how long the caller may ask for access, as a flag's value; "" if not at all.
func (q *question) mayAsk(what Resource, asked Context) string {
	asked.Now, asked.SourceIP, asked.AMR, asked.Reason, asked.Requester, asked.Minutes = q.context.Now, q.context.SourceIP, q.context.AMR, "a reason", q.p.name, usualMinutes
	more := questions.Get().(*question)
	defer func() { *more = question{}; questions.Put(more) }()
	for range 2 {
		*more = question{}
		q.set.prepare(more, q.set.index.methods[AccessRequest], q.p, &Request{Principal: q.p.claims, Action: AccessRequest, Resource: what, Context: asked})
		more.brief = true
		more.ask()
		var d Decision
		q.set.settle(&d, more)
		switch terms, err := ParseTerms(d.Obligations); {
		case d.Allow && asked.Minutes%60 == 0:
			return fmt.Sprintf("%dh", asked.Minutes/60)
		case d.Allow:
			return fmt.Sprintf("%dm", asked.Minutes)
		case err != nil || d.Code != CodeObligation || terms.MaxMinutes == 0 || terms.MaxMinutes >= asked.Minutes:
			return ""
		default:
			asked.Minutes = terms.MaxMinutes
		}
	}
	return ""
}

// shellWord writes a text as one word of a command line, if it is fit to be copied from a screen.
func shellWord(s string) (string, bool) {
	if s == "" || len(s) > 256 || !printable(s) || strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII && !unicode.IsPrint(r) }) {
		return "", false
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:/@=+,%", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s, true
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", true
}
