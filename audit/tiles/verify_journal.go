package tiles

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// compared is a journal that is compared with the log: entry by entry, and where the two are out of step, by looking ahead.
type compared struct {
	*source
	ahead   []aheadEntry
	err     error  // why there is nothing behind ahead
	ended   bool   // nothing is to be compared any more
	resync  bool   // entries of the log were removed by retention: where journal and log meet again has to be found
	pruned  uint64 // entries of the log that come before what the journal still has
	unfound int    // entries of the log that were not found here, whose counterparts may follow
}

type aheadEntry struct {
	seq uint64
	raw []byte
}

// lookAhead bounds how far out of step log and journal may be to be brought into step again.
const lookAhead = 1024

func (v *verification) openJournals(dirs []string) error {
	o, _, err := v.log.readOrder()
	if err != nil {
		v.report.note(CodeOrder, 0, "%v; it is derived again when the log is sealed", err)
		o = order{}
	}
	sources, err := findDamaged(dirs, o)
	if err != nil {
		return err
	}
	for _, s := range sources {
		first, _, err := audit.First(s.dir)
		if err == nil {
			err = s.open(first)
		}
		if err != nil {
			return err
		}
		c := &compared{source: s, pruned: first}
		for _, r := range o.Skipped {
			if r.Source == s.name && r.From < first {
				c.pruned -= min(r.Count, first-r.From)
			}
		}
		if first > 0 {
			v.report.note(CodeJournalPruned, 0, "the journal of gate %q begins at its entry %d; those before it are in the log only", s.name, first)
		}
		v.journals = append(v.journals, c)
	}
	// Then every entry belongs to it, whatever gate it names.
	v.alone = len(v.journals) == 1 && len(o.used()) < 2
	return v.readLeftOut(o)
}

// findDamaged is findSources for journals that may be damaged where they say whose they are: the order may know.
func findDamaged(dirs []string, o order) ([]*source, error) {
	var good []string
	var damaged []*source
	for _, dir := range dirs {
		_, err := audit.GateOf(dir)
		var corrupt *audit.CorruptError
		if errors.As(err, &corrupt) {
			damaged = append(damaged, &source{dir: dir})
			continue
		}
		good = append(good, dir) // any other error comes up again
	}
	sources, err := findSources(good)
	if err != nil || len(damaged) == 0 {
		return sources, err
	}
	var unaccounted []string
	for name := range o.used() {
		if sourceNamed(sources, name) == nil {
			unaccounted = append(unaccounted, name)
		}
	}
	if len(damaged) == 1 && len(unaccounted) == 1 {
		damaged[0].name = unaccounted[0]
	}
	return append(sources, damaged...), nil
}

// leftOut is an entry that the order says is in the log already.
type leftOut struct {
	run
	found bool
}

// readLeftOut reads the journal entries that the order says were left out because the log has them.
func (v *verification) readLeftOut(o order) error {
	for _, r := range o.Skipped {
		for _, c := range v.journals {
			if c.name != r.Source || r.From+r.Count <= c.next {
				continue
			}
			from := max(r.From, c.next)
			reader, err := audit.OpenReader(c.dir, from)
			if err != nil {
				return err
			}
			for seq := from; seq < r.From+r.Count; seq++ {
				_, raw, err := reader.Next()
				if err != nil {
					break // comparing comes upon it too
				}
				if v.leftOut == nil {
					v.leftOut = map[tlog.Hash]*leftOut{}
				}
				v.leftOut[tlog.RecordHash(raw)] = &leftOut{run: run{Source: c.name, From: seq, Count: 1}}
			}
			if err := reader.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verification) closeJournals() {
	for _, c := range v.journals {
		c.close()
	}
}

// fill reads ahead so that there are n entries, unless the journal ends.
func (c *compared) fill(n int, skip map[tlog.Hash]*leftOut) {
	for len(c.ahead) < n && c.err == nil {
		at := c.next
		raw, err := c.read()
		if err != nil {
			c.err = err
			return
		}
		if len(skip) > 0 {
			if r, ok := skip[tlog.RecordHash(raw)]; ok && r.Source == c.name && r.From == at {
				continue
			}
		}
		c.ahead = append(c.ahead, aheadEntry{at, raw})
	}
}

// of returns the journal that an entry of the log should be in; nil when it is not at hand.
func (v *verification) of(raw []byte) *compared {
	if v.alone {
		return v.journals[0]
	}
	label, _ := audit.ReadLabel(raw)
	for _, c := range v.journals {
		if c.name == label.Gate {
			return c
		}
	}
	// One that names no gate, or another than its journal's.
	for _, c := range v.journals {
		if c.fill(1, v.leftOut); len(c.ahead) > 0 && bytes.Equal(c.ahead[0].raw, raw) {
			return c
		}
	}
	return nil
}

// compareJournal compares a sealed entry with its journal's. After damage there is nothing to compare with.
func (v *verification) compareJournal(index uint64, sealed []byte, leaf tlog.Hash) {
	if len(v.journals) == 0 {
		return
	}
	if r, ok := v.leftOut[leaf]; ok {
		r.found = true
	}
	c := v.of(sealed)
	if c == nil {
		v.report.Elsewhere++
		return
	}
	if c.pruned > 0 {
		c.pruned--
		return
	}
	if c.ended || !v.inStep(c, sealed) {
		return
	}
	c.fill(1, v.leftOut)
	switch {
	case len(c.ahead) == 0:
		v.journalProblem(c, index)
	case bytes.Equal(c.ahead[0].raw, sealed):
		c.ahead = c.ahead[1:]
		v.report.Journal++
	case isLost(c.ahead[0].raw):
		v.report.note(CodeJournalLost, index, "entry %d: the disk of the journal of gate %q lost it, the log has it", index, c.name)
		c.ahead = c.ahead[1:]
	default:
		v.outOfStep(c, index, sealed)
	}
}

// outOfStep looks for a sealed entry further on in its journal.
func (v *verification) outOfStep(c *compared, index uint64, sealed []byte) {
	c.fill(lookAhead, v.leftOut)
	for i, e := range c.ahead {
		if !bytes.Equal(e.raw, sealed) {
			continue
		}
		if i > c.unfound {
			v.report.problem(CodeJournalMismatch, index, "entry %d of the journal of gate %q is not in the log before entry %d", c.ahead[0].seq, c.name, index)
		}
		c.unfound -= min(i, c.unfound)
		c.ahead = c.ahead[i+1:]
		v.report.Journal++
		return
	}
	c.unfound++
	v.report.problem(CodeJournalMismatch, index, "entry %d of the log is not entry %d of the journal of gate %q", index, c.ahead[0].seq, c.name)
}

// missing tells the comparison that the log lacks n entries, nobody knows whose.
func (v *verification) missing(n int) {
	for _, c := range v.journals {
		c.unfound += n
	}
}

func isLost(raw []byte) bool {
	return audit.KindOf(raw) == audit.KindLost
}

// journalProblem reports why a journal can't be read at index, and ends the comparison with it.
func (v *verification) journalProblem(c *compared, index uint64) {
	c.ended = true
	var corrupt *audit.CorruptError
	switch {
	case errors.Is(c.err, io.EOF):
		v.report.problem(CodeJournalShort, index, "the journal of gate %q ends before its entry %d, which is entry %d of the log", c.name, c.next, index)
	case errors.As(c.err, &corrupt) && corrupt.Short:
		v.report.problem(CodeJournalShort, index, "%v", c.err)
	default:
		v.report.problem(CodeJournalTorn, index, "%v", c.err)
	}
}

// tail counts and parses what the journals have behind the checkpoint.
func (v *verification) tail() {
	for _, c := range v.journals {
		for !c.ended {
			c.fill(1, v.leftOut)
			if len(c.ahead) == 0 {
				if !errors.Is(c.err, io.EOF) {
					v.journalProblem(c, v.checkpoint.size+v.report.Unsealed)
				}
				break
			}
			e := c.ahead[0]
			c.ahead = c.ahead[1:]
			if c.unfound > 0 {
				c.unfound-- // the counterpart of one that was not found
				continue
			}
			v.report.Unsealed++
			parsed, err := audit.ParseEntry(e.raw)
			if err != nil {
				v.report.problem(CodeEntryMalformed, v.checkpoint.size, "entry %d of the journal of gate %q (not sealed yet): %v", e.seq, c.name, err)
			} else if parsed.Kind == audit.KindLost {
				v.report.note(CodeJournalLost, v.checkpoint.size, "entry %d of the journal of gate %q (not sealed yet) stands for one that was acknowledged and that the journal's disk lost", e.seq, c.name)
			}
		}
	}
	for _, r := range v.leftOut {
		if r.found {
			continue
		}
		v.report.problem(CodeJournalMismatch, 0, "entry %d of the journal of gate %q was left out as one that the log has already, and the log does not have it", r.From, r.Source)
	}
}
