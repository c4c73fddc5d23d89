package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/access"
)

func (a *app) accessListCommand() *cobra.Command {
	var states []string
	var f access.Filter
	var all bool
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List requests: yours, and those that you may decide",
		Long: "List requests that you may see, newest first: those that have not ended, or all with --all. Old ones are in the audit log only.",
		Example: `  bailiwick access list
  bailiwick access list --state pending --namespace payments
  bailiwick access list --all --requester alice@acme.example --json`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.accessClient()
			if err != nil {
				return err
			}
			for _, s := range states {
				f.States = append(f.States, access.State(s))
			}
			f.Open = !all && len(states) == 0
			found, err := client.List(c.Context(), f)
			if err != nil {
				return accessFailure(err)
			}
			a.rememberRequests(found...)
			if a.asJSON {
				for _, r := range found {
					if err := a.out.json(r); err != nil {
						return err
					}
				}
				return nil
			}
			if len(found) == 0 {
				fmt.Fprintln(a.out, "No requests.")
				return nil
			}
			var rows [][]string
			for _, r := range found {
				rows = append(rows, []string{r.Asked.ID, stateWord(a.out, r), clip(safe(or(r.Asked.Login, r.Asked.Principal)), 30), clip(safe(r.Asked.What()), 60), r.Asked.For(), a.when(r), clip(safe(r.Asked.Reason), 50)})
			}
			a.out.rows([]string{"REQUEST", "STATE", "WHO", "WHAT", "FOR", "WHEN", "REASON"}, rows)
			return nil
		},
	}
	fl := c.Flags()
	fl.StringSliceVar(&states, "state", nil, "only in these states: pending, approved, active, denied, expired, withdrawn, returned, revoked")
	fl.StringVarP(&f.Namespace, "namespace", "n", "", "only in this namespace")
	fl.StringVar(&f.Login, "requester", "", "only of this person, by login")
	fl.BoolVar(&all, "all", false, "those that have ended too")
	fl.IntVarP(&f.Limit, "limit", "l", 50, "at most so many")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	must(c.RegisterFlagCompletionFunc("state", func(*cobra.Command, []string, string) (out []string, _ cobra.ShellCompDirective) {
		for _, s := range access.States() {
			out = append(out, string(s))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}))
	return c
}

// when is the time that matters next, or last.
func (a *app) when(r access.Request) string {
	switch {
	case r.State == access.Active:
		return "ends " + span(time.Now(), r.Expires)
	case r.State == access.Pending:
		return "lapses " + span(time.Now(), r.Lapses)
	case r.State.Ended():
		return "ended " + span(time.Now(), r.Ended)
	}
	return span(time.Now(), r.Created)
}

// stateWord is the state in the colours of where it is written.
func stateWord(out *terminal, r access.Request) string {
	w := string(r.State)
	switch r.State {
	case access.Active:
		w = out.green(w)
	case access.Pending, access.Approved:
		w = out.yellow(w)
	case access.Denied, access.Revoked:
		w = out.red(w)
	}
	if r.Asked.BreakGlass {
		w += out.red(" break-glass")
		if r.Review != nil && r.Review.By == nil {
			w += out.yellow(", review due")
		}
	}
	if r.Extension != nil {
		w += out.yellow(", extension pending")
	}
	return w
}

func (a *app) accessShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "Show a request: who asked, who approved, what was done, when it ended",
		Example:           "  bailiwick access show ar-abcdefghijkl\n  bailiwick access show ar-abcdefghijkl --json | jq .uses",
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
			uses, more, err := client.Uses(c.Context(), args[0])
			if err != nil {
				return accessFailure(err)
			}
			a.rememberRequests(r)
			if a.asJSON {
				return a.out.json(struct {
					access.Request
					Uses     []access.Use `json:"uses"`
					MoreUses bool         `json:"more_uses,omitempty"`
				}{r, uses, more})
			}
			a.showRequest(r)
			a.showUses(r, uses, more)
			return nil
		},
	}
}

// printRequest says what came of asking.
func (a *app) printRequest(r access.Request) error {
	if a.asJSON {
		return a.out.json(r)
	}
	w := a.out
	fmt.Fprintf(w, "%s %s, %s: %s%s%s\n", w.bold(r.Asked.ID), safe(r.Asked.What()), r.Asked.For(), stateWord(a.out, r), a.inForce(r), a.waitingFor(r))
	if r.State == access.Active {
		fmt.Fprintf(w, "  just call as always; done early? bailiwick access return %s\n", r.Asked.ID)
		if r.Backend == access.Okta {
			fmt.Fprintf(w, "It is the group %s that carries it: it takes a fresh token, so run bailiwick logout and bailiwick login.\n", safe(r.Group))
		}
	} else {
		fmt.Fprintln(w, w.dim("  see it: bailiwick access show "+r.Asked.ID+"; follow it: bailiwick access watch "+r.Asked.ID))
	}
	return nil
}

func (a *app) showRequest(r access.Request) {
	w := a.out
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Local().Format("2006-01-02 15:04:05") + w.dim(" ("+span(time.Now(), t)+")")
	}
	field(w, "request", w.bold(r.Asked.ID))
	state := stateWord(a.out, r)
	if r.Text != "" {
		state += ": " + safe(r.Text)
	}
	if r.Waiting != "" {
		state += ", waiting for " + safe(r.Waiting)
	}
	if (r.State.Ended() || r.State == access.Active) && !r.Settled {
		state += w.yellow(", gates are being told")
	}
	field(w, "state", state)
	field(w, "asked for", safe(r.Asked.What()))
	field(w, "for", r.Asked.For())
	field(w, "reason", safe(r.Asked.Reason))
	field(w, "by", a.personText(r.Requester))
	field(w, "asked", at(r.Created))
	for i, x := range r.Approvals {
		text := a.personText(x.By) + ", " + at(x.At)
		if x.Comment != "" {
			text += " “" + safe(x.Comment) + "”"
		}
		field(w, fmt.Sprintf("approved %d", i+1), text)
	}
	if r.Needed == 0 {
		field(w, "approved", "by itself: "+safe(strings.Join(r.Policies, ", ")))
	} else if r.State == access.Pending {
		field(w, "needs", fmt.Sprintf("%d of %d approvals, until %s", r.Needed-len(r.Approvals), r.Needed, at(r.Lapses)))
	}
	field(w, "grant", r.Grant)
	field(w, "carried by", carriedBy(r))
	field(w, "in force", at(r.Activated))
	if !r.Activated.IsZero() && r.Ended.IsZero() {
		field(w, "until", at(r.Expires))
	}
	field(w, "ended", at(r.Ended))
	if x := r.Extension; x != nil {
		field(w, "extension", fmt.Sprintf("%s more, “%s”, %d of %d approvals", x.Asked.For(), safe(x.Asked.Reason), len(x.Approvals), x.Needed))
	}
	if v := r.Review; v != nil {
		switch {
		case v.By == nil:
			field(w, "review", w.yellow("due ")+at(v.Due)+": bailiwick access review "+r.Asked.ID)
		case v.Justified:
			field(w, "review", w.green("justified")+", "+a.personText(*v.By)+" “"+safe(v.Comment)+"”, "+at(v.At))
		default:
			field(w, "review", w.red("not justified")+", "+a.personText(*v.By)+" “"+safe(v.Comment)+"”, "+at(v.At))
		}
	}
	field(w, "digest", r.Digest)
	fmt.Fprintln(w)
	var rows [][]string
	for _, s := range r.Steps {
		rows = append(rows, []string{s.At.Local().Format("2006-01-02 15:04:05"), s.Event, safe(or(s.By, "bailiwick")), clip(safe(s.Text), 60), s.Entry})
	}
	w.rows([]string{"STEP", "EVENT", "BY", "", "ENTRY"}, rows)
}

func carriedBy(r access.Request) string {
	if r.Backend == access.Okta {
		return "the group " + safe(r.Group)
	}
	return ""
}

// personText names somebody and how they had signed in.
func (a *app) personText(p access.Person) string {
	s := a.out.bold(safe(or(p.Login, p.Principal)))
	if p.Agent != "" {
		s += " by agent " + safe(p.Agent)
	}
	var how []string
	if p.ACR != "" {
		how = append(how, safe(p.ACR))
	}
	if !p.AuthTime.IsZero() {
		how = append(how, "signed in "+p.AuthTime.Local().Format("15:04:05"))
	}
	if len(how) > 0 {
		s += a.out.dim(" (" + strings.Join(how, ", ") + ")")
	}
	return s
}

// showUses prints each call that was made under the grant.
func (a *app) showUses(r access.Request, uses []access.Use, more bool) {
	w := a.out
	if r.Grant == "" {
		return
	}
	fmt.Fprintln(w)
	if len(uses) == 0 {
		fmt.Fprintln(w, "Nothing was done under the grant.")
		return
	}
	var rows [][]string
	for _, u := range uses {
		decision := w.green("allowed")
		if !u.Allow {
			decision = w.red(safe(u.Code))
		}
		rows = append(rows, []string{u.At.Local().Format("2006-01-02 15:04:05"), safe(u.Action), target(audit.Entry{Resource: u.Resource}), decision, safe(u.Gate), u.Entry})
	}
	w.rows([]string{"CALL", "ACTION", "TARGET", "DECISION", "GATE", "ENTRY"}, rows)
	if more {
		fmt.Fprintln(w, w.yellow("and more")+": bailiwick audit query --all --grant "+r.Grant)
	}
	fmt.Fprintln(w, w.dim("  prove one, or a step above: bailiwick audit prove "+uses[0].Entry))
}

func (a *app) accessWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch ID", Short: "Follow a request live, to its end",
		Long:    "Print each change of a request as it happens, until nothing will change any more or you press Ctrl-C. With --json, one request per line.",
		Example: "  bailiwick access watch ar-abcdefghijkl", Args: usage(cobra.ExactArgs(1)), ValidArgsFunction: a.completeRequests,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.accessClient()
			if err != nil {
				return err
			}
			steps := 0
			err = client.Watch(c.Context(), args[0], func(r access.Request) error {
				if a.asJSON {
					return a.out.json(r)
				}
				w := a.out
				if steps == 0 {
					fmt.Fprintf(w, "%s %s for %s, %s: “%s”\n", w.bold(r.Asked.ID), safe(r.Asked.What()), safe(or(r.Asked.Login, r.Asked.Principal)), r.Asked.For(), safe(r.Asked.Reason))
				}
				for ; steps < len(r.Steps); steps++ {
					s := r.Steps[steps]
					text := ""
					if s.Text != "" {
						text = "  " + w.dim("“"+clip(safe(s.Text), 80)+"”")
					}
					fmt.Fprintf(w, "%s %-10s %s%s\n", w.dim(s.At.Local().Format("15:04:05")), s.Event, safe(or(s.By, "bailiwick")), text)
				}
				fmt.Fprintf(w, "%s %s%s%s\n", w.dim("        "), stateWord(a.out, r), a.waitingFor(r), w.dim("  "+a.when(r)))
				return nil
			})
			return accessFailure(err)
		},
	}
}
