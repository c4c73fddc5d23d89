package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// printEntry prints one line.
func (a *app) printEntry(r record) error {
	if a.asJSON {
		return a.out.json(r)
	}
	w := a.out
	e := r.Entry
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", w.dim(e.Time.Local().Format("01-02 15:04:05")))
	switch {
	case e.Decision == nil:
		fmt.Fprintf(&b, "%s %s %s", w.cyan("·"), string(e.Kind), safe(details(e)))
		fmt.Fprintln(w, b.String())
		return nil
	case e.Decision.Allow:
		b.WriteString(w.green("✓ "))
	default:
		b.WriteString(w.red("✗ "))
	}
	fmt.Fprintf(&b, "%-22s %-26s %s", clip(who(e.Actor), 40), safe(e.Action), w.bold(target(e)))
	if e.Reason != "" {
		fmt.Fprintf(&b, "  %s", w.dim("“"+clip(safe(e.Reason), 80)+"”"))
	}
	if !e.Decision.Allow {
		fmt.Fprintf(&b, "  %s", w.red(safe(string(e.Decision.Code))))
		if e.Decision.Missing != "" {
			fmt.Fprintf(&b, " %s", w.dim("missing: "+safe(e.Decision.Missing)))
		}
	}
	fmt.Fprintln(w, b.String())
	return nil
}

func who(p audit.Party) string {
	switch {
	case p.Login != "":
		return safe(p.Login)
	case p.Principal != "":
		return safe(p.Principal)
	}
	return "nobody"
}

// target names the narrowest thing that an entry is about.
func target(e audit.Entry) string {
	r := e.Resource
	parts := []string{r.Namespace}
	for _, p := range []string{r.WorkflowID, r.ScheduleID, r.TaskQueue, r.Endpoint} {
		if p != "" {
			parts = append(parts, p)
			break
		}
	}
	s := strings.Trim(strings.Join(parts, "/"), "/")
	for _, p := range []string{r.Signal, r.Update, r.Query} {
		if p != "" {
			s += " " + p
		}
	}
	if r.WorkflowType != "" {
		s += " (" + r.WorkflowType + ")"
	}
	return clip(safe(s), 100)
}

func details(e audit.Entry) string {
	var b strings.Builder
	for _, k := range []string{"event", "policy_digest", "error_digest", "attestation_key"} {
		if v := e.Detail[k]; v != "" {
			fmt.Fprintf(&b, "%s=%s ", k, clip(v, 16))
		}
	}
	return strings.TrimSpace(b.String())
}

func (a *app) auditShowCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show one entry of the log: a decision's id, its beginning, or an index",
		Long: `Show one entry of the log. ID is its id, its index in the log, or the beginning of its id: at least 8 characters, and as many as make it the
only one. Ids begin with the time, so those of the same minute share their first 8 characters and those of the same millisecond their first 13; when
several entries begin alike, they are listed.`,
		Example: `  bailiwick audit show 01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c11
  bailiwick audit show 142`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.findEntry(c.Context(), f, args[0])
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(r)
			}
			a.showEntry(r)
			field(a.out, "login", safe(a.behind(c.Context(), f, r)))
			return nil
		},
	}
	f.register(c)
	return c
}

func (a *app) findEntry(ctx context.Context, f logFlags, id string) (record, error) {
	log, journals, _, err := a.dirs(f)
	if err != nil {
		return record{}, err
	}
	var found []record
	for r, err := range scan(ctx, tiles.ScanConfig{Log: log, Journals: journals}) {
		if err != nil && r.Raw == nil {
			return record{}, err
		}
		if fmt.Sprint(r.Index) == id || r.Entry.ID == id {
			return record{r.Index, r.Sealed, r.Entry}, nil
		}
		if len(id) >= minPrefix && strings.HasPrefix(r.Entry.ID, id) {
			found = append(found, record{r.Index, r.Sealed, r.Entry})
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return record{}, unknownEntry(id)
	}
	return record{}, ambiguous(id, found)
}

func unknownEntry(id string) error {
	fix := "see `bailiwick audit tail --all`"
	if len(id) < minPrefix {
		fix += fmt.Sprintf("; of an id, at least the first %d characters are needed", minPrefix)
	}
	return &coded{Code: "entry_unknown", Text: fmt.Sprintf("no entry %q in the log", id), Fix: fix}
}

// minPrefix is how much of an id stands for it, when it is the only one that begins so.
const minPrefix = 8

// ambiguous lists what an id could be, and how much more of it tells them apart.
func ambiguous(id string, found []record) error {
	var lines []string
	need := len(id)
	for i, r := range found {
		if i < 5 {
			lines = append(lines, fmt.Sprintf("  %d  %s  %s %s", r.Index, safe(r.ID), safe(r.Action+map[bool]string{true: string(r.Kind)}[r.Action == ""]), target(r.Entry)))
		}
		for _, other := range found[:i] {
			n := 0
			for n < min(len(r.ID), len(other.ID)) && r.ID[n] == other.ID[n] {
				n++
			}
			need = max(need, n+1)
		}
	}
	if len(found) > 5 {
		lines = append(lines, fmt.Sprintf("  and %d more", len(found)-5))
	}
	return &coded{Code: "entry_ambiguous", Text: fmt.Sprintf("%d entries begin with %q:\n%s", len(found), id, strings.Join(lines, "\n")),
		Fix: fmt.Sprintf("give the first %d characters, or the entry's index", need)}
}

func (a *app) showEntry(r record) {
	w, e := a.out, r.Entry
	row := func(k, v string) { field(w, k, v) }
	row("entry", fmt.Sprintf("%d, %s", r.Index, map[bool]string{true: "sealed in the log", false: "in the journal, not sealed yet"}[r.Sealed]))
	row("id", safe(e.ID))
	row("time", e.Time.Local().Format("2006-01-02 15:04:05.000 MST"))
	row("kind", safe(string(e.Kind)))
	row("gate", safe(e.Gate))
	row("who", w.bold(who(e.Actor)))
	row("principal", safe(e.Actor.Principal))
	row("client", safe(e.Actor.ClientID))
	row("acting by", list(e.Actor.Actors))
	row("groups", list(e.Actor.Groups))
	row("token id", safe(e.Actor.TokenID))
	row("from", safe(e.Source))
	row("action", safe(e.Action))
	row("access", safe(e.Access))
	res := e.Resource
	for _, p := range [][2]string{{"namespace", res.Namespace}, {"type", res.WorkflowType}, {"workflow", res.WorkflowID}, {"run", res.RunID}, {"task queue", res.TaskQueue},
		{"signal", res.Signal}, {"update", res.Update}, {"query", res.Query}, {"schedule", res.ScheduleID}, {"endpoint", res.Endpoint}} {
		row(p[0], safe(p[1]))
	}
	row("reason", safe(e.Reason))
	row("grant", safe(e.Grant))
	if d := e.Decision; d != nil {
		verdict := w.green("allowed")
		if !d.Allow {
			verdict = w.red("refused") + ", " + safe(string(d.Code))
		}
		row("decision", verdict)
		row("missing", safe(d.Missing))
		row("because", list(d.Reasons))
		row("policies", list(d.Policies))
		row("policy set", safe(d.PolicyDigest))
	}
	row("request", safe(e.RequestDigest))
	for k, v := range e.Detail {
		row(safe(k), safe(v))
	}
}
