package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/internal/correlate"
)

func (a *app) auditCorrelateCommand() *cobra.Command {
	var f indexFlags
	c := &cobra.Command{
		Use:   "correlate ID",
		Short: "Show what stands behind a decision: the login, the token's grant, the groups, the access request",
		Long: `Show what stands behind a decision, as the identity provider's own log says, which the control plane takes into the audit log: the login, the grant of
the token, how the person came into the groups of the namespace, and the access request behind a grant that was used. Each link says what ties it:
an identifier (the token's id, the session, the group, the grant), or only that its time fits.

The provider's log comes late: for a decision that was just made, the login may be missing for a minute. ID is as in "audit show".`,
		Example: `  bailiwick audit correlate 01936f0e-5b1c-7c3a-9f00-8d5b0a7e1c11
  bailiwick audit correlate 142 --json | jq '.links[] | {what, by, source_event}'`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.syncedIndex(c.Context(), f)
			if err != nil {
				return err
			}
			defer x.Close()
			row, err := x.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			chain, err := correlate.Trace(c.Context(), x.Index, row)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(chain)
			}
			a.showChain(row, chain)
			return nil
		},
	}
	f.register(c)
	return c
}

func (a *app) showChain(row index.Row, chain correlate.Chain) {
	w := a.out
	var rows [][]string
	for _, l := range chain.Links {
		tie := w.green(l.By)
		if !l.Sure {
			tie = w.yellow(l.By + " only")
		}
		rows = append(rows, []string{l.Time.Local().Format("2006-01-02 15:04:05"), l.What, clip(safe(l.Text), 90), tie, fmt.Sprintf("#%d", l.Index), safe(l.Entry)})
	}
	e := row.Entry
	rows = append(rows, []string{e.Time.Local().Format("2006-01-02 15:04:05"), w.bold("decision"), clip(safe(who(e.Actor)+" "+e.Action+" "+target(e)), 90), "", fmt.Sprintf("#%d", row.Index), ""})
	w.rows([]string{"TIME", "WHAT", "", "TIED BY", "ENTRY", "PROVIDER'S EVENT"}, rows)
	if len(chain.Links) == 0 {
		fmt.Fprintln(w, w.dim("Nothing in the log stands behind it: the provider's log may not have been taken yet, or is not taken at all."))
	}
}

// behind tells of a decision's login for `audit show`, where that is known; it is no error when it is not.
func (a *app) behind(ctx context.Context, f logFlags, r record) (login string) {
	if r.Decision == nil || r.Actor.Principal == "" {
		return ""
	}
	log, _, _, err := a.dirs(f)
	if err != nil || log == "" {
		return ""
	}
	if _, err := os.Stat(filepath.Clean(log) + ".index.db"); err != nil && os.Getenv("BAILIWICK_INDEX") == "" {
		return "" // showing an entry is no reason to make an index
	}
	x, err := a.openIndex(ctx, indexFlags{logFlags: f})
	if err != nil {
		return ""
	}
	defer x.Close()
	if _, err := x.Sync(ctx, x.source); err != nil && !errors.Is(err, index.ErrBehind) {
		return ""
	}
	chain, err := correlate.Trace(ctx, x.Index, index.Row{Index: r.Index, Entry: r.Entry})
	if err != nil {
		return ""
	}
	l, ok := chain.Login()
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s, entry %d (by %s); more: bailiwick audit correlate %d", l.Time.Local().Format("2006-01-02 15:04:05"), l.Index, l.By, r.Index)
}
