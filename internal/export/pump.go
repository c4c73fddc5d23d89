package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Pauses between tries of a batch. They double, with jitter, and grow longer where only the operator can help.
const (
	firstPause = 200 * time.Millisecond
	longPause  = time.Minute
	holdPause  = 5 * time.Minute
	pollEvery  = 250 * time.Millisecond // how often the log is asked for more
)

// pump carries one sink's entries. Its goroutine owns all of it but status.
type pump struct {
	cfg     SinkConfig
	log     Log
	state   state
	sink    Sink
	open    func(audit.Entry) audit.Entry // opens personal data; nil: as logged
	status  *tracker
	logger  *slog.Logger
	source  Source
	at      cursor
	carried *Event // read and not taken into the last batch, for want of room
}

// run exports until ctx ends. It gives up, with an error, only when the cursor is not of the log or can't be read.
func (p *pump) run(ctx context.Context) error {
	for p.log.Origin() == "" && ctx.Err() == nil { // nothing is sealed yet, so the log has no name
		p.status.idle(0)
		wait(ctx, pollEvery)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := p.start(); err != nil {
		return err
	}
	defer func() {
		if p.source != nil {
			_ = p.source.Close()
		}
	}()
	pause := firstPause
	for ctx.Err() == nil {
		err := p.step(ctx)
		if err == nil {
			pause = firstPause
			continue
		}
		if ctx.Err() != nil || errors.Is(err, ErrDiverged) {
			return err
		}
		p.status.failed(err)
		p.logger.WarnContext(ctx, "could not export; trying again", "sink", p.cfg.Name, "after", pause, "error", err)
		wait(ctx, jitter(pause))
		pause = min(2*pause, longPause)
	}
	return nil
}

// start finds where the sink is.
func (p *pump) start() error {
	c, known, err := p.state.load(p.cfg.Name)
	if err != nil {
		return err
	}
	if !known {
		c.Log = p.log.Origin()
		if p.cfg.Start == "end" {
			if c.Next, err = p.log.Size(); err != nil {
				return fmt.Errorf("starting sink %s: %w", p.cfg.Name, err)
			}
			if c.Next > 0 {
				if leaf, ok := p.log.Leaf(c.Next - 1); ok {
					c.Leaf = leaf.String()
				}
			}
		}
		if err := p.state.save(p.cfg.Name, c); err != nil {
			return err
		}
	}
	if err := c.belongs(p.log); err != nil {
		return fmt.Errorf("starting sink %s: %w", p.cfg.Name, err)
	}
	p.at = c
	p.status.moved(c.Next, 0)
	return nil
}

// step exports one batch: read, send until taken, bury what was refused, move the cursor. In this order: whatever is lost in a crash is
// done again.
func (p *pump) step(ctx context.Context) error {
	b, err := p.fill(ctx)
	if err != nil || b.next == p.at.Next {
		return err
	}
	sent := 0
	if len(b.messages) > 0 {
		refused, err := p.deliver(ctx, b.messages)
		if err != nil {
			return err
		}
		sent = len(b.messages) - len(refused)
		b.dead = append(b.dead, refused...)
	}
	if err := p.state.bury(p.cfg.Name, b.dead); err != nil {
		p.rewind()
		return err
	}
	next := cursor{Log: p.at.Log, Next: b.next, Leaf: p.at.Leaf}
	if b.leaf != (tlog.Hash{}) {
		next.Leaf = b.leaf.String()
	}
	if err := p.state.save(p.cfg.Name, next); err != nil {
		p.rewind()
		return err
	}
	p.at = next
	p.status.delivered(next.Next, sent, len(b.dead))
	return nil
}

// rewind makes the next fill read from the cursor again.
func (p *pump) rewind() {
	if p.source != nil {
		_ = p.source.Close()
	}
	p.source, p.carried = nil, nil
}

// batch is what one step carries.
type batch struct {
	messages []Message
	dead     []DeadLetter // entries that can't be encoded
	next     uint64       // index after the last entry read, selected or not
	leaf     tlog.Hash    // of that last entry
}

// fill reads until a batch is full or has waited long enough. Without entries it returns when ctx ends.
func (p *pump) fill(ctx context.Context) (batch, error) {
	b := batch{next: p.at.Next}
	if p.source == nil {
		source, err := p.log.Open(p.at.Next)
		if err != nil {
			return b, fmt.Errorf("opening the log: %w", err)
		}
		p.source = source
	}
	size := 0
	var due time.Time // when what is there is sent
	for {
		e, err := p.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			now := time.Now()
			if !due.IsZero() && !now.Before(due) {
				return b, nil
			}
			p.status.idle(b.next)
			pause := pollEvery
			if !due.IsZero() {
				pause = min(pause, due.Sub(now))
			}
			if wait(ctx, pause); ctx.Err() != nil {
				p.rewind()
				return b, ctx.Err()
			}
			continue
		case err != nil:
			p.rewind()
			return b, fmt.Errorf("reading the log: %w", err)
		}
		if due.IsZero() {
			due = time.Now().Add(p.cfg.Batch.Wait)
		}
		m, dead, wanted := p.encode(e)
		if wanted && dead == nil {
			if len(b.messages) > 0 && size+len(m.Body) > p.cfg.Batch.Bytes {
				p.carried = e
				return b, nil
			}
			size += len(m.Body)
			b.messages = append(b.messages, m)
		} else if dead != nil {
			b.dead = append(b.dead, *dead)
		}
		b.next = e.Index + 1
		if e.Raw != nil {
			b.leaf = tlog.RecordHash(e.Raw)
		}
		// Entries that are passed over move the cursor too, now and then.
		if len(b.messages) >= p.cfg.Batch.Entries || size >= p.cfg.Batch.Bytes || b.next-p.at.Next >= 20*uint64(p.cfg.Batch.Entries) {
			return b, nil
		}
	}
}

// next returns the entry that was carried over, or reads one.
func (p *pump) next(ctx context.Context) (*Event, error) {
	if e := p.carried; e != nil {
		p.carried = nil
		return e, nil
	}
	index, raw, err := p.source.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &Event{Log: p.at.Log, Index: index, Raw: raw}, nil
}

// encode makes a message of an entry; wanted is false for those that the sink does not select and those that retention has removed.
func (p *pump) encode(e *Event) (m Message, dead *DeadLetter, wanted bool) {
	if e.Raw == nil {
		return Message{}, nil, false
	}
	entry, err := audit.ParseEntry(e.Raw)
	if err != nil {
		return Message{}, p.letter(e.Index, "", "malformed", err.Error()), false
	}
	if !p.cfg.Only.takes(&entry) {
		return Message{}, nil, false
	}
	if e.Entry = entry; p.open != nil {
		e.Entry = p.open(entry)
	}
	m, err = p.cfg.Format.message(e)
	if err != nil {
		return Message{}, p.letter(e.Index, entry.ID, "unencodable", err.Error()), true
	}
	return m, nil, true
}

func (p *pump) letter(index uint64, id, code, text string) *DeadLetter {
	return &DeadLetter{Index: index, ID: id, Code: code, Text: clip(text), At: time.Now().UTC().Truncate(time.Millisecond)}
}

// takes reports whether a sink is to get an entry.
func (s *Selection) takes(e *audit.Entry) bool {
	if len(s.Kinds) > 0 && !contains(s.Kinds, string(e.Kind)) {
		return false
	}
	if e.Decision == nil || !e.Decision.Allow {
		return true
	}
	return !s.Denied && (len(s.Access) == 0 || contains(s.Access, e.Access))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// jitter spreads d over three quarters to five quarters of it, so that many senders do not come back at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
