package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Expanded returns what roles.yaml means in Cedar's terms, followed by every policy. The mapping is in comments, because Cedar itself
// has no patterns; the whole is Cedar text that parses to the same policies.
func (s *Set) Expanded() string {
	var b strings.Builder
	fmt.Fprintf(&b, "// policy set %s\n//\n", s.digest)
	b.WriteString("// " + RolesFile + ": who has which role where. principal.ROLE holds the namespaces, principal.everywhere the roles in all of them.\n")
	lines := s.roles.expanded()
	for _, role := range []Role{RoleRead, RoleWrite, RoleWorker, RoleApprover, RoleAdmin} {
		fmt.Fprintf(&b, "//\n// principal.%s.contains(N) || principal.everywhere.contains(%q) when\n", role, role)
		found := false
		for _, l := range lines {
			if l.role == role {
				found = true
				fmt.Fprintf(&b, "//     %-60s // %s:%d\n", l.text, RolesFile, l.line)
			}
		}
		if !found {
			b.WriteString("//     false\n")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.roles.clients)) {
		for _, e := range s.roles.clients[id] {
			if len(e.queues) > 0 {
				fmt.Fprintf(&b, "//\n// client %s takes tasks only from the task queues %s (%s:%d)\n", id, strings.Join(e.queues, ", "), RolesFile, e.line)
			}
			if e.agent {
				fmt.Fprintf(&b, "//\n// context.agent is true when context.client_id == %q (%s:%d)\n", id, RolesFile, e.line)
			}
		}
	}
	for _, a := range s.roles.attributes {
		fmt.Fprintf(&b, "//\n// principal.attributes.%s is %s (%s:%d)\n", a.name, a.origin(), RolesFile, a.line)
	}
	file := ""
	for _, r := range s.inOrder() {
		if r.file != file {
			file = r.file
			fmt.Fprintf(&b, "\n// %s\n", file)
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(plainQuotes(string(r.compiled.MarshalCedar()))))
	}
	return b.String()
}

// escapes are the escapes that Cedar's printer writes and nobody would: a quote needs none between double quotes. Escaped backslashes are
// matched so that what follows one is not taken for an escape.
var escapes = strings.NewReplacer(`\\`, `\\`, `\'`, `'`)

// plainQuotes turns what Cedar's printer wrote into what people write: "person's", not "person\'s".
func plainQuotes(text string) string { return escapes.Replace(text) }

// inOrder lists the policies as the files have them.
func (s *Set) inOrder() []*rule {
	rules := slices.Collect(maps.Values(s.policies))
	slices.SortFunc(rules, func(a, b *rule) int {
		if a.file != b.file {
			return strings.Compare(a.file, b.file)
		}
		if a.line != b.line {
			return a.line - b.line
		}
		return strings.Compare(a.id, b.id)
	})
	return rules
}

// mapped is one way to a role.
type mapped struct {
	role Role
	text string
	line int
}

func (m *rolemap) expanded() []mapped {
	var lines []mapped
	from := func(issuer string) string {
		if issuer == "" {
			return ""
		}
		return fmt.Sprintf(" && principal.issuer == %q", issuer)
	}
	for _, p := range m.patterns {
		for _, role := range leastFirst {
			if p.role == "" || p.role == role {
				lines = append(lines, mapped{role, fmt.Sprintf("principal in Group::%q && N == Namespace::\"…\"%s", p.group(roleGrant{"…", role}), from(p.issuer)), p.line})
			}
		}
	}
	each := func(entries map[string][]entry, who func(name string) string) {
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			for _, e := range entries[name] {
				for _, g := range e.grants {
					where := fmt.Sprintf(" && N == Namespace::%q", g.namespace)
					if g.namespace == everyNamespace {
						where = "" // in any
					}
					lines = append(lines, mapped{g.role, who(name) + where + from(e.issuer), e.line})
				}
			}
		}
	}
	each(m.groups, func(name string) string { return fmt.Sprintf("principal in Group::%q", name) })
	each(m.clients, func(name string) string { return fmt.Sprintf("principal is Client && principal.id == %q", name) })
	return lines
}
