package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// checked is what `bailiwick policy check --json` prints.
type checked struct {
	OK bool `json:"ok"` // it would be put in force; with --strict, there are also no warnings
	policy.Report
	Warnings []policy.Problem `json:"warnings,omitempty"`
}

func (a *app) policyCheckCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check a policy directory without putting it in force",
		Long: `Parse and type-check every file of a policy directory (default: the context's) and print each problem with its file, line and fix; a gate would
not put such a directory in force. Then warn of what loads and is likely a mistake: policies that can never apply or are always outweighed,
permits without a scope, groups and roles that nothing uses.

Exit code 1 if there is any problem; with --strict, also if there is any warning.`,
		Example: `  bailiwick policy check .bailiwick/policy
  bailiwick policy check --strict policies/        # in CI
  bailiwick policy check --json policies/ | jq .problems`,
		Args:              usage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeDirs,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := a.policyDir(first(args))
			if err != nil {
				return err
			}
			r, err := policy.Check(dir)
			if err != nil {
				return err
			}
			report := checked{OK: r.OK(), Report: r}
			if r.OK() {
				s, err := policy.LoadSet(dir)
				if err != nil {
					return policyError(dir, err)
				}
				report.Warnings = s.Lint()
				report.OK = !strict || len(report.Warnings) == 0
			}
			if a.asJSON {
				if err := a.out.json(report); err != nil {
					return err
				}
			} else {
				a.showChecked(report)
			}
			switch {
			case len(r.Problems) > 0:
				return &coded{Code: "policy_invalid", Text: fmt.Sprintf("%s in %s", some(len(r.Problems), "problem"), dir), Fix: "mend them; until then a running gate keeps the last good set"}
			case !report.OK:
				return &coded{Code: "policy_warnings", Text: fmt.Sprintf("%s in %s", some(len(report.Warnings), "warning"), dir), Fix: "mend them, or check without --strict"}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 on warnings too")
	return c
}

func (a *app) showChecked(r checked) {
	w := a.out
	print := func(mark string, ps []policy.Problem) {
		for _, p := range ps {
			a.showProblem(mark, p)
		}
	}
	print(w.red("✗"), r.Problems)
	print(w.yellow("!"), r.Warnings)
	if len(r.Problems) > 0 {
		return
	}
	fmt.Fprintf(w, "%s %s in %s; digest %s\n", w.green("Good:"), some(r.Policies, "policy"), some(len(r.Files), "file"), r.Digest)
	if n := len(r.Warnings); n > 0 {
		fmt.Fprintln(w, w.yellow(some(n, "warning")+": it would be put in force, but look at them first."))
	}
}

// showProblem prints "FILE:LINE: TEXT" and the fix below it.
func (a *app) showProblem(mark string, p policy.Problem) {
	fix := p.Fix
	p.Fix = ""
	fmt.Fprintf(a.out, "%s %s\n", mark, safe(p.String()))
	if fix != "" {
		fmt.Fprintf(a.out, "    %s %s\n", a.out.dim("fix:"), safe(fix))
	}
}

// some counts: "1 policy", "3 policies".
func some(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case what[len(what)-1] == 'y':
		return fmt.Sprintf("%d %sies", n, what[:len(what)-1])
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// first is the first argument, if there is one.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
