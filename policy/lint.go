package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Known is what a linter may know besides the policies: the groups and clients that exist in the org.
type Known struct {
	Groups  []string
	Clients []string
}

// Lint lists what is likely a mistake in a set that loads: policies that can never apply or never matter, permits open to everyone, roles
// that open nothing. With what is known of the org it also names groups and clients that do not exist. The list is sorted by file and line.
func (s *Set) Lint(known ...Known) []Problem {
	l := &linter{set: s, methods: map[*rule]map[string]bool{}}
	rules := s.inOrder()
	for _, r := range rules {
		l.methods[r] = methodsOf(r)
	}
	for _, r := range rules {
		l.dead(r)
		l.broad(r)
	}
	l.shadowed(rules)
	l.idle(rules)
	l.roles(rules)
	for _, k := range known {
		l.strangers(rules, k)
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Text, b.Text))
	})
	return slices.Compact(l.problems)
}

type linter struct {
	set      *Set
	methods  map[*rule]map[string]bool // the actions that each policy covers
	problems []Problem
}

func (l *linter) report(r *rule, fix, text string, args ...any) {
	l.problems = append(l.problems, Problem{File: r.file, Line: r.line, Text: fmt.Sprintf("%s %s ", r.effect(), r.id) + fmt.Sprintf(text, args...), Fix: fix})
}

func (l *linter) reportRoles(line int, fix, text string, args ...any) {
	l.problems = append(l.problems, Problem{File: RolesFile, Line: line, Text: fmt.Sprintf(text, args...), Fix: fix})
}

func methodsOf(r *rule) map[string]bool {
	keys := actionKeys(r.tree().Action)
	all := map[string]bool{}
	for _, a := range sortedActions() {
		if slices.Contains(keys, "") || slices.Contains(keys, types.String(a.Name)) || slices.Contains(keys, types.String(a.Access)) {
			all[a.Name] = true
		}
	}
	return all
}

// dead finds policies that can apply to no call, beyond those that do not load for that reason.
func (l *linter) dead(r *rule) {
	tree := r.tree()
	for _, c := range tree.Conditions {
		v, ok := c.Body.(ast.NodeValue)
		if !ok {
			continue
		}
		if held, ok := v.Value.(types.Boolean); ok {
			if bool(held) != bool(c.Condition) {
				l.report(r, "remove the policy, or the condition", "can never apply: its condition is always %v", held)
			} else {
				l.report(r, "remove the condition", "has a condition that is always %v", held)
			}
		}
	}
	if name, ok := scopeNamespace(tree.Resource); ok && len(l.set.roles.patterns) == 0 && !r.forbids {
		given := l.set.roles.namespaces()
		if !slices.Contains(given, name) && !slices.Contains(given, everyNamespace) && usesRoles(tree) {
			fix := "give a role in it, or correct the name"
			if guess := nearest(name, given); guess != "" {
				fix = fmt.Sprintf("did you mean %s?", guess)
			}
			l.report(r, fix, "names the namespace %s, in which roles.yaml gives no role", name)
		}
	}
}

// broad finds permits that ask nothing of the caller. What every client needs before anything else, reads of the cluster, may be open.
func (l *linter) broad(r *rule) {
	tree := r.tree()
	if _, anyone := tree.Principal.(ast.ScopeTypeAll); r.forbids || !anyone || speaksOfCaller(tree) {
		return
	}
	var open []string
	for _, name := range slices.Sorted(maps.Keys(l.methods[r])) {
		if a, _ := LookupAction(name); a.Access != Read || a.Scope != ScopeCluster {
			open = append(open, name)
		}
	}
	if len(open) == 0 {
		return
	}
	what := open[0]
	if len(open) > 1 {
		what = fmt.Sprintf("%d actions, %s among them,", len(open), open[0])
	}
	l.report(r, `say who: principal in Group::"…", or when { principal.write.contains(resource.namespace) }`, "is too broad: it opens %s to everyone who is signed in", what)
}

// speaksOfCaller reports whether a condition asks something of the caller that not everyone fulfils.
func speaksOfCaller(tree *ast.Policy) bool {
	found := false
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if isVariable(n, "principal") {
				found = true
			}
			if name, ok := isAttribute(n, "context"); ok && (name == "client_id" || name == "scopes" || name == "grant" || name == "granted") {
				found = true
			}
			return true
		})
	}
	return found
}

func usesRoles(tree *ast.Policy) bool {
	for role := range rolesUsed(tree) {
		if roleBit(Role(role)) != 0 {
			return true
		}
	}
	return false
}

// idle finds forbids of what nothing permits.
func (l *linter) idle(rules []*rule) {
	permitted := map[string]bool{}
	for _, r := range rules {
		if !r.forbids {
			maps.Copy(permitted, l.methods[r])
		}
	}
	for _, r := range rules {
		if !r.forbids || len(l.methods[r]) == 0 {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(l.methods[r])), func(name string) bool { return permitted[name] }) {
			l.report(r, "remove it, or keep it against a permit to come", "never matters: nothing permits what it forbids")
		}
	}
}

// rolesUsed lists the attributes of the principal that a policy reads, and the roles that it looks for in everywhere.
func rolesUsed(tree *ast.Policy) map[string]bool {
	used := map[string]bool{}
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if name, ok := isAttribute(n, "principal"); ok {
				used[string(name)] = true
			}
			if contains, ok := n.(ast.NodeTypeContains); ok {
				if name, _ := isAttribute(contains.Left, "principal"); name == "everywhere" {
					if role, ok := literalText(contains.Right); ok {
						used["everywhere "+role] = true
					}
				}
			}
			return true
		})
	}
	return used
}

// roles compares what roles.yaml gives with what policies look at.
func (l *linter) roles(rules []*rule) {
	used, first := map[string]bool{}, map[string]*rule{}
	for _, r := range rules {
		for what := range rolesUsed(r.tree()) {
			if used[what] = true; first[what] == nil {
				first[what] = r
			}
		}
	}
	given := map[Role]int{} // the line that first gives it
	for _, g := range l.set.roles.expanded() {
		if line, ok := given[g.role]; !ok || g.line < line {
			given[g.role] = g.line
		}
	}
	for _, role := range leastFirst {
		line, ok := given[role]
		if ok && !used[string(role)] && !used["everywhere "+string(role)] {
			l.reportRoles(line, fmt.Sprintf("write a policy with principal.%s.contains(resource.namespace)", role), "the role %s opens nothing: no policy looks at it", role)
		}
		if r := first[string(role)]; !ok && r != nil {
			l.report(r, "give it in "+RolesFile+", or drop the condition", "asks for the role %s, which nobody has", role)
		}
	}
	if !used["queues"] {
		for _, id := range slices.Sorted(maps.Keys(l.set.roles.clients)) {
			for _, e := range l.set.roles.clients[id] {
				if len(e.queues) > 0 {
					l.reportRoles(e.line, "let the worker's policy look at principal.confined and principal.queues, as the starter set does", "the task_queues of client %s confine nothing: no policy looks at principal.queues", id)
				}
			}
		}
	}
}

// strangers finds groups and clients that do not exist.
func (l *linter) strangers(rules []*rule, known Known) {
	fix := func(name string, of []string) string {
		if guess := nearest(name, of); guess != "" {
			return fmt.Sprintf("did you mean %s?", guess)
		}
		return "create it, or remove it here"
	}
	if len(known.Groups) > 0 {
		for name, entries := range l.set.roles.groups {
			if !slices.Contains(known.Groups, name) {
				l.reportRoles(entries[0].line, fix(name, known.Groups), "the group %s does not exist", name)
			}
		}
		for _, p := range l.set.roles.patterns {
			if !slices.ContainsFunc(known.Groups, func(g string) bool { _, ok := p.match(g); return ok }) {
				l.reportRoles(p.line, "correct it, or remove it", "the pattern %s matches no group that exists", p.text)
			}
		}
		for _, r := range rules {
			for _, name := range groupsNamed(r.tree()) {
				if !slices.Contains(known.Groups, name) {
					l.report(r, fix(name, known.Groups), "names the group %s, which does not exist", name)
				}
			}
		}
	}
	if len(known.Clients) > 0 {
		for id, entries := range l.set.roles.clients {
			if !slices.Contains(known.Clients, id) {
				l.reportRoles(entries[0].line, fix(id, known.Clients), "the client %s does not exist", id)
			}
		}
	}
}

func groupsNamed(tree *ast.Policy) []string {
	var names []string
	if uid, ok := scopeEntity(tree.Principal); ok && uid.Type == typeGroup {
		names = append(names, string(uid.ID))
	}
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if uid, ok := literalEntity(n); ok && uid.Type == typeGroup && !slices.Contains(names, string(uid.ID)) {
				names = append(names, string(uid.ID))
			}
			return true
		})
	}
	return names
}

// namespaces lists those that roles.yaml names, "*" among them.
func (m *rolemap) namespaces() []string {
	var names []string
	for _, of := range []map[string][]entry{m.groups, m.clients} {
		for _, entries := range of {
			for _, e := range entries {
				for _, g := range e.grants {
					names = append(names, g.namespace)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
