package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Codes of firings that are refused although Temporal itself asks.
const (
	// CodeCreatorUnknown: whoever created the schedule is not known, so nobody can say whether it may start anything.
	CodeCreatorUnknown = "schedule_creator_unknown"
)

// scheduledAt is the search attribute in which Temporal names the nominal time of a scheduled run.
const scheduledAt = "TemporalScheduledStartTime"

// scheduleOf returns the schedule that a start of Temporal's own comes from, or "".
func scheduleOf(request any) string {
	r, ok := request.(*workflowservice.StartWorkflowExecutionRequest)
	if !ok {
		return ""
	}
	if by := attributeValues(r.GetSearchAttributes().GetIndexedFields()[scheduledBy]); len(by) == 1 {
		return by[0]
	}
	return ""
}

// fire decides a firing: may whoever created the schedule, or changed it last, start this now? How they had signed in and why they did it is
// as it was then; what they may do, and whether they are barred, is as it is now. The entry's actor stays Temporal, on behalf of them.
func (g *Gate) fire(ctx context.Context, a *Admission, c *Call, schedule string, entry *audit.Entry) *Denial {
	r, ok := c.Request.(*workflowservice.StartWorkflowExecutionRequest)
	if !ok {
		return denyRequest(a.id, errors.New("only a start can be a schedule's firing"))
	}
	a.trigger = g.triggers.of(a.namespace, schedule, nominalTime(r), a.at)
	if id, ok := DecisionOf(a.trigger); ok {
		note(entry, audit.DetailOnBehalf, id)
	}
	payload, carried := r.GetHeader().GetFields()[attest.HeaderKey]
	if !carried && g.cfg.AdoptSchedules {
		note(entry, audit.DetailUnattested, string(attest.CodeMissing))
		return nil
	}
	unknown := func(why string, cause error) *Denial {
		d := &Denial{Code: CodeCreatorUnknown, Hint: "whoever answers for the schedule saves it again (UpdateSchedule)", DecisionID: a.id, Cause: cause, grpc: codes.PermissionDenied}
		d.Message = fmt.Sprintf("schedule %q in namespace %q may not start anything: %s; %s", clip(schedule, 64), clip(a.namespace, 64), why, d.Hint)
		return d
	}
	if !carried {
		return unknown("it was created before there was a gate, so nobody answers for it", nil)
	}
	v, err := g.genuine(payload)
	if err == nil {
		err = v.CheckRun(attest.Run{Namespace: a.namespace, WorkflowID: r.GetWorkflowId(), WorkflowType: r.GetWorkflowType().GetName(), ScheduleID: schedule})
	}
	if err != nil {
		return unknown("its attestation is not genuine or is about something else", err)
	}
	s := v.Statement()
	e, err := g.errands.of(s.ID, a.namespace)
	if errors.Is(err, errErased) {
		note(entry, audit.DetailAttestation, s.ID) // no name: the record would know again who was erased
		return unknown("the data of whoever created it or changed it last were erased, so nobody answers for it", nil)
	}
	onBehalf(entry, s)
	switch {
	case err != nil:
		return unknown("what this gate keeps of whoever created it can't be read", err)
	case e != nil:
		g.errands.drop(a.namespace, schedule, e.At)
	default:
		if e = g.fromStatement(s); e == nil {
			return unknown("this gate has not kept who created it, and the directory does not know them", nil)
		}
	}
	return g.entitled(ctx, a, c, e, entry)
}

// fromStatement stands in for an errand that was not kept here: the statement says who, and the directory which groups they are in.
func (g *Gate) fromStatement(s attest.Statement) *errand {
	if g.cfg.Standing == nil {
		return nil
	}
	person, known := g.cfg.Standing.Person(s.Originator.Principal)
	kind, issuer, id, ok := splitPrincipal(s.Originator.Principal)
	if !known || !ok || len(s.Chain) > 0 {
		return nil
	}
	return &errand{ID: s.ID, Namespace: s.Binding.Namespace, ScheduleID: s.Binding.ScheduleID, At: s.IssuedAt, sender: sender{Reason: s.Reason, Claims: identity.Claims{
		Kind: kind, Issuer: issuer, ID: id, Login: s.Originator.Login, ClientID: s.Originator.ClientID, Groups: person.Groups, AuthTime: s.AuthTime, ACR: s.ACR, IssuedAt: s.IssuedAt,
	}}}
}

// entitled decides the acts of a call in the name of whoever sent Temporal on the errand.
func (g *Gate) entitled(ctx context.Context, a *Admission, c *Call, e *errand, entry *audit.Entry) *Denial {
	now := a.at
	claims := e.Claims
	if g.cfg.Standing != nil {
		if person, ok := g.cfg.Standing.Person(claims.Principal()); ok && person.AsOf.After(e.At) {
			claims.Groups = person.Groups
		} else if lost := g.cfg.Standing.GroupsLost(&claims, now); len(lost) > 0 {
			claims.Groups = newPerson(&claims).without(lost).claims.Groups
			note(entry, "groups_lost", fmt.Sprint(len(lost)))
		}
	}
	// A session that ended or a password that changed takes away tokens, and an errand needs none: only who is barred altogether is stopped.
	claims.IssuedAt, claims.Expires, claims.SessionID = now, now.Add(time.Hour), ""
	if !claims.AuthTime.IsZero() {
		claims.AuthTime = claims.AuthTime.Add(now.Sub(e.At))
	}
	as := &Admission{id: a.id, at: now, namespace: a.namespace, request: c.Request, reason: e.Reason}
	var stood audit.Entry
	var denial *Denial
	as.person, denial = g.stand(a.id, newPerson(&claims), now, &stood)
	for key, value := range stood.Detail {
		note(entry, key, value)
	}
	if denial != nil {
		denial.Message = fmt.Sprintf("%s created schedule %q: %s", clip(claims.Login, 64), clip(e.ScheduleID, 64), denial.Message)
		return denial
	}
	asks, err := c.asks(nil)
	if err != nil {
		return denyRequest(a.id, err)
	}
	req := policy.Request{Principal: as.person.claims, Context: policy.Context{Now: now, SourceIP: e.Source, Reason: e.Reason}}
	for i := range asks {
		k := &asks[i]
		k.resource.ScheduleID = e.ScheduleID
		d, err := g.judge(ctx, as, &req, k)
		if denial, ok := errors.AsType[*Denial](err); ok {
			return denial
		}
		if !d.Allow {
			entry.Decision = &d
			return denyPolicy(a.id, as.person.claims, k, d)
		}
		as.decision = merge(as.decision, d)
	}
	if denial := g.settle(as, entry); denial != nil {
		return denial
	}
	entry.Decision = &as.decision
	entry.Resource.ScheduleID, entry.Reason = e.ScheduleID, e.Reason
	return nil
}

func nominalTime(r *workflowservice.StartWorkflowExecutionRequest) time.Time {
	at := attributeValues(r.GetSearchAttributes().GetIndexedFields()[scheduledAt])
	if len(at) != 1 {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, at[0])
	if err != nil {
		return time.Time{}
	}
	return t.Truncate(time.Second)
}
