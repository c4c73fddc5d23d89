// Package feed publishes standings: grants, bars and what the directory says of people, in one order, to every gate that follows.
//
// It owns the feed's database (SQLite or PostgreSQL), the positions of events in it, and the HTTP handler that gates poll. It runs in the
// control plane. It refuses to know why somebody is granted or barred something, and what a gate does with it: package standing has the types,
// the wire format and the follower.
package feed

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/standing"
)

var (
	// ErrConflict is wrapped when something else was published under the same id.
	ErrConflict = errors.New("published before with other contents")
	// ErrEnded is wrapped when a grant that was revoked is to be given again: an end is final.
	ErrEnded = errors.New("the grant was revoked")
	// ErrBehind is wrapped by WaitSeen when gates have not confirmed in time.
	ErrBehind = errors.New("gates have not confirmed")
)

// Config says what a feed is made of. DSN, Key and Tokens are required.
type Config struct {
	DSN    string             // path of an SQLite file, or a postgres:// URL
	Key    ed25519.PrivateKey // signs what gates read
	Tokens []string           // bearer tokens that gates read with; more than one while they are exchanged

	TokenLife time.Duration    // longest life of an access token anywhere, clock skew included: how long a bar of tokens issued before an instant is kept; default 25 h
	Keep      time.Duration    // how long ids of events and ends of grants are remembered; default 30 days
	GateGone  time.Duration    // after how long without a word WaitSeen does not wait for a gate any more; default 1 min
	Poll      time.Duration    // how often the database is asked for what other processes published; default 200 ms
	Clock     func() time.Time // default time.Now
	Logger    *slog.Logger     // default discards
}

const (
	maxEvent   = 64 << 10 // bytes of JSON
	maxPage    = 1 << 20  // bytes of JSON, after which a page ends
	pageEvents = 1000
	pruneEvery = time.Minute
	maxWait    = 30 * time.Second
)

// retention is how long things are kept.
type retention struct{ tokens, ended time.Duration }

// Seen is how far a gate is: the position that it had made durable when it last asked.
type Seen struct {
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"` // when it last asked
}

// Feed is an open feed. It is safe for concurrent use, and several processes may have one PostgreSQL feed open.
type Feed struct {
	cfg   Config
	keep  retention
	store *store
	id    string
	state *standing.State

	advancing sync.Mutex // one reader of news at a time; covers at
	at        uint64     // position of state

	mu    sync.Mutex    // covers what follows
	woken chan struct{} // closed when there is news or a gate has moved
	noted map[string]Seen

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open opens a feed, making it if it is not there, and begins to look for what other processes publish.
func Open(ctx context.Context, cfg Config) (*Feed, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("opening feed: %w", err)
	}
	s, err := openStore(ctx, cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("opening feed: %w", err)
	}
	f := &Feed{
		cfg: cfg, keep: retention{cfg.TokenLife, cfg.Keep}, store: s, state: &standing.State{}, woken: make(chan struct{}), noted: map[string]Seen{},
	}
	if f.id, err = s.meta(ctx, s.db, "feed"); err == nil {
		err = f.advance(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening feed: %w", err), s.db.Close())
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	f.running.Go(func() { f.run(run) })
	return f, nil
}

func (c *Config) check() error {
	switch {
	case len(c.Key) != ed25519.PrivateKeySize:
		return errors.New("the key is no Ed25519 private key")
	case len(c.Tokens) == 0:
		return errors.New("name at least one token that gates read with")
	}
	for _, t := range c.Tokens {
		if len(t) < 20 || strings.ContainsAny(t, " \t\r\n") {
			return errors.New("a token that gates read with has fewer than 20 characters, or spaces")
		}
	}
	for d, fallback := range map[*time.Duration]time.Duration{
		&c.TokenLife: 25 * time.Hour, &c.Keep: 30 * 24 * time.Hour, &c.GateGone: time.Minute, &c.Poll: 200 * time.Millisecond,
	} {
		if *d < 0 {
			return errors.New("times can't be negative")
		}
		if *d == 0 {
			*d = fallback
		}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Close stops looking for news and releases the database. Requests that are held are the server's to end.
func (f *Feed) Close() error {
	f.stop()
	f.running.Wait()
	return f.store.db.Close()
}

// ID names the feed's database. Gates don't follow another one.
func (f *Feed) ID() string { return f.id }

// PublicKey verifies what gates read.
func (f *Feed) PublicKey() ed25519.PublicKey { return f.cfg.Key.Public().(ed25519.PublicKey) }

// State is everybody's standing as published so far, for a gate in the same process. It is never stale.
func (f *Feed) State() *standing.State { return f.state }

// Put publishes an event: when it returns, the event is durable and State has it. The same ID again returns the first one's position, without
// a change; with other contents it is ErrConflict. Seq is given here, a zero At is now.
func (f *Feed) Put(ctx context.Context, e standing.Event) (seq uint64, err error) {
	now := f.cfg.Clock()
	e = normal(e, now)
	if err := e.Validate(); err != nil {
		return 0, fmt.Errorf("publishing a standing: %w", err)
	}
	if seq, err = f.store.put(ctx, e, now, f.keep); err != nil {
		return 0, fmt.Errorf("publishing a standing: %w", err)
	}
	// It is published: that this process could not read it back yet must not look like a failure. The poll will.
	if err := f.advance(context.WithoutCancel(ctx)); err != nil {
		f.cfg.Logger.ErrorContext(ctx, "the feed could not be read", "error", err)
	}
	return seq, nil
}

// normal copies an event into the one form that is signed: times in UTC without monotonic parts.
func normal(e standing.Event, now time.Time) standing.Event {
	e.Seq = 0
	if e.At.IsZero() {
		e.At = now
	}
	utc := func(t *time.Time) { *t = t.UTC().Round(0) }
	utc(&e.At)
	if e.Grant != nil {
		g := *e.Grant
		g.Actions, g.Approvers = slices.Clone(g.Actions), slices.Clone(g.Approvers)
		utc(&g.NotBefore)
		utc(&g.Expires)
		e.Grant = &g
	}
	if e.Bar != nil {
		b := *e.Bar
		utc(&b.Before)
		utc(&b.Since)
		e.Bar = &b
	}
	if e.Person != nil {
		p := *e.Person
		p.Groups = slices.Clone(p.Groups)
		utc(&p.AsOf)
		e.Person = &p
	}
	return e
}

// advance takes into the state what was published since.
func (f *Feed) advance(ctx context.Context) error {
	f.advancing.Lock()
	defer f.advancing.Unlock()
	from, whole := f.at, f.at == 0
	var events []standing.Event
	for {
		p, err := f.store.after(ctx, from, pageEvents)
		if err != nil {
			return err
		}
		if p.head < f.at {
			return fmt.Errorf("the feed ends at %d, and had %d before: its database was replaced; start the control plane anew", p.head, f.at)
		}
		if p.lost { // pruned while this process slept for longer than Keep
			from, whole, events = 0, true, nil
			continue
		}
		events = append(events, p.events...)
		if from = p.seq; p.seq == p.head {
			break
		}
	}
	if from == f.at {
		return nil
	}
	var err error
	if whole {
		err = f.state.Replace(events, from)
	} else {
		err = f.state.ApplyAll(events)
	}
	if err != nil {
		return err
	}
	f.at = from
	f.wake()
	return nil
}

// position is where the state is.
func (f *Feed) position() uint64 {
	f.advancing.Lock()
	defer f.advancing.Unlock()
	return f.at
}

// wake lets everybody who waits look again.
func (f *Feed) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.woken)
	f.woken = make(chan struct{})
}

func (f *Feed) wakes() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.woken
}

func (f *Feed) run(ctx context.Context) {
	poll, prune := time.NewTicker(f.cfg.Poll), time.NewTicker(pruneEvery)
	defer poll.Stop()
	defer prune.Stop()
	failing := ""
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			err = f.advance(ctx)
		case <-prune.C:
			err = f.Prune(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case err == nil && failing != "":
			failing = ""
			f.cfg.Logger.InfoContext(ctx, "the feed can be read again")
		case err != nil && err.Error() != failing:
			failing = err.Error()
			f.cfg.Logger.ErrorContext(ctx, "the feed could not be read", "error", err)
		}
	}
}

// Prune forgets what no gate can need any more. It runs every minute by itself.
func (f *Feed) Prune(ctx context.Context) error {
	now := f.cfg.Clock()
	f.state.Sweep(now)
	dropped, err := f.store.prune(ctx, now, f.keep)
	if err == nil && dropped > 0 {
		f.cfg.Logger.InfoContext(ctx, "the feed was pruned", "rows", dropped)
	}
	return err
}

// Seen tells how far each gate is that asked within Keep.
func (f *Feed) Seen(ctx context.Context) (map[string]Seen, error) { return f.store.gates(ctx) }

// Status is where a feed is and how far its gates are.
type Status struct {
	Feed  string          `json:"feed"`
	State standing.Status `json:"state"`
	Gates []GateStatus    `json:"gates"` // by name
}

// GateStatus is how far one gate is.
type GateStatus struct {
	Gate string `json:"gate"`
	Seen
	Behind uint64 `json:"behind"` // events that it has not confirmed yet
	Gone   bool   `json:"gone"`   // it was not heard for GateGone
}

// Status tells where the feed is and how far its gates are.
func (f *Feed) Status(ctx context.Context) (Status, error) {
	gates, err := f.store.gates(ctx)
	if err != nil {
		return Status{}, err
	}
	now := f.cfg.Clock()
	out := Status{Feed: f.id, State: f.state.Status(now), Gates: []GateStatus{}}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := GateStatus{Gate: name, Seen: gates[name], Gone: now.Sub(gates[name].At) >= f.cfg.GateGone}
		if g.Seq < out.State.Seq {
			g.Behind = out.State.Seq - g.Seq
		}
		out.Gates = append(out.Gates, g)
	}
	return out, nil
}

// WaitSeen waits until every gate that is there has made durable what was published up to seq. A gate that was not heard for GateGone is not
// waited for: it is down, and reads all before it lets anybody in. When ctx ends first the error wraps ErrBehind and names the gates.
func (f *Feed) WaitSeen(ctx context.Context, seq uint64) error {
	var behind []string // as far as was read before ctx ended
	for {
		woken := f.wakes()
		gates, err := f.store.gates(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			behind = behind[:0]
		}
		for name, s := range gates {
			if err == nil && s.Seq < seq && f.cfg.Clock().Sub(s.At) < f.cfg.GateGone {
				behind = append(behind, name)
			}
		}
		if err == nil && len(behind) == 0 {
			return nil
		}
		timer := time.NewTimer(f.cfg.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			slices.Sort(behind)
			return fmt.Errorf("waiting for gates: %w: %s: %w", ErrBehind, strings.Join(behind, ", "), ctx.Err())
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}
