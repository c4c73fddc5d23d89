package gate

import (
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Stamp signs who did this and why, and puts it into the request's header; copies that the client sent are removed first. It must run after
// Admit and before Temporal sees the request. On an error the call must not go on.
//
// What Temporal does by itself later, for a schedule or a batch, is kept with who asked for it (errand.go).
func (g *Gate) Stamp(a *Admission, req any) error {
	if a.System() {
		return g.stampSystem(a, req)
	}
	if err := a.pinRuns(req); err != nil {
		return fmt.Errorf("pinning the run: %w", err)
	}
	if a.access == policy.Operate {
		a.sign(req)
	}
	switch r := req.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		return g.stampStart(a, r)
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		g.show(r.GetNamespace(), a.visible(), &r.Memo, &r.SearchAttributes)
		// Temporal writes this one header on both events, so one statement names the start and the signal.
		return g.put(a, &r.Header, attest.EdgeStart, attest.Binding{
			Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowId(), WorkflowType: r.GetWorkflowType().GetName(), Name: r.GetSignalName(),
		})
	case *workflowservice.SignalWorkflowExecutionRequest:
		edge := attest.EdgeSignal
		if adopts(r) {
			edge = attest.EdgeAdopt
		}
		return g.put(a, &r.Header, edge, attest.Binding{
			Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowExecution().GetWorkflowId(), RunID: r.GetWorkflowExecution().GetRunId(), Name: r.GetSignalName(),
		})
	case *workflowservice.UpdateWorkflowExecutionRequest:
		return g.stampUpdate(a, r)
	case *workflowservice.QueryWorkflowRequest:
		if r.GetQuery() == nil {
			return nil // Temporal refuses it
		}
		return g.put(a, &r.Query.Header, attest.EdgeQuery, attest.Binding{
			Namespace: r.GetNamespace(), WorkflowID: r.GetExecution().GetWorkflowId(), RunID: r.GetExecution().GetRunId(), Name: r.GetQuery().GetQueryType(),
		})
	case *workflowservice.ExecuteMultiOperationRequest:
		for _, op := range r.GetOperations() {
			var err error
			if start := op.GetStartWorkflow(); start != nil {
				err = g.stampStart(a, start)
			} else if update := op.GetUpdateWorkflow(); update != nil {
				err = g.stampUpdate(a, update)
			}
			if err != nil {
				return err
			}
		}
	case *workflowservice.CreateScheduleRequest:
		if err := g.rememberTriggers(a, r.GetScheduleId(), r.GetInitialPatch()); err != nil {
			return err
		}
		return g.stampSchedule(a, r)
	case *workflowservice.PatchScheduleRequest:
		return g.rememberTriggers(a, r.GetScheduleId(), r.GetPatch())
	case *workflowservice.UpdateScheduleRequest:
		return g.stampSchedule(a, r)
	case *workflowservice.StartActivityExecutionRequest:
		if r.GetActivityId() == "" || r.GetActivityType().GetName() == "" {
			attest.Strip(r.GetHeader())
			return nil // Temporal refuses it
		}
		return g.put(a, &r.Header, attest.EdgeActivity, attest.Binding{
			Namespace: r.GetNamespace(), ActivityID: r.GetActivityId(), Name: r.GetActivityType().GetName(),
		})
	case *workflowservice.StartBatchOperationRequest:
		if err := g.errands.keep(a.errand("")); err != nil {
			return err
		}
		attest.Strip(r.GetSignalOperation().GetHeader())
		for _, op := range r.GetResetOperation().GetPostResetOperations() {
			attest.Strip(op.GetSignalWorkflow().GetHeader())
		}
	case *workflowservice.ResetWorkflowExecutionRequest:
		for _, op := range r.GetPostResetOperations() {
			s := op.GetSignalWorkflow()
			if s == nil {
				continue
			}
			// The run that gets the signal does not exist yet, so the statement names none.
			if err := g.put(a, &s.Header, attest.EdgeSignal, attest.Binding{
				Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowExecution().GetWorkflowId(), Name: s.GetSignalName(),
			}); err != nil {
				return err
			}
		}
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		if err := g.carry(a, r); err != nil {
			return err
		}
		g.showCommands(a, r)
	}
	return nil
}

func (g *Gate) stampStart(a *Admission, r *workflowservice.StartWorkflowExecutionRequest) error {
	g.show(r.GetNamespace(), a.visible(), &r.Memo, &r.SearchAttributes)
	return g.put(a, &r.Header, attest.EdgeStart, attest.Binding{
		Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowId(), WorkflowType: r.GetWorkflowType().GetName(),
	})
}

func (g *Gate) stampUpdate(a *Admission, r *workflowservice.UpdateWorkflowExecutionRequest) error {
	if r.GetRequest().GetInput() == nil {
		return nil // Temporal refuses it
	}
	return g.put(a, &r.Request.Input.Header, attest.EdgeUpdate, attest.Binding{
		Namespace: r.GetNamespace(), WorkflowID: r.GetWorkflowExecution().GetWorkflowId(), RunID: r.GetWorkflowExecution().GetRunId(),
		Name: r.GetRequest().GetInput().GetName(),
	})
}

// stampSchedule signs for each run that the schedule will start. The runs' ids are the base id here plus a time.
func (g *Gate) stampSchedule(a *Admission, r scheduleRequest) error {
	start := r.GetSchedule().GetAction().GetStartWorkflow()
	if start == nil {
		return nil
	}
	g.show(r.GetNamespace(), a.visible(), &start.Memo, &start.SearchAttributes)
	if err := g.errands.keep(a.errand(r.GetScheduleId())); err != nil {
		return err
	}
	return g.put(a, &start.Header, attest.EdgeSchedule, attest.Binding{
		Namespace: r.GetNamespace(), WorkflowID: start.GetWorkflowId(), WorkflowType: start.GetWorkflowType().GetName(), ScheduleID: r.GetScheduleId(),
	})
}

// scheduleRequest is what creating and changing a schedule have in common.
type scheduleRequest interface {
	GetNamespace() string
	GetScheduleId() string
	GetSchedule() *schedulepb.Schedule
}

// put signs one statement and replaces whatever attestation the header held.
func (g *Gate) put(a *Admission, h **commonpb.Header, edge attest.Edge, bind attest.Binding) error {
	attest.Strip(*h)
	p := a.person
	s := attest.Statement{
		Version: attest.Version, ID: a.id, Issuer: g.cfg.Name, Audience: g.cfg.Audience, Edge: edge,
		Originator: a.originator(), Actor: p.actor, Chain: p.chain, Cause: a.cause.id, Reason: a.reason, Grant: a.grant,
		Policies: a.decision.Policies, GroupsDigest: p.groupsDigest,
		AuthTime: p.claims.AuthTime, ACR: p.claims.ACR, Binding: bind, RequestDigest: a.digest, IssuedAt: a.at,
		AuthorityUntil: a.authority(),
	}
	if edge == attest.EdgeSchedule {
		s.AuthorityUntil = time.Time{} // it is looked at anew at each firing (firing.go)
	}
	raw, err := g.cfg.Signer.Sign(s)
	if err != nil {
		return fmt.Errorf("signing the attestation: %w", err)
	}
	if *h == nil {
		*h = &commonpb.Header{}
	}
	if (*h).Fields == nil {
		(*h).Fields = map[string]*commonpb.Payload{}
	}
	(*h).Fields[attest.HeaderKey] = attest.ToPayload(raw)
	return nil
}

// FilterResponse takes out of a response what the caller may not see, where Temporal offers no narrower call.
func (g *Gate) FilterResponse(a *Admission, resp any) {
	list, ok := resp.(*workflowservice.ListNamespacesResponse)
	if !ok || a.System() {
		return
	}
	visible, all := g.cfg.Policy.NamespacesFor(a.person.claims)
	if all {
		return
	}
	visible = g.seenByGrant(a, visible)
	list.Namespaces = slices.DeleteFunc(list.Namespaces, func(n *workflowservice.DescribeNamespaceResponse) bool {
		return !slices.Contains(visible, n.GetNamespaceInfo().GetName())
	})
}
