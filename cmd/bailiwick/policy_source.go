package main

import (
	"fmt"
	"regexp"
	"strings"
)

// source prints Cedar or YAML: tabs stay, everything else that is not printable is neutralised, comments are dim and effects coloured.
func (a *app) source(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintln(a.out, a.sourceLine(strings.TrimRight(line, "\r\n")))
	}
}

var effectWord = regexp.MustCompile(`^(permit|forbid)\b`)

func (a *app) sourceLine(line string) string {
	w := a.out
	parts := strings.Split(line, "\t")
	for i := range parts {
		parts[i] = safe(parts[i])
	}
	line = strings.Join(parts, "\t")
	switch trimmed := strings.TrimSpace(line); {
	case strings.HasPrefix(trimmed, "//"), strings.HasPrefix(trimmed, "#"):
		return w.dim(line)
	case strings.HasPrefix(trimmed, "@"):
		return w.cyan(line)
	}
	return effectWord.ReplaceAllStringFunc(line, w.effect)
}

// effect colours "permit" and "forbid".
func (t *terminal) effect(s string) string {
	if s == "forbid" {
		return t.red(s)
	}
	return t.green(s)
}
