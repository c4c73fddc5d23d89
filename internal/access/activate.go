package access

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// activate puts an approved request in force. Who has ended it meanwhile wins: after each wait the state is looked at again.
//
//	every step so far is on record → who asked and who approved still may → the activation is on record → group membership → the grant goes out
//
// A crash anywhere leaves either nothing or a grant that this workflow knows it may have published.
func (m *machine) activate(ctx workflow.Context) {
	deadline := workflow.Now(ctx).Add(m.c.Rules.ActivateIn)
	m.putInForce(ctx, deadline)
	m.r.Waiting = ""
	if m.r.State == Approved {
		m.finish(ctx, Expired, "expired", "not_activated_in_time", fmt.Sprintf("it could not be put in force within %s", Spell(m.c.Rules.ActivateIn)), nil)
	}
}

// putInForce leaves the state Approved if it could not.
func (m *machine) putInForce(ctx workflow.Context, deadline time.Time) {
	if !m.onRecord(ctx, deadline) {
		return
	}
	verdict, ok := m.recheck(ctx, m.c.Asked, m.approvers, deadline)
	switch {
	case !ok:
	case verdict.Requester != "":
		m.finish(ctx, Denied, "refused", "requester_not_entitled", verdict.Requester, nil)
	case len(verdict.Lost) > 0:
		m.strike(ctx, verdict.Lost)
	default:
		m.grant(ctx, deadline)
	}
}

// strike takes out approvals of people who may not approve any more; the request waits for others.
func (m *machine) strike(ctx workflow.Context, lost []Lost) {
	why := ""
	for _, l := range lost {
		for i := range m.approvers {
			if m.approvers[i].By.Principal() == l.Principal {
				m.approvers = append(m.approvers[:i:i], m.approvers[i+1:]...)
				m.r.Approvals = append(m.r.Approvals[:i:i], m.r.Approvals[i+1:]...)
				break
			}
		}
		why += l.Login + ": " + l.Why + "; "
	}
	why = why[:len(why)-2]
	m.r.State, m.r.Code, m.r.Text = Pending, "approver_not_entitled", "an approval does not count any more: "+why
	m.event(ctx, "refused", nil, m.r.Text, map[string]string{"approvals": fmt.Sprintf("%d/%d", len(m.approvers), m.r.Needed)})
}

// grant records the activation and publishes it. The time runs from here, also while the feed's store does not answer.
func (m *machine) grant(ctx workflow.Context, deadline time.Time) {
	now := workflow.Now(ctx)
	m.r.Grant, m.r.Expires = grantID(m.c.Asked.ID), now.Add(m.c.Asked.Duration())
	m.revision++
	m.event(ctx, "activated", nil, "", map[string]string{"revision": itoa(int64(m.revision))})
	wanted := func() bool { return m.r.State == Approved }
	if !m.onRecord(ctx, deadline) || !m.join(ctx, deadline) || !wanted() {
		return
	}
	m.published = true // from here on it may have been, whatever the activity says
	var everywhere bool
	if !m.try(ctx, "the feed", deadline, wanted, actPublish, &everywhere, m.granted(now)) || !wanted() {
		return
	}
	m.r.State, m.r.Code, m.r.Text, m.r.Activated, m.r.Settled, m.r.Everywhere = Active, "active", "", now, true, everywhere
	if m.c.Asked.BreakGlass {
		m.r.Review = &Review{Due: now.Add(m.c.Rules.ReviewWithin)}
	}
	m.remember(ctx)
}

// extend gives an active grant the time that was approved. Whatever fails, the grant goes on to the end that it has.
func (m *machine) extend(ctx workflow.Context) {
	e := m.extension
	deadline := m.r.Expires
	wanted := func() bool { return m.r.State == Active && m.extension == e }
	drop := func(code, text string) {
		if wanted() {
			m.event(ctx, "refused", nil, text, map[string]string{"code": code})
			m.extension = nil
			m.remember(ctx)
		}
	}
	verdict, ok := m.recheck(ctx, e.Asked, e.approvers, deadline)
	switch {
	case !wanted():
		return
	case !ok:
		drop("not_activated_in_time", "the extension could not be put in force in time")
		return
	case verdict.Requester != "":
		drop("requester_not_entitled", verdict.Requester)
		return
	case len(verdict.Lost) > 0:
		drop("approver_not_entitled", "the extension's approval does not count any more: "+verdict.Lost[0].Login+": "+verdict.Lost[0].Why)
		return
	}
	before := m.r.Expires
	m.r.Expires = before.Add(e.Asked.Duration())
	m.revision++
	m.event(ctx, "extended", nil, "", map[string]string{"revision": itoa(int64(m.revision)), "before": before.UTC().Format(time.RFC3339Nano)})
	m.r.Expires = before // until gates have been told
	if !m.onRecord(ctx, deadline) || !wanted() || !m.try(ctx, "feed", deadline, wanted, actPublish, nil, m.extended(e, before)) {
		m.r.Waiting = ""
		drop("not_activated_in_time", "the extension could not be put in force in time")
		return
	}
	if !wanted() {
		return
	}
	m.r.Expires, m.extension, m.r.Waiting = before.Add(e.Asked.Duration()), nil, ""
	m.remember(ctx)
}

// onRecord waits until every step so far is durable: no audit, no access.
func (m *machine) onRecord(ctx workflow.Context, deadline time.Time) bool {
	state := m.r.State
	done := func() bool { return m.written == len(m.events) || m.r.State != state }
	if !done() && !wait(ctx, 5*time.Second, done) {
		m.r.Waiting = "the audit log"
		wait(ctx, deadline.Sub(workflow.Now(ctx)), done)
	}
	return m.written == len(m.events) && m.r.State == state
}

// recheck asks whether the requester and the approvers still may.
func (m *machine) recheck(ctx workflow.Context, asked Asked, approvers []Act, deadline time.Time) (v Verdict, ok bool) {
	state := m.r.State
	wanted := func() bool { return m.r.State == state }
	in := Recheck{Asked: asked, Requester: m.c.Requester, At: m.c.At, Approvers: approvers}
	ok = m.try(ctx, "the directory", deadline, wanted, actRecheck, &v, in) && wanted()
	return v, ok
}

// join makes the requester a member of the group, if that is how the grant takes effect. Whether they were one before is asked, and is in the
// history, before anything is changed: a worker that dies after adding them must not take its own doing for theirs.
func (m *machine) join(ctx workflow.Context, deadline time.Time) bool {
	if m.c.Backend != Okta {
		return true
	}
	wanted := func() bool { return m.r.State == Approved }
	who := Membership{Request: m.c.Asked.ID, Group: m.c.Group, User: m.c.Requester.ID, Until: m.r.Expires}
	if !m.checked {
		var ours bool
		if !m.try(ctx, "Okta", deadline, wanted, actGroupBefore, &ours, who) {
			return false
		}
		m.r.Listed, m.checked = ours, true
	}
	if !wanted() {
		return false
	}
	m.published = true // there is something to take back
	return m.try(ctx, "Okta", deadline, wanted, actGroupAdd, nil, who)
}

// try runs an activity in bounded attempts until it succeeds, the deadline passes, or nobody wants it any more.
func (m *machine) try(ctx workflow.Context, what string, deadline time.Time, wanted func() bool, activity string, out any, args ...any) bool {
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		bounded := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: 10 * time.Second, ScheduleToCloseTimeout: 20 * time.Second,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, MaximumAttempts: 5},
		})
		err := workflow.ExecuteActivity(bounded, activity, args...).Get(ctx, out)
		if err == nil {
			return true
		}
		m.r.Waiting = what
		m.log.Warn("an activity failed", "what", what, "request", m.c.Asked.ID, "error", err)
		if !wanted() || !workflow.Now(ctx).Add(pause).Before(deadline) {
			return false
		}
		wait(ctx, pause, func() bool { return !wanted() })
		if !wanted() {
			return false
		}
	}
}

// granted is the feed's event of the current revision.
func (m *machine) granted(now time.Time) standing.Event {
	g := m.c.Asked.grant(m.c.Digest, principals(m.approvers), now, m.r.Expires)
	return standing.Event{ID: fmt.Sprintf("%s/%d", m.c.Asked.ID, m.revision), Kind: standing.EventGrant, At: now.UTC(), Grant: g}
}

// extended is the feed's event of an extension.
func (m *machine) extended(e *extension, before time.Time) standing.Event {
	g := m.c.Asked.grant(m.c.Digest, principals(m.approvers), m.r.Activated, before.Add(e.Asked.Duration()))
	g.Approvers = append(g.Approvers, principals(e.approvers)...)
	return standing.Event{ID: fmt.Sprintf("%s/%d", m.c.Asked.ID, m.revision), Kind: standing.EventGrant, At: m.r.Activated.UTC(), Grant: g}
}

// revoked is the feed's event of a request's end.
func revoked(a Asked, at time.Time) standing.Event {
	return standing.Event{ID: a.ID + "/end", Kind: standing.EventRevoke, At: at.UTC(), Grant: &standing.Grant{ID: grantID(a.ID), Principal: a.Principal, Namespace: a.Namespace, Request: a.ID, Expires: at.UTC()}}
}

// groupLost takes the group out of tokens that were issued while the requester was a member.
func groupLost(c Case, at time.Time) standing.Event {
	return standing.Event{ID: c.Asked.ID + "/group", Kind: standing.EventBar, At: at.UTC(), Bar: &standing.Bar{
		ID: "access/" + c.Asked.ID, Principal: c.Asked.Principal, Group: c.Group, Before: at.UTC(), Reason: "grant_ended", Source: "admin", Since: at.UTC(),
	}}
}

func principals(acts []Act) (out []string) {
	for _, a := range acts {
		out = append(out, a.By.Principal())
	}
	return out
}
