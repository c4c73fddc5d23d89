package gate

import (
	"errors"
	"strings"
	"sync"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// A workflow calls a Nexus operation by a command of its worker, which gets the run's statement (carryNexus). Temporal hands the operation to
// the handler's namespace through the mounting's door, with a request id that it drew, and the gate remembers for whom (handed). What the
// handler starts for the operation names the same request id, and is attested as started by the handler for them (caused).

// Operation is what the mounting knows of a Nexus operation that it hands to a handler, beyond what the request says.
type Operation struct {
	TaskQueue  string   // where the handler takes it
	RequestID  string   // the same at each attempt; handlers repeat it in what they start for the operation. Empty: nothing is to be started
	Statements []string // every value of the Nexus header attest.HeaderKey
}

const (
	// systemEndpoint is Temporal's own; it takes no headers.
	systemEndpoint = "__temporal_system"
	// maxNexusHeader is what Temporal takes for the headers of an operation, in bytes of keys and values.
	maxNexusHeader = 8192
)

// errForeignStatement refuses callers who bring a statement along: a genuine one is another run's, and the door has no place to take it out.
var errForeignStatement = errors.New("the Nexus header " + attest.HeaderKey + " is set by Bailiwick alone; leave it out")

// carryNexus puts the run's statement into an operation's headers, and nothing else under its name. It reports whether something that the
// worker sent there was not the run's.
func carryNexus(o *origin, n *commandpb.ScheduleNexusOperationCommandAttributes) (dropped, tooLong bool) {
	if n.GetEndpoint() == systemEndpoint {
		return attest.StripNexus(n.GetNexusHeader()) > 0, false
	}
	var own string
	if o.attested() {
		own = attest.ToNexus(o.verified.Raw())
	}
	for key, value := range n.GetNexusHeader() {
		dropped = dropped || strings.EqualFold(key, attest.HeaderKey) && value != own
	}
	attest.StripNexus(n.GetNexusHeader())
	if own == "" {
		return dropped, false
	}
	size := len(attest.HeaderKey) + len(own)
	for key, value := range n.GetNexusHeader() {
		size += len(key) + len(value)
	}
	if size > maxNexusHeader {
		return dropped, true // Temporal would fail the workflow's task
	}
	if n.NexusHeader == nil {
		n.NexusHeader = make(map[string]string, 1)
	}
	n.NexusHeader[attest.HeaderKey] = own
	return dropped, false
}

// nexusStatement is the run's statement in an operation that Temporal hands over. A code says why there is none.
func (g *Gate) nexusStatement(o *Operation) (attest.Verified, attest.Code) {
	switch len(o.Statements) {
	case 0:
		return attest.Verified{}, attest.CodeMissing
	case 1:
	default:
		return attest.Verified{}, attest.CodeMalformed
	}
	raw, ok := attest.FromNexus(o.Statements[0])
	if !ok {
		return attest.Verified{}, attest.CodeMalformed
	}
	v, err := g.keys.Verify(raw, g.cfg.Audience)
	if err != nil {
		if e, ok := errors.AsType[*attest.Error](err); ok {
			return attest.Verified{}, e.Code
		}
		return attest.Verified{}, attest.CodeMalformed
	}
	if edge := v.Statement().Edge; edge != attest.EdgeStart && edge != attest.EdgeSchedule {
		return attest.Verified{}, attest.CodeBinding
	}
	return v, ""
}

// handOver completes the entry of an operation that Temporal hands to its handler for a workflow, and remembers for whom it is.
func (g *Gate) handOver(a *Admission, o *Operation, entry *audit.Entry) {
	v, code := g.nexusStatement(o)
	if code != "" {
		note(entry, audit.DetailUnattested, string(code))
		g.handed.learn(a.namespace, o, cause{}, a.at)
		return
	}
	s := v.Statement()
	onBehalf(entry, s)
	g.handed.learn(a.namespace, o, cause{s.Originator, s.ID}, a.at)
}

// caused finds for whom a handler starts something: for the caller of the operation whose request id the start names. What the handler may start
// is decided by its own rights; only the name of the originator is taken over, together with the decision that an auditor finds it by. Nobody
// but a program that may take the operation from its queue is believed, and no statement that it shows is.
func (g *Gate) caused(a *Admission, entry *audit.Entry) {
	var id string
	switch r := a.request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		id = r.GetRequestId()
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		id = r.GetRequestId()
	case *workflowservice.StartActivityExecutionRequest:
		id = r.GetRequestId()
	}
	p := a.person
	if id == "" || p.claims.Kind != identity.Client || len(p.chain) > 0 {
		return
	}
	h, ok := g.handed.of(a.namespace, id, a.at)
	if !ok || h.cause.id == "" || h.cause.originator.Principal == p.originator.Principal {
		return
	}
	takes := g.cfg.Policy.Decide(policy.Request{
		Principal: p.claims, Action: "PollNexusTaskQueue", Resource: policy.Resource{Namespace: a.namespace, TaskQueue: h.queue},
		Context: policy.Context{Now: a.at, SourceIP: a.source},
	})
	if !takes.Allow {
		g.cfg.Logger.Warn("a start names a Nexus operation that its caller may not handle; it stays the caller's own", "decision", a.id)
		return
	}
	a.cause = h.cause
	onBehalf(entry, attest.Statement{ID: h.cause.id, Originator: h.cause.originator})
}

// originator is whoever began the chain of acts, as statements and people are told.
func (a *Admission) originator() attest.Party {
	if a.cause.id != "" {
		return a.cause.originator
	}
	return a.person.originator
}

// cause is for whom an operation is called, and the decision that says so. The zero value: nobody is known.
type cause struct {
	originator attest.Party
	id         string
}

// handed remembers operations, by the handler's namespace and the request id, from when Temporal hands one over until no handler can be at it
// any more. Two generations bound it.
type handed struct {
	mu         sync.Mutex // covers the two below
	young, old map[runKey]handing
}

type handing struct {
	cause cause
	queue string
	until time.Time
}

const (
	handedKeep = 2 * time.Minute // Temporal gives a handler 10 s for an attempt; each attempt is handed over anew
	maxHanded  = 8192            // in each generation
)

// learn remembers one. Two that disagree about for whom an operation is leave nobody: callers from outside choose their request ids.
func (m *handed) learn(namespace string, o *Operation, c cause, now time.Time) {
	if o.RequestID == "" {
		return
	}
	key := runKey{namespace, o.RequestID, ""}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.get(key); ok && now.Before(before.until) && before.cause.originator.Principal != c.originator.Principal {
		c = cause{}
	}
	if m.young == nil || len(m.young) >= maxHanded {
		m.old, m.young = m.young, make(map[runKey]handing, maxHanded/8)
	}
	m.young[key] = handing{c, o.TaskQueue, now.Add(handedKeep)}
}

func (m *handed) of(namespace, requestID string, now time.Time) (handing, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.get(runKey{namespace, requestID, ""})
	return h, ok && now.Before(h.until)
}

// get wants mu.
func (m *handed) get(key runKey) (handing, bool) {
	if h, ok := m.young[key]; ok {
		return h, true
	}
	h, ok := m.old[key]
	return h, ok
}
