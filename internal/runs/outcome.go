package runs

import (
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// outcome folds an event that only reports how an earlier one went into that one's step. It reports whether e was such an event.
func (b *builder) outcome(e *historypb.HistoryEvent) bool {
	word, about := "", int64(0)
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		a := e.GetActivityTaskStartedEventAttributes()
		if i, ok := b.bySchedule[a.GetScheduledEventId()]; ok {
			b.Steps[i].Attempts = a.GetAttempt()
		}
		word, about = "started", a.GetScheduledEventId()
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		word, about = "completed", e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		word, about = "failed", e.GetActivityTaskFailedEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		word, about = "timed out", e.GetActivityTaskTimedOutEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		word, about = "canceled", e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
		word, about = "not started", e.GetStartChildWorkflowExecutionFailedEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
		a := e.GetChildWorkflowExecutionStartedEventAttributes()
		if i, ok := b.bySchedule[a.GetInitiatedEventId()]; ok {
			b.Steps[i].RunID = a.GetWorkflowExecution().GetRunId()
		}
		word, about = "started", a.GetInitiatedEventId()
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		word, about = "completed", e.GetChildWorkflowExecutionCompletedEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		word, about = "failed", e.GetChildWorkflowExecutionFailedEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		word, about = "canceled", e.GetChildWorkflowExecutionCanceledEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		word, about = "timed out", e.GetChildWorkflowExecutionTimedOutEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		word, about = "terminated", e.GetChildWorkflowExecutionTerminatedEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED:
		word, about = "delivered", e.GetExternalWorkflowExecutionSignaledEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED:
		word, about = "failed", e.GetSignalExternalWorkflowExecutionFailedEventAttributes().GetInitiatedEventId()
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_STARTED:
		b.backed(e)
		word, about = "started", e.GetNexusOperationStartedEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_COMPLETED:
		word, about = "completed", e.GetNexusOperationCompletedEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_FAILED:
		word, about = "failed", e.GetNexusOperationFailedEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_CANCELED:
		word, about = "canceled", e.GetNexusOperationCanceledEventAttributes().GetScheduledEventId()
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT:
		word, about = "timed out", e.GetNexusOperationTimedOutEventAttributes().GetScheduledEventId()
	default:
		return false
	}
	i, ok := b.bySchedule[about]
	if !ok {
		return true
	}
	s := &b.Steps[i]
	s.Outcome = word
	if word != "started" {
		s.Ended = e.GetEventTime().AsTime()
	}
	if p := principal(e); p != "" {
		s.ExecutedBy = p
	}
	return true
}

// closing handles the events that end a run.
func (b *builder) closing(e *historypb.HistoryEvent) {
	kind, status := KindClose, ""
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		status = "completed"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		status = "failed"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		status = "canceled"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		status = "timed out"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		kind, status = KindTerminate, "terminated"
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		kind, status = KindContinuedAsNew, "continued as new"
	default:
		return // workflow tasks, timers, markers …: nobody's act
	}
	b.Status, b.Closed = status, e.GetEventTime().AsTime()
	s := b.step(e, kind)
	s.Name = status
	switch kind {
	case KindTerminate:
		a := e.GetWorkflowExecutionTerminatedEventAttributes()
		s.Name, s.Identity = a.GetReason(), a.GetIdentity()
	case KindContinuedAsNew:
		a := e.GetWorkflowExecutionContinuedAsNewEventAttributes()
		s.Name, s.ID = a.GetWorkflowType().GetName(), a.GetNewExecutionRunId()
		b.NextRunID = s.ID
		b.carries(s, a.GetHeader())
	}
}
