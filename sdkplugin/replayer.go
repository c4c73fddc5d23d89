package sdkplugin

import (
	"context"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// ReplayWorkflow is called by a worker.WorkflowReplayer. A history file does not say which namespace it is from, and the replayer calls
// namespace and workflow by names of its own, so that every binding would look broken. The start's attestation knows the namespace and the
// start event the workflow id; they are remembered while the replay runs.
func (p *Plugin) ReplayWorkflow(ctx context.Context, o worker.PluginReplayWorkflowOptions, next func(context.Context, worker.PluginReplayWorkflowOptions) error) error {
	return p.simple.ReplayWorkflow(ctx, o, func(ctx context.Context, o worker.PluginReplayWorkflowOptions) error {
		if len(o.History.GetEvents()) > 0 {
			start := o.History.Events[0].GetWorkflowExecutionStartedEventAttributes()
			runID := o.OriginalExecution.RunID
			if runID == "" {
				runID = start.GetOriginalExecutionRunId() // as the replayer does
			}
			if about, ok := p.replayedRun(start); ok && runID != "" && o.Namespace == replayNamespace {
				if o.OriginalExecution.ID != "" {
					about.WorkflowID = o.OriginalExecution.ID
				}
				p.replays.Store(runID, about)
				defer p.replays.Delete(runID)
			}
		}
		return next(ctx, o)
	})
}

// replayNamespace is what the replayer calls every namespace. The SDK's name for it is not exported.
const replayNamespace = "ReplayNamespace"

// replayed is what a history says of its run and the replayer does not pass on.
type replayed struct{ Namespace, WorkflowID string }

func (p *Plugin) replayedRun(start *historypb.WorkflowExecutionStartedEventAttributes) (replayed, bool) {
	raw, ok := attest.FromPayload(start.GetHeader().GetFields()[attest.HeaderKey])
	if !ok {
		return replayed{}, false
	}
	v, err := p.keys.current().Verify(raw, p.opts.Audience)
	if err != nil {
		return replayed{}, false
	}
	return replayed{Namespace: v.Statement().Binding.Namespace, WorkflowID: start.GetWorkflowId()}, true
}

// asReplayed corrects what the replayer says of a run.
func (p *Plugin) asReplayed(r attest.Run) attest.Run {
	if r.Namespace != replayNamespace {
		return r
	}
	if known, ok := p.replays.Load(r.RunID); ok {
		r.Namespace = known.(replayed).Namespace
		if id := known.(replayed).WorkflowID; id != "" {
			r.WorkflowID = id
		}
	}
	return r
}
