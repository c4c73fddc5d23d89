package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
)

// scheduledBy is the search attribute in which Temporal names the schedule that started a run.
const scheduledBy = "TemporalScheduledById"

// origin is how a run came to be, from its WorkflowExecutionStarted event, which never changes. It is shared and read only.
type origin struct {
	run      attest.Run
	queue    string            // of its workflow tasks
	verified attest.Verified   // the run's own statement, or the one that its parent carried to it; zero without one
	payload  *commonpb.Payload // the same as it stands in history
	problem  string            // why there is none: a code of package attest
}

// attested reports whether the run has a genuine statement about itself or its family.
func (o *origin) attested() bool { return o != nil && o.payload != nil }

// originOf reads the event. A statement that is not genuine, or about something else, counts as none: the run goes on, unattested.
func (g *Gate) originOf(key runKey, s *historypb.WorkflowExecutionStartedEventAttributes) *origin {
	o := &origin{queue: queueName(s.GetTaskQueue()), run: attest.Run{
		Namespace: key.namespace, WorkflowID: key.workflowID, RunID: key.runID, WorkflowType: s.GetWorkflowType().GetName(),
		FirstRunID: s.GetFirstExecutionRunId(), ContinuedRunID: s.GetContinuedExecutionRunId(), OriginalRunID: s.GetOriginalExecutionRunId(),
		RootWorkflowID: s.GetRootWorkflowExecution().GetWorkflowId(), RootRunID: s.GetRootWorkflowExecution().GetRunId(),
	}}
	if parent := s.GetParentWorkflowExecution(); parent != nil {
		o.run.ParentNamespace, o.run.ParentWorkflowID, o.run.ParentRunID = s.GetParentWorkflowNamespace(), parent.GetWorkflowId(), parent.GetRunId()
	}
	if by := attributeValues(s.GetSearchAttributes().GetIndexedFields()[scheduledBy]); len(by) == 1 {
		o.run.ScheduleID = by[0]
	}
	payload, ok := s.GetHeader().GetFields()[attest.HeaderKey]
	if !ok {
		o.problem = string(attest.CodeMissing)
		return o
	}
	v, err := g.genuine(payload)
	if err == nil {
		err = v.CheckRun(o.run)
	}
	if err != nil {
		o.problem = string(attest.CodeMalformed)
		if e, ok := errors.AsType[*attest.Error](err); ok {
			o.problem = string(e.Code)
		}
		return o
	}
	o.verified, o.payload = v, proto.Clone(payload).(*commonpb.Payload)
	return o
}

// genuine verifies what a header field holds.
func (g *Gate) genuine(p *commonpb.Payload) (attest.Verified, error) {
	raw, ok := attest.FromPayload(p)
	if !ok {
		return attest.Verified{}, &attest.Error{Code: attest.CodeMalformed, Detail: "the header field is not an attestation"}
	}
	return g.keys.Verify(raw, g.cfg.Audience)
}

// lineage is the field by which an activity learns of which family its run is, where its run alone would not do for its check of v.
func (o *origin) lineage(v attest.Verified) *commonpb.Payload {
	r := o.run
	if v.CheckRun(attest.Run{Namespace: r.Namespace, WorkflowID: r.WorkflowID, RunID: r.RunID, WorkflowType: r.WorkflowType}) == nil {
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data}
}

// describe writes into an entry on whose behalf the run is. Its actor stays whoever made the call.
func (o *origin) describe(e *audit.Entry) {
	if o == nil {
		return
	}
	if e.Detail == nil {
		e.Detail = make(map[string]string, 3)
	}
	if !o.attested() {
		e.Detail[audit.DetailUnattested] = o.problem
		return
	}
	onBehalf(e, o.verified.Statement())
}

// onBehalf names the originator and the decision that a statement stands for.
func onBehalf(e *audit.Entry, s attest.Statement) {
	if e.Detail == nil {
		e.Detail = make(map[string]string, 3)
	}
	e.Detail[audit.DetailOriginator], e.Detail[audit.DetailAttestation] = s.Originator.Principal, s.ID
	if s.Originator.Login != "" {
		e.Detail[audit.DetailOriginatorLogin] = s.Originator.Login
	}
}

// origins remembers runs' origins: about 2 KB each, in two generations.
type origins struct {
	mu         sync.Mutex // covers the two below
	young, old map[runKey]*origin
}

const maxOrigins = 4096 // in each generation

func (m *origins) of(key runKey) *origin {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.young[key]; ok {
		return o
	}
	o, ok := m.old[key]
	if ok {
		m.put(key, o) // still in use
	}
	return o
}

func (m *origins) learn(key runKey, o *origin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, o)
}

// put wants mu.
func (m *origins) put(key runKey, o *origin) {
	if m.young == nil || len(m.young) >= maxOrigins {
		m.old, m.young = m.young, make(map[runKey]*origin, maxOrigins/4)
	}
	m.young[key] = o
}

// answer completes the entry of a worker's answer that policy allows: on whose behalf the run is, and where its answer sends work. An answer
// that must carry the run's statement on can't go through while it is not known which that is.
func (g *Gate) answer(ctx context.Context, a *Admission, k *ask, e *audit.Entry) *Denial {
	if err := g.findOrigin(ctx, a, k); err != nil && g.cfg.Runs != nil && err != errNoWorkflow {
		if carries(a.request) {
			return &Denial{Code: CodeRunUnknown, DecisionID: a.id, Cause: err, grpc: codes.Unavailable,
				Message: "the run's first event could not be read, so its attestation can't be carried on; the worker may try again"}
		}
		g.cfg.Logger.WarnContext(ctx, "an answer is recorded without its run's originator", "decision", a.id, "error", err)
	}
	a.origin.complete(k, a.request)
	a.origin.describe(e)
	if queues := otherQueues(a.request, k.resource.TaskQueue); queues != "" {
		if e.Detail == nil {
			e.Detail = make(map[string]string, 1)
		}
		e.Detail[audit.DetailOtherQueues] = queues
	}
	return nil
}

var errNoWorkflow = errors.New("the task is of no workflow")

// findOrigin makes sure that a.origin is known, from memory or, once for each run, from its history.
func (g *Gate) findOrigin(ctx context.Context, a *Admission, k *ask) error {
	if a.origin != nil {
		return nil
	}
	key := runKey{a.namespace, k.resource.WorkflowID, k.resource.RunID}
	if key.workflowID == "" {
		return errNoWorkflow
	}
	if key.runID == "" { // an activity named by its id, in whatever run is under way
		e, err := g.runs.describe(ctx, &k.resource, false)
		if err != nil {
			return err
		}
		key.runID = e.RunID
	}
	if a.origin = g.origins.of(key); a.origin != nil {
		return nil
	}
	if g.cfg.Runs == nil {
		return errors.New("this gate can't look up runs")
	}
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	started, err := g.cfg.Runs.Started(ctx, key.namespace, key.workflowID, key.runID)
	if errors.Is(err, ErrNoRun) {
		a.origin = &origin{problem: string(attest.CodeMissing)} // Temporal will say so; until then nothing is accepted for it
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking up how the run came to be: %w", err)
	}
	a.origin = g.originOf(key, started)
	g.remember(key, a.origin)
	return nil
}

// remember keeps an origin, unless a newer key set could tell more about it.
func (g *Gate) remember(key runKey, o *origin) {
	if o.problem != string(attest.CodeKeyUnknown) {
		g.origins.learn(key, o)
	}
}

// Learn takes from a response what later calls about the same runs and tasks need, so that they cost no look-up. The mounting calls it for
// each response of a call that was admitted, before the caller gets it.
func (g *Gate) Learn(a *Admission, req, resp any) {
	if _, ok := resp.(*operatorservice.AddSearchAttributesResponse); ok { // the server's own call too
		g.attributes.added(a.namespace)
	}
	if a.System() {
		return
	}
	switch r := resp.(type) {
	case *workflowservice.PollWorkflowTaskQueueResponse:
		if poll, ok := req.(*workflowservice.PollWorkflowTaskQueueRequest); ok {
			g.tokens.learn(a.namespace, r.GetTaskToken(), queueName(poll.GetTaskQueue()))
		}
		g.learnRun(a, r)
	case *workflowservice.PollActivityTaskQueueResponse:
		if poll, ok := req.(*workflowservice.PollActivityTaskQueueRequest); ok {
			g.tokens.learn(a.namespace, r.GetTaskToken(), queueName(poll.GetTaskQueue()))
		}
	case *workflowservice.PollNexusTaskQueueResponse:
		if poll, ok := req.(*workflowservice.PollNexusTaskQueueRequest); ok {
			g.tokens.learn(a.namespace, r.GetTaskToken(), queueName(poll.GetTaskQueue()))
		}
	case *workflowservice.RespondWorkflowTaskCompletedResponse:
		g.learnRun(a, r.GetWorkflowTask())
		if done, ok := req.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok && len(r.GetActivityTasks()) > 0 {
			g.learnEager(a, done, r)
		}
	case *workflowservice.DeleteScheduleResponse:
		if gone, ok := req.(*workflowservice.DeleteScheduleRequest); ok && gone.GetScheduleId() != "" {
			g.errands.drop(a.namespace, gone.GetScheduleId(), time.Time{})
			g.triggers.drop(a.namespace, gone.GetScheduleId())
		}
	case *workflowservice.StartWorkflowExecutionResponse:
		g.learnRun(a, r.GetEagerWorkflowTask())
	}
}

// learnRun learns from a workflow task, whose history begins with the run's first event unless the worker is known to hold that already.
func (g *Gate) learnRun(a *Admission, task *workflowservice.PollWorkflowTaskQueueResponse) {
	events := task.GetHistory().GetEvents()
	if len(events) == 0 || events[0].GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED {
		return
	}
	key := runKey{a.namespace, task.GetWorkflowExecution().GetWorkflowId(), task.GetWorkflowExecution().GetRunId()}
	if key.workflowID == "" || key.runID == "" || g.origins.of(key) != nil {
		return
	}
	g.remember(key, g.originOf(key, events[0].GetWorkflowExecutionStartedEventAttributes()))
}

// learnEager learns from which queue the activities would have come that the worker was handed at once. Temporal hands out only those for
// the worker's own queue; the command says which that is.
func (g *Gate) learnEager(a *Admission, req *workflowservice.RespondWorkflowTaskCompletedRequest, resp *workflowservice.RespondWorkflowTaskCompletedResponse) {
	for _, task := range resp.GetActivityTasks() {
		for _, cmd := range req.GetCommands() {
			if s := cmd.GetScheduleActivityTaskCommandAttributes(); s != nil && s.GetActivityId() == task.GetActivityId() {
				queue := queueName(s.GetTaskQueue())
				if queue == "" && a.origin != nil {
					queue = a.origin.queue
				}
				g.tokens.learn(a.namespace, task.GetTaskToken(), queue)
			}
		}
	}
}
