package sdkplugin

import (
	"context"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// workerInterceptor stands between the SDK and the worker's code.
type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	plugin *Plugin
}

func (w *workerInterceptor) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &workflowInbound{state: &runState{plugin: w.plugin, delivered: map[string][]Info{}}}
	in.Next = next
	return in
}

func (w *workerInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	in := &activityInbound{plugin: w.plugin}
	in.Next = next
	return in
}

// runState is what the plugin remembers of one cached run. The SDK runs a workflow's coroutines one at a time, so it needs no lock; it is
// rebuilt by replay like the workflow's own variables.
type runState struct {
	plugin    *Plugin
	run       *attest.Run       // set at first use
	carried   attest.Verified   // the run's own attestation, once verified
	delivered map[string][]Info // who sent each signal that reached its channel, by name, in order
}

// about returns what Temporal says of the run. It is read once: workflow code can change its search attributes later.
func (s *runState) about(ctx workflow.Context) attest.Run {
	if s.run == nil {
		r := s.plugin.asReplayed(workflowRun(ctx))
		s.run = &r
	}
	return *s.run
}

// admit verifies the attestation in the context's header. A refusal is an error in mode Enforce; in Observe it becomes an Info with a problem.
// There is no clock and no network here: the verdict depends on history and keys alone.
func (s *runState) admit(ctx workflow.Context, kind, what string, check func(attest.Verified) error, name string) (Info, attest.Verified, error) {
	log := workflow.GetLogger(ctx) // silent at replay
	v, err := s.plugin.judge(interceptor.WorkflowHeader(ctx), check)
	if err == nil {
		info := verifiedInfo(v.Statement())
		log.Info(what, append(info.fields(), named(name)...)...)
		s.count(ctx, kind, verdictVerified, "")
		return info, v, nil
	}
	if keyUnknown(err) {
		s.plugin.keys.missing()
	}
	info := Info{Problem: err.Error()}
	started := workflow.GetInfo(ctx).WorkflowStartTime
	if s.plugin.opts.Mode == Observe || s.plugin.opts.Unattested.run(err, started) || kind == kindSignal && s.plugin.opts.Signals.delivers(err, started) {
		log.Warn(what+" without a valid attestation", append(info.fields(), named(name)...)...)
		s.count(ctx, kind, verdictUnattested, codeOf(err))
		return info, attest.Verified{}, nil
	}
	log.Warn("refusing: "+what+" without a valid attestation", append(info.fields(), named(name)...)...)
	verdict := verdictRefused
	if keyUnknown(err) {
		verdict = verdictRetried
	}
	s.count(ctx, kind, verdict, codeOf(err))
	return info, attest.Verified{}, err
}

func named(name string) []any {
	if name == "" {
		return nil
	}
	return []any{"name", name}
}

type workflowInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	state *runState
}

func (w *workflowInbound) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	out := &workflowOutbound{state: w.state}
	out.Next = outbound
	return w.Next.Init(out)
}

func (w *workflowInbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	run := w.state.about(ctx)
	info, v, err := w.state.admit(ctx, kindWorkflow, "running workflow", func(v attest.Verified) error { return v.CheckRun(run) }, "")
	if err != nil {
		retryTask(err)
		return nil, unattested(err)
	}
	if err := w.state.enforce(ctx, info); err != nil {
		return nil, err
	}
	w.state.carried = v
	ctx = workflow.WithValue(ctx, runKey, w.state)
	return w.Next.ExecuteWorkflow(workflow.WithValue(ctx, infoKey, info), in)
}

// HandleSignal delivers an attested signal. A refused one is dropped, not turned into a failure: a stranger must not be able to end a run.
func (w *workflowInbound) HandleSignal(ctx workflow.Context, in *interceptor.HandleSignalInput) error {
	run := w.state.about(ctx)
	info, _, err := w.state.admit(ctx, kindSignal, "delivering signal", func(v attest.Verified) error { return checkSignal(v, run, in.SignalName) }, in.SignalName)
	if in.SignalName == attest.AdoptSignal {
		return nil // it is for activity workers, who read it in the history, and for no workflow code
	}
	if keyUnknown(err) {
		return fmt.Errorf("the workflow task will be retried: %w", err) // the SDK fails the task, as for a panic
	}
	if err != nil {
		return nil
	}
	if err := w.Next.HandleSignal(ctx, in); err != nil {
		return err
	}
	w.state.delivered[in.SignalName] = append(w.state.delivered[in.SignalName], info)
	return nil
}

// checkSignal accepts a signal that a gate attested, or one from a workflow of the run's own family.
func checkSignal(v attest.Verified, run attest.Run, name string) error {
	err := v.CheckCall(attest.EdgeSignal, run, name)
	if err == nil {
		return nil
	}
	if edge := v.Statement().Edge; (edge == attest.EdgeStart || edge == attest.EdgeSchedule) && v.CheckCarriedSignal(run) == nil {
		return nil
	}
	return err
}

// ValidateUpdate refuses before the update enters history. It does not run at replay.
func (w *workflowInbound) ValidateUpdate(ctx workflow.Context, in *interceptor.UpdateInput) error {
	info, err := w.admitUpdate(ctx, in.Name, "validating update")
	if err == nil {
		err = w.state.plugin.refuseRevoked(context.Background(), kindUpdate, info)
	}
	if err != nil {
		return err
	}
	return w.Next.ValidateUpdate(workflow.WithValue(ctx, infoKey, info), in)
}

func (w *workflowInbound) ExecuteUpdate(ctx workflow.Context, in *interceptor.UpdateInput) (any, error) {
	info, err := w.admitUpdate(ctx, in.Name, "running update")
	if err != nil {
		return nil, err
	}
	ctx = workflow.WithValue(ctx, runKey, w.state)
	return w.Next.ExecuteUpdate(workflow.WithValue(ctx, infoKey, info), in)
}

func (w *workflowInbound) admitUpdate(ctx workflow.Context, name, what string) (Info, error) {
	run := w.state.about(ctx)
	info, _, err := w.state.admit(ctx, kindUpdate, what, func(v attest.Verified) error { return v.CheckCall(attest.EdgeUpdate, run, name) }, name)
	if err != nil {
		retryTask(err)
		return info, unattested(err)
	}
	return info, nil
}

func (w *workflowInbound) HandleQuery(ctx workflow.Context, in *interceptor.HandleQueryInput) (any, error) {
	run := w.state.about(ctx)
	info, _, err := w.state.admit(ctx, kindQuery, "answering query", func(v attest.Verified) error { return v.CheckCall(attest.EdgeQuery, run, in.QueryType) }, in.QueryType)
	if err != nil {
		return nil, unattested(err)
	}
	if err := w.state.plugin.refuseRevoked(context.Background(), kindQuery, info); err != nil {
		return nil, err
	}
	return w.Next.HandleQuery(ctx, in)
}

// retryTask fails the workflow task, not the workflow, when the key is unknown: Temporal tries again, and by then the key may have been fetched.
func retryTask(err error) {
	if keyUnknown(err) {
		panic("the workflow task will be retried: " + err.Error())
	}
}

// workflowOutbound carries the run's attestation across the edges of its life. Temporal carries headers across none of them by itself.
type workflowOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	state *runState
}

func (w *workflowOutbound) carry(ctx workflow.Context, toActivity bool) {
	header := interceptor.WorkflowHeader(ctx)
	raw := w.state.carried.Raw()
	if header == nil || raw == "" {
		return
	}
	attest.Strip(&commonpb.Header{Fields: header})
	header[attest.HeaderKey] = attest.ToPayload(raw)
	if !toActivity {
		return
	}
	if p := lineage(w.state.carried, w.state.about(ctx)); p != nil {
		header[attest.LineageKey] = p
	}
}

func (w *workflowOutbound) ExecuteActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	w.carry(ctx, true)
	return w.Next.ExecuteActivity(ctx, activityType, args...)
}

func (w *workflowOutbound) ExecuteLocalActivity(ctx workflow.Context, activityType string, args ...any) workflow.Future {
	w.carry(ctx, true)
	return w.Next.ExecuteLocalActivity(ctx, activityType, args...)
}

func (w *workflowOutbound) ExecuteChildWorkflow(ctx workflow.Context, childType string, args ...any) workflow.ChildWorkflowFuture {
	w.carry(ctx, false)
	return w.Next.ExecuteChildWorkflow(ctx, childType, args...)
}

func (w *workflowOutbound) NewContinueAsNewError(ctx workflow.Context, wfn any, args ...any) error {
	w.carry(ctx, false)
	return w.Next.NewContinueAsNewError(ctx, wfn, args...)
}

func (w *workflowOutbound) SignalExternalWorkflow(ctx workflow.Context, workflowID, runID, signalName string, arg any) workflow.Future {
	w.carry(ctx, false)
	return w.Next.SignalExternalWorkflow(ctx, workflowID, runID, signalName, arg)
}

func (w *workflowOutbound) SignalChildWorkflow(ctx workflow.Context, workflowID, signalName string, arg any) workflow.Future {
	w.carry(ctx, false)
	return w.Next.SignalChildWorkflow(ctx, workflowID, signalName, arg)
}
