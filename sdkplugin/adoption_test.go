package sdkplugin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// histories are runs' events by run id, an event to a page.
type histories map[string][]*historypb.HistoryEvent

func (h histories) GetWorkflowExecutionHistory(_ context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest, _ ...grpc.CallOption) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	events, ok := h[r.GetExecution().GetRunId()]
	if !ok {
		return nil, serviceerror.NewNotFound("no such run")
	}
	if events == nil {
		return nil, serviceerror.NewUnavailable("Temporal is away")
	}
	i := len(r.GetNextPageToken())
	out := &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: events[i : i+1]}}
	if i+1 < len(events) {
		out.NextPageToken = make([]byte, i+1)
	}
	return out, nil
}

func startedEvent(s *historypb.WorkflowExecutionStartedEventAttributes) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: s}}
}

func signalEvent(name, raw string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
		WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: name, Header: header(raw)}}}
}

const testRun = "default-test-run-id"

// adoptedBy is what a gate signs for somebody who takes over a run.
func adoptedBy(t *testing.T, name, workflowID, runID string, edge attest.Edge) *historypb.HistoryEvent {
	return signalEvent(attest.AdoptSignal, sign(t, statement(name, edge, attest.Binding{Namespace: testNamespace, WorkflowID: workflowID, RunID: runID, Name: attest.AdoptSignal})))
}

// TestRunsOfLeaversGoOnForNewOwners: the latest genuine adoption of the run, of one it continues or of its parent, and the standing of who made it, decide.
func TestRunsOfLeaversGoOnForNewOwners(t *testing.T) {
	plain := startedEvent(&historypb.WorkflowExecutionStartedEventAttributes{})
	child := startedEvent(&historypb.WorkflowExecutionStartedEventAttributes{ParentWorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "parent", RunId: "run-p"}})
	next := startedEvent(&historypb.WorkflowExecutionStartedEventAttributes{FirstExecutionRunId: "run-0", ContinuedExecutionRunId: "run-1"})
	bob := adoptedBy(t, "bob", testWorkflow, testRun, attest.EdgeAdopt)
	alice := "user:https://issuer.example|alice"
	gone := revocations{alice: "user_deactivated"}
	both := revocations{alice: "user_deactivated", "user:https://issuer.example|bob": "user_suspended"}
	for _, c := range []struct {
		name    string
		runs    histories
		revoked revocations
		want    string // type of the failure
	}{
		{"nobody took it over", histories{testRun: {plain}}, gone, sdkplugin.FailureForbidden},
		{"bob did", histories{testRun: {plain, signalEvent("approve", "x"), bob}}, gone, ""},
		{"bob did and left", histories{testRun: {plain, bob}}, both, sdkplugin.FailureForbidden},
		{"bob did and left, then carol", histories{testRun: {plain, bob, adoptedBy(t, "carol", testWorkflow, testRun, attest.EdgeAdopt)}}, both, ""},
		{"carol did, then bob, who left", histories{testRun: {plain, adoptedBy(t, "carol", testWorkflow, testRun, attest.EdgeAdopt), bob}}, both, sdkplugin.FailureForbidden},
		{"bob did, and garbage came after", histories{testRun: {plain, bob, signalEvent(attest.AdoptSignal, "{}")}}, gone, ""},
		{"alice herself", histories{testRun: {plain, adoptedBy(t, "alice", testWorkflow, testRun, attest.EdgeAdopt)}}, gone, sdkplugin.FailureForbidden},
		{"an ordinary signal of that name", histories{testRun: {plain, adoptedBy(t, "bob", testWorkflow, testRun, attest.EdgeSignal)}}, gone, sdkplugin.FailureForbidden},
		{"under another name", histories{testRun: {plain, signalEvent("approve", string(bob.GetWorkflowExecutionSignaledEventAttributes().GetHeader().GetFields()[attest.HeaderKey].GetData()))}}, gone, sdkplugin.FailureForbidden},
		{"of another run", histories{testRun: {plain, adoptedBy(t, "bob", testWorkflow, "run-9", attest.EdgeAdopt)}}, gone, sdkplugin.FailureForbidden},
		{"of another workflow", histories{testRun: {plain, adoptedBy(t, "bob", "ship-9", testRun, attest.EdgeAdopt)}}, gone, sdkplugin.FailureForbidden},
		{"the run that it continues", histories{testRun: {next}, "run-1": {startedEvent(&historypb.WorkflowExecutionStartedEventAttributes{ContinuedExecutionRunId: "run-0"})},
			"run-0": {plain, adoptedBy(t, "bob", testWorkflow, "run-0", attest.EdgeAdopt)}}, gone, ""},
		{"its parent", histories{testRun: {child}, "run-p": {plain, adoptedBy(t, "bob", "parent", "run-p", attest.EdgeAdopt)}}, gone, ""},
		{"its parent's history is gone", histories{testRun: {child}}, gone, sdkplugin.FailureForbidden},
		{"a circle", histories{testRun: {startedEvent(&historypb.WorkflowExecutionStartedEventAttributes{ContinuedExecutionRunId: testRun})}}, gone, sdkplugin.FailureForbidden},
		{"it can't be read now", histories{testRun: nil}, gone, sdkplugin.FailureHeld},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := statement("alice", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "family"})
			err := runGuarded(t, sdkplugin.Options{Revocations: c.revoked, Histories: c.runs}, "push", s)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if failed, _ := failure(t, err); failed.Type() != c.want {
				t.Error(err)
			}
		})
	}
}

// TestAdoptionReachesNoWorkflowCode: the activity is told who answers now and who began it; the workflow is told neither, and gets no signal.
func TestAdoptionReachesNoWorkflowCode(t *testing.T) {
	var log journal
	event := adoptedBy(t, "bob", testWorkflow, testRun, attest.EdgeAdopt)
	p := newPlugin(t, sdkplugin.Options{Revocations: revocations{"user:https://issuer.example|alice": "user_deactivated"},
		Histories: histories{testRun: {startedEvent(&historypb.WorkflowExecutionStartedEventAttributes{}), event}}, Logger: log.logger()})
	env := environment(t, p, &log)
	delivered := false
	var info sdkplugin.Info
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		delivered = workflow.GetSignalChannel(ctx, attest.AdoptSignal).ReceiveAsync(nil)
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		err := workflow.ExecuteActivity(ctx, "see").Get(ctx, nil)
		delivered = delivered || workflow.GetSignalChannel(ctx, attest.AdoptSignal).ReceiveAsync(nil)
		return err
	}, workflow.RegisterOptions{Name: "family"})
	env.RegisterActivityWithOptions(func(ctx context.Context) error {
		var ok bool
		if info, ok = sdkplugin.FromContext(ctx); !ok {
			return errors.New("no info")
		}
		return nil
	}, activity.RegisterOptions{Name: "see"})
	env.SetHeader(started(t, "family"))
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(attest.AdoptSignal, nil) }, 0)
	env.ExecuteWorkflow("family")
	if err := env.GetWorkflowError(); err != nil || delivered {
		t.Fatalf("%v; delivered: %v", err, delivered)
	}
	if info.Owner.Login != "bob@acme.example" || info.Originator.Login != "alice@acme.example" || log.line("running activity", "owner=user:https://issuer.example|bob") == "" {
		t.Errorf("%+v\n%s", info, log.String())
	}
}
