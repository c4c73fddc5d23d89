package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

func (a *app) standingCommand() *cobra.Command {
	return group("standing", "How grants and revocations reach the gates", `Grants and revocations reach every gate through a feed that the control plane signs. These commands show how far each gate is.
Grants themselves are shown by "bailiwick access list".`, a.standingStatusCommand())
}

func (a *app) standingStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how far each gate follows the feed of grants and revocations",
		Long: `Show where the feed is, how many grants and bars are in force, and how far each gate is: what it has made durable, and when it was last heard.

A gate that is not heard keeps every bar in force, and honours no grant once its limit (an hour unless configured) has passed. A gate that was never heard since it
started, and has no copy from before, refuses everybody with standing_unknown. Exit code 4 when a gate that was heard within the last day is gone or behind.`,
		Example: `  bailiwick standing status
  bailiwick standing status --json | jq '.gates[] | select(.behind > 0)'`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			var s feed.Status
			if err := a.controlGet(c.Context(), where, feed.Path+"/status", &s); err != nil {
				return err
			}
			if a.asJSON {
				err = a.out.json(s)
			} else {
				a.showStanding(s)
			}
			return errors.Join(err, lagging(s))
		},
	}
}

func (a *app) showStanding(s feed.Status) {
	w := a.out
	field(w, "feed", fmt.Sprintf("%s at event %d", safe(s.Feed), s.State.Seq))
	field(w, "in force", fmt.Sprintf("%d grants, %d bars, %d people known", s.State.Grants, s.State.Bars, s.State.Persons))
	if len(s.Gates) == 0 {
		field(w, "gates", w.yellow("none has asked yet"))
	}
	for _, g := range s.Gates {
		text := fmt.Sprintf("%s at event %d, heard %s", safe(g.Gate), g.Seq, g.At.Local().Format("2006-01-02 15:04:05"))
		switch {
		case g.Gone:
			text += w.red("  gone")
		case g.Behind > 0:
			text += w.yellow(fmt.Sprintf("  %d behind", g.Behind))
		default:
			text += w.green("  up to date")
		}
		field(w, "gate", text)
	}
}

// lagging is an error when a gate that should be there does not follow.
func lagging(s feed.Status) error {
	var names []string
	for _, g := range s.Gates {
		if (g.Gone || g.Behind > 0) && time.Since(g.At) < 24*time.Hour {
			names = append(names, safe(g.Gate))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &coded{Code: "gate_behind", Text: "not up to date: " + strings.Join(names, ", "), Fix: "is the gate running, and can it reach the control plane? Its log says why it does not follow", exit: exitUnproven}
}

// controlGet reads JSON from the control plane as the person logged in.
func (a *app) controlGet(ctx context.Context, c login.Context, path string, into any) error {
	return a.controlDo(ctx, c, http.MethodGet, path, nil, into)
}
