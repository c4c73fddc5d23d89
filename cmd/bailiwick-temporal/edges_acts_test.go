package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
)

// testActs looks at acts whose events keep no header: the identity names who it was and the decision.
func (e *edges) testActs(t *testing.T) {
	alice := e.person(t, "alice")
	begin := func(id string) string {
		t.Helper()
		run, err := alice.ExecuteWorkflow(e.ctx, e.options(id), "Wait")
		if err != nil {
			t.Fatal(err)
		}
		return run.GetRunID()
	}
	begin("to-cancel")
	if err := e.person(t, "cora").CancelWorkflow(e.ctx, "to-cancel", ""); err != nil {
		t.Fatal(err)
	}
	e.identity(t, "cancel", e.event(t, alice, "to-cancel", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED).GetWorkflowExecutionCancelRequestedEventAttributes().GetIdentity(), "cora@acme.example")
	begin("to-terminate")
	if err := e.person(t, "tom").TerminateWorkflow(e.ctx, "to-terminate", "", "a test"); err != nil {
		t.Fatal(err)
	}
	e.identity(t, "terminate", e.event(t, alice, "to-terminate", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED).GetWorkflowExecutionTerminatedEventAttributes().GetIdentity(), "tom@acme.example")

	begin("to-change")
	if _, err := e.wire(t).UpdateWorkflowExecutionOptions(as(t, e.issuer.User("olaf@acme.example", "temporal:payments:write")), &workflowservice.UpdateWorkflowExecutionOptionsRequest{
		Namespace: "payments", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "to-change"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"versioning_override"}},
		WorkflowExecutionOptions: &workflowpb.WorkflowExecutionOptions{VersioningOverride: &workflowpb.VersioningOverride{Override: &workflowpb.VersioningOverride_AutoUpgrade{AutoUpgrade: true}}},
	}); err != nil {
		t.Fatal(err)
	}
	e.identity(t, "change of options", e.event(t, alice, "to-change", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED).GetWorkflowExecutionOptionsUpdatedEventAttributes().GetIdentity(), "olaf@acme.example")

	begin("to-pause")
	ctx := as(t, e.issuer.User("paula@acme.example", "temporal:payments:write"))
	if _, err := e.wire(t).PauseWorkflowExecution(ctx, &workflowservice.PauseWorkflowExecutionRequest{Namespace: "payments", WorkflowId: "to-pause", Reason: "a test", RequestId: "p"}); err != nil {
		t.Logf("pausing: %v", err)
	} else {
		e.identity(t, "pause", e.event(t, alice, "to-pause", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED).GetWorkflowExecutionPausedEventAttributes().GetIdentity(), "paula@acme.example")
		if _, err := e.wire(t).UnpauseWorkflowExecution(ctx, &workflowservice.UnpauseWorkflowExecutionRequest{Namespace: "payments", WorkflowId: "to-pause", Reason: "a test", RequestId: "u"}); err != nil {
			t.Fatal(err)
		}
		e.identity(t, "unpause", e.event(t, alice, "to-pause", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED).GetWorkflowExecutionUnpausedEventAttributes().GetIdentity(), "paula@acme.example")
	}
}

func (e *edges) testScheduleEdge(t *testing.T) {
	cleo, trish := e.person(t, "cleo"), e.person(t, "trish")
	handle, err := cleo.ScheduleClient().Create(e.ctx, client.ScheduleOptions{
		ID: "edge", Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Second}}},
		Action: &client.ScheduleWorkflowAction{ID: "edge-run", Workflow: "Quick", TaskQueue: edgeQueue},
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := func(n int) (out client.ScheduleActionResult) {
		e.eventually(t, "the schedule's run", func() bool {
			d, err := handle.Describe(e.ctx)
			if err != nil || len(d.Info.RecentActions) < n {
				return false
			}
			out = d.Info.RecentActions[len(d.Info.RecentActions)-1]
			return true
		})
		return out
	}
	fired := ran(1).StartWorkflowResult
	s := e.header(t, "schedule: fired", e.first(t, cleo, fired.WorkflowID, fired.FirstExecutionRunID).GetHeader(), "cleo@acme.example")
	if s.Edge != attest.EdgeSchedule {
		t.Errorf("the firing carries a %s", s.Edge)
	}
	if err := handle.Pause(e.ctx, client.SchedulePauseOptions{Note: "a test"}); err != nil {
		t.Fatal(err)
	}
	d, err := handle.Describe(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	actions := d.Info.NumActions
	if err := trish.ScheduleClient().GetHandle(e.ctx, "edge").Trigger(e.ctx, client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	var triggered *client.ScheduleWorkflowExecution
	e.eventually(t, "the triggered run", func() bool {
		d, err := handle.Describe(e.ctx)
		if err != nil || d.Info.NumActions <= actions {
			return false
		}
		triggered = d.Info.RecentActions[len(d.Info.RecentActions)-1].StartWorkflowResult
		return true
	})
	started := e.first(t, cleo, triggered.WorkflowID, triggered.FirstExecutionRunID)
	e.header(t, "schedule: triggered", started.GetHeader(), "cleo@acme.example")
	var by string
	if err := json.Unmarshal(started.GetMemo().GetFields()[gate.FieldTrigger].GetData(), &by); err != nil {
		t.Errorf("the run's memo does not say who triggered it: %v", err)
	}
	e.identity(t, "schedule: who triggered", by, "trish@acme.example")

	// The creator may start no such thing any more: each firing is refused once, and the scheduler goes on to the next.
	takeAway := e.withPolicy(t, `@id("not-cleo") forbid (principal, action == Action::"StartWorkflowExecution", resource in Namespace::"payments") when { resource has type && resource.type == "Quick" };`)
	before := len(e.journal(t))
	if err := handle.Unpause(e.ctx, client.ScheduleUnpauseOptions{}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	refused := func() (n int) {
		for _, entry := range e.journal(t)[before:] {
			if entry.Action == "StartWorkflowExecution" && entry.Resource.ScheduleID == "edge" && !entry.Decision.Allow {
				n++
				if entry.Actor.Principal != "temporal:internal" || entry.Detail[audit.DetailOriginatorLogin] != "cleo@acme.example" || entry.Decision.Policies[0] != "not-cleo" {
					t.Errorf("a refused firing is recorded as %+v", entry)
				}
			}
		}
		return n
	}
	e.eventually(t, "two refused firings", func() bool { return refused() >= 2 })
	if n, took := refused(), time.Since(begun); n > int(took/time.Second)+2 {
		t.Errorf("%d refusals in %v: the scheduler tries again and again", n, took)
	} else {
		t.Logf("%d firings refused in %v", n, took.Round(time.Millisecond))
	}
	takeAway()
	if d, err = handle.Describe(e.ctx); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, "a firing that is allowed again", func() bool {
		now, err := handle.Describe(e.ctx)
		return err == nil && now.Info.NumActions > d.Info.NumActions
	})
	if err := handle.Delete(e.ctx); err != nil {
		t.Fatal(err)
	}
}

func (e *edges) testBatch(t *testing.T) {
	alice := e.person(t, "alice")
	wire := e.wire(t)
	for _, kind := range []string{"signal", "terminate", "cancel"} {
		id := "batch-" + kind
		run, err := alice.ExecuteWorkflow(e.ctx, e.options(id), "Wait")
		if err != nil {
			t.Fatal(err)
		}
		//lint:ignore SA1019 Executions is deprecated, and still sent by clients and obeyed by the server
		req := &workflowservice.StartBatchOperationRequest{Namespace: "payments", JobId: "job-" + kind, Reason: "tidy up", Executions: []*commonpb.WorkflowExecution{{WorkflowId: id, RunId: run.GetRunID()}}}
		switch kind {
		case "signal":
			req.Operation = &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{Signal: "done"}}
		case "terminate":
			req.Operation = &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{}}
		case "cancel":
			req.Operation = &workflowservice.StartBatchOperationRequest_CancellationOperation{CancellationOperation: &batchpb.BatchOperationCancellation{}}
		}
		if _, err := wire.StartBatchOperation(as(t, e.issuer.User("bea@acme.example", "temporal:payments:write"), "bailiwick-reason", "tidy up"), req); err != nil {
			t.Fatalf("batch %s: %v", kind, err)
		}
		switch kind {
		case "signal":
			signaled := e.event(t, alice, id, "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED).GetWorkflowExecutionSignaledEventAttributes()
			e.identity(t, "batch: signal", signaled.GetIdentity(), "bea@acme.example")
			e.header(t, "batch: signal", signaled.GetHeader(), "bea@acme.example")
		case "terminate":
			terminated := e.event(t, alice, id, "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED).GetWorkflowExecutionTerminatedEventAttributes()
			e.identity(t, "batch: terminate", terminated.GetReason(), "bea@acme.example")
		case "cancel":
			// Temporal takes nothing of the batch along to its cancellations. When that changes, this row will tell.
			cancelled := e.event(t, alice, id, "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
			if _, ok := gate.DecisionOf(cancelled.GetWorkflowExecutionCancelRequestedEventAttributes().GetIdentity()); ok {
				t.Error("a batch's cancellation says who it is by: use it")
			}
			e.found(t, "batch: cancel", "nothing; the batch's own entry tells", "", "", "", "")
		}
		e.eventually(t, "the end of the batch", func() bool {
			d, err := wire.DescribeBatchOperation(as(t, e.rita), &workflowservice.DescribeBatchOperationRequest{Namespace: "payments", JobId: req.JobId})
			return err == nil && d.GetState() == enumspb.BATCH_OPERATION_STATE_COMPLETED
		})
	}
}

func (e *edges) testStandalone(workers *seen) func(*testing.T) {
	return func(t *testing.T) {
		_, err := e.wire(t).StartActivityExecution(as(t, e.issuer.User("stan@acme.example", "temporal:payments:write")), &workflowservice.StartActivityExecutionRequest{
			Namespace: "payments", ActivityId: "alone", RequestId: "alone", ActivityType: &commonpb.ActivityType{Name: "Look"}, TaskQueue: &taskqueuepb.TaskQueue{Name: otherQueue},
			StartToCloseTimeout: durationpb.New(10 * time.Second), ScheduleToCloseTimeout: durationpb.New(10 * time.Second),
		})
		if err != nil {
			t.Fatal(err)
		}
		e.eventually(t, "the standalone activity", func() bool { return len(workers.header("activity alone").GetFields()) > 0 })
		e.header(t, "standalone activity", workers.header("activity alone"), "stan@acme.example")
	}
}

// testVisible finds runs by who they are for, as the UI and CLI would.
func (e *edges) testVisible(t *testing.T) {
	alice := e.person(t, "alice")
	for query, want := range map[string]int{
		`BailiwickOriginator = "fay@acme.example"`:                                   3, // family, its next run, a child
		`BailiwickOriginator = "cleo@acme.example" AND WorkflowType = "Quick"`:       1,
		`BailiwickActor = "sid@acme.example" AND StartTime > "2026-01-01T00:00:00Z"`: 1,
		`BailiwickReason = "test" AND WorkflowType = "Family"`:                       2,
	} {
		e.eventually(t, fmt.Sprintf("%d runs of %s", want, query), func() bool {
			resp, err := alice.ListWorkflow(e.ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: "payments", Query: query})
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			return len(resp.GetExecutions()) >= want
		})
	}
}
