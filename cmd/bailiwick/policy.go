package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Check policies, and see which are in force", `Check a policy directory before it is put in force, and see which set the gate decides by.

A policy directory holds roles.yaml (which groups have which role in which namespace) and Cedar policies (*.cedar). The gate reads it again within
a second of a change; a set that does not load leaves the last good one in force.`,
		a.policyStatusCommand(), a.policyCheckCommand(), &cobra.Command{
			Use:   "schema",
			Short: "Print the Cedar schema that policies are checked against",
			Args:  usage(cobra.NoArgs),
			RunE: func(*cobra.Command, []string) error {
				fmt.Fprint(a.out, policy.SchemaText())
				return nil
			},
		})
}

func (a *app) policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check a policy directory without putting it in force",
		Long:  "Parse and type-check every file of a policy directory (default: the context's) and print each problem with its file, line and fix. Exit code 1 if there is any.",
		Example: `  bailiwick policy check .bailiwick/policy
  bailiwick policy check --json policies/ | jq .problems`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			} else {
				where, err := a.where()
				if err != nil {
					return err
				}
				if dir = where.PolicyDir; dir == "" {
					return &coded{Code: "no_policy_dir", Text: fmt.Sprintf("context %s does not name a policy directory", where.Name), Fix: "name one: bailiwick policy check DIR"}
				}
			}
			r, err := policy.Check(dir)
			if err != nil {
				return err
			}
			if a.asJSON {
				if err := a.out.json(struct {
					OK bool `json:"ok"`
					policy.Report
				}{r.OK(), r}); err != nil {
					return err
				}
			} else {
				for _, p := range r.Problems {
					fmt.Fprintln(a.out, safe(p.String()))
				}
			}
			if !r.OK() {
				return &coded{Code: "policy_invalid", Text: fmt.Sprintf("%d problems in %s", len(r.Problems), dir), Fix: "mend them; until then a running gate keeps the last good set"}
			}
			if !a.asJSON {
				fmt.Fprintf(a.out, "%s %d policies in %d files; digest %s\n", a.out.green("Good:"), r.Policies, len(r.Files), r.Digest)
			}
			return nil
		},
	}
}

// inForce is what `bailiwick policy status --json` prints.
type inForce struct {
	Digest    string           `json:"digest"`         // of the set the gate decides by, as its log says; empty if it never said
	Since     time.Time        `json:"since,omitzero"` // when the log said so
	Refused   bool             `json:"refused"`        // the gate has refused what is in the directory since
	RefusedAt time.Time        `json:"refused_at,omitzero"`
	Directory string           `json:"directory"`
	OnDisk    string           `json:"on_disk,omitempty"` // digest of the directory as it is now
	Problems  []policy.Problem `json:"problems,omitempty"`
	UpToDate  bool             `json:"up_to_date"`
}

func (a *app) policyStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show which policy set is in force, and whether the directory agrees",
		Long:  "Show the digest of the policy set that the gate decides by, as its log says, and compare it with the policy directory as it is now.",
		Args:  usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.policyStatus(c.Context())
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(s)
			}
			w := a.out
			if s.Digest == "" {
				field(w, "in force", w.yellow("unknown: the log says nothing of policies yet"))
			} else {
				field(w, "in force", s.Digest)
				field(w, "since", s.Since.Local().Format("2006-01-02 15:04:05"))
			}
			field(w, "directory", safe(s.Directory))
			switch {
			case len(s.Problems) > 0:
				field(w, "on disk", w.red("not loadable; the gate keeps the last good set"))
				for _, p := range s.Problems {
					field(w, "", safe(p.String()))
				}
			case s.UpToDate:
				field(w, "on disk", w.green("the same"))
			default:
				field(w, "on disk", w.yellow(s.OnDisk+", not in force (yet)"))
			}
			return nil
		},
	}
}

func (a *app) policyStatus(ctx context.Context) (inForce, error) {
	where, err := a.where()
	if err != nil {
		return inForce{}, err
	}
	s := inForce{Directory: where.PolicyDir}
	if where.PolicyDir != "" {
		r, err := policy.Check(where.PolicyDir)
		if err != nil {
			return s, err
		}
		s.OnDisk, s.Problems = r.Digest, r.Problems
	}
	log, journal, _, err := a.dirs(logFlags{})
	if err != nil {
		return s, err
	}
	for r, err := range tiles.Scan(ctx, tiles.ScanConfig{Log: log, Journal: journal}) {
		if err != nil && r.Raw == nil {
			return s, err
		}
		if err != nil || r.Entry.Kind != audit.KindPolicy && r.Entry.Kind != audit.KindGate || r.Entry.Detail["policy_digest"] == "" {
			continue
		}
		e := r.Entry
		if s.Refused = e.Detail["error_digest"] != ""; s.Refused {
			s.RefusedAt = e.Time
		}
		if e.Detail["policy_digest"] != s.Digest {
			s.Digest, s.Since = e.Detail["policy_digest"], e.Time
		}
	}
	s.UpToDate = len(s.Problems) == 0 && s.Digest != "" && s.Digest == s.OnDisk
	return s, nil
}
