package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Role is what roles.yaml can give in a namespace.
type Role string

const (
	RoleRead     Role = "read"
	RoleWrite    Role = "write"
	RoleWorker   Role = "worker"
	RoleApprover Role = "approver" // decides others' requests for access, and no more
	RoleAdmin    Role = "admin"
)

// leastFirst orders the roles by how much they open: the first that would allow an action is the one to ask for.
var leastFirst = []Role{RoleRead, RoleWorker, RoleWrite, RoleApprover, RoleAdmin}

// everyNamespace is how roles.yaml writes "in all namespaces".
const everyNamespace = "*"

// maxNamespace bounds a namespace's name, in bytes. Temporal's own limit is 1000 at most.
const maxNamespace = 1000

// isNamespaceName says what a namespace may be called: letters, digits, ".", "_" and "-", beginning with one of the first two. It
// keeps colons, slashes, newlines and look-alike letters out, so that a group's name has one reading and "NAMESPACE/ID" one meaning.
func isNamespaceName(s string) bool {
	if s == "" || len(s) > maxNamespace {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// rolemap is a parsed roles.yaml.
type rolemap struct {
	patterns []pattern
	groups   map[string][]entry
	clients  map[string][]entry

	attributes []attribute
	profile    bool // one of them is in the directory
}

// pattern gives a role to the members of every group whose whole name matches.
type pattern struct {
	issuer string // empty: any trusted issuer
	text   string // as roles.yaml writes it
	line   int
	role   Role // empty: the name says it

	// The text is BEFORE{namespace}BETWEEN{role}AFTER, or with the two the other way round, or without {role} and BETWEEN.
	before, between, after string
	roleFirst              bool
}

// entry gives roles to one group or client.
type entry struct {
	issuer string // empty: any trusted issuer
	line   int    // of roles.yaml
	agent  bool   // clients only: an AI agent runs it
	note   string // clients only
	grants []roleGrant
	queues []string // clients only: the task queues that a worker role is confined to; empty: any
}

type roleGrant struct {
	namespace string // or everyNamespace
	role      Role
}

// holdings is what one principal holds.
type holdings struct {
	in         map[Role][]string // sorted, unique namespaces
	everywhere []Role
	queues     map[string][]string // namespace → task queues, where the worker role is confined to some
	agent      bool
}

// resolve works out what the claims hold. Group names are compared byte by byte: no case folding, trimming or normalisation.
func (m *rolemap) resolve(c *identity.Claims) holdings {
	h := holdings{in: map[Role][]string{}}
	free := map[string]bool{} // namespaces with the worker role on any task queue
	for _, group := range c.Groups {
		for _, p := range m.patterns {
			if p.issuer != "" && p.issuer != c.Issuer {
				continue
			}
			if g, ok := p.match(group); ok {
				h.add(g)
				free[g.namespace] = free[g.namespace] || g.role == RoleWorker
			}
		}
		h.addAll(m.groups[group], c.Issuer, free)
	}
	// A person who acts through a client never inherits the client's roles; the agent mark holds for both.
	for _, e := range m.clients[c.ClientID] {
		if e.agent && (e.issuer == "" || e.issuer == c.Issuer) {
			h.agent = true
		}
	}
	if c.Kind == identity.Client {
		h.addAll(m.clients[c.ID], c.Issuer, free)
	}
	for namespace := range h.queues {
		if free[namespace] || free[everyNamespace] {
			delete(h.queues, namespace) // the wider role wins, as with every other
		}
	}
	for role, names := range h.in {
		slices.Sort(names)
		h.in[role] = slices.Compact(names)
	}
	return h
}

// groupFor names a group whose members hold the role, for telling people what to ask for; "" if no group gives it.
func (m *rolemap) groupFor(want roleGrant, issuer string) string {
	for _, p := range m.patterns {
		if want.namespace != everyNamespace && (p.issuer == "" || p.issuer == issuer) && (p.role == "" || p.role == want.role) {
			return p.group(want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.groups)) {
		for _, e := range m.groups[name] {
			if (e.issuer == "" || e.issuer == issuer) && slices.Contains(e.grants, want) {
				return name
			}
		}
	}
	return ""
}

func (h *holdings) addAll(entries []entry, issuer string, free map[string]bool) {
	for _, e := range entries {
		if e.issuer != "" && e.issuer != issuer {
			continue
		}
		for _, g := range e.grants {
			h.add(g)
			if g.role != RoleWorker {
				continue
			}
			if len(e.queues) == 0 {
				free[g.namespace] = true
				continue
			}
			if h.queues == nil {
				h.queues = map[string][]string{}
			}
			h.queues[g.namespace] = append(h.queues[g.namespace], e.queues...)
		}
	}
}

func (h *holdings) add(g roleGrant) {
	if g.namespace != everyNamespace {
		h.in[g.role] = append(h.in[g.role], g.namespace)
	} else if !slices.Contains(h.everywhere, g.role) {
		h.everywhere = append(h.everywhere, g.role)
	}
}

// with returns a copy that also holds one more role: what the principal would be if someone gave it to them.
func (h holdings) with(g roleGrant) holdings {
	more := holdings{in: map[Role][]string{}, everywhere: slices.Clone(h.everywhere), queues: maps.Clone(h.queues), agent: h.agent}
	for role, names := range h.in {
		more.in[role] = slices.Clone(names)
	}
	more.add(g)
	if g.role == RoleWorker { // on any queue
		delete(more.queues, g.namespace)
		if g.namespace == everyNamespace {
			more.queues = nil
		}
	}
	return more
}

// rolesIn lists the roles held in a namespace, least first.
func (h holdings) rolesIn(namespace string) []string {
	var held []string
	for _, role := range leastFirst {
		if slices.Contains(h.everywhere, role) || slices.Contains(h.in[role], namespace) {
			held = append(held, string(role))
		}
	}
	return held
}

// match reads a group's name. Namespaces and roles come out one way only: no role ends or begins another, so that the role settles
// where the namespace ends.
func (p pattern) match(group string) (roleGrant, bool) {
	if len(group) < len(p.before)+len(p.after) || !strings.HasPrefix(group, p.before) || !strings.HasSuffix(group, p.after) {
		return roleGrant{}, false
	}
	g := roleGrant{namespace: group[len(p.before) : len(group)-len(p.after)], role: p.role}
	if p.role == "" {
		rest := g.namespace
		for _, role := range leastFirst {
			name, ok := "", false
			if p.roleFirst {
				name, ok = strings.CutPrefix(rest, string(role))
				if ok {
					name, ok = strings.CutPrefix(name, p.between)
				}
			} else {
				name, ok = strings.CutSuffix(rest, string(role))
				if ok {
					name, ok = strings.CutSuffix(name, p.between)
				}
			}
			if ok {
				g = roleGrant{name, role}
				break
			}
		}
	}
	return g, g.role != "" && isNamespaceName(g.namespace)
}

// group is the name of the group that the pattern gives a role to.
func (p pattern) group(g roleGrant) string {
	return strings.Replace(strings.Replace(p.text, "{namespace}", g.namespace, 1), "{role}", string(g.role), 1)
}

// compilePattern takes "temporal:{namespace}:{role}" apart, or says what is wrong with it. With a fixed role the text has no {role}.
func compilePattern(text string) (p pattern, wrong string) {
	if strings.Count(text, "{namespace}") != 1 {
		return p, "a pattern needs {namespace} exactly once"
	}
	if strings.Count(text, "{role}") > 1 {
		return p, "a pattern may have {role} only once"
	}
	if rest := strings.NewReplacer("{namespace}", "", "{role}", "").Replace(text); strings.ContainsAny(rest, "{}*?") {
		return p, "a pattern knows {namespace} and {role}; other braces and wildcards mean nothing in it"
	}
	if strings.Contains(text, "{namespace}{role}") || strings.Contains(text, "{role}{namespace}") {
		return p, "{namespace} and {role} need something between them"
	}
	p.text = text
	p.before, p.after, _ = strings.Cut(text, "{namespace}")
	if before, between, ok := strings.Cut(p.before, "{role}"); ok {
		p.before, p.between, p.roleFirst = before, between, true
	} else if between, after, ok := strings.Cut(p.after, "{role}"); ok {
		p.between, p.after = between, after
	}
	return p, ""
}

// confined lists the namespaces in which some client's worker role is confined to task queues.
func (m *rolemap) confined() map[string]bool {
	all := map[string]bool{}
	for _, entries := range m.clients {
		for _, e := range entries {
			for _, g := range e.grants {
				if len(e.queues) > 0 && g.role == RoleWorker {
					all[g.namespace] = true
				}
			}
		}
	}
	return all
}
