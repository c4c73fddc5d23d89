package e2e

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

// TestRunGraph: a deployment with its child is one picture, verified throughout, as a tree, as JSON and as SVG.
func TestRunGraph(t *testing.T) {
	d := shared(t)
	alice := d.team(t, "alice@acme.example")[0]
	const id, reason = "graph-1", "CHG-20: <draw> & see"
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", id, "--reason", reason, "--input", `{"service":"checkout","version":"2.1.0"}`, "--wait")

	tree := alice.ok(t, "run", "graph", id, "--namespace", "deploy")
	for _, want := range []string{alice.login, reason, id + "-smoke-test", "build", "push", "verify", "2 runs"} {
		if !strings.Contains(tree, want) {
			t.Errorf("the tree does not tell %q:\n%s", want, tree)
		}
	}
	t.Log("\n" + tree)
	var g runs.Graph
	alice.json(t, &g, "run", "graph", id, "--namespace", "deploy")
	if g.Runs != 2 || g.Left != 0 || g.Invalid != 0 || g.Unattested != 0 || g.Verified < 7 || len(g.Root.Branches) != 1 || g.Root.Branches[0].Node.WorkflowID != id+"-smoke-test" {
		t.Errorf("the graph has %d runs, %d left, %d verified, %d unattested, %d invalid, %d branches", g.Runs, g.Left, g.Verified, g.Unattested, g.Invalid, len(g.Root.Branches))
	}
	file := filepath.Join(t.TempDir(), "run.svg")
	alice.ok(t, "run", "graph", id, "--namespace", "deploy", "--svg", file)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for dec := xml.NewDecoder(strings.NewReader(string(raw))); ; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is not well-formed: %v", err)
		}
		if chars, ok := tok.(xml.CharData); ok {
			text += string(chars)
		}
	}
	if !strings.Contains(text, reason) || !strings.Contains(text, alice.login) {
		t.Error("the picture does not say who and why")
	}
	// Beside the browser's pictures, for people to look at.
	dir := filepath.Join(root, "build", "screenshots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run-graph.svg"), raw, 0o644); err != nil {
		t.Error(err)
	}
}
