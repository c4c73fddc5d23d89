package standing

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Apply takes one event into the state. An event that is not newer than what was applied is passed over; one without a Seq always counts.
func (s *State) Apply(e Event) error { return s.ApplyAll([]Event{e}) }

// ApplyAll takes events in order, as one change to each part of the state: a thousand cost little more than one. None is applied if one is
// malformed.
func (s *State) ApplyAll(events []Event) error {
	for i := range events {
		if err := events[i].check(); err != nil {
			return fmt.Errorf("applying event %d: %w", events[i].Seq, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.Load() == nil {
		s.clear()
		s.view.Store(newView())
	}
	s.apply(s.view.Load(), events)
	return nil
}

// Replace puts the events in the place of everything that is known, in one step. seq is the position that they end at.
func (s *State) Replace(events []Event, seq uint64) error {
	for i := range events {
		if err := events[i].check(); err != nil {
			return fmt.Errorf("applying event %d: %w", events[i].Seq, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	v := newView()
	s.apply(v, events)
	s.seq = max(s.seq, seq)
	s.view.Store(v)
	return nil
}

func (s *State) clear() { s.seq, s.grants, s.bars = 0, map[string]grantAt{}, map[string]barAt{} }

// change is one batch of events on its way into a view. Its counts are in force before the holders are, where they grow, so that no reader
// skips a look that it needs.
type change struct {
	s     *State
	v     *view
	edits map[*table]*edit
}

func (c *change) holder(t *table, key string) *holder {
	e := c.edits[t]
	if e == nil {
		e = t.edit()
		c.edits[t] = e
	}
	return e.change(key)
}

// apply is ApplyAll on one view. The caller holds mu.
func (s *State) apply(v *view, events []Event) {
	c := &change{s, v, map[*table]*edit{}}
	granted, barring, persons := v.granted.Load(), v.barring.Load(), v.persons.Load()
	count := counts{granted, barring, persons}
	for i := range events {
		e := &events[i]
		if e.Seq != 0 && e.Seq <= s.seq {
			continue
		}
		s.seq = max(s.seq, e.Seq)
		c.take(e, &count)
	}
	v.granted.Store(max(granted, count.grants))
	v.barring.Store(max(barring, count.bars))
	for _, e := range c.edits {
		e.commit()
	}
	v.granted.Store(count.grants)
	v.barring.Store(count.bars)
	v.persons.Store(count.persons)
}

type counts struct{ grants, bars, persons int64 }

func (c *change) take(e *Event, n *counts) {
	s := c.s
	switch e.Kind {
	case EventGrant:
		was, known := s.grants[e.Grant.ID]
		if known && was.ended {
			return // an end is final, whatever comes after it
		}
		if known {
			c.dropGrant(was.principal, e.Grant.ID, n)
		}
		g := *e.Grant
		h := c.holder(c.v.people, g.Principal)
		at, _ := slices.BinarySearchFunc(h.grants, g.ID, byID)
		h.grants = slices.Insert(slices.Clone(h.grants), at, &g)
		h.span()
		n.grants++
		s.grants[g.ID] = grantAt{principal: g.Principal, until: g.Expires}
	case EventRevoke:
		was, known := s.grants[e.Grant.ID]
		if known && !was.ended {
			c.dropGrant(was.principal, e.Grant.ID, n)
		}
		s.grants[e.Grant.ID] = grantAt{ended: true, until: later(was.until, e.At.Add(tombstoneKeep))}
	case EventBar:
		c.dropBar(e.Bar.ID, n)
		at := e.Bar.at()
		h := c.holder(at.where(c.v), at.holder)
		h.bars = append(slices.Clone(h.bars), *e.Bar)
		n.bars++
		s.bars[e.Bar.ID] = at
	case EventUnbar:
		c.dropBar(e.Bar.ID, n)
	case EventPerson:
		h := c.holder(c.v.people, e.Person.Principal)
		if was := h.person; was != nil {
			if e.Person.AsOf.Before(was.AsOf) {
				return // older news that came later
			}
			n.persons--
			if !was.Active {
				n.bars--
			}
		}
		p := *e.Person
		h.person = &p
		n.persons++
		if !p.Active {
			n.bars++
		}
	}
}

func byID(g *Grant, id string) int {
	switch {
	case g.ID < id:
		return -1
	case g.ID > id:
		return 1
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *change) dropGrant(principal, id string, n *counts) {
	h := c.holder(c.v.people, principal)
	if at, found := slices.BinarySearchFunc(h.grants, id, byID); found {
		h.grants = slices.Delete(slices.Clone(h.grants), at, at+1)
		h.span()
		n.grants--
	}
}

func (c *change) dropBar(id string, n *counts) {
	was, known := c.s.bars[id]
	if !known {
		return
	}
	h := c.holder(was.where(c.v), was.holder)
	h.bars = slices.DeleteFunc(slices.Clone(h.bars), func(b Bar) bool { return b.ID == id })
	n.bars--
	delete(c.s.bars, id)
}

// Sweep forgets grants that expired before now. Reads never honour them; this gives their memory back.
func (s *State) Sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view.Load()
	if v == nil {
		return
	}
	c := &change{s, v, map[*table]*edit{}}
	n := counts{v.granted.Load(), v.barring.Load(), v.persons.Load()}
	for id, at := range s.grants {
		if now.Before(at.until) {
			continue
		}
		if !at.ended {
			c.dropGrant(at.principal, id, &n)
		}
		delete(s.grants, id)
	}
	for _, e := range c.edits {
		e.commit()
	}
	v.granted.Store(n.grants)
}

// follow makes the state one that depends on news: unknown until it has some, and stale when they stop.
func (s *State) follow(maxStale time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxStale.Load() != 0 {
		return errors.New("this state follows a feed already")
	}
	s.unknown.Store(true)
	s.maxStale.Store(int64(maxStale))
	return nil
}

// hear notes that what is applied was all there was at now.
func (s *State) hear(now time.Time) {
	s.heard.Store(now.UnixNano())
	s.unknown.Store(false)
}
