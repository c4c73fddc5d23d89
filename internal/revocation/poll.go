package revocation

import (
	"context"
	"errors"
	"time"
)

const (
	pollMost = time.Minute
	overlap  = 5 * time.Minute // read again when a cursor was lost: events are dated before they are stored
)

// poll reads the log until ctx ends: the net below hooks, which may be lost, and all there is without them.
func (r *Revoker) poll(ctx context.Context) {
	pause, slow := time.Duration(0), time.Duration(0) // slow grows with failures, and shrinks with successes
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		n, err := r.pollOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case errors.Is(err, ErrLimited):
			slow = min(max(2*slow, 5*time.Second), pollMost)
		case err != nil:
			slow = min(max(2*slow, r.cfg.Every), pollMost)
		default:
			slow /= 2
		}
		if pause = max(r.cfg.Every, slow); n > 0 && err == nil && slow < r.cfg.Every {
			pause = min(pause, 100*time.Millisecond) // there may be more
		}
		r.polled(ctx, err)
	}
}

// pollOnce reads one page. The signals in it and where to go on become durable in one step.
func (r *Revoker) pollOnce(ctx context.Context) (events int, err error) {
	cursor, err := r.store.meta(ctx, "cursor")
	if err != nil {
		return 0, err
	}
	now := r.cfg.Clock()
	since := now.Add(-r.cfg.Since)
	if seen, err := r.store.meta(ctx, "seen"); err != nil {
		return 0, err
	} else if at, err := time.Parse(time.RFC3339Nano, seen); err == nil {
		since = at.Add(-overlap)
	}
	happenings, next, err := r.cfg.Log.After(ctx, cursor, since)
	if errors.Is(err, ErrCursor) && cursor != "" {
		happenings, next, err = r.cfg.Log.After(ctx, "", since)
	}
	if err != nil {
		return 0, err
	}
	var signals []Signal
	meta := map[string]string{"cursor": next}
	for _, h := range happenings {
		signals = append(signals, h.Signals(SourceLog, now)...)
		meta["seen"] = h.At.UTC().Format(time.RFC3339Nano)
	}
	if next == cursor && len(signals) == 0 {
		return len(happenings), nil
	}
	added, err := r.store.accept(ctx, signals, now, meta)
	if err != nil {
		return 0, err
	}
	if len(signals) > 0 {
		r.accepted(signals, added)
	}
	return len(happenings), nil
}
