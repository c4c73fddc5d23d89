package tiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// source is one journal that goes into a log: that of a gate on this machine, or the replica of a remote one's. Its name is the gate's,
// so that it may be moved to another directory.
type source struct {
	name   string
	dir    string
	reader *audit.Reader
	next   uint64 // sequence number that the reader is at
}

// findSources names the journals in the directories. Those that have no entry yet are left out; two of the same gate are an error.
func findSources(dirs []string) ([]*source, error) {
	var found []*source
	for _, dir := range dirs {
		name, ok, err := gateOf(dir)
		if err != nil {
			return nil, fmt.Errorf("reading journal: %w", err)
		}
		if !ok {
			continue
		}
		for _, other := range found {
			if other.name == name {
				return nil, fmt.Errorf("the journals %s and %s are both of the gate %q: give each gate a name of its own, and name each journal once", other.dir, dir, name)
			}
		}
		found = append(found, &source{name: name, dir: dir})
	}
	return found, nil
}

// gateOf is audit.GateOf of a journal that has an entry. One reading decides both: a journal that gets its first entry between two readings would be
// taken as one that names no gate, under a name that it loses when the sealer is started again, and be sealed once more from its beginning.
func gateOf(dir string) (name string, ok bool, err error) {
	first, ok, err := audit.First(dir)
	if err != nil || !ok {
		return "", false, err
	}
	r, err := audit.OpenReader(dir, first)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = r.Close() }()
	ok = false
	for range 1 << 16 { // marks of lost entries may come first
		_, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", false, fmt.Errorf("finding out whose journal %s is: %w", dir, err)
		}
		ok = true
		if l, labelled := audit.ReadLabel(raw); labelled && l.Gate != "" {
			return l.Gate, true, nil
		}
	}
	return "", ok, nil
}

// Replicas lists the journals below a directory, sorted; none when there is no such directory.
func Replicas(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing replicas: %w", err)
	}
	var dirs []string
	for _, n := range names {
		if n.IsDir() {
			dirs = append(dirs, filepath.Join(dir, n.Name()))
		}
	}
	return dirs, nil
}

// distinct names each directory once.
func distinct(dirs []string) []string {
	var once []string
	for _, dir := range dirs {
		if dir != "" && !slices.Contains(once, filepath.Clean(dir)) {
			once = append(once, filepath.Clean(dir))
		}
	}
	return once
}

// open positions the source.
func (s *source) open(at uint64) (err error) {
	if s.reader != nil && s.next == at {
		return nil
	}
	s.close()
	if s.reader, err = audit.OpenReader(s.dir, at); err != nil {
		return fmt.Errorf("reading journal of gate %q: %w", s.name, err)
	}
	s.next = at
	return nil
}

// read returns the next entry. At the end it returns io.EOF and can be called again later.
func (s *source) read() ([]byte, error) {
	seq, raw, err := s.reader.Next()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("reading journal of gate %q: %w", s.name, err)
	}
	if seq != s.next {
		return nil, fmt.Errorf("reading journal of gate %q: entry %d came where %d was expected", s.name, seq, s.next)
	}
	s.next++
	return raw, nil
}

func (s *source) close() {
	if s.reader != nil {
		_ = s.reader.Close()
		s.reader = nil
	}
}

// check compares the last entry used with the journal's: the cheapest sign that the two belong together. Verify compares all.
func (s *source) check(c cursor) error {
	if c.Next == 0 {
		return s.open(0)
	}
	if first, ok, err := audit.First(s.dir); err != nil || ok && first >= c.Next {
		if err == nil && first > c.Next {
			err = fmt.Errorf("%w: the journal of gate %q begins at entry %d, the log has those before %d: entries between are gone", ErrDiverged, s.name, first, c.Next)
		}
		if err != nil {
			return err
		}
		return s.open(c.Next) // all that was used is pruned
	}
	if err := s.open(c.Next - 1); err != nil {
		return err
	}
	raw, err := s.read()
	if errors.Is(err, io.EOF) {
		if n, known := s.reader.Acknowledged(); known {
			return fmt.Errorf("%w: the log has %d entries of gate %q, the journal only %d: use the journal that the log was made from, or a new log directory",
				ErrDiverged, c.Next, s.name, n)
		}
		return fmt.Errorf("the log has %d entries of gate %q but there is no journal in %s yet", c.Next, s.name, s.dir)
	}
	if err != nil {
		return err
	}
	if tlog.RecordHash(raw) != c.Last && c.Last != (tlog.Hash{}) {
		return fmt.Errorf("%w: entry %d of the journal of gate %q is not the one in the log: use the journal that the log was made from, or a new log directory",
			ErrDiverged, c.Next-1, s.name)
	}
	return nil
}

// sourceNamed returns the source of a gate, or nil.
func sourceNamed(all []*source, name string) *source {
	for _, s := range all {
		if s.name == name {
			return s
		}
	}
	return nil
}

func closeSources(all []*source) {
	for _, s := range all {
		s.close()
	}
}
