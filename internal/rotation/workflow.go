package rotation

import (
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Names of the activities; a history knows them by these.
const (
	actAbort   = "bailiwick-rotation-abort"
	actUndo    = "bailiwick-rotation-undo"
	queryState = "state"
	memoKey    = "rotation"
)

// stage is one step of a plan: an activity, or a wait.
type stage struct {
	name, title string
	limit       func(Times) time.Duration                     // how long the activity may take in all; nil: Times.Retry
	wait        func(Work, time.Time) (time.Duration, string) // instead of an activity: how long, and what for
}

// plans say in which order things are done. Whatever may fail comes before the step that can't be undone.
var plans = map[Use][]stage{
	Issuer: {
		{name: "bailiwick-rotation-issuer-plan", title: "look at the issuer's keys"},
		{name: "bailiwick-rotation-issuer-verifiers", title: "every verifier has the next key", limit: func(t Times) time.Duration { return t.Verifiers + t.Heartbeat + time.Minute }},
		{name: "bailiwick-rotation-issuer-announce", title: "put the next key on record"},
		{name: "bailiwick-rotation-issuer-rotate", title: "rotate"},
		{name: "bailiwick-rotation-issuer-record", title: "put the rotation on record"},
		{name: "bailiwick-rotation-issuer-watch", title: "watch for refused tokens", limit: func(t Times) time.Duration { return t.Watch + t.Heartbeat + time.Minute }},
	},
	Client: {
		{name: "bailiwick-rotation-client-plan", title: "look at the service's credentials"},
		{name: "bailiwick-rotation-client-make", title: "make the next credential"},
		{name: "bailiwick-rotation-client-publish", title: "register it at Okta"},
		{name: "bailiwick-rotation-client-prove", title: "fetch a real token with it"},
		{name: "bailiwick-rotation-client-switch", title: "give it to the service"},
		{name: "bailiwick-rotation-client-record", title: "put the rotation on record"},
		{title: "let the old one run on", wait: func(w Work, _ time.Time) (time.Duration, string) {
			return w.Params.Times.Overlap, "until " + w.At.Add(w.Params.Times.Overlap).UTC().Format(time.RFC3339)
		}},
		{name: "bailiwick-rotation-client-confirm", title: "fetch a token as the service does"},
		{name: "bailiwick-rotation-client-retire", title: "retire the old one"},
	},
	Attestation: {
		{name: "bailiwick-rotation-attestation-plan", title: "look at the gate's keys"},
		{name: "bailiwick-rotation-attestation-make", title: "make the next key"},
		{name: "bailiwick-rotation-attestation-published", title: "the gate publishes it"},
		{title: "every worker learns it", wait: func(w Work, now time.Time) (time.Duration, string) {
			return w.Facts.From.Sub(now), "until " + w.Facts.From.UTC().Format(time.RFC3339)
		}},
		{title: "let the old one run out", wait: func(w Work, now time.Time) (time.Duration, string) {
			return w.Facts.Until.Sub(now), "until " + w.Facts.Until.UTC().Format(time.RFC3339)
		}},
		{name: "bailiwick-rotation-attestation-retire", title: "take the old private key away"},
	},
	Checkpoint: {
		{name: "bailiwick-rotation-checkpoint-plan", title: "look at the log's key"},
		{name: "bailiwick-rotation-checkpoint-make", title: "make the next key"},
		{name: "bailiwick-rotation-checkpoint-announce", title: "put it on record in the log"},
		{name: "bailiwick-rotation-checkpoint-link", title: "the log proves, under the old key, that it follows"},
		{name: "bailiwick-rotation-checkpoint-both", title: "both sign checkpoints"},
		{title: "let those who know the old key learn it", wait: checkpointOverlap},
		{name: "bailiwick-rotation-checkpoint-witnesses", title: "every witness takes it", limit: func(t Times) time.Duration { return t.Verifiers + t.Heartbeat + time.Minute }},
		{name: "bailiwick-rotation-checkpoint-switch", title: "the old key stops signing, and is removed"},
		{name: "bailiwick-rotation-checkpoint-record", title: "put the rotation on record", limit: func(Times) time.Duration { return 7 * 24 * time.Hour }}, // there is no way back
	},
}

// machine does one rotation.
type machine struct {
	ctx  workflow.Context
	work Work
	view Rotation
}

// Workflow does one rotation. Its result tells how it ended: that a rotation was aborted is no failure of the workflow.
func Workflow(ctx workflow.Context, p Params) (Rotation, error) {
	plan, known := plans[p.Use]
	if !known || p.Version != Version {
		return Rotation{}, temporal.NewNonRetryableApplicationError("the rotation is of a use or version that this program does not know", "bad_params", nil)
	}
	p.Times = p.Times.withDefaults()
	p.ID = workflow.GetInfo(ctx).WorkflowExecution.RunID
	m := &machine{ctx: ctx, work: Work{Params: p}, view: Rotation{
		Version: Version, ID: p.ID, Use: p.Use, Target: p.Target, State: Running, By: p.By, Reason: p.Reason, Began: workflow.Now(ctx),
	}}
	for _, s := range plan {
		m.view.Steps = append(m.view.Steps, Step{Name: s.name, Title: s.title, State: Pending})
	}
	if err := workflow.SetQueryHandler(ctx, queryState, func() (Rotation, error) { return m.view, nil }); err != nil {
		return Rotation{}, err
	}
	m.remember()
	for i, s := range plan {
		if err := m.do(i, s); err != nil {
			if err := m.abort(i, err); err != nil {
				return m.view, err
			}
			return m.view, nil
		}
	}
	m.view.State, m.view.Ended = Rotated, workflow.Now(ctx)
	if m.view.Refused > 0 {
		why := toldRefused(m.work.Facts)
		m.view.Code, m.view.Detail, m.view.Fix = why.Code, why.Detail, why.Next
	}
	m.remember()
	return m.view, nil
}

// remember keeps the state where lists read it. Only the beginning and the end are: each is an event.
func (m *machine) remember() {
	_ = workflow.UpsertMemo(m.ctx, map[string]any{memoKey: m.view}) // a list that is behind is all that comes of a failure
}

func (m *machine) do(i int, s stage) error {
	step := &m.view.Steps[i]
	step.State, step.Began = Underway, workflow.Now(m.ctx)
	m.work.At = step.Began
	var err error
	if s.wait != nil {
		d, what := s.wait(m.work, step.Began)
		step.Detail = what
		if d > 0 {
			err = workflow.Sleep(m.ctx, d)
		}
	} else {
		var done Done
		if err = m.activity(s.name, s.limit, &done); err == nil {
			m.work.Facts, step.Detail = done.Facts, done.Detail
			f := done.Facts
			m.view.Previous, m.view.Next, m.view.Refused = f.Previous, f.Next, f.Refused
		}
	}
	step.Ended = workflow.Now(m.ctx)
	if err != nil {
		step.State = Failed
		return err
	}
	step.State = Completed
	return nil
}

func (m *machine) activity(name string, limit func(Times) time.Duration, into any) error {
	t := m.work.Params.Times
	whole := t.Retry
	if limit != nil {
		whole = limit(t)
	}
	ctx := workflow.WithActivityOptions(m.ctx, workflow.ActivityOptions{
		ScheduleToCloseTimeout: whole, HeartbeatTimeout: t.Heartbeat,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
	return workflow.ExecuteActivity(ctx, name, m.work).Get(ctx, into)
}

// abort undoes what can be undone, and tells. Both go on when the workflow was canceled.
func (m *machine) abort(i int, cause error) error {
	ctx, cancel := workflow.NewDisconnectedContext(m.ctx)
	defer cancel()
	m.ctx = ctx
	why := faultOf(cause)
	m.work.Fault, m.work.At = &why, workflow.Now(ctx)
	m.view.Code, m.view.Detail, m.view.Fix = why.Code, why.Detail, why.Next
	m.view.Steps[i].Detail = why.Detail
	var done Done
	if err := m.activity(actUndo, nil, &done); err != nil {
		left := faultOf(err)
		m.view.Detail += "; and what was begun could not be undone: " + left.Detail
	} else {
		m.work.Facts = done.Facts
	}
	m.view.State, m.view.Ended = Aborted, workflow.Now(ctx)
	m.work.Fault.Detail = m.view.Detail
	m.remember()
	// On record it must be: a week of a journal that can't be written is a failure of everything else too.
	return m.activity(actAbort, func(Times) time.Duration { return 7 * 24 * time.Hour }, nil)
}

// registry is what a worker, or a test's environment, registers with.
type registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register makes a worker take rotations.
func (s *Service) Register(w registry) {
	w.RegisterWorkflowWithOptions(Workflow, workflow.RegisterOptions{Name: WorkflowName})
	w.RegisterWorkflowWithOptions(Due, workflow.RegisterOptions{Name: DueName})
	for name, a := range s.activities() {
		w.RegisterActivityWithOptions(a, activity.RegisterOptions{Name: name})
	}
}
