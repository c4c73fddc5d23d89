package main

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

const edgeQueue, otherQueue = "edges", "edges-elsewhere"

// seen is what reached the worker's code, by "activity NAME" or "query NAME": the header fields as Temporal delivered them.
type seen struct {
	interceptor.WorkerInterceptorBase
	mu      sync.Mutex // covers headers
	headers map[string]map[string]*commonpb.Payload
}

func (s *seen) note(key string, h map[string]*commonpb.Payload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers[key] = h
}

func (s *seen) header(key string) *commonpb.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &commonpb.Header{Fields: s.headers[key]}
}

func (s *seen) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	in := &seenActivity{seen: s}
	in.Next = next
	return in
}

func (s *seen) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &seenWorkflow{seen: s}
	in.Next = next
	return in
}

type seenActivity struct {
	interceptor.ActivityInboundInterceptorBase
	seen *seen
}

func (a *seenActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	a.seen.note("activity "+info.ActivityID, interceptor.Header(ctx))
	return a.Next.ExecuteActivity(ctx, in)
}

type seenWorkflow struct {
	interceptor.WorkflowInboundInterceptorBase
	seen *seen
}

func (w *seenWorkflow) HandleQuery(ctx workflow.Context, in *interceptor.HandleQueryInput) (any, error) {
	w.seen.note("query "+in.QueryType, interceptor.WorkflowHeader(ctx))
	return w.Next.HandleQuery(ctx, in)
}

// The workflows of the edge test. None of them, and not their worker, knows of Bailiwick.

func wait(ctx workflow.Context) (string, error) {
	if err := workflow.SetQueryHandler(ctx, "state", func() (string, error) { return "waiting", nil }); err != nil {
		return "", err
	}
	if err := workflow.SetUpdateHandler(ctx, "rename", func(_ workflow.Context, to string) (string, error) { return to, nil }); err != nil {
		return "", err
	}
	workflow.GetSignalChannel(ctx, "done").Receive(ctx, nil)
	return "done", ctx.Err()
}

// family does everything that a workflow does to others, then goes on as a new run, which waits.
func family(ctx workflow.Context, receiver, victim string, again bool) error {
	if again {
		_, err := wait(ctx)
		return err
	}
	run := func(id string, eager bool) error {
		return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			ActivityID: id, StartToCloseTimeout: 20 * time.Second, DisableEagerExecution: !eager, TaskQueue: map[bool]string{true: edgeQueue, false: otherQueue}[eager],
		}), "Look").Get(ctx, nil)
	}
	child := func(id, namespace string) error {
		//lint:ignore SA1019 Namespace is deprecated, and still sent by workers and obeyed by the server
		return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: id, Namespace: namespace, TaskQueue: edgeQueue}), "Leaf", id).Get(ctx, nil)
	}
	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 20 * time.Second})
	async := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{ActivityID: "async", StartToCloseTimeout: 30 * time.Second})
	if err := errors.Join(
		run("normal", false), run("eager", true), workflow.ExecuteLocalActivity(local, look).Get(ctx, nil), workflow.ExecuteActivity(async, "Later").Get(ctx, nil),
		child("child-here", "payments"), child("child-there", "deploy"),
		workflow.SignalExternalWorkflow(ctx, receiver, "", "done", nil).Get(ctx, nil), workflow.RequestCancelExternalWorkflow(ctx, victim, "").Get(ctx, nil),
	); err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, "Family", receiver, victim, true)
}

// leaf has an activity of its own, so that what was carried to the child is carried on.
func leaf(ctx workflow.Context, id string) error {
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID: "of-" + id, StartToCloseTimeout: 20 * time.Second, DisableEagerExecution: true,
	}), "Look").Get(ctx, nil)
}

func look(context.Context) error { return nil }

func later(context.Context) error { return activity.ErrResultPending }

// fails fails the first time and waits when it is tried again.
func fails(ctx workflow.Context) error {
	if workflow.GetInfo(ctx).Attempt == 1 {
		return temporal.NewApplicationError("at first", "first")
	}
	_, err := wait(ctx)
	return err
}

// startEdgeWorkers runs plain workers in both namespaces; plugged adds what a worker with our plugin would be made of.
func (e *environment) startEdgeWorkers(t *testing.T, token string) *seen {
	t.Helper()
	s := &seen{headers: map[string]map[string]*commonpb.Payload{}}
	for _, place := range []struct{ namespace, queue string }{{"payments", edgeQueue}, {"payments", otherQueue}, {"deploy", edgeQueue}} {
		w := worker.New(e.client(t, token, place.namespace), place.queue, worker.Options{Interceptors: []interceptor.WorkerInterceptor{s}})
		for name, f := range map[string]any{"Wait": wait, "Family": family, "Leaf": leaf, "Fails": fails, "Quick": hello} {
			w.RegisterWorkflowWithOptions(f, workflow.RegisterOptions{Name: name})
		}
		w.RegisterActivityWithOptions(look, activity.RegisterOptions{Name: "Look"})
		w.RegisterActivityWithOptions(later, activity.RegisterOptions{Name: "Later"})
		if err := w.Start(); err != nil {
			t.Fatalf("starting a worker: %v", err)
		}
		t.Cleanup(w.Stop)
	}
	return s
}

// statement returns what a header says, or an empty statement if it has no genuine attestation.
func (e *environment) statement(h *commonpb.Header) attest.Statement {
	raw, ok := attest.FromPayload(h.GetFields()[attest.HeaderKey])
	if !ok {
		return attest.Statement{}
	}
	v, err := e.keys.Verify(raw, testAudience)
	if err != nil {
		return attest.Statement{}
	}
	return v.Statement()
}
