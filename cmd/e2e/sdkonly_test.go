package e2e

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/temporaltest"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/exchange"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// whoRuns is an activity.
func whoRuns(ctx context.Context) (string, error) {
	info, _ := sdkplugin.FromContext(ctx)
	return info.Originator.Login, nil
}

// waitsForTwo waits for an update and a signal, and says who was behind each part.
func waitsForTwo(ctx workflow.Context) ([]string, error) {
	me, _ := sdkplugin.FromWorkflow(ctx)
	out, updated := []string{"start " + me.Originator.Login + ": " + me.Reason}, false
	err := errors.Join(
		workflow.SetQueryHandler(ctx, "so-far", func() ([]string, error) { return out, nil }),
		workflow.SetUpdateHandler(ctx, "adjust", func(ctx workflow.Context) error {
			info, _ := sdkplugin.FromWorkflow(ctx)
			out, updated = append(out, "update "+info.Originator.Login), true
			return nil
		}),
	)
	if err != nil {
		return nil, err
	}
	if err := workflow.Await(ctx, func() bool { return updated }); err != nil {
		return nil, err
	}
	info, err := sdkplugin.ReceiveSignal(ctx, "approve", nil)
	if err != nil {
		return nil, err
	}
	var who string
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute}), whoRuns).Get(ctx, &who)
	return append(out, "signal "+info.Originator.Login, "activity "+who), err
}

// A Temporal without plugin and proxy: attestations come from the control plane's token endpoint, and the worker refuses what has none.
func TestTemporalWithoutAGate(t *testing.T) {
	issuer := bailiwicktest.NewIssuer(t)
	dir, quiet := t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil))
	if err := policy.WriteStarter(filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err)
	}
	plane, err := control.Open(t.Context(), control.Config{
		Name: "control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "keys"),
	})
	if err != nil {
		t.Fatal(err)
	}
	plane.Handle("POST /v1/token", exchange.Handler(plane.Gate(), quiet))
	web := httptest.NewServer(plane)
	t.Cleanup(func() { web.Close(); _ = plane.Close() })

	server := temporaltest.NewServer(temporaltest.WithT(t))
	namespace := server.GetDefaultNamespace()
	as := func(login string, groups ...string) client.Client {
		t.Helper()
		p, err := sdkplugin.New(sdkplugin.Options{Credentials: sdkplugin.StaticToken(issuer.User(login, groups...)), Exchange: &sdkplugin.Exchange{URL: web.URL + "/v1/token"}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return server.NewClientWithOptions(client.Options{Namespace: namespace, Plugins: []client.Plugin{p}, Logger: tlog.NewStructuredLogger(quiet)})
	}
	workers, err := sdkplugin.New(sdkplugin.Options{Keys: plane.Signer().PublicKeySet(), Audience: "bailiwick:test", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	server.NewWorkerWithOptions("q", func(r worker.Registry) { r.RegisterWorkflow(waitsForTwo); r.RegisterActivity(whoRuns) }, worker.Options{Plugins: []worker.Plugin{workers}})

	write, mayWrite := "temporal:"+namespace+":write", t.Context()
	alice, bob := as("alice@acme.example", write), as("bob@acme.example", write)
	ctx, cancel := context.WithTimeout(sdkplugin.WithReason(mayWrite, "CHG-7"), 60*time.Second)
	defer cancel()
	start := client.StartWorkflowOptions{ID: "two-1", TaskQueue: "q"}
	update, err := alice.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: alice.NewWithStartWorkflowOperation(client.StartWorkflowOptions{ID: start.ID, TaskQueue: "q", WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}, waitsForTwo),
		UpdateOptions:          client.UpdateWorkflowOptions{WorkflowID: start.ID, UpdateName: "adjust", WaitForStage: client.WorkflowUpdateStageCompleted},
	})
	if err == nil {
		err = update.Get(ctx, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, err := bob.QueryWorkflow(ctx, "two-1", "", "so-far"); err != nil {
		t.Error(err)
	} else if got := []string{}; v.Get(&got) != nil || len(got) != 2 {
		t.Errorf("queried %q", got)
	}
	// A stranger's signal goes past the endpoint, and no further than the worker.
	stranger := server.NewClientWithOptions(client.Options{Namespace: namespace})
	if err := stranger.SignalWorkflow(ctx, "two-1", "", "approve", nil); err != nil {
		t.Fatal(err)
	}
	if err := bob.SignalWorkflow(ctx, "two-1", "", "approve", nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := alice.GetWorkflow(ctx, "two-1", "").Get(ctx, &got); err != nil {
		t.Fatal(err)
	}
	if want := "start alice@acme.example: CHG-7|update alice@acme.example|signal bob@acme.example|activity alice@acme.example"; strings.Join(got, "|") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "|"), want)
	}

	// What the history says by itself, with the control plane's keys.
	timeline, err := runs.Read(ctx, stranger, runs.Config{Namespace: namespace, WorkflowID: "two-1", Keys: plane.Signer().PublicKeySet(), Audience: "bailiwick:test"})
	if err != nil || !timeline.OK() || timeline.Verified < 4 || timeline.Unattested != 1 {
		t.Errorf("%d verified, %d unattested, %d invalid, %v", timeline.Verified, timeline.Unattested, timeline.Invalid, err)
	}

	// Without the endpoint a run starts, and the worker refuses it; with it, policy refuses before it starts.
	run, err := stranger.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "two-2", TaskQueue: "q"}, waitsForTwo)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Get(ctx, nil); err == nil || !strings.Contains(err.Error(), "attestation_missing") {
		t.Errorf("a run without attestation: %v", err)
	}
	reader := as("eve@acme.example", "temporal:"+namespace+":read")
	if _, err := reader.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "two-3", TaskQueue: "q"}, waitsForTwo); err == nil || !strings.Contains(err.Error(), "no_permission") {
		t.Errorf("a reader's start: %v", err)
	}
}
