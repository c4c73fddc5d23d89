package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// change is one thing about a request that could be otherwise.
type change struct {
	Remedy
	apply func(*Request, *holdings)
}

// maxRemedies bounds what is tried and told.
const maxRemedies = 200

// remedies finds, by asking again, what single change would have made the request allowed; if none would, which few together.
func (s *Set) remedies(req *Request) []Remedy {
	var works []Remedy
	changes := s.changes(req)
	roleDone := false
	for _, c := range changes {
		if c.Kind == "role" && roleDone {
			continue // a wider role would do as well, and give more than is needed
		}
		if s.allowsWith(req, c) {
			works = append(works, c.Remedy)
			roleDone = roleDone || c.Kind == "role"
		}
	}
	if len(works) > 0 {
		return works
	}
	// Together: everything that does not change what the caller may, then one role, grant or group. What proves needless is taken out again.
	widens := func(c change) bool { return c.Kind == "role" || c.Kind == "group" || c.Kind == "grant" }
	var all []change
	for _, c := range changes {
		if !widens(c) && c.Kind != "time" && !slices.ContainsFunc(all, func(o change) bool { return o.Kind == c.Kind }) {
			all = append(all, c)
		}
	}
	for _, c := range append([]change{{}}, changes...) {
		tried := slices.Clone(all)
		if widens(c) {
			tried = append([]change{c}, all...)
		} else if c.Kind != "" {
			continue
		}
		if !s.allowsWith(req, tried...) {
			continue
		}
		for i := 0; i < len(tried); {
			without := slices.Delete(slices.Clone(tried), i, i+1)
			if s.allowsWith(req, without...) {
				tried = without
			} else {
				i++
			}
		}
		together := Remedy{Kind: "several"}
		var texts []string
		for _, t := range tried {
			texts = append(texts, t.Text)
			together.Role += t.Role
		}
		together.Text = strings.Join(texts, ", and ")
		return []Remedy{together}
	}
	return nil
}

func (s *Set) allowsWith(req *Request, changes ...change) bool {
	changed, claims := *req, *req.Principal
	changed.Principal = &claims
	h := s.roles.resolve(&claims)
	for _, c := range changes {
		if c.Kind == "group" {
			c.apply(&changed, &h)
			h = s.roles.resolve(&claims)
		}
	}
	for _, c := range changes {
		if c.Kind != "group" {
			c.apply(&changed, &h)
		}
	}
	var q question
	s.prepare(&q, s.index.methods[req.Action], s.newPrincipal(&claims, h), &changed)
	q.ask()
	var d Decision
	if q.out.allows() {
		s.settle(&d, &q)
	}
	return d.Allow
}

// changes lists what could be otherwise, as far as the policies give a value to try.
func (s *Set) changes(req *Request) []change {
	var all []change
	add := func(kind, text, role string, apply func(*Request, *holdings)) {
		if len(all) < maxRemedies {
			all = append(all, change{Remedy{kind, text, role}, apply})
		}
	}
	action := s.index.methods[req.Action]
	place, scope := req.Resource.Namespace, req.Resource.Namespace
	if action.Scope == ScopeCluster || place == "" {
		place, scope = "every namespace", everyNamespace
	}
	for _, role := range leastFirst {
		want := roleGrant{scope, role}
		add("role", s.hint(want, req.Principal), string(role)+" in "+place, func(_ *Request, h *holdings) { *h = h.with(want) })
	}
	if strings.TrimSpace(req.Context.Reason) == "" {
		add("reason", "state a reason", "", func(r *Request, _ *holdings) { r.Context.Reason = "a reason" })
	}
	if req.Principal.Kind == identity.User {
		add("login", "log in again", "", func(r *Request, _ *holdings) { r.Principal.AuthTime = r.Context.Now })
	}
	add("agent", "act in person, not through an AI agent", "", func(r *Request, h *holdings) { r.Principal.Actors, h.agent = nil, false })

	said := s.literals(action)
	for _, acr := range said["acr"] {
		add("acr", "log in with "+acr, "", func(r *Request, _ *holdings) { r.Principal.ACR, r.Principal.AuthTime = acr, r.Context.Now })
	}
	for _, factor := range said["amr"] {
		add("amr", "log in with the factor "+factor, "", func(r *Request, _ *holdings) {
			r.Context.AMR, r.Principal.AuthTime = append(slices.Clone(r.Context.AMR), factor), r.Context.Now
		})
	}
	if action.Access != Delegate {
		grant := func(id, text string, breakGlass bool) {
			add("grant", text, "", func(r *Request, _ *holdings) {
				r.Context.Grant, r.Context.Granted, r.Context.BreakGlass = id, true, breakGlass
			})
		}
		text := "get a grant for it"
		if command := s.requestFor(req); command != "" {
			text += ": " + command
		}
		grant("any", text, false)
		if (action.confinedWants.any|action.confinedWants.in[req.Resource.Namespace])&looksBreakGlass != 0 {
			grant("any", "get a break-glass grant for it", true)
		}
		for _, id := range said["grant"] {
			grant(id, "get the grant "+id, false)
		}
	}
	for _, scope := range said["scopes"] {
		add("scope", "get a token with the scope "+scope, "", func(r *Request, _ *holdings) {
			r.Principal.Scopes = append(slices.Clone(r.Principal.Scopes), scope)
		})
	}
	for _, group := range said["group"] {
		if slices.Contains(req.Principal.Groups, group) || req.Principal.Kind != identity.User {
			continue
		}
		add("group", "ask for the group "+group, "", func(r *Request, _ *holdings) {
			r.Principal.Groups = append(slices.Clone(r.Principal.Groups), group)
		})
	}
	if when, ok := s.nextTime(req); ok {
		add("time", "wait until "+when.UTC().Format("Mon 2006-01-02 15:04 MST"), "", waitUntil(when))
	}
	return all
}

// requestFor is the command by which the caller of a denied request would ask for access to it, or "".
func (s *Set) requestFor(req *Request) string {
	var q question
	s.prepare(&q, s.index.methods[req.Action], s.principal(req.Principal), req)
	least := roleFor(q.action.Access)
	for _, role := range leastFirst {
		var more question
		s.prepare(&more, q.action, q.p, req)
		more.suppose(roleGrant{req.Resource.Namespace, role})
		if more.ask(); more.out.allows() {
			least = role
			break
		}
	}
	return q.requestCommand(least)
}

// nextTime looks a week ahead, by the quarter of an hour, for when the clock alone would allow the request.
func (s *Set) nextTime(req *Request) (time.Time, bool) {
	action := s.index.methods[req.Action]
	if (action.confinedWants.any|action.confinedWants.in[req.Resource.Namespace])&(looksNow|looksWeekday) == 0 || req.Context.Now.IsZero() {
		return time.Time{}, false
	}
	const step = 15 * time.Minute
	at := req.Context.Now.UTC().Truncate(step)
	for range 7 * 24 * 4 {
		at = at.Add(step)
		if s.allowsWith(req, change{Remedy{Kind: "time"}, waitUntil(at)}) {
			return at, true
		}
	}
	return time.Time{}, false
}

// waitUntil moves the clock. Waiting makes a login no older for this purpose: another remedy tells of that.
func waitUntil(when time.Time) func(*Request, *holdings) {
	return func(r *Request, _ *holdings) {
		if !r.Principal.AuthTime.IsZero() {
			r.Principal.AuthTime = r.Principal.AuthTime.Add(when.Sub(r.Context.Now))
		}
		r.Context.Now = when
	}
}

// sources tells what roles.yaml gives the claims and by what.
func (m *rolemap) sources(c *identity.Claims) []string {
	var told []string
	tell := func(g roleGrant, by string, e entry) {
		place := g.namespace
		if place == everyNamespace {
			place = "every namespace"
		}
		text := fmt.Sprintf("%s in %s (%s)", g.role, place, by)
		if g.role == RoleWorker && len(e.queues) > 0 {
			text += ", on the task queues " + strings.Join(e.queues, ", ")
		}
		if !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	entries := func(list []entry, by string) {
		for _, e := range list {
			if e.issuer != "" && e.issuer != c.Issuer {
				continue
			}
			for _, g := range e.grants {
				tell(g, by, e)
			}
		}
	}
	for _, group := range c.Groups {
		for _, p := range m.patterns {
			if g, ok := p.match(group); ok && (p.issuer == "" || p.issuer == c.Issuer) {
				tell(g, "group "+group, entry{})
			}
		}
		entries(m.groups[group], "group "+group)
	}
	if c.Kind == identity.Client {
		entries(m.clients[c.ID], "client "+c.ID)
	}
	slices.Sort(told)
	return told
}
