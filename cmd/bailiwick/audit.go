package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// logFlags say which log: the context's, or one named by flags.
type logFlags struct {
	log      string
	journals []string
}

func (f *logFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.log, "log", "", "directory of the sealed log (default: the context's)")
	c.Flags().StringSliceVar(&f.journals, "journal", nil, "directory of a gate's journal; may be repeated (default: the context's, unless --log is given)")
}

// dirs resolves the flags. A log named by hand is taken alone: the context's journals belong to another one.
func (a *app) dirs(f logFlags) (log string, journals []string, c login.Context, err error) {
	c, cerr := a.where()
	if f.log != "" || len(f.journals) > 0 {
		return f.log, f.journals, c, nil
	}
	if cerr != nil {
		return "", nil, c, cerr
	}
	if journals, err = c.JournalDirs(); err != nil {
		return "", nil, c, err
	}
	if c.LogDir == "" && len(journals) == 0 {
		return "", nil, c, &coded{Code: "no_log", Text: fmt.Sprintf("context %s does not say where the log is", c.Name), Fix: "name a copy of it with --log DIR"}
	}
	return c.LogDir, journals, c, nil
}

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "Read and verify the record of decisions", `Read and verify the record of decisions: who asked for what, whether it was allowed, by which policy, and why.

A gate's journal holds each decision before a changing call is let through; within a second it is sealed, with those of the other gates, into one
Merkle log with a signed checkpoint. All are directories of files, and reading and verifying need no server.`,
		a.auditTailCommand(), a.auditShowCommand(), a.auditQueryCommand(), a.auditWhoTouchedCommand(), a.auditTimelineCommand(),
		a.auditVerifyCommand(), a.auditProveCommand(), a.auditVerifyBundleCommand(), a.auditReindexCommand(), a.auditSchemaCommand(),
		a.auditShipCommand(), a.auditShipTokenCommand(), a.auditReadTokenCommand(), a.auditWitnessCommand(), a.auditCosignCommand(), a.auditAnchorCommand(), a.auditPruneCommand(), a.auditExportCommand(), a.auditEraseCommand(), a.auditRetainCommand(),
		a.auditReconcileCommand(), a.auditCorrelateCommand())
}

// record is one entry as `--json` prints it.
type record struct {
	Index  uint64 `json:"index"`
	Sealed bool   `json:"sealed"`
	audit.Entry
}

// tailFlags choose what `audit tail` shows.
type tailFlags struct {
	logFlags
	follow, all, denied bool
	namespace           string
	count               int
}

func (f *tailFlags) wants(e audit.Entry) bool {
	if f.namespace != "" && e.Resource.Namespace != f.namespace {
		return false
	}
	refused := e.Decision != nil && !e.Decision.Allow
	switch {
	case f.denied:
		return refused
	case f.all, refused, e.Kind != audit.KindDecision:
		return true
	}
	return e.Access != "work" && e.Access != "read"
}

func (a *app) auditTailCommand() *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show the latest decisions, and follow them with -f",
		Long: `Show the latest decisions. What workers do all day (polls, heartbeats, task results) and allowed reads are left out unless --all is given;
refusals are always shown.`,
		Example: `  bailiwick audit tail
  bailiwick audit tail -f --denied
  bailiwick audit tail --namespace payments --json | jq .actor.login`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.count < 0 {
				return badUsage(c, "--lines is %d; 0 or more are possible", f.count)
			}
			return a.auditTail(c.Context(), f)
		},
	}
	f.register(c)
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on as decisions are made, until Ctrl-C")
	c.Flags().BoolVar(&f.all, "all", false, "also polls, heartbeats, task results and reads")
	c.Flags().BoolVar(&f.denied, "denied", false, "only refusals")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "", "only this namespace")
	c.Flags().IntVarP(&f.count, "lines", "l", 20, "how many of the latest; 0 means all")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

// followEvery is how often `audit tail -f` looks for more.
const followEvery = 300 * time.Millisecond

func (a *app) auditTail(ctx context.Context, f tailFlags) error {
	log, journals, _, err := a.dirs(f.logFlags)
	if err != nil {
		return err
	}
	// What has no place in the log yet may still change places, so it is not followed; it has one within a fifth of a second.
	cfg := tiles.ScanConfig{Log: log, Journals: journals, Placed: f.follow}
	var latest []record
	for r, err := range scan(ctx, cfg) {
		if err != nil && r.Raw == nil {
			return err
		}
		cfg.From = r.Index + 1
		if err != nil {
			fmt.Fprintf(a.errs, "%s entry %d cannot be read: %s (run: bailiwick audit verify)\n", a.errs.red("malformed:"), r.Index, safe(err.Error()))
			continue
		}
		if f.wants(r.Entry) {
			latest = append(latest, record{r.Index, r.Sealed, r.Entry})
			if f.count > 0 && len(latest) >= 2*f.count+1024 { // bounded, and moved seldom
				latest = append(latest[:0], latest[len(latest)-f.count:]...)
			}
		}
	}
	if f.count > 0 && len(latest) > f.count {
		latest = latest[len(latest)-f.count:]
	}
	for _, r := range latest {
		if err := a.printEntry(r); err != nil {
			return err
		}
	}
	for f.follow {
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is how one stops following
		case <-time.After(followEvery):
		}
		for r, err := range scan(ctx, cfg) {
			if err != nil && r.Raw == nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			cfg.From = r.Index + 1
			if err == nil && f.wants(r.Entry) {
				if err := a.printEntry(record{r.Index, r.Sealed, r.Entry}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
