package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// TestRunsOfLeaver: by in-flight.yaml the runs of somebody who is suspended are paused in one namespace and terminated in another, and their schedule is
// paused; others' go on. When they are back, what was paused goes on. Every act is on record, with the event at the org behind it.
func TestRunsOfLeaver(t *testing.T) {
	s := newSettings(t, "--no-ui")
	if err := os.MkdirAll(s.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	rules := "version: 1\nruns:\n  - {namespace: deploy, type: deploy, do: pause}\n  - {do: terminate}\nschedules:\n  - {do: pause}\n"
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
	ctx := sdkplugin.WithReason(patience(t), "CHG-51")
	waiting(t, asAlice, "leaver-1")
	waiting(t, asCarol, "stayer-1")
	if _, err := asAlice.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "leaver-2", TaskQueue: "nobody-polls"}, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := asAlice.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: "leaver-s", Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 24 * time.Hour}}},
		Action: &client.ScheduleWorkflowAction{ID: "leaver-s", Workflow: "other", TaskQueue: "nobody-polls"}}); err != nil {
		t.Fatal(err)
	}
	status := func(id string) enumspb.WorkflowExecutionStatus {
		t.Helper()
		r, err := asCarol.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			t.Fatal(err)
		}
		return r.GetWorkflowExecutionInfo().GetStatus()
	}
	becomes := func(id string, want enumspb.WorkflowExecutionStatus) {
		t.Helper()
		eventually(t, id+" is "+want.String(), func() string {
			if got := status(id); got != want {
				return got.String()
			}
			return ""
		})
	}
	paused := func(want bool) {
		t.Helper()
		eventually(t, "the schedule", func() string {
			r, err := asCarol.ScheduleClient().GetHandle(ctx, "leaver-s").Describe(ctx)
			if err != nil {
				return err.Error()
			}
			if r.Schedule.State.Paused != want {
				return "not yet"
			}
			return ""
		})
	}
	// The lists in which the runs are looked up lag behind a little; a later look would find them too, and this test is not about that.
	eventually(t, "the runs are listed", func() string {
		r, err := asCarol.CountWorkflow(ctx, countOpen("alice@acme.example"))
		if err != nil {
			return err.Error()
		}
		if r.GetCount() < 2 {
			return "not yet"
		}
		return ""
	})

	carol.ok(t, "dev", "people", "suspend", "alice@acme.example")
	becomes("leaver-1", enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED)
	becomes("leaver-2", enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)
	paused(true)
	if got := status("stayer-1"); got != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("another's run is %v", got)
	}
	carol.ok(t, "dev", "people", "restore", "alice@acme.example")
	becomes("leaver-1", enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	paused(false)
	if err := asCarol.SignalWorkflow(ctx, "leaver-1", "", demo.SignalApprove, nil); err != nil {
		t.Fatal(err)
	}
	if err := asCarol.GetWorkflow(ctx, "leaver-1", "").Get(ctx, nil); err != nil {
		t.Errorf("the run did not go on: %v", err)
	}

	want := map[string]string{"run_paused": "leaver-1", "run_terminated": "leaver-2", "run_resumed": "leaver-1", "schedule_paused": "leaver-s", "schedule_resumed": "leaver-s"}
	eventually(t, "every act is on record", func() string {
		missing := ""
		for event, what := range want {
			found := 0
			for _, e := range auditEntries(t, carol) {
				if e.Kind == audit.KindRevocation && e.Detail["event"] == event && e.Resource.WorkflowID+e.Resource.ScheduleID == what && e.Detail["login"] == "alice@acme.example" && e.Detail["source_event"] != "" {
					found++
				}
			}
			if found != 1 {
				missing += " " + event
			}
		}
		return missing
	})
}

func countOpen(login string) *workflowservice.CountWorkflowExecutionsRequest {
	return &workflowservice.CountWorkflowExecutionsRequest{Namespace: "deploy", Query: "BailiwickOriginator = '" + login + "' AND ExecutionStatus = 'Running'"}
}
