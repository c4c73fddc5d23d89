package sdkplugin

import (
	"context"
	"log/slog"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"github.com/bailiwick-dev/bailiwick/attest"
)

type activityInbound struct {
	interceptor.ActivityInboundInterceptorBase
	plugin *Plugin
}

// ExecuteActivity verifies the attestation that the workflow's worker carried here, logs it and puts it into the context. Unlike workflow
// code an activity may wait for the network: an unknown key is fetched first, and only then is the attempt given up for a retry.
func (a *activityInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	p, header, about := a.plugin, interceptor.Header(ctx), activity.GetInfo(ctx)
	run := activityRun(about, header)
	check := func(v attest.Verified) error { return v.CheckRun(run) }
	if run.WorkflowID == "" {
		check = func(v attest.Verified) error {
			return v.CheckActivity(run.Namespace, about.ActivityID, about.ActivityType.Name)
		}
	}
	v, err := p.judge(header, check)
	if keyUnknown(err) {
		p.keys.fetchMissing(ctx)
		v, err = p.judge(header, check)
	}
	log := p.log.With("activity", about.ActivityType.Name, "activity_id", about.ActivityID, "attempt", about.Attempt,
		"namespace", run.Namespace, "workflow_id", run.WorkflowID, "run_id", run.RunID)
	info := Info{}
	switch {
	case err == nil:
		info = verifiedInfo(v.Statement())
		p.metrics.count(ctx, kindActivity, verdictVerified, "")
	case p.opts.Mode == Observe || p.opts.Unattested.activity(err, run.WorkflowID != ""):
		info.Problem = err.Error()
		p.metrics.count(ctx, kindActivity, verdictUnattested, codeOf(err))
		log.Log(ctx, slog.LevelWarn, "running activity without a valid attestation", info.fields()...)
	default:
		info.Problem = err.Error()
		log.Log(ctx, slog.LevelWarn, "refusing activity without a valid attestation", info.fields()...)
		describe(ctx, info)
		describeProblem(ctx, codeOf(err))
		if keyUnknown(err) {
			p.metrics.count(ctx, kindActivity, verdictRetried, codeOf(err))
			return nil, temporal.NewApplicationError("Bailiwick cannot verify yet: "+err.Error(), FailureKeyUnknown)
		}
		p.metrics.count(ctx, kindActivity, verdictRefused, codeOf(err))
		return nil, unattested(err)
	}
	describe(ctx, info)
	info, refused := a.enforce(ctx, log, about.ActivityType.Name, run, info)
	if refused != nil {
		return nil, refused
	}
	if info.Verified {
		log.Log(ctx, slog.LevelInfo, "running activity", info.fields()...)
	} else {
		describeProblem(ctx, codeOf(err))
	}
	return a.Next.ExecuteActivity(context.WithValue(context.WithValue(ctx, pluginKey, p), infoKey, info), in)
}

// enforce judges an attempt right before it runs. What it finds is not remembered: the next attempt is judged anew.
func (a *activityInbound) enforce(ctx context.Context, log *slog.Logger, activityType string, run attest.Run, info Info) (Info, error) {
	p := a.plugin
	v := p.revoked(ctx, info)
	if v != nil {
		info, v = p.answeredFor(ctx, run, info, v)
	}
	if v != nil {
		describeProblem(ctx, string(v.Code))
		fields := append(info.fields(), "code", string(v.Code), "detail", v.Detail)
		if p.opts.Mode == Enforce {
			log.Log(ctx, slog.LevelWarn, "stopping activity of somebody who lost access", fields...)
			p.metrics.count(ctx, kindActivity, map[bool]string{true: verdictHeld, false: verdictForbidden}[p.opts.HoldRevoked > 0 || v.Code == ForbiddenStandingUnknown], string(v.Code))
			return info, p.stopRevoked(v)
		}
		log.Log(ctx, slog.LevelWarn, "running activity of somebody who lost access", fields...)
		p.metrics.count(ctx, kindActivity, verdictExcused, string(v.Code))
	}
	v, hold := p.rules.forActivity(activityType, run.WorkflowType, info, p.now())
	if v == nil {
		return info, nil
	}
	describeProblem(ctx, string(v.Code))
	fields := append(info.fields(), "code", string(v.Code), "rule", v.Rule, "detail", v.Detail)
	switch {
	case p.opts.Mode == Observe:
		log.Log(ctx, slog.LevelWarn, "running activity that does not meet a rule", fields...)
		p.metrics.count(ctx, kindActivity, verdictExcused, string(v.Code))
		return info, nil
	case hold != 0:
		log.Log(ctx, slog.LevelWarn, "holding activity that does not meet a rule", fields...)
		p.metrics.count(ctx, kindActivity, verdictHeld, string(v.Code))
		return info, held(v, hold)
	}
	log.Log(ctx, slog.LevelWarn, "refusing activity that does not meet a rule", fields...)
	p.metrics.count(ctx, kindActivity, verdictForbidden, string(v.Code))
	return info, forbidden(v)
}
