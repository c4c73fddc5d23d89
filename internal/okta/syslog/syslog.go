// Package syslog reads an org's System Log once for all who follow it.
//
// It owns what was read of the log lately, in memory, and when the org has to be asked. Who follows keeps a cursor of its own, durably, where it keeps what it
// made of the events: it goes on from there after a crash, and where it can't go on it holds up nobody else. So nothing is kept on disk here, and nothing
// can be lost: what is not in memory is asked of the org, from the cursor on.
//
// It refuses to know what events mean and how cursors are kept.
package syslog

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// Org is the log at the org; *okta.Client is one.
type Org interface {
	Logs(ctx context.Context, cursor string, since time.Time, filter string) (events []okta.LogEvent, next string, err error)
}

// Page is a part of the log: what follows a cursor, oldest first.
type Page struct {
	Events []okta.LogEvent // shared by all who follow: not to be changed
	Next   string          // where to go on; never empty
	AsOf   time.Time       // when the org was asked. Without events: there were none at that time
}

// ErrCursor means that a cursor is not one of the whole log but of a part of it, and so can't be followed together with others.
var ErrCursor = errors.New("the cursor is of a filtered log")

// Log is one org's log. It is safe for concurrent use.
type Log struct {
	org   Org
	clock func() time.Time

	mu      sync.Mutex       // covers what follows
	pages   map[string]*page // cursor → what follows it, or is being read
	ends    map[string]string
	kept    []kept    // what of the two is to be dropped first
	weight  int       // of all kept
	renewed time.Time // what the org said before does not tell that there is nothing
}

// page is one page, there once read is closed. One that leads on stays what it is, because a log grows at its end; one that doesn't is good for as long
// as whoever follows says.
type page struct {
	Page
	read chan struct{}
	err  error
}

// kept is a page with events, or with a cursor that moved without any. Its last event is in ends, with the cursor after it.
type kept struct {
	cursor, end string
	weight      int
}

// most bounds the events in memory: at about 2 KB each, 20 MB. Who is further behind asks the org.
const most = 10_000

// New makes a log of which nothing is read yet. The clock is time.Now by default.
func New(org Org, clock func() time.Time) *Log {
	if clock == nil {
		clock = time.Now
	}
	return &Log{org: org, clock: clock, pages: map[string]*page{}, ends: map[string]string{}}
}

// Renew makes everybody ask the org for what is not in memory, whatever age they would take.
func (l *Log) Renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = l.clock()
}

// After returns what follows a cursor, or with an empty one what happened since. That nothing does is told from memory if the org said so no longer than
// age ago: so who has the smallest age asks, and the others hear of it. Errors are those of the org, or ErrCursor; none is remembered.
func (l *Log) After(ctx context.Context, cursor string, since time.Time, age time.Duration) (Page, error) {
	if cursor == "" { // everybody begins at a time of their own
		return l.ask(ctx, "", since)
	}
	if q, err := url.ParseQuery(cursor); err != nil || q.Has("filter") || q.Has("q") || q.Has("until") {
		return Page{}, ErrCursor
	}
	for {
		l.mu.Lock()
		got, at := l.known(cursor, age)
		if got != nil {
			l.mu.Unlock()
			return *got, nil
		}
		p := l.pages[at]
		mine := p == nil || p.done()
		if mine {
			p = &page{read: make(chan struct{})}
			l.pages[at] = p
		}
		l.mu.Unlock()
		if mine {
			p.Page, p.err = l.ask(ctx, at, since)
			l.settle(at, p)
			return p.Page, p.err
		}
		select { // somebody asks just that
		case <-p.read:
			if p.err == nil {
				return p.Page, nil
			}
			// It may have been their time that ran out: we ask ourselves.
		case <-ctx.Done():
			return Page{}, ctx.Err()
		}
	}
}

// known is what memory tells of a cursor, or nil and the cursor to ask for. Cursors that moved without events are passed over.
func (l *Log) known(cursor string, age time.Duration) (*Page, string) {
	var asOf time.Time
	for range len(l.pages) + 1 { // an org whose cursors lead in a circle must not hold us
		p := l.pages[cursor]
		if p == nil || !p.done() {
			break
		}
		if len(p.Events) > 0 {
			return &p.Page, cursor
		}
		asOf = p.AsOf
		if p.Next == cursor {
			break
		}
		cursor = p.Next
	}
	if asOf.After(l.renewed) && l.clock().Sub(asOf) < age {
		return &Page{Next: cursor, AsOf: asOf}, cursor
	}
	return nil, cursor
}

// ask reads one page of the org's, and joins it to those in memory that go on where it ends.
func (l *Log) ask(ctx context.Context, cursor string, since time.Time) (Page, error) {
	asOf := l.clock()
	events, next, err := l.org.Logs(ctx, cursor, since, "")
	if err != nil {
		return Page{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := kept{cursor: cursor, weight: max(len(events), 1)}
	if len(events) > 0 {
		// Cursors are opaque, and two for one place may differ; events have one id.
		k.end = events[len(events)-1].UUID
		if joined, known := l.ends[k.end]; known && !l.leads(joined, cursor) {
			next = joined
		}
		l.ends[k.end] = next
	}
	if next != cursor {
		l.keep(k)
	}
	return Page{Events: events, Next: next, AsOf: asOf}, nil
}

// leads says whether a cursor comes before another: then an event was told twice, and joining the two would be a circle.
func (l *Log) leads(from, to string) bool {
	for range len(l.pages) + 1 {
		if from == to {
			return true
		}
		p := l.pages[from]
		if p == nil || !p.done() {
			return false
		}
		from = p.Next
	}
	return true
}

// keep makes room for one more.
func (l *Log) keep(k kept) {
	l.kept, l.weight = append(l.kept, k), l.weight+k.weight
	for l.weight > most && len(l.kept) > 1 {
		old := l.kept[0]
		l.kept, l.weight = l.kept[1:], l.weight-old.weight
		delete(l.ends, old.end)
		if p := l.pages[old.cursor]; p != nil && p.done() {
			delete(l.pages, old.cursor)
		}
	}
}

// settle lets those know who wait for a page.
func (l *Log) settle(cursor string, p *page) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.err != nil {
		delete(l.pages, cursor)
	}
	close(p.read)
}

// done says that a page was read, and not in vain: those that were are not in memory.
func (p *page) done() bool {
	select {
	case <-p.read:
		return true
	default:
		return false
	}
}
