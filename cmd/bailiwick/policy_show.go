package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

func (a *app) policyShowCommand() *cobra.Command {
	var f logFlags
	var expanded bool
	var digest, decision string
	c := &cobra.Command{
		Use:   "show [DIR]",
		Short: "Print the policies, with --expanded also what roles.yaml means in Cedar",
		Long: `Print the files of a policy directory (default: the context's) as they would be put in force. With --expanded, the groups, patterns and clients
of roles.yaml are written out as the Cedar that they stand for, followed by the policies.

The texts of each set that was ever in force are kept beside the journal: --digest shows one of these, --decision the one by which a decision
of the log was made.`,
		Example: `  bailiwick policy show --expanded
  bailiwick policy show policies/ --json | jq -r '.files[].name'
  bailiwick policy show --decision 01936f0e > as-it-was.txt`,
		Args:              usage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeDirs,
		RunE: func(c *cobra.Command, args []string) error {
			s, texts, digest, err := a.policyTexts(c, f, first(args), digest, decision)
			if err != nil {
				return err
			}
			if s == nil && expanded {
				return &coded{Code: "policy_older", Text: "these policies don't load in this version of Bailiwick, so that they can't be expanded", Fix: "show them without --expanded"}
			}
			if a.asJSON {
				shown := struct {
					Digest   string       `json:"digest"`
					Files    []policyText `json:"files"`
					Expanded string       `json:"expanded,omitempty"`
				}{Digest: digest, Files: texts}
				if expanded {
					shown.Expanded = s.Expanded()
				}
				return a.out.json(shown)
			}
			if expanded {
				a.source(s.Expanded())
				return nil
			}
			for i, t := range texts {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				fmt.Fprintln(a.out, a.out.bold("# ── "+safe(t.Name)+" ──"))
				a.source(t.Text)
			}
			return nil
		},
	}
	f.register(c)
	c.Flags().BoolVarP(&expanded, "expanded", "x", false, "write roles.yaml out as Cedar")
	c.Flags().StringVar(&digest, "digest", "", "a set that was in force, by its digest")
	c.Flags().StringVar(&decision, "decision", "", "the set by which this decision was made: its id or index in the log")
	return c
}

// policyTexts finds the set to show, its files and its digest. The set is nil if this build can't load it.
func (a *app) policyTexts(c *cobra.Command, f logFlags, dir, digest, decision string) (*policy.Set, []policyText, string, error) {
	if (dir != "" && digest != "") || (dir != "" && decision != "") || (digest != "" && decision != "") {
		return nil, nil, "", badUsage(c, "name one of DIR, --digest and --decision")
	}
	if decision != "" {
		r, err := a.findEntry(c.Context(), f, decision)
		if err != nil {
			return nil, nil, "", err
		}
		if r.Entry.Decision == nil || r.Entry.Decision.PolicyDigest == "" {
			return nil, nil, "", &coded{Code: "no_decision", Text: fmt.Sprintf("entry %d is not a decision by policy", r.Index), Fix: "choose another: bailiwick audit tail --all"}
		}
		digest = r.Entry.Decision.PolicyDigest
	}
	if digest != "" {
		texts, err := a.keptPolicy(f, digest)
		if err != nil {
			return nil, nil, "", &coded{Code: "policy_not_kept", Text: err.Error(), Fix: "the texts are kept beside the journal of the gate that decided: name it with --journal DIR"}
		}
		s, _, err := a.keptSet(f, digest)
		if err != nil {
			s = nil // it can be shown all the same
		}
		return s, texts[1:], digest, nil
	}
	s, _, err := a.policySet(dir)
	if err != nil {
		return nil, nil, "", err
	}
	texts, err := unpackPolicy(s.Archive())
	if err != nil {
		return nil, nil, "", err
	}
	if len(texts) < 2 {
		return nil, nil, "", errors.New("the policy set has no files")
	}
	return s, texts[1:], s.Digest(), nil
}
