package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// glimpse is what the first pass takes of an entry: its time and kind, and the whole of it when it is one of a lifecycle or an approval.
type glimpse struct {
	time  time.Time
	kind  audit.Kind
	entry *audit.Entry
	err   error
}

// glance reads time and kind off the canonical form, in which they are near the front: parsing every entry twice would double the work. A
// string can't imitate the marks: a quotation mark inside one is escaped.
func glance(raw []byte) (g glimpse, err error) {
	_, rest, ok := bytes.Cut(raw, []byte(`","time":"`))
	stamp, rest, ok2 := bytes.Cut(rest, []byte(`","kind":"`))
	kind, _, ok3 := bytes.Cut(rest, []byte(`"`))
	if !ok || !ok2 || !ok3 {
		return g, errors.New("it has no time and kind where they belong")
	}
	g.kind = audit.Kind(kind)
	g.time, err = time.Parse(time.RFC3339Nano, string(stamp))
	return g, err
}

// survey is the first pass: it computes the root again from every entry, finds where the period lies in the log, and takes the lifecycle
// entries, which the second pass needs to judge decisions by.
func (f *facts) survey(ctx context.Context, log *sealedLog) error {
	f.size = log.size()
	f.seedSamples(log.root())
	var edge frontier
	found := false
	var marks [][]byte
	for _, name := range f.settings.Rules.Approvals {
		for _, field := range []string{"signal", "update"} {
			marks = append(marks, fmt.Appendf(nil, `"%s":"%s"`, field, name))
		}
	}
	look := func(index uint64, raw []byte) glimpse {
		g, err := glance(raw)
		if err == nil && f.within(g.time) {
			wanted := g.kind != audit.KindDecision
			for _, m := range marks {
				wanted = wanted || bytes.Contains(raw, m)
			}
			if wanted {
				var e audit.Entry
				if e, err = audit.ParseEntry(raw); err == nil {
					e, _ = f.opened(index, e)
					g.entry = &e
				}
			}
		}
		g.err = err
		return g
	}
	for b := range bundlesOf(ctx, log, log.known.first, log.known.end(f.size), look) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if errors.Is(b.err, fs.ErrNotExist) {
			// Retention has removed these; their hashes are still in the tiles.
			next := min(b.first+tileWidth, f.size)
			hashes, err := log.hashes(b.first, next)
			if err != nil {
				return err
			}
			for _, h := range hashes {
				edge.push(h)
			}
			continue
		}
		if b.err != nil {
			return b.err
		}
		for i, g := range b.parsed {
			index := b.first + uint64(i)
			edge.push(b.hashes[i])
			if g.err != nil || !f.within(g.time) {
				continue
			}
			if !found {
				f.first, found = index, true
			}
			f.next = index + 1
			if g.entry == nil {
				continue
			}
			if g.kind == audit.KindDecision {
				f.approval(Ref{index, g.time, g.entry.ID}, g.entry)
			} else {
				f.lifecycle(Ref{index, g.time, g.entry.ID}, g.entry)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if log.known.partial {
		f.first, f.next = log.known.first, log.known.next
		return nil
	}
	if got := edge.root(); edge.size != f.size || got != log.tree.Hash {
		return fmt.Errorf("%w: its %d entries have the root %v, the checkpoint of %d states %v; run: bailiwick audit verify", ErrLog, edge.size, got, f.size, log.tree.Hash)
	}
	if !found {
		return fmt.Errorf("%w: no sealed entry lies between %s and %s", ErrEmpty, f.settings.From, f.settings.To)
	}
	// Whole bundles, so that the neighbours show where the period begins and ends.
	f.first -= f.first % tileWidth
	f.next = min((f.next+tileWidth-1)/tileWidth*tileWidth, f.size)
	return nil
}

// ErrEmpty is wrapped by the error for a period in which the log has nothing.
var ErrEmpty = errors.New("nothing in the period")

func (f *facts) approval(r Ref, e *audit.Entry) {
	if e.Decision == nil || !e.Decision.Allow {
		return
	}
	by := e.Resource.Signal
	if by == "" {
		by = e.Resource.Update
	}
	k := runKey{e.Resource.Namespace, e.Resource.WorkflowID}
	if len(f.approvals) < maxPairs && len(f.approvals[k]) < maxNames && e.Actor.Principal != "" {
		f.approvals[k] = append(f.approvals[k], approval{person{e.Actor.Principal, e.Actor.Login, e.Actor.ClientID}, r, by})
	}
}
