package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Config says whose history it is and what to verify with.
type Config struct {
	Namespace  string
	WorkflowID string
	RunID      string
	Keys       attest.KeySet // the gate's published keys
	// Archive returns keys from the audit log. It is asked once at most, when an attestation's key is not among Keys. Default none.
	Archive func() (attest.KeySet, error)
	// Decision finds a decision in the audit log, for acts of which Temporal keeps no header: nil if the log has none with the id, an error if it
	// can't be asked. Default none: such acts are told by Temporal's record.
	Decision func(id string) (*Decided, error)
	Audience string // the environment, such as "bailiwick:dev"
}

// builder folds events into steps.
type builder struct {
	Timeline
	checker
	bySchedule map[int64]int  // event id of a scheduled or initiated event → index into Steps
	byUpdate   map[string]int // update id → index into Steps
}

// Build makes the timeline of one run from its events, in order. It fails if they do not begin with a start, because then there is
// nothing to bind the rest to.
func Build(events []*historypb.HistoryEvent, cfg Config) (Timeline, error) {
	if len(events) == 0 || events[0].GetWorkflowExecutionStartedEventAttributes() == nil {
		return Timeline{}, errors.New("reading the history: it does not begin with the start of a run")
	}
	b := &builder{
		Timeline:   Timeline{Namespace: cfg.Namespace, WorkflowID: cfg.WorkflowID, RunID: cfg.RunID, Status: "running"},
		checker:    checker{keys: cfg.Keys, archive: cfg.Archive, audience: cfg.Audience, brought: map[string]int64{}},
		bySchedule: map[int64]int{},
		byUpdate:   map[string]int{},
	}
	for _, e := range events {
		b.event(e)
	}
	for i := range b.Steps {
		b.attribute(&b.Steps[i], cfg.Decision)
	}
	for _, s := range b.Steps {
		switch s.Verdict {
		case Verified:
			b.Timeline.Verified++
		case Unattested:
			b.Timeline.Unattested++
		case Invalid:
			b.Timeline.Invalid++
		}
	}
	return b.Timeline, nil
}

func (b *builder) step(e *historypb.HistoryEvent, kind Kind) *Step {
	b.Steps = append(b.Steps, Step{EventID: e.GetEventId(), Time: e.GetEventTime().AsTime(), Kind: kind, Verdict: Recorded, Principal: principal(e)})
	return &b.Steps[len(b.Steps)-1]
}

func (b *builder) event(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		b.start(e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		b.signal(e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		b.update(e)
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		a := e.GetActivityTaskScheduledEventAttributes()
		s := b.scheduled(e, KindActivity)
		s.Name, s.ID = a.GetActivityType().GetName(), a.GetActivityId()
		b.carries(s, a.GetHeader())
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		a := e.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		s := b.scheduled(e, KindChild)
		s.Name, s.ID = a.GetWorkflowType().GetName(), a.GetWorkflowId()
		if ns := a.GetNamespace(); ns != b.Namespace {
			s.Space = ns
		}
		b.carries(s, a.GetHeader())
	case enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		a := e.GetSignalExternalWorkflowExecutionInitiatedEventAttributes()
		s := b.scheduled(e, KindSignalOut)
		s.Name, s.ID = a.GetSignalName(), a.GetWorkflowExecution().GetWorkflowId()
		b.carries(s, a.GetHeader())
	case enumspb.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED:
		b.operation(e)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
		a := e.GetWorkflowExecutionCancelRequestedEventAttributes()
		s := b.step(e, KindCancelRequest)
		s.Name, s.Identity = a.GetCause(), a.GetIdentity()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:
		s := b.step(e, KindPause)
		s.Name, s.Identity = e.GetWorkflowExecutionPausedEventAttributes().GetReason(), e.GetWorkflowExecutionPausedEventAttributes().GetIdentity()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED:
		s := b.step(e, KindUnpause)
		s.Name, s.Identity = e.GetWorkflowExecutionUnpausedEventAttributes().GetReason(), e.GetWorkflowExecutionUnpausedEventAttributes().GetIdentity()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED:
		b.step(e, KindOptions).Identity = e.GetWorkflowExecutionOptionsUpdatedEventAttributes().GetIdentity()
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		if a := e.GetWorkflowTaskFailedEventAttributes(); a.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			s := b.step(e, KindReset)
			s.Name, s.ID, s.Identity = a.GetFailure().GetMessage(), a.GetBaseRunId(), a.GetIdentity()
		}
	default:
		if !b.outcome(e) {
			b.closing(e)
		}
	}
}

func (b *builder) start(e *historypb.HistoryEvent) {
	a := e.GetWorkflowExecutionStartedEventAttributes()
	b.WorkflowType, b.TaskQueue, b.Started = a.GetWorkflowType().GetName(), a.GetTaskQueue().GetName(), e.GetEventTime().AsTime()
	b.Lineage = attest.Run{
		Namespace: b.Namespace, WorkflowID: b.WorkflowID, RunID: b.RunID, WorkflowType: b.WorkflowType,
		ParentNamespace: a.GetParentWorkflowNamespace(), ParentWorkflowID: a.GetParentWorkflowExecution().GetWorkflowId(), ParentRunID: a.GetParentWorkflowExecution().GetRunId(),
		RootWorkflowID: a.GetRootWorkflowExecution().GetWorkflowId(), RootRunID: a.GetRootWorkflowExecution().GetRunId(),
		FirstRunID: a.GetFirstExecutionRunId(), ContinuedRunID: a.GetContinuedExecutionRunId(), OriginalRunID: a.GetOriginalExecutionRunId(),
		ScheduleID: scheduleID(a.GetSearchAttributes()),
	}
	b.run, b.Caller = b.Lineage, callerOf(e)
	s := b.step(e, KindStart)
	s.Name, s.ID, s.Identity = b.WorkflowType, b.WorkflowID, a.GetIdentity()
	b.brings(s, a.GetHeader(), func(v attest.Verified) error { return v.CheckRun(b.run) })

	var by string
	if json.Unmarshal(a.GetMemo().GetFields()[triggerField].GetData(), &by) == nil && by != "" {
		t := b.step(e, KindTrigger)
		t.ID, t.Identity = b.Lineage.ScheduleID, by
	}
}

// triggerField is the memo field in which a gate says who made a schedule start a run.
const triggerField = "BailiwickTrigger"

func (b *builder) signal(e *historypb.HistoryEvent) {
	a := e.GetWorkflowExecutionSignaledEventAttributes()
	s := b.step(e, KindSignal)
	s.Name, s.Identity = a.GetSignalName(), a.GetIdentity()
	from := a.GetExternalWorkflowExecution()
	adopted := false
	b.brings(s, a.GetHeader(), func(v attest.Verified) error {
		if from == nil {
			adopted = a.GetSignalName() == attest.AdoptSignal && v.CheckAdoption(b.run, b.beganBy()...) == nil
			return v.CheckCall(attest.EdgeSignal, b.run, a.GetSignalName())
		}
		// A workflow sent it: a gate signs for that too. Without a gate it carries the statement by which that workflow acts, of its own start or
		// of this run's family.
		s.ID = from.GetWorkflowId()
		if v.Statement().Edge == attest.EdgeSignal {
			return v.CheckCall(attest.EdgeSignal, b.run, a.GetSignalName())
		}
		if v.CheckCarriedSignal(b.run) == nil {
			return nil
		}
		return v.CheckRun(attest.Run{Namespace: b.Namespace, WorkflowID: from.GetWorkflowId(), RunID: from.GetRunId(), WorkflowType: v.Statement().Binding.WorkflowType})
	})
	if adopted && s.Verdict == Verified {
		s.Kind, s.Name, b.Owner = KindAdopt, "", &s.Attestation.Originator
	}
}

// beganBy are the principals of the run's own statement; none where it is not known.
func (b *builder) beganBy() (out []string) {
	if st := b.Steps[0].Attestation; st != nil {
		out = append(out, st.Originator.Principal, st.Actor.Principal)
		for _, p := range st.Chain {
			out = append(out, p.Principal)
		}
	}
	return out
}

func (b *builder) update(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
		a := e.GetWorkflowExecutionUpdateCompletedEventAttributes()
		i, ok := b.byUpdate[a.GetMeta().GetUpdateId()]
		if !ok {
			return
		}
		s := &b.Steps[i]
		s.Outcome, s.Ended, s.ExecutedBy = "completed", e.GetEventTime().AsTime(), principal(e)
		if a.GetOutcome().GetFailure() != nil {
			s.Outcome = "failed"
		}
		return
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		a := e.GetWorkflowExecutionUpdateAcceptedEventAttributes()
		id := a.GetAcceptedRequest().GetMeta().GetUpdateId()
		if id == "" {
			id = a.GetProtocolInstanceId()
		}
		if i, ok := b.byUpdate[id]; ok { // admitted before; the request is in that event
			b.Steps[i].Outcome = "accepted"
			return
		}
		r := a.GetAcceptedRequest()
		b.admitted(e, id, r.GetMeta().GetIdentity(), r.GetInput().GetName(), r.GetInput().GetHeader(), "accepted")
	default:
		r := e.GetWorkflowExecutionUpdateAdmittedEventAttributes().GetRequest()
		b.admitted(e, r.GetMeta().GetUpdateId(), r.GetMeta().GetIdentity(), r.GetInput().GetName(), r.GetInput().GetHeader(), "admitted")
	}
}

func (b *builder) admitted(e *historypb.HistoryEvent, id, identity, name string, h *commonpb.Header, outcome string) {
	s := b.step(e, KindUpdate)
	s.Name, s.ID, s.Identity, s.Outcome = name, id, identity, outcome
	// Temporal's principal here is the worker that accepted the update: who sent it is known from the attestation only.
	s.ExecutedBy, s.Principal = s.Principal, ""
	b.byUpdate[id] = len(b.Steps) - 1
	b.brings(s, h, func(v attest.Verified) error { return v.CheckCall(attest.EdgeUpdate, b.run, name) })
}

func (b *builder) scheduled(e *historypb.HistoryEvent, kind Kind) *Step {
	s := b.step(e, kind)
	s.Outcome = "scheduled"
	b.bySchedule[e.GetEventId()] = len(b.Steps) - 1
	return s
}

func principal(e *historypb.HistoryEvent) string {
	if p := e.GetPrincipal(); p != nil {
		return fmt.Sprintf("%s:%s", p.GetType(), p.GetName())
	}
	return ""
}

// scheduleID reads the search attribute by which Temporal marks runs that a schedule started: a JSON string.
func scheduleID(a *commonpb.SearchAttributes) string {
	return strings.Trim(string(a.GetIndexedFields()["TemporalScheduledById"].GetData()), `"`)
}
