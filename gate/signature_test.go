package gate_test

import (
	"strings"
	"testing"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// identityOf is what a request says of who sends it.
func identityOf(req any) (string, bool) {
	switch r := req.(type) {
	case interface{ GetIdentity() string }:
		return r.GetIdentity(), true
	case *workflowservice.UpdateWorkflowExecutionRequest:
		return r.GetRequest().GetMeta().GetIdentity(), true
	case *workflowservice.ExecuteMultiOperationRequest:
		return r.GetOperations()[0].GetStartWorkflow().GetIdentity(), true
	case *workflowservice.StartBatchOperationRequest:
		return r.GetTerminationOperation().GetIdentity(), true
	}
	return "", false
}

// Every request by which people act and that has a place for an identity is signed; polls, answers and reads keep theirs.
func TestActsAreSigned(t *testing.T) {
	k := newKitWith(t, "", gate.Config{Runs: &resolver{}})
	admin := k.issuer.User("carol@acme.example", "temporal:deploy:admin")
	signed, kept := 0, 0
	for _, m := range apiMethods(t) {
		req := m.usual("deploy")
		was, has := identityOf(req)
		action, _ := policy.LookupAction(m.name)
		if !has || action.Scope == policy.ScopeCluster {
			continue
		}
		a, err := k.Admit(t.Context(), gate.Call{Method: m.full, Request: req, Authorization: []string{"Bearer " + admin}, Reason: []string{"a test"}})
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if err := k.Stamp(a, req); err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		got, _ := identityOf(req)
		id, ok := gate.DecisionOf(got)
		if action.Access == policy.Operate {
			signed++
			if !ok || id != a.ID() || !strings.HasPrefix(got, "carol@acme.example via bailiwick [") {
				t.Errorf("%s is signed %q", m.name, got)
			}
		} else {
			kept++
			if got != was {
				t.Errorf("%s (%s) came as %q and goes on as %q", m.name, action.Access, was, got)
			}
		}
	}
	if signed < 35 || kept < 15 {
		t.Errorf("%d signed and %d kept: the test looks at too few", signed, kept)
	}
}

// An agent is named before the human for whom it acts, and a batch's reason carries the signature where Temporal takes along nothing else.
func TestSignatures(t *testing.T) {
	k := newKit(t, "")
	agent := k.issuer.Token(map[string]any{"sub": "alice@acme.example", "uid": "00ualice", "groups": []string{"temporal:deploy:write"}, "act": map[string]any{"sub": "0oareleaseagent00001", "sub_profile": "ai_agent"}})
	stamp := func(method string, req proto.Message) string {
		t.Helper()
		a, err := k.Admit(t.Context(), k.call(method, req, agent))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Stamp(a, req); err != nil {
			t.Fatal(err)
		}
		return a.ID()
	}
	terminate := &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1"}}
	id := stamp("TerminateWorkflowExecution", terminate)
	if want := "0oareleaseagent00001 for alice@acme.example via bailiwick [" + id + "]"; terminate.Identity != want {
		t.Errorf("signed %q, want %q", terminate.Identity, want)
	}
	batch := &workflowservice.StartBatchOperationRequest{Namespace: "deploy", Reason: "tidy up", Operation: &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{Identity: "bob"}}}
	id = stamp("StartBatchOperation", batch)
	if got, ok := gate.DecisionOf(batch.Reason); !ok || got != id || !strings.HasPrefix(batch.Reason, "tidy up (0oareleaseagent00001 for") {
		t.Errorf("the batch's reason is %q", batch.Reason)
	}
	if got, _ := gate.DecisionOf(batch.GetTerminationOperation().GetIdentity()); got != id {
		t.Errorf("the batch's operation is signed %q", batch.GetTerminationOperation().GetIdentity())
	}
	update := &workflowservice.UpdateWorkflowExecutionRequest{Namespace: "deploy", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1"}, Request: &updatepb.Request{Meta: &updatepb.Meta{Identity: "bob"}, Input: &updatepb.Input{Name: "u"}}}
	id = stamp("UpdateWorkflowExecution", update)
	if got, _ := gate.DecisionOf(update.Request.Meta.Identity); got != id {
		t.Errorf("the update is signed %q", update.Request.Meta.Identity)
	}
	for _, not := range []string{"", "1234@host", "alice via bailiwick", "alice via bailiwick [01936a2e-0000-4000-8000-000000000000]", "x via bailiwick [01936a2e-0000-7000-8000-000000000000] or not"} {
		if id, ok := gate.DecisionOf(not); ok {
			t.Errorf("%q was read as decision %s", not, id)
		}
	}
}
