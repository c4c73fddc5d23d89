package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// testNexusFromWorkflow has a workflow in one namespace call operations in another: one that answers at once, and one that a workflow backs,
// which is completed by a callback.
func (e *environment) testNexusFromWorkflow(t *testing.T) {
	const endpoint, queue = "greeter", "nexus-callers"
	allow := `@id("nexus-admins") permit (principal in Group::"nexus-admins", action in [Action::"Operator.CreateNexusEndpoint", Action::"Operator.GetNexusEndpoint"], resource);`
	if err := os.WriteFile(filepath.Join(e.cfg.PolicyDir, "nexus.cedar"), []byte(allow), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(e.server.grpcAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	admin := e.issuer.User("nina@acme.example", "nexus-admins")
	create := &operatorservice.CreateNexusEndpointRequest{Spec: &nexuspb.EndpointSpec{Name: endpoint, Target: &nexuspb.EndpointTarget{
		Variant: &nexuspb.EndpointTarget_Worker_{Worker: &nexuspb.EndpointTarget_Worker{Namespace: "payments", TaskQueue: "nexus-handlers"}},
	}}}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) { // until the policy is in force
		if _, err = operatorservice.NewOperatorServiceClient(conn).CreateNexusEndpoint(as(t, admin), create); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}

	// The handler: a worker that may also start what backs its operation.
	handler := e.issuer.Client("0oanexushandler00001", "temporal:payments:worker", "temporal:payments:write")
	service := nexus.NewService("greetings")
	now := nexus.NewSyncOperation("now", func(_ context.Context, name string, _ nexus.StartOperationOptions) (string, error) {
		return "hello " + name, nil
	})
	later := temporalnexus.NewWorkflowRunOperation("later", helloTo, func(_ context.Context, _ string, o nexus.StartOperationOptions) (client.StartWorkflowOptions, error) {
		return client.StartWorkflowOptions{ID: "nexus-" + o.RequestID}, nil
	})
	if err := service.Register(now, later); err != nil {
		t.Fatal(err)
	}
	hw := worker.New(e.client(t, handler, "payments"), "nexus-handlers", worker.Options{})
	hw.RegisterNexusService(service)
	hw.RegisterWorkflow(helloTo)
	if err := hw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hw.Stop)

	// The caller.
	cw := worker.New(e.client(t, e.issuer.Client("0oanexuscaller000001", "temporal:deploy:worker"), "deploy"), queue, worker.Options{})
	cw.RegisterWorkflow(callNexus)
	if err := cw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cw.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run, err := e.client(t, e.bob, "deploy").ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "nexus-caller", TaskQueue: queue}, callNexus, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := run.Get(ctx, &got); err != nil {
		t.Fatalf("%v\n%s", err, e.log.tail())
	}
	if len(got) != 2 || got[0] != "hello now" || got[1] != "hello later" {
		t.Errorf("the operations answered %q", got)
	}
	dispatched := 0
	for _, entry := range e.journal(t) {
		if entry.Actor.Principal == "temporal:internal" && entry.Action == "StartNexusOperationExecution" && entry.Resource.Namespace == "payments" && entry.Resource.Endpoint == endpoint {
			dispatched++
		}
	}
	if dispatched < 2 {
		t.Errorf("%d dispatches are on record, want one for each operation", dispatched)
	}
}

func helloTo(_ workflow.Context, name string) (string, error) { return "hello " + name, nil }

func callNexus(ctx workflow.Context, endpoint string) ([]string, error) {
	c := workflow.NewNexusClient(endpoint, "greetings")
	out := make([]string, 2)
	for i, name := range []string{"now", "later"} {
		if err := c.ExecuteOperation(ctx, name, name, workflow.NexusOperationOptions{ScheduleToCloseTimeout: 30 * time.Second}).Get(ctx, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// testNexusDoor knocks at the port where Temporal sends the operations of workflows.
func (e *environment) testNexusDoor(t *testing.T) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(e.server.nexus.port))
	get := func(config *tls.Config, path string) (*http.Response, error) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 5 * time.Second}
		defer c.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Do(req)
	}
	if resp, err := get(&tls.Config{InsecureSkipVerify: true}, "/nexus/callback"); err == nil {
		resp.Body.Close()
		t.Error("a caller without a certificate was served")
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(e.cfg.StateDir, "tls", "node.pem"), filepath.Join(e.cfg.StateDir, "tls", "node.pem"))
	if err != nil {
		t.Fatal(err)
	}
	inside := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}}
	for path, want := range map[string]int{"/nexus/callback": http.StatusBadRequest, "/api/v1/namespaces": http.StatusNotFound, "/nexus/endpoints/../../api/v1/namespaces": http.StatusNotFound} {
		resp, err := get(inside, path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s with the internode certificate: %s, want %d", path, resp.Status, want)
		}
	}
}
