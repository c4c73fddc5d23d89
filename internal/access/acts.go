package access

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// maxExtensions of one request.
const maxExtensions = 10

// handlers makes the query and the updates. Each update is judged twice by the same code: before it is let into the history, and when it is done.
func (m *machine) handlers(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, queryState, func() (Request, error) { return m.view(), nil }); err != nil {
		return err
	}
	for name, act := range map[string]struct {
		judge func(workflow.Context, *Act) *Refusal
		do    func(workflow.Context, *Act)
	}{
		updateApprove:  {m.mayApprove, m.doApprove},
		updateDeny:     {m.mayDeny, m.doDeny},
		updateWithdraw: {m.mayWithdraw, m.doWithdraw},
		updateReturn:   {m.mayReturn, m.doReturn},
		updateExtend:   {m.mayExtend, m.doExtend},
		updateRevoke:   {m.mayRevoke, m.doRevoke},
		updateReview:   {m.mayReview, m.doReview},
	} {
		judge := func(ctx workflow.Context, a Act) error {
			if m.r.State == "" {
				return applicationError(&Refusal{Status: 503, Code: "not_started", Detail: "the request is only being made", Next: "try again in a moment"})
			}
			if r := act.judge(ctx, &a); r != nil {
				return applicationError(r)
			}
			return nil
		}
		do := func(ctx workflow.Context, a Act) (Request, error) {
			if err := judge(ctx, a); err != nil {
				return Request{}, err
			}
			act.do(ctx, &a)
			return m.view(), nil
		}
		if err := workflow.SetUpdateHandlerWithOptions(ctx, name, do, workflow.UpdateHandlerOptions{Validator: judge}); err != nil {
			return fmt.Errorf("handling %s: %w", name, err)
		}
	}
	return nil
}

// applicationError is a refusal on its way through Temporal.
func applicationError(r *Refusal) error {
	return temporal.NewNonRetryableApplicationError(r.Detail, r.Code, nil, *r)
}

// seeIt is completed by the request's id where that is known.
const seeIt = "see: bailiwick access show"

func conflict(code, format string, args ...any) *Refusal {
	return &Refusal{Status: 409, Code: code, Detail: fmt.Sprintf(format, args...), Next: seeIt}
}

// asked says which of the two a digest means: the request while it is pending, or the extension that waits.
func (m *machine) asked(digest string) (extension bool, r *Refusal) {
	switch {
	case m.r.State == Pending && digest == m.c.Digest:
		return false, nil
	case m.r.State == Active && m.extension != nil && digest == m.extension.Digest:
		return true, nil
	case m.r.State == Pending || m.r.State == Active && m.extension != nil:
		return false, conflict("digest_mismatch", "that is not what is asked for now: look at it again before you decide")
	}
	return false, conflict("not_pending", "it is %s: there is nothing to decide", m.r.State)
}

func (m *machine) mayApprove(_ workflow.Context, a *Act) *Refusal {
	extension, r := m.asked(a.Digest)
	if r != nil {
		return r
	}
	if a.By.Kind != identity.User || len(a.By.Actors) > 0 {
		return &Refusal{Status: 403, Code: "approver_not_a_person", Detail: "only a person can approve, acting for themselves: not a service, and no agent on somebody's behalf"}
	}
	if samePerson(&a.By, &m.c.Requester) {
		return &Refusal{Status: 403, Code: "approver_is_requester", Detail: "nobody approves their own request, through whichever account", Next: "ask somebody else"}
	}
	before, rules := m.approvers, m.c.Rules
	if extension {
		before, rules = m.extension.approvers, m.extension.rules
	}
	if r := rules.stepUp(&a.By, a.At); r != nil {
		return r
	}
	for _, other := range before {
		if samePerson(&a.By, &other.By) {
			return conflict("already_approved", "you have approved it already; it needs others")
		}
	}
	return nil
}

func (m *machine) doApprove(ctx workflow.Context, a *Act) {
	approval := Approval{By: person(&a.By), At: workflow.Now(ctx), Digest: a.Digest, Comment: a.Comment, Decision: a.Decision}
	if e := m.extension; e != nil {
		e.approvers, e.Approvals = append(e.approvers, *a), append(e.Approvals, approval)
		m.event(ctx, "approved", &a.By, aside("the extension", a.Comment), map[string]string{"approvals": fmt.Sprintf("%d/%d", len(e.approvers), e.Needed), "decision": a.Decision})
		return
	}
	m.approvers, m.r.Approvals = append(m.approvers, *a), append(m.r.Approvals, approval)
	if len(m.approvers) >= m.r.Needed {
		m.r.State, m.r.Code, m.r.Text = Approved, "approved", "enough people agreed"
	}
	m.event(ctx, "approved", &a.By, a.Comment, map[string]string{"approvals": fmt.Sprintf("%d/%d", len(m.approvers), m.r.Needed), "decision": a.Decision})
}

func (m *machine) mayDeny(_ workflow.Context, a *Act) *Refusal {
	_, r := m.asked(a.Digest)
	return r
}

func (m *machine) doDeny(ctx workflow.Context, a *Act) {
	if m.extension != nil {
		m.event(ctx, "denied", &a.By, aside("the extension", a.Comment), nil)
		m.extension = nil
		m.remember(ctx)
		return
	}
	m.finish(ctx, Denied, "denied", "denied", a.Comment, &a.By)
}

// own refuses what only the requester may do.
func (m *machine) own(a *Act) *Refusal {
	if a.By.Principal() != m.c.Requester.Principal() {
		return &Refusal{Status: 403, Code: "not_yours", Detail: "only the one who asked can do that", Next: "an administrator of the namespace can revoke it: bailiwick access revoke"}
	}
	return nil
}

func (m *machine) mayWithdraw(_ workflow.Context, a *Act) *Refusal {
	if r := m.own(a); r != nil {
		return r
	}
	if m.r.State == Pending || m.r.State == Approved || m.r.State == Active && m.extension != nil {
		return nil
	}
	next := conflict("not_pending", "it is %s: there is nothing to withdraw", m.r.State)
	if m.r.State == Active {
		next.Next = "give it back: bailiwick access return"
	}
	return next
}

func (m *machine) doWithdraw(ctx workflow.Context, a *Act) {
	if m.r.State == Active {
		m.event(ctx, "withdrawn", &a.By, aside("the extension", a.Comment), nil)
		m.extension = nil
		m.remember(ctx)
		return
	}
	m.finish(ctx, Withdrawn, "withdrawn", "withdrawn", a.Comment, &a.By)
}

func (m *machine) mayReturn(_ workflow.Context, a *Act) *Refusal {
	if r := m.own(a); r != nil {
		return r
	}
	if m.r.State != Active {
		return conflict("not_active", "it is %s: there is nothing to give back", m.r.State)
	}
	return nil
}

func (m *machine) doReturn(ctx workflow.Context, a *Act) {
	m.finish(ctx, Returned, "returned", "returned", a.Comment, &a.By)
}

func (m *machine) mayRevoke(_ workflow.Context, _ *Act) *Refusal {
	if m.r.State.Ended() {
		return conflict("already_ended", "it is %s already", m.r.State)
	}
	return nil
}

func (m *machine) doRevoke(ctx workflow.Context, a *Act) {
	m.finish(ctx, Revoked, "revoked", "revoked", a.Comment, &a.By)
}

func (m *machine) mayExtend(ctx workflow.Context, a *Act) *Refusal {
	if r := m.own(a); r != nil {
		return r
	}
	if m.r.State != Active {
		return conflict("not_active", "it is %s: there is nothing to extend; ask anew", m.r.State)
	}
	if m.extension != nil {
		return conflict("extension_pending", "an extension waits for approval already")
	}
	if m.extensions >= maxExtensions {
		return conflict("too_many_extensions", "it was extended %d times; ask anew", maxExtensions)
	}
	if a.Seconds < minSeconds || a.Seconds > maxSeconds {
		return &Refusal{Status: 400, Code: "duration_out_of_bounds", Detail: fmt.Sprintf("%d s is no possible extension", a.Seconds)}
	}
	until := m.r.Expires.Add(time.Duration(a.Seconds) * time.Second)
	if most := a.Rules.MaxSeconds; most > 0 && until.Sub(workflow.Now(ctx)) > time.Duration(most)*time.Second {
		return &Refusal{Status: 403, Code: "duration_over_limit", Detail: fmt.Sprintf("policy allows %s from now on at most", Spell(time.Duration(most)*time.Second)), Next: "ask for less"}
	}
	return checkReason(a.Comment)
}

func (m *machine) doExtend(ctx workflow.Context, a *Act) {
	asked := m.c.Asked
	asked.Extension, asked.Seconds, asked.Reason = m.nextExtension(), a.Seconds, a.Comment
	m.extension = &extension{Extension: Extension{Asked: asked, Digest: asked.Digest(), Needed: a.Rules.Approvals}, rules: a.Rules}
	m.event(ctx, "requested", &a.By, aside(asked.For()+" more", a.Comment), map[string]string{"decision": a.Decision})
}

// nextExtension counts extensions, also those that came to nothing: each has a digest of its own.
func (m *machine) nextExtension() int {
	m.extensions++
	return m.extensions
}

func (m *machine) mayReview(_ workflow.Context, a *Act) *Refusal {
	switch {
	case m.r.Review == nil:
		return conflict("nothing_to_review", "no glass was broken")
	case m.r.Review.By != nil:
		return conflict("already_reviewed", "%s has reviewed it", m.r.Review.By.Login)
	case a.By.Kind != identity.User || len(a.By.Actors) > 0:
		return &Refusal{Status: 403, Code: "reviewer_not_a_person", Detail: "only a person can review, acting for themselves"}
	case samePerson(&a.By, &m.c.Requester):
		return &Refusal{Status: 403, Code: "reviewer_is_requester", Detail: "nobody reviews what they did themselves, through whichever account", Next: "ask somebody else"}
	}
	return checkReason(a.Comment)
}

func (m *machine) doReview(ctx workflow.Context, a *Act) {
	by := person(&a.By)
	m.r.Review.By, m.r.Review.At, m.r.Review.Justified, m.r.Review.Comment = &by, workflow.Now(ctx), a.Justified, a.Comment
	m.event(ctx, "reviewed", &a.By, a.Comment, map[string]string{"justified": strconv.FormatBool(a.Justified), "decision": a.Decision})
}

// aside joins what an event is about and what somebody said.
func aside(what, said string) string {
	if said == "" {
		return what
	}
	return what + ": " + said
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func join(list []string) string { return strings.Join(list, ",") }

// noticeText is a notice in one line.
func noticeText(event string, r *Request, by, text string) string {
	who := r.Asked.Login
	if who == "" {
		who = r.Asked.Principal
	}
	subject := fmt.Sprintf("%s for %s, %s", r.Asked.What(), who, r.Asked.For())
	if r.Asked.BreakGlass {
		subject = "BREAK-GLASS " + subject
	}
	line := event + ": " + subject
	if by != "" && by != who {
		line += ", by " + by
	}
	if text != "" {
		line += " (" + text + ")"
	}
	return line
}
