package gate

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// Task is what a task token says of the task that a call answers. The token's form is the server's own, so the mounting decodes it. Nobody
// signs a token: it is believed as far as the server goes by the same one.
type Task struct {
	WorkflowID, RunID string // both empty for query and Nexus tasks; a standalone activity has no workflow id
	ActivityID        string
	ActivityType      string
	TaskQueue         string // of query and Nexus tasks, as the server's matching service names it
	ScheduledEventID  int64
}

// tokens remembers from which task queue each task was taken, by its token: the server's tokens do not say it. Two generations bound it;
// what is forgotten, or was taken through another gate, is looked up.
type tokens struct {
	seed       maphash.Seed
	mu         sync.Mutex // covers the two below
	young, old map[uint64]string
}

const maxTokens = 16384 // in each generation

func newTokens() *tokens { return &tokens{seed: maphash.MakeSeed(), young: map[uint64]string{}} }

// learn remembers the queue that a poll took the task from.
func (t *tokens) learn(namespace string, token []byte, queue string) {
	if len(token) == 0 || queue == "" {
		return
	}
	key := t.key(namespace, token)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.young) >= maxTokens {
		t.old, t.young = t.young, make(map[uint64]string, maxTokens/4)
	}
	t.young[key] = queue
}

func (t *tokens) queue(namespace string, token []byte) string {
	key := t.key(namespace, token)
	t.mu.Lock()
	defer t.mu.Unlock()
	if queue, ok := t.young[key]; ok {
		return queue
	}
	return t.old[key]
}

// key is keyed by a secret of the process, so that nobody can make a token that is taken for another.
func (t *tokens) key(namespace string, token []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.WriteString(namespace)
	_ = h.WriteByte(0)
	_, _ = h.Write(token)
	return h.Sum64()
}

// byID adds, for an answer that names its activity by id, the answer by token that it stands for: what it does to the run is decided above,
// and here whether the caller takes tasks from the activity's queue.
func byID(out []ask, request any) []ask {
	if activityOf(request) == "" {
		return out
	}
	own := &out[0]
	return append(out, ask{action: strings.TrimSuffix(own.action, "ById"), run: taskRun, resource: policy.Resource{
		Namespace: own.resource.Namespace, WorkflowID: own.resource.WorkflowID, RunID: own.resource.RunID,
	}})
}

// answered fills in what an answer to a task is about: the run, from the token or the request, and the queue that the task came from, as
// far as the gate remembers it. It returns the ask that is about the task, or nil.
func (g *Gate) answered(a *Admission, asks []ask) *ask {
	k := &asks[0]
	if token, ok := a.request.(interface{ GetTaskToken() []byte }); ok && a.task != nil {
		t := a.task
		k.run, k.resource.WorkflowID, k.resource.RunID = taskRun, t.WorkflowID, t.RunID
		k.resource.TaskQueue = g.tokens.queue(a.namespace, token.GetTaskToken())
		if k.resource.TaskQueue == "" && t.WorkflowID == "" && t.RunID == "" {
			k.resource.TaskQueue = partitioned(t.TaskQueue)
		}
	} else if k = &asks[len(asks)-1]; k.run != taskRun {
		return nil
	}
	if k.resource.WorkflowID != "" && k.resource.RunID != "" {
		a.origin = g.origins.of(runKey{a.namespace, k.resource.WorkflowID, k.resource.RunID})
		a.origin.complete(k, a.request)
	}
	return k
}

// complete fills in what the origin tells of the run of a task.
func (o *origin) complete(k *ask, request any) {
	if o == nil {
		return
	}
	k.resource.WorkflowType = o.run.WorkflowType
	if k.resource.TaskQueue == "" && workflowTask(request) {
		k.resource.TaskQueue = o.queue
	}
}

// decideAnswer decides an answer whose task queue the gate does not remember: it is looked up only where policy asks for it.
func (g *Gate) decideAnswer(ctx context.Context, a *Admission, req *policy.Request, k *ask) policy.Decision {
	req.Action, req.Resource = k.action, k.resource
	if k.resource.TaskQueue != "" {
		return g.cfg.Policy.Decide(*req)
	}
	req.Resource.Unresolved = true
	d := g.cfg.Policy.Decide(*req)
	if d.Code != policy.CodeUnresolved {
		return d
	}
	queue, err := g.taskQueue(ctx, a, k)
	if err != nil || queue == "" {
		g.cfg.Logger.WarnContext(ctx, "the task queue of an answer could not be looked up", "action", k.action, "decision", a.id, "error", err)
		return d
	}
	k.resource.TaskQueue = queue
	req.Resource = k.resource
	return g.cfg.Policy.Decide(*req)
}

// taskQueue looks up which queue an answered task came from.
func (g *Gate) taskQueue(ctx context.Context, a *Admission, k *ask) (string, error) {
	if workflowTask(a.request) {
		if err := g.findOrigin(ctx, a, k); err != nil {
			return "", err
		}
		return a.origin.queue, nil
	}
	id := activityOf(a.request)
	if a.task != nil {
		id = a.task.ActivityID
	}
	if g.cfg.Runs == nil || id == "" {
		return "", errors.New("this gate can't look up the task")
	}
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	return g.cfg.Runs.ActivityQueue(ctx, a.namespace, k.resource.WorkflowID, k.resource.RunID, id)
}

// workflowTask reports whether the request answers a workflow task.
func workflowTask(request any) bool {
	switch request.(type) {
	case *workflowservice.RespondWorkflowTaskCompletedRequest, *workflowservice.RespondWorkflowTaskFailedRequest:
		return true
	}
	return false
}

// activityOf is the activity that a request answers by its id instead of a token.
func activityOf(request any) string {
	switch r := request.(type) {
	case *workflowservice.RecordActivityTaskHeartbeatByIdRequest:
		return r.GetActivityId()
	case *workflowservice.RespondActivityTaskCompletedByIdRequest:
		return r.GetActivityId()
	case *workflowservice.RespondActivityTaskFailedByIdRequest:
		return r.GetActivityId()
	case *workflowservice.RespondActivityTaskCanceledByIdRequest:
		return r.GetActivityId()
	}
	return ""
}

// partitioned is the queue that the name of one of its partitions stands for: "/_sys/QUEUE/N".
func partitioned(name string) string {
	rest, ok := strings.CutPrefix(name, "/_sys/")
	if !ok {
		return name
	}
	if i := strings.LastIndexByte(rest, '/'); i > 0 {
		return rest[:i]
	}
	return name
}

// maxOtherQueues bounds what an entry says about other queues, in bytes.
const maxOtherQueues = 1024

// otherQueues lists the queues besides its own to which a worker's answer sends activities and children. Temporal's workflows do that as a
// matter of course, so it is told and not refused; policies can forbid it for children by Command.StartChildWorkflowExecution.
func otherQueues(request any, own string) string {
	r, ok := request.(*workflowservice.RespondWorkflowTaskCompletedRequest)
	if !ok {
		return ""
	}
	var out []string
	size := 0
	for _, cmd := range r.GetCommands() {
		queue := queueName(cmd.GetScheduleActivityTaskCommandAttributes().GetTaskQueue())
		if queue == "" {
			queue = queueName(cmd.GetStartChildWorkflowExecutionCommandAttributes().GetTaskQueue())
		}
		if queue == "" || queue == own || slices.Contains(out, queue) {
			continue
		}
		if size += len(queue); size > maxOtherQueues {
			return strings.Join(append(out, "…"), ",")
		}
		out = append(out, queue)
	}
	return strings.Join(out, ",")
}
