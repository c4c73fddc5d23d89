package gate_test

import (
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
)

// A signal from one workflow to another has a statement of its own, whatever the worker put there and whoever the receiver is.
func TestSignalsFromWorkflowsAreAttested(t *testing.T) {
	runs := &resolver{started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{}}
	k := newKitWith(t, "", gate.Config{Runs: runs})
	mine, decision := k.startedBy(t, "ship-1")
	other, _ := k.startedBy(t, "ship-2")
	runs.started["ship-1/run-1"] = mine
	runs.started["old-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: &commonpb.WorkflowType{Name: "deploy"}}
	send := func(from, to, name string, h *commonpb.Header) *commonpb.Header {
		t.Helper()
		signal := &commandpb.SignalExternalWorkflowExecutionCommandAttributes{Execution: &commonpb.WorkflowExecution{WorkflowId: to}, SignalName: name, Header: h}
		if _, err := k.answer(t, from, "run-1", command(signal)); err != nil {
			t.Fatal(err)
		}
		return signal.Header
	}
	for what, h := range map[string]*commonpb.Header{
		"bare": nil, "the run's own": {Fields: map[string]*commonpb.Payload{attest.HeaderKey: mine.Header.Fields[attest.HeaderKey]}},
		"another run's": {Fields: map[string]*commonpb.Payload{attest.HeaderKey: other.Header.Fields[attest.HeaderKey]}}, "forged": header("forged"),
	} {
		got := send("ship-1", "ship-9", "approve", h)
		v, err := k.signer.Verify(carried(got), "bailiwick:test")
		if err != nil || got.Fields["Bailiwick-Attestation"] != nil {
			t.Fatalf("%s: %v in %v", what, err, got)
		}
		receiver := attest.Run{Namespace: "deploy", WorkflowID: "ship-9", RunID: "run-9", WorkflowType: "deploy"}
		if err := v.CheckCall(attest.EdgeSignal, receiver, "approve"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for name, run := range map[string]attest.Run{"approve": {Namespace: "deploy", WorkflowID: "ship-8", WorkflowType: "deploy"}, "reject": receiver} {
			if v.CheckCall(attest.EdgeSignal, run, name) == nil {
				t.Errorf("%s: accepted as %s of %s", what, name, run.WorkflowID)
			}
		}
		s := v.Statement()
		if s.Originator.Login != "alice@acme.example" || s.Actor.ClientID != deployWorker || s.Cause != decision || s.ID != k.log.last(t).ID {
			t.Errorf("%s: %+v", what, s)
		}
	}
	// Nobody answers for a run without a statement, and a signal without a name is Temporal's to refuse.
	if h := send("old-1", "ship-9", "approve", header("forged")); carried(h) != "" {
		t.Errorf("an unattested run's signal carries %v", h)
	}
	if h := send("ship-1", "ship-9", "", nil); carried(h) != "" {
		t.Errorf("a signal without a name carries %v", h)
	}
}
