package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) auditRetainCommand() *cobra.Command {
	var f indexFlags
	var q retainRequest
	var yes bool
	c := &cobra.Command{
		Use:   "retain",
		Short: "Remove entries older than a time from the log, for good",
		Long: `Remove entries older than a time from the log, for good, in whole bundles of 256. Their hashes stay, so that the log still verifies, with a note of
what is gone, and every other proof stays valid. An entry of the log itself says who ordered it, and up to where: nobody can remove more
without "audit verify" finding it.

Needs the permission to administer the cluster. A retention.yaml in the state directory ("version: 1", "keep: 400d") does it by itself.
Journals keep their own copies until they are pruned. Exports and evidence packs made before stay as they are.`,
		Example: `  bailiwick audit retain --keep 400d --dry-run
  bailiwick audit retain --keep 400d --reason "retention policy 7"`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := parseKeep(q.Keep); err != nil {
				return badUsage(c, "--keep %v", err)
			}
			if q.Reason == "" && !q.Dry {
				return badUsage(c, "--reason is needed")
			}
			if !yes && !q.Dry {
				if !a.errs.tty {
					return badUsage(c, "this can't be undone; say --yes where nobody can be asked")
				}
				fmt.Fprintf(a.errs, "Entries older than %s are removed from the log. This can't be undone.\nType it again to go on: ", a.errs.bold(safe(q.Keep)))
				line, _ := bufio.NewReader(a.in).ReadString('\n')
				if strings.TrimSpace(line) != q.Keep {
					return &coded{Code: "not_confirmed", Text: "nothing was removed"}
				}
			}
			return a.auditRetain(c.Context(), f, q)
		},
	}
	f.register(c)
	c.Flags().StringVar(&q.Keep, "keep", "", "how long entries are kept: 400d")
	c.Flags().StringVar(&q.Reason, "reason", "", "why; kept in the log")
	c.Flags().BoolVar(&q.Dry, "dry-run", false, "only tell how many would go")
	c.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return c
}

func (a *app) auditRetain(ctx context.Context, f indexFlags, q retainRequest) error {
	var done retainAnswer
	if err := a.post(ctx, "/v1/audit/retain", q, &done); err != nil {
		return err
	}
	if done.Removed > 0 && !q.Dry {
		x, err := a.openIndex(ctx, f)
		if err == nil {
			_, err = x.Reindex(ctx, a.progress(x.source, "indexing"))
			err = errors.Join(err, x.Close())
		}
		if err != nil {
			return &coded{Code: "index_not_rebuilt", Text: "the entries are removed, but the search index could not be made again: " + err.Error(), Fix: "run `bailiwick audit reindex`, or remove the index"}
		}
	}
	if a.asJSON {
		return a.out.json(done)
	}
	word := "were removed"
	if q.Dry {
		word = "would be removed"
	}
	fmt.Fprintf(a.out, "%d entries from before %s %s; the log begins at entry %d\n", done.Removed, done.Before.Local().Format("2006-01-02 15:04"), word, done.To)
	if done.Entry != "" {
		fmt.Fprintf(a.out, "  recorded as %s\n", safe(done.Entry))
	}
	if done.Held {
		fmt.Fprintln(a.out, "  journals still hold entries that old, until they are pruned")
	}
	return nil
}
