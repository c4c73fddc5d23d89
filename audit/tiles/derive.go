package tiles

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// derive finds out from log and journals which journal entries the first entries of the log are: they are the journals' in their order,
// and name their gate. What a journal has no more is counted.
func (in *inputs) derive(ctx context.Context, size uint64) (order, error) {
	o := order{Size: size, Sources: map[string]cursor{}}
	if size == 0 {
		return o, nil
	}
	remote, err := Replicas(in.cfg.Replicas)
	if err != nil {
		return order{}, err
	}
	sources, err := findSources(distinct(append(remote, in.cfg.Journals...)))
	if err != nil {
		return order{}, err
	}
	defer closeSources(sources)
	w := walk{order: &o, sources: sources}
	log := logDir(in.cfg.Log)
	for n := uint64(0); n*tileWidth < size; n++ {
		if err := ctx.Err(); err != nil {
			return order{}, err
		}
		entries, err := log.readBundle(n, size)
		if err != nil {
			return order{}, err
		}
		for i, raw := range entries {
			if err := w.place(n*tileWidth+uint64(i), raw); err != nil {
				return order{}, err
			}
		}
	}
	return o, nil
}

// walk is one derivation.
type walk struct {
	order   *order
	sources []*source
	seen    recent
}

// place finds the journal of an entry of the log.
func (w *walk) place(index uint64, raw []byte) error {
	leaf := tlog.RecordHash(raw)
	w.seen.elsewhere(leaf, "")
	label, _ := audit.ReadLabel(raw)
	s := sourceNamed(w.sources, label.Gate)
	if s == nil && len(w.sources) == 1 {
		s = w.sources[0]
	}
	if s == nil {
		s = w.holding(leaf)
	}
	if s == nil { // its journal is not here
		name := label.Gate
		c := w.order.Sources[name]
		w.order.Sources[name] = cursor{Next: c.Next + 1, Last: leaf}
		return nil
	}
	c := w.order.Sources[s.name]
	first, _, err := audit.First(s.dir)
	if err != nil {
		return err
	}
	if c.Next < first {
		w.order.Sources[s.name] = cursor{Next: c.Next + 1, Last: leaf}
		return nil
	}
	if err := s.open(c.Next); err != nil {
		return err
	}
	for {
		at := s.next
		have, err := s.read()
		if errors.Is(err, io.EOF) {
			n, known := s.reader.Acknowledged()
			if !known {
				return fmt.Errorf("the log has %d entries but there is no journal in %s yet", index+1, s.dir)
			}
			return fmt.Errorf("%w: entry %d of the log is entry %d of gate %q, the journal has only %d: use the journal that the log was made from, or a new log directory",
				ErrDiverged, index, at, s.name, n)
		}
		if err != nil {
			return err
		}
		got := tlog.RecordHash(have)
		if got == leaf {
			w.order.Sources[s.name] = cursor{Next: at + 1, Last: leaf}
			return nil
		}
		if _, there := w.seen.from[got]; !there {
			return fmt.Errorf("%w: entry %d of the journal of gate %q is not the one in the log: use the journal that the log was made from, or a new log directory",
				ErrDiverged, at, s.name)
		}
		w.order.skip(s.name, at)
	}
}

// holding returns the source whose next entry has that hash: an entry may name no gate, or another than its journal's.
func (w *walk) holding(leaf tlog.Hash) *source {
	for _, s := range w.sources {
		if err := s.open(w.order.Sources[s.name].Next); err != nil {
			continue
		}
		if raw, err := s.read(); err == nil && tlog.RecordHash(raw) == leaf {
			return s
		}
	}
	return nil
}
