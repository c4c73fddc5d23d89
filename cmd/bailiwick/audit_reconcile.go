package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/reconcile"
)

// reconcileFlags say what `audit reconcile` compares.
type reconcileFlags struct {
	indexFlags
	namespaces []string
	from, to   string
	keys       string
	near       time.Duration
	rate       int
	last       bool
}

func (a *app) auditReconcileCommand() *cobra.Command {
	var f reconcileFlags
	c := &cobra.Command{
		Use:   "reconcile",
		Short: "Hold workflow histories against the log: acts with no decision behind them, decisions with no act",
		Long: `Hold the histories of workflows against the log. Each start, signal, update, cancel request, termination, pause, change of options and reset must have
a decision behind it: by the signed statement that the event carries, by the decision's id in the identity that the gate wrote on it, or, where
events keep neither, by an allowed decision about the same act at that time. An event without one is a bypass: somebody reached Temporal around the
gate. Allowed decisions that left no event are listed as orphans, with the likely cause; they are no sign of a bypass.

Histories are read through the gate, with your own rights: what you may not see is not compared. The log must be complete: a gate whose journal is
shipped late makes bypasses of what is only not here yet.

The control plane does the same every day and records it: --last shows its newest report, after a check that it is the one that was recorded.
Exit code 4 means that there are bypasses.`,
		Example: `  bailiwick audit reconcile
  bailiwick audit reconcile --namespace payments --from 7d
  bailiwick audit reconcile --last
  bailiwick audit reconcile --from 2026-11-01 --to 2026-12-01 --json | jq '.bypasses[] | {workflow_id, kind, identity}'`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.last {
				return a.lastReport(c.Context(), f.indexFlags)
			}
			return a.reconcile(c, f)
		},
	}
	f.register(c)
	c.Flags().StringArrayVarP(&f.namespaces, "namespace", "n", nil, "only this namespace; may be repeated (default: all that you may see)")
	c.Flags().StringVar(&f.from, "from", "24h", "from then on: 90m, 24h, 7d, 2026-11-23, or 2026-11-23T09:00:00Z")
	c.Flags().StringVar(&f.to, "to", "", "before then, written likewise (default: now)")
	c.Flags().StringVar(&f.keys, "keys", "", "file with the attestation keys (default: the control plane's and the log's)")
	c.Flags().DurationVar(&f.near, "near", time.Minute, "how far from a decision an event may be that names none")
	c.Flags().IntVar(&f.rate, "rate", 50, "histories read in a second")
	c.Flags().BoolVar(&f.last, "last", false, "show the newest scheduled report instead")
	for _, other := range []string{"namespace", "from", "to", "keys", "near", "rate"} {
		c.MarkFlagsMutuallyExclusive("last", other)
	}
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

func (a *app) reconcile(c *cobra.Command, f reconcileFlags) error {
	ctx := c.Context()
	if f.rate <= 0 || f.near <= 0 {
		return badUsage(c, "--rate and --near must be positive")
	}
	where, err := a.where()
	if err != nil {
		return err
	}
	keys, err := a.keys(ctx, where, f.keys)
	if err != nil {
		return err
	}
	conn, err := a.dial(ctx, where, a.namespace("", where), "")
	if err != nil {
		return err
	}
	defer conn.Close()
	now := time.Now() // before the index is brought up to date: what happens later has its decision later
	x, err := a.syncedIndex(ctx, f.indexFlags)
	if err != nil {
		return err
	}
	defer x.Close()
	cfg := reconcile.Config{
		Namespaces: f.namespaces, Histories: reconcile.Temporal{Service: conn.WorkflowService()}, Record: reconcile.Indexed{Index: x.Index},
		Keys: keys, Archive: a.archivedKeys(ctx, f.keys), Audience: where.Audience, DecisionOf: gate.DecisionOf, PerSecond: f.rate, Near: f.near,
	}
	if cfg.From, err = parseWhen(f.from, now); err != nil {
		return badUsage(c, "--from %v", err)
	}
	if cfg.To, err = parseWhen(f.to, now); err != nil {
		return badUsage(c, "--to %v", err)
	}
	if cfg.To.IsZero() || cfg.To.After(now) {
		cfg.To = now
	}
	if !cfg.From.Before(cfg.To) {
		return badUsage(c, "--from is not before --to")
	}
	if len(cfg.Namespaces) == 0 {
		if cfg.Namespaces, err = a.seenNamespaces(ctx, conn.WorkflowService()); err != nil {
			return err
		}
	}
	if a.errs.tty && !a.asJSON {
		cfg.Progress = func(p reconcile.Progress) {
			fmt.Fprintf(a.errs, "\r\x1b[Kreading %s: %d runs, %d events", safe(p.Namespace), p.Runs, p.Events)
		}
	}
	report, err := reconcile.Reconcile(ctx, cfg)
	a.clearCounting()
	if err != nil {
		return err
	}
	return a.showReconciliation(&report)
}

func (a *app) showReconciliation(r *reconcile.Report) error {
	sum := fmt.Sprintf("%d events with no decision behind them", r.BypassCount())
	if r.BypassCount() == 1 {
		sum = "1 event with no decision behind it"
	}
	if a.asJSON {
		if err := a.out.json(struct {
			OK bool `json:"ok"`
			*reconcile.Report
		}{r.OK(), r}); err != nil {
			return err
		}
		if !r.OK() {
			return &unproven{sum}
		}
		return nil
	}
	w := a.out
	if r.OK() {
		fmt.Fprintln(w, w.green(w.bold("Every act has its decision.")))
	} else {
		fmt.Fprintln(w, w.red(w.bold(strings.ToUpper(sum[:1])+sum[1:]+".")))
	}
	field(w, "time", fmt.Sprintf("%s to %s", r.From.Local().Format("2006-01-02 15:04:05"), r.To.Local().Format("2006-01-02 15:04:05")))
	field(w, "namespaces", list(r.Namespaces))
	field(w, "histories", fmt.Sprintf("%d runs, %d events that need a decision", r.Runs, r.Events))
	field(w, "tied by", fmt.Sprintf("%d a signed statement, %d the gate's mark, %d only time, %d Temporal itself", r.By[reconcile.Attested], r.By[reconcile.Signed], r.By[reconcile.Near], r.By[reconcile.Engine]))
	if r.Gone > 0 {
		field(w, "gone", fmt.Sprintf("%d histories were removed while they were listed", r.Gone))
	}
	for _, name := range r.Unreadable {
		field(w, "unreadable", safe(name))
	}
	for _, b := range r.Bypasses {
		fmt.Fprintf(w, "\n%s %s  %s\n", w.red(b.Code), w.bold(safe(b.Namespace+"/"+b.WorkflowID)), safe(b.Kind))
		field(w, "  when", fmt.Sprintf("%s, event %d of run %s", b.Time.Local().Format("2006-01-02 15:04:05"), b.EventID, safe(b.RunID)))
		field(w, "  says", safe(strings.TrimSpace(b.Identity+" "+b.Principal)))
		field(w, "  why", safe(b.Text))
	}
	if len(r.Orphans) > 0 {
		fmt.Fprintf(w, "\n%s\n", w.yellow(fmt.Sprintf("%d allowed decisions left no event:", r.OrphanCount())))
		var rows [][]string
		for _, o := range r.Orphans[:min(len(r.Orphans), 50)] {
			rows = append(rows, []string{o.Time.Local().Format("01-02 15:04:05"), clip(safe(o.Who), 32), safe(o.Action), clip(safe(o.Namespace+"/"+o.WorkflowID), 40), o.Decision, o.Likely})
		}
		w.rows([]string{"TIME", "WHO", "ACTION", "WORKFLOW", "DECISION", "LIKELY"}, rows)
	}
	if r.Unlisted > 0 {
		fmt.Fprintf(w, "and %d more\n", r.Unlisted)
	}
	if !r.OK() {
		return &unproven{sum}
	}
	return nil
}

// seenNamespaces are those that the caller may see.
func (a *app) seenNamespaces(ctx context.Context, service workflowservice.WorkflowServiceClient) ([]string, error) {
	names, err := reconcile.Temporal{Service: service}.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, &coded{Code: "no_namespace", Text: "there is no namespace that you may see", Fix: "ask for a role in one, or name one with --namespace"}
	}
	return names, nil
}
