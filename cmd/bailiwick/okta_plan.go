package main

import (
	"fmt"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// showPlan prints a plan as people like to read a difference: what comes with +, what changes with ~ and from → to, what stays with =, what an admin narrowed with <.
func (a *app) showPlan(p *oktasetup.Plan, all bool) {
	w := a.out
	fmt.Fprintf(w, "%s %s at %s\n\n", w.bold("Set-up of"), w.bold(safe(p.Name)), safe(p.Org))
	kind := ""
	for _, item := range p.Items {
		if item.Action == oktasetup.Keep && !all && !a.notable(item) {
			continue
		}
		if item.Kind != kind {
			kind = item.Kind
			fmt.Fprintln(w, w.dim(kind))
		}
		sign, paint := signOf(w, item.Action)
		line := fmt.Sprintf("  %s %s", paint(sign), paint(safe(item.Name)))
		if item.Action == oktasetup.Create {
			line += "  " + w.dim(safe(item.Why))
		}
		if item.ID != "" && item.Action != oktasetup.Keep {
			line += "  " + w.dim(safe(item.ID))
		}
		fmt.Fprintln(w, line)
		if item.Note != "" {
			fmt.Fprintf(w, "      %s\n", w.yellow(safe(item.Note)))
		}
		if item.Adopted {
			fmt.Fprintf(w, "      %s\n", w.yellow("somebody else's: taken over, as told"))
		}
		for _, c := range item.Changes {
			a.showSetting(c)
		}
	}
	if p.Nothing() {
		fmt.Fprintf(w, "%s\n", w.green("Nothing to do."))
	}
	fmt.Fprintf(w, "\n%s\n", summary(p))
	if p.Count(oktasetup.Narrowed) > 0 || hasLeft(p) {
		fmt.Fprintf(w, "%s\n", w.dim("What an admin narrowed (<) stays; --widen gives it back."))
	}
}

// notable reports whether something that stays is worth a line all the same: somebody else's group gives its members a role.
func (*app) notable(i oktasetup.Item) bool { return i.Note != "" && i.Kind == "group" }

func (a *app) showSetting(c oktasetup.Change) {
	w := a.out
	mark := ""
	switch {
	case c.Left:
		mark = w.cyan("  stays: narrowed by an admin")
	case c.Widens:
		mark = w.yellow("  widens")
	}
	from, to := safe(c.From), safe(c.To)
	if len(from)+len(to) > 60 {
		fmt.Fprintf(w, "      %s:%s\n        %s %s\n        %s %s\n", c.Setting, mark, w.red("-"), from, w.green("+"), to)
		return
	}
	fmt.Fprintf(w, "      %s: %s → %s%s\n", c.Setting, w.red(from), w.green(to), mark)
}

func signOf(w *terminal, a oktasetup.Action) (string, func(string) string) {
	switch a {
	case oktasetup.Create:
		return "+", w.green
	case oktasetup.Alter:
		return "~", w.yellow
	case oktasetup.Narrowed:
		return "<", w.cyan
	case oktasetup.Conflict:
		return "!", w.red
	}
	return "=", w.dim
}

func hasLeft(p *oktasetup.Plan) bool {
	for _, i := range p.Items {
		for _, c := range i.Changes {
			if c.Left {
				return true
			}
		}
	}
	return false
}

// summary counts.
func summary(p *oktasetup.Plan) string {
	var parts []string
	for _, row := range []struct {
		action oktasetup.Action
		text   string
	}{{oktasetup.Create, "+ %d to create"}, {oktasetup.Alter, "~ %d to change"}, {oktasetup.Keep, "= %d as they should be"}, {oktasetup.Narrowed, "< %d narrowed by an admin"}, {oktasetup.Conflict, "! %d of somebody else's in the way"}} {
		if n := p.Count(row.action); n > 0 {
			parts = append(parts, fmt.Sprintf(row.text, n))
		}
	}
	return strings.Join(parts, ", ")
}
