package sdkplugin

import (
	"context"
	"log/slog"

	"github.com/nexus-rpc/sdk-go/nexus"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

func (w *workerInterceptor) InterceptNexusOperation(_ context.Context, next interceptor.NexusOperationInboundInterceptor) interceptor.NexusOperationInboundInterceptor {
	in := &nexusInbound{plugin: w.plugin}
	in.Next = next
	return in
}

// ExecuteNexusOperation gives an operation the run's statement, as a gate does too.
func (w *workflowOutbound) ExecuteNexusOperation(ctx workflow.Context, in interceptor.ExecuteNexusOperationInput) workflow.NexusOperationFuture {
	if raw := w.state.carried.Raw(); raw != "" && in.NexusHeader != nil && in.Client.Endpoint() != systemEndpoint {
		attest.StripNexus(in.NexusHeader)
		in.NexusHeader[attest.HeaderKey] = attest.ToNexus(raw)
	}
	return w.Next.ExecuteNexusOperation(ctx, in)
}

// systemEndpoint is Temporal's own, which takes no headers.
const systemEndpoint = "__temporal_system"

// nexusInbound tells handlers of Nexus operations for whom they are called: who started the calling workflow. FromContext returns it.
//
// What a handler starts for an operation is attested by the gate, which knows the caller from Temporal and takes the handler's word for nothing.
type nexusInbound struct {
	interceptor.NexusOperationInboundInterceptorBase
	plugin *Plugin
}

func (n *nexusInbound) StartOperation(ctx context.Context, in interceptor.NexusStartOperationInput) (nexus.HandlerStartOperationResult[any], error) {
	ctx, err := n.admit(ctx, in.Options.Header, "handling Nexus operation")
	if err == nil {
		err = n.enforce(ctx)
	}
	if err != nil {
		return nil, err
	}
	return n.Next.StartOperation(ctx, in)
}

func (n *nexusInbound) CancelOperation(ctx context.Context, in interceptor.NexusCancelOperationInput) error {
	ctx, err := n.admit(ctx, in.Options.Header, "cancelling Nexus operation")
	if err != nil {
		return err
	}
	return n.Next.CancelOperation(ctx, in)
}

func (n *nexusInbound) admit(ctx context.Context, h nexus.Header, what string) (context.Context, error) {
	p, about := n.plugin, temporalnexus.GetOperationInfo(ctx)
	v, err := p.judgeNexus(h)
	if keyUnknown(err) {
		p.keys.fetchMissing(ctx)
		v, err = p.judgeNexus(h)
	}
	log := p.log.With("endpoint", about.Endpoint, "namespace", about.Namespace, "task_queue", about.TaskQueue)
	info := Info{}
	switch {
	case err == nil:
		info = verifiedInfo(v.Statement())
		p.metrics.count(ctx, kindNexus, verdictVerified, "")
	case p.opts.Mode == Observe || p.opts.Unattested.activity(err, false):
		info.Problem = err.Error()
		p.metrics.count(ctx, kindNexus, verdictUnattested, codeOf(err))
	default:
		info.Problem = err.Error()
		log.Log(ctx, slog.LevelWarn, "refusing: "+what+" without a valid attestation", info.fields()...)
		describe(ctx, info)
		describeProblem(ctx, codeOf(err))
		if keyUnknown(err) {
			p.metrics.count(ctx, kindNexus, verdictRetried, codeOf(err))
			return nil, nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnavailable, "Bailiwick cannot verify yet: %s", err)
		}
		p.metrics.count(ctx, kindNexus, verdictRefused, codeOf(err))
		return nil, nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnauthorized, "refused by Bailiwick: %s", err)
	}
	describe(ctx, info)
	if v := p.revoked(ctx, info); v != nil {
		describeProblem(ctx, string(v.Code))
		log.Log(ctx, slog.LevelWarn, what+" for somebody who lost access", append(info.fields(), "code", string(v.Code), "detail", v.Detail)...)
		if p.opts.Mode == Enforce {
			if v.Code == ForbiddenStandingUnknown {
				p.metrics.count(ctx, kindNexus, verdictHeld, string(v.Code))
				return nil, nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnavailable, "held by Bailiwick: %s", v)
			}
			p.metrics.count(ctx, kindNexus, verdictForbidden, string(v.Code))
			return nil, nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnauthorized, "refused by Bailiwick: %s", v)
		}
		p.metrics.count(ctx, kindNexus, verdictExcused, string(v.Code))
	}
	level := slog.LevelInfo
	if !info.Verified {
		level = slog.LevelWarn
		describeProblem(ctx, codeOf(err))
	}
	log.Log(ctx, level, what, info.fields()...)
	return context.WithValue(context.WithValue(ctx, pluginKey, p), infoKey, info), nil
}

// enforce judges an attempt of an operation by the rules, right before its handler runs. What it finds is not remembered.
func (n *nexusInbound) enforce(ctx context.Context) error {
	p, about := n.plugin, nexus.ExtractHandlerInfo(ctx)
	info, _ := FromContext(ctx)
	v, hold := p.rules.forOperation(about.Service, about.Operation, info, p.now())
	if v == nil {
		return nil
	}
	describeProblem(ctx, string(v.Code))
	log := p.log.With("service", about.Service, "operation", about.Operation)
	fields := append(info.fields(), "code", string(v.Code), "rule", v.Rule, "detail", v.Detail)
	switch {
	case p.opts.Mode == Observe:
		log.Log(ctx, slog.LevelWarn, "handling Nexus operation that does not meet a rule", fields...)
		p.metrics.count(ctx, kindNexus, verdictExcused, string(v.Code))
		return nil
	case hold != 0:
		log.Log(ctx, slog.LevelWarn, "holding Nexus operation that does not meet a rule", fields...)
		p.metrics.count(ctx, kindNexus, verdictHeld, string(v.Code))
		return nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnavailable, "held by Bailiwick: %s", v)
	}
	log.Log(ctx, slog.LevelWarn, "refusing Nexus operation that does not meet a rule", fields...)
	p.metrics.count(ctx, kindNexus, verdictForbidden, string(v.Code))
	return nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnauthorized, "refused by Bailiwick: %s", v)
}

// judgeNexus verifies the statement in an operation's headers: how the calling run came to be. The error is a *attest.Error always. Which run
// calls, a handler can't check: a gate lets no operation through with another run's statement.
func (p *Plugin) judgeNexus(h nexus.Header) (attest.Verified, error) {
	value := h.Get(attest.HeaderKey)
	if value == "" {
		return attest.Verified{}, &attest.Error{Code: attest.CodeMissing, Detail: "the operation was not called by an attested workflow through a Bailiwick gate"}
	}
	raw, ok := attest.FromNexus(value)
	if !ok {
		return attest.Verified{}, &attest.Error{Code: attest.CodeMalformed, Detail: "the Nexus header is not an attestation"}
	}
	v, err := p.keys.current().Verify(raw, p.opts.Audience)
	if err != nil {
		return attest.Verified{}, err
	}
	if edge := v.Statement().Edge; edge != attest.EdgeStart && edge != attest.EdgeSchedule {
		return attest.Verified{}, &attest.Error{Code: attest.CodeBinding, Detail: "a \"" + string(edge) + "\" attestation says nothing about how the calling run came to be"}
	}
	return v, nil
}
