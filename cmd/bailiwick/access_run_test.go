package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRunsAreCompleted: from what was listed here, in the namespace and of the workflow that are named, and without asking a server.
func TestRunsAreCompleted(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "temporal.toml"))
	url, _ := idp(t)
	if code, _, errs := bailiwick("login", "--issuer", url, "--client-id", "cli", "--address", "127.0.0.1:1", "--context", "mine"); code != exitOK {
		t.Fatal(errs)
	}
	const first, second, third = "0198c000-1111-7111-8111-111111111111", "0198c000-2222-7111-8111-111111111111", "0298c000-3333-7111-8111-111111111111"
	a := newApp(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	a.rememberRuns(recentRun{"payments", "order-1", first}, recentRun{"payments", "order-2", second})
	a.rememberRuns(recentRun{"deploy", "ship-1", third}, recentRun{"payments", "order-1", first})
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "show", ""}, "ship-1,order-1,order-2"},
		{[]string{"run", "signal", "-n", "payments", "order-"}, "order-1,order-2"},
		{[]string{"run", "update", "ship-1", ""}, ""}, // its name nobody knows
		{[]string{"run", "graph", "sh"}, "ship-1"},
		{[]string{"--run", ""}, third + "," + first + "," + second},
		{[]string{"--run", "02"}, third},
		{[]string{"--namespace", "payments", "--run", ""}, first + "," + second},
		{[]string{"--workflow", "order-2", "--run", ""}, second},
		{[]string{"--namespace", "deploy", "--workflow", ""}, "ship-1"},
	} {
		if tc.args[0] != "run" {
			tc.args = append([]string{"access", "request"}, tc.args...)
		}
		_, out, _ := bailiwick(append([]string{"__complete"}, tc.args...)...)
		var got []string
		for line := range strings.Lines(out) {
			if id, _, ok := strings.Cut(line, "\t"); ok {
				got = append(got, id)
			}
		}
		if strings.Join(got, ",") != tc.want {
			t.Errorf("%v completes to %v", tc.args, got)
		}
	}
	code, _, errs := bailiwick("access", "request", "-n", "payments", "--action", "TerminateWorkflowExecution", "--run", "x' OR 1=1", "--for", "10m", "--reason", "INC-1")
	if code != exitUsage || !strings.Contains(errs, "run id") {
		t.Errorf("a run id that is none: %d %s", code, errs)
	}
}
