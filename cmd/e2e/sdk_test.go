package e2e

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

func workflowType(name string) *commonpb.WorkflowType { return &commonpb.WorkflowType{Name: name} }
func taskQueue(name string) *taskqueuepb.TaskQueue    { return &taskqueuepb.TaskQueue{Name: name} }

// sdkClient is the Go SDK as anyone uses it: a bearer token, nothing of ours.
func sdkClient(t *testing.T, d *dev, token, namespace string) client.Client {
	t.Helper()
	return dial(t, client.Options{HostPort: d.context.Address, Namespace: namespace, Credentials: client.NewAPIKeyStaticCredentials(token),
		ConnectionOptions: client.ConnectionOptions{TLSDisabled: true}})
}

// pluginClient is the Go SDK with our plugin.
func pluginClient(t *testing.T, d *dev, token, namespace string) client.Client {
	t.Helper()
	plugin, err := sdkplugin.New(sdkplugin.Options{Credentials: sdkplugin.StaticToken(token), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return dial(t, client.Options{HostPort: d.context.Address, Namespace: namespace, Plugins: []client.Plugin{plugin}})
}

func dial(t *testing.T, o client.Options) client.Client {
	t.Helper()
	o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, o)
	if err != nil {
		t.Fatalf("connecting to %s: %v", o.HostPort, err)
	}
	return c
}

// patience bounds a wait for a run: a long poll of the server alone may take 20 s.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestGoSDK: alice starts a deployment with the plugin and a reason, sets its traffic; carol approves it by signal with the bare SDK. The run
// knows them apart, and `run show` proves it.
func TestGoSDK(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]
	asAlice, asCarol := pluginClient(t, d, alice.token(t), "deploy"), sdkClient(t, d, carol.token(t), "deploy")
	defer asAlice.Close()
	defer asCarol.Close()
	ctx := patience(t)

	const id, reason = "sdk-1", "CHG-12: \u00fcber-release" // a reason that is not ASCII takes the binary way
	run, err := asAlice.ExecuteWorkflow(sdkplugin.WithReason(ctx, reason), client.StartWorkflowOptions{ID: id, TaskQueue: demo.TaskQueue}, demo.WorkflowDeploy,
		demo.DeployInput{Service: "checkout", Version: "2.0.0", Approval: true})
	if err != nil {
		t.Fatalf("starting as alice: %v", err)
	}
	update, err := asAlice.UpdateWorkflow(sdkplugin.WithReason(ctx, "CHG-12: half first"), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: demo.UpdateSetTraffic, Args: []any{50}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		t.Fatalf("updating as alice: %v", err)
	}
	var st demo.Status
	if err := update.Get(ctx, &st); err != nil || st.Traffic != 50 || st.TrafficBy != alice.login {
		t.Errorf("the update answers traffic %d by %q (%v), want 50 by alice", st.Traffic, st.TrafficBy, err)
	}
	answer, err := asCarol.QueryWorkflow(ctx, id, "", demo.QueryStatus)
	if err != nil {
		t.Fatalf("querying as carol: %v", err)
	}
	if err := answer.Get(&st); err != nil || st.StartedBy != alice.login || st.Reason != reason {
		t.Errorf("the query says started by %q for %q (%v), want alice and her reason", st.StartedBy, st.Reason, err)
	}
	if err := asCarol.SignalWorkflow(ctx, id, "", demo.SignalApprove, nil); err != nil {
		t.Fatalf("signalling as carol: %v", err)
	}
	if err := run.Get(ctx, &st); err != nil {
		t.Fatalf("the run: %v", err)
	}
	if st.Phase != "live" || st.StartedBy != alice.login || st.ApprovedBy != carol.login || st.TrafficBy != alice.login || len(st.Steps) != 4 {
		t.Errorf("the run ends with %+v", st)
	}
	for _, s := range st.Steps {
		if s.RanAs != alice.login || s.Reason != reason || s.Decision == "" {
			t.Errorf("step %s ran as %q for %q by decision %q, want alice and her reason", s.Name, s.RanAs, s.Reason, s.Decision)
		}
	}

	shown := alice.ok(t, "run", "show", id, "--namespace", "deploy")
	for _, want := range []string{alice.login, carol.login, reason, "approve", "set-traffic", "build", "push", "verify"} {
		if !strings.Contains(shown, want) {
			t.Errorf("run show does not tell %q:\n%s", want, shown)
		}
	}
	var tl runs.Timeline
	alice.json(t, &tl, "run", "show", id, "--namespace", "deploy")
	if tl.Invalid != 0 || tl.Unattested != 0 || tl.Verified < 7 {
		t.Errorf("run show counts %d verified, %d unattested, %d invalid", tl.Verified, tl.Unattested, tl.Invalid)
	}
	by := func(kind runs.Kind, name string) string {
		i := slices.IndexFunc(tl.Steps, func(s runs.Step) bool { return s.Kind == kind && s.Name == name })
		if i < 0 || tl.Steps[i].Attestation == nil {
			return "nobody"
		}
		if tl.Steps[i].Verdict != runs.Verified {
			return "someone unproven"
		}
		return tl.Steps[i].Attestation.Actor.Login
	}
	for _, want := range []struct {
		kind      runs.Kind
		name, who string
	}{
		{runs.KindStart, "deploy", alice.login}, {runs.KindUpdate, "set-traffic", alice.login}, {runs.KindSignal, "approve", carol.login},
		{runs.KindActivity, "build", alice.login}, {runs.KindActivity, "push", alice.login}, {runs.KindActivity, "verify", alice.login},
		{runs.KindChild, "smoke-test", alice.login},
	} {
		if got := by(want.kind, want.name); got != want.who {
			t.Errorf("%s %s is by %s, want %s", want.kind, want.name, got, want.who)
		}
	}
}

// TestGoSDKDenied: a refusal reaches the SDK as the error type it has for that, with the reason in it.
func TestGoSDKDenied(t *testing.T) {
	d := shared(t)
	erin := d.user(t, "erin@acme.example")
	c := sdkClient(t, d, erin.token(t), "deploy")
	defer c.Close()
	_, err := c.ExecuteWorkflow(patience(t), client.StartWorkflowOptions{ID: "sdk-denied", TaskQueue: demo.TaskQueue}, demo.WorkflowDeploy, demo.DeployInput{Service: "x", Version: "1"})
	var refusal *serviceerror.PermissionDenied
	if !errors.As(err, &refusal) {
		t.Fatalf("erin, who is in no group, gets %v (%T), want PermissionDenied", err, err)
	}
	for _, want := range []string{"no_permission", "erin@acme.example", "StartWorkflowExecution", "write in deploy", "temporal:deploy:write"} {
		if !strings.Contains(refusal.Error(), want) {
			t.Errorf("the refusal does not say %q: %v", want, refusal)
		}
	}
}
