package rotation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// do is what a step does. It may be done again after it was done: each finds out first what is left to do.
type do func(ctx context.Context, w Work) (Done, error)

// activities are the steps by the names that plans know them by.
func (s *Service) activities() map[string]any {
	all := map[string]any{actDue: s.due}
	for name, f := range map[string]do{
		"bailiwick-rotation-issuer-plan":           s.issuerPlan,
		"bailiwick-rotation-issuer-verifiers":      s.issuerVerifiers,
		"bailiwick-rotation-issuer-announce":       s.issuerAnnounce,
		"bailiwick-rotation-issuer-rotate":         s.issuerRotate,
		"bailiwick-rotation-issuer-record":         s.issuerRecord,
		"bailiwick-rotation-issuer-watch":          s.issuerWatch,
		"bailiwick-rotation-client-plan":           s.clientPlan,
		"bailiwick-rotation-client-make":           s.clientMake,
		"bailiwick-rotation-client-publish":        s.clientPublish,
		"bailiwick-rotation-client-prove":          s.clientProve,
		"bailiwick-rotation-client-switch":         s.clientSwitch,
		"bailiwick-rotation-client-record":         s.clientRecord,
		"bailiwick-rotation-client-confirm":        s.clientConfirm,
		"bailiwick-rotation-client-retire":         s.clientRetire,
		"bailiwick-rotation-attestation-plan":      s.attestationPlan,
		"bailiwick-rotation-attestation-make":      s.attestationMake,
		"bailiwick-rotation-attestation-published": s.attestationPublished,
		"bailiwick-rotation-attestation-retire":    s.attestationRetire,
		"bailiwick-rotation-checkpoint-plan":       s.checkpointPlan,
		"bailiwick-rotation-checkpoint-make":       s.checkpointMake,
		"bailiwick-rotation-checkpoint-announce":   s.checkpointAnnounce,
		"bailiwick-rotation-checkpoint-link":       s.checkpointLink,
		"bailiwick-rotation-checkpoint-both":       s.checkpointBoth,
		"bailiwick-rotation-checkpoint-witnesses":  s.checkpointWitnesses,
		"bailiwick-rotation-checkpoint-switch":     s.checkpointSwitch,
		"bailiwick-rotation-checkpoint-record":     s.checkpointRecord,
		actUndo:                                    s.undo,
		actAbort:                                   s.abort,
	} {
		all[name] = func(ctx context.Context, w Work) (Done, error) {
			ctx, stop := beating(ctx, w.Params.Times.Heartbeat/3)
			defer stop()
			ctx, cancel := inTime(ctx)
			defer cancel()
			defer s.note(w.Params.ID, "")
			done, err := f(ctx, w)
			if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
				s.cfg.Logger.WarnContext(ctx, "a step of a rotation failed", "rotation", w.Params.ID, "use", w.Params.Use, "target", w.Params.Target, "step", name, "error", err)
				s.note(w.Params.ID, err.Error())
			}
			return done, applicationError(err)
		}
	}
	return all
}

// inTime ends a step a little before Temporal gives it up, so that what kept it is told and not only that it was late.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end := activity.GetInfo(ctx).Deadline
	if end.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(5*time.Second, time.Until(end)/4)))
}

// beating tells Temporal that the step lives, until stop, and ends the returned context when Temporal does not want it any more.
func beating(ctx context.Context, every time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(max(every, 10*time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return ctx, func() { cancel(); <-ended }
}

// record puts a key's event on record in the name of whoever asked.
func (s *Service) record(ctx context.Context, w Work, event, kid string, more map[string]string) error {
	e := audit.Entry{Kind: audit.KindKey, Reason: w.Params.Reason, Actor: audit.Party{Principal: w.Params.By.Principal, Login: w.Params.By.Login, ClientID: w.Params.By.ClientID},
		Detail: map[string]string{"event": event, "use": string(w.Params.Use), "target": w.Params.Target, "rotation": w.Params.ID}}
	for k, v := range more {
		if v != "" {
			e.Detail[k] = v
		}
	}
	if kid != "" {
		e.Detail["kid"] = kid
	}
	if w.Params.By.Decision != "" {
		e.Detail["decision"] = w.Params.By.Decision
	}
	if _, err := s.cfg.Recorder.Record(ctx, e); err != nil {
		return auditFault(err)
	}
	return nil
}

func auditFault(err error) *Fault {
	return &Fault{Code: "audit_unavailable", Detail: "the audit log takes no entries, and nothing is rotated without one", Next: "look at the journal's disk", Passing: true, Err: err}
}

// undo takes back what was begun and what nobody uses yet.
func (s *Service) undo(ctx context.Context, w Work) (Done, error) {
	switch w.Params.Use {
	case Client:
		return s.clientUndo(ctx, w)
	case Checkpoint:
		return s.checkpointUndo(ctx, w)
	}
	return Done{Facts: w.Facts}, nil
}

// abort tells of a rotation that was given up.
func (s *Service) abort(ctx context.Context, w Work) (Done, error) {
	why := told{}
	if w.Fault != nil {
		why = *w.Fault
	}
	if err := s.record(ctx, w, "aborted", w.Facts.Next, map[string]string{"previous": w.Facts.Previous, "issuer": w.Facts.Issuer, "code": why.Code, "detail": why.Detail}); err != nil {
		return Done{}, err
	}
	s.cfg.Logger.ErrorContext(ctx, "a rotation was aborted; the old key stays in force", "rotation", w.Params.ID, "use", w.Params.Use, "target", w.Params.Target, "code", why.Code, "detail", why.Detail, "next", why.Next)
	s.alert(ctx, w, Aborted, why)
	return Done{Facts: w.Facts}, nil
}

func (s *Service) alert(ctx context.Context, w Work, state State, why told) {
	s.cfg.Alert(ctx, Rotation{Version: Version, ID: w.Params.ID, Use: w.Params.Use, Target: w.Params.Target, State: state, By: w.Params.By, Reason: w.Params.Reason,
		Previous: w.Facts.Previous, Next: w.Facts.Next, Refused: w.Facts.Refused, Code: why.Code, Detail: why.Detail, Fix: why.Next})
}

// rest waits a moment, or returns the context's error.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// number is a count as an entry's detail has it.
func number[N ~int | ~uint64](n N) string { return strconv.FormatInt(int64(n), 10) }

// plural writes a count with its noun.
func plural[N ~int | ~uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
