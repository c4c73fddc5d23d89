package e2e

import (
	"encoding/json"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

// TestRestart stops the whole environment with Ctrl-C in the middle of a deployment and starts it again: the deployment goes on, nobody has
// to log in again, and the log is one.
func TestRestart(t *testing.T) {
	needsProc(t)
	s := newSettings(t)
	d := start(t, s)
	alice := d.user(t, "alice@acme.example")
	before := alice.token(t)
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", "restart-1", "--reason", "CHG-8: slowly", "--input", `{"service":"checkout","version":"5","step_seconds":3}`)
	awaitSteps(t, alice, "restart-1", 1)
	d.stop(t)
	if r := alice.run(t, "run", "show", "restart-1", "--namespace", "deploy"); r.code == 0 {
		t.Error("run show works while everything is stopped")
	}

	d = start(t, s)
	defer func() { d.stop(t) }()
	alice.dev = d
	if after := alice.token(t); after != before {
		t.Error("the token changed over the restart, though it had not expired")
	}
	var tl runs.Timeline
	alice.json(t, &tl, "run", "show", "restart-1", "--namespace", "deploy")
	if tl.Status != "running" {
		t.Fatalf("the run is %q after the restart, want running: the restart came too late to interrupt anything", tl.Status)
	}
	tl = closed(t, alice, "restart-1")
	if tl.Status != "completed" || tl.Invalid != 0 || tl.Unattested != 0 {
		t.Errorf("the run after the restart: %s, %d unattested, %d invalid", tl.Status, tl.Unattested, tl.Invalid)
	}
	c := sdkClient(t, d, alice.token(t), "deploy")
	defer c.Close()
	var st demo.Status
	if err := c.GetWorkflow(patience(t), "restart-1", "").Get(patience(t), &st); err != nil {
		t.Fatalf("the result of the run after the restart: %v", err)
	}
	if st.Phase != "live" || st.StartedBy != alice.login || st.Reason != "CHG-8: slowly" || len(st.Steps) != 4 {
		t.Errorf("the run ends with %+v", st)
	}
	for _, step := range st.Steps {
		if step.RanAs != alice.login {
			t.Errorf("step %s ran as %q, want alice: those after the restart too", step.Name, step.RanAs)
		}
	}
	alice.ok(t, "audit", "verify")
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", "restart-2", "--input", `{"service":"checkout","version":"6"}`, "--wait")
	for _, problem := range secrets.sweep(s) {
		t.Error(problem)
	}
}

// awaitSteps waits until a deployment has made n steps.
func awaitSteps(t *testing.T, u *user, id string, n int) {
	t.Helper()
	c := sdkClient(t, u.dev, u.token(t), "deploy")
	defer c.Close()
	eventually(t, "the deployment makes its first steps", func() string {
		v, err := c.QueryWorkflow(patience(t), id, "", demo.QueryStatus)
		if err != nil {
			return err.Error()
		}
		var st demo.Status
		if err := v.Get(&st); err != nil {
			return err.Error()
		}
		if len(st.Steps) < n {
			raw, _ := json.Marshal(st) // for the message
			return string(raw)
		}
		return ""
	})
}
