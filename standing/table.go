package standing

import (
	"hash/maphash"
	"maps"
	"sync/atomic"
	"time"
)

// holder is all that is known of one principal, client or session. It is never changed: a writer puts another in its place.
type holder struct {
	grants      []*Grant  // by id
	from, until time.Time // within [from, until) every one of grants is live, so that the usual read copies nothing
	bars        []Bar
	person      *Person
}

func (h *holder) empty() bool { return len(h.grants) == 0 && len(h.bars) == 0 && h.person == nil }

// span works out from and until.
func (h *holder) span() {
	h.from, h.until = time.Time{}, time.Time{}
	for i, g := range h.grants {
		if i == 0 || g.NotBefore.After(h.from) {
			h.from = g.NotBefore
		}
		if i == 0 || g.Expires.Before(h.until) {
			h.until = g.Expires
		}
	}
}

// live returns the grants that hold at now; shared, read only.
func (h *holder) live(now time.Time) []*Grant {
	if len(h.grants) == 0 || !now.Before(h.from) && now.Before(h.until) {
		return h.grants
	}
	var out []*Grant
	for _, g := range h.grants {
		if g.Live(now) {
			out = append(out, g)
		}
	}
	return out
}

// shards is into how many parts a table is cut: a write copies one part.
const shards = 256

// table maps names to holders. Reads take no lock; whoever writes holds State.mu.
type table struct {
	seed  maphash.Seed
	parts [shards]atomic.Pointer[map[string]*holder]
}

func newTable() *table { return &table{seed: maphash.MakeSeed()} }

// get does not keep key, so a caller may build it on its stack.
func (t *table) get(key []byte) *holder {
	part := t.parts[maphash.Bytes(t.seed, key)%shards].Load()
	if part == nil {
		return nil
	}
	return (*part)[string(key)]
}

// edit is a set of changes that are put in place part by part, each part copied once.
type edit struct {
	table   *table
	touched map[uint64]map[string]*holder
}

func (t *table) edit() *edit { return &edit{t, map[uint64]map[string]*holder{}} }

// change returns a copy of the holder of key that the caller may alter until commit.
func (e *edit) change(key string) *holder {
	n := maphash.String(e.table.seed, key) % shards
	part, ok := e.touched[n]
	if !ok {
		part = map[string]*holder{}
		if now := e.table.parts[n].Load(); now != nil {
			part = maps.Clone(*now)
		}
		e.touched[n] = part
	}
	h := &holder{}
	if was := part[key]; was != nil {
		*h = *was
	}
	part[key] = h
	return h
}

func (e *edit) commit() {
	for n, part := range e.touched {
		maps.DeleteFunc(part, func(_ string, h *holder) bool { return h.empty() })
		e.table.parts[n].Store(&part)
	}
}
