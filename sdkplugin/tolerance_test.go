package sdkplugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// old is the history of a run from before Bailiwick: nothing in it has an attestation.
func old(t *testing.T) *story {
	var s story
	s.start("listening", nil, nil)
	s.task()
	for _, text := range []string{"zero", "one", "two", "three"} {
		s.signal(t, "go", nil, text)
	}
	done := s.task()
	s.update(t, "adjust", nil, "it", done)
	s.complete(done)
	return &s
}

func TestHistoriesFromBefore(t *testing.T) {
	began := old(t).events[0].GetEventTime().AsTime()
	for _, c := range []struct {
		name      string
		tolerance sdkplugin.Tolerance
		ok        bool
	}{
		{"refused", sdkplugin.RefuseUnattested(), false},
		{"allowed", sdkplugin.AllowUnattested(), true},
		{"started before", sdkplugin.AllowUnattestedBefore(began.Add(time.Second)), true},
		{"started at that time", sdkplugin.AllowUnattestedBefore(began), false},
	} {
		var got []string
		_, err := replay(t, sdkplugin.Options{Unattested: c.tolerance}, old(t), &got)
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && strings.Join(got, "|") != "start from |plain zero from |signal one from |signal two from |selected three from |update it from " {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	// Their code can still ask for a verified identity, and new acts on them are attested.
	s := old(t)
	s.events = s.events[:1]
	s.task()
	for _, text := range []string{"zero", "one", "two"} {
		s.signal(t, "go", nil, text)
	}
	s.signal(t, "go", from(t, "dave", attest.EdgeSignal, "go"), "three")
	done := s.task()
	s.update(t, "adjust", from(t, "erin", attest.EdgeUpdate, "adjust"), "it", done)
	s.complete(done)
	var got []string
	if _, err := replay(t, sdkplugin.Options{Unattested: sdkplugin.AllowUnattestedBefore(began.Add(1))}, s, &got); err != nil || !strings.HasSuffix(strings.Join(got, "|"), "selected three from dave@acme.example|update it from erin@acme.example") {
		t.Errorf("%q, %v", got, err)
	}
	rule := sdkplugin.Rule{Workflow: "listening", Requirement: sdkplugin.Requirement{}}
	if _, err := replay(t, sdkplugin.Options{Unattested: sdkplugin.AllowUnattested(), Require: []sdkplugin.Rule{rule}}, old(t), &got); err == nil {
		t.Error("a rule let a run pass whose starter nobody knows")
	}
}

// Tolerance is for what is missing, not for what is wrong.
func TestForgedIsNotTolerated(t *testing.T) {
	var s story
	s.start("listening", header(sign(t, statement("mallory", attest.EdgeStart, attest.Binding{Namespace: replaySpace, WorkflowID: "another", WorkflowType: "listening"}))), nil)
	done := s.task()
	s.complete(done)
	if _, err := replay(t, sdkplugin.Options{Unattested: sdkplugin.AllowUnattested()}, &s, nil); err == nil || !strings.Contains(err.Error(), string(attest.CodeBinding)) {
		t.Errorf("%v", err)
	}
}

func TestSignalsWithoutAStatement(t *testing.T) {
	stray := func() *story { // a batch's signal, one from a stranger's workflow, a forged one, and good ones
		var s story
		s.start("listening", from(t, "alice", attest.EdgeStart, ""), nil)
		s.task()
		s.signal(t, "go", nil, "batch")
		s.signal(t, "go", header(sign(t, statement("mallory", attest.EdgeStart, attest.Binding{Namespace: replaySpace, WorkflowID: "elsewhere", WorkflowType: "x"}))), "stranger")
		forged := sign(t, statement("bob", attest.EdgeSignal, bound(attest.EdgeSignal, "go")))
		s.signal(t, "go", header(strings.Replace(forged, "bob@", "eve@", 1)), "forged")
		s.signal(t, "go", from(t, "carol", attest.EdgeSignal, "go"), "good")
		s.signal(t, "go", from(t, "dave", attest.EdgeSignal, "go"), "last")
		done := s.task()
		s.update(t, "adjust", from(t, "erin", attest.EdgeUpdate, "adjust"), "it", done)
		s.complete(done)
		return &s
	}
	began := stray().events[0].GetEventTime().AsTime()
	var got []string
	if _, err := replay(t, sdkplugin.Options{Signals: sdkplugin.AcceptSignals(began)}, stray(), &got); err != nil {
		t.Fatal(err)
	}
	if want := "start from alice@acme.example|plain batch from |signal stranger from |signal good from carol@acme.example|selected last from dave@acme.example|update it from erin@acme.example"; strings.Join(got, "|") != want {
		t.Errorf("accepting: %s", strings.Join(got, "|"))
	}
	// A run that began earlier goes on dropping them: three good ones are missing here, so it cannot have completed.
	for name, policy := range map[string]sdkplugin.SignalPolicy{"dropping": sdkplugin.DropSignals(), "accepting since later": sdkplugin.AcceptSignals(began.Add(time.Second))} {
		s := stray()
		if _, err := replay(t, sdkplugin.Options{Signals: policy}, s, &got); err == nil {
			t.Errorf("%s: the strays were delivered", name)
		}
		last := s.events[len(s.events)-1]
		if last.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED {
			t.Error("the history does not end")
		}
	}
}

func TestUnattestedRuns(t *testing.T) {
	for _, c := range []struct {
		name      string
		tolerance sdkplugin.Tolerance
		ok        bool
	}{
		{"allowed", sdkplugin.AllowUnattested(), true},
		{"started before", sdkplugin.AllowUnattestedBefore(time.Now().Add(time.Hour)), true},
		{"started after", sdkplugin.AllowUnattestedBefore(time.Now().Add(-time.Hour)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log journal
			env := environment(t, newPlugin(t, sdkplugin.Options{Unattested: c.tolerance, Logger: log.logger()}), &log)
			registerFamily(env)
			env.ExecuteWorkflow("family", 1)
			var got map[string]seen
			err := env.GetWorkflowError()
			if !c.ok {
				if err == nil || !strings.Contains(err.Error(), string(attest.CodeMissing)) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err := errors.Join(err, env.GetWorkflowResult(&got)); err != nil {
				t.Fatal(err)
			}
			for _, edge := range []string{"workflow", "activity", "local", "child workflow", "child activity"} {
				if s := got[edge]; !s.OK || s.Verified || !strings.HasPrefix(s.Problem, string(attest.CodeMissing)) {
					t.Errorf("%s saw %+v", edge, s)
				}
			}
		})
	}
}

type revocations map[string]string

func (r revocations) Revoked(_ context.Context, principal string) (string, bool, error) {
	reason, gone := r[principal]
	return reason, gone, nil
}

func TestRevokedActors(t *testing.T) {
	delegated := strong(func(s *attest.Statement) {
		s.Actor, s.Chain = agent, []attest.Party{{Principal: "agent", Profile: "ai_agent"}, {Principal: "broker", Profile: "client"}}
	})
	for _, c := range []struct {
		name    string
		revoked revocations
		hold    time.Duration
		want    string // type of the failure
	}{
		{"nobody", revocations{"user:https://issuer.example|bob": "user_deactivated"}, 0, ""},
		{"the originator", revocations{"user:https://issuer.example|alice": "user_deactivated"}, 0, sdkplugin.FailureForbidden},
		{"the actor", revocations{agent.Principal: "client_revoked"}, 0, sdkplugin.FailureForbidden},
		{"a nested actor", revocations{"client:https://issuer.example|broker": "client_revoked"}, 0, sdkplugin.FailureForbidden},
		{"held", revocations{"user:https://issuer.example|alice": "user_suspended"}, time.Minute, sdkplugin.FailureHeld},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := runGuarded(t, sdkplugin.Options{Revocations: c.revoked, HoldRevoked: c.hold}, "push", delegated)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			failed, v := failure(t, err)
			if failed.Type() != c.want || failed.NonRetryable() != (c.hold == 0) || v.Code != sdkplugin.ForbiddenRevoked || strings.Contains(err.Error(), "alice@") {
				t.Errorf("%v, %+v", err, v)
			}
			if err := runGuarded(t, sdkplugin.Options{Revocations: c.revoked, HoldRevoked: c.hold, Mode: sdkplugin.Observe}, "push", delegated); err != nil {
				t.Errorf("observing: %v", err)
			}
		})
	}
	if _, err := sdkplugin.New(sdkplugin.Options{HoldRevoked: time.Millisecond}); err == nil {
		t.Error("a hold of a millisecond was taken")
	}
}
