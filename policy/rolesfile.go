package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RolesFile is the name of the mapping's file in a policy directory.
const RolesFile = "roles.yaml"

// rolesVersion is the integer version of the file's format. History: 1 (2026-11) first.
const rolesVersion = "1"

// rolesReader reads roles.yaml.
type rolesReader struct{ yamlReader }

// parseRoles reads roles.yaml. With any problem the mapping must not be used.
func parseRoles(data []byte) (m *rolemap, problems []Problem) {
	r := &rolesReader{yamlReader{name: RolesFile}}
	m = &rolemap{groups: map[string][]entry{}, clients: map[string][]entry{}}
	if root := r.document(data); root != nil {
		r.file(m, root)
	}
	return m, r.problems
}

func (r *rolesReader) file(m *rolemap, root *yaml.Node) {
	var version *yaml.Node
	r.mapping(root, "roles.yaml", map[string]func(*yaml.Node){
		"version":  func(n *yaml.Node) { version = n },
		"patterns": func(n *yaml.Node) { r.each(n, "patterns", func(n *yaml.Node) { r.pattern(m, n) }) },
		"groups": func(n *yaml.Node) {
			r.each(n, "groups", func(n *yaml.Node) { r.named(m.groups, "name", n) })
		},
		"clients": func(n *yaml.Node) {
			r.each(n, "clients", func(n *yaml.Node) { r.named(m.clients, "id", n) })
		},
		"attributes": func(n *yaml.Node) { r.attributes(m, n) },
	})
	for _, a := range m.attributes {
		m.profile = m.profile || a.profile != ""
	}
	r.version(root, version)
}

func (r *rolesReader) pattern(m *rolemap, n *yaml.Node) {
	var p pattern
	var text, role *yaml.Node
	r.mapping(n, "a pattern", map[string]func(*yaml.Node){
		"group":  func(n *yaml.Node) { text = n },
		"role":   func(n *yaml.Node) { role = n },
		"issuer": func(n *yaml.Node) { p.issuer = r.text(n, "issuer") },
	})
	if text == nil {
		r.report(n.Line, `such as group: "temporal:{namespace}:{role}"`, "a pattern needs group")
		return
	}
	if role != nil {
		p.role = r.role(role)
	}
	value := r.text(text, "group")
	if value == "" {
		return
	}
	if inName := strings.Contains(value, "{role}"); inName == (role != nil) {
		r.report(text.Line, "put {role} in the group or add role: beside it, one of the two", "the pattern %q must say the role once", value)
		return
	}
	parts, wrong := compilePattern(value)
	if wrong != "" {
		r.report(text.Line, `such as "temporal:{namespace}:{role}"`, "%s", wrong)
		return
	}
	parts.issuer, parts.role, parts.line = p.issuer, p.role, n.Line
	m.patterns = append(m.patterns, parts)
}

// named reads one entry of groups (key "name") or clients (key "id").
func (r *rolesReader) named(into map[string][]entry, key string, n *yaml.Node) {
	e := entry{line: n.Line}
	var name string
	var roles *yaml.Node
	fields := map[string]func(*yaml.Node){
		key:      func(n *yaml.Node) { name = r.text(n, key) },
		"issuer": func(n *yaml.Node) { e.issuer = r.text(n, "issuer") },
		"roles":  func(n *yaml.Node) { roles = n },
	}
	what := "a group"
	var queues *yaml.Node
	if key == "id" {
		what = "a client"
		fields["agent"] = func(n *yaml.Node) { e.agent = r.boolean(n, "agent") }
		fields["task_queues"] = func(n *yaml.Node) {
			queues = n
			r.each(n, "task_queues", func(n *yaml.Node) { e.queues = append(e.queues, r.text(n, "a task queue")) })
		}
		fields["note"] = func(n *yaml.Node) { e.note = r.text(n, "note") }
	}
	before := len(r.problems)
	r.mapping(n, what, fields)
	if name == "" && len(r.problems) == before {
		r.report(n.Line, "add "+key+": to it", "%s needs %s", what, key)
	}
	if roles == nil {
		if !e.agent && len(r.problems) == before {
			r.report(n.Line, "such as roles: { payments: read }", "%s needs roles", what)
		}
	} else {
		r.grants(&e, roles)
	}
	if queues != nil {
		r.confine(&e, queues)
	}
	into[name] = append(into[name], e)
}

// confine checks task_queues, which would open more than its author meant if it were passed over.
func (r *rolesReader) confine(e *entry, n *yaml.Node) {
	if len(e.queues) == 0 {
		r.report(n.Line, "name the task queues, or remove the line to allow any", "task_queues names none")
	}
	worker := false
	for _, g := range e.grants {
		worker = worker || g.role == RoleWorker
		if g.role == RoleWorker && g.namespace == everyNamespace {
			r.report(n.Line, "name the namespaces that these task queues are in", `task_queues can't go with the role worker in "*"`)
		}
	}
	if !worker {
		r.report(n.Line, "give it the role worker, or remove the line", "task_queues says nothing without the role worker")
	}
}

// grants reads "NAMESPACE: ROLE" or "NAMESPACE: [ROLE, ROLE]" lines.
func (r *rolesReader) grants(e *entry, n *yaml.Node) {
	r.pairs(n, "roles", func(key, value *yaml.Node) {
		if key.Value != everyNamespace && !isNamespaceName(key.Value) {
			r.report(key.Line, `use letters, digits, ".", "_" and "-", or "*" for all`, "%q can't be a namespace", key.Value)
			return
		}
		if value.Kind == yaml.SequenceNode {
			r.each(value, "roles of "+key.Value, func(n *yaml.Node) {
				e.grants = append(e.grants, roleGrant{key.Value, r.role(n)})
			})
			return
		}
		e.grants = append(e.grants, roleGrant{key.Value, r.role(value)})
	})
}

func (r *rolesReader) role(n *yaml.Node) Role {
	value := r.text(n, "role")
	if value == "" || slices.Contains(leastFirst, Role(value)) {
		return Role(value)
	}
	names := []string{"read", "write", "worker", "approver", "admin"}
	fix := "roles are read, write, worker, approver and admin"
	if guess := nearest(value, names); guess != "" {
		fix = fmt.Sprintf("did you mean %q? %s", guess, fix)
	}
	r.report(n.Line, fix, "role %q is not known", value)
	return ""
}
