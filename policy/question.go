package policy

import (
	"iter"
	"slices"
	"strings"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// question is one request on its way through the policies. It lives for one decision.
type question struct {
	request  Request // a copy, so that the caller's stays on its stack
	set      *Set
	action   *actionInfo
	p        *principal
	ns       *namespace
	resource *Resource
	context  *Context
	here     roleBits   // that the principal has in the action's namespace
	always   roleBits   // that it has in every namespace
	queues   []string   // that it is confined to in that namespace; nil: it is not confined
	extra    *roleGrant // a role that it is supposed to have besides
	unknown  looks      // attributes that the request does not tell
	id       string     // of the workflow, task queue or schedule, without its namespace
	nameless bool       // unknown which workflow, task queue or schedule it is about

	brief      bool // what would help is not asked for
	groupsOpen bool // unknown which other groups the principal is in: only for asking who can, never for deciding

	out   outcome
	looks looks // what the policies left to Cedar look at
	uid   types.EntityUID
	room  [12][]*rule
}

// questions are used again: a decision should leave no garbage.
var questions = sync.Pool{New: func() any { return new(question) }}

// outcome is what the policies said. A policy that failed is in none of the lists.
type outcome struct {
	permits, forbids matches
	maybe            matches // whether these match depends on what is unknown
	failed           []failure
}

// matches are policies; the first has a place of its own because there is seldom another.
type matches struct {
	first *rule
	more  []*rule
}

func (m *matches) add(r *rule) {
	if m.first == nil {
		m.first = r
	} else {
		m.more = append(m.more, r)
	}
}

func (m *matches) all() []*rule {
	if m.first == nil {
		return nil
	}
	all := append([]*rule{m.first}, m.more...)
	slices.SortFunc(all, func(a, b *rule) int { return strings.Compare(a.id, b.id) }) // the order of the index means nothing
	return all
}

type failure struct {
	rule *rule
	text string
}

func (o *outcome) add(r *rule) {
	if r.forbids {
		o.forbids.add(r)
	} else {
		o.permits.add(r)
	}
}

// prepare fills a zero question.
func (s *Set) prepare(q *question, a *actionInfo, p *principal, req *Request) {
	q.request, q.set, q.action, q.p = *req, s, a, p
	q.resource, q.context = &q.request.Resource, &q.request.Context
	resource := q.resource
	switch a.Scope {
	case ScopeCluster:
		q.ns = s.nowhere
	case ScopeNamespace:
		q.ns = s.namespaces.get(resource.Namespace, s.newNamespace)
	case ScopeWorkflow:
		q.ns, q.id = s.namespaces.get(resource.Namespace, s.newNamespace), resource.WorkflowID
	case ScopeTaskQueue:
		q.ns, q.id = s.namespaces.get(resource.Namespace, s.newNamespace), resource.TaskQueue
	case ScopeSchedule:
		q.ns, q.id = s.namespaces.get(resource.Namespace, s.newNamespace), resource.ScheduleID
	}
	q.always = p.everywhere
	if a.Scope != ScopeCluster {
		q.here, q.queues = p.in[resource.Namespace], p.holdings.queues[resource.Namespace]
	}
	// A request for access to a whole namespace is about no run. One that names a workflow is about a run, which has a type.
	existing := a.existing && (a.Access != Delegate || resource.WorkflowID != "")
	if resource.Unresolved || existing && resource.WorkflowType == "" {
		q.unknown = unknownOf(a, resource)
		q.nameless = resource.Unresolved && q.id == "" && a.Scope != ScopeNamespace && a.Scope != ScopeCluster
	}
}

// unknownOf lists the attributes that the request leaves open. What exists has a type; a request that does not say which was
// not looked up, so that its other attributes are unknown too.
func unknownOf(a *actionInfo, r *Resource) looks {
	var open looks
	empty := func(value string, bits looks) {
		if value == "" {
			open |= bits
		}
	}
	empty(r.WorkflowType, looksType)
	empty(r.TaskQueue, looksTaskQueue|looksQueue)
	if len(r.SearchAttributes) == 0 {
		open |= looksSearchAttributes
	}
	empty(r.RunID, looksRunID)
	if a.Scope == ScopeSchedule {
		empty(r.WorkflowID, looksWorkflowID)
	}
	if !r.Unresolved {
		return open
	}
	empty(r.Cron, looksCron)
	empty(r.Versioning, looksVersioning)
	empty(r.WorkflowID, looksWorkflowID)
	switch a.Scope {
	case ScopeWorkflow:
		empty(r.WorkflowID, looksID|looksWhole)
	case ScopeTaskQueue:
		empty(r.TaskQueue, looksName|looksWhole)
	case ScopeSchedule:
		empty(r.ScheduleID, looksID|looksWhole)
	}
	return open
}

// suppose gives the principal one more role, in the action's namespace or everywhere.
func (q *question) suppose(g roleGrant) {
	q.extra = &g
	if g.namespace == everyNamespace {
		q.always |= roleBit(g.role)
	} else {
		q.here |= roleBit(g.role)
	}
	if g.role == RoleWorker {
		q.queues = nil
	}
}

// whole is the principal as Cedar needs it, with the supposed role.
func (q *question) whole() *principal {
	if q.extra != nil {
		q.p, q.extra = q.set.newPrincipal(q.p.claims, q.p.holdings.with(*q.extra)), nil
	}
	return q.p
}

// mayTake reports whether the task queue is one that the principal is confined to.
func (q *question) mayTake() bool { return slices.Contains(q.queues, q.resource.TaskQueue) }

// ask puts the question to every policy whose scope could match.
func (q *question) ask() {
	found := candidates{groups: q.room[:0]}
	q.collect(&found)
	cedarToo := false
	for _, rules := range found.groups {
		for _, r := range rules {
			switch {
			case r.looks&q.unknown != 0:
				q.openAsk(r, false)
			case r.quick == nil:
				cedarToo, q.looks = true, q.looks|r.looks
			default:
				switch r.quick(q) {
				case yes:
					q.out.add(r)
				case fail: // let Cedar say why
					cedarToo, q.looks = true, q.looks|r.looks
				}
			}
		}
	}
	if cedarToo {
		q.askCedar()
	}
	if q.nameless {
		for name, key := range q.ns.named {
			if name.of != q.action.of {
				continue
			}
			var unsure candidates
			unsure.collectNamed(q.action, q.p.keys, key)
			for _, rules := range unsure.groups {
				for _, r := range rules {
					q.openAsk(r, true)
				}
			}
		}
	}
}

func (q *question) collect(found *candidates) {
	named := noKey
	if len(q.ns.named) > 0 && !q.nameless {
		if key, ok := q.ns.named[entityName{q.action.of, q.id}]; ok {
			named = key
		}
	}
	found.collect(q.action, q.p.keys, q.ns.inKeys, named)
}

// askCedar evaluates the policies that have no quick form.
func (q *question) askCedar() {
	var found candidates
	q.collect(&found)
	var rest []*rule
	for _, rules := range found.groups {
		for _, r := range rules {
			if r.looks&q.unknown == 0 && (r.quick == nil || r.quick(q) == fail) {
				rest = append(rest, r)
			}
		}
	}
	_, diagnostic := cedar.Authorize(cedarRules(rest), q.entities(q.looks), q.cedarRequest(q.looks))
	// Cedar lists the permits or the forbids that matched, whichever decide. Where a forbid matched, permits are of no interest.
	for _, reason := range diagnostic.Reasons {
		q.out.add(q.set.policies[reason.PolicyID])
	}
	for _, e := range diagnostic.Errors {
		q.out.failed = append(q.out.failed, failure{q.set.policies[e.PolicyID], e.Message})
	}
}

// entities and request are the question as Cedar wants it, with nothing in it that is not looked at.
func (q *question) entities(seen looks) *entities {
	return &entities{set: q.set, p: q.whole(), ns: q.ns, uid: q.entity(), resource: q.resource, looks: seen}
}

func (q *question) cedarRequest(seen looks) types.Request {
	return types.Request{Principal: q.whole().uid, Action: q.action.uid, Resource: q.entity(), Context: circumstances(seen, q.whole(), q.resource, q.context)}
}

// entity names what the action acts on. Workflows, task queues and schedules are "NAMESPACE/ID", which has one reading because a
// namespace has no slash.
func (q *question) entity() types.EntityUID {
	if q.uid.Type == "" {
		switch q.action.Scope {
		case ScopeCluster:
			q.uid = clusterUID
		case ScopeNamespace:
			q.uid = q.ns.uid
		default:
			q.uid = types.NewEntityUID(q.action.of, types.String(q.resource.Namespace+"/"+q.id))
		}
	}
	return q.uid
}

// cedarRules makes rules a policy iterator for Cedar. They come out of the index, which has settled their action scopes.
type cedarRules []*rule

// All implements cedar.PolicyIterator.
func (rules cedarRules) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range rules {
			if !yield(r.pid(), r.unscoped) {
				return
			}
		}
	}
}
