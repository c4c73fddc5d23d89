package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// snapshot is a key set and when it was last confirmed by its issuer. It is never changed, only replaced.
type snapshot struct {
	set     *keySet
	fetched time.Time // by the verifier's clock, wall time only
}

// flight is one fetch under way. err is set before done is closed and not after.
type flight struct {
	done   chan struct{}
	demand bool // a token caused it, not the timer
	err    error
}

// keySource keeps the signing keys of one issuer. Reads take no lock. Keys are replaced by a good fetch only: a fault of the
// issuer leaves the last good ones in force until they are older than maxStale.
type keySource struct {
	issuer, fixedURL string
	fetch            fetcher
	clock            func() time.Time
	log              *slog.Logger
	newKeys          func(issuer string, keys []PublicKey) // may be nil

	maxStale, refresh, cooldown, skew time.Duration

	life context.Context // ends when the verifier closes
	wg   *sync.WaitGroup

	current  atomic.Pointer[snapshot]
	expected atomic.Pointer[map[string]*expectation] // nil until something was expected; the map is never changed, only replaced

	mu       sync.Mutex // everything below
	started  bool       // the refresh loop runs
	flying   *flight    // at most one
	asked    time.Time  // when an unknown kid last started a fetch; monotonic, so that a clock that jumps cannot stop fetches
	begged   time.Time  // when a token last started one for want of any keys fit for use
	hoped    time.Time  // when an expected key that was not there last started one
	failures int        // fetches failed in a row
	lastErr  error
	jwksURL  string // as discovered; forgotten after a failure
}

// fresh returns the current keys, or nil when there are none that may be used at that time.
func (s *keySource) fresh(now time.Time) *keySet {
	snap := s.current.Load()
	if snap == nil {
		return nil
	}
	// An age below zero means that the clock was set back: the true age is unknown, so the keys need confirming.
	if age := now.Sub(snap.fetched); age > s.maxStale || age < -s.skew {
		return nil
	}
	return snap.set
}

// find returns the key of that id. A known key costs no lock and no wait. An unknown one may cause one fetch per cooldown, which
// runs detached from the caller; callers wait for it, boundedly, so that a new key is honoured on first sight.
func (s *keySource) find(ctx context.Context, kid string) (*key, *Error) {
	set := s.fresh(s.clock())
	if set != nil {
		if k := set.byID[kid]; k != nil {
			return k, nil
		}
	}
	wait := unknownWait
	if s.current.Load() == nil {
		wait = coldWait
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var cause error
	for range 2 { // a second round when the first joined a timer's fetch, which may have begun before the key was published
		f, err := s.ask(set != nil)
		if f == nil {
			cause = err
			break
		}
		select {
		case <-f.done:
			cause = f.err
		case <-timer.C:
			cause = errors.New("the fetch of the issuer's keys is taking too long")
		case <-ctx.Done():
			cause = context.Cause(ctx)
		}
		if set = s.fresh(s.clock()); set != nil {
			if k := set.byID[kid]; k != nil {
				return k, nil
			}
		}
		if f.demand || cause != nil {
			break
		}
	}
	if set != nil {
		return nil, &Error{Code: CodeKeyUnknown, Detail: "key " + quoted(kid) + " is not one of the issuer's signing keys", Cause: cause}
	}
	if s.current.Load() != nil {
		return nil, &Error{Code: CodeKeysUnavailable, Cause: cause,
			Detail: fmt.Sprintf("the signing keys of %s could not be confirmed for more than %v; try again shortly", s.issuer, s.maxStale)}
	}
	return nil, &Error{Code: CodeKeysUnavailable, Detail: "the signing keys of " + s.issuer + " cannot be had now; try again shortly", Cause: cause}
}

// ask joins the fetch under way or starts one. Without a flight it returns why there is none: the last failure, or nil for a cooldown
// after a good fetch.
func (s *keySource) ask(haveKeys bool) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying != nil {
		return s.flying, nil
	}
	if s.life.Err() != nil {
		return nil, errors.New("the verifier is closed")
	}
	last, gap := &s.asked, s.cooldown
	if !haveKeys {
		last, gap = &s.begged, min(s.cooldown, retryFloor)
	}
	if !last.IsZero() && time.Since(*last) < gap {
		return nil, s.lastErr
	}
	*last = time.Now()
	return s.launch(true), nil
}

// launch starts a fetch in a goroutine of its own, and the refresh loop with the first one. mu is held.
func (s *keySource) launch(demand bool) *flight {
	f := &flight{done: make(chan struct{}), demand: demand}
	s.flying = f
	known := s.jwksURL
	s.wg.Go(func() { s.fly(f, known) })
	if !s.started {
		s.started = true
		s.wg.Go(s.loop)
	}
	return f
}

func (s *keySource) fly(f *flight, known string) {
	ctx, cancel := context.WithTimeout(s.life, fetchTimeout)
	defer cancel()
	set, at, err := s.load(ctx, known)
	old := s.current.Load() // only a flight stores, and there is one at a time
	if err == nil {
		if old != nil {
			set = set.adopt(old.set)
		}
		if s.newKeys != nil {
			if fresh := set.since(old); len(fresh) > 0 {
				s.newKeys(s.issuer, fresh)
			}
		}
		s.current.Store(&snapshot{set, s.clock().Round(0)})
	}
	s.mu.Lock()
	recovered := s.failures > 0
	if err != nil {
		s.failures++
		s.jwksURL = ""
	} else {
		s.failures = 0
		s.jwksURL = at
	}
	s.lastErr, f.err, s.flying = err, err, nil
	s.mu.Unlock()
	close(f.done)

	switch {
	case err != nil && s.life.Err() == nil:
		s.log.WarnContext(ctx, "fetching signing keys failed; the last good keys stay in force", "issuer", s.issuer, "have_keys", old != nil, "error", err)
	case err == nil && (old == nil || old.set != set):
		s.log.InfoContext(ctx, "signing keys changed", "issuer", s.issuer, "keys", set.ids())
	case err == nil && recovered:
		s.log.InfoContext(ctx, "signing keys can be fetched again", "issuer", s.issuer)
	}
}

// load fetches the key set, finding out first where it is unless that is known.
func (s *keySource) load(ctx context.Context, at string) (*keySet, string, error) {
	if at == "" {
		at = s.fixedURL
	}
	if at == "" {
		var err error
		if at, err = s.fetch.discover(ctx, s.issuer); err != nil {
			return nil, "", err
		}
	}
	body, err := s.fetch.get(ctx, at)
	if err != nil {
		return nil, "", err
	}
	set, err := parseKeySet(body)
	return set, at, err
}

// loop fetches at each refresh interval, give or take a tenth so that gates don't march in step, and sooner after a failure:
// after 1 s, then 2, 4, 8 … up to the interval.
func (s *keySource) loop() {
	for {
		s.mu.Lock()
		delay := s.refresh + time.Duration((rand.Float64()-0.5)*0.2*float64(s.refresh))
		if s.failures > 0 {
			delay = min(delay, retryFloor<<min(s.failures-1, 12))
		}
		s.mu.Unlock()
		timer := time.NewTimer(delay)
		select {
		case <-s.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		s.mu.Lock()
		f := s.flying
		if f == nil {
			f = s.launch(false)
		}
		s.mu.Unlock()
		<-f.done // a flight ends by itself: it has a deadline
	}
}
