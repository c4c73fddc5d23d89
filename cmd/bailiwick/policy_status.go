package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// gateForce is what one gate decides by, as its log says.
type gateForce struct {
	Gate      string    `json:"gate,omitempty"`
	Running   bool      `json:"running"`          // it has not said since that it stopped
	Digest    string    `json:"digest"`           // of the set; empty if it never said
	Since     time.Time `json:"since,omitzero"`   // when the log said so
	Serial    uint64    `json:"serial,omitempty"` // of the signed bundle that the set came in
	Expires   time.Time `json:"expires,omitzero"` // of that bundle: afterwards the gate refuses everything
	Refused   bool      `json:"refused"`          // the gate has failed to put another set in force since
	RefusedAt time.Time `json:"refused_at,omitzero"`

	failure string // digest of the gate's error
}

// inForce is what `bailiwick policy status --json` prints.
type inForce struct {
	gateForce                  // the gate that was heard last
	Gates     []gateForce      `json:"gates,omitempty"` // every one, by name
	Directory string           `json:"directory"`
	OnDisk    string           `json:"on_disk,omitempty"`  // digest of the directory as it is now
	Policies  int              `json:"policies,omitempty"` // in the directory
	Problems  []policy.Problem `json:"problems,omitempty"` // that keep the directory from being put in force
	SameError bool             `json:"same_error"`         // these are the problems for which the gate refused it
	Unread    string           `json:"unread,omitempty"`   // why the directory can't be read at all
	UpToDate  bool             `json:"up_to_date"`         // the directory is in force, at every gate that runs
}

func (a *app) policyStatusCommand() *cobra.Command {
	var f logFlags
	var p policyFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which policy set is in force, and whether the directory agrees",
		Long: `Show the digest of the policy set that the gate decides by, since when, and whether it has refused another since, as its log says; and compare
that with the policy directory as it is now. Where the log is of several gates, each has its line. For a set that came in a signed bundle, its serial and expiry. Problems of the directory are listed with file, line and fix.`,
		Example: `  bailiwick policy status
  bailiwick policy status --json | jq -e .up_to_date      # in a script: fails unless what is on disk is in force`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.policyStatus(c.Context(), f, p.dir)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(s)
			}
			a.showStatus(s)
			return nil
		},
	}
	f.register(c)
	p.register(c)
	return c
}

func (a *app) showStatus(s inForce) {
	w := a.out
	clock := func(t time.Time) string {
		text := t.Local().Format("2006-01-02 15:04:05")
		if w.tty { // in a pipe the same state gives the same text
			text += w.dim(" (" + span(time.Now(), t) + ")")
		}
		return text
	}
	if s.Digest == "" {
		field(w, "in force", w.yellow("unknown: the log says nothing of policies yet"))
	} else {
		field(w, "in force", w.bold(safe(s.Digest)))
		field(w, "since", clock(s.Since))
		gate := safe(s.Gate)
		if !s.Running {
			gate += w.yellow(", stopped")
		}
		field(w, "gate", gate)
	}
	if len(s.Gates) > 1 {
		for i, g := range s.Gates {
			label := ""
			if i == 0 {
				label = "gates"
			}
			field(w, label, a.gateLine(g, s.OnDisk))
		}
	}
	if s.Serial != 0 {
		text := "serial " + fmt.Sprint(s.Serial) + ", good until " + clock(s.Expires)
		if !time.Now().Before(s.Expires) {
			text = "serial " + fmt.Sprint(s.Serial) + ", " + w.red("expired "+clock(s.Expires)+": everything is refused")
		}
		field(w, "bundle", text)
	}
	if s.Refused {
		field(w, "last error", a.refusedWords(s, clock))
	}
	field(w, "directory", safe(s.Directory))
	switch {
	case s.Directory == "":
	case s.Unread != "":
		field(w, "on disk", w.red("unreadable: ")+safe(s.Unread))
	case len(s.Problems) > 0:
		field(w, "on disk", w.red("not loadable; the gate keeps the last good set"))
		for _, p := range s.Problems {
			a.showProblem("  "+w.red("✗"), p)
		}
	case s.UpToDate:
		field(w, "on disk", w.green("the same")+", "+some(s.Policies, "policy"))
	default:
		field(w, "on disk", w.yellow(safe(s.OnDisk)+", not in force (yet)"))
		field(w, "next", "compare: bailiwick policy show --digest "+safe(s.Digest))
	}
}

// refusedWords tells of the gate's last failure to put another set in force. The audit log keeps no more of it than its digest.
func (a *app) refusedWords(s inForce, clock func(time.Time) string) string {
	w, why := a.out, a.out.dim(" (the gate's own log says why)")
	switch {
	case s.ranOut():
		return w.red("no newer bundle could be put in force since ") + clock(s.Expires) + why
	case len(s.Problems) > 0 && s.SameError:
		return w.red("refused another set ") + clock(s.RefusedAt) + ": the one on disk"
	case s.Serial != 0:
		return w.red("could not fetch a newer bundle, or refused it, ") + clock(s.RefusedAt) + why
	}
	return w.red("refused another set ") + clock(s.RefusedAt) + why
}

// ranOut reports whether what the gate failed at is that its bundle expired and nothing followed.
func (g gateForce) ranOut() bool {
	return g.Refused && g.Serial != 0 && !g.RefusedAt.Before(g.Expires)
}

// gateLine tells of one gate among several.
func (a *app) gateLine(g gateForce, onDisk string) string {
	w := a.out
	text := fmt.Sprintf("%-20s %.12s", safe(g.Gate), safe(g.Digest))
	switch {
	case !g.Running:
		text += w.dim(" stopped")
	case g.ranOut(): // the end of the line says it
	case g.Refused && g.Serial != 0:
		text += w.red(" has no newer bundle")
	case g.Refused:
		text += w.red(" refused another set")
	case onDisk != "" && g.Digest != onDisk:
		text += w.yellow(" not what is on disk")
	}
	if !g.Expires.IsZero() && !time.Now().Before(g.Expires) {
		text += w.red(" expired: everything is refused")
	}
	return text
}

func (a *app) policyStatus(ctx context.Context, f logFlags, dir string) (inForce, error) {
	where, err := a.where()
	if err != nil && (f.log == "" && len(f.journals) == 0 || dir == "") {
		return inForce{}, err
	}
	if dir == "" && f.log == "" && len(f.journals) == 0 {
		dir = where.PolicyDir
	}
	s := inForce{Directory: dir}
	if dir != "" {
		r, err := policy.Check(dir)
		if err != nil {
			s.Unread = err.Error()
		}
		s.OnDisk, s.Problems, s.Policies = r.Digest, r.Problems, r.Policies
	}
	log, journals, _, err := a.dirs(f)
	if err != nil {
		return s, err
	}
	heard := map[string]*gateForce{}
	for r, err := range tiles.Scan(ctx, tiles.ScanConfig{Log: log, Journals: journals}) {
		if err != nil && r.Raw == nil {
			return s, err
		}
		if err == nil {
			if g := hear(heard, r.Entry); g != nil {
				s.gateForce = *g
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(heard)) {
		s.Gates = append(s.Gates, *heard[name])
	}
	if last := heard[s.Gate]; last != nil {
		s.gateForce = *last // it may have stopped since
	}
	if s.Refused && len(s.Problems) > 0 {
		// The log keeps the digest of the gate's error, which is how these problems read.
		sum := sha256.Sum256([]byte((&policy.LoadError{Problems: s.Problems}).Error()))
		s.SameError = hex.EncodeToString(sum[:]) == s.failure
	}
	s.UpToDate = s.Unread == "" && len(s.Problems) == 0 && s.Digest != "" && s.Digest == s.OnDisk &&
		!slices.ContainsFunc(s.Gates, func(g gateForce) bool { return g.Running && g.Digest != s.OnDisk })
	return s, nil
}

// hear takes in what one entry says of the policies in force at its gate, and returns that; nil if it says nothing of them.
func hear(heard map[string]*gateForce, e audit.Entry) *gateForce {
	g := heard[e.Gate]
	if e.Kind == audit.KindGate && e.Detail["event"] == "stopped" && g != nil {
		g.Running = false
	}
	digest := e.Detail["policy_digest"]
	if e.Kind != audit.KindPolicy && e.Kind != audit.KindGate || digest == "" {
		return nil
	}
	if g == nil {
		g = &gateForce{Gate: e.Gate}
		heard[e.Gate] = g
	}
	g.Running = true
	g.failure = e.Detail["error_digest"]
	if g.Refused = g.failure != ""; g.Refused {
		g.RefusedAt = e.Time
	} else {
		g.RefusedAt = time.Time{}
	}
	g.Serial, g.Expires = policy.BundleOf(e.Detail)
	if digest != g.Digest {
		g.Digest, g.Since = digest, e.Time
	}
	return g
}
