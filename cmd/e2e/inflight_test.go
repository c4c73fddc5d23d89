package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// waiting starts a deployment and waits until it waits for approval.
func waiting(t *testing.T, c client.Client, id string) client.WorkflowRun {
	t.Helper()
	ctx := patience(t)
	run, err := c.ExecuteWorkflow(sdkplugin.WithReason(ctx, "CHG-50"), client.StartWorkflowOptions{ID: id, TaskQueue: demo.TaskQueue}, demo.WorkflowDeploy,
		demo.DeployInput{Service: "checkout", Version: "3.0.0", Approval: true})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deployment waits for approval", func() string {
		var st demo.Status
		v, err := c.QueryWorkflow(ctx, id, "", demo.QueryStatus)
		if err == nil {
			err = v.Get(&st)
		}
		if err != nil || st.Phase != "waiting for approval" {
			return st.Phase
		}
		return ""
	})
	return run
}

// TestLeaverInFlight: a run goes on to its next activity, and no further, when whoever started it has left; one that somebody else started goes on.
func TestLeaverInFlight(t *testing.T) {
	d := start(t, newSettings(t, "--no-ui"))
	defer d.stop(t)
	users := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := users[0], users[1]
	asAlice, asCarol := pluginClient(t, d, alice.token(t), "deploy"), pluginClient(t, d, carol.token(t), "deploy")
	defer asAlice.Close()
	defer asCarol.Close()
	hers, other := waiting(t, asAlice, "in-flight"), waiting(t, asCarol, "in-flight-carol")
	carol.ok(t, "dev", "people", "deactivate", "alice@acme.example")
	soon(t, "from her leaving to the gate's refusal", 5*time.Second, func() bool {
		r, ok := describe(t, d, "Bearer "+alice.token(t))
		return !ok && r.reason == "revoked"
	})
	time.Sleep(2 * time.Second) // for so long the worker believes what it heard
	ctx := patience(t)
	for _, id := range []string{"in-flight", "in-flight-carol"} {
		if err := asCarol.SignalWorkflow(ctx, id, "", demo.SignalApprove, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := asCarol.GetWorkflow(ctx, hers.GetID(), hers.GetRunID()).Get(ctx, nil); err == nil || !strings.Contains(err.Error(), string(sdkplugin.ForbiddenRevoked)) {
		t.Errorf("the run of somebody who left ended with %v", err)
	}
	if err := other.Get(ctx, nil); err != nil {
		t.Errorf("another's run: %v", err)
	}

	// Only who may take tasks there may ask; and nobody who left.
	for _, c := range []struct {
		user   *user
		query  string
		status int
	}{{alice, "namespace=deploy&principal=user:x%7Cy", http.StatusForbidden}, {carol, "namespace=deploy&principal=mallory", http.StatusBadRequest}} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.context.ControlURL+"/v1/standing/revoked?"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.user.token(t))
		var problem struct{ Code string }
		ask(t, req, c.status, &problem)
		if problem.Code == "" {
			t.Error("the refusal has no code")
		}
	}
}

// TestKeyRetiredInMidRun: the key that signed a run's start is taken away while the run is open. The run goes on, what happens next is signed by
// another key, and all of it verifies.
func TestKeyRetiredInMidRun(t *testing.T) {
	d := start(t, newSettings(t, "--no-ui"))
	defer d.stop(t)
	alice := d.user(t, "alice@acme.example")
	c := pluginClient(t, d, alice.token(t), "deploy")
	defer c.Close()
	run := waiting(t, c, "rotated")
	dir := filepath.Join(d.state(), "keys", "attestation")
	before, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(before) != 1 {
		t.Fatalf("%d keys, %v", len(before), err)
	}
	made := filepath.Join(t.TempDir(), "next.pem")
	if _, err := attest.LoadOrCreateSigner(made); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "next.tmp"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(before[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "next.tmp"), filepath.Join(dir, "next.pem")); err != nil {
		t.Fatal(err)
	}
	ctx := patience(t)
	var tl runs.Timeline
	kids := func() (first, last string) {
		tl = runs.Timeline{}
		alice.json(t, &tl, "run", "show", "rotated", "--namespace", "deploy")
		for _, s := range tl.Steps {
			switch s.Kind {
			case runs.KindStart:
				first = s.KeyID
			case runs.KindUpdate:
				last = s.KeyID
			}
		}
		return first, last
	}
	eventually(t, "another key signs", func() string {
		h, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: "rotated", UpdateName: demo.UpdateSetTraffic, Args: []any{10}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err != nil {
			return err.Error()
		}
		if err := h.Get(ctx, nil); err != nil {
			return err.Error()
		}
		if first, last := kids(); first == last || last == "" {
			return "still signed by " + last
		}
		return ""
	})
	if err := c.SignalWorkflow(ctx, "rotated", "", demo.SignalApprove, nil); err != nil {
		t.Fatal(err)
	}
	if err := run.Get(ctx, nil); err != nil {
		t.Errorf("the run did not survive its key: %v", err)
	}
	first, last := kids()
	if !tl.OK() || tl.Unattested > 0 || first == last {
		t.Errorf("signed by %q and %q: %d verified, %d unattested, %d invalid", first, last, tl.Verified, tl.Unattested, tl.Invalid)
	}
}
