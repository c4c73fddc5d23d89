package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
)

// edges is the table: who is found at each edge of a run's life, and where.
type edges struct {
	*environment
	ctx     context.Context
	out     strings.Builder
	table   *tabwriter.Writer
	entries map[string]audit.Entry // of the journal, by id
}

// found adds a row and fails the test unless it names these people.
func (e *edges) found(t *testing.T, edge, where, originator, actor, wantOriginator, wantActor string) {
	t.Helper()
	fmt.Fprintf(e.table, "%s\t%s\t%s\t%s\n", edge, originator, actor, where)
	if originator != wantOriginator || actor != wantActor {
		t.Errorf("%s: originator %q and actor %q in the %s, want %q and %q", edge, originator, actor, where, wantOriginator, wantActor)
	}
}

// header is a row about a statement in a header.
func (e *edges) header(t *testing.T, edge string, h *commonpb.Header, want string) attest.Statement {
	t.Helper()
	s := e.statement(h)
	name := func(p attest.Party) string { return p.Login }
	e.found(t, edge, fmt.Sprintf("header (%s)", s.Edge), name(s.Originator), name(s.Actor), want, want)
	return s
}

// identity is a row about the signature in an event, joined to its decision.
func (e *edges) identity(t *testing.T, edge, text, want string) {
	t.Helper()
	id, _ := gate.DecisionOf(text)
	if _, ok := e.entries[id]; !ok {
		for _, entry := range e.journal(t) {
			e.entries[entry.ID] = entry
		}
	}
	who := e.entries[id].Actor.Login
	e.found(t, edge, "identity, decision "+id[max(0, len(id)-12):], who, who, want, want)
}

// person is a writer in payments.
func (e *edges) person(t *testing.T, name string) client.Client {
	return e.client(t, e.issuer.User(name+"@acme.example", "temporal:payments:write", "temporal:payments:admin"), "payments")
}

func (e *edges) first(t *testing.T, c client.Client, id, run string) *historypb.WorkflowExecutionStartedEventAttributes {
	t.Helper()
	return e.event(t, c, id, run, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED).GetWorkflowExecutionStartedEventAttributes()
}

// event waits for an event of the run.
func (e *edges) event(t *testing.T, c client.Client, id, run string, typ enumspb.EventType) *historypb.HistoryEvent {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var all []string
		iter := c.GetWorkflowHistory(e.ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for iter.HasNext() {
			event, err := iter.Next()
			if err != nil {
				break // not there yet
			}
			if event.GetEventType() == typ {
				return event
			}
			all = append(all, strings.TrimSuffix(event.String(), "\n"))
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s of %s never came; there are\n%s", typ, id, strings.Join(all, "\n"))
		}
		select {
		case <-e.ctx.Done():
			t.Fatalf("%s of %s never came", typ, id)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestEdges walks every edge of a run's life on a real server, with workers that know nothing of Bailiwick, and prints who is found there.
func TestEdges(t *testing.T) {
	e := &edges{environment: newEnvironment(t), entries: map[string]audit.Entry{}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	t.Cleanup(cancel)
	e.ctx = ctx
	e.table = tabwriter.NewWriter(&e.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(e.table, "EDGE\tORIGINATOR\tACTOR\tFOUND IN")
	workers := e.startEdgeWorkers(t, e.issuer.Client("0oaedgeworker0000001", "temporal:payments:worker", "temporal:deploy:worker", "temporal:deploy:write"))

	// On a machine that is slow to start, the gate can't find out at once which search attributes there are, and goes without.
	e.eventually(t, "search attributes on a start", func() bool {
		id := fmt.Sprint("warm-", time.Now().UnixNano())
		if _, err := e.wire(t).StartWorkflowExecution(as(t, e.alice, "bailiwick-reason", "a test"), start("payments", id, "Quick")); err != nil {
			t.Fatal(err)
		}
		fields := e.history(t, id, "")[0].GetWorkflowExecutionStartedEventAttributes().GetSearchAttributes().GetIndexedFields()
		return fields[gate.FieldOriginator] != nil
	})

	t.Run("calls", e.testCalls(workers))
	t.Run("family", e.testFamily(workers))
	t.Run("again", e.testAgain)
	t.Run("acts without header", e.testActs)
	t.Run("schedule", e.testScheduleEdge)
	t.Run("batch", e.testBatch)
	t.Run("standalone activity", e.testStandalone(workers))
	t.Run("nexus", e.testNexusEdge)
	t.Run("visible", e.testVisible)
	if err := e.table.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", e.out.String())
}

func (e *edges) options(id string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: id, TaskQueue: edgeQueue}
}

func (e *edges) testCalls(workers *seen) func(*testing.T) {
	return func(t *testing.T) {
		alice, una, sam := e.person(t, "alice"), e.person(t, "una"), e.person(t, "sam")
		run, err := alice.ExecuteWorkflow(e.ctx, e.options("calls"), "Wait")
		if err != nil {
			t.Fatal(err)
		}
		started := e.first(t, alice, "calls", "")
		e.header(t, "start", started.GetHeader(), "alice@acme.example")
		e.identity(t, "start", started.GetIdentity(), "alice@acme.example")

		update, err := una.UpdateWorkflow(e.ctx, client.UpdateWorkflowOptions{WorkflowID: "calls", UpdateName: "rename", Args: []any{"x"}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err != nil || update.Get(e.ctx, nil) != nil {
			t.Fatal(err)
		}
		accepted := e.event(t, alice, "calls", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest()
		e.header(t, "update", accepted.GetInput().GetHeader(), "una@acme.example")
		e.identity(t, "update", accepted.GetMeta().GetIdentity(), "una@acme.example")

		if _, err := e.client(t, e.rita, "payments").QueryWorkflow(e.ctx, "calls", "", "state"); err != nil {
			t.Fatal(err)
		}
		e.header(t, "query", workers.header("query state"), "rita@acme.example")

		if err := sam.SignalWorkflow(e.ctx, "calls", "", "done", nil); err != nil {
			t.Fatal(err)
		}
		signaled := e.event(t, alice, "calls", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED).GetWorkflowExecutionSignaledEventAttributes()
		e.header(t, "signal", signaled.GetHeader(), "sam@acme.example")
		e.identity(t, "signal", signaled.GetIdentity(), "sam@acme.example")
		if err := run.Get(e.ctx, nil); err != nil {
			t.Fatal(err)
		}

		// Reset to the first task: the signal is applied again, and is sam's still.
		reset, err := e.person(t, "rex").ResetWorkflowExecution(e.ctx, &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: "payments", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "calls", RunId: run.GetRunID()}, Reason: "a test", WorkflowTaskFinishEventId: 4, RequestId: "reset-1",
		})
		if err != nil {
			t.Fatal(err)
		}
		failed := e.event(t, alice, "calls", reset.GetRunId(), enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED).GetWorkflowTaskFailedEventAttributes()
		e.identity(t, "reset", failed.GetFailure().GetMessage(), "rex@acme.example")
		e.header(t, "reset: the run", e.first(t, alice, "calls", reset.GetRunId()).GetHeader(), "alice@acme.example")
		again := e.event(t, alice, "calls", reset.GetRunId(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED).GetWorkflowExecutionSignaledEventAttributes()
		e.header(t, "reset: re-applied signal", again.GetHeader(), "sam@acme.example")

		if _, err := e.person(t, "sid").SignalWithStartWorkflow(e.ctx, "sws", "done", nil, e.options("sws"), "Wait"); err != nil {
			t.Fatal(err)
		}
		e.header(t, "signal-with-start: start", e.first(t, alice, "sws", "").GetHeader(), "sid@acme.example")
		e.header(t, "signal-with-start: signal", e.event(t, alice, "sws", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED).GetWorkflowExecutionSignaledEventAttributes().GetHeader(), "sid@acme.example")

		uwe := e.person(t, "uwe")
		o := e.options("uws")
		o.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL
		handle, err := uwe.UpdateWithStartWorkflow(e.ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: uwe.NewWithStartWorkflowOperation(o, "Wait"),
			UpdateOptions:          client.UpdateWorkflowOptions{WorkflowID: "uws", UpdateName: "rename", Args: []any{"x"}, WaitForStage: client.WorkflowUpdateStageCompleted},
		})
		if err != nil || handle.Get(e.ctx, nil) != nil {
			t.Fatal(err)
		}
		e.header(t, "update-with-start: start", e.first(t, alice, "uws", "").GetHeader(), "uwe@acme.example")
		e.header(t, "update-with-start: update", e.event(t, alice, "uws", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED).GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetHeader(), "uwe@acme.example")
	}
}

func (e *edges) testFamily(workers *seen) func(*testing.T) {
	return func(t *testing.T) {
		const originator = "fay@acme.example"
		fay, other := e.person(t, "fay"), e.person(t, "otto")
		there := e.client(t, e.bob, "deploy")
		for _, id := range []string{"receiver", "victim"} {
			if _, err := other.ExecuteWorkflow(e.ctx, e.options(id), "Wait"); err != nil {
				t.Fatal(err)
			}
		}
		run, err := fay.ExecuteWorkflow(e.ctx, e.options("family"), "Family", "receiver", "victim", false)
		if err != nil {
			t.Fatal(err)
		}
		firstRun := run.GetRunID()
		completer := e.client(t, e.worker, "payments")
		e.eventually(t, "completing the activity by id", func() bool {
			return completer.CompleteActivityByID(e.ctx, "payments", "family", firstRun, "async", nil, nil) == nil
		})
		continued := e.event(t, fay, "family", firstRun, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW).GetWorkflowExecutionContinuedAsNewEventAttributes()
		scheduled := e.event(t, fay, "family", firstRun, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED).GetActivityTaskScheduledEventAttributes()
		e.header(t, "activity: scheduled", scheduled.GetHeader(), originator)
		e.header(t, "activity", workers.header("activity normal"), originator)
		e.header(t, "activity, eager", workers.header("activity eager"), originator)
		e.header(t, "activity, local: its run", e.first(t, fay, "family", firstRun).GetHeader(), originator) // it is told nothing more, and writes only a marker
		e.header(t, "activity, completed by id", workers.header("activity async"), originator)
		e.header(t, "child, same namespace", e.first(t, fay, "child-here", "").GetHeader(), originator)
		e.header(t, "child's activity", workers.header("activity of-child-here"), originator)
		if workers.header("activity of-child-here").GetFields()[attest.LineageKey] == nil {
			t.Error("the child's activity is not told of which family its run is")
		}
		e.header(t, "child, other namespace", e.first(t, there, "child-there", "").GetHeader(), originator)
		e.header(t, "child's activity, other namespace", workers.header("activity of-child-there"), originator)
		e.header(t, "continue-as-new", e.first(t, fay, "family", continued.GetNewExecutionRunId()).GetHeader(), originator)
		sent := e.statement(e.event(t, fay, "receiver", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED).GetWorkflowExecutionSignaledEventAttributes().GetHeader())
		e.found(t, "signal from a workflow", fmt.Sprintf("header (%s)", sent.Edge), sent.Originator.Login, sent.Actor.ClientID, originator, "0oaedgeworker0000001")
		if sent.Edge != attest.EdgeSignal || sent.Binding.WorkflowID != "receiver" || sent.Cause == "" {
			t.Errorf("the signal from a workflow is attested as %+v", sent)
		}
		// A cancellation has no header: its event names the run that asked, whose own statement answers.
		cancelled := e.event(t, fay, "victim", "", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED).GetWorkflowExecutionCancelRequestedEventAttributes().GetExternalWorkflowExecution()
		e.header(t, "cancel from a workflow: its run", e.first(t, fay, cancelled.GetWorkflowId(), cancelled.GetRunId()).GetHeader(), originator)

		answers := 0
		for _, entry := range e.journal(t) {
			if entry.Action == "RespondWorkflowTaskCompleted" && entry.Resource.WorkflowID == "family" && entry.Resource.RunID == firstRun {
				answers++
				if entry.Detail[audit.DetailOriginatorLogin] != originator || entry.Detail[audit.DetailAttestation] == "" || entry.Actor.ClientID != "0oaedgeworker0000001" {
					t.Errorf("an answer is recorded as %+v of %+v", entry.Detail, entry.Actor)
				}
			}
		}
		if answers == 0 {
			t.Error("no answer of the run's worker is on record")
		}
	}
}

func (e *edges) testAgain(t *testing.T) {
	carl := e.person(t, "carl")
	o := e.options("cron")
	o.CronSchedule = "@every 1s"
	run, err := carl.ExecuteWorkflow(e.ctx, o, "Quick")
	if err != nil {
		t.Fatal(err)
	}
	done := e.event(t, carl, "cron", run.GetRunID(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED).GetWorkflowExecutionCompletedEventAttributes()
	e.header(t, "cron's next run", e.first(t, carl, "cron", done.GetNewExecutionRunId()).GetHeader(), "carl@acme.example")
	o = e.options("retry")
	o.RetryPolicy = &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond}
	if run, err = carl.ExecuteWorkflow(e.ctx, o, "Fails"); err != nil {
		t.Fatal(err)
	}
	failed := e.event(t, carl, "retry", run.GetRunID(), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED).GetWorkflowExecutionFailedEventAttributes()
	e.header(t, "retry", e.first(t, carl, "retry", failed.GetNewExecutionRunId()).GetHeader(), "carl@acme.example")
}
