package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/replay"
)

// acquaintance is a principal as the log last saw them.
type acquaintance struct {
	party  audit.Party
	claims *identity.Claims
	seen   time.Time
}

// people lists the users and clients of the log, each as of their latest entry, by login. A token that an agent used for a person says the
// same of the person.
func (a *app) people(ctx context.Context, f logFlags) ([]acquaintance, error) {
	log, journals, _, err := a.dirs(f)
	if err != nil {
		return nil, err
	}
	latest := map[string]acquaintance{}
	for r, err := range scan(ctx, tiles.ScanConfig{Log: log, Journals: journals}) {
		if err != nil && r.Raw == nil {
			return nil, err
		}
		e := r.Entry
		if err != nil || e.Kind != audit.KindDecision || e.Time.Before(latest[e.Actor.Principal].seen) {
			continue
		}
		if c, ok := replay.Claims(e.Actor); ok {
			latest[e.Actor.Principal] = acquaintance{e.Actor, c, e.Time}
		}
	}
	var all []acquaintance
	for _, p := range latest {
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y acquaintance) int {
		return cmp.Or(cmp.Compare(x.claims.Kind, y.claims.Kind)*-1, cmp.Compare(x.party.Login, y.party.Login), cmp.Compare(x.party.Principal, y.party.Principal))
	})
	return all, nil
}

// known finds the caller in the log; without a log, or without them in it, the claims are nil.
func (a *app) known(ctx context.Context, f logFlags, is func(*identity.Claims) bool) (found caller) {
	all, err := a.people(ctx, f)
	if err != nil {
		return found
	}
	var seen time.Time
	for _, p := range all {
		if is(p.claims) && p.seen.After(seen) {
			seen = p.seen
			found = caller{p.claims, "the log, as of " + p.seen.Local().Format("2006-01-02 15:04:05")}
		}
	}
	return found
}

// maxComplete bounds a log that is read for a key press, in entries from its end.
const maxComplete = 20_000

func (a *app) completePrincipals(c *cobra.Command, want identity.Kind) ([]string, cobra.ShellCompDirective) {
	log, journals, _, err := a.dirs(logFlags{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cfg := tiles.ScanConfig{Log: log, Journals: journals}
	if size, err := tiles.SealedSize(log); log != "" && err == nil && size > maxComplete {
		cfg.From = size - maxComplete
	}
	var names []string
	for r, err := range scan(c.Context(), cfg) {
		if err != nil {
			continue
		}
		if who, ok := replay.Claims(r.Entry.Actor); ok && who.Kind == want {
			name := cmp.Or(who.Login, who.ID)
			if want == identity.Client {
				name = who.ID
			}
			names = append(names, safe(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeLogins(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completePrincipals(c, identity.User)
}

func (a *app) completeClients(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completePrincipals(c, identity.Client)
}
