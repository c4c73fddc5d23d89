package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/policy"
)

const confinedClient = "0oaconfinedworker001"

// busy uses every kind of task that a worker answers: workflow tasks (sticky ones too), activities with heartbeats, queries, updates.
func busy(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, "state", func() (string, error) { return "busy", nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandler(ctx, "rename", func(_ workflow.Context, to string) (string, error) { return to, nil }); err != nil {
		return err
	}
	o := workflow.ActivityOptions{StartToCloseTimeout: 20 * time.Second, HeartbeatTimeout: 10 * time.Second, DisableEagerExecution: true}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), "Beat").Get(ctx, nil); err != nil {
		return err
	}
	o.DisableEagerExecution, o.ActivityID = false, "later"
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), "Later").Get(ctx, nil); err != nil {
		return err
	}
	workflow.GetSignalChannel(ctx, "done").Receive(ctx, nil)
	return nil
}

func beat(ctx context.Context) error {
	activity.RecordHeartbeat(ctx, 1)
	return nil
}

// TestConfinedWorker runs a plain worker that roles.yaml confines to one queue: its own work goes on as ever, and it answers for no other.
func TestConfinedWorker(t *testing.T) {
	e := &edges{environment: newEnvironment(t)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	e.ctx = ctx
	roles, err := os.ReadFile(filepath.Join(e.cfg.PolicyDir, policy.RolesFile))
	if err != nil {
		t.Fatal(err)
	}
	digest := e.server.plugin.PolicyStatus().Digest
	roles = append(roles, "  - id: "+confinedClient+"\n    roles: { payments: worker }\n    task_queues: [mine]\n"...)
	if err := os.WriteFile(filepath.Join(e.cfg.PolicyDir, policy.RolesFile), roles, 0o600); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, "the roles being taken", func() bool { return e.server.plugin.PolicyStatus().Digest != digest })

	token := e.issuer.Client(confinedClient)
	w := worker.New(e.client(t, token, "payments"), "mine", worker.Options{})
	w.RegisterWorkflowWithOptions(busy, workflow.RegisterOptions{Name: "Busy"})
	w.RegisterActivityWithOptions(beat, activity.RegisterOptions{Name: "Beat"})
	w.RegisterActivityWithOptions(later, activity.RegisterOptions{Name: "Later"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	alice := e.person(t, "alice")
	run, err := alice.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "busy", TaskQueue: "mine"}, "Busy")
	if err != nil {
		t.Fatal(err)
	}
	confined := e.client(t, token, "payments")
	e.eventually(t, "completing an own activity by id", func() bool {
		return confined.CompleteActivityByID(ctx, "payments", "busy", "", "later", nil, nil) == nil
	})
	for range 3 {
		if _, err := alice.QueryWorkflow(ctx, "busy", "", "state"); err != nil {
			t.Errorf("query: %v", err)
		}
	}
	update, err := alice.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: "busy", UpdateName: "rename", Args: []any{"x"}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil || update.Get(ctx, nil) != nil {
		t.Errorf("update: %v", err)
	}
	if err := alice.SignalWorkflow(ctx, "busy", "", "done", nil); err != nil {
		t.Fatal(err)
	}
	if err := run.Get(ctx, nil); err != nil {
		t.Errorf("the confined worker's own workflow: %v", err)
	}

	// Somebody else's worker takes a task, and its token falls into the confined worker's hands.
	theirs := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "payments", WorkflowId: "theirs", WorkflowType: &commonpb.WorkflowType{Name: "Busy"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "theirs"}, RequestId: "theirs",
	}
	wire := e.wire(t)
	if _, err := wire.StartWorkflowExecution(as(t, e.alice), theirs); err != nil {
		t.Fatal(err)
	}
	task, err := wire.PollWorkflowTaskQueue(as(t, e.worker), &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "payments", TaskQueue: &taskqueuepb.TaskQueue{Name: "theirs", Kind: enumspb.TASK_QUEUE_KIND_NORMAL}})
	if err != nil || len(task.GetTaskToken()) == 0 {
		t.Fatalf("polling as the other worker: %v", err)
	}
	answer := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "payments", TaskToken: task.GetTaskToken()}
	if _, err := wire.RespondWorkflowTaskCompleted(as(t, token), answer); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "no_permission") {
		t.Errorf("the confined worker answers another's task: %v", err)
	}
	if _, err := wire.RespondWorkflowTaskFailed(as(t, token), &workflowservice.RespondWorkflowTaskFailedRequest{Namespace: "payments", TaskToken: task.GetTaskToken()}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the confined worker fails another's task: %v", err)
	}
	if _, err := wire.RespondWorkflowTaskCompleted(as(t, e.worker), answer); err != nil {
		t.Errorf("the other worker itself: %v", err)
	}
	for _, entry := range e.journal(t) {
		if entry.Actor.ClientID == confinedClient && !entry.Decision.Allow && entry.Resource.WorkflowID != "theirs" && entry.Action != "RespondActivityTaskCompletedById" {
			t.Errorf("the confined worker's own work was refused: %s on %+v: %+v", entry.Action, entry.Resource, entry.Decision)
		}
	}
}
