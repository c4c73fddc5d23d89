package revocation

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// keepSignals is how long a signal's id is remembered after it was settled.
const keepSignals = 30 * 24 * time.Hour

// publishAll empties the outbox until ctx ends. Each lane is on its own.
func (r *Revoker) publishAll(ctx context.Context) {
	lanes := map[string]chan struct{}{laneFeed: make(chan struct{}, 1), laneRecord: make(chan struct{}, 1), laneEnd: make(chan struct{}, 1), laneKeep: make(chan struct{}, 1)}
	var all sync.WaitGroup
	for name, woken := range lanes {
		all.Go(func() { r.lane(ctx, name, woken) })
	}
	prune := time.NewTicker(time.Hour)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			all.Wait()
			return
		case <-r.out:
			for _, woken := range lanes {
				wake(woken)
			}
		case <-prune.C:
			if err := r.store.prune(ctx, r.cfg.Clock().Add(-keepSignals)); err != nil && ctx.Err() == nil {
				r.cfg.Logger.ErrorContext(ctx, "old signals could not be removed", "error", err)
			}
		}
	}
}

func (r *Revoker) lane(ctx context.Context, name string, woken chan struct{}) {
	retry, failing := retryFirst, ""
	for {
		err := r.empty(ctx, name)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			retry, failing = retryFirst, ""
			select {
			case <-ctx.Done():
				return
			case <-woken:
			}
			continue
		}
		if err.Error() != failing {
			failing = err.Error()
			r.cfg.Logger.ErrorContext(ctx, "what follows from a signal could not be done yet", "lane", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
			retry = min(2*retry, retryMost)
		}
	}
}

// empty does the rows of a lane in order, until there is none or one fails.
func (r *Revoker) empty(ctx context.Context, lane string) error {
	for {
		n, o, err := r.store.first(ctx, lane)
		if err != nil || o == nil {
			return err
		}
		if err := r.perform(ctx, o); err != nil {
			return err
		}
		if _, err := r.store.db.ExecContext(ctx, `DELETE FROM outbox WHERE n = ?`, n); err != nil {
			return fmt.Errorf("removing what is done: %w", err)
		}
	}
}

// first is the oldest row of a lane; nil if there is none.
func (s *store) first(ctx context.Context, lane string) (n int64, o *row, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT n, raw FROM outbox WHERE lane = ? ORDER BY n LIMIT 1`, lane)
	if err != nil {
		return 0, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var raw string
		if err := rows.Scan(&n, &raw); err != nil {
			return 0, nil, err
		}
		o = &row{lane: lane}
		if err := json.Unmarshal([]byte(raw), o); err != nil {
			return 0, nil, err
		}
	}
	return n, o, rows.Err()
}

func (r *Revoker) perform(ctx context.Context, o *row) error {
	switch {
	case o.Event != nil:
		if err := o.Event.Validate(); err != nil { // would fail for ever, and hold up the rest
			r.cfg.Logger.ErrorContext(ctx, "an event that can't be published was dropped", "kind", o.Event.Kind, "error", err)
			return nil
		}
		seq, err := r.cfg.Publisher.Put(ctx, *o.Event)
		if err != nil {
			return err
		}
		if !o.Happened.IsZero() {
			r.told(ctx, o, seq)
		}
	case o.Entry != nil:
		_, err := r.cfg.Recorder.Record(ctx, *o.Entry)
		return err
	case o.Lost != nil:
		return r.cfg.Keeper.Lost(ctx, *o.Lost)
	case o.Back != nil:
		return r.cfg.Keeper.Restored(ctx, *o.Back)
	case o.End != nil:
		return r.cfg.Ender.EndAll(ctx, o.End.Principal, o.End.Why)
	}
	return nil
}

// told measures how long it took from what happened until gates could know, and until they do.
func (r *Revoker) told(ctx context.Context, o *row, seq uint64) {
	published := r.cfg.Clock().Sub(o.Happened)
	r.metrics.published(ctx, o.Source, published)
	r.mu.Lock()
	r.status.Published++
	r.status.LastDelay = Seconds(published)
	r.mu.Unlock()
	select {
	case r.watched <- struct{}{}:
	default:
		return // enough are measured
	}
	r.running.Go(func() {
		defer func() { <-r.watched }()
		bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := r.cfg.Publisher.WaitSeen(bounded, seq); err != nil {
			if ctx.Err() == nil {
				r.cfg.Logger.WarnContext(ctx, "not every gate has heard of a revocation", "seq", seq, "error", err)
			}
			return
		}
		enforced := r.cfg.Clock().Sub(o.Happened)
		r.metrics.enforced(ctx, o.Source, enforced)
		r.cfg.Logger.InfoContext(ctx, "access was taken away", "reason", o.Event.Bar.Reason, "source", o.Source, "published_after", published, "enforced_after", enforced)
	})
}
