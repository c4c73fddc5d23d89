package tiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// ScanConfig says what to scan.
type ScanConfig struct {
	Log      string   // the log's directory; empty: only the journals
	Journals []string // the journals' directories; empty: only what is sealed
	From     uint64   // index of the first entry
	Placed   bool     // only entries whose index is final
	Removed  bool     // also what retention has removed, as records without Entry and Raw; default: they are passed over
}

// Record is one entry of a scan.
type Record struct {
	Index   uint64      // in the log
	Entry   audit.Entry // parsed from Raw
	Raw     []byte      // canonical form
	Removed bool        // by retention: nothing but Index is known, see ScanConfig.Removed
	Sealed  bool        // under the log's checkpoint, as it was when the scan began
	// Placed says that the index is final: the entry is sealed, or in the sealer's order, or of a log that one journal alone goes into. The
	// others have the index that they get if nothing comes before them.
	Placed bool
}

// Scan yields the entries from cfg.From on, in order: those under the checkpoint from the log, the rest from the journals, up to the
// end as it is then; of those not placed yet the earlier first. To follow, scan again from the index after the last placed. It reads and
// does not verify; Verify does. An error ends the scan, except for a malformed entry, which is yielded with its Index and Raw and can be
// passed over.
func Scan(ctx context.Context, cfg ScanConfig) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := scan{ctx: ctx, cfg: cfg, next: cfg.From, yield: yield}
		if err := s.run(); err != nil {
			yield(Record{}, err)
		}
	}
}

// scan is one Scan.
type scan struct {
	ctx     context.Context
	cfg     ScanConfig
	next    uint64 // index of the next entry to yield
	yield   func(Record, error) bool
	stopped bool // by the consumer
}

func (s *scan) run() error {
	o := order{}
	for s.cfg.Log != "" {
		size, err := SealedSize(s.cfg.Log)
		if err == nil {
			err = s.sealed(size)
		}
		if err != nil {
			return fmt.Errorf("scanning log: %w", err)
		}
		// The order may have been written after that checkpoint was replaced by a later one.
		if o, _, err = logDir(s.cfg.Log).readOrder(); err != nil {
			return fmt.Errorf("scanning log: %w", err)
		}
		if s.stopped || o.Size <= size {
			break
		}
	}
	if s.stopped {
		return nil
	}
	var err error
	dirs := distinct(s.cfg.Journals)
	if len(dirs) == 1 && len(o.Sources) < 2 && len(o.Skipped) == 0 {
		err = s.alone(dirs[0])
	} else if len(dirs) > 0 {
		err = s.several(dirs, o)
	}
	if err != nil {
		return fmt.Errorf("scanning journal: %w", err)
	}
	return nil
}

// sealed yields the entries below the size from the log.
func (s *scan) sealed(size uint64) error {
	for s.next < size && !s.stopped {
		entries, err := logDir(s.cfg.Log).readBundle(s.next/tileWidth, size)
		if err == nil {
			err = s.ctx.Err()
		}
		if errors.Is(err, ErrRemoved) {
			s.passRemoved()
			continue
		}
		if err != nil {
			return err
		}
		for _, raw := range entries[s.next%tileWidth:] {
			if !s.entry(s.next, raw, true, true) {
				return nil
			}
			s.next++
		}
	}
	return nil
}

// passRemoved goes on behind the entries of a bundle that retention has removed.
func (s *scan) passRemoved() {
	for end := (s.next/tileWidth + 1) * tileWidth; s.next < end && !s.stopped; s.next++ {
		if s.cfg.Removed {
			s.stopped = !s.yield(Record{Index: s.next, Sealed: true, Placed: true, Removed: true}, nil)
		}
	}
}

// alone yields the entries of the only journal, whose sequence numbers are the indexes.
func (s *scan) alone(dir string) error {
	r, err := audit.OpenReader(dir, s.next)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for {
		seq, raw, err := r.Next()
		if err == nil {
			err = s.ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !s.entry(seq, raw, false, true) {
			return nil
		}
	}
}

// several yields the entries that are placed and not sealed, and then the others.
func (s *scan) several(dirs []string, o order) error {
	sources, err := findSources(dirs)
	if err != nil {
		return err
	}
	defer closeSources(sources)
	for _, r := range o.after(max(s.next, o.Size)) {
		j := sourceNamed(sources, r.Source)
		if j == nil {
			return nil // its journal is not at hand, so what follows can't be told in order
		}
		if err := j.open(r.From); err != nil {
			return err
		}
		for range r.Count {
			raw, err := j.read()
			if err == nil {
				err = s.ctx.Err()
			}
			if err != nil {
				return err
			}
			if !s.entry(s.next, raw, false, true) {
				return nil
			}
			s.next++
		}
	}
	if s.cfg.Placed {
		return nil
	}
	return s.pending(sources, o)
}

// pending yields what is in no order yet, by time.
func (s *scan) pending(sources []*source, o order) error {
	type head struct {
		*source
		raw []byte
		at  time.Time
	}
	var heads []head
	advance := func(h *head) (bool, error) {
		raw, err := h.read()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		e, _ := audit.ParseEntry(raw)
		h.raw, h.at = raw, e.Time
		return true, nil
	}
	used := o.used()
	for _, j := range sources {
		first, _, err := audit.First(j.dir)
		if err != nil {
			return err
		}
		if err := j.open(max(used[j.name].Next, first)); err != nil {
			return err
		}
		h := head{source: j}
		if ok, err := advance(&h); err != nil {
			return err
		} else if ok {
			heads = append(heads, h)
		}
	}
	for index := o.end(); len(heads) > 0; index++ {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		i := 0
		for k := range heads {
			if heads[k].at.Before(heads[i].at) {
				i = k
			}
		}
		if index >= s.next && !s.entry(index, heads[i].raw, false, false) {
			return nil
		}
		if ok, err := advance(&heads[i]); err != nil {
			return err
		} else if !ok {
			heads = slices.Delete(heads, i, i+1)
		}
	}
	return nil
}

// entry yields one entry; false means that the consumer wants no more.
func (s *scan) entry(index uint64, raw []byte, sealed, placed bool) bool {
	e, err := audit.ParseEntry(raw)
	if err != nil {
		err = fmt.Errorf("entry %d: %w", index, err)
	}
	s.stopped = !s.yield(Record{Index: index, Entry: e, Raw: raw, Sealed: sealed, Placed: placed}, err)
	return !s.stopped
}

// Unsealed counts the acknowledged entries of the journals that are under no checkpoint yet, up to a limit.
func Unsealed(ctx context.Context, cfg ScanConfig, limit int) (int, error) {
	return countTail(ctx, cfg, limit, func(r Record) bool { return !r.Sealed })
}

// Unplaced counts the acknowledged entries of the journals that have no final index yet, up to a limit: a running sealer places them within
// a fifth of a second.
func Unplaced(ctx context.Context, cfg ScanConfig, limit int) (int, error) {
	return countTail(ctx, cfg, limit, func(r Record) bool { return !r.Placed })
}

func countTail(ctx context.Context, cfg ScanConfig, limit int, counts func(Record) bool) (n int, err error) {
	if cfg.Log != "" {
		if cfg.From, err = SealedSize(cfg.Log); err != nil {
			return 0, err
		}
	}
	for r, err := range Scan(ctx, cfg) {
		if err != nil && r.Raw == nil {
			return n, err
		}
		if counts(r) {
			if n++; n == limit {
				break
			}
		}
	}
	return n, nil
}

// SealedSize returns the size that the checkpoint of the log in dir states, unverified; 0 when there is none yet.
func SealedSize(dir string) (uint64, error) {
	msg, err := os.ReadFile(filepath.Join(dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading checkpoint: %w", err)
	}
	text, err := signedText(msg)
	if err != nil {
		return 0, err
	}
	c, err := parseCheckpoint(text)
	return c.size, err
}
