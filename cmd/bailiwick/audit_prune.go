package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

func (a *app) auditPruneCommand() *cobra.Command {
	var f indexFlags
	var key string
	var days int
	var witnessed, indexed bool
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove from the gates' journals what is sealed in the log",
		Long: `Remove from the gates' journals what is sealed in the log, by whole segments that are old enough. The newest segment always stays. Afterwards the log
alone has those entries: keep copies of it. Gates and the control plane need not stop.

On a gate's own machine use it on nothing but what the control plane has: journals that are shipped are pruned where they are sealed, as replicas.`,
		Example: `  bailiwick audit prune --days 30
  bailiwick audit prune --days 7 --witnessed --indexed --json`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if days < 1 {
				return badUsage(c, "--days is %d; say how many days of journal to keep, 1 or more", days)
			}
			log, journals, where, err := a.dirs(f.logFlags)
			if err != nil {
				return err
			}
			if log == "" || len(journals) == 0 {
				return badUsage(c, "--log and --journal are needed together")
			}
			if key, err = logKey(key, where); err != nil {
				return err
			}
			cfg := tiles.PruneConfig{Log: log, Key: key, Journals: journals, Older: time.Duration(days) * 24 * time.Hour, Witnessed: witnessed}
			if indexed {
				cfg.Indexed = func(ctx context.Context) (uint64, error) {
					x, err := a.openIndex(ctx, f)
					if err != nil {
						return 0, err
					}
					defer x.Close()
					return x.Size(ctx)
				}
			}
			all, err := tiles.Prune(c.Context(), cfg)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(map[string]any{"journals": all})
			}
			for _, p := range all {
				fmt.Fprintf(a.out, "%s: %d segments (%d bytes) removed; it begins at its entry %d\n", safe(p.Gate), p.Segments, p.Bytes, p.First)
			}
			return nil
		},
	}
	f.register(c)
	c.Flags().StringVar(&key, "key", "", "the log's verifier key, or @FILE (default: the context's)")
	c.Flags().IntVar(&days, "days", 0, "keep segments that were written in so many days")
	c.Flags().BoolVar(&witnessed, "witnessed", false, "only what enough witnesses have cosigned")
	c.Flags().BoolVar(&indexed, "indexed", false, "only what the search index has")
	return c
}
