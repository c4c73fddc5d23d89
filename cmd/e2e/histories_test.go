package e2e

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/inflight"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// TestRecordHistories records anew the histories that the replay tests of internal/rotation and internal/revocation/inflight replay, from runs of the whole
// product. It is a tool and not a test: without RECORD_HISTORIES=1 it is passed over.
//
//	make build && RECORD_HISTORIES=1 go test ./cmd/e2e -run TestRecordHistories -v
//
// Record when a workflow does something that no history shows yet, and keep those that are there: they stand for runs that are open while a new version is
// rolled out. What does not replay them needs workflow.GetVersion, not another history.
func TestRecordHistories(t *testing.T) {
	if os.Getenv("RECORD_HISTORIES") != "1" {
		t.Skip("a tool: RECORD_HISTORIES=1 runs it")
	}
	s := newSettings(t, "--no-ui", "--key-times", "5s")
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
	own, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: d.context.Issuer + "/v1/token", ClientID: devorg.WorkflowsClient,
		PrivateKeyFile: filepath.Join(s.state(), "keys", "workflows.pem"), Scopes: []string{"temporal"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := sdkplugin.New(sdkplugin.Options{Credentials: own, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ours := dial(t, client.Options{HostPort: d.context.Address, Namespace: rotation.Namespace, Plugins: []client.Plugin{plugin}}) // nobody else may there
	defer ours.Close()
	ctx, cancel := context.WithTimeout(sdkplugin.WithReason(t.Context(), "recording"), 10*time.Minute)
	defer cancel()

	// Rotations of each kind, one that is cancelled while the old credential runs on, and a look of the schedule.
	rotations := filepath.Join(root, "internal", "rotation", "testdata")
	for _, r := range []struct {
		use    rotation.Use
		target string
	}{{rotation.Issuer, "default"}, {rotation.Client, devorg.DeployWorker}, {rotation.Client, devorg.ReleaseAgent}, {rotation.Checkpoint, ""}} {
		var done rotation.Rotation
		args := []string{"keys", "rotate", string(r.use), "--reason", "recording"}
		if r.target != "" {
			args = []string{"keys", "rotate", string(r.use), r.target, "--reason", "recording"}
		}
		carol.json(t, &done, args...)
		name := string(r.use)
		if r.target == devorg.ReleaseAgent {
			name = "secret"
		}
		record(ctx, t, ours, rotation.WorkflowID(r.use, done.Target), filepath.Join(rotations, "history-"+name+".json"))
	}
	var begun rotation.Rotation
	carol.json(t, &begun, "keys", "rotate", "client", devorg.DeployWorker, "--reason", "recording", "--no-wait")
	id := rotation.WorkflowID(rotation.Client, devorg.DeployWorker)
	waits := func(id string) {
		t.Helper()
		eventually(t, "the old key runs on", func() string {
			if slices.ContainsFunc(history(ctx, t, ours, id).Events, func(e *historypb.HistoryEvent) bool { return e.EventType == enumspb.EVENT_TYPE_TIMER_STARTED }) {
				return ""
			}
			return "not yet"
		})
	}
	waits(id)
	if err := ours.CancelWorkflow(ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	record(ctx, t, ours, id, filepath.Join(rotations, "history-cancelled.json"))
	carol.json(t, &begun, "keys", "rotate", "attestation", "--reason", "recording", "--no-wait")
	id = rotation.WorkflowID(rotation.Attestation, begun.Target)
	waits(id) // for a day: the history of a run that is open
	write(t, history(ctx, t, ours, id), filepath.Join(rotations, "history-attestation.json"))
	if err := ours.ScheduleClient().GetHandle(ctx, rotation.ScheduleID).Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	due := ""
	eventually(t, "the schedule fires", func() string {
		h, err := ours.ScheduleClient().GetHandle(ctx, rotation.ScheduleID).Describe(ctx)
		if err != nil || len(h.Info.RecentActions) == 0 {
			return "not yet"
		}
		due = h.Info.RecentActions[0].StartWorkflowResult.WorkflowID
		return ""
	})
	record(ctx, t, ours, due, filepath.Join(rotations, "history-due.json"))

	// Somebody with runs and a schedule is suspended, and back.
	asAlice := pluginClient(t, d, alice.token(t), "deploy")
	defer asAlice.Close()
	waiting(t, asAlice, "recorded-1")
	for _, id := range []string{"recorded-2", "recorded-3"} {
		if _, err := asAlice.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "nobody-polls"}, "other"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := asAlice.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: "recorded-s", Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 24 * time.Hour}}},
		Action: &client.ScheduleWorkflowAction{ID: "recorded-s", Workflow: "other", TaskQueue: "nobody-polls"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the runs are listed", func() string {
		r, err := asAlice.CountWorkflow(ctx, countOpen("alice@acme.example"))
		if err != nil || r.GetCount() < 3 {
			return "not yet"
		}
		return ""
	})
	leavers := filepath.Join(root, "internal", "revocation", "inflight", "testdata")
	carol.ok(t, "dev", "people", "suspend", "alice@acme.example")
	leaver := ""
	eventually(t, "there is a workflow of the leaver", func() string {
		page, err := ours.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: rotation.Namespace, Query: "WorkflowType = '" + inflight.WorkflowName + "'"})
		if err != nil || len(page.GetExecutions()) == 0 {
			return "not yet"
		}
		leaver = page.GetExecutions()[0].GetExecution().GetWorkflowId()
		return ""
	})
	time.Sleep(90 * time.Second) // until it has looked three times
	carol.ok(t, "dev", "people", "restore", "alice@acme.example")
	record(ctx, t, ours, leaver, filepath.Join(leavers, "history-restored.json"))
	carol.ok(t, "dev", "people", "suspend", "alice@acme.example")
	eventually(t, "another run of the leaver's workflow", func() string {
		if x, err := ours.DescribeWorkflowExecution(ctx, leaver, ""); err != nil || x.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return "not yet"
		}
		return ""
	})
	carol.ok(t, "dev", "people", "restore", "alice@acme.example") // before it has looked again
	record(ctx, t, ours, leaver, filepath.Join(leavers, "history-restored-soon.json"))
}

// history reads what a run has done up to now.
func history(ctx context.Context, t *testing.T, c client.Client, id string) *historypb.History {
	t.Helper()
	h := &historypb.History{}
	for events := c.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		if err != nil {
			t.Fatalf("reading the history of %s: %v", id, err)
		}
		h.Events = append(h.Events, e)
	}
	return h
}

// record waits until a run has ended, and writes its history.
func record(ctx context.Context, t *testing.T, c client.Client, id, file string) {
	t.Helper()
	_ = c.GetWorkflow(ctx, id, "").Get(ctx, nil) // how it ended is in the history
	write(t, history(ctx, t, c, id), file)
}

func write(t *testing.T, h *historypb.History, file string) {
	t.Helper()
	raw, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", file, len(raw))
}
