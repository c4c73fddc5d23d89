package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/blobs"
	"github.com/bailiwick-dev/bailiwick/internal/replay"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// explained is what `bailiwick policy explain --json` prints.
type explained struct {
	policy.Explanation
	Known    string           `json:"known"`              // where the caller's groups and the rest come from
	Set      string           `json:"set"`                // "directory DIR", or "as it decided then"
	Entry    string           `json:"entry,omitempty"`    // id of the decision explained
	Recorded *policy.Decision `json:"recorded,omitempty"` // what was decided then
	Acts     int              `json:"acts,omitempty"`     // how many acts the call had; this is the one that settled it
}

func (a *app) policyExplainCommand() *cobra.Command {
	var (
		who      whoFlags
		what     resourceFlags
		logs     logFlags
		set      policyFlags
		decision string
		all      bool
	)
	c := &cobra.Command{
		Use:   "explain [ACTION]",
		Short: "Explain one decision: what matched, what did not, and what would have allowed it",
		Long: `Ask the policies about one call and explain the answer: which policies matched, which conditions of the others failed, and what would have
allowed it. Nothing is called and nothing is recorded.

The call is described by flags, or taken from the log with --decision; then it is explained by the policies that decided it, which are kept
beside the journal, unless --policies names others. ACTION is a Temporal method, or for workflows its verb: start, signal, terminate.

The exit code is 0 whatever the decision.`,
		Example: `  bailiwick policy explain start --namespace payments --type refund
  bailiwick policy explain terminate --as bob@acme.example -n payments --id order-7 --reason "CHG-9"
  bailiwick policy explain start --group temporal:deploy:write -n deploy --auth-age 2h --time "2026-11-28 22:30" --policies draft/
  bailiwick policy explain Access.Request --as bob@acme.example -n payments --role write --for 2h
  bailiwick policy explain --decision 01936f0e
  bailiwick policy explain --decision 01936f0e --policies draft/     # what a draft would say to it`,
		Args:              usage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeActions,
		RunE: func(c *cobra.Command, args []string) error {
			var x explained
			var err error
			if who.action != "" && len(args) == 0 {
				args = []string{who.action}
			}
			switch {
			case decision != "" && len(args) > 0:
				return badUsage(c, "give ACTION or --decision, not both")
			case decision != "":
				x, err = a.explainEntry(c, logs, set, decision)
			case len(args) == 0:
				return badUsage(c, "name the action, such as start, or a --decision of the log")
			default:
				var s *policy.Set
				var req policy.Request
				if req, x.Known, err = a.request(c, who, what, logs, args[0]); err != nil {
					return err
				}
				var dir string
				if s, dir, err = a.policySet(set.dir); err != nil {
					return err
				}
				x.Explanation, x.Set = s.Explain(req), "directory "+dir
			}
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(x)
			}
			a.showExplanation(x, all)
			return nil
		},
	}
	who.register(a, c)
	what.register(a, c)
	logs.register(c)
	set.register(c)
	c.Flags().StringVar(&decision, "decision", "", "a decision of the log, by id (8 characters or more of its beginning do, if no other has them) or index")
	c.Flags().StringVar(&who.action, "action", "", "the action, if it is not given as ACTION")
	c.Flags().BoolVarP(&all, "all", "a", false, "also the policies whose conditions had nothing to say")
	must(c.RegisterFlagCompletionFunc("action", completeActions))
	return c
}

// explainEntry explains a decision of the log by the set that made it, or by the one named.
func (a *app) explainEntry(c *cobra.Command, logs logFlags, set policyFlags, id string) (x explained, err error) {
	r, err := a.findEntry(c.Context(), logs, id)
	if err != nil {
		return x, err
	}
	e := r.Entry
	q, why := replay.Ask(e)
	if why != "" {
		text := fmt.Sprintf("entry %d was not decided by policy: %s", r.Index, why)
		if e.Decision != nil && !e.Decision.Allow {
			text += " (" + string(e.Decision.Code) + ")"
		}
		return x, &coded{Code: "no_decision", Text: text, Fix: "see it with bailiwick audit show " + shellWord(id)}
	}
	x.Entry, x.Recorded, x.Known = e.ID, e.Decision, "the log, entry "+fmt.Sprint(r.Index)
	s, err := a.setOf(logs, set, e.Decision.PolicyDigest, &x)
	if err != nil {
		return x, err
	}
	_, act := q.Decide(s)
	x.Explanation = s.Explain(q.Requests[act])
	if len(q.Requests) > 1 {
		x.Acts = len(q.Requests)
	}
	return x, nil
}

// setOf finds the set to explain a recorded decision by: the one named, else the one that decided, else the context's.
func (a *app) setOf(logs logFlags, named policyFlags, digest string, x *explained) (*policy.Set, error) {
	if named.dir == "" {
		s, exact, err := a.keptSet(logs, digest)
		if err == nil {
			if x.Set = "as it decided then"; !exact {
				x.Set += ", read by another version of Bailiwick"
			}
			return s, nil
		}
		if !errors.Is(err, blobs.ErrNotFound) {
			fmt.Fprintf(a.errs, "%s %s\n", a.errs.yellow("note:"), safe(err.Error()))
		}
	}
	s, dir, err := a.policySet(named.dir)
	if err != nil {
		return nil, err
	}
	x.Set = "directory " + dir
	if named.dir == "" && s.Digest() != digest {
		fmt.Fprintf(a.errs, "%s the policies that decided it (%s) are not kept here; it is explained by %s as it is now\n", a.errs.yellow("note:"), safe(clip(digest, 12)), safe(dir))
	}
	return s, nil
}

func (a *app) showExplanation(x explained, all bool) {
	w := a.out
	d := x.Decision
	name := x.Request.Login
	if name == "" {
		name = x.Request.Principal
	}
	verdict := w.green("may")
	if !d.Allow {
		verdict = w.red("may not")
	}
	fmt.Fprintf(w, "%s %s %s%s\n", w.bold(safe(name)), verdict, w.bold(safe(x.Request.Action)), aboutResource(x.Request.Resource))
	if !d.Allow {
		field(w, "code", safe(string(d.Code)))
	}
	for _, reason := range d.Reasons {
		field(w, "because", safe(reason))
	}
	field(w, "missing", safe(d.Missing))
	next := d.Hint
	if d.Code == policy.CodeUnresolved && x.Entry == "" && !x.Request.Resource.Unresolved {
		next = "the gate would look the run up: say what it would find with --type, --task-queue and --search-attribute"
	}
	field(w, "next", safe(next))
	if len(d.Obligations) > 0 {
		field(w, "obligation", list(d.Obligations))
	}
	if len(x.Holds) == 0 {
		field(w, "holds", w.dim("no role anywhere"))
	}
	for i, h := range x.Holds {
		label := ""
		if i == 0 {
			label = "holds"
		}
		field(w, label, safe(h))
	}
	field(w, "known by", w.dim(safe(x.Known)))
	field(w, "policies", w.dim(safe(x.Set)+", "+clip(safe(d.PolicyDigest), 12)))
	if x.Recorded != nil {
		then := "allowed"
		if !x.Recorded.Allow {
			then = "refused, " + safe(string(x.Recorded.Code))
		}
		if x.Recorded.Allow != d.Allow || x.Recorded.Code != d.Code {
			then = w.yellow(then + ": these policies say otherwise")
		}
		field(w, "then", then)
	}
	if x.Acts > 1 {
		text := fmt.Sprintf("%d in this call, all of them allowed; this is the first", x.Acts)
		if !d.Allow {
			text = fmt.Sprintf("%d in this call; this one is refused, and so the call", x.Acts)
		}
		field(w, "acts", text)
	}
	if len(x.Remedies) > 0 {
		fmt.Fprintf(w, "\n%s\n", w.bold("What would allow it"))
		for _, r := range x.Remedies {
			text := safe(r.Text)
			if r.Role != "" {
				text += w.dim("  (gives " + safe(r.Role) + ")")
			}
			fmt.Fprintf(w, "  • %s\n", text)
		}
	}
	hidden := 0
	fmt.Fprintf(w, "\n%s\n", w.bold("Policies about it"))
	for _, t := range x.Policies {
		if !all && (t.Outcome == policy.NotScope || t.Outcome == policy.NotMet && (d.Allow || t.Effect == "forbid")) {
			hidden++
			continue
		}
		a.showTrace(t)
	}
	if hidden > 0 {
		fmt.Fprintln(w, w.dim(fmt.Sprintf("  %s did not apply (see them with --all)", some(hidden, "more policy"))))
	}
	if x.Others > 0 {
		fmt.Fprintln(w, w.dim(fmt.Sprintf("  %s of the set %s about other actions or resources", some(x.Others, "policy"), map[bool]string{true: "is", false: "are"}[x.Others == 1])))
	}
}

// aboutResource names what a call is about: " “deploy” in payments/order-7".
func aboutResource(r policy.Resource) string {
	var b strings.Builder
	if r.WorkflowType != "" {
		b.WriteString(" “" + r.WorkflowType + "”")
	}
	if r.Namespace != "" {
		b.WriteString(" in " + r.Namespace)
	}
	for _, p := range [][2]string{{"workflow", r.WorkflowID}, {"run", r.RunID}, {"task queue", r.TaskQueue}, {"schedule", r.ScheduleID}, {"signal", r.Signal}, {"update", r.Update}, {"query", r.Query},
		{"endpoint", r.Endpoint}, {"cron", r.Cron}, {"versioning", r.Versioning}} {
		if p[1] != "" {
			b.WriteString(", " + p[0] + " " + p[1])
		}
	}
	return safe(b.String())
}

func (a *app) showTrace(t policy.Trace) {
	w := a.out
	mark, word := w.dim("·"), w.dim("not met")
	switch t.Outcome {
	case policy.Matched:
		mark, word = w.green("✓"), w.green("matched")
		if t.Effect == "forbid" {
			mark, word = w.red("✗"), w.red("matched")
		}
	case policy.Failed:
		mark, word = w.red("!"), w.red("could not be evaluated")
	case policy.Unknown:
		mark, word = w.yellow("?"), w.yellow("depends on what the call does not tell")
	case policy.Surplus:
		word = w.dim("matched, and was outweighed")
	case policy.NotScope:
		word = w.dim("for others")
	}
	fmt.Fprintf(w, "  %s %s %s  %s  %s\n", mark, w.effect(safe(t.Effect)), w.bold(safe(t.ID)), word, w.dim(safe(fmt.Sprintf("%s:%d", t.File, t.Line))))
	if t.Reason != "" && t.Effect == "forbid" {
		fmt.Fprintf(w, "      “%s”\n", safe(t.Reason))
	}
	if t.Obligation != "" {
		fmt.Fprintf(w, "      asks for: %s\n", safe(t.Obligation))
	}
	a.showConditions(t.Conditions, 3)
}

// showConditions prints clauses and, below each, the parts that made it what it is.
func (a *app) showConditions(cs []policy.Condition, depth int) {
	w := a.out
	for _, c := range cs {
		value := safe(c.Value)
		switch c.Value {
		case "true":
			value = w.green(value)
		case "false":
			value = w.red(value)
		default:
			value = w.yellow(value)
		}
		text := strings.Join(strings.Fields(c.Text), " ")
		if c.Kind != "" && c.Kind != "scope" && !strings.HasPrefix(text, c.Kind) {
			text = c.Kind + " " + text
		}
		line := strings.Repeat("  ", depth) + safe(clip(text, 160)) + w.dim(" → ") + value
		if len(c.Saw) > 0 {
			line += w.dim("  (" + list(c.Saw) + ")")
		}
		fmt.Fprintln(w, line)
		if depth < 8 { // deeper is in --json
			a.showConditions(c.Because, depth+1)
		}
	}
}
