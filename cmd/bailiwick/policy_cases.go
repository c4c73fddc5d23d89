package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

func (a *app) policyTestCommand() *cobra.Command {
	var set policyFlags
	var junit string
	var verbose bool
	c := &cobra.Command{
		Use:   "test FILES...",
		Short: "Test policies against tables of cases",
		Long: `Decide every case of the files (YAML: who, what, and whether it should be allowed) by a policy directory, and tell which came out otherwise.
A directory stands for every *.yaml and *.yml in it but roles.yaml.

Exit code 1 if a case fails, if a file can't be read, or if there is no case at all.`,
		Example: `  bailiwick policy test cases.yaml --policies policies/
  bailiwick policy test tests/ --policies policies/ --junit report.xml     # in CI

  # cases.yaml
  version: 1
  people:
    alice: { groups: ["temporal:deploy:write"] }
  cases:
    - { who: alice, action: StartWorkflowExecution, namespace: deploy, type: deploy, expect: allow }
    - { who: alice, action: TerminateWorkflowExecution, namespace: payments, expect: deny, code: no_permission }`,
		Args:              usage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeYAML,
		RunE: func(_ *cobra.Command, args []string) error {
			s, dir, err := a.policySet(set.dir)
			if err != nil {
				return err
			}
			cases, err := readCases(args)
			if err != nil {
				return err
			}
			r := s.Test(cases)
			if junit != "" {
				if err := writeJUnit(junit, r); err != nil {
					return err
				}
			}
			if a.asJSON {
				if err := a.out.json(struct {
					OK bool `json:"ok"`
					policy.TestReport
				}{r.OK(), r}); err != nil {
					return err
				}
			} else {
				a.showCases(r, dir, verbose)
			}
			if !r.OK() {
				return &coded{Code: "policy_tests_failed", Text: fmt.Sprintf("%d of %s failed", r.Failed, some(len(r.Results), "case")), Fix: "ask why with bailiwick policy explain, and mend the policies or the case"}
			}
			return nil
		},
	}
	set.register(c)
	c.Flags().StringVar(&junit, "junit", "", "also write the results to this file, as JUnit XML")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "also list the cases that passed")
	must(c.MarkFlagFilename("junit", "xml"))
	return c
}

// readCases reads files, and those of directories.
func readCases(paths []string) ([]policy.Case, error) {
	var cases []policy.Case
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			files = nil
			for _, pattern := range []string{"*.yaml", "*.yml"} {
				found, err := filepath.Glob(filepath.Join(path, pattern))
				if err != nil {
					return nil, fmt.Errorf("looking for cases in %s: %w", path, err)
				}
				for _, f := range found {
					if filepath.Base(f) != policy.RolesFile {
						files = append(files, f)
					}
				}
			}
			if len(files) == 0 {
				return nil, &coded{Code: "no_cases", Text: fmt.Sprintf("%s holds no file of cases", path), Fix: "write some: bailiwick policy test --help has an example"}
			}
		}
		for _, f := range files {
			more, err := policy.LoadCases(f)
			var wrong *policy.LoadError
			if errors.As(err, &wrong) {
				return nil, &coded{Code: "cases_invalid", Text: fmt.Sprintf("%s can't be read:\n%s", f, wrong.Error()), Fix: "bailiwick policy test --help has an example"}
			}
			if err != nil {
				return nil, err
			}
			cases = append(cases, more...)
		}
	}
	return cases, nil
}

func writeJUnit(path string, r policy.TestReport) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the JUnit report: %w", err)
	}
	err = r.JUnit(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing the JUnit report: %w", err)
	}
	return nil
}

func (a *app) showCases(r policy.TestReport, dir string, verbose bool) {
	w := a.out
	for _, c := range r.Results {
		switch {
		case !c.OK:
			fmt.Fprintf(w, "%s %s  %s\n", w.red("✗"), w.bold(safe(c.Name)), w.dim(safe(fmt.Sprintf("%s:%d", c.File, c.Line))))
			fmt.Fprintf(w, "    want %s\n    got  %s\n", w.green(safe(c.Want)), w.red(safe(c.Got)))
			if c.Why != "" {
				fmt.Fprintf(w, "         %s\n", w.dim(safe(c.Why)))
			}
		case verbose:
			fmt.Fprintf(w, "%s %s  %s\n", w.green("✓"), safe(c.Name), w.dim(safe(c.Got)))
		}
	}
	if r.OK() {
		fmt.Fprintf(w, "%s %s passed in %s, by %s\n", w.green("Good:"), some(r.Passed, "case"), r.Took.Round(10*time.Microsecond), safe(dir))
	} else {
		fmt.Fprintf(w, "%d passed, %s\n", r.Passed, w.red(fmt.Sprintf("%d failed", r.Failed)))
	}
}
