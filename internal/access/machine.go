package access

import (
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
)

// machine is one request's life. Workflow code runs one coroutine at a time and changes hands only where it waits, so that what a handler does is
// done at once: of two people who act together one is first, and the other is told.
type machine struct {
	c   Case
	r   Request
	log log.Logger

	approvers []Act // of the request, as in r.Approvals
	extension *extension

	events   []recorded // in order; those before written are durable
	written  int
	noticing int // notices under way

	revision  int  // of the grant; each publication has its own
	published bool // a grant may have reached a gate
	checked   bool // r.Listed is known
	reminded  bool
	escalated int

	extensions int // asked for so far
}

// extension is more time on its way.
type extension struct {
	Extension
	rules     Rules
	approvers []Act
}

func (e *extension) approved() bool { return len(e.approvers) >= e.Needed }

// Workflow is a request from asking to its end, and to its review if it broke glass.
func Workflow(ctx workflow.Context, c Case) (Request, error) {
	// Only the API ends a request: a cancellation, which leaves no word of who and why, changes nothing.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	m := &machine{c: c, log: workflow.GetLogger(ctx)}
	if err := m.handlers(ctx); err != nil {
		return Request{}, err
	}
	workflow.Go(ctx, m.record)
	m.begin(ctx)
	for !m.r.State.Ended() {
		switch m.r.State {
		case Pending:
			m.pend(ctx)
		case Approved:
			m.activate(ctx)
		case Active:
			m.hold(ctx)
		}
	}
	m.cleanUp(ctx)
	m.awaitReview(ctx)
	err := workflow.Await(ctx, func() bool {
		return m.written == len(m.events) && m.noticing == 0 && workflow.AllHandlersFinished(ctx)
	})
	return m.view(), err
}

// begin is the first step: the request is on record before anybody can act on it.
func (m *machine) begin(ctx workflow.Context) {
	now := workflow.Now(ctx)
	c := &m.c
	m.r = Request{Asked: c.Asked, Digest: c.Digest, State: Pending, Requester: person(&c.Requester), Created: now, Lapses: now.Add(c.Rules.ExpireAfter),
		Needed: c.Rules.Approvals, Backend: c.Backend, Group: c.Group, Policies: c.Policies}
	m.event(ctx, "requested", &c.Requester, c.Asked.Reason, nil)
	switch {
	case c.Version != CaseVersion || c.Asked.Version != AskedVersion:
		m.finish(ctx, Denied, "refused", "version_unknown", "the request is of a version that this worker does not know", nil)
	case c.Digest == "" || c.Digest != c.Asked.Digest():
		m.finish(ctx, Denied, "refused", "digest_mismatch", "what is asked for is not what the digest says", nil)
	case c.Requester.Principal() != c.Asked.Principal:
		m.finish(ctx, Denied, "refused", "requester_mismatch", "the request is for somebody else than its requester", nil)
	case c.Asked.BreakGlass && c.Rules.Approvals > 0:
		m.finish(ctx, Denied, "refused", "break_glass_not_allowed", "policy does not let this glass be broken", nil)
	case c.Rules.Approvals == 0:
		m.r.State, m.r.Code, m.r.Text = Approved, "auto_approved", "policy approves it by itself"
		m.event(ctx, "approved", nil, m.r.Text, map[string]string{"approvals": "0/0"})
	}
}

// pend waits for approvals, reminds, escalates, and lets the request lapse.
func (m *machine) pend(ctx workflow.Context) {
	now, rules := workflow.Now(ctx), m.c.Rules
	next := m.r.Lapses
	remind := m.r.Created.Add(rules.RemindAfter)
	if !m.reminded && remind.Before(next) {
		next = remind
	}
	escalate := m.r.Created.Add(rules.Escalate * time.Duration(m.escalated+1))
	if rules.Escalate > 0 && escalate.Before(next) {
		next = escalate
	}
	if wait(ctx, next.Sub(now), func() bool { return m.r.State != Pending }) {
		return
	}
	now = workflow.Now(ctx)
	switch {
	case !now.Before(m.r.Lapses):
		m.finish(ctx, Expired, "expired", "not_approved_in_time", "nobody approved it in time", nil)
	case rules.Escalate > 0 && !now.Before(escalate):
		m.escalated++
		m.reminded = true
		m.event(ctx, "escalated", nil, "it waits for approval since "+Spell(now.Sub(m.r.Created).Round(time.Second)), nil)
	case !m.reminded:
		m.reminded = true
		m.event(ctx, "reminded", nil, "it waits for approval", nil)
	}
}

// hold waits for the end of an active grant, and gives it more time when that is approved.
func (m *machine) hold(ctx workflow.Context) {
	more := func() bool { return m.extension != nil && m.extension.approved() }
	moved := wait(ctx, m.r.Expires.Sub(workflow.Now(ctx)), func() bool { return m.r.State != Active || more() })
	switch {
	case m.r.State != Active:
	case moved && workflow.Now(ctx).Before(m.r.Expires):
		m.extend(ctx)
	case !workflow.Now(ctx).Before(m.r.Expires):
		m.finish(ctx, Expired, "expired", "time_up", "the time that was granted is over", nil)
	}
}

// finish ends the request at once; what is left to do in the world follows in cleanUp.
func (m *machine) finish(ctx workflow.Context, s State, event, code, text string, by *identity.Claims) {
	m.r.State, m.r.Code, m.r.Text, m.r.Ended, m.r.Settled, m.r.Everywhere = s, code, text, workflow.Now(ctx), false, false
	m.extension = nil
	m.event(ctx, event, by, text, nil)
}

// cleanUp takes back what the grant gave. It goes on until it is done: what can't be taken back now is tried until it can.
func (m *machine) cleanUp(ctx workflow.Context) {
	if m.published {
		id := m.c.Asked.ID
		m.mustDo(ctx, "feed", func(ctx workflow.Context) error {
			return workflow.ExecuteActivity(ctx, actPublish, revoked(m.c.Asked, m.r.Ended)).Get(ctx, nil)
		})
		if m.r.Listed {
			var removed bool
			m.mustDo(ctx, "Okta", func(ctx workflow.Context) error {
				return workflow.ExecuteActivity(ctx, actGroupRemove, Membership{Request: id, Group: m.c.Group, User: m.c.Requester.ID}).Get(ctx, &removed)
			})
			if removed { // tokens that were issued meanwhile name the group for as long as they live
				m.mustDo(ctx, "feed", func(ctx workflow.Context) error {
					return workflow.ExecuteActivity(ctx, actPublish, groupLost(m.c, workflow.Now(ctx))).Get(ctx, nil)
				})
			}
		}
		m.event(ctx, "ended", nil, "the grant is taken back", nil)
	}
	_ = workflow.Await(ctx, func() bool { return m.written == len(m.events) }) // fails only when ctx is cancelled, which it never is
	m.r.Settled = true
	m.remember(ctx)
}

// awaitReview keeps a break-glass request open until somebody else has looked at it, and says so ever again.
func (m *machine) awaitReview(ctx workflow.Context) {
	const most = 60 // escalations; the request stays open after them
	for n := 0; m.r.Review != nil && m.r.Review.By == nil; n++ {
		reviewed := func() bool { return m.r.Review.By != nil }
		if n >= most {
			_ = workflow.Await(ctx, reviewed)
			return
		}
		due := m.r.Review.Due.Add(time.Duration(n) * m.c.Rules.ReviewWithin)
		if !wait(ctx, due.Sub(workflow.Now(ctx)), reviewed) {
			m.event(ctx, "escalated", nil, "nobody has reviewed that glass was broken", map[string]string{"review": "overdue"})
		}
	}
}

// event puts a step on record, shows it and sends it out.
func (m *machine) event(ctx workflow.Context, event string, by *identity.Claims, text string, detail map[string]string) {
	now := workflow.Now(ctx)
	id := entryID(m.c.Asked.ID, len(m.events), now)
	e := audit.Entry{ID: id, Time: now.UTC(), Kind: audit.KindAccess, Resource: m.c.Asked.resource(), Reason: m.c.Asked.Reason, Detail: m.detail(event, text)}
	for k, v := range detail {
		e.Detail[k] = v
	}
	if m.published || event == "activated" {
		e.Grant = grantID(m.c.Asked.ID)
	}
	step := Step{At: now, Event: event, Text: text, Entry: id}
	if by != nil {
		e.Actor = party(by)
		step.By = by.Login
		if step.By == "" {
			step.By = by.Principal()
		}
	}
	m.r.Steps = append(m.r.Steps, step)
	loud := event == "escalated" || m.c.Asked.BreakGlass && (event == "requested" || event == "activated")
	view := m.view()
	view.Steps = nil
	m.events = append(m.events, recorded{entry: e, notice: &Notice{ID: id, Event: event, At: now, Text: noticeText(event, &view, step.By, text), Loud: loud, Request: view}})
	m.remember(ctx)
}

// detail is what every entry of the request says.
func (m *machine) detail(event, text string) map[string]string {
	a := &m.c.Asked
	d := map[string]string{"event": event, "request": a.ID, "digest": m.c.Digest, "requester": a.Principal, "requester_login": a.Login, "seconds": itoa(a.Seconds), "backend": m.c.Backend}
	for k, v := range map[string]string{"role": a.Role, "actions": join(a.Actions), "text": text, "code": m.r.Code, "group": m.c.Group} {
		if v != "" {
			d[k] = v
		}
	}
	if a.BreakGlass {
		d["break_glass"] = "true"
	}
	if !m.r.Expires.IsZero() {
		d["expires"] = m.r.Expires.UTC().Format(time.RFC3339Nano)
	}
	if e := m.extension; e != nil {
		d["extension"], d["extension_digest"], d["extension_seconds"] = itoa(int64(e.Asked.Extension)), e.Digest, itoa(e.Asked.Seconds)
	}
	return d
}

// record writes entries in order, each until it is durable, and then lets its notice go out.
func (m *machine) record(ctx workflow.Context) {
	for {
		if workflow.Await(ctx, func() bool { return m.written < len(m.events) }) != nil {
			return
		}
		next := m.events[m.written]
		m.mustDo(ctx, "audit log", func(ctx workflow.Context) error {
			return workflow.ExecuteActivity(ctx, actRecord, next.entry).Get(ctx, nil)
		})
		m.written++
		m.events[m.written-1].entry = audit.Entry{} // written: only its place counts
		m.notify(ctx, next.notice)
	}
}

// notify sends a notice to every channel, each by itself and without anybody waiting for it.
func (m *machine) notify(ctx workflow.Context, n *Notice) {
	limit := time.Hour
	if n.Loud {
		limit = 24 * time.Hour
	}
	for _, channel := range m.c.Channels {
		m.noticing++
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer func() { m.noticing-- }()
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
				StartToCloseTimeout: 30 * time.Second, ScheduleToCloseTimeout: limit,
				RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 5 * time.Minute},
			})
			if err := workflow.ExecuteActivity(ctx, actNotify, channel, *n).Get(ctx, nil); err != nil {
				m.log.Error("a notice could not be delivered", "request", m.c.Asked.ID, "event", n.Event, "channel", channel, "error", err)
			}
		})
	}
}

// mustDo tries an activity until it succeeds, however long that takes.
func (m *machine) mustDo(ctx workflow.Context, what string, do func(workflow.Context) error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 15 * time.Second, RetryPolicy: &temporal.RetryPolicy{
		InitialInterval: 200 * time.Millisecond, MaximumInterval: 15 * time.Second,
	}})
	for {
		err := do(ctx)
		if err == nil {
			return
		}
		m.log.Error("an activity failed for good; trying again in a minute", "what", what, "request", m.c.Asked.ID, "error", err)
		_ = workflow.Sleep(ctx, time.Minute)
	}
}

// remember puts what lists show into the run's memo.
func (m *machine) remember(ctx workflow.Context) {
	v := m.view()
	v.Steps = nil
	if err := workflow.UpsertMemo(ctx, map[string]any{memoKey: v}); err != nil {
		m.log.Error("the memo could not be changed", "request", m.c.Asked.ID, "error", err)
	}
}

// memoKey names the summary in a run's memo. Names that begin with "Bailiwick" are the gate's.
const memoKey = "access-request"

// view is the request as people see it now.
func (m *machine) view() Request {
	v := m.r
	v.ID = m.c.Asked.ID
	if m.extension != nil {
		x := m.extension.Extension
		v.Extension = &x
	}
	if m.r.Review != nil {
		r := *m.r.Review
		v.Review = &r
	}
	return v
}

// wait waits for a condition, for d at most, and reports whether it came true.
func wait(ctx workflow.Context, d time.Duration, cond func() bool) bool {
	if cond() {
		return true
	}
	if d <= 0 {
		return false
	}
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel() // ends the timer
	ok, err := workflow.AwaitWithTimeout(ctx, d, cond)
	return ok && err == nil
}
