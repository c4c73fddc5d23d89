package standing

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Reasons of bars that a State makes up itself.
const (
	// ReasonUnknown bars everybody: this gate follows a feed and has neither heard it yet nor a readable copy from before, so that it can't
	// know whose access was taken away.
	ReasonUnknown = "standing_unknown"
	// ReasonInactive bars a person whom the directory calls inactive.
	ReasonInactive = "user_inactive"
)

// tombstoneKeep is how long the end of a grant that was never seen is remembered, so that a grant that comes after its end stays ended.
const tombstoneKeep = 31 * 24 * time.Hour

// State is a gate's view of everybody's standing. The zero value is empty and ready. Reads take no lock; a decision that begins after Apply
// has returned sees what was applied.
type State struct {
	view     atomic.Pointer[view] // nil when empty
	unknown  atomic.Bool          // a follower that has nothing to go by yet
	heard    atomic.Int64         // when the control plane was last heard, in ns since 1970; counts only with maxStale
	maxStale atomic.Int64         // ns; 0: the state is the source itself and is never stale

	mu     sync.Mutex // covers what follows, and writing
	seq    uint64
	grants map[string]grantAt // by id
	bars   map[string]barAt   // by id
}

// view is what readers see: whole, and swapped whole when everything is replaced.
type view struct {
	people, clients, sessions *table
	barring                   atomic.Int64 // bars and inactive persons; 0 spares every call the look
	granted                   atomic.Int64
	persons                   atomic.Int64
}

func newView() *view { return &view{people: newTable(), clients: newTable(), sessions: newTable()} }

// grantAt is where a grant is, or that it has ended.
type grantAt struct {
	principal string
	ended     bool
	until     time.Time // when it can be forgotten
}

type barAt struct {
	where  func(*view) *table
	holder string
}

func people(v *view) *table   { return v.people }
func clients(v *view) *table  { return v.clients }
func sessions(v *view) *table { return v.sessions }

// at says where a bar belongs.
func (b *Bar) at() barAt {
	switch {
	case b.Principal != "":
		return barAt{people, b.Principal}
	case b.ClientID != "":
		return barAt{clients, b.ClientID}
	}
	return barAt{sessions, b.SessionID}
}

// Grants returns the live grants of a principal, by id. They are shared and must not be changed.
func (s *State) Grants(principal string, now time.Time) []*Grant {
	v := s.view.Load()
	if v == nil || v.granted.Load() == 0 || s.Stale(now) {
		return nil
	}
	var room [128]byte
	h := v.people.get(append(room[:0], principal...))
	if h == nil {
		return nil
	}
	return h.live(now)
}

// Live lists the grants that are honoured at now, whoever holds them. They are shared and must not be changed.
func (s *State) Live(now time.Time) (out []*Grant) {
	s.mu.Lock()
	holders := map[string]bool{}
	for _, g := range s.grants {
		holders[g.principal] = holders[g.principal] || !g.ended
	}
	s.mu.Unlock()
	for principal, any := range holders {
		if any {
			out = append(out, s.Grants(principal, now)...)
		}
	}
	return out
}

// Stale reports whether the control plane was not heard for so long that grants are not honoured.
func (s *State) Stale(now time.Time) bool {
	limit := s.maxStale.Load()
	return limit > 0 && now.UnixNano()-s.heard.Load() > limit
}

// Barred reports whether a token's access was taken away: its person's, its client's, an actor's in its chain, or its session's. Bars of one
// group are not among them.
func (s *State) Barred(c *identity.Claims, now time.Time) (Bar, bool) {
	if s.unknown.Load() {
		return Bar{Reason: ReasonUnknown, Since: now}, true
	}
	v := s.view.Load()
	if v == nil || v.barring.Load() == 0 {
		return Bar{}, false
	}
	var room [128]byte
	key := append(room[:0], c.Kind...)
	key = append(append(append(append(key, ':'), c.Issuer...), '|'), c.ID...)
	if b, barred := v.people.get(key).takes(c); barred {
		return b, true
	}
	if b, barred := v.clients.get(append(room[:0], c.ClientID...)).takes(c); barred {
		return b, true
	}
	if c.SessionID != "" {
		if b, barred := v.sessions.get(append(room[:0], c.SessionID...)).takes(c); barred {
			return b, true
		}
	}
	for i := range c.Actors {
		if b, barred := v.actor(c, c.Actors[i].Subject); barred {
			return b, true
		}
	}
	return Bar{}, false
}

// actor looks for bars of one link of a delegation chain. Its subject is a client id or a person's id or name: each is tried.
func (v *view) actor(c *identity.Claims, subject string) (Bar, bool) {
	if b, barred := v.clients.get([]byte(subject)).takes(c); barred {
		return b, true
	}
	for _, kind := range []identity.Kind{identity.Client, identity.User} {
		as := identity.Claims{Kind: kind, Issuer: c.Issuer, ID: subject}
		if b, barred := v.people.get([]byte(as.Principal())).takes(c); barred {
			return b, true
		}
	}
	return Bar{}, false
}

// takes reports the first bar of the holder that meets the token.
func (h *holder) takes(c *identity.Claims) (Bar, bool) {
	if h == nil {
		return Bar{}, false
	}
	for i := range h.bars {
		if b := &h.bars[i]; b.Group == "" && b.meets(c) {
			return *b, true
		}
	}
	if p := h.person; p != nil && !p.Active {
		return Bar{Principal: p.Principal, Reason: ReasonInactive, Since: p.AsOf}, true
	}
	return Bar{}, false
}

// meets reports whether the token is one of those that the bar takes. Tokens say in whole seconds when they were issued, so one of the very
// second of Before is taken too: whoever just signed in again gets another a second later, and nobody keeps one from just before.
func (b *Bar) meets(c *identity.Claims) bool {
	return b.Before.IsZero() || !c.IssuedAt.After(b.Before)
}

// GroupsLost lists the groups that the token still names and that were taken from its principal since. Nil for most.
func (s *State) GroupsLost(c *identity.Claims, _ time.Time) []string {
	v := s.view.Load()
	if v == nil || v.barring.Load() == 0 || len(c.Groups) == 0 {
		return nil
	}
	var room [128]byte
	key := append(room[:0], c.Kind...)
	key = append(append(append(append(key, ':'), c.Issuer...), '|'), c.ID...)
	h := v.people.get(key)
	if h == nil {
		return nil
	}
	var lost []string
	for i := range h.bars {
		if b := &h.bars[i]; b.Group != "" && b.meets(c) && slices.Contains(c.Groups, b.Group) && !slices.Contains(lost, b.Group) {
			lost = append(lost, b.Group)
		}
	}
	slices.Sort(lost)
	return lost
}

// Person returns the newest facts of the directory about a principal.
func (s *State) Person(principal string) (Person, bool) {
	v := s.view.Load()
	if v == nil {
		return Person{}, false
	}
	h := v.people.get([]byte(principal))
	if h == nil || h.person == nil {
		return Person{}, false
	}
	return *h.person, true
}

// Status is what a State holds.
type Status struct {
	Seq     uint64    `json:"seq"` // of the last event applied
	Known   bool      `json:"known"`
	Stale   bool      `json:"stale"`
	Grants  int64     `json:"grants"` // those that have expired and were not swept yet included
	Bars    int64     `json:"bars"`   // inactive persons included
	Persons int64     `json:"persons"`
	Heard   time.Time `json:"heard,omitzero"` // when the control plane was last heard; zero for the source itself
}

// Status tells what the state holds at now.
func (s *State) Status(now time.Time) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{Seq: s.seq, Known: !s.unknown.Load(), Stale: s.Stale(now)}
	if s.maxStale.Load() > 0 && s.heard.Load() != 0 {
		out.Heard = time.Unix(0, s.heard.Load()).UTC()
	}
	if v := s.view.Load(); v != nil {
		out.Grants, out.Bars, out.Persons = v.granted.Load(), v.barring.Load(), v.persons.Load()
	}
	return out
}
