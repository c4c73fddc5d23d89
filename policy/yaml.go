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

// yamlReader walks YAML nodes itself, because only nodes know their lines and an ignored key would be an access mistake.
type yamlReader struct {
	name     string // of the file
	problems []Problem
}

func (r *yamlReader) report(line int, fix, text string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.name, Line: line, Text: fmt.Sprintf(text, args...), Fix: fix})
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// document parses the file's one document and returns its root, or nil after reporting what is wrong.
func (r *yamlReader) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		r.report(0, `start it with "version: 1"`, "the file is empty")
		return nil
	}
	if err == nil {
		var more yaml.Node
		if next := dec.Decode(&more); next == nil {
			r.report(more.Line, "remove the --- and what follows", "a second document begins here")
			return nil
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
		return nil
	}
	return doc.Content[0]
}

// version checks the integer version of the file's format.
func (r *yamlReader) version(root, version *yaml.Node) {
	if version == nil {
		if len(r.problems) == 0 {
			r.report(root.Line, `add "version: 1" at the top`, "the version is missing")
		}
	} else if version.Kind != yaml.ScalarNode || version.Value != rolesVersion {
		r.report(version.Line, `this build reads version 1: write "version: 1"`, "version %q is not known", version.Value)
	}
}

func (r *yamlReader) text(n *yaml.Node, what string) string {
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

func (r *yamlReader) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		r.report(n.Line, "write true or false", "%s must be true or false", what)
		return false
	}
	return n.Value == "true"
}

func (r *yamlReader) mapping(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) {
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

func (r *yamlReader) pairs(n *yaml.Node, what string, f func(key, value *yaml.Node)) {
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

func (r *yamlReader) each(n *yaml.Node, what string, f func(*yaml.Node)) {
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
