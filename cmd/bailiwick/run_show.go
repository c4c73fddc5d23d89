package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

func (a *app) runShowCommand() *cobra.Command {
	var namespace, runID, keys string
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show who started a run and why, who acted on it, and verify every signature",
		Long: `Show a run's identity timeline: who started it, why and by which policy, who signalled and updated it, and on whose behalf each activity
and child ran. Each attestation's signature is verified with the gate's published keys,
or with those that the audit log holds, and checked to be about this very event.

  verified     signature and binding are good
  unattested   there is no attestation where there could be one
  INVALID      there is one, and it is not good for this event; the exit code is 4

Beside it stands Temporal's own record of the caller ("native"), where Temporal keeps one. Cancellations, terminations, resets and pauses carry no
attestation: they name their decision, and who it was comes from the audit log, where this command can read it.`,
		Example: `  bailiwick run show ship-142
  bailiwick run show ship-142 --keys keys.json --json`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeWorkflow,
		RunE: func(c *cobra.Command, args []string) error {
			where, err := a.where()
			if err != nil {
				return err
			}
			ns := a.namespace(namespace, where)
			conn, err := a.dial(c.Context(), where, ns, "")
			if err != nil {
				return err
			}
			defer conn.Close()
			set, err := a.keys(c.Context(), where, keys)
			if err != nil {
				return err
			}
			log := &auditLog{app: a, ctx: c.Context()}
			defer log.close()
			t, err := runs.Read(c.Context(), conn, runs.Config{Namespace: ns, WorkflowID: args[0], RunID: runID, Keys: set, Archive: log.keys(keys), Decision: log.decision, Audience: where.Audience})
			if err != nil {
				return err
			}
			if a.asJSON {
				if err := a.out.json(t); err != nil {
					return err
				}
			} else {
				a.showRun(t)
			}
			if !t.OK() {
				return &unproven{fmt.Sprintf("%d of this run's attestations are invalid", t.Invalid)}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	c.Flags().StringVar(&runID, "run-id", "", "a particular run (default: the current one)")
	c.Flags().StringVar(&keys, "keys", "", "verify with the keys in this JWKS file instead of those the control plane publishes")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	return c
}

func (a *app) showRun(t runs.Timeline) {
	w := a.out
	fmt.Fprintf(w, "%s  %s\n", w.bold(safe(t.WorkflowID)), a.statusWord(t.Status))
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%s %s\n", w.dim(fmt.Sprintf("  %-10s", k)), v)
		}
	}
	row("type", safe(t.WorkflowType))
	row("namespace", safe(t.Namespace))
	row("run", t.RunID)
	row("started", t.Started.Local().Format("2006-01-02 15:04:05"))
	if !t.Closed.IsZero() {
		row("closed", fmt.Sprintf("%s, after %s", t.Closed.Local().Format("2006-01-02 15:04:05"), t.Closed.Sub(t.Started).Round(time.Millisecond)))
	}
	if t.Owner != nil {
		row("owner", w.bold(party(*t.Owner))+w.dim(", who took it over"))
	}
	row("parent", safe(t.Lineage.ParentWorkflowID))
	row("schedule", safe(t.Lineage.ScheduleID))
	if c := t.Caller; c != nil {
		row("called by", "Nexus, from workflow "+safe(c.WorkflowID+" in "+c.Namespace+", run "+c.RunID))
	}
	row("continues", safe(t.Lineage.ContinuedRunID))
	row("next run", safe(t.NextRunID))
	fmt.Fprintln(w)
	for _, s := range t.Steps {
		a.showStep(t, s)
	}
	fmt.Fprintln(w)
	sum := []string{w.green(fmt.Sprintf("%d verified", t.Verified))}
	if t.Unattested > 0 {
		sum = append(sum, w.yellow(fmt.Sprintf("%d unattested", t.Unattested)))
	}
	if t.Invalid > 0 {
		sum = append(sum, w.red(fmt.Sprintf("%d INVALID", t.Invalid)))
	}
	fmt.Fprintln(w, strings.Join(sum, ", "))
}

func (a *app) showStep(t runs.Timeline, s runs.Step) {
	w := a.out
	title := safe(s.Title())
	if result := s.Result(); result != "" {
		title += ", " + safe(result)
	}
	fmt.Fprintf(w, "%s %s  %s\n", a.mark(s.Verdict), w.dim(s.Time.Local().Format("15:04:05")), w.bold(title))
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "             %s %s\n", w.dim(fmt.Sprintf("%-8s", k)), v)
		}
	}
	if s.Kind == runs.KindReset && s.ID != "" {
		row("from", "run "+safe(s.ID))
	}
	switch s.Verdict {
	case runs.Verified:
		st := s.Attestation
		if s.CarriedFrom != 0 {
			row("for", party(st.Originator)+w.dim(" by "+edgePhrase(t, s)))
		} else {
			a.showStatement(row, st)
		}
	case runs.Invalid:
		row("INVALID", w.red(safe(string(s.Code)+": "+s.Problem)))
	case runs.Unattested:
		row("", w.yellow("unattested"))
	case runs.Recorded:
		a.showDecided(row, s)
	}
	if s.ExecutedBy != "" {
		row("run by", safe(s.ExecutedBy)+w.dim(" (native)"))
	} else if s.Principal != "" {
		row("native", safe(s.Principal))
	}
}

// showStatement prints a statement where it came into the run.
func (a *app) showStatement(row func(k, v string), st *attest.Statement) {
	row("by", a.out.bold(party(st.Actor)))
	if st.Originator.Principal != st.Actor.Principal {
		row("for", party(st.Originator))
	}
	for _, link := range st.Chain {
		row("via", party(link))
	}
	row("because", safe(st.Reason))
	row("grant", safe(st.Grant))
	if len(st.Policies) > 0 {
		row("policy", list(st.Policies))
	}
	if !st.AuthTime.IsZero() {
		row("auth", "signed in "+st.AuthTime.Local().Format("2006-01-02 15:04:05")+acr(st.ACR))
	}
	row("decision", safe(st.ID))
}

// showDecided prints what the audit log says of an act that Temporal keeps no header of.
func (a *app) showDecided(row func(k, v string), s runs.Step) {
	if s.Problem != "" {
		row("", a.out.yellow(safe(s.Problem)))
	}
	if d := s.Decided; d != nil {
		row("by", a.out.bold(party(d.Actor))+a.out.dim(" (audit log)"))
		if d.Originator != nil {
			row("for", party(*d.Originator))
		}
		row("because", safe(d.Reason))
		row("grant", safe(d.Grant))
	}
	row("decision", safe(s.Decision))
}

func acr(s string) string {
	if s == "" {
		return ""
	}
	return ", " + safe(s)
}

// edgePhrase says which event of this run a carried statement came in by.
func edgePhrase(t runs.Timeline, s runs.Step) string {
	for _, from := range t.Steps {
		if from.EventID == s.CarriedFrom {
			if from.Kind == runs.KindStart {
				return "the run's start"
			}
			return string(from.Kind) + " " + safe(from.Name)
		}
	}
	return fmt.Sprintf("event %d", s.CarriedFrom)
}

func party(p attest.Party) string {
	name := p.Login
	if name == "" {
		name = p.Principal
	}
	if p.Profile != "" && p.Profile != "user" {
		name += " (" + p.Profile + ")"
	}
	return safe(name)
}

func (a *app) mark(v runs.Verdict) string {
	switch v {
	case runs.Verified:
		return a.out.green("✓")
	case runs.Invalid:
		return a.out.red("✗")
	case runs.Unattested:
		return a.out.yellow("?")
	}
	return a.out.dim("·")
}
