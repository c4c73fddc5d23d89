package revocation

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	together   = 4            // people who are looked at at once
	inRound    = 2 * together // people before the queue is read again
	retryFirst = 200 * time.Millisecond
	retryMost  = 30 * time.Second
)

// settleAll works on signals until ctx ends.
func (r *Revoker) settleAll(ctx context.Context) {
	retry := retryFirst
	for {
		again := r.round(ctx)
		if ctx.Err() == nil && again == more {
			continue
		}
		if again == done {
			retry = retryFirst
			select {
			case <-ctx.Done():
				return
			case <-r.news:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-r.news: // whoever is new does not wait for who can't be looked at
		case <-time.After(retry):
			retry = min(2*retry, retryMost)
		}
	}
}

// What a round leaves.
const (
	done  = iota
	more  // who was not looked at yet
	later // who could not be looked at
)

// round looks at some of those who have signals. When many leave at once, what takes access away is believed first for all of them: the directory
// is asked about each, which takes a while, and nobody must wait for their turn with a valid token. Once it has failed it is not asked again in
// the same round.
func (r *Revoker) round(ctx context.Context) int {
	people, err := r.store.open(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.ErrorContext(ctx, "the queue of signals could not be read", "error", err)
		}
		return later
	}
	if len(people) > inRound {
		for _, p := range people {
			if !p.noted {
				r.settle(ctx, p.uid, false)
			}
		}
		rand.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] }) // one who can't be looked at must not keep others from it
	}
	var failed atomic.Bool
	var all sync.WaitGroup
	slots := make(chan struct{}, together)
	for _, p := range people[:min(inRound, len(people))] {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if !r.settle(ctx, p.uid, !failed.Load()) {
				failed.Store(true)
			}
		})
	}
	all.Wait()
	switch {
	case failed.Load():
		return later
	case len(people) > inRound:
		return more
	}
	return done
}

// settle looks at one person, and asks the directory if it may. It reports whether nothing is left to do.
func (r *Revoker) settle(ctx context.Context, uid string, may bool) bool {
	var ids []string
	ask := false
	rows, err := r.store.db.QueryContext(ctx, `SELECT id, json_extract(raw, '$.kind') FROM signals WHERE uid = ? AND settled = 0`, uid)
	if err == nil {
		for rows.Next() {
			var id, kind string
			if err = rows.Scan(&id, &kind); err != nil {
				break
			}
			ids, ask = append(ids, id), ask || Kind(kind).aboutState()
		}
		err = cmp.Or(err, rows.Err())
		_ = rows.Close() // was read to its end, or has failed
	}
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.ErrorContext(ctx, "signals could not be read", "uid", uid, "error", err)
		}
		return false
	}
	asked := r.cfg.Clock().UTC()
	var now *Person
	if ask && may {
		bounded, cancel := context.WithTimeout(ctx, r.cfg.Trust)
		p, found, err := r.cfg.Directory.Find(bounded, uid)
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			r.cfg.Logger.WarnContext(ctx, "the directory did not say how somebody stands; what takes access away is believed without it", "uid", uid, "error", err)
		case !found:
			now = &Person{Status: "DELETED"}
		default:
			now = &p
		}
		r.directoryAnswered(err)
	}
	final := now != nil || !ask
	n, err := r.store.decide(ctx, uid, ids, final, func(k *known, open []arrival) []row {
		return r.derive(uid, k, open, now, asked)
	})
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.ErrorContext(ctx, "what follows from signals could not be stored", "uid", uid, "error", err)
		}
		return false
	}
	if n > 0 {
		wake(r.out)
	}
	return final
}
