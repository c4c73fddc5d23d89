package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// TestNewOwner: what somebody who left has under way waits for a new owner. A colleague takes over the run, whose activities go on, and the schedule,
// which fires by itself in their name; who began the run stays on record.
func TestNewOwner(t *testing.T) {
	s := newSettings(t, "--no-ui")
	if err := os.MkdirAll(s.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	rules := "version: 1\nruns:\n  - {do: ask_owner, owners: release-managers}\nschedules:\n  - {do: ask_owner}\n"
	if err := os.WriteFile(filepath.Join(s.state(), "in-flight.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, s)
	defer d.stop(t)
	users := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := users[0], users[1]
	asAlice, asCarol := pluginClient(t, d, alice.token(t), "deploy"), pluginClient(t, d, carol.token(t), "deploy")
	defer asAlice.Close()
	defer asCarol.Close()
	ctx := sdkplugin.WithReason(patience(t), "CHG-52")
	hers := waiting(t, asAlice, "handed-over")
	if _, err := asAlice.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: "handed-s", Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 2 * time.Second}}},
		Action: &client.ScheduleWorkflowAction{ID: "handed-s", Workflow: demo.WorkflowDeploy, TaskQueue: demo.TaskQueue, Args: []any{demo.DeployInput{Service: "checkout", Version: "3.0.1"}}}}); err != nil {
		t.Fatal(err)
	}
	listed := func(query string) {
		t.Helper()
		eventually(t, query, func() string {
			r, err := asCarol.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: "deploy", Query: query})
			if err != nil {
				return err.Error()
			}
			if r.GetCount() == 0 {
				return "none yet"
			}
			return ""
		})
	}
	const fired = "WorkflowId STARTS_WITH 'handed-s' AND BailiwickOriginator = "
	listed(fired + "'alice@acme.example'")

	if r := carol.run(t, "run", "adopt", "handed-over", "--namespace", "deploy"); r.code != 2 {
		t.Errorf("without a reason: exit %d, %s", r.code, r.stderr)
	}
	if r := alice.run(t, "run", "adopt", "handed-over", "--namespace", "deploy", "--reason", "mine"); r.code == 0 || !strings.Contains(r.stderr, "you began this run") {
		t.Errorf("whoever began it: exit %d, %s", r.code, r.stderr)
	}
	carol.ok(t, "dev", "people", "deactivate", "alice@acme.example")
	eventually(t, "the run is paused", func() string {
		r, err := asCarol.DescribeWorkflowExecution(ctx, "handed-over", "")
		if err != nil {
			return err.Error()
		}
		if got := r.GetWorkflowExecutionInfo().GetStatus(); got != enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED {
			return got.String()
		}
		return ""
	})
	eventually(t, "the schedule is paused", func() string {
		r, err := asCarol.ScheduleClient().GetHandle(ctx, "handed-s").Describe(ctx)
		if err != nil {
			return err.Error()
		}
		if !r.Schedule.State.Paused {
			return "not yet"
		}
		return ""
	})

	var adopted struct {
		RunID   string `json:"run_id"`
		Resumed bool   `json:"resumed"`
	}
	carol.json(t, &adopted, "run", "adopt", "handed-over", "--namespace", "deploy", "--reason", "CHG-53: alice left")
	if adopted.RunID != hers.GetRunID() || !adopted.Resumed {
		t.Errorf("taken over: %+v", adopted)
	}
	if err := asCarol.SignalWorkflow(ctx, "handed-over", "", demo.SignalApprove, nil); err != nil {
		t.Fatal(err)
	}
	if err := asCarol.GetWorkflow(ctx, "handed-over", hers.GetRunID()).Get(ctx, nil); err != nil {
		t.Errorf("the run did not go on for its new owner: %v", err)
	}
	var tl runs.Timeline
	carol.json(t, &tl, "run", "show", "handed-over", "--namespace", "deploy")
	if tl.Owner == nil || tl.Owner.Login != "carol@acme.example" || !tl.OK() || tl.Steps[0].Attestation == nil || tl.Steps[0].Attestation.Originator.Login != "alice@acme.example" {
		t.Errorf("owner %+v, begun by %+v, verified: %v", tl.Owner, tl.Steps[0].Attestation, tl.OK())
	}

	var schedule struct {
		Resumed  bool     `json:"resumed"`
		OpenRuns []string `json:"open_runs"`
	}
	carol.json(t, &schedule, "schedule", "adopt", "handed-s", "--namespace", "deploy", "--reason", "CHG-53: alice left")
	if !schedule.Resumed {
		t.Error("the schedule stays paused")
	}
	for _, id := range schedule.OpenRuns { // the schedule skips firings while one of these waits for an owner
		carol.ok(t, "run", "adopt", id, "--namespace", "deploy", "--reason", "CHG-53: alice left")
	}
	listed(fired + "'carol@acme.example' AND ExecutionStatus = 'Completed'")

	eventually(t, "it is on record", func() string {
		entries := auditEntries(t, carol)
		for what, is := range map[string]func(audit.Entry) bool{
			"asked": func(e audit.Entry) bool {
				return e.Kind == audit.KindRevocation && e.Resource.WorkflowID == "handed-over" && e.Detail["event"] == "run_owner_asked"
			},
			"taken over": func(e audit.Entry) bool {
				return e.Detail["former_owner"] != "" && e.Reason == "CHG-53: alice left" && e.Resource.WorkflowID == "handed-over" && e.Resource.RunID == hers.GetRunID()
			},
		} {
			if !slices.ContainsFunc(entries, is) {
				return "not " + what
			}
		}
		return ""
	})
}
