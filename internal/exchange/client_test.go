package exchange_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// temporal is a frontend without a gate that remembers the headers of what it gets.
type temporal struct {
	workflowservice.UnimplementedWorkflowServiceServer
	mu      sync.Mutex
	headers []*commonpb.Header
	bearer  []string
	refuse  int // so many calls fail first
}

func (s *temporal) seen(ctx context.Context, h *commonpb.Header) error {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bearer = append(s.bearer, md.Get("authorization")...)
	if s.refuse > 0 {
		s.refuse--
		return status.Error(14, "not now")
	}
	s.headers = append(s.headers, h)
	return nil
}

func (s *temporal) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func (s *temporal) StartWorkflowExecution(ctx context.Context, r *workflowservice.StartWorkflowExecutionRequest) (*workflowservice.StartWorkflowExecutionResponse, error) {
	return &workflowservice.StartWorkflowExecutionResponse{RunId: "r"}, s.seen(ctx, r.GetHeader())
}

func (s *temporal) SignalWorkflowExecution(ctx context.Context, r *workflowservice.SignalWorkflowExecutionRequest) (*workflowservice.SignalWorkflowExecutionResponse, error) {
	return &workflowservice.SignalWorkflowExecutionResponse{}, s.seen(ctx, r.GetHeader())
}

func (s *temporal) SignalWithStartWorkflowExecution(ctx context.Context, r *workflowservice.SignalWithStartWorkflowExecutionRequest) (*workflowservice.SignalWithStartWorkflowExecutionResponse, error) {
	return &workflowservice.SignalWithStartWorkflowExecutionResponse{RunId: "r"}, s.seen(ctx, r.GetHeader())
}

func (s *temporal) QueryWorkflow(ctx context.Context, r *workflowservice.QueryWorkflowRequest) (*workflowservice.QueryWorkflowResponse, error) {
	return &workflowservice.QueryWorkflowResponse{}, s.seen(ctx, r.GetQuery().GetHeader())
}

func (s *temporal) CreateSchedule(ctx context.Context, r *workflowservice.CreateScheduleRequest) (*workflowservice.CreateScheduleResponse, error) {
	return &workflowservice.CreateScheduleResponse{}, s.seen(ctx, r.GetSchedule().GetAction().GetStartWorkflow().GetHeader())
}

// take returns the statement of the last call.
func (s *temporal) take(t *testing.T, k *kit) attest.Statement {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.headers) == 0 {
		t.Fatal("no call arrived")
	}
	raw, _ := attest.FromPayload(s.headers[len(s.headers)-1].GetFields()[attest.HeaderKey])
	v, err := k.signer.Verify(raw, "bailiwick:test")
	if err != nil {
		t.Fatal(err)
	}
	return v.Statement()
}

// dial is a client of a Temporal without a gate, with the plugin.
func dial(t *testing.T, k *kit, creds sdkplugin.Credentials) (*temporal, client.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, server := &temporal{}, grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, s)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	p, err := sdkplugin.New(sdkplugin.Options{Credentials: creds, Exchange: &sdkplugin.Exchange{URL: k.url}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(client.Options{HostPort: l.Addr().String(), Namespace: "deploy", Plugins: []client.Plugin{p}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

func TestClientsOfATemporalWithoutAGate(t *testing.T) {
	k := newKit(t)
	s, c := dial(t, k, sdkplugin.StaticToken(k.issuer.User("carol@acme.example", "temporal:deploy:admin")))
	ctx := sdkplugin.WithReason(t.Context(), "CHG-7: Änderung")
	options := client.StartWorkflowOptions{ID: "d-1", TaskQueue: "q"}
	for _, step := range []struct {
		name string
		do   func() error
		edge attest.Edge
		want attest.Binding
	}{
		{"start", func() error { _, err := c.ExecuteWorkflow(ctx, options, "deploy"); return err }, attest.EdgeStart, attest.Binding{Namespace: "deploy", WorkflowID: "d-1", WorkflowType: "deploy"}},
		{"signal", func() error { return c.SignalWorkflow(ctx, "d-1", "", "approve", 1) }, attest.EdgeSignal, attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "approve"}},
		{"signal with start", func() error {
			_, err := c.SignalWithStartWorkflow(ctx, "d-1", "approve", 1, options, "deploy")
			return err
		}, attest.EdgeStart,
			attest.Binding{Namespace: "deploy", WorkflowID: "d-1", WorkflowType: "deploy", Name: "approve"}},
		{"query", func() error { _, err := c.QueryWorkflow(ctx, "d-1", "", "state"); return err }, attest.EdgeQuery, attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "state"}},
		{"schedule", func() error {
			_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: "nightly", Action: &client.ScheduleWorkflowAction{ID: "night", Workflow: "report", TaskQueue: "q"}})
			return err
		}, attest.EdgeSchedule, attest.Binding{Namespace: "deploy", WorkflowID: "night", WorkflowType: "report", ScheduleID: "nightly"}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if st := s.take(t, k); st.Edge != step.edge || st.Binding != step.want || st.Reason != "CHG-7: Änderung" || st.Originator.Login != "carol@acme.example" {
			t.Errorf("%s: %+v", step.name, st)
		}
	}
	if len(s.bearer) != 0 {
		t.Error("the bearer token went to Temporal")
	}
}

func TestRefusedExchangeKeepsTheCallBack(t *testing.T) {
	k := newKit(t)
	s, c := dial(t, k, sdkplugin.StaticToken(k.issuer.User("bob@acme.example", "temporal:payments:write")))
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "d-1", TaskQueue: "q"}, "deploy")
	if err == nil || !strings.Contains(err.Error(), "no_permission") || len(s.headers) != 0 {
		t.Errorf("%v, %d calls", err, len(s.headers))
	}
}

// A retried call carries one attestation, of its last attempt.
func TestRetriedCalls(t *testing.T) {
	k := newKit(t)
	s, c := dial(t, k, sdkplugin.StaticToken(k.alice()))
	s.refuse = 2
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "d-1", TaskQueue: "q"}, "deploy"); err != nil {
		t.Fatal(err)
	}
	if st := s.take(t, k); st.Binding.WorkflowID != "d-1" || len(s.headers) != 1 || len(s.headers[0].Fields) != 1 {
		t.Errorf("%+v, %v", st, s.headers)
	}
}

func TestExchangeOptions(t *testing.T) {
	for name, o := range map[string]sdkplugin.Options{
		"no credentials": {Exchange: &sdkplugin.Exchange{URL: "https://control.example/v1/token"}},
		"plain http":     {Credentials: sdkplugin.StaticToken("t"), Exchange: &sdkplugin.Exchange{URL: "http://control.example/v1/token"}},
		"no address":     {Credentials: sdkplugin.StaticToken("t"), Exchange: &sdkplugin.Exchange{}},
	} {
		if _, err := sdkplugin.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
