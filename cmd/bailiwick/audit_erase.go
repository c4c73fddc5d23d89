package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) auditEraseCommand() *cobra.Command {
	var f indexFlags
	var q eraseRequest
	var yes bool
	c := &cobra.Command{
		Use:   "erase",
		Short: "Make a person's data in the log unreadable, for good",
		Long: `Make what the log holds of a person unreadable, for good, by destroying that person's key. Every proof stays valid and every other entry readable;
what remains is a pseudonym that nobody can connect with the person. It is recorded who did it and why (don't name the person in the reason).

What gates keep of the schedules that this person created goes with it: those are refused from then on, until somebody else saves them.

Needs a log whose personal data is encrypted, and the permission to administer the cluster. Not erased: what was exported already, this
person's name in Temporal's own histories and attestations, copies of the keys in backups. docs/privacy.md says what to do about each.`,
		Example: `  bailiwick audit export --subject alice@acme.example -o alice.json
  bailiwick audit erase --subject alice@acme.example --reason "request DSR-118"`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Subject == "" || q.Reason == "" {
				return badUsage(c, "--subject and --reason are needed")
			}
			if !yes {
				if !a.errs.tty {
					return badUsage(c, "this can't be undone; say --yes where nobody can be asked")
				}
				fmt.Fprintf(a.errs, "Everything that the log says of %s becomes unreadable. This can't be undone.\nType the name again to go on: ", a.errs.bold(safe(q.Subject)))
				line, _ := bufio.NewReader(a.in).ReadString('\n')
				if strings.TrimSpace(line) != q.Subject {
					return &coded{Code: "not_confirmed", Text: "nothing was erased"}
				}
			}
			return a.auditErase(c.Context(), f, q)
		},
	}
	f.register(c)
	c.Flags().StringVar(&q.Subject, "subject", "", "whom: login, principal or pseudonym")
	c.Flags().StringVar(&q.Reason, "reason", "", "why; kept in the log")
	c.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return c
}

func (a *app) auditErase(ctx context.Context, f indexFlags, q eraseRequest) error {
	var done eraseAnswer
	if err := a.post(ctx, "/v1/audit/erase", q, &done); err != nil {
		return err
	}
	// The index still has what was readable a moment ago.
	x, err := a.openIndex(ctx, f)
	if err == nil {
		_, err = x.Reindex(ctx, a.progress(x.source, "indexing"))
		err = errors.Join(err, x.Close())
	}
	if err != nil {
		return &coded{Code: "index_not_rebuilt", Text: "the key is destroyed, but the search index could not be made again: " + err.Error(), Fix: "run `bailiwick audit reindex`, or remove the index"}
	}
	if a.asJSON {
		return a.out.json(done)
	}
	fmt.Fprintf(a.out, "%s What the log says of %s since %s can't be read any more.\n", a.out.green("Erased."), safe(done.Pseudonym), done.Since.Local().Format("2006-01-02"))
	fmt.Fprintf(a.out, "  recorded as %s; the search index was made again; schedules that they saved last start nothing until somebody else saves them\n  not erased: exports already sent, Temporal's histories, backups of the keys (docs/privacy.md)\n", safe(done.Entry))
	return nil
}
