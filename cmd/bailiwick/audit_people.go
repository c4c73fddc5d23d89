package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
)

// mostRead is how many entries a summary reads at most; it says so when there are more.
const mostRead = 100_000

// touch is what one person or service did to a workflow.
type touch struct {
	Who       string         `json:"who"`
	Principal string         `json:"principal,omitempty"`
	Agents    []string       `json:"agents,omitempty"` // that acted for them
	Actions   map[string]int `json:"actions"`
	Allowed   int            `json:"allowed"`
	Refused   int            `json:"refused"`
	First     time.Time      `json:"first"`
	Last      time.Time      `json:"last"`
	Reasons   []string       `json:"reasons,omitempty"`
	Decisions []string       `json:"decisions"` // ids, the oldest first, at most 100
}

func (a *app) auditWhoTouchedCommand() *cobra.Command {
	var f indexFlags
	var namespace, since, until string
	var all bool
	c := &cobra.Command{
		Use:   "who-touched WORKFLOW",
		Short: "Show everyone who did, or tried, something to a workflow",
		Long: `Show everyone who did, or tried to do, something to a workflow: how often and when, what was refused, the reasons that they stated, and the agents
that acted for them. What workers do with its tasks is left out unless --all is given.

WORKFLOW is a workflow id; one that ends in * stands for all that begin so. Calls that name a workflow only among others, such as a batch, count.`,
		Example: `  bailiwick audit who-touched ship-2026-11-23
  bailiwick audit who-touched 'payout-*' --namespace payments --since 30d
  bailiwick audit who-touched ship-2026-11-23 --json | jq '.people[] | {who, refused}'`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q := index.Filter{Workflow: args, Oldest: true}
			if namespace != "" {
				q.Namespace = []string{namespace}
			}
			if !all {
				q.NotAccess = []string{"work"}
			}
			if args[0] == "" || args[0] == "*" {
				return badUsage(c, "name a workflow id, or the beginning of some and *")
			}
			if err := timeRange(c, since, until, time.Now(), &q); err != nil {
				return err
			}
			return a.whoTouched(c.Context(), f, args[0], q)
		},
	}
	f.register(c)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only in this namespace")
	c.Flags().StringVar(&since, "since", "", "from then on: 90m, 24h, 7d, 2026-11-23, or 2026-11-23T09:00:00Z")
	c.Flags().StringVar(&until, "until", "", "before then, written likewise")
	c.Flags().BoolVar(&all, "all", false, "also what workers do with its tasks")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

// read goes through all pages, up to mostRead entries.
func (x *openedIndex) read(ctx context.Context, q index.Filter, each func(index.Row)) (cut bool, err error) {
	q.Limit = 1000
	for n := 0; ; {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return false, err
		}
		for _, r := range rows {
			each(r)
		}
		if n += len(rows); next == "" || n >= mostRead {
			return next != "", nil
		}
		q.Cursor = next
	}
}

func (a *app) whoTouched(ctx context.Context, f indexFlags, workflow string, q index.Filter) error {
	x, err := a.syncedIndex(ctx, f)
	if err != nil {
		return err
	}
	defer x.Close()
	byPrincipal := map[string]*touch{}
	cut, err := x.read(ctx, q, func(r index.Row) {
		e := r.Entry
		t := byPrincipal[e.Actor.Principal]
		if t == nil {
			t = &touch{Who: cmp.Or(e.Actor.Login, e.Actor.Principal, "nobody"), Principal: e.Actor.Principal, Actions: map[string]int{}, First: e.Time}
			byPrincipal[e.Actor.Principal] = t
		}
		t.add(e)
	})
	if err != nil {
		return err
	}
	people := slices.SortedFunc(maps.Values(byPrincipal), func(a, b *touch) int { return a.First.Compare(b.First) })
	if a.asJSON {
		return a.out.json(struct {
			Workflow string   `json:"workflow"`
			People   []*touch `json:"people"`
			Cut      bool     `json:"cut,omitempty"` // there are more entries than were read
		}{workflow, slices.Concat([]*touch{}, people), cut})
	}
	if len(people) == 0 {
		fmt.Fprintf(a.errs, "nobody touched a workflow with the id %q, as far as this log knows\n", safe(workflow))
		return nil
	}
	var rows [][]string
	for _, t := range people {
		refused := ""
		if t.Refused > 0 {
			refused = a.out.red(fmt.Sprintf("%d refused", t.Refused))
		}
		by := clip(safe(t.Who), 40)
		if len(t.Agents) > 0 {
			by += " by " + clip(list(t.Agents), 40)
		}
		rows = append(rows, []string{a.out.bold(by), clip(counts(t.Actions), 70), refused,
			t.First.Local().Format("2006-01-02 15:04:05"), t.Last.Local().Format("2006-01-02 15:04:05"), clip(safe(strings.Join(t.Reasons, "; ")), 60)})
	}
	a.out.rows([]string{"WHO", "DID", "", "FIRST", "LAST", "REASONS"}, rows)
	if cut {
		fmt.Fprintf(a.errs, "%s only the first %d entries were read; narrow it with --since and --until\n", a.errs.yellow("note:"), mostRead)
	}
	return nil
}

func (t *touch) add(e audit.Entry) {
	t.Actions[cmp.Or(e.Action, string(e.Kind))]++
	if e.Time.Before(t.First) {
		t.First = e.Time
	}
	if e.Time.After(t.Last) {
		t.Last = e.Time
	}
	if e.Decision != nil && e.Decision.Allow {
		t.Allowed++
	} else if e.Decision != nil {
		t.Refused++
	}
	for _, agent := range e.Actor.Actors {
		if !slices.Contains(t.Agents, agent) {
			t.Agents = append(t.Agents, agent)
		}
	}
	if e.Reason != "" && !slices.Contains(t.Reasons, e.Reason) && len(t.Reasons) < 20 {
		t.Reasons = append(t.Reasons, e.Reason)
	}
	if len(t.Decisions) < 100 {
		t.Decisions = append(t.Decisions, e.ID)
	}
}

// counts writes actions with how often, the most frequent first.
func counts(actions map[string]int) string {
	names := slices.SortedFunc(maps.Keys(actions), func(a, b string) int { return cmp.Or(actions[b]-actions[a], strings.Compare(a, b)) })
	for i, n := range names {
		if actions[n] > 1 {
			names[i] = fmt.Sprintf("%s ×%d", safe(n), actions[n])
		} else {
			names[i] = safe(n)
		}
	}
	return strings.Join(names, ", ")
}

func (a *app) auditTimelineCommand() *cobra.Command {
	var f indexFlags
	var since, until, namespace string
	var all bool
	var limit int
	c := &cobra.Command{
		Use:   "timeline USER",
		Short: "Show what a person, service or agent did, in order",
		Long: `Show what a person, service or agent did or tried, in the order of the log, with what was refused and where it came from: the last seven days
unless --since says otherwise. USER is a login, a principal or an agent's name; agents that acted for a person are part of the person's timeline.

Task polling and task answers are left out unless --all is given.`,
		Example: `  bailiwick audit timeline alice@acme.example
  bailiwick audit timeline release-agent --since 24h
  bailiwick audit timeline 'client:https://acme.okta.com|0oadeployworker' --all --json | jq '.entries[].action'`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			q := index.Filter{Actor: args, Oldest: true}
			if args[0] == "" {
				return badUsage(c, "name a login, a principal or an agent")
			}
			if limit < 1 || limit > mostRead {
				return badUsage(c, "--limit is %d; 1 to %d are possible", limit, mostRead)
			}
			if namespace != "" {
				q.Namespace = []string{namespace}
			}
			if !all {
				q.NotAccess = []string{"work"}
			}
			if err := timeRange(c, since, until, time.Now(), &q); err != nil {
				return err
			}
			return a.timeline(c.Context(), f, args[0], q, limit)
		},
	}
	f.register(c)
	c.Flags().StringVar(&since, "since", "7d", "from then on: 90m, 24h, 7d, 2026-11-23, or 2026-11-23T09:00:00Z; empty: from the beginning")
	c.Flags().StringVar(&until, "until", "", "before then, written likewise")
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only in this namespace")
	c.Flags().BoolVar(&all, "all", false, "also task polling and task answers")
	c.Flags().IntVarP(&limit, "limit", "l", 1000, "entries at most; of more, the latest")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

func (a *app) timeline(ctx context.Context, f indexFlags, user string, q index.Filter, limit int) error {
	x, err := a.syncedIndex(ctx, f)
	if err != nil {
		return err
	}
	defer x.Close()
	sealed, err := x.sealedSize()
	if err != nil {
		return err
	}
	// The latest are wanted, in the order of the log.
	q.Oldest = false
	var found []index.Row
	more := false
	for q.Limit = min(limit, 1000); ; {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return err
		}
		found = append(found, rows...)
		if more = next != ""; !more || len(found) >= limit {
			break
		}
		q.Cursor, q.Limit = next, min(limit-len(found), 1000)
	}
	slices.Reverse(found)
	entries := records(found, sealed)
	if a.asJSON {
		return a.out.json(struct {
			User    string    `json:"user"`
			Since   time.Time `json:"since,omitzero"`
			Until   time.Time `json:"until,omitzero"`
			More    bool      `json:"more,omitempty"` // there are earlier entries than these
			Entries []record  `json:"entries"`
		}{user, q.From, q.To, more, entries})
	}
	if len(entries) == 0 {
		fmt.Fprintf(a.errs, "%s did nothing that this log knows of in that time\n", safe(user))
		return nil
	}
	if more {
		fmt.Fprintf(a.errs, "%s earlier entries are not shown; see --limit\n", a.errs.dim("…"))
	}
	day, source := "", ""
	refused, sources, tokens := 0, map[string]bool{}, map[string]bool{}
	for _, r := range entries {
		e := r.Entry
		if d := e.Time.Local().Format("Monday, 2 January 2006"); d != day {
			fmt.Fprintln(a.out, a.out.bold(d))
			day, source = d, ""
		}
		if e.Source != source {
			fmt.Fprintf(a.out, "  %s\n", a.out.dim("from "+cmp.Or(safe(e.Source), "an unknown address")))
			source = e.Source
		}
		a.timelineEntry(r)
		if e.Decision != nil && !e.Decision.Allow {
			refused++
		}
		sources[e.Source], tokens[e.Actor.TokenID] = true, true
	}
	fmt.Fprintln(a.out, a.out.dim(fmt.Sprintf("%d entries, %d refused, with %d tokens from %d addresses", len(entries), refused, len(tokens), len(sources))))
	return nil
}

func (a *app) timelineEntry(r record) {
	w, e := a.out, r.Entry
	mark := w.cyan("·")
	if e.Decision != nil {
		mark = w.green("✓")
		if !e.Decision.Allow {
			mark = w.red("✗")
		}
	}
	line := fmt.Sprintf("  %s %s %s %s", w.dim(e.Time.Local().Format("15:04:05")), mark, safe(cmp.Or(e.Action, string(e.Kind))), w.bold(target(e)))
	if len(e.Actor.Actors) > 0 {
		line += " by " + list(e.Actor.Actors)
	}
	if e.Decision != nil && !e.Decision.Allow {
		line += "  " + w.red(safe(string(e.Decision.Code)))
	}
	if e.Reason != "" {
		line += "  " + w.dim("“"+clip(safe(e.Reason), 80)+"”")
	}
	fmt.Fprintln(w, line)
}
