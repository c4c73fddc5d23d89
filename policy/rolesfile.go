package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// RolesFile is the name of the mapping's file in a policy directory.
const RolesFile = "roles.yaml"

// rolesVersion is the integer version of the file's format. History: 1 (2026-11) first.
const rolesVersion = "1"

// rolesReader walks the YAML nodes itself, because only nodes know their lines and an ignored key here would be an access mistake.
type rolesReader struct{ problems []Problem }

func (r *rolesReader) report(line int, fix, text string, args ...any) {
	r.problems = append(r.problems, Problem{File: RolesFile, Line: line, Text: fmt.Sprintf(text, args...), Fix: fix})
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// parseRoles reads roles.yaml. With any problem the mapping must not be used.
func parseRoles(data []byte) (m *rolemap, problems []Problem) {
	r := &rolesReader{}
	m = &rolemap{groups: map[string][]entry{}, clients: map[string][]entry{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		r.report(0, `start it with "version: 1"`, "the file is empty")
		return m, r.problems
	}
	if err == nil {
		var more yaml.Node
		if next := dec.Decode(&more); next == nil {
			r.report(more.Line, "remove the --- and what follows", "a second document begins here")
			return m, r.problems
		} else if !errors.Is(next, io.EOF) {
			err = next
		}
	}
	if err != nil {
		text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
		if at := yamlLine.FindStringSubmatch(text); at != nil {
			line, _ = strconv.Atoi(at[1])
			text = strings.Replace(text, at[0], "", 1)
		}
		r.report(line, "check indentation, colons and quotes near this line", "not YAML: %s", text)
		return m, r.problems
	}
	r.file(m, doc.Content[0])
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
	})
	if version == nil {
		if len(r.problems) == 0 {
			r.report(root.Line, `add "version: 1" at the top`, "the version is missing")
		}
	} else if version.Kind != yaml.ScalarNode || version.Value != rolesVersion {
		r.report(version.Line, `this build reads version 1: write "version: 1"`, "version %q is not known", version.Value)
	}
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
	names := []string{"read", "write", "worker", "admin"}
	fix := "roles are read, write, worker and admin"
	if guess := nearest(value, names); guess != "" {
		fix = fmt.Sprintf("did you mean %q? %s", guess, fix)
	}
	r.report(n.Line, fix, "role %q is not known", value)
	return ""
}

func (r *rolesReader) text(n *yaml.Node, what string) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.report(n.Line, "write one value after the colon", "%s must be a text", what)
	case n.Tag != "!!str":
		r.report(n.Line, "put it in quotes", "%s must be a text, %s is read as something else", what, n.Value)
	case n.Value == "":
		r.report(n.Line, "fill it in or remove the line", "%s is empty", what)
	case strings.ContainsFunc(n.Value, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.report(n.Line, "type it again by hand", "%s %q has characters that can't be seen", what, n.Value)
	default:
		return n.Value
	}
	return ""
}

func (r *rolesReader) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		r.report(n.Line, "write true or false", "%s must be true or false", what)
		return false
	}
	return n.Value == "true"
}

func (r *rolesReader) mapping(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) {
	r.pairs(n, what, func(key, value *yaml.Node) {
		if read := fields[key.Value]; read != nil {
			read(value)
			return
		}
		names := make([]string, 0, len(fields))
		for name := range fields {
			names = append(names, name)
		}
		slices.Sort(names)
		fix := "known here: " + strings.Join(names, ", ")
		if guess := nearest(key.Value, names); guess != "" {
			fix = fmt.Sprintf("did you mean %q? %s", guess, fix)
		}
		r.report(key.Line, fix, "%q is not a key of %s", key.Value, what)
	})
}

func (r *rolesReader) pairs(n *yaml.Node, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.report(n.Line, "write key: value lines", "%s must be a mapping", what)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Alias != nil || value.Kind == yaml.AliasNode || value.Anchor != "" || key.Tag == "!!merge" {
			r.report(key.Line, "write the value out", "anchors, aliases and merge keys are not read")
			continue
		}
		if first, again := seen[key.Value]; again {
			r.report(key.Line, fmt.Sprintf("it is already on line %d: keep one", first), "%q is there twice", key.Value)
			continue
		}
		seen[key.Value] = key.Line
		f(key, value)
	}
}

func (r *rolesReader) each(n *yaml.Node, what string, f func(*yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "groups:" with nothing under it
	}
	if n.Kind != yaml.SequenceNode {
		r.report(n.Line, `begin each item with "- "`, "%s must be a list", what)
		return
	}
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode || item.Anchor != "" {
			r.report(item.Line, "write the value out", "anchors, aliases and merge keys are not read")
			continue
		}
		f(item)
	}
}
