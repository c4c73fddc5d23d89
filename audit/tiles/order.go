package tiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// orderName is the file in a log's directory that says which journal entry has which index. It is not part of the published log.
const orderName = "order.json"

// orderVersion is the integer version of that file. History: 1 (2026-11) first.
const orderVersion = 1

// order places the entries of several journals in one log. It is written, and synced, before the entries that it places are given to
// the Merkle tree: so after a crash the tree can be completed in the order that was begun, and readers may rely on an index from then
// on. It can be derived again from log and journals (see derive), so its loss costs time and no entry.
type order struct {
	Version int               `json:"v"`
	Size    uint64            `json:"size"`              // Sources says how far the first Size entries of the log, all published, have used the journals
	Sources map[string]cursor `json:"sources"`           // by gate
	Runs    []run             `json:"runs,omitempty"`    // what follows them in the log, in order
	Skipped []run             `json:"skipped,omitempty"` // journal entries that are in the log already, and were left out
}

// cursor is how far a journal is used.
type cursor struct {
	Next uint64    `json:"next"`          // sequence number of the entry after the last used
	Last tlog.Hash `json:"last,omitzero"` // leaf hash of that last one; zero when there is none, or it is not known
}

// run is a row of entries of one journal.
type run struct {
	Source string    `json:"source"` // the gate
	From   uint64    `json:"from"`   // sequence number of the first
	Count  uint64    `json:"count"`
	Last   tlog.Hash `json:"last,omitzero"` // leaf hash of the last
}

// readOrder reads the order of a log; ok is false when there is none.
func (l logDir) readOrder() (o order, ok bool, err error) {
	raw, err := os.ReadFile(filepath.Join(string(l), orderName))
	if errors.Is(err, fs.ErrNotExist) {
		return order{}, false, nil
	}
	if err != nil {
		return order{}, false, fmt.Errorf("reading the log's order: %w", err)
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return order{}, false, fmt.Errorf("reading the log's order: %s: %w", orderName, err)
	}
	if o.Version != orderVersion {
		return order{}, false, fmt.Errorf("reading the log's order: %s has version %d, this build reads version %d: use a newer bailiwick", orderName, o.Version, orderVersion)
	}
	return o, true, nil
}

func (l logDir) writeOrder(o order, write func(path string, data []byte, perm os.FileMode) error) error {
	o.Version = orderVersion
	raw, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("writing the log's order: %w", err)
	}
	if err := write(filepath.Join(string(l), orderName), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the log's order: %w", err)
	}
	return nil
}

// durableWrite is how the order is written, but in fault tests.
var durableWrite = durable.WriteFile

// end is the index after the last entry that has a place.
func (o *order) end() uint64 {
	n := o.Size
	for _, r := range o.Runs {
		n += r.Count
	}
	return n
}

// fold takes whole runs into the cursors as far as the log is published. What is kept begins at or before that size.
func (o *order) fold(published uint64) {
	for len(o.Runs) > 0 && o.Size+o.Runs[0].Count <= published {
		r := o.Runs[0]
		o.Sources[r.Source] = cursor{Next: r.From + r.Count, Last: r.Last}
		o.Size += r.Count
		o.Runs = o.Runs[1:]
	}
}

// used returns the cursors behind the last run.
func (o *order) used() map[string]cursor {
	all := make(map[string]cursor, len(o.Sources))
	for name, c := range o.Sources {
		all[name] = c
	}
	for _, r := range o.Runs {
		all[r.Source] = cursor{Next: r.From + r.Count, Last: r.Last}
	}
	for _, r := range o.Skipped {
		if c := all[r.Source]; r.From <= c.Next && c.Next < r.From+r.Count {
			all[r.Source] = cursor{Next: r.From + r.Count}
		}
	}
	return all
}

// after returns the runs from an index on, which is not before o.Size.
func (o *order) after(index uint64) []run {
	at := o.Size
	for i, r := range o.Runs {
		if at+r.Count > index {
			rest := slices.Clone(o.Runs[i:])
			rest[0].From += index - at
			rest[0].Count -= index - at
			return rest
		}
		at += r.Count
	}
	return nil
}

// skip notes an entry that was left out.
func (o *order) skip(source string, seq uint64) {
	for i := len(o.Skipped) - 1; i >= 0; i-- {
		if s := &o.Skipped[i]; s.Source == source {
			if s.From+s.Count == seq {
				s.Count++
				return
			}
			break
		}
	}
	o.Skipped = append(o.Skipped, run{Source: source, From: seq, Count: 1})
}
