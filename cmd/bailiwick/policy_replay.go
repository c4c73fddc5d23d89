package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/replay"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// replayFlags are the flags of `policy replay`.
type replayFlags struct {
	logs                          logFlags
	draft, base, since, namespace string
	examples                      int
	exitCode                      bool
}

func (a *app) policyReplayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay --draft DIR",
		Short: "Put a draft to what people really did: what would change?",
		Long: `Decide every call of the audit log again by a draft, and tell which would have gone otherwise: who would have been refused what they did, and who
would have been let through. Entries hold all that policies look at (groups, login time and strength, reason, resource), so that a replay needs
no server and no identity provider.

A draft is compared with what was decided then, whichever policies were in force; with --base, with another directory. Calls refused before a
policy was asked, such as those with an expired token, are left out and counted.`,
		Example: `  bailiwick policy replay --draft draft/ --since 7d
  bailiwick policy replay --draft draft/ --base policies/ --namespace payments
  bailiwick policy replay --draft draft/ --json | jq '.changes[] | select(.kind == "refused") | .people[].login'
  bailiwick policy replay --draft draft/ --log /backup/log --exit-code          # in CI: fails if anything changes`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.draft == "" {
				return badUsage(c, "--draft DIR is needed: the policies to try")
			}
			if f.examples < 1 {
				return badUsage(c, "--examples is %d; 1 or more are possible", f.examples)
			}
			since, err := ago(c, f.since)
			if err != nil {
				return err
			}
			r, err := a.replay(c.Context(), f, since)
			if err != nil {
				return err
			}
			if a.asJSON {
				if err := a.out.json(r); err != nil {
					return err
				}
			} else {
				a.showReplay(r, f)
			}
			if f.exitCode && !r.OK() {
				return &coded{Code: "policy_changes", Text: fmt.Sprintf("%d calls would have been refused and %d allowed", r.Refused, r.Allowed)}
			}
			return nil
		},
	}
	f.logs.register(c)
	c.Flags().StringVarP(&f.draft, "draft", "d", "", "policy directory to try")
	c.Flags().StringVar(&f.base, "base", "", "compare with what this directory decides, instead of with what was decided")
	c.Flags().StringVar(&f.since, "since", "", "only calls since then: a duration such as 24h or 7d, or a time such as 2026-11-20")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "", "only this namespace")
	c.Flags().IntVar(&f.examples, "examples", 3, "how many decisions to name for each change")
	c.Flags().BoolVar(&f.exitCode, "exit-code", false, "exit with 1 if any call would have gone otherwise")
	must(c.MarkFlagDirname("draft"))
	must(c.MarkFlagDirname("base"))
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

// ago reads a time, or a duration before now; an empty text is the zero time.
func ago(c *cobra.Command, text string) (time.Time, error) {
	if d, err := duration(text); err == nil && text != "" {
		if d < 0 {
			return time.Time{}, badUsage(c, "--since is %q; a duration goes back by itself, without a sign", text)
		}
		return time.Now().Add(-d), nil
	}
	return moment(c, "since", text, time.Time{})
}

func (a *app) replay(ctx context.Context, f replayFlags, since time.Time) (replay.Report, error) {
	var none replay.Report
	draft, _, err := a.policySet(f.draft)
	if err != nil {
		return none, err
	}
	cfg := replay.Config{Draft: draft, Examples: f.examples}
	if f.base != "" {
		if cfg.Base, _, err = a.policySet(f.base); err != nil {
			return none, err
		}
	}
	log, journals, _, err := a.dirs(f.logs)
	if err != nil {
		return none, err
	}
	again := replay.New(cfg)
	unread := 0
	for r, err := range scan(ctx, tiles.ScanConfig{Log: log, Journals: journals}) {
		if err != nil && r.Raw == nil {
			return none, err
		}
		switch {
		case err != nil:
			unread++
		case r.Entry.Time.Before(since), f.namespace != "" && r.Entry.Resource.Namespace != f.namespace:
		default:
			again.Add(r.Entry)
		}
		if a.errs.tty && !a.asJSON && r.Index%10_000 == 9_999 {
			fmt.Fprintf(a.errs, "\r\x1b[K%d entries", r.Index+1)
		}
	}
	if a.errs.tty && !a.asJSON {
		fmt.Fprint(a.errs, "\r\x1b[K")
	}
	if unread > 0 {
		fmt.Fprintf(a.errs, "%s %s of the log can't be read and %s left out (run: bailiwick audit verify)\n", a.errs.yellow("note:"), some(unread, "entry"), map[bool]string{true: "is", false: "are"}[unread == 1])
	}
	return again.Report(), nil
}

func (a *app) showReplay(r replay.Report, f replayFlags) {
	w := a.out
	against := "what was decided"
	if f.base != "" {
		against = safe(f.base)
	}
	if r.Calls == 0 {
		fmt.Fprintln(w, w.yellow("No call in the log was decided by policy")+since(f.since)+".")
		return
	}
	fmt.Fprintf(w, "%s of %s to %s, decided again by %s and compared with %s:\n", w.bold(some(r.Calls, "call")),
		r.From.Local().Format("2006-01-02 15:04"), r.To.Local().Format("2006-01-02 15:04"), w.bold(safe(f.draft)), against)
	count := func(n int, text string, paint func(string) string) {
		if n > 0 {
			fmt.Fprintf(w, "  %s %s\n", paint(fmt.Sprintf("%7d", n)), text)
		}
	}
	plain := func(s string) string { return s }
	count(r.Refused, "were allowed and would be refused", w.red)
	count(r.Allowed, "were refused and would be allowed", w.green)
	count(r.Reason, "would be refused for another reason", w.yellow)
	count(r.Same, "the same", plain)
	for _, why := range sortedKeys(r.Skipped) {
		count(r.Skipped[why], "left out: "+safe(why), w.dim)
	}
	if r.Partial > 0 {
		fmt.Fprintf(w, "  %s\n", w.dim(fmt.Sprintf("of those allowed, %d are calls of several acts that the log names in part: the rest may still be refused", r.Partial)))
	}
	if r.OK() && r.Reason == 0 {
		fmt.Fprintln(w, w.green("Nothing changes."))
		return
	}
	heads := map[replay.Kind]string{replay.Refused: w.red("Would be refused"), replay.Allowed: w.green("Would be allowed"), replay.Reason: w.yellow("Would be refused for another reason")}
	var last replay.Kind
	for _, c := range r.Changes {
		if c.Kind != last {
			fmt.Fprintln(w, "\n"+w.bold(heads[c.Kind]))
			last = c.Kind
		}
		a.showChange(c)
	}
	fmt.Fprintln(w, "\n"+w.dim("Ask why: bailiwick policy explain --decision ID --policies "+shellWord(f.draft)))
}

func since(text string) string {
	if text == "" {
		return ""
	}
	return " since " + safe(text)
}

func (a *app) showChange(c replay.Change) {
	w := a.out
	action := safe(c.Action)
	if c.Act != "" {
		action += " (" + safe(c.Act) + " in it)"
	}
	fmt.Fprintf(w, "%s %s in %s", w.bold(fmt.Sprintf("%5d×", c.Count)), w.bold(action), safe(cmp.Or(c.Namespace, "the cluster")))
	switch c.Kind {
	case replay.Allowed:
		fmt.Fprintf(w, "  %s\n", w.dim("was "+safe(string(c.Before))+", now permitted by "+list(c.Policies)))
	default:
		text := string(c.Before) + " → " + string(c.After)
		if len(c.Policies) > 0 {
			text += " by " + strings.Join(c.Policies, ", ")
		}
		if c.Missing != "" {
			text += ", missing: " + c.Missing
		}
		fmt.Fprintf(w, "  %s\n", w.dim(safe(text)))
	}
	for _, reason := range c.Reasons {
		if strings.HasPrefix(reason, "forbidden by policy ") {
			continue // said already
		}
		fmt.Fprintf(w, "         “%s”\n", safe(reason))
	}
	var people []string
	for i, p := range c.People {
		if i == 5 {
			people = append(people, fmt.Sprintf("and %d more", len(c.People)-i))
			break
		}
		people = append(people, fmt.Sprintf("%s (%d)", safe(cmp.Or(p.Login, p.Principal)), p.Count))
	}
	fmt.Fprintf(w, "         %s\n", strings.Join(people, ", "))
	for _, e := range c.Examples {
		fmt.Fprintf(w, "         %s %s %s\n", w.cyan(safe(e.Decision)), w.dim(e.Time.Local().Format("01-02 15:04:05")), safe(clip(cmp.Or(e.Login, "nobody")+" "+place(e.Resource), 100)))
	}
}

// place names the narrowest thing in a resource.
func place(r policy.Resource) string {
	return cmp.Or(r.WorkflowID, r.ScheduleID, r.TaskQueue, r.Endpoint, r.Namespace)
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
