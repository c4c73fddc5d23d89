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
		log.Log(ctx, slog.LevelInfo, "running activity", info.fields()...)
	case p.opts.Mode == Observe:
		info.Problem = err.Error()
		log.Log(ctx, slog.LevelWarn, "running activity without a valid attestation", info.fields()...)
	default:
		info.Problem = err.Error()
		log.Log(ctx, slog.LevelWarn, "refusing activity without a valid attestation", info.fields()...)
		if keyUnknown(err) {
			return nil, temporal.NewApplicationError("Bailiwick cannot verify yet: "+err.Error(), FailureKeyUnknown)
		}
		return nil, unattested(err)
	}
	return a.Next.ExecuteActivity(context.WithValue(ctx, infoKey, info), in)
}
