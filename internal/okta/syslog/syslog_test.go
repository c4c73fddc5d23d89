package syslog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/okta/syslog"
)

// org is a log in memory. Its cursors are "after=N" with a word that differs with who began: two may name one place.
type org struct {
	mu     sync.Mutex // covers events, moves
	events []string   // ids
	limit  int
	drifts bool // the cursor changes though nothing happened
	moves  int

	asked atomic.Int64
	fails atomic.Bool
}

func (o *org) happen(ids ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, ids...)
}

func (o *org) Logs(ctx context.Context, cursor string, since time.Time, filter string) ([]okta.LogEvent, string, error) {
	o.asked.Add(1)
	if o.fails.Load() {
		return nil, "", errors.New("503")
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	who, at := strconv.FormatInt(since.Unix(), 10), 0
	if cursor != "" {
		for _, part := range strings.Split(cursor, "&") {
			name, value, _ := strings.Cut(part, "=")
			switch name {
			case "after":
				at, _ = strconv.Atoi(value)
			case "who":
				who = value
			}
		}
	}
	var out []okta.LogEvent
	for i := at; i < len(o.events) && len(out) < o.limit; i++ {
		out = append(out, okta.LogEvent{UUID: o.events[i]})
	}
	next := fmt.Sprintf("after=%d&who=%s", at+len(out), who)
	if o.drifts {
		o.moves++
		next += fmt.Sprintf("&drift=%d", o.moves)
	}
	return out, next, nil
}

// follower takes events in, and remembers where to go on, as those do who follow for a purpose.
type follower struct {
	log    *syslog.Log
	since  time.Time
	age    time.Duration
	cursor string
	got    []string
	asOf   time.Time
}

// step takes one page, and says how many events were in it.
func (f *follower) step(t *testing.T) int {
	t.Helper()
	page, err := f.log.After(t.Context(), f.cursor, f.since, f.age)
	if err != nil {
		t.Fatal(err)
	}
	if page.Next == "" {
		t.Fatal("no cursor")
	}
	for _, e := range page.Events {
		f.got = append(f.got, e.UUID)
	}
	f.cursor, f.asOf = page.Next, page.AsOf
	return len(page.Events)
}

// drain steps until there is nothing more.
func (f *follower) drain(t *testing.T) {
	t.Helper()
	for f.step(t) > 0 {
	}
}

func ids(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("e%d", i))
	}
	return out
}

// However their cursors differ at first, those who follow are soon fed by the requests of the one that asks most often, and each gets all there is.
func TestOneAsksForAll(t *testing.T) {
	for _, drifts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := &org{limit: 7, drifts: drifts}
			o.happen(ids(0, 10)...)
			l := syslog.New(o, nil)
			net := &follower{log: l, since: time.Unix(1, 0)}
			others := []*follower{{log: l, since: time.Unix(2, 0), age: 2 * time.Second}, {log: l, since: time.Unix(3, 0), age: 10 * time.Second}}
			everybody := append([]*follower{net}, others...)
			for _, f := range everybody {
				f.drain(t)
			}
			o.happen(ids(10, 11)...) // from here on they are at one place
			for _, f := range everybody {
				f.drain(t)
			}
			before, want := o.asked.Load(), 11
			for second := 1; second <= 600; second++ {
				time.Sleep(time.Second)
				if second%50 == 0 {
					o.happen(ids(want, want+9)...)
					want += 9
				}
				net.step(t)
				if second%2 == 0 {
					others[0].step(t)
				}
				if second%10 == 0 {
					others[1].drain(t)
				}
			}
			// Alone they would need 960 and the pages of 108 events three times. When news were read this very moment, what is behind them was not yet: who
			// comes then asks for it in place of the first.
			if n := o.asked.Load() - before; n > 660 {
				t.Errorf("drifting %v: %d requests in 600 s", drifts, n)
			}
			for i, f := range everybody {
				f.drain(t)
				if !slices.Equal(f.got, ids(0, want)) {
					t.Errorf("drifting %v: %d has %d events of %d, or out of order", drifts, i, len(f.got), want)
				}
			}
		})
	}
}

// That nothing happened is told no older than who asks lets it be, and says how old it is.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &org{limit: 100}
		l := syslog.New(o, nil)
		first := &follower{log: l, since: time.Unix(1, 0)}
		first.drain(t)
		first.drain(t)
		asked := time.Now()
		late := &follower{log: l, cursor: first.cursor, age: 10 * time.Second}
		time.Sleep(9 * time.Second)
		o.happen("e0")
		if n := late.step(t); n != 0 || !late.asOf.Equal(asked) {
			t.Errorf("%d events, as of %s, not %s", n, late.asOf, asked)
		}
		at := o.asked.Load()
		l.Renew()
		if n := late.step(t); n != 1 || o.asked.Load() != at+1 {
			t.Errorf("renewed: %d events for %d requests", n, o.asked.Load()-at)
		}
		if n := first.step(t); n != 1 || o.asked.Load() != at+1 {
			t.Errorf("from memory: %d events for %d requests", n, o.asked.Load()-at)
		}
		late.step(t)
		time.Sleep(10 * time.Second)
		o.happen("e1")
		if n := late.step(t); n != 1 {
			t.Error("what is 10 s old was told by who takes less")
		}
	})
}

// Who can't go on stays where they are, and the others go on; an error is everybody's own and is not remembered.
func TestWhoIsHeldUp(t *testing.T) {
	o := &org{limit: 3}
	o.happen(ids(0, 3)...)
	l := syslog.New(o, nil)
	a, b := &follower{log: l}, &follower{log: l}
	a.drain(t)
	b.cursor, b.got = a.cursor, slices.Clone(a.got)
	o.happen(ids(3, 20)...)
	a.drain(t)
	at := o.asked.Load()
	for range 50 { // it gets a page and can't keep it
		page, err := l.After(t.Context(), b.cursor, time.Time{}, 0)
		if err != nil || len(page.Events) != 3 || page.Events[0].UUID != "e3" {
			t.Fatalf("%+v, %v", page, err)
		}
	}
	if o.asked.Load() != at {
		t.Errorf("%d requests for what was known", o.asked.Load()-at)
	}
	o.fails.Store(true)
	for b.cursor != a.cursor { // what is in memory needs no org
		b.step(t)
	}
	if _, err := l.After(t.Context(), b.cursor, time.Time{}, time.Hour); err != nil {
		t.Errorf("the org was asked for what is known: %v", err)
	}
	if _, err := l.After(t.Context(), b.cursor, time.Time{}, 0); err == nil {
		t.Error("the org fails, and nothing was said to have happened")
	}
	o.fails.Store(false)
	o.happen("e20")
	a.drain(t)
	b.drain(t)
	if !slices.Equal(a.got, ids(0, 21)) || !slices.Equal(b.got, ids(0, 21)) {
		t.Errorf("%v\n%v", a.got, b.got)
	}
}

// An event that the org tells twice leads nobody back.
func TestToldTwice(t *testing.T) {
	o := &org{limit: 2}
	o.happen("a", "b", "c", "b", "d", "b", "b", "b", "e")
	l := syslog.New(o, nil)
	for _, since := range []int64{1, 2} {
		f := &follower{log: l, since: time.Unix(since, 0)}
		for range 20 {
			f.step(t)
		}
		if !slices.Equal(f.got, o.events) {
			t.Errorf("%v", f.got)
		}
	}
}

// More than is held in memory: who is further behind is fed by the org.
func TestFarBehind(t *testing.T) {
	o := &org{limit: 1000}
	o.happen(ids(0, 1)...)
	l := syslog.New(o, nil)
	near, far := &follower{log: l}, &follower{log: l}
	near.drain(t)
	far.cursor, far.got = near.cursor, slices.Clone(near.got)
	o.happen(ids(1, 25_000)...)
	near.drain(t)
	far.drain(t)
	if !slices.Equal(near.got, ids(0, 25_000)) || !slices.Equal(far.got, near.got) {
		t.Errorf("%d and %d events", len(near.got), len(far.got))
	}
}

// A part of the log is another log.
func TestFiltered(t *testing.T) {
	l := syslog.New(&org{limit: 1}, nil)
	for _, cursor := range []string{`after=1&filter=eventType+sw+"user."`, "after=1&q=alice", "after=1&until=2026-11-24T00:00:00.000Z", "after=%zz"} {
		if _, err := l.After(t.Context(), cursor, time.Time{}, 0); !errors.Is(err, syslog.ErrCursor) {
			t.Errorf("%s: %v", cursor, err)
		}
	}
}

// Many at once, some of whom give up: everybody else has everything, in order.
func TestAtOnce(t *testing.T) {
	o := &org{limit: 5, drifts: true}
	l := syslog.New(o, nil)
	const total = 2000
	var followers sync.WaitGroup
	for i := range 8 {
		followers.Go(func() {
			var got []string
			cursor := ""
			for len(got) < total {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					cancel()
				}
				page, err := l.After(ctx, cursor, time.Unix(int64(i), 0), time.Duration(i)*time.Microsecond)
				given := ctx.Err() != nil
				cancel()
				if err != nil && given {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range page.Events {
					got = append(got, e.UUID)
				}
				cursor = page.Next
			}
			if !slices.Equal(got, ids(0, total)) {
				t.Errorf("follower %d: out of order", i)
			}
		})
	}
	for i := 0; i < total; i += 4 {
		o.happen(ids(i, i+4)...)
	}
	followers.Wait()
}
