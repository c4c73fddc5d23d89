package gate_test

import (
	"errors"
	"strings"
	"testing"

	batchpb "go.temporal.io/api/batch/v1"
	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
)

func adoption(id, run string) *workflowservice.SignalWorkflowExecutionRequest {
	r := signalTo(id, run)
	r.SignalName = attest.AdoptSignal
	return r
}

const noDeployStarts = `@id("no-deploy-starts")
forbid(principal, action == Action::"StartWorkflowExecution", resource) when { resource has type && resource.type == "deploy" };`

// TestRunsAreTakenOver: by a person, in person, with a reason, for one run that somebody else began and that they may start; the statement says so,
// and the entry who began it.
func TestRunsAreTakenOver(t *testing.T) {
	runs := fleet()
	k := newKitWith(t, "", gate.Config{Runs: runs})
	started, began := k.startedBy(t, "ship-1")
	runs.started = map[string]*historypb.WorkflowExecutionStartedEventAttributes{"ship-1/run-d": started, "ship-1/run-h": {WorkflowType: &commonpb.WorkflowType{Name: "harmless"}}}
	bob := k.issuer.User("bob@acme.example", "temporal:deploy:write")
	ask := func(req *workflowservice.SignalWorkflowExecutionRequest, token, reason string) (*gate.Admission, error) {
		c := k.call("SignalWorkflowExecution", req, token)
		if reason != "" {
			c.Reason = []string{reason}
		}
		return k.Admit(t.Context(), c)
	}

	runs.err = errors.New("Temporal is away")
	if _, err := ask(adoption("ship-1", "run-d"), bob, "because"); err == nil || denial(t, err).Code != gate.CodeRunUnknown {
		t.Errorf("with nobody knowing who began it: %v", err)
	}
	runs.err = nil

	req := adoption("ship-1", "run-d")
	a, err := ask(req, bob, "alice left; release goes on")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	v, err := k.signer.Verify(carried(req.Header), "bailiwick:test")
	if err != nil {
		t.Fatal(err)
	}
	run := attest.Run{Namespace: "deploy", WorkflowID: "ship-1", RunID: "run-d", WorkflowType: "deploy"}
	if err := v.CheckAdoption(run, "user:somebody"); err != nil || v.Statement().Originator.Login != "bob@acme.example" || v.Statement().ID != a.ID() {
		t.Errorf("%v: %+v", err, v.Statement())
	}
	entry := k.log.last(t)
	if !strings.HasPrefix(entry.Detail["former_owner"], "user:") || entry.Detail[audit.DetailAttestation] != began || entry.Reason != "alice left; release goes on" ||
		len(entry.Acts) == 0 || entry.Acts[0].Action != "StartWorkflowExecution" {
		t.Errorf("on record: %+v", entry)
	}

	agent := k.issuer.Token(map[string]any{"sub": "bob@acme.example", "uid": bailiwicktest.UID("bob@acme.example"), "groups": []string{"temporal:deploy:write"},
		"act": map[string]any{"sub": "0oareleaseagent00001", "sub_profile": "ai_agent"}})
	for what, c := range map[string]struct {
		req    *workflowservice.SignalWorkflowExecutionRequest
		token  string
		reason string
		code   string
	}{
		"without a reason":           {adoption("ship-1", "run-d"), bob, "", gate.CodeBadRequest},
		"without a run":              {adoption("ship-1", ""), bob, "because", gate.CodeBadRequest},
		"by who began it":            {adoption("ship-1", "run-d"), k.alice(), "because", gate.CodeAdoption},
		"by an agent for a person":   {adoption("ship-1", "run-d"), agent, "because", gate.CodeAdoption},
		"of a run that nobody began": {adoption("ship-1", "run-h"), bob, "because", gate.CodeAdoption},
	} {
		if _, err := ask(c.req, c.token, c.reason); err == nil || denial(t, err).Code != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
	k.setPolicies(t, noDeployStarts)
	if _, err := ask(adoption("ship-1", "run-d"), bob, "because"); err == nil || denial(t, err).Code == gate.CodeAdoption {
		t.Errorf("somebody who may not start it took it over: %v", err)
	}
}

// TestAdoptionIsNoPartOfAnotherCall: whatever else can send a signal is refused with the reserved name.
func TestAdoptionIsNoPartOfAnotherCall(t *testing.T) {
	k := newKitWith(t, "", gate.Config{Runs: fleet()})
	admin := k.issuer.User("root@acme.example", "temporal:admin")
	with := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: "x", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: attest.AdoptSignal}
	batch := &workflowservice.StartBatchOperationRequest{Namespace: "deploy", JobId: "j", Reason: "r", VisibilityQuery: "WorkflowType='deploy'",
		Operation: &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{Signal: attest.AdoptSignal}}}
	reset := &workflowservice.ResetWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: "run-d"},
		PostResetOperations: []*workflowpb.PostResetOperation{{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{SignalWorkflow: &workflowpb.PostResetOperation_SignalWorkflow{SignalName: attest.AdoptSignal}}}}}
	answer := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", Commands: []*commandpb.Command{command(&commandpb.SignalExternalWorkflowExecutionCommandAttributes{
		SignalName: attest.AdoptSignal, Execution: &commonpb.WorkflowExecution{WorkflowId: "ship-1"}})}}
	for method, req := range map[string]any{"SignalWithStartWorkflowExecution": with, "StartBatchOperation": batch, "ResetWorkflowExecution": reset, "RespondWorkflowTaskCompleted": answer} {
		if _, err := k.Admit(t.Context(), k.call(method, req, admin)); err == nil || denial(t, err).Code != gate.CodeBadRequest {
			t.Errorf("%s: %v", method, err)
		}
	}
}
