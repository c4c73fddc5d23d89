package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// testNexusEdge calls operations of another namespace, with workers that know nothing of Bailiwick and with ones that have our plugin.
func (e *edges) testNexusEdge(t *testing.T) {
	defer e.withPolicy(t, `@id("nexus-edge") permit (principal in Group::"nexus-admins", action == Action::"Operator.CreateNexusEndpoint", resource);`)()
	conn, err := grpc.NewClient(e.server.grpcAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	admin := e.issuer.User("nina@acme.example", "nexus-admins")
	for _, name := range []string{"edge-plain", "edge-plugged"} {
		if _, err := operatorservice.NewOperatorServiceClient(conn).CreateNexusEndpoint(as(t, admin), &operatorservice.CreateNexusEndpointRequest{Spec: &nexuspb.EndpointSpec{
			Name: name, Target: &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_Worker_{Worker: &nexuspb.EndpointTarget_Worker{Namespace: "payments", TaskQueue: name}}},
		}}); err != nil {
			t.Fatal(err)
		}
		e.nexusEdge(t, name, name == "edge-plugged")
	}
}

// callGuarded calls an operation whose handler's worker requires a grant, where it has our plugin.
func callGuarded(ctx workflow.Context, endpoint string) error {
	return workflow.NewNexusClient(endpoint, "greetings").ExecuteOperation(ctx, "guarded", "", workflow.NexusOperationOptions{ScheduleToCloseTimeout: time.Minute}).Get(ctx, nil)
}

func (e *edges) nexusEdge(t *testing.T, endpoint string, plugged bool) {
	const originator, handlerID = "nell@acme.example", "0oaedgehandler000001"
	label := map[bool]string{false: "", true: ", with plugin"}[plugged]
	var options worker.Options
	if plugged {
		plugin, err := sdkplugin.New(sdkplugin.Options{Keys: e.keys, Audience: testAudience, Require: []sdkplugin.Rule{{Operation: "greetings/guarded", Requirement: sdkplugin.Requirement{Grant: true}}}})
		if err != nil {
			t.Fatal(err)
		}
		options.Plugins = []worker.Plugin{plugin}
	}
	var mu sync.Mutex // covers header and found
	var header nexus.Header
	var found sdkplugin.Info
	service := nexus.NewService("greetings")
	now := nexus.NewSyncOperation("now", func(ctx context.Context, name string, o nexus.StartOperationOptions) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		header = o.Header
		found, _ = sdkplugin.FromContext(ctx)
		return "hello " + name, nil
	})
	backed := "backs-" + endpoint
	later := temporalnexus.NewWorkflowRunOperation("later", helloTo, func(context.Context, string, nexus.StartOperationOptions) (client.StartWorkflowOptions, error) {
		return client.StartWorkflowOptions{ID: backed}, nil
	})
	guarded := nexus.NewSyncOperation("guarded", func(context.Context, string, nexus.StartOperationOptions) (string, error) { return "done", nil })
	if err := service.Register(now, later, guarded); err != nil {
		t.Fatal(err)
	}
	hw := worker.New(e.client(t, e.issuer.Client(handlerID, "temporal:payments:worker", "temporal:payments:write"), "payments"), endpoint, options)
	hw.RegisterNexusService(service)
	hw.RegisterWorkflow(helloTo)
	cw := worker.New(e.client(t, e.issuer.Client("0oaedgecaller0000001", "temporal:deploy:worker"), "deploy"), endpoint, options)
	cw.RegisterWorkflow(callNexus)
	cw.RegisterWorkflow(callGuarded)
	for _, w := range []worker.Worker{hw, cw} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}

	nell := e.client(t, e.issuer.User(originator, "temporal:deploy:write", "temporal:payments:read"), "deploy")
	id := "calls-" + endpoint
	run, err := nell.ExecuteWorkflow(e.ctx, client.StartWorkflowOptions{ID: id, TaskQueue: endpoint}, callNexus, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Get(e.ctx, nil); err != nil {
		t.Fatalf("%v\n%s", err, e.log.tail())
	}
	own := e.statement(e.first(t, nell, id, "").GetHeader())

	nexusRow := func(edge, value string) {
		t.Helper()
		raw, _ := attest.FromNexus(value)
		v, err := e.keys.Verify(raw, testAudience)
		if err != nil {
			t.Errorf("%s: %v", edge, err)
		}
		s := v.Statement()
		e.found(t, edge, fmt.Sprintf("Nexus header (%s)", s.Edge), s.Originator.Login, s.Actor.Login, originator, originator)
	}
	scheduled := e.event(t, nell, id, "", enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED).GetNexusOperationScheduledEventAttributes()
	nexusRow("Nexus caller"+label, scheduled.GetNexusHeader()[attest.HeaderKey])
	mu.Lock()
	nexusRow("Nexus handler"+label, header.Get(attest.HeaderKey))
	if found.Verified != plugged || plugged && found.Originator.Login != originator {
		t.Errorf("the handler finds %+v", found)
	}
	mu.Unlock()

	there := e.client(t, e.rita, "payments")
	s := e.statement(e.first(t, there, backed, "").GetHeader())
	e.found(t, "Nexus handler's run"+label, fmt.Sprintf("header (%s)", s.Edge), s.Originator.Login, s.Actor.ClientID, originator, handlerID)
	if s.Cause != own.ID || own.ID == "" {
		t.Errorf("the handler's run names the cause %q, want %q", s.Cause, own.ID)
	}
	dispatches := 0
	for _, entry := range e.journal(t) {
		if entry.Action != "StartNexusOperationExecution" || entry.Resource.Endpoint != endpoint {
			continue
		}
		dispatches++
		e.found(t, "Nexus dispatch"+label, "audit entry", entry.Detail[audit.DetailOriginatorLogin], entry.Actor.Principal, originator, "temporal:internal")
		if entry.Detail[audit.DetailAttestation] != own.ID {
			t.Errorf("a dispatch is recorded as %+v", entry)
		}
	}
	if dispatches == 0 {
		t.Error("no dispatch is on record")
	}

	timeline, err := runs.Read(e.ctx, there, runs.Config{Namespace: "payments", WorkflowID: backed, Keys: e.keys, Audience: testAudience})
	if err != nil {
		t.Fatal(err)
	}
	caller := timeline.Caller
	if caller == nil || caller.Namespace != "deploy" || caller.WorkflowID != id || caller.RunID != run.GetRunID() || !timeline.OK() {
		t.Errorf("the timeline of the handler's run says it was called by %+v", caller)
	}
	timeline, err = runs.Read(e.ctx, nell, runs.Config{Namespace: "deploy", WorkflowID: id, Keys: e.keys, Audience: testAudience})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, step := range timeline.Steps {
		if step.Kind == runs.KindNexus {
			calls++
			if step.Verdict != runs.Verified || step.CarriedFrom != 1 {
				t.Errorf("a call of an operation is %s: %s", step.Verdict, step.Problem)
			}
		}
	}
	if calls != 2 || !timeline.OK() {
		t.Errorf("the caller's timeline has %d calls", calls)
	}

	// What the handler's worker requires is asked right before the handler: nell has no grant.
	refused, err := nell.ExecuteWorkflow(e.ctx, client.StartWorkflowOptions{ID: "guarded-" + endpoint, TaskQueue: endpoint}, callGuarded, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	err = refused.Get(e.ctx, nil)
	if plugged != (err != nil) || plugged && !strings.Contains(err.Error(), string(sdkplugin.ForbiddenNoGrant)) {
		t.Errorf("the handler that requires a grant%s: %v\n%s", label, err, e.log.tail())
	}
}
