package gate_test

import (
	"errors"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
)

// startedBy is the first event of a run whose start alice sent through the gate.
func (k *kit) startedBy(t *testing.T, id string) (*historypb.WorkflowExecutionStartedEventAttributes, string) {
	t.Helper()
	req := startRequest()
	req.WorkflowId = id
	a, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", req, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	return &historypb.WorkflowExecutionStartedEventAttributes{
		WorkflowType: req.WorkflowType, TaskQueue: req.TaskQueue, Header: proto.Clone(req.Header).(*commonpb.Header), FirstExecutionRunId: "run-1",
	}, a.ID()
}

func command(attributes any) *commandpb.Command {
	switch a := attributes.(type) {
	case *commandpb.ScheduleActivityTaskCommandAttributes:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK, Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{ScheduleActivityTaskCommandAttributes: a}}
	case *commandpb.StartChildWorkflowExecutionCommandAttributes:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: a}}
	case *commandpb.ContinueAsNewWorkflowExecutionCommandAttributes:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{ContinueAsNewWorkflowExecutionCommandAttributes: a}}
	case *commandpb.SignalExternalWorkflowExecutionCommandAttributes:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION, Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{SignalExternalWorkflowExecutionCommandAttributes: a}}
	case *commandpb.RecordMarkerCommandAttributes:
		return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_RECORD_MARKER, Attributes: &commandpb.Command_RecordMarkerCommandAttributes{RecordMarkerCommandAttributes: a}}
	}
	panic("unknown command")
}

const deployWorker = "0oadeployworker00001"

// answer sends commands as the worker of the run.
func (k *kit) answer(t *testing.T, workflowID, runID string, commands ...*commandpb.Command) (*workflowservice.RespondWorkflowTaskCompletedRequest, error) {
	t.Helper()
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte(workflowID + runID), Commands: commands}
	c := k.call("RespondWorkflowTaskCompleted", req, k.issuer.Client(deployWorker))
	c.Task = &gate.Task{WorkflowID: workflowID, RunID: runID}
	a, err := k.Admit(t.Context(), c)
	if err != nil {
		return nil, err
	}
	return req, k.Stamp(a, req)
}

func carried(h *commonpb.Header) string {
	raw, _ := attest.FromPayload(h.GetFields()[attest.HeaderKey])
	return raw
}

// A worker without our plugin sends bare commands; what Temporal makes of them is attested all the same.
func TestCommandsGetTheRunsStatement(t *testing.T) {
	runs := &resolver{started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{}}
	k := newKitWith(t, "", gate.Config{Runs: runs})
	started, decision := k.startedBy(t, "ship-1")
	runs.started["ship-1/run-1"] = started
	own := carried(started.Header)

	activity := &commandpb.ScheduleActivityTaskCommandAttributes{TaskQueue: &taskqueuepb.TaskQueue{Name: "elsewhere"}}
	child, next := &commandpb.StartChildWorkflowExecutionCommandAttributes{}, &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{}
	marker := &commandpb.RecordMarkerCommandAttributes{}
	if _, err := k.answer(t, "ship-1", "run-1", command(activity), command(child), command(next), command(marker)); err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]*commonpb.Header{"activity": activity.Header, "child": child.Header, "continue-as-new": next.Header} {
		if carried(h) != own {
			t.Errorf("%s: the header holds %v", name, h.GetFields())
		}
	}
	if marker.Header != nil {
		t.Error("a marker got a header")
	}
	e := k.log.last(t)
	if e.Detail["originator_login"] != "alice@acme.example" || e.Detail["attestation"] != decision || !strings.HasPrefix(e.Detail["originator"], "user:") || e.Detail["other_queues"] != "elsewhere" {
		t.Errorf("the entry does not say on whose behalf: %v", e.Detail)
	}
	if e.Resource.WorkflowID != "ship-1" || e.Resource.RunID != "run-1" || e.Resource.WorkflowType != "deploy" || e.Resource.TaskQueue != "deploy" {
		t.Errorf("the entry does not say which run: %+v", e.Resource)
	}
	if _, err := k.answer(t, "ship-1", "run-1", command(&commandpb.ScheduleActivityTaskCommandAttributes{})); err != nil || runs.read.Load() != 1 {
		t.Errorf("%d reads of the first event, %v", runs.read.Load(), err)
	}
}

// The usual way needs no look-up at all: the poll that handed out the first task told.
func TestPollsTeachTheGate(t *testing.T) {
	runs := &resolver{err: errors.New("must not be asked")}
	k := newKitWith(t, "", gate.Config{Runs: runs})
	started, _ := k.startedBy(t, "ship-1")
	poll := &workflowservice.PollWorkflowTaskQueueRequest{Namespace: "deploy", TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"}}
	a, err := k.Admit(t.Context(), k.call("PollWorkflowTaskQueue", poll, k.issuer.Client(deployWorker)))
	if err != nil {
		t.Fatal(err)
	}
	k.Learn(a, poll, &workflowservice.PollWorkflowTaskQueueResponse{
		TaskToken: []byte("token"), WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: "run-1"},
		History: &historypb.History{Events: []*historypb.HistoryEvent{{EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
			Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: started}}}},
	})
	activity := &commandpb.ScheduleActivityTaskCommandAttributes{}
	if _, err := k.answer(t, "ship-1", "run-1", command(activity)); err != nil || carried(activity.Header) != carried(started.Header) {
		t.Errorf("%v, %v", activity.Header, err)
	}
	if n := runs.read.Load(); n != 0 {
		t.Errorf("%d look-ups", n)
	}
}

// A genuine statement of another run is as good as a forged one.
func TestStatementsOfOtherRunsAreReplaced(t *testing.T) {
	runs := &resolver{started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{}}
	k := newKitWith(t, "", gate.Config{Runs: runs})
	mine, _ := k.startedBy(t, "ship-1")
	other, _ := k.startedBy(t, "ship-2")
	runs.started["ship-1/run-1"], runs.started["ship-2/run-1"] = mine, other
	// A child that its parent's statement was carried to.
	runs.started["part-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{
		WorkflowType: &commonpb.WorkflowType{Name: "part"}, Header: mine.Header, ParentWorkflowNamespace: "deploy",
		ParentWorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: "run-1"}, RootWorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: "run-1"},
	}
	// One from before there was a gate, and one whose header was taken from elsewhere behind the gate's back.
	runs.started["old-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: &commonpb.WorkflowType{Name: "deploy"}}
	runs.started["odd-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, Header: other.Header}

	with := func(h *commonpb.Header) *commandpb.ScheduleActivityTaskCommandAttributes {
		return &commandpb.ScheduleActivityTaskCommandAttributes{Header: proto.Clone(h).(*commonpb.Header)}
	}
	lying := with(other.Header)
	lying.Header.Fields[attest.LineageKey] = attest.ToPayload(`{"workflow_id":"ship-2"}`)
	for _, tc := range []struct {
		name, workflow string
		activity       *commandpb.ScheduleActivityTaskCommandAttributes
		want           string
		lineage        bool
		detail         string // key that the entry must have
	}{
		{"own", "ship-1", with(mine.Header), carried(mine.Header), false, "originator"},
		{"another run's", "ship-1", with(other.Header), carried(mine.Header), false, "originator"},
		{"with a made-up lineage", "ship-1", lying, carried(mine.Header), false, "originator"},
		{"forged", "ship-1", with(header("forged")), carried(mine.Header), false, "originator"},
		{"child", "part-1", with(&commonpb.Header{}), carried(mine.Header), true, "originator"},
		{"child that carries it itself", "part-1", with(mine.Header), carried(mine.Header), true, "originator"},
		{"child with a stranger's", "part-1", with(other.Header), carried(mine.Header), true, "originator"},
		{"from before the gate", "old-1", with(&commonpb.Header{}), "", false, "unattested"},
		{"from before the gate, with another's", "old-1", with(other.Header), "", false, "unattested"},
		{"moved", "odd-1", with(other.Header), "", false, "unattested"},
		{"of no such run", "gone-1", with(other.Header), "", false, "unattested"},
	} {
		if _, err := k.answer(t, tc.workflow, "run-1", command(tc.activity)); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		h := tc.activity.Header
		if carried(h) != tc.want || (h.GetFields()[attest.LineageKey] != nil) != tc.lineage || h.GetFields()["Bailiwick-Attestation"] != nil {
			t.Errorf("%s: the header holds %v", tc.name, h.GetFields())
		}
		if e := k.log.last(t); e.Detail[tc.detail] == "" {
			t.Errorf("%s: the entry says %v", tc.name, e.Detail)
		}
	}
}

// An answer that must carry a statement waits until it is known which; one that carries none goes on.
func TestAnswersWaitForTheRunsStatement(t *testing.T) {
	runs := &resolver{err: errors.New("history is away")}
	k := newKitWith(t, "", gate.Config{Runs: runs})
	_, err := k.answer(t, "ship-1", "run-1", command(&commandpb.ScheduleActivityTaskCommandAttributes{}))
	if d := denial(t, err); d.Code != gate.CodeRunUnknown {
		t.Errorf("got %v", err)
	}
	if _, err := k.answer(t, "ship-1", "run-1", command(&commandpb.RecordMarkerCommandAttributes{})); err != nil {
		t.Errorf("an answer without such commands: %v", err)
	}
}
