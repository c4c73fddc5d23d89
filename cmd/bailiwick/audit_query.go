package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
)

// queryFlags are what `audit query` looks for and how it prints it.
type queryFlags struct {
	indexFlags
	filter          index.Filter
	kinds           []string
	denied, allowed bool
	since, until    string
	all             bool
	format          string
}

func (a *app) auditQueryCommand() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "query",
		Short: "Search the log: by person, agent, workflow, action, decision, policy, time, reason",
		Long: `Search the log. All conditions must hold; of a flag given more than once, or with a list, one value must match; a value that ends in * matches
as a prefix. The newest entries come first.

The search index beside the log is brought up to date first. It is a projection that is made again at any time; every row shown is an entry of
the log, byte for byte, and "bailiwick audit prove ID" proves it.`,
		Example: `  bailiwick audit query --actor alice@acme.example --since 7d
  bailiwick audit query --denied --namespace payments
  bailiwick audit query --agent release-agent --action StartWorkflowExecution,SignalWorkflowExecution
  bailiwick audit query --reason "CHG-1234" --format csv > chg-1234.csv
  bailiwick audit query --workflow 'order-17*' --since 2026-11-01 --until 2026-12-01 --json | jq '.entries[].actor.login'`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.finish(c, time.Now()); err != nil {
				return err
			}
			if a.asJSON && !c.Flags().Changed("format") {
				f.format = "json"
			}
			return a.auditQuery(c.Context(), &f)
		},
	}
	f.register(c)
	fl := c.Flags()
	list := func(to *[]string, name, text string) { fl.StringSliceVar(to, name, nil, text) }
	q := &f.filter
	list(&q.Actor, "actor", "who acted or was acted for: login, principal or agent")
	list(&q.Originator, "originator", "who the call was for: login or principal")
	list(&q.Agent, "agent", "an agent or service that acted on somebody's behalf")
	list(&q.Client, "client", "client id of the application")
	list(&q.Group, "group", "a group that the caller was in")
	fl.StringSliceVarP(&q.Namespace, "namespace", "n", nil, "namespace")
	fl.StringSliceVarP(&q.Workflow, "workflow", "w", nil, "workflow id")
	list(&q.WorkflowType, "type", "workflow type")
	list(&q.Run, "run", "run id")
	list(&q.Schedule, "schedule", "schedule id")
	list(&q.TaskQueue, "task-queue", "task queue")
	list(&q.Name, "name", "name of a signal, update or query")
	list(&q.Action, "action", "API method, such as StartWorkflowExecution")
	list(&q.Access, "access", "read, operate, work or administer")
	fl.BoolVar(&f.denied, "denied", false, "only what was refused")
	fl.BoolVar(&f.allowed, "allowed", false, "only what was allowed")
	list(&q.Code, "code", "reason code, such as no_permission")
	list(&q.Policy, "policy", "id of a policy that determined the decision")
	list(&q.PolicySet, "policy-set", "digest of the policy set that decided")
	list(&q.Grant, "grant", "grant id")
	list(&q.Source, "source", "address that the call came from")
	list(&q.Token, "token", "id (jti) of the token")
	list(&q.Gate, "gate", "gate that decided")
	list(&f.kinds, "kind", "decision, policy, gate, access, revocation, directory, key, report, admin or lost")
	list(&q.ID, "id", "decision id, or its beginning and *")
	fl.StringVar(&q.Reason, "reason", "", "words of the stated reason, in any order and case")
	fl.StringVar(&f.since, "since", "", "from then on: 90m, 24h, 7d, 2026-11-23, or 2026-11-23T09:00:00Z")
	fl.StringVar(&f.until, "until", "", "before then, written likewise")
	fl.IntVarP(&q.Limit, "limit", "l", 50, "entries at most (a page); up to 10000")
	fl.StringVar(&q.Cursor, "cursor", "", "go on where a page ended")
	fl.BoolVar(&f.all, "all", false, "all pages, one after the other")
	fl.BoolVar(&q.Oldest, "oldest", false, "the oldest first")
	fl.StringVar(&f.format, "format", "table", "table, csv or json")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	must(c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "csv", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("access", cobra.FixedCompletions([]string{"read", "operate", "work", "administer", "delegate"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// finish makes the filter of what was typed.
func (f *queryFlags) finish(c *cobra.Command, now time.Time) (err error) {
	if f.denied && f.allowed {
		return badUsage(c, "--denied and --allowed exclude each other; leave both out for either")
	}
	if f.denied || f.allowed {
		f.filter.Allow = &f.allowed
	}
	switch f.format {
	case "table", "csv", "json":
	default:
		return badUsage(c, "--format is %q; use table, csv or json", f.format)
	}
	if f.filter.Limit < 1 || f.filter.Limit > 10_000 {
		return badUsage(c, "--limit is %d; 1 to 10000 are possible, and --all prints every page", f.filter.Limit)
	}
	for _, a := range f.filter.Access {
		switch a {
		case "read", "operate", "work", "administer", "delegate":
		default:
			return badUsage(c, "--access is %q; use read, operate, work, administer or delegate", a)
		}
	}
	for _, k := range f.kinds {
		f.filter.Kind = append(f.filter.Kind, audit.Kind(k))
	}
	return timeRange(c, f.since, f.until, now, &f.filter)
}

func timeRange(c *cobra.Command, since, until string, now time.Time, f *index.Filter) (err error) {
	if f.From, err = parseWhen(since, now); err != nil {
		return badUsage(c, "--since %v", err)
	}
	if f.To, err = parseWhen(until, now); err != nil {
		return badUsage(c, "--until %v", err)
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return badUsage(c, "--since is not before --until")
	}
	return nil
}

// parseWhen reads a time as people type it: how long ago, a day or a moment. Empty is the zero time.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36_500 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("is %q; write how long ago (90m, 24h, 7d), a day (2026-11-23) or a moment (2026-11-23T09:00:00Z)", s)
}

func (a *app) auditQuery(ctx context.Context, f *queryFlags) error {
	x, err := a.syncedIndex(ctx, f.indexFlags)
	if err != nil {
		return err
	}
	defer x.Close()
	sealed, err := x.sealedSize()
	if err != nil {
		return err
	}
	print := a.printerOf(f.format)
	for page := 0; ; page++ {
		rows, next, err := x.query(ctx, f.filter)
		if err != nil {
			return err
		}
		if err := print(records(rows, sealed), next, page); err != nil {
			return err
		}
		if next == "" {
			return nil
		}
		if !f.all {
			if f.format != "json" {
				fmt.Fprintf(a.errs, "%s more with --cursor %s, or all with --all\n", a.errs.dim("…"), next)
			}
			return nil
		}
		f.filter.Cursor = next
	}
}

// query tells a filter that can't be answered from a failure.
func (x *openedIndex) query(ctx context.Context, f index.Filter) ([]index.Row, string, error) {
	rows, next, err := x.Query(ctx, f)
	if errors.Is(err, index.ErrFilter) {
		return nil, "", &coded{Code: "bad_query", Text: err.Error(), Fix: "see: bailiwick audit query --help", exit: exitUsage}
	}
	if err != nil {
		return rows, next, err
	}
	return slices.DeleteFunc(rows, func(r index.Row) bool { return len(r.Raw) == 0 }), next, nil // removed by retention
}

func records(rows []index.Row, sealed uint64) []record {
	out := make([]record, len(rows))
	for i, r := range rows {
		out[i] = record{r.Index, r.Index < sealed, r.Entry}
	}
	return out
}

// printerOf returns what prints pages in a format.
func (a *app) printerOf(format string) func(page []record, next string, number int) error {
	switch format {
	case "json":
		return func(page []record, next string, _ int) error {
			return a.out.json(struct {
				Entries []record `json:"entries"`
				Next    string   `json:"next,omitempty"`
			}{page, next})
		}
	case "csv":
		return func(page []record, _ string, number int) error { return writeCSV(a.out, page, number == 0) }
	}
	return func(page []record, _ string, number int) error {
		if len(page) == 0 && number == 0 {
			fmt.Fprintln(a.errs, "nothing found")
			return nil
		}
		var rows [][]string
		for _, r := range page {
			rows = append(rows, a.tableRow(r))
		}
		a.out.rows([]string{"ENTRY", "TIME", "WHO", "ACTION", "TARGET", "DECISION", "REASON"}, rows)
		return nil
	}
}

func (a *app) tableRow(r record) []string {
	w, e := a.out, r.Entry
	if e.ID == "" {
		return []string{fmt.Sprint(r.Index), "", "", "", "", w.red("malformed"), "run: bailiwick audit verify"}
	}
	action, decision := safe(e.Action), ""
	switch {
	case e.Decision == nil:
		action, decision = w.cyan(safe(string(e.Kind))), safe(details(e))
	case e.Decision.Allow:
		decision = w.green("allowed")
	default:
		decision = w.red(safe(string(e.Decision.Code)))
	}
	by := who(e.Actor)
	if len(e.Actor.Actors) > 0 {
		by = safe(e.Actor.Actors[0]) + " for " + by
	}
	return []string{fmt.Sprint(r.Index), e.Time.Local().Format("2006-01-02 15:04:05"), clip(by, 48), action, w.bold(target(e)), decision, clip(safe(e.Reason), 60)}
}
