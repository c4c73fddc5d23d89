package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the table of docs/cli.md anew")

// The table of commands in docs/cli.md is the one that the program has.
func TestCommandTable(t *testing.T) {
	const file, from, to = "../../docs/cli.md", "<!-- commands: begin -->\n", "<!-- commands: end -->\n"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), from)
	table, after, ended := strings.Cut(rest, to)
	if !ok || !ended {
		t.Fatalf("%s has no table between %q and %q", file, from, to)
	}
	root := newApp(nil, &bytes.Buffer{}, &bytes.Buffer{}).root()
	var b strings.Builder
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n\n| command | what it does |\n|---|---|\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				describe(t, &b, c)
			}
		}
	}
	b.WriteString("\n")
	if table == b.String() {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+from+b.String()+to+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the program has; run: go test ./bailiwick -run TestCommandTable -update\nwant:\n%s", file, b.String())
}

// describe writes a row for a command that does something, or rows for those that it holds. Each says what it is for.
func describe(t *testing.T, b *strings.Builder, c *cobra.Command) {
	if c.Hidden {
		return
	}
	if c.Short == "" || strings.HasSuffix(c.Short, ".") {
		t.Errorf("%s: %q is not a short description", c.CommandPath(), c.Short)
	}
	if !c.HasSubCommands() || strings.Contains(c.Use, " ") || c.LocalNonPersistentFlags().HasFlags() { // one with arguments or flags does something besides holding others
		usage := strings.TrimSuffix(c.UseLine(), " [flags]")
		fmt.Fprintf(b, "| `%s` | %s |\n", usage, c.Short)
	}
	for _, sub := range c.Commands() {
		describe(t, b, sub)
	}
}

// Whoever asks for help is told what the command does and shown how; and every policy command answers programs too.
// Every command that does something shows how, and those of policy explain themselves besides.
func TestCommandsHaveExamples(t *testing.T) {
	root := newApp(nil, &bytes.Buffer{}, &bytes.Buffer{}).root()
	seen := 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.HasSubCommands() || !c.Runnable() || c.Hidden {
			return
		}
		seen++
		ofPolicy := strings.HasPrefix(c.CommandPath(), "bailiwick policy ")
		if c.Long == "" && ofPolicy || c.Short == "" || c.Example == "" {
			t.Errorf("%s has no description or no example", c.CommandPath())
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: the example is of another command", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			if ofPolicy && strings.HasPrefix(line, "bailiwick ") && !strings.HasPrefix(line, c.CommandPath()) {
				t.Errorf("%s: the example %q is of another command", c.CommandPath(), line)
			}
		}
	}
	visit(root)
	if seen < 50 {
		t.Errorf("only %d commands were looked at", seen)
	}
}
