package runs

import (
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// systemEndpoint is Temporal's own Nexus endpoint, whose operations take no headers.
const systemEndpoint = "__temporal_system"

// operation reads the call of a Nexus operation, which carries the run's statement in a Nexus header.
func (b *builder) operation(e *historypb.HistoryEvent) {
	a := e.GetNexusOperationScheduledEventAttributes()
	s := b.scheduled(e, KindNexus)
	s.Name, s.ID = a.GetService()+"/"+a.GetOperation(), a.GetEndpoint()
	if s.ID == systemEndpoint {
		return
	}
	h := &commonpb.Header{}
	if value, ok := a.GetNexusHeader()[attest.HeaderKey]; ok {
		raw, _ := attest.FromNexus(value)
		h.Fields = map[string]*commonpb.Payload{attest.HeaderKey: attest.ToPayload(raw)}
	}
	b.carries(s, h)
}

// backed finds which run backs an operation.
func (b *builder) backed(e *historypb.HistoryEvent) {
	i, ok := b.bySchedule[e.GetNexusOperationStartedEventAttributes().GetScheduledEventId()]
	if !ok {
		return
	}
	if to := workflowEvent(e.GetLinks()); to != nil {
		s := &b.Steps[i]
		s.Backing, s.RunID = to.GetWorkflowId(), to.GetRunId()
		if ns := to.GetNamespace(); ns != b.Namespace {
			s.Space = ns
		}
	}
}

// callerOf finds who called the operation that a run backs: a run that Temporal will call back when this one ends.
func callerOf(e *historypb.HistoryEvent) *Caller {
	callbacks := e.GetWorkflowExecutionStartedEventAttributes().GetCompletionCallbacks()
	if len(callbacks) == 0 {
		return nil
	}
	from := workflowEvent(e.GetLinks())
	for _, c := range callbacks {
		if from == nil {
			from = workflowEvent(c.GetLinks())
		}
	}
	if from == nil {
		return nil
	}
	return &Caller{Namespace: from.GetNamespace(), WorkflowID: from.GetWorkflowId(), RunID: from.GetRunId(), EventID: from.GetEventRef().GetEventId()}
}

// workflowEvent is the first link to an event of a workflow.
func workflowEvent(links []*commonpb.Link) *commonpb.Link_WorkflowEvent {
	for _, l := range links {
		if w := l.GetWorkflowEvent(); w.GetWorkflowId() != "" {
			return w
		}
	}
	return nil
}
