package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

func (a *app) policyDiffCommand() *cobra.Command {
	var exitCode bool
	c := &cobra.Command{
		Use:   "diff [A] B",
		Short: "Compare two policy directories, by text and by what they decide",
		Long: `Compare two policy directories: the policies that were added, removed or changed, what roles.yaml gives otherwise, and for every group and client
that either names, which decisions differ. With one directory, it is compared with the context's.

To see what a draft would have changed for what people really did, use "policy replay".`,
		Example: `  bailiwick policy diff draft/                       # what is in the context's directory, and the draft
  bailiwick policy diff main/policies branch/policies --exit-code
  bailiwick policy diff old/ new/ --json | jq '.access[] | select(.after == "allowed")'`,
		Args:              usage(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: completeDirs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				args = []string{"", args[0]}
			}
			before, from, err := a.policySet(args[0])
			if err != nil {
				return err
			}
			after, to, err := a.policySet(args[1])
			if err != nil {
				return err
			}
			d := policy.Diff(before, after)
			if a.asJSON {
				err = a.out.json(struct {
					Same bool `json:"same"`
					policy.DiffReport
				}{d.Same(), d})
			} else {
				a.showDiff(d, from, to)
			}
			if err == nil && exitCode && !d.Same() {
				err = &coded{Code: "policies_differ", Text: fmt.Sprintf("%s and %s differ", from, to)}
			}
			return err
		},
	}
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 if they differ")
	return c
}

func (a *app) showDiff(d policy.DiffReport, from, to string) {
	w := a.out
	if d.Same() {
		text := "They decide alike"
		if d.A == d.B {
			text = "They are the same, byte by byte"
		}
		fmt.Fprintf(w, "%s %s\n", w.green(text+":"), clip(safe(d.B), 12))
		return
	}
	fmt.Fprintln(w, w.bold(fmt.Sprintf("%s → %s", safe(from), safe(to))))
	signs := map[string]string{"added": w.green("+"), "removed": w.red("-"), "changed": w.yellow("~")}
	if len(d.Policies) > 0 {
		fmt.Fprintln(w, "\n"+w.bold("Policies"))
	}
	for _, p := range d.Policies {
		fmt.Fprintf(w, "%s %s %s  %s %s\n", signs[p.Change], w.effect(safe(p.Effect)), w.bold(safe(p.ID)), safe(p.Change), w.dim(safe(p.Where)))
		if p.Change != "changed" {
			continue
		}
		for _, l := range lineDiff(p.Before, p.After) {
			switch text := safe(l[1:]); l[0] {
			case '-':
				fmt.Fprintln(w, "    "+w.red("- "+text))
			case '+':
				fmt.Fprintln(w, "    "+w.green("+ "+text))
			default:
				fmt.Fprintln(w, "      "+w.dim(text))
			}
		}
	}
	if len(d.Mapping) > 0 {
		fmt.Fprintln(w, "\n"+w.bold("Who holds which role"))
	}
	for _, m := range d.Mapping {
		text := safe(m)
		switch {
		case strings.HasPrefix(m, "+"):
			text = w.green(text)
		case strings.HasPrefix(m, "-"):
			text = w.red(text)
		}
		fmt.Fprintln(w, text)
	}
	fmt.Fprintln(w, "\n"+w.bold("What is decided otherwise"))
	if len(d.Access) == 0 {
		fmt.Fprintln(w, w.dim("nothing, for the groups and clients that either names"))
		return
	}
	var rows [][]string
	for _, x := range d.Access {
		who, actions, now := safe(x.Who), brief(x.Actions), change(w, x.Before, x.After)
		// The same in several namespaces is one row.
		if n := len(rows) - 1; n >= 0 && rows[n][0] == now && rows[n][1] == who && rows[n][3] == actions {
			rows[n][2] += ", " + inNamespace(x.Namespace)
			continue
		}
		rows = append(rows, []string{now, who, inNamespace(x.Namespace), actions})
	}
	w.rows([]string{"NOW", "WHO", "NAMESPACE", "ACTIONS"}, rows)
}

// inNamespace names where: what is in none is the cluster.
func inNamespace(name string) string {
	if name == "" {
		return "the cluster"
	}
	return safe(name)
}

// brief lists a few actions, and counts when there are more.
func brief(actions []string) string {
	if len(actions) <= 3 {
		return list(actions)
	}
	return fmt.Sprintf("%d actions: %s, …", len(actions), list(actions[:3]))
}

// change colours by what a caller notices: refusals are red, permissions green.
func change(w *terminal, before, after policy.Code) string {
	switch {
	case after == policy.CodeAllowed:
		return w.green("allowed")
	case before == policy.CodeAllowed:
		return w.red("refused") + ", " + safe(string(after))
	}
	return w.yellow("refused otherwise") + ", " + safe(string(after))
}

// lineDiff gives the lines of two texts, each after "-", "+" or " ".
func lineDiff(before, after string) []string {
	a, b := strings.Split(strings.TrimSpace(before), "\n"), strings.Split(strings.TrimSpace(after), "\n")
	// The longest common lines, by the usual table; a policy has few lines, and one of thousands is shown whole.
	if len(a)*len(b) > 1<<20 {
		return append(marked("-", a), marked("+", b)...)
	}
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			out = append(out, " "+a[i])
			i, j = i+1, j+1
		case table[i+1][j] >= table[i][j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return append(append(out, marked("-", a[i:])...), marked("+", b[j:])...)
}

func marked(sign string, lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = sign + l
	}
	return out
}
