package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/access"
)

// actOn runs a verb on a request and prints what came of it.
func (a *app) actOn(c *cobra.Command, id, verb, done string, body access.ActBody) error {
	client, err := a.accessClient()
	if err != nil {
		return err
	}
	r, err := client.Do(c.Context(), id, verb, body)
	if err != nil {
		return accessFailure(err)
	}
	r = a.settle(c.Context(), client, r)
	a.rememberRequests(r)
	if a.asJSON {
		return a.out.json(r)
	}
	fmt.Fprintf(a.out, "%s %s: %s%s%s\n", a.out.green(done), r.Asked.ID, stateWord(a.out, r), a.inForce(r), a.waitingFor(r))
	return nil
}

// settleWithin is how long a command waits for what was decided to come about. It takes a fraction of a second where nothing is wrong.
const settleWithin = 5 * time.Second

// settle waits a moment for an approved request to be in force, so that the next call can rely on it. What is not settled by then is told as it is.
func (a *app) settle(ctx context.Context, client *access.Client, r access.Request) access.Request {
	if r.State != access.Approved {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	_ = client.Watch(ctx, r.Asked.ID, func(now access.Request) error { // what fails here is told by the state
		if r = now; r.State != access.Approved {
			return access.ErrStop
		}
		return nil
	})
	return r
}

// inForce says until when, and where.
func (a *app) inForce(r access.Request) string {
	switch {
	case r.State == access.Active && r.Backend == access.Okta:
		return fmt.Sprintf(", until %s (%s), by the group %s: it counts in tokens that are issued from now on", r.Expires.Local().Format("15:04:05"), span(time.Now(), r.Expires), safe(r.Group))
	case r.State == access.Active && r.Everywhere:
		return fmt.Sprintf(", until %s (%s), at every gate", r.Expires.Local().Format("15:04:05"), span(time.Now(), r.Expires))
	case r.State == access.Active:
		return fmt.Sprintf(", until %s (%s); not every gate has confirmed it yet", r.Expires.Local().Format("15:04:05"), span(time.Now(), r.Expires))
	case r.State == access.Approved && r.Waiting == "":
		return ", being put in force; follow it: bailiwick access watch " + r.Asked.ID
	}
	return ""
}

func (a *app) accessDecideCommand(verb string) *cobra.Command {
	var comment, digest string
	short, done, example := "Approve a request", "Approved", `  bailiwick access show ar-abcdefghijkl && bailiwick access approve ar-abcdefghijkl --comment "on call with Alice"`
	if verb == "deny" {
		short, done, example = "Deny a request", "Denied", `  bailiwick access deny ar-abcdefghijkl --comment "use the runbook instead"`
	}
	c := &cobra.Command{
		Use:   verb + " ID",
		Short: short,
		Long: short + `, or the extension that it waits for. What is asked for is shown first, and the decision is bound to its digest: if
the control plane knows something else under this id, it refuses.

Approving may need a fresh or strong sign-in, as policy says. Nobody approves their own request.`,
		Example:           example,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeRequests,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.accessClient()
			if err != nil {
				return err
			}
			r, err := client.Get(c.Context(), args[0])
			if err != nil {
				return accessFailure(err)
			}
			asked, seen := r.Asked, r.Digest
			if r.Extension != nil {
				asked, seen = r.Extension.Asked, r.Extension.Digest
			}
			if asked.Digest() != seen {
				return &unproven{fmt.Sprintf("the control plane says that request %s has digest %s, and what it shows has %s", args[0], seen, asked.Digest())}
			}
			if digest != "" {
				seen = digest
			}
			if !a.asJSON {
				kind := "asks for"
				if r.Extension != nil {
					kind = "asks for more of"
				}
				fmt.Fprintf(a.errs, "%s %s %s, %s: “%s”\n", a.errs.bold(safe(or(asked.Login, asked.Principal))), kind, safe(asked.What()), asked.For(), safe(asked.Reason))
			}
			return a.actOn(c, args[0], verb, done, access.ActBody{Digest: seen, Comment: comment})
		},
	}
	c.Flags().StringVarP(&comment, "comment", "c", "", "a word about it, for the record")
	c.Flags().StringVar(&digest, "digest", "", "what you saw: refuse if something else is asked for now")
	return c
}

func (a *app) accessOwnCommand(verb string) *cobra.Command {
	var comment string
	short, done := "Take back a request of yours that is not in force yet", "Withdrawn"
	if verb == "return" {
		short, done = "Give back access that you don't need any more", "Returned"
	}
	c := &cobra.Command{
		Use: verb + " ID", Short: short, Example: "  bailiwick access " + verb + " ar-abcdefghijkl", Args: usage(cobra.ExactArgs(1)), ValidArgsFunction: a.completeRequests,
		RunE: func(c *cobra.Command, args []string) error {
			return a.actOn(c, args[0], verb, done, access.ActBody{Comment: comment})
		},
	}
	c.Flags().StringVarP(&comment, "comment", "c", "", "a word about it, for the record")
	return c
}

func (a *app) accessExtendCommand() *cobra.Command {
	var reason, more string
	c := &cobra.Command{
		Use:     "extend ID",
		Short:   "Ask for more time",
		Long:    "Ask for more time for access that is in force. Policy decides as for a new request, and others approve it; until then the old end stands.",
		Example: `  bailiwick access extend ar-abcdefghijkl --for 15m --reason "INC-123: the last refund is still running"`,
		Args:    usage(cobra.ExactArgs(1)), ValidArgsFunction: a.completeRequests,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := duration(more)
			if err != nil || d < time.Minute {
				return badUsage(c, "--for is %q; a duration such as 15m is needed", more)
			}
			if reason == "" {
				return badUsage(c, `say what it is for with --reason "…"`)
			}
			return a.actOn(c, args[0], "extend", "Asked for more time:", access.ActBody{Seconds: int64(d / time.Second), Comment: reason})
		},
	}
	c.Flags().StringVar(&more, "for", "", "how much longer: 15m, 1h")
	c.Flags().StringVarP(&reason, "reason", "r", "", "what it is for")
	return c
}

func (a *app) accessRevokeCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "revoke ID", Short: "Take access away, now", Long: "End a request, whatever its state. Gates refuse the next call that relies on the grant.",
		Example: `  bailiwick access revoke ar-abcdefghijkl --reason "INC-123 is closed"`,
		Args:    usage(cobra.ExactArgs(1)), ValidArgsFunction: a.completeRequests,
		RunE: func(c *cobra.Command, args []string) error {
			return a.actOn(c, args[0], "revoke", "Revoked", access.ActBody{Comment: reason})
		},
	}
	c.Flags().StringVarP(&reason, "reason", "r", "", "why, for the record")
	return c
}

func (a *app) accessReviewCommand() *cobra.Command {
	var comment string
	var justified, unjustified bool
	c := &cobra.Command{
		Use: "review ID", Short: "Review that somebody broke glass", Long: "Say whether breaking glass was justified, after looking at what was done. Whoever broke it can't review it. Requests that nobody reviews escalate.",
		Example: `  bailiwick access show ar-abcdefghijkl && bailiwick access review ar-abcdefghijkl --justified --comment "INC-123, as described"`,
		Args:    usage(cobra.ExactArgs(1)), ValidArgsFunction: a.completeRequests,
		RunE: func(c *cobra.Command, args []string) error {
			if justified == unjustified {
				return badUsage(c, "say either --justified or --unjustified")
			}
			if comment == "" {
				return badUsage(c, `say what you found with --comment "…"`)
			}
			return a.actOn(c, args[0], "review", "Reviewed", access.ActBody{Comment: comment, Justified: &justified})
		},
	}
	c.Flags().BoolVar(&justified, "justified", false, "it was")
	c.Flags().BoolVar(&unjustified, "unjustified", false, "it was not")
	c.Flags().StringVarP(&comment, "comment", "c", "", "what you found")
	return c
}
