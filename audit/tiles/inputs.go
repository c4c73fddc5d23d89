package tiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// batchBytes bounds the memory of a batch.
const batchBytes = 16 << 20

// inputs are the journals of a sealer. They are one goroutine's.
type inputs struct {
	cfg     SealerConfig
	sources []*source
	trouble map[string]*trouble // by directory
	looked  time.Time           // when directories were last looked at
	turn    int                 // which source begins the next batch
	seen    recent
}

// trouble is a journal that could not be read, and when it is tried again.
type trouble struct {
	until time.Time
	pause time.Duration
}

// planned is an entry on its way into the tree.
type planned struct {
	raw  []byte
	leaf tlog.Hash
}

// batch is what is placed in the order and integrated together.
type batch struct {
	entries []planned
	runs    []run
	atEnd   bool
}

// look takes in journals that have appeared, at the place where the order is. One of cfg's own journals that is not of this log ends
// the sealer; a replica that is not is left out.
func (in *inputs) look(ctx context.Context, o *order) error {
	if time.Since(in.looked) < 100*time.Millisecond {
		return nil
	}
	in.looked = time.Now()
	remote, err := Replicas(in.cfg.Replicas)
	if err != nil {
		return err
	}
	own := distinct(in.cfg.Journals)
	for _, dir := range distinct(append(own[:len(own):len(own)], remote...)) {
		if slices.ContainsFunc(in.sources, func(s *source) bool { return s.dir == dir }) || in.waiting(dir) {
			continue
		}
		if err := in.take(dir, o); err != nil {
			if errors.Is(err, ErrDiverged) && slices.Contains(own, dir) {
				return err
			}
			in.failed(ctx, dir, err)
		}
	}
	return nil
}

// take adds the journal in dir, if it has an entry yet.
func (in *inputs) take(dir string, o *order) error {
	found, err := findSources([]string{dir})
	if err != nil || len(found) == 0 {
		return err
	}
	s := found[0]
	if other := sourceNamed(in.sources, s.name); other != nil {
		return fmt.Errorf("%w: the journals %s and %s are both of the gate %q: give each gate a name of its own, and name each journal once",
			ErrDiverged, other.dir, dir, s.name)
	}
	if err := s.check(o.used()[s.name]); err != nil {
		s.close()
		return err
	}
	delete(in.trouble, dir)
	in.sources = append(in.sources, s)
	if len(in.sources) > 1 {
		return in.seen.fill(logDir(in.cfg.Log))
	}
	return nil
}

func (in *inputs) waiting(dir string) bool {
	t := in.trouble[dir]
	return t != nil && time.Now().Before(t.until)
}

// failed reports a journal that can't be read, and lets it rest for a while.
func (in *inputs) failed(ctx context.Context, dir string, err error) {
	if in.trouble == nil {
		in.trouble = map[string]*trouble{}
	}
	t := in.trouble[dir]
	if t == nil {
		t = &trouble{}
		in.trouble[dir] = t
	}
	t.pause = min(max(2*t.pause, 100*time.Millisecond), 5*time.Second)
	t.until = time.Now().Add(t.pause)
	in.cfg.Logger.ErrorContext(ctx, "journal can't be sealed; trying again", "journal", dir, "after", t.pause, "error", err)
}

// gather takes the next entries of all journals, each in its order and none more than its share. It does not change the order but for
// what is left out.
func (in *inputs) gather(ctx context.Context, o *order) batch {
	b := batch{atEnd: true}
	if len(in.sources) == 0 {
		return b
	}
	share, bytes := max(batchEntries/len(in.sources), 1), 0
	in.turn++
	for i := range in.sources {
		s := in.sources[(in.turn+i)%len(in.sources)]
		if in.waiting(s.dir) {
			continue
		}
		if err := s.open(s.next); err != nil {
			in.failed(ctx, s.dir, err)
			continue
		}
		r := run{Source: s.name, From: s.next}
		for n := 0; ; n++ {
			if n == share || bytes >= batchBytes {
				b.atEnd = false
				break
			}
			raw, err := s.read()
			if errors.Is(err, io.EOF) {
				break
			}
			if _, known := s.reader.Acknowledged(); err == nil && !known {
				s.next--
				err = errors.New("reading journal: it has no acknowledged mark: open it with its gate once before sealing")
			}
			if err == nil {
				if l, ok := audit.ReadLabel(raw); ok && l.Gate != s.name && sourceNamed(in.sources, l.Gate) != nil {
					s.next--
					err = fmt.Errorf("entry %d of the journal of gate %q says that it is of gate %q: it is not sealed, and nothing after it", s.next, s.name, l.Gate)
				}
			}
			if err != nil {
				s.close()
				in.failed(ctx, s.dir, err)
				break
			}
			leaf := tlog.RecordHash(raw)
			if len(in.sources) > 1 && in.seen.elsewhere(leaf, s.name) {
				b.runs = appendRun(b.runs, r)
				o.skip(s.name, s.next-1)
				r = run{Source: s.name, From: s.next}
				continue
			}
			bytes += len(raw)
			r.Count, r.Last = r.Count+1, leaf
			b.entries = append(b.entries, planned{raw, leaf})
		}
		b.runs = appendRun(b.runs, r)
		if r.Count > 0 && s.reader != nil {
			delete(in.trouble, s.dir)
		}
	}
	return b
}

func appendRun(runs []run, r run) []run {
	if r.Count == 0 {
		return runs
	}
	return append(runs, r)
}

// replay reads the entries of runs.
func (in *inputs) replay(runs []run) (batch, error) {
	b := batch{runs: runs}
	if err := in.rewind(runs); err != nil {
		return batch{}, err
	}
	for _, r := range runs {
		s := sourceNamed(in.sources, r.Source)
		if s.next < r.From { // what lies between was left out
			if err := s.open(r.From); err != nil {
				return batch{}, err
			}
		}
		for range r.Count {
			raw, err := s.read()
			if errors.Is(err, io.EOF) {
				return batch{}, fmt.Errorf("%w: the log's order has entry %d of gate %q, the journal ends before it", ErrDiverged, s.next, s.name)
			}
			if err != nil {
				return batch{}, err
			}
			b.entries = append(b.entries, planned{raw, tlog.RecordHash(raw)})
		}
	}
	return b, nil
}

// rewind brings each source of the runs to its first entry in them.
func (in *inputs) rewind(runs []run) error {
	done := map[string]bool{}
	for _, r := range runs {
		if done[r.Source] {
			continue
		}
		done[r.Source] = true
		s := sourceNamed(in.sources, r.Source)
		if s == nil {
			return fmt.Errorf("the journal of gate %q is needed, whose entries are next in the log's order: name its directory", r.Source)
		}
		if err := s.open(r.From); err != nil {
			return err
		}
	}
	return nil
}

func (in *inputs) close() { closeSources(in.sources) }

// recent is the leaf hashes of the newest entries and which source they came from: what tells an entry that came twice, by two ways.
type recent struct {
	ring []tlog.Hash
	at   int
	from map[tlog.Hash]string
}

const recentEntries = 1 << 16

// fill takes the newest entries of the log; where they came from is not known and does not matter.
func (r *recent) fill(log logDir) error {
	size, err := SealedSize(string(log))
	if err != nil {
		return err
	}
	for n := (size - min(size, recentEntries)) / tileWidth; n*tileWidth < size; n++ {
		data, err := log.readTile(0, n, size)
		if err != nil {
			return err
		}
		for ; len(data) > 0; data = data[tlog.HashSize:] {
			r.elsewhere(tlog.Hash(data[:tlog.HashSize]), "")
		}
	}
	return nil
}

// elsewhere reports whether the entry came from another source before, and remembers it.
func (r *recent) elsewhere(leaf tlog.Hash, source string) bool {
	if from, ok := r.from[leaf]; ok {
		return from != source
	}
	if r.from == nil {
		r.from = map[tlog.Hash]string{}
	}
	if len(r.ring) < recentEntries {
		r.ring = append(r.ring, leaf)
	} else {
		delete(r.from, r.ring[r.at])
		r.ring[r.at] = leaf
		r.at = (r.at + 1) % recentEntries
	}
	r.from[leaf] = source
	return false
}
