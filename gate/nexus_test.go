package gate_test

import (
	"strings"
	"testing"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
)

const nexusHandler = "0oanexushandler00001"

func nexusOperation(header map[string]string) *commandpb.ScheduleNexusOperationCommandAttributes {
	return &commandpb.ScheduleNexusOperationCommandAttributes{Endpoint: "billing", Service: "s", Operation: "o", NexusHeader: header}
}

func nexusCommand(a *commandpb.ScheduleNexusOperationCommandAttributes) *commandpb.Command {
	return &commandpb.Command{CommandType: enumspb.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION, Attributes: &commandpb.Command_ScheduleNexusOperationCommandAttributes{ScheduleNexusOperationCommandAttributes: a}}
}

// An operation goes with its run's statement and no other, whatever the worker sends.
func TestNexusCommandsGetTheRunsStatement(t *testing.T) {
	runs := &resolver{started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{}}
	// Workers may not end runs, and Temporal's own endpoint could; this one may, so that the endpoint can be used.
	k := newKitWith(t, `@id("ends") permit (principal is Client, action == Action::"TerminateWorkflowExecution", resource);`, gate.Config{Runs: runs})
	started, _ := k.startedBy(t, "ship-1")
	other, _ := k.startedBy(t, "ship-2")
	runs.started["ship-1/run-1"] = started
	runs.started["old-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: started.WorkflowType, TaskQueue: started.TaskQueue}
	own, foreign := attest.ToNexus(carried(started.Header)), attest.ToNexus(carried(other.Header))

	bare, kept := nexusOperation(nil), nexusOperation(map[string]string{attest.HeaderKey: own, "trace": "1"})
	replayed := nexusOperation(map[string]string{attest.HeaderKey: foreign, "Bailiwick-Attestation": own})
	full := nexusOperation(map[string]string{"mine": strings.Repeat("x", 8000)})
	system := nexusOperation(map[string]string{attest.HeaderKey: own})
	system.Endpoint = "__temporal_system"
	if _, err := k.answer(t, "ship-1", "run-1", nexusCommand(bare), nexusCommand(kept), nexusCommand(replayed), nexusCommand(full), nexusCommand(system)); err != nil {
		t.Fatal(err)
	}
	if len(bare.NexusHeader) != 1 || bare.NexusHeader[attest.HeaderKey] != own {
		t.Errorf("a bare operation goes with %v", bare.NexusHeader)
	}
	if len(kept.NexusHeader) != 2 || kept.NexusHeader[attest.HeaderKey] != own {
		t.Errorf("an operation of a worker with the plugin goes with %v", kept.NexusHeader)
	}
	if len(replayed.NexusHeader) != 1 || replayed.NexusHeader[attest.HeaderKey] != own {
		t.Errorf("another run's statement went through: %v", replayed.NexusHeader)
	}
	if len(full.NexusHeader) != 1 || full.NexusHeader["mine"] == "" {
		t.Error("Temporal would refuse what the gate added")
	}
	if len(system.NexusHeader) != 0 {
		t.Error("Temporal's own endpoint takes no headers")
	}

	// A run from before Bailiwick has nothing to give, and can't lend itself somebody else's.
	unattested := nexusOperation(map[string]string{attest.HeaderKey: own})
	if _, err := k.answer(t, "old-1", "run-1", nexusCommand(unattested)); err != nil {
		t.Fatal(err)
	}
	if len(unattested.NexusHeader) != 0 {
		t.Errorf("an unattested run's operation goes with %v", unattested.NexusHeader)
	}
}

// nexusKit is a gate with a handler in deploy, and the statement of a run of alice's elsewhere.
type nexusKit struct {
	*kit
	now      time.Time
	raw      string
	decision string
}

func newNexusKit(t *testing.T) *nexusKit {
	t.Helper()
	k := &nexusKit{now: time.Now()}
	k.kit = newKitWith(t, "", gate.Config{Clock: func() time.Time { return k.now }})
	started, id := k.startedBy(t, "caller-1")
	k.raw, k.decision = carried(started.Header), id
	return k
}

// dispatch is a call by which an operation reaches its handler.
func (k *nexusKit) dispatch(requestID, token string, statements ...string) gate.Call {
	c := k.call("StartNexusOperationExecution", &workflowservice.StartNexusOperationExecutionRequest{Namespace: "deploy", Endpoint: "billing", Service: "s", Operation: "o"}, token)
	c.Operation = &gate.Operation{TaskQueue: "handlers", RequestID: requestID}
	for _, raw := range statements {
		c.Operation.Statements = append(c.Operation.Statements, attest.ToNexus(raw))
	}
	return c
}

func (k *nexusKit) handOver(t *testing.T, requestID string, statements ...string) audit.Entry {
	t.Helper()
	if _, err := k.AdmitSystem(t.Context(), k.dispatch(requestID, "", statements...)); err != nil {
		t.Fatal(err)
	}
	return k.log.entries[len(k.log.entries)-1]
}

// start is what a handler sends for an operation.
func (k *nexusKit) start(t *testing.T, requestID, token string) (attest.Statement, audit.Entry, *workflowservice.StartWorkflowExecutionRequest) {
	t.Helper()
	req := startRequest()
	req.RequestId = requestID
	s := k.kit.statementAs(t, req, token)
	return s, k.log.entries[len(k.log.entries)-1], req
}

func (k *kit) statementAs(t *testing.T, req *workflowservice.StartWorkflowExecutionRequest, token string) attest.Statement {
	t.Helper()
	a, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", req, token))
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
	return v.Statement()
}

func TestWhatAHandlerStartsIsForTheCaller(t *testing.T) {
	k := newNexusKit(t)
	handler := k.issuer.Client(nexusHandler, "temporal:deploy:worker", "temporal:deploy:write")
	entry := k.handOver(t, "r-1", k.raw)
	if entry.Actor.Principal != "temporal:internal" || entry.Detail[audit.DetailOriginatorLogin] != "alice@acme.example" || entry.Detail[audit.DetailAttestation] != k.decision {
		t.Errorf("the operation is recorded as %+v", entry)
	}
	s, entry, req := k.start(t, "r-1", handler)
	if s.Originator.Login != "alice@acme.example" || s.Cause != k.decision || s.Actor.ClientID != nexusHandler || s.ID == k.decision {
		t.Errorf("the handler's run says %+v", s)
	}
	// Nothing but the name: what alice's login proved is not the handler's.
	if !s.AuthTime.IsZero() || s.ACR != "" || s.Grant != "" {
		t.Errorf("the handler's run borrows %+v", s)
	}
	if entry.Actor.ClientID != nexusHandler || entry.Detail[audit.DetailOriginatorLogin] != "alice@acme.example" || entry.Detail[audit.DetailAttestation] != k.decision {
		t.Errorf("its start is recorded as %+v", entry)
	}
	if !strings.HasPrefix(req.Identity, nexusHandler+" for alice@acme.example via bailiwick [") || !strings.Contains(string(req.Memo.Fields[gate.FieldOriginator].Data), "alice") {
		t.Errorf("people are told %q, %v", req.Identity, req.Memo)
	}
	k.handOver(t, "r-1", k.raw) // another attempt
	if s, _, _ := k.start(t, "r-1", handler); s.Originator.Login != "alice@acme.example" {
		t.Errorf("at the second attempt the run is for %+v", s.Originator)
	}
}

// Threat: a worker borrows a name that nobody lent it.
func TestHandlersCantLaunder(t *testing.T) {
	k := newNexusKit(t)
	handler := k.issuer.Client(nexusHandler, "temporal:deploy:worker", "temporal:deploy:write")
	own := func(name string, s attest.Statement) {
		t.Helper()
		if s.Originator != s.Actor || s.Cause != "" {
			t.Errorf("%s: the run is for %+v, because of %q", name, s.Originator, s.Cause)
		}
	}
	k.handOver(t, "r-1", k.raw)

	replay := startRequest()
	replay.Header = header(k.raw)
	own("a genuine statement in the header of a start", k.statementAs(t, replay, handler))
	s, _, _ := k.start(t, "r-unknown", handler)
	own("a request id that no operation has", s)
	s, _, _ = k.start(t, "r-1", k.issuer.Client("0oabystander00000001", "temporal:deploy:write"))
	own("a program that may not take the operation from its queue", s)
	s, _, _ = k.start(t, "r-1", k.issuer.User("mallory@acme.example", "temporal:deploy:worker", "temporal:deploy:write"))
	own("a person", s)
	if entry := k.handOver(t, "r-2"); entry.Detail[audit.DetailUnattested] != string(attest.CodeMissing) {
		t.Errorf("an operation without a statement is recorded as %+v", entry)
	}
	s, _, _ = k.start(t, "r-2", handler)
	own("an operation of an unattested run", s)
	if entry := k.handOver(t, "r-3", strings.Replace(k.raw, "alice@", "carol@", 1)); entry.Detail[audit.DetailUnattested] != string(attest.CodeSignature) {
		t.Errorf("an operation with an altered statement is recorded as %+v", entry)
	}
	s, _, _ = k.start(t, "r-3", handler)
	own("an operation with an altered statement", s)
	if entry := k.handOver(t, "r-4", k.raw, k.raw); entry.Detail[audit.DetailUnattested] != string(attest.CodeMalformed) {
		t.Errorf("an operation with two statements is recorded as %+v", entry)
	}
	k.now = k.now.Add(3 * time.Minute)
	s, _, _ = k.start(t, "r-1", handler)
	own("an operation of which no handler can be at work any more", s)
}

// Callers from outside are named by their own tokens; they bring no statements, and can't take over another's operation.
func TestNexusCallsFromOutside(t *testing.T) {
	k := newNexusKit(t)
	handler := k.issuer.Client(nexusHandler, "temporal:deploy:worker", "temporal:deploy:write")
	bob := k.issuer.User("bob@acme.example", "temporal:deploy:write")
	if _, err := k.Admit(t.Context(), k.dispatch("r-1", bob, k.raw)); err == nil || !strings.Contains(err.Error(), attest.HeaderKey) {
		t.Errorf("a caller who brings alice's statement: %v", err)
	}
	a, err := k.Admit(t.Context(), k.dispatch("r-1", bob))
	if err != nil {
		t.Fatal(err)
	}
	if s, _, _ := k.start(t, "r-1", handler); s.Originator.Login != "bob@acme.example" || s.Cause != a.ID() || s.Actor.ClientID != nexusHandler {
		t.Errorf("the handler's run says %+v", s)
	}
	k.handOver(t, "r-2", k.raw)
	if _, err := k.Admit(t.Context(), k.dispatch("r-2", bob)); err != nil {
		t.Fatal(err)
	}
	if s, _, _ := k.start(t, "r-2", handler); s.Originator != s.Actor {
		t.Errorf("two callers claim one operation: it is for %+v", s.Originator)
	}
}
