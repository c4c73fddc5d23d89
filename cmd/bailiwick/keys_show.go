package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
)

func (a *app) showKeys(s rotation.Status) {
	w := a.out
	for _, i := range s.Issuers {
		fmt.Fprintf(w, "%s  %s\n", w.bold("issuer "+safe(i.ID)), safe(i.URL))
		for _, k := range i.Keys {
			field(w, strings.ToLower(safe(k.Status)), safe(k.ID))
		}
		mode := safe(i.Mode)
		if i.Mode == "AUTO" {
			mode += ": Okta rotates by itself, and waits for no verifier; the first rotation here takes it over"
		}
		field(w, "mode", mode)
		if !i.LastRotated.IsZero() {
			field(w, "rotated", i.LastRotated.Local().Format("2006-01-02 15:04:05"))
		}
		field(w, "next key", fmt.Sprintf("%d verifiers have it", i.Have))
		for _, l := range i.Lagging {
			field(w, "", w.yellow(safe(l.Verifier))+": "+safe(l.Why))
		}
		a.showKeyProblem(i.Problem)
	}
	for _, c := range s.Clients {
		what := "key"
		if c.Secret {
			what = "secret"
		}
		fmt.Fprintf(w, "%s  %s\n", w.bold("client "+safe(c.ID)), safe(c.Label))
		field(w, what, safe(or(c.Credential.KID, c.Credential.ID))+"  in "+safe(c.File))
		if !c.Credential.Created.IsZero() {
			field(w, "from", c.Credential.Created.Local().Format("2006-01-02 15:04:05")+", due "+c.Due.Local().Format(time.DateOnly))
		}
		a.showKeyProblem(c.Problem)
	}
	for _, g := range s.Attestations {
		fmt.Fprintln(w, w.bold("attestation "+safe(g.ID)))
		for _, k := range g.Keys {
			text := safe(k.ID)
			if !k.From.IsZero() {
				text += "  from " + k.From.Local().Format("2006-01-02 15:04:05")
			}
			if !k.Until.IsZero() {
				text += "  until " + k.Until.Local().Format("2006-01-02 15:04:05")
			}
			field(w, "key", text)
		}
		a.showKeyProblem(g.Problem)
	}
	for _, l := range s.Checkpoints {
		a.showLogKeys(l)
	}
	fmt.Fprintln(w, w.bold("verifiers"))
	for _, v := range s.Verifiers {
		text := "heard " + v.At.Local().Format("15:04:05")
		if v.Silent {
			text = w.red("silent") + ", last heard " + v.At.Local().Format("2006-01-02 15:04:05")
		}
		field(w, safe(v.Name), text)
	}
	for _, r := range s.Rotations {
		done := 0
		for _, step := range r.Steps {
			if step.State == rotation.Completed {
				done++
			}
		}
		fmt.Fprintf(w, "%s  %s %s: step %d of %d\n", w.bold(w.yellow("rotating")), r.Use, safe(r.Target), min(done+1, len(r.Steps)), len(r.Steps))
		if r.Waiting != "" {
			field(w, "waits", safe(r.Waiting))
		}
	}
}

func (a *app) showLogKeys(l rotation.CheckpointStatus) {
	w := a.out
	fmt.Fprintf(w, "%s  %s\n", w.bold("checkpoint "+safe(l.ID)), safe(l.Origin))
	field(w, "key", safe(l.Key))
	if !l.Since.IsZero() {
		field(w, "from", l.Since.Local().Format("2006-01-02 15:04:05"))
	}
	if l.Next != "" {
		text := safe(l.Next)
		if !l.Linked {
			text += "  signs nothing: the log does not prove yet that it follows"
		}
		field(w, "next", text)
	}
	for _, g := range l.Lagging {
		field(w, "", w.yellow(safe(g.Verifier))+": "+safe(g.Why))
	}
	if l.First != l.Key {
		field(w, "known by", safe(l.First)+fmt.Sprintf("; %d followed", len(l.History)))
	}
	a.showKeyProblem(l.Problem)
}

func (a *app) showKeyProblem(p rotation.Problem) {
	if p.Code == "" {
		return
	}
	field(a.out, a.out.yellow(p.Code), safe(p.Detail))
	if p.Fix != "" {
		field(a.out, "next", safe(p.Fix))
	}
}

func (a *app) showLook(l rotation.Look) error {
	if a.asJSON {
		if err := a.out.json(l); err != nil {
			return err
		}
	} else {
		w := a.out
		fmt.Fprintf(w, "%s %s\n", w.bold("would rotate "+string(l.Use)), safe(l.Target))
		field(w, "previous", safe(l.Previous))
		if l.Next != "" {
			field(w, "next", safe(l.Next))
		}
		for i, s := range l.Steps {
			field(w, fmt.Sprintf("step %d", i+1), s)
		}
		for _, g := range l.Lagging {
			field(w, "waits for", w.yellow(safe(g.Verifier))+": "+safe(g.Why))
		}
	}
	if l.Code != "" {
		return &coded{Code: l.Code, Text: safe(l.Detail), Fix: safe(l.Fix), exit: exitUnproven}
	}
	return nil
}

func (a *app) showRotation(r rotation.Rotation) error {
	if a.asJSON {
		if err := a.out.json(r); err != nil {
			return err
		}
	} else {
		w := a.out
		switch r.State {
		case rotation.Rotated:
			fmt.Fprintf(w, "%s %s %s in %v: %s → %s; tokens refused: %d\n", w.green("rotated"), r.Use, safe(r.Target), r.Ended.Sub(r.Began).Round(time.Second), safe(r.Previous), safe(r.Next), r.Refused)
		case rotation.Running:
			fmt.Fprintf(w, "%s %s %s: bailiwick keys status\n", w.yellow("rotating"), r.Use, safe(r.Target))
		}
	}
	if r.Code != "" {
		return &coded{Code: r.Code, Text: safe(r.Detail), Fix: safe(r.Fix), exit: exitUnproven}
	}
	return nil
}

func (a *app) keysHistoryCommand() *cobra.Command {
	var f indexFlags
	var since string
	var limit int
	c := &cobra.Command{
		Use:   "history",
		Short: "Show what happened to keys, from the audit log",
		Long: `Show each event in the life of a key, newest first, from the context's audit log: created, published, rotated, retired, archived, aborted; of which use and which
key, by whom and why. It needs no server: the log alone tells.`,
		Example: `  bailiwick keys history
  bailiwick keys history --since 90d --json | jq '.[] | select(.event == "aborted")'`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := parseWhen(since, time.Now())
			if err != nil {
				return badUsage(c, "--since %v", err)
			}
			if limit < 1 || limit > 1000 {
				return badUsage(c, "--limit is %d; use 1 to 1000", limit)
			}
			x, err := a.syncedIndex(c.Context(), f)
			if err != nil {
				return err
			}
			defer x.Close()
			rows, _, err := x.query(c.Context(), index.Filter{Kind: []audit.Kind{audit.KindKey}, From: from, Limit: limit})
			if err != nil {
				return err
			}
			return a.showKeyEvents(rows)
		},
	}
	f.register(c)
	c.Flags().StringVar(&since, "since", "", "only from then on: 24h, 90d, 2026-11-23")
	c.Flags().IntVar(&limit, "limit", 50, "how many, up to 1000")
	return c
}

// keyEvent is an event as --json tells it.
type keyEvent struct {
	Time     time.Time         `json:"time"`
	Event    string            `json:"event"`
	Use      string            `json:"use"`
	KeyID    string            `json:"kid,omitempty"`
	Previous string            `json:"previous,omitempty"`
	By       string            `json:"by"`
	Reason   string            `json:"reason,omitempty"`
	Entry    string            `json:"entry"`
	Detail   map[string]string `json:"detail"`
}

func (a *app) showKeyEvents(rows []index.Row) error {
	events := make([]keyEvent, 0, len(rows))
	var table [][]string
	for _, r := range rows {
		e := r.Entry
		d := e.Detail
		events = append(events, keyEvent{e.Time, d["event"], d["use"], d["kid"], d["previous"], who(e.Actor), e.Reason, e.ID, d})
		event := safe(d["event"])
		if d["event"] == "aborted" {
			event = a.out.red(event) + " " + safe(d["code"])
		}
		table = append(table, []string{e.Time.Local().Format("2006-01-02 15:04:05"), event, safe(d["use"]), clip(safe(or(d["target"], or(d["issuer"], e.Gate))), 32), clip(safe(d["kid"]), 20), clip(safe(d["previous"]), 20), clip(who(e.Actor), 32), clip(safe(e.Reason), 40)})
	}
	if a.asJSON {
		return a.out.json(events)
	}
	if len(table) == 0 {
		fmt.Fprintln(a.errs, "nothing found")
		return nil
	}
	a.out.rows([]string{"TIME", "EVENT", "USE", "OF", "KEY", "BEFORE", "BY", "REASON"}, table)
	return nil
}
