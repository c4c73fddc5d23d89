package demo

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// headers returns the header fields of an event that should carry an attestation.
func headers(e *historypb.HistoryEvent) map[string]map[string]*commonpb.Payload {
	out := map[string]map[string]*commonpb.Payload{}
	if a := e.GetWorkflowExecutionStartedEventAttributes(); a != nil {
		out["start"] = a.GetHeader().GetFields()
	}
	if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
		out["activity"] = a.GetHeader().GetFields()
	}
	if a := e.GetStartChildWorkflowExecutionInitiatedEventAttributes(); a != nil {
		out["child"] = a.GetHeader().GetFields()
	}
	if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
		out["signal"] = a.GetHeader().GetFields()
	}
	if a := e.GetWorkflowExecutionUpdateAcceptedEventAttributes(); a != nil {
		out["update"] = a.GetAcceptedRequest().GetInput().GetHeader().GetFields()
	}
	return out
}

// environment runs workflow "deploy" as alice, without a server. In mode Observe the test environment's own signals, updates and queries,
// which it sends without a header, are let through.
func environment(t *testing.T, mode sdkplugin.Mode) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	seed := sha256.Sum256([]byte("bailiwick demo test key"))
	signer := attest.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	plugin, err := sdkplugin.New(sdkplugin.Options{Keys: signer.PublicKeySet(), Audience: "bailiwick:dev", Mode: mode, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var o worker.Options
	if err := plugin.ConfigureWorker(t.Context(), worker.PluginConfigureWorkerOptions{WorkerOptions: &o}); err != nil {
		t.Fatal(err)
	}
	alice := attest.Party{Principal: "user:https://issuer.example|alice", Login: "alice@acme.example"}
	raw, err := signer.Sign(attest.Statement{ID: "d1", Issuer: "dev", Audience: "bailiwick:dev", Edge: attest.EdgeStart, Originator: alice, Actor: alice, Reason: "CHG-7",
		Binding: attest.Binding{Namespace: "default-test-namespace", WorkflowID: "w", WorkflowType: WorkflowDeploy}, IssuedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(o)
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "w"})
	env.SetHeader(&commonpb.Header{Fields: map[string]*commonpb.Payload{attest.HeaderKey: attest.ToPayload(raw)}})
	RegisterWorkflows(env)
	RegisterActivities(env, &Activities{Logger: slog.New(slog.DiscardHandler)})
	return env
}

func TestDeploy(t *testing.T) {
	env := environment(t, sdkplugin.Enforce)
	env.ExecuteWorkflow(WorkflowDeploy, map[string]any{"service": "checkout", "version": "1.4.2"})
	var st Status
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&st)); err != nil {
		t.Fatal(err)
	}
	if st.Phase != "live" || st.StartedBy != "alice@acme.example" || st.Reason != "CHG-7" || st.Traffic != 100 || len(st.Steps) != 4 {
		t.Errorf("status %+v", st)
	}
	for i, name := range []string{"build", "push", "smoke-test", "verify"} {
		if s := st.Steps[i]; s.Name != name || s.RanAs != "alice@acme.example" || s.Decision != "d1" {
			t.Errorf("step %d is %+v", i, s)
		}
	}
}

func TestApprovalAndTraffic(t *testing.T) {
	env := environment(t, sdkplugin.Observe)
	answers := map[int]error{}
	update := func(percent int) {
		note := func(err error) { answers[percent] = err }
		env.UpdateWorkflow(UpdateSetTraffic, fmt.Sprint(percent), &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: note, OnComplete: func(_ any, err error) { note(err) },
		}, percent)
	}
	env.RegisterDelayedCallback(func() {
		for _, percent := range []int{-1, 101, 10} {
			update(percent)
		}
	}, time.Hour)
	var waiting Status
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(QueryStatus)
		if err != nil {
			t.Error(err)
			return
		}
		if err := v.Get(&waiting); err != nil {
			t.Error(err)
		}
		env.SignalWorkflow(SignalApprove, nil)
	}, 2*time.Hour)
	began := env.Now()
	env.ExecuteWorkflow(WorkflowDeploy, DeployInput{Service: "checkout", Version: "1", Approval: true, StepSeconds: 5})
	var st Status
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&st)); err != nil {
		t.Fatal(err)
	}
	if waiting.Phase != "waiting for approval" || waiting.Traffic != 10 {
		t.Errorf("while waiting: %+v", waiting)
	}
	for _, bad := range []int{-1, 101} {
		if err := answers[bad]; err == nil || !strings.Contains(err.Error(), "percentage") {
			t.Errorf("%d percent: %v", bad, err)
		}
	}
	if err, answered := answers[10]; err != nil || !answered {
		t.Errorf("10 percent: answered %v, %v", answered, err)
	}
	if st.Traffic != 10 || st.TrafficBy != "unverified" || st.ApprovedBy != "unverified" || env.Now().Sub(began) < 2*time.Hour {
		t.Errorf("status %+v after %v", st, env.Now().Sub(began))
	}
}

func TestNobodyApproves(t *testing.T) {
	env := environment(t, sdkplugin.Enforce)
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(SignalApprove, nil) }, 10*time.Second) // unattested: does not count
	env.ExecuteWorkflow(WorkflowDeploy, DeployInput{Service: "checkout", Version: "1", Approval: true, ApprovalTimeoutSeconds: 60})
	var failure *temporal.ApplicationError
	if err := env.GetWorkflowError(); !errors.As(err, &failure) || failure.Type() != "NotApproved" {
		t.Errorf("error %v", err)
	}
}

func TestBadInput(t *testing.T) {
	for _, in := range []DeployInput{{}, {Service: "x"}, {Version: "1"}, {Service: "x", Version: "1", StepSeconds: -1}, {Service: "x", Version: "1", StepSeconds: 4000}, {Service: "x", Version: "1", ApprovalTimeoutSeconds: -5}} {
		env := environment(t, sdkplugin.Enforce)
		env.ExecuteWorkflow(WorkflowDeploy, in)
		var failure *temporal.ApplicationError
		if err := env.GetWorkflowError(); !errors.As(err, &failure) || failure.Type() != "BadInput" || !failure.NonRetryable() {
			t.Errorf("%+v: error %v", in, err)
		}
	}
}

func TestRunExplainsWhatIsWrong(t *testing.T) {
	err := Run(t.Context(), Config{Address: "127.0.0.1:1", KeysURL: "http://control.example/keys", Audience: "x"})
	if err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("error %v", err)
	}
}
