package gate

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// AdmitSystem lets through a call of Temporal's own services, which the mounting has already proven to come from inside. Acts in users'
// namespaces are recorded like any other, with those in whose name Temporal acts. The starts of schedules are decided: their creators may
// have lost the right to them. Any error is a *Denial.
func (g *Gate) AdmitSystem(ctx context.Context, c Call) (*Admission, error) {
	now := g.cfg.Clock()
	a := &Admission{id: g.ids.next(now), at: now, namespace: c.namespace()}
	action, known := policy.LookupAction(c.actionName())
	if !known || !action.Mutating || action.Access == policy.Work || a.namespace == systemNamespace {
		return a, nil
	}
	entry := audit.Entry{
		Version: audit.EntryVersion, ID: a.id, Time: now.UTC(), Kind: audit.KindDecision, Gate: g.cfg.Name,
		Actor: audit.Party{Principal: "temporal:internal"}, Action: action.Name, Access: string(action.Access),
		Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"temporal-internal"}},
	}
	c.describeRequest(&entry.Resource)
	if c.Operation != nil {
		g.handOver(a, c.Operation, &entry)
	} else if schedule := scheduleOf(c.Request); schedule != "" {
		entry.Resource.ScheduleID = schedule
		if denial := g.fire(ctx, a, &c, schedule, &entry); denial != nil {
			return nil, g.refuse(ctx, &entry, denial)
		}
	} else if e := g.batchOf(a.namespace, c.Request); e != nil {
		// The batch was decided as a whole, each run that it names by itself.
		a.batch = e
		p := newPerson(&e.Claims)
		onBehalf(&entry, attest.Statement{ID: e.ID, Originator: p.originator})
		note(&entry, audit.DetailOnBehalf, e.ID)
		entry.Reason = e.Reason
	}
	if err := g.append(ctx, &entry); err != nil {
		return nil, denyAudit(a.id)
	}
	return a, nil
}

// batchOf finds the batch that an act of Temporal's own belongs to. Its signature travels in the identity, or in the reason, that the gate
// wrote when it admitted the batch; nobody else can give Temporal's own calls one.
func (g *Gate) batchOf(namespace string, request any) *errand {
	var id string
	if r, ok := request.(interface{ GetIdentity() string }); ok {
		id, _ = DecisionOf(r.GetIdentity())
	}
	if r, ok := request.(interface{ GetReason() string }); ok && id == "" {
		id, _ = DecisionOf(r.GetReason())
	}
	if id == "" {
		return nil
	}
	// One that can't be read any more names nobody: what the batch signals is nobody's, and workers do not take it.
	if e, err := g.errands.of(id, namespace); err == nil && e != nil && e.ScheduleID == "" {
		return e
	}
	return nil
}

// stampSystem adds to Temporal's own calls what it does not carry along itself. A scheduled run's start already has its schedule's statement.
func (g *Gate) stampSystem(a *Admission, req any) error {
	switch r := req.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		if a.trigger != "" {
			setMemo(&r.Memo, FieldTrigger, a.trigger)
		}
	case *workflowservice.SignalWorkflowExecutionRequest:
		if a.batch == nil {
			return nil
		}
		as := *a
		as.person, as.reason, as.grant = newPerson(&a.batch.Claims), a.batch.Reason, a.batch.Grant
		return g.put(&as, &r.Header, attest.EdgeSignal, attest.Binding{
			Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowExecution().GetWorkflowId(), RunID: r.GetWorkflowExecution().GetRunId(), Name: r.GetSignalName(),
		})
	}
	return nil
}
