package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// ErrNoRun is what a Resolver's error wraps when there is no such workflow or run.
var ErrNoRun = errors.New("there is no such workflow run")

// Execution is what policies may look at of an existing run.
type Execution struct {
	RunID            string
	Type             string
	TaskQueue        string
	SearchAttributes []string // as policy.Resource has them
	Running          bool

	remembered bool // from an answer of a moment ago
}

// Resolver finds out about existing runs, with rights of its own. An empty runID means the workflow's current run.
type Resolver interface {
	Describe(ctx context.Context, namespace, workflowID, runID string) (Execution, error)

	// Started returns the first event of a run's history.
	Started(ctx context.Context, namespace, workflowID, runID string) (*historypb.WorkflowExecutionStartedEventAttributes, error)

	// ActivityQueue returns the task queue of an activity that has not ended. Without a workflow id it is a standalone activity; an empty
	// runID means the current run.
	ActivityQueue(ctx context.Context, namespace, workflowID, runID, activityID string) (string, error)

	// SearchAttributes returns the custom search attributes that are registered in a namespace.
	SearchAttributes(ctx context.Context, namespace string) (map[string]enumspb.IndexedValueType, error)
}

const (
	describeWait = 2 * time.Second // longest wait for a Resolver
	describeKeep = time.Second     // how long an answer is used for; a pinned run id makes an old one harmless
	describeMax  = 4096            // answers kept
)

// runs keeps a Resolver's answers for a moment, because user interfaces and loops ask again at once.
type runs struct {
	resolver Resolver
	clock    func() time.Time

	mu    sync.Mutex // covers known
	known map[runKey]knownRun
}

type runKey struct{ namespace, workflowID, runID string }

type knownRun struct {
	Execution
	until time.Time
}

// describe asks the resolver. fresh passes over what is remembered.
func (r *runs) describe(ctx context.Context, of *policy.Resource, fresh bool) (Execution, error) {
	if r == nil {
		return Execution{}, errors.New("this gate can't look up runs")
	}
	key := runKey{of.Namespace, of.WorkflowID, of.RunID}
	now := r.clock()
	if !fresh {
		r.mu.Lock()
		k, ok := r.known[key]
		r.mu.Unlock()
		if ok && now.Before(k.until) && !now.Before(k.until.Add(-describeKeep)) {
			k.remembered = true
			return k.Execution, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	e, err := r.resolver.Describe(ctx, key.namespace, key.workflowID, key.runID)
	if err != nil {
		return Execution{}, err
	}
	if e.RunID == "" || e.Type == "" || key.runID != "" && e.RunID != key.runID {
		return Execution{}, fmt.Errorf("looking up a run: the answer is about run %q of type %q", e.RunID, e.Type)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= describeMax {
		clear(r.known)
	}
	r.known[key] = knownRun{e, now.Add(describeKeep)}
	return e, nil
}

// pin says that a target of the request stands for one run: the one that was decided on.
type pin struct {
	target            int
	workflowID, runID string
	moving            runKey // under which it was found, if there may be another by now
}

// Missed tells the gate that Temporal did not find what an admitted call was for. It reports whether the run that the call was decided on may have
// ended since it was looked up, as one does that continues as new: the gate has then forgotten it, and who asks again is decided on the run that
// there is.
func (g *Gate) Missed(a *Admission) (again bool) {
	for _, p := range a.pins {
		if p.moving != (runKey{}) {
			again = true
			g.runs.mu.Lock()
			delete(g.runs.known, p.moving)
			g.runs.mu.Unlock()
		}
	}
	return again
}

// decide answers for one act. For an act on an existing run whose type or attributes some policy looks at, it finds them out first: who it
// may be done by, and then whether this run is one. What can't be found out is denied with policy.CodeUnresolved.
//
// The ask's resource is what was decided on in the end. A *Denial as error takes the place of the decision.
func (g *Gate) decide(ctx context.Context, a *Admission, req *policy.Request, k *ask) (policy.Decision, error) {
	if k.run == taskRun {
		return g.decideAnswer(ctx, a, req, k), nil
	}
	req.Action, req.Resource = k.action, k.resource
	if k.run == noRun || k.resource.WorkflowID == "" || k.looked && k.missing == nil || !g.cfg.Policy.Needs(k.action, k.resource.Namespace) {
		return g.cfg.Policy.Decide(*req), nil
	}
	blank := k.resource
	blank.WorkflowType, blank.TaskQueue, blank.SearchAttributes = "", "", nil // to policy, a run without type is one that was not looked up

	// Without the run's attributes the answer may be certain already. Then strangers learn nothing, and nothing is looked up for them.
	req.Resource = blank
	d := g.cfg.Policy.Decide(*req)
	if d.Code != policy.CodeUnresolved {
		return d, nil
	}

	starts := k.resource
	err := g.find(ctx, a, k)
	switch {
	case err == nil:
		req.Resource = k.resource
		d := g.cfg.Policy.Decide(*req)
		if !d.Allow || k.run != currentRun || starts.WorkflowType == "" || k.action == "TerminateWorkflowExecution" {
			return d, nil
		}
		// The run under way may end before Temporal gets the call, which then signals or updates the one that it starts.
		then := g.cfg.Policy.Decide(covered(a, req, starts))
		if !then.Allow {
			k.resource = starts
			return then, nil
		}
		return merge(d, then), nil
	case errors.Is(err, ErrNoRun) && k.run == namedRun && g.mayRead(a, req):
		return d, &Denial{
			Code: CodeNotFound, Message: fmt.Sprintf("there is no workflow %q in namespace %q", clip(k.resource.WorkflowID, 64), clip(k.resource.Namespace, 64)),
			DecisionID: a.id, grpc: codes.NotFound,
		}
	}
	g.cfg.Logger.WarnContext(ctx, "a run could not be looked up", "action", k.action, "decision", a.id, "error", err)
	k.resource = blank
	return d, nil
}

// find looks up the run that an act is on, once, and fills in what it is. A run that can be pinned is.
func (g *Gate) find(ctx context.Context, a *Admission, k *ask) error {
	if k.looked {
		return k.missing
	}
	k.looked = true
	key := runKey{k.resource.Namespace, k.resource.WorkflowID, k.resource.RunID}
	e, err := g.runs.describe(ctx, &k.resource, k.run == currentRun)
	if key.runID != "" || !e.remembered && !e.Running { // the run that the caller means, or one that had ended when it was looked up
		key = runKey{}
	}
	switch {
	case err == nil && (k.run == namedRun || e.Running || k.resource.RunID != ""):
		k.resource.WorkflowType, k.resource.TaskQueue, k.resource.SearchAttributes, k.resource.RunID = e.Type, e.TaskQueue, e.SearchAttributes, e.RunID
		if k.run == namedRun {
			a.pins = append(a.pins, pin{k.target, k.resource.WorkflowID, e.RunID, key})
		}
	case (err == nil || errors.Is(err, ErrNoRun)) && k.run == currentRun && k.resource.WorkflowType != "":
		// No run is under way, so the act is on the one that the call starts, of the type that it says.
	case err == nil:
		k.missing = fmt.Errorf("no run is under way: %w", ErrNoRun)
	default:
		k.missing = err
	}
	return k.missing
}

// mayRead reports whether the caller may know what there is in the namespace at all.
func (g *Gate) mayRead(a *Admission, req *policy.Request) bool {
	look := *req
	look.Action, look.Brief = "DescribeNamespace", true
	return g.cfg.Policy.Decide(covered(a, &look, policy.Resource{Namespace: req.Resource.Namespace})).Allow
}

// covered is the request about another resource: under the grant that is tried only if that covers it too.
func covered(a *Admission, req *policy.Request, resource policy.Resource) policy.Request {
	other := *req
	other.Resource = resource
	if action, _ := policy.LookupAction(other.Action); a.trying != nil && !a.trying.Covers(action, &resource) {
		other.Context.Granted, other.Context.Grant, other.Context.BreakGlass = false, "", false
	}
	return other
}

// pinRuns writes the runs that were decided on into the request, so that Temporal acts on no other.
func (a *Admission) pinRuns(request any) error {
	if len(a.pins) == 0 {
		return nil
	}
	in := targets(request)
	for _, p := range a.pins {
		if p.target >= len(in) || in[p.target].workflowID != p.workflowID || *in[p.target].runID != "" && *in[p.target].runID != p.runID {
			return errors.New("the request is not the one that was decided on")
		}
		*in[p.target].runID = p.runID
	}
	return nil
}
