package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
)

// Fault is why a step can't be done. Code is stable.
type Fault struct {
	Code    string
	Detail  string
	Next    string        // what an operator can do
	Passing bool          // it may pass: the step is tried again for a while
	After   time.Duration // when it makes sense to try again, if that is known
	Err     error         // for operators' logs; may be nil
}

func (f *Fault) Error() string {
	if f.Err != nil {
		return f.Code + ": " + f.Detail + ": " + f.Err.Error()
	}
	return f.Code + ": " + f.Detail
}

func (f *Fault) Unwrap() error { return f.Err }

func unknownTarget(use Use, id string) *Fault {
	return &Fault{Code: "target_unknown", Detail: fmt.Sprintf("no %s key %.80q is rotated here", use, id), Next: "bailiwick keys status lists what is"}
}

// told is a fault as Temporal carries it, in the details of an application error.
type told struct {
	Code, Detail, Next string
}

// applicationError makes Temporal try again what may pass, and give up what will not.
func applicationError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var f *Fault
	if !errors.As(err, &f) {
		f = &Fault{Code: "step_failed", Detail: err.Error(), Next: "the control plane's log says more; ask for the rotation again when the cause is gone", Passing: true}
	}
	detail := f.Detail
	if f.Err != nil {
		detail += ": " + f.Err.Error()
	}
	return temporal.NewApplicationErrorWithOptions(f.Code+": "+detail, f.Code, temporal.ApplicationErrorOptions{
		NonRetryable: !f.Passing, NextRetryDelay: f.After, Details: []any{told{f.Code, detail, f.Next}},
	})
}

// faultOf reads back why an activity was given up.
func faultOf(err error) told {
	var app *temporal.ApplicationError
	var t told
	if errors.As(err, &app) && app.HasDetails() && app.Details(&t) == nil && t.Code != "" {
		return t
	}
	var late *temporal.TimeoutError
	if errors.As(err, &late) {
		return told{"step_timeout", "the step did not end in time", "is the control plane's worker running? its log says more"}
	}
	if temporal.IsCanceledError(err) {
		return told{"canceled", "the rotation was canceled", ""}
	}
	return told{"step_failed", err.Error(), "the control plane's log says more"}
}
