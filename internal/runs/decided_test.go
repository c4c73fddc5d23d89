package runs

import (
	"errors"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
)

const decision = "01936a2e-1111-7222-8333-444455556666"

func TestActsWithoutAHeader(t *testing.T) {
	const signed = "alice@acme.example via bailiwick [" + decision + "]"
	if id, ok := gate.DecisionOf(signed); !ok || id != decision {
		t.Fatal("the gate writes something else")
	}
	if id, ok := gate.DecisionOf("flaky (" + signed + ")"); !ok || id != decision {
		t.Fatal("the gate writes reasons otherwise")
	}
	alice := attest.Party{Principal: "user:https://idp|alice", Login: "alice@acme.example"}
	good := Decided{Actor: alice, Reason: "stuck", Action: "TerminateWorkflowExecution", Allowed: true, Namespace: "deploy", WorkflowID: "d-1"}
	with := func(change func(*Decided)) *Decided { d := good; change(&d); return &d }
	for _, c := range []struct {
		name             string
		reason, identity string
		found            *Decided
		err              error
		by, problem      string
	}{
		{"by identity", "stuck", signed, &good, nil, alice.Login, ""},
		{"by reason", "stuck (" + signed + ")", "batcher", with(func(d *Decided) { d.Action, d.WorkflowID = "StartBatchOperation", "" }), nil, alice.Login, ""},
		{"by a reset", "stuck (" + signed + ")", "history-service", with(func(d *Decided) { d.Action = "ResetWorkflowExecution" }), nil, alice.Login, ""},
		{"a delegate", "stuck", signed, with(func(d *Decided) { d.Actor, d.Originator = attest.Party{Principal: "client:agent"}, &alice }), nil, "client:agent", ""},
		{"not in the log", "stuck", signed, nil, nil, "", "does not know"},
		{"no log", "stuck", signed, nil, errors.New("no log"), "", ""},
		{"about another run", "stuck", signed, with(func(d *Decided) { d.WorkflowID = "d-2" }), nil, "", "something else"},
		{"about another namespace", "stuck", signed, with(func(d *Decided) { d.Namespace = "payments" }), nil, "", "something else"},
		{"about another act", "stuck", signed, with(func(d *Decided) { d.Action = "QueryWorkflow" }), nil, "", "something else"},
		{"a denied one", "stuck", signed, with(func(d *Decided) { d.Allowed = false }), nil, "", "something else"},
		{"a client's own words", "stuck", "root@host", nil, nil, "", ""},
		{"no decision id", "stuck", "alice via bailiwick [1234]", nil, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t)
			s.started(s.sign(attest.EdgeStart, "a", startBinding))
			s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, "alice", &historypb.WorkflowExecutionTerminatedEventAttributes{Reason: c.reason, Identity: c.identity})
			timeline, err := Build(s.events, Config{Namespace: "deploy", WorkflowID: "d-1", RunID: "run-1", Keys: s.signer.PublicKeySet(), Audience: aud, Decision: func(id string) (*Decided, error) {
				if id != decision {
					t.Errorf("asked for %q", id)
				}
				return c.found, c.err
			}})
			if err != nil {
				t.Fatal(err)
			}
			step := timeline.Steps[1]
			by := ""
			if actor, originator := step.Parties(); actor != nil {
				by = PartyName(*actor)
				if (originator != nil) != (c.found.Originator != nil) {
					t.Errorf("originator %v", originator)
				}
			}
			if by != c.by || step.Name != "stuck" || step.Title() != "terminated: “stuck”" || step.Verdict != Recorded || (c.problem == "") != (step.Problem == "") || !strings.Contains(step.Problem, c.problem) {
				t.Errorf("by %q: %+v", by, step)
			}
			if c.by != "" && !strings.Contains(step.Grounds(), decision) {
				t.Errorf("grounds %q", step.Grounds())
			}
			if !timeline.OK() {
				t.Error("what is not proven counts as invalid")
			}
		})
	}
}

func TestWhoTriggeredASchedule(t *testing.T) {
	const signed = "carol@acme.example via bailiwick [" + decision + "]"
	carol := attest.Party{Principal: "user:https://idp|carol", Login: "carol@acme.example"}
	for memo, want := range map[string]string{`"` + signed + `"`: carol.Login, `"carol"`: "", `{}`: "no step", `""`: "no step"} {
		s := newStory(t)
		s.started(s.sign(attest.EdgeStart, "a", startBinding))
		s.events[0].GetWorkflowExecutionStartedEventAttributes().Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{gate.FieldTrigger: {Data: []byte(memo)}}}
		timeline, err := Build(s.events, Config{Namespace: "deploy", WorkflowID: "d-1", RunID: "run-1", Keys: s.signer.PublicKeySet(), Audience: aud, Decision: func(string) (*Decided, error) {
			return &Decided{Actor: carol, Action: "PatchSchedule", Allowed: true, Namespace: "deploy"}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		got := "no step"
		if len(timeline.Steps) > 1 && timeline.Steps[1].Kind == KindTrigger {
			got = ""
			if actor, _ := timeline.Steps[1].Parties(); actor != nil {
				got = PartyName(*actor)
			}
		}
		if got != want || timeline.Steps[0].Verdict != Verified {
			t.Errorf("%s: by %q, want %q; %+v", memo, got, want, timeline.Steps)
		}
	}
}
