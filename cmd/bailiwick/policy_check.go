package main

import (
	"fmt"
	"os"
	"strings"

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
	var groups, clients string
	c := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check a policy directory without putting it in force",
		Long: `Parse and type-check every file of a policy directory (default: the context's) and print each problem with its file, line and fix; a gate would
not put such a directory in force. Then warn of what loads and is likely a mistake: policies that can never apply or are always outweighed,
permits without a scope, groups and roles that nothing uses. With --groups and --clients, lists of what exists in your organization (one name a
line), also groups and clients that don't.

Exit code 1 if there is any problem; with --strict, also if there is any warning.`,
		Example: `  bailiwick policy check .bailiwick/policy
  bailiwick policy check --strict policies/        # in CI
  bailiwick policy check policies/ --groups groups.txt
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
				return policyError(dir, err)
			}
			report := checked{OK: r.OK(), Report: r}
			if r.OK() {
				s, err := policy.LoadSet(dir)
				if err != nil {
					return policyError(dir, err)
				}
				var known policy.Known
				if known.Groups, err = nameLines(groups); err != nil {
					return err
				}
				if known.Clients, err = nameLines(clients); err != nil {
					return err
				}
				report.Warnings = s.Lint(known)
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
	c.Flags().StringVar(&groups, "groups", "", "file of the groups that exist, one a line")
	c.Flags().StringVar(&clients, "clients", "", "file of the client ids that exist, one a line")
	must(c.MarkFlagFilename("groups"))
	must(c.MarkFlagFilename("clients"))
	return c
}

// nameLines reads a file of one name a line; without a file there are none.
func nameLines(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a list of names: %w", err)
	}
	var names []string
	for line := range strings.Lines(string(raw)) {
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, &coded{Code: "no_names", Text: path + " holds no name", Fix: "write one a line, or leave the flag out"}
	}
	return names, nil
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
