package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
)

// npmResult is what node/client.mjs prints.
type npmResult struct {
	RunID   string          `json:"runId"`
	Updated json.RawMessage `json:"updated"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Name, Message, Details string
		Code                   int
	} `json:"error"`
}

// node is a script of node/ with a token and the settings given, not yet started.
func node(t *testing.T, d *dev, script, token, namespace string, settings ...string) *exec.Cmd {
	t.Helper()
	dir, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"client", "worker"} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", "@temporalio", module)); err != nil {
			t.Fatalf("Temporal's npm packages are not installed: run scripts/install-test-deps (%v)", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Dir = dir
	cmd.Env = append(environment(t.TempDir()), append(settings, "ADDRESS="+d.context.Address, "TOKEN="+token, "NAMESPACE="+namespace)...)
	return cmd
}

// npmDeploy deploys by node/client.mjs.
func npmDeploy(t *testing.T, d *dev, token, namespace, id, reason string) npmResult {
	t.Helper()
	return npm(t, d, token, namespace, "WORKFLOW_ID="+id, "REASON="+reason, "TYPE=deploy", "TASK_QUEUE=deploy", "WAIT=1",
		`INPUT={"service":"checkout","version":"3.0.0","approval":true}`, `SIGNAL={"name":"approve","args":[]}`, `UPDATE={"name":"set-traffic","args":[25]}`)
}

// npm runs node/client.mjs.
func npm(t *testing.T, d *dev, token, namespace string, settings ...string) npmResult {
	t.Helper()
	out, err := node(t, d, "client.mjs", token, namespace, settings...).Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("node client.mjs: %v\n%s%s", err, out, stderr)
	}
	secrets.expectNone(t, "the npm client's output", out)
	var r npmResult
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("node client.mjs printed %q: %v", out, err)
	}
	return r
}

// TestNPMClient: a client that knows nothing of Bailiwick works with a token from `bailiwick token`, and the audit log names its user.
func TestNPMClient(t *testing.T) {
	d := shared(t)
	alice := d.user(t, "alice@acme.example")
	r := npmDeploy(t, d, alice.token(t), "deploy", "npm-1", "CHG-9: from npm")
	if r.Error != nil {
		t.Fatalf("the npm client failed: %+v", *r.Error)
	}
	var st demo.Status
	if err := json.Unmarshal(r.Result, &st); err != nil {
		t.Fatal(err)
	}
	if st.Phase != "live" || st.StartedBy != alice.login || st.ApprovedBy != alice.login || st.TrafficBy != alice.login || st.Traffic != 25 || st.Reason != "CHG-9: from npm" {
		t.Errorf("the run ends with %+v", st)
	}
	acts := map[string]bool{}
	for _, e := range auditEntries(t, alice) {
		if e.Resource.WorkflowID == "npm-1" && e.Actor.Login == alice.login && e.Decision != nil && e.Decision.Allow {
			acts[e.Action] = true
			if e.Action == "StartWorkflowExecution" && e.Reason != "CHG-9: from npm" {
				t.Errorf("the start's entry gives the reason %q", e.Reason)
			}
		}
	}
	for _, want := range []string{"StartWorkflowExecution", "SignalWorkflowExecution", "UpdateWorkflowExecution"} {
		if !acts[want] {
			t.Errorf("the audit log has no allowed %s of npm-1 by alice; it has %v", want, acts)
		}
	}

	denied := npmDeploy(t, d, alice.token(t), "payments", "npm-denied", "just trying")
	if denied.Error == nil {
		t.Fatal("alice may start in payments by npm")
	}
	if denied.Error.Code != 7 || !strings.Contains(denied.Error.Details, "no_permission") || !strings.Contains(denied.Error.Details, "write in payments") {
		t.Errorf("the refusal reaches npm as %+v; want code 7 with no_permission and the missing permission", *denied.Error)
	}
}

// auditEntries are the entries that `bailiwick audit tail` gives to programs.
func auditEntries(t *testing.T, u *user) []audit.Entry {
	t.Helper()
	return lines[audit.Entry](t, u, "audit", "tail", "--all", "--lines", "0")
}
