package sdkplugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// seen is what a piece of code learned about for whom it runs.
type seen struct {
	Login, Reason, Decision, Problem string
	OK, Verified                     bool
}

func see(info sdkplugin.Info, ok bool) seen {
	return seen{Login: info.Actor.Login, Reason: info.Reason, Decision: info.DecisionID, Problem: info.Problem, OK: ok, Verified: info.Verified}
}

func seeActivity(ctx context.Context) (seen, error) { return see(sdkplugin.FromContext(ctx)), nil }

// family runs code on every edge and reports what each saw.
func family(ctx workflow.Context, depth int) (map[string]seen, error) {
	out := map[string]seen{"workflow": see(sdkplugin.FromWorkflow(ctx))}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
	var a, l seen
	if err := workflow.ExecuteActivity(ctx, "see").Get(ctx, &a); err != nil {
		return out, err
	}
	if err := workflow.ExecuteLocalActivity(ctx, seeActivity).Get(ctx, &l); err != nil {
		return out, err
	}
	out["activity"], out["local"] = a, l
	if depth == 0 {
		return out, nil
	}
	var child map[string]seen
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID + "/child"})
	if err := workflow.ExecuteChildWorkflow(ctx, "family", depth-1).Get(ctx, &child); err != nil {
		return out, err
	}
	for k, v := range child {
		out["child "+k] = v
	}
	return out, nil
}

func registerFamily(env *testsuite.TestWorkflowEnvironment) {
	env.RegisterWorkflowWithOptions(family, workflow.RegisterOptions{Name: "family"})
	env.RegisterActivityWithOptions(seeActivity, activity.RegisterOptions{Name: "see"})
}

func TestCarriedAcrossEveryEdge(t *testing.T) {
	var log journal
	env := environment(t, newPlugin(t, sdkplugin.Options{Logger: log.logger()}), &log)
	registerFamily(env)
	env.SetHeader(started(t, "family"))
	env.ExecuteWorkflow("family", 2)
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	var got map[string]seen
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	want := seen{Login: "alice@acme.example", Reason: "because alice", Decision: "decision-alice", OK: true, Verified: true}
	for _, edge := range []string{
		"workflow", "activity", "local", "child workflow", "child activity", "child local", "child child workflow", "child child activity", "child child local",
	} {
		if got[edge] != want {
			t.Errorf("%s saw %+v", edge, got[edge])
		}
	}
	if log.line("running workflow", "login=alice@acme.example", "decision=decision-alice", `reason="because alice"`) == "" {
		t.Error("the workflow's log does not say for whom it ran")
	}
	if log.line("running activity", "activity=see", "workflow_id="+testWorkflow, "login=alice@acme.example") == "" {
		t.Error("the activity's log does not say for whom it ran")
	}
	if raw, _ := attest.FromPayload(started(t, "family").Fields[attest.HeaderKey]); strings.Contains(log.String(), raw) {
		t.Error("the attestation itself is in the log")
	}
}

func TestRefusals(t *testing.T) {
	good := attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "family"}
	bind := func(change func(*attest.Binding)) *commonpb.Header {
		b := good
		change(&b)
		return header(sign(t, statement("mallory", attest.EdgeStart, b)))
	}
	other := statement("mallory", attest.EdgeStart, good)
	other.Audience = "bailiwick:prod"
	raw := sign(t, statement("mallory", attest.EdgeStart, good))
	for _, c := range []struct {
		name   string
		header *commonpb.Header
		code   attest.Code
	}{
		{"none", nil, attest.CodeMissing},
		{"in another spelling", &commonpb.Header{Fields: map[string]*commonpb.Payload{"Bailiwick-Attestation": attest.ToPayload(raw)}}, attest.CodeMissing},
		{"not an attestation", header("a b"), attest.CodeMalformed},
		{"truncated", header(raw[:len(raw)-2]), attest.CodeMalformed},
		{"altered", header(strings.Replace(raw, "mallory", "malfory", 1)), attest.CodeSignature},
		{"an access token", header("eyJhbGciOiJFZERTQSJ9.e30.AAAA"), attest.CodeType},
		{"for another environment", header(sign(t, other)), attest.CodeAudience},
		{"of another namespace", bind(func(b *attest.Binding) { b.Namespace = "payments" }), attest.CodeBinding},
		{"of another workflow", bind(func(b *attest.Binding) { b.WorkflowID = "w2" }), attest.CodeBinding},
		{"of another type", bind(func(b *attest.Binding) { b.WorkflowType = "payout" }), attest.CodeBinding},
		{"of another run", bind(func(b *attest.Binding) { b.RunID = "r2" }), attest.CodeBinding},
		{"of a signal", header(sign(t, statement("mallory", attest.EdgeSignal, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, Name: "x"}))), attest.CodeBinding},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log journal
			env := environment(t, newPlugin(t, sdkplugin.Options{}), &log)
			registerFamily(env)
			env.SetHeader(c.header)
			env.ExecuteWorkflow("family", 0)
			var failure *temporal.ApplicationError
			if err := env.GetWorkflowError(); !errors.As(err, &failure) || failure.Type() != sdkplugin.FailureUnattested || !failure.NonRetryable() || !strings.Contains(err.Error(), string(c.code)) {
				t.Fatalf("enforcing: error %v, want a non-retryable %s with %s", err, sdkplugin.FailureUnattested, c.code)
			}
			if log.line("refusing", string(c.code)) == "" {
				t.Errorf("the refusal is not in the log:\n%s", log.String())
			}
			if strings.Contains(log.String(), "mallory") && c.code != attest.CodeBinding && c.code != attest.CodeAudience {
				t.Error("an unverified claim is in the log")
			}

			env = environment(t, newPlugin(t, sdkplugin.Options{Mode: sdkplugin.Observe}), &log)
			registerFamily(env)
			env.SetHeader(c.header)
			env.ExecuteWorkflow("family", 1)
			var got map[string]seen
			if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&got)); err != nil {
				t.Fatalf("observing: %v", err)
			}
			if s := got["workflow"]; !s.OK || s.Verified || s.Login != "" || !strings.HasPrefix(s.Problem, string(c.code)+":") {
				t.Errorf("observing: the workflow saw %+v, want the problem %s and nobody", s, c.code)
			}
			// What was not verified is not carried on as if it had been.
			for _, edge := range []string{"activity", "local", "child workflow"} {
				if s := got[edge]; s.Verified || s.Login != "" || !strings.HasPrefix(s.Problem, string(attest.CodeMissing)) {
					t.Errorf("observing: %s saw %+v", edge, s)
				}
			}
		})
	}
}

// An unknown key fails the task, not the workflow: here the test environment reports the panic that a worker turns into a failed task.
func TestUnknownKeyIsRetried(t *testing.T) {
	var log journal
	env := environment(t, newPlugin(t, sdkplugin.Options{Keys: signerOf("another gate").PublicKeySet()}), &log)
	registerFamily(env)
	env.SetHeader(started(t, "family"))
	env.ExecuteWorkflow("family", 0)
	var panicked *temporal.PanicError
	if err := env.GetWorkflowError(); !errors.As(err, &panicked) || !strings.Contains(err.Error(), string(attest.CodeKeyUnknown)) {
		t.Errorf("error %v, want a panic with %s", err, attest.CodeKeyUnknown)
	}
}

func TestScheduledRun(t *testing.T) {
	b := attest.Binding{Namespace: testNamespace, WorkflowID: "night", WorkflowType: "family", ScheduleID: "nightly"}
	for _, c := range []struct {
		name, schedule string
		ok             bool
	}{{"its schedule", "nightly", true}, {"another schedule", "weekly", false}, {"no schedule", "", false}} {
		t.Run(c.name, func(t *testing.T) {
			var log journal
			env := environment(t, newPlugin(t, sdkplugin.Options{}), &log)
			registerFamily(env)
			env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "night-2026-11-23T03:00:00Z"})
			if c.schedule != "" {
				if err := env.SetTypedSearchAttributesOnStart(temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword("TemporalScheduledById").ValueSet(c.schedule))); err != nil {
					t.Fatal(err)
				}
			}
			env.SetHeader(header(sign(t, statement("carol", attest.EdgeSchedule, b))))
			env.ExecuteWorkflow("family", 1)
			var got map[string]seen
			err := env.GetWorkflowError()
			if !c.ok {
				if err == nil || !strings.Contains(err.Error(), string(attest.CodeBinding)) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err := errors.Join(err, env.GetWorkflowResult(&got)); err != nil {
				t.Fatal(err)
			}
			for _, edge := range []string{"workflow", "activity", "local", "child workflow", "child activity"} {
				if got[edge].Login != "carol@acme.example" {
					t.Errorf("%s saw %+v", edge, got[edge])
				}
			}
		})
	}
}

func continuing(ctx workflow.Context) error {
	return workflow.NewContinueAsNewError(ctx, "family", 0)
}

func TestContinueAsNewCarries(t *testing.T) {
	var log journal
	p := newPlugin(t, sdkplugin.Options{})
	env := environment(t, p, &log)
	env.RegisterWorkflowWithOptions(continuing, workflow.RegisterOptions{Name: "continuing"})
	registerFamily(env)
	h := started(t, "continuing")
	env.SetHeader(h)
	env.ExecuteWorkflow("continuing")
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) {
		t.Fatalf("error %v", err)
	}
	want, _ := attest.FromPayload(h.Fields[attest.HeaderKey])
	if got, ok := attest.FromPayload(again.Header.GetFields()[attest.HeaderKey]); !ok || got != want {
		t.Fatalf("continued with %q", got)
	}

	// The next run has another type and knows that it was continued.
	env = environment(t, p, &log)
	registerFamily(env)
	env.SetHeader(again.Header)
	env.SetContinuedExecutionRunID("run-1")
	env.ExecuteWorkflow("family", 0)
	var got map[string]seen
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&got)); err != nil {
		t.Fatal(err)
	}
	if got["activity"].Login != "alice@acme.example" {
		t.Errorf("the continued run's activity saw %+v", got["activity"])
	}
}

// The SDK's test environment sends signals, updates and queries of its own without a header: for Enforce they are strangers'.
func TestCallsWithoutAttestation(t *testing.T) {
	waiting := func(ctx workflow.Context) (int, error) {
		n := 0
		err := errors.Join(
			workflow.SetQueryHandler(ctx, "count", func() (int, error) { return n, nil }),
			workflow.SetUpdateHandler(ctx, "add", func(workflow.Context) error { n += 10; return nil }),
		)
		if err != nil {
			return 0, err
		}
		ch := workflow.GetSignalChannel(ctx, "add")
		if err := workflow.Sleep(ctx, time.Hour); err != nil {
			return 0, err
		}
		for ch.ReceiveAsync(nil) {
			n++
		}
		return n, nil
	}
	for mode, want := range map[sdkplugin.Mode]int{sdkplugin.Enforce: 0, sdkplugin.Observe: 11} {
		var log journal
		env := environment(t, newPlugin(t, sdkplugin.Options{Mode: mode}), &log)
		env.RegisterWorkflowWithOptions(waiting, workflow.RegisterOptions{Name: "waiting"})
		env.SetHeader(started(t, "waiting"))
		var rejected, queryErr error
		env.RegisterDelayedCallback(func() {
			env.SignalWorkflow("add", nil)
			env.UpdateWorkflow("add", "u1", &testsuite.TestUpdateCallback{OnAccept: func() {}, OnReject: func(err error) { rejected = err }, OnComplete: func(any, error) {}})
			_, queryErr = env.QueryWorkflow("count")
		}, time.Minute)
		env.ExecuteWorkflow("waiting")
		var got int
		if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&got)); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("mode %d: counted %d, want %d", mode, got, want)
		}
		if mode == sdkplugin.Observe {
			if rejected != nil || queryErr != nil {
				t.Errorf("observing: update %v, query %v", rejected, queryErr)
			}
			continue
		}
		for what, err := range map[string]error{"update": rejected, "query": queryErr} {
			if err == nil || !strings.Contains(err.Error(), string(attest.CodeMissing)) {
				t.Errorf("enforcing: %s: %v", what, err)
			}
		}
		if log.line("refusing: delivering signal", "name=add") == "" {
			t.Error("the dropped signal is not in the log")
		}
	}
}

// signalling sends a signal from a parent to its child and from the child back.
func signalling(ctx workflow.Context) (map[string]seen, error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: "echo"})
	child := workflow.ExecuteChildWorkflow(ctx, "echo", workflow.GetInfo(ctx).WorkflowExecution.ID)
	if err := child.SignalChildWorkflow(ctx, "ping", "hello").Get(ctx, nil); err != nil {
		return nil, err
	}
	var text string
	info, err := sdkplugin.ReceiveSignal(ctx, "pong", &text)
	if err != nil {
		return nil, err
	}
	out := map[string]seen{text: see(info, true)}
	var fromChild map[string]seen
	if err := child.Get(ctx, &fromChild); err != nil {
		return nil, err
	}
	for k, v := range fromChild {
		out[k] = v
	}
	return out, nil
}

func echo(ctx workflow.Context, parent string) (map[string]seen, error) {
	var text string
	info, err := sdkplugin.ReceiveSignal(ctx, "ping", &text)
	if err != nil {
		return nil, err
	}
	return map[string]seen{text: see(info, true)}, workflow.SignalExternalWorkflow(ctx, parent, "", "pong", "and back").Get(ctx, nil)
}

func TestSignalsWithinTheFamily(t *testing.T) {
	var log journal
	env := environment(t, newPlugin(t, sdkplugin.Options{}), &log)
	env.RegisterWorkflowWithOptions(signalling, workflow.RegisterOptions{Name: "signalling"})
	env.RegisterWorkflowWithOptions(echo, workflow.RegisterOptions{Name: "echo"})
	env.SetHeader(started(t, "signalling"))
	env.ExecuteWorkflow("signalling")
	var got map[string]seen
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&got)); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, text := range []string{"hello", "and back"} {
		if got[text].Login != "alice@acme.example" || !got[text].Verified {
			t.Errorf("the signal %q came from %+v", text, got[text])
		}
	}
}
