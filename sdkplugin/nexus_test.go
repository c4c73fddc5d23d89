package sdkplugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	tlog "go.temporal.io/sdk/log"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// callNexus is a workflow that calls one operation.
func callNexus(ctx workflow.Context) (string, error) {
	var who string
	err := workflow.NewNexusClient("endpoint", "people").ExecuteOperation(ctx, "who", "", workflow.NexusOperationOptions{ScheduleToCloseTimeout: time.Minute}).Get(ctx, &who)
	return who, err
}

// onTheWay changes an operation's headers after the plugin, as a hostile worker or caller would.
type onTheWay struct {
	interceptor.WorkerInterceptorBase
	change func(nexus.Header)
}

func (w *onTheWay) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &onTheWayIn{change: w.change}
	in.Next = next
	return in
}

type onTheWayIn struct {
	interceptor.WorkflowInboundInterceptorBase
	change func(nexus.Header)
}

func (w *onTheWayIn) Init(next interceptor.WorkflowOutboundInterceptor) error {
	out := &onTheWayOut{change: w.change}
	out.Next = next
	return w.Next.Init(out)
}

type onTheWayOut struct {
	interceptor.WorkflowOutboundInterceptorBase
	change func(nexus.Header)
}

func (w *onTheWayOut) ExecuteNexusOperation(ctx workflow.Context, in interceptor.ExecuteNexusOperationInput) workflow.NexusOperationFuture {
	w.change(in.NexusHeader)
	return w.Next.ExecuteNexusOperation(ctx, in)
}

func TestHandlersOfNexusOperationsKnowTheCaller(t *testing.T) {
	signal := sign(t, statement("mallory", attest.EdgeSignal, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, Name: "s"}))
	strange, err := signerOf("stranger").Sign(statement("mallory", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "callNexus"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		change  func(nexus.Header)
		options sdkplugin.Options
		want    string // what the handler finds, or part of the error
		kind    nexus.HandlerErrorType
	}{
		{name: "the caller's statement", want: "alice@acme.example"},
		{name: "none", change: func(h nexus.Header) { delete(h, attest.HeaderKey) }, want: "attestation_missing", kind: nexus.HandlerErrorTypeUnauthorized},
		{name: "none, observed", change: func(h nexus.Header) { delete(h, attest.HeaderKey) }, options: sdkplugin.Options{Mode: sdkplugin.Observe}, want: "nobody: attestation_missing"},
		{name: "none, tolerated", change: func(h nexus.Header) { delete(h, attest.HeaderKey) }, options: sdkplugin.Options{Unattested: sdkplugin.AllowUnattested()}, want: "nobody: attestation_missing"},
		{name: "not in its form", change: func(h nexus.Header) { h[attest.HeaderKey] = `{"v":1}` }, options: sdkplugin.Options{Unattested: sdkplugin.AllowUnattested()}, want: "attestation_malformed", kind: nexus.HandlerErrorTypeUnauthorized},
		{name: "a signal's", change: func(h nexus.Header) { h[attest.HeaderKey] = attest.ToNexus(signal) }, want: "attestation_binding", kind: nexus.HandlerErrorTypeUnauthorized},
		{name: "of an unknown key", change: func(h nexus.Header) { h[attest.HeaderKey] = attest.ToNexus(strange) }, want: "attestation_key_unknown", kind: nexus.HandlerErrorTypeUnavailable},
		{name: "of another environment", change: func(h nexus.Header) {
			s := statement("alice", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "callNexus"})
			s.Audience = "bailiwick:prod"
			h[attest.HeaderKey] = attest.ToNexus(sign(t, s))
		}, want: "attestation_audience", kind: nexus.HandlerErrorTypeUnauthorized},
		{name: "a rule that is met", options: sdkplugin.Options{Require: []sdkplugin.Rule{{Operation: "people/*", Requirement: sdkplugin.Requirement{Human: true}}}}, want: "alice@acme.example"},
		{name: "a rule that is not met", options: sdkplugin.Options{Require: []sdkplugin.Rule{{Operation: "people/who", Requirement: sdkplugin.Requirement{Grant: true}}}},
			want: "forbidden_no_grant", kind: nexus.HandlerErrorTypeUnauthorized},
		{name: "a rule that holds", options: sdkplugin.Options{Require: []sdkplugin.Rule{{Operation: "*", Requirement: sdkplugin.Requirement{Grant: true}, Hold: time.Minute}}},
			want: "forbidden_no_grant", kind: nexus.HandlerErrorTypeUnavailable},
		{name: "a rule that is not met, observed", options: sdkplugin.Options{Mode: sdkplugin.Observe, Require: []sdkplugin.Rule{{Operation: "people/who", Requirement: sdkplugin.Requirement{Grant: true}}}}, want: "alice@acme.example"},
		{name: "a rule of others", options: sdkplugin.Options{Require: []sdkplugin.Rule{{Operation: "people/whom", Requirement: sdkplugin.Requirement{Grant: true}},
			{Operation: "person/*", Requirement: sdkplugin.Requirement{Grant: true}}, {Activity: "*", Requirement: sdkplugin.Requirement{Grant: true}}}}, want: "alice@acme.example"},
		{name: "nobody meets a rule", change: func(h nexus.Header) { delete(h, attest.HeaderKey) }, options: sdkplugin.Options{Unattested: sdkplugin.AllowUnattested(), Require: []sdkplugin.Rule{{Operation: "people/who"}}},
			want: "forbidden_unattested", kind: nexus.HandlerErrorTypeUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log journal
			c.options.Logger = log.logger()
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(tlog.NewStructuredLogger(log.logger()))
			env := suite.NewTestWorkflowEnvironment()
			var all []interceptor.WorkerInterceptor
			if c.change != nil {
				all = append(all, &onTheWay{change: c.change})
			}
			env.SetWorkerOptions(worker.Options{Interceptors: append(all, hooks(t, newPlugin(t, c.options))...)})
			service := nexus.NewService("people")
			if err := service.Register(nexus.NewSyncOperation("who", func(ctx context.Context, _ string, _ nexus.StartOperationOptions) (string, error) {
				info, _ := sdkplugin.FromContext(ctx)
				if !info.Verified {
					return "nobody: " + info.Problem, nil
				}
				if err := sdkplugin.Require(ctx, sdkplugin.Requirement{Human: true}); err != nil {
					return "", err
				}
				return info.Originator.Login, nil
			})); err != nil {
				t.Fatal(err)
			}
			env.RegisterNexusService(service)
			env.RegisterWorkflow(callNexus)
			env.SetHeader(started(t, "callNexus"))
			env.ExecuteWorkflow(callNexus)
			var got string
			err := env.GetWorkflowResult(&got)
			if c.kind == "" {
				if err != nil || !strings.HasPrefix(got, c.want) {
					t.Errorf("the handler found %q, %v", got, err)
				}
				if log.line("handling Nexus operation", "endpoint") == "" {
					t.Errorf("nothing is logged:\n%s", log.String())
				}
				return
			}
			if log.line("refusing: handling Nexus operation", c.want)+log.line("ing Nexus operation that does not meet a rule", c.want) == "" {
				t.Errorf("the handler found %q, %v\n%s", got, err, log.String())
			}
			var he *nexus.HandlerError
			if c.kind == nexus.HandlerErrorTypeUnauthorized && (!errors.As(err, &he) || he.Type != c.kind) {
				t.Errorf("error is %v, want %s", err, c.kind)
			}
		})
	}
}
