package tiles

import (
	"bytes"
	"errors"
	"io"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// compareJournal compares a sealed entry with the journal's at the same place. After damage there is nothing to compare with.
func (v *verification) compareJournal(index uint64, sealed []byte) {
	if v.journal == nil {
		return
	}
	seq, raw, err := v.journal.Next()
	if err != nil {
		v.journalProblem(index, err)
		return
	}
	// They can be apart when the log lacks an entry; then the journal catches up.
	for err == nil && seq < index {
		seq, raw, err = v.journal.Next()
	}
	if err != nil {
		v.journalProblem(index, err)
		return
	}
	switch {
	case bytes.Equal(raw, sealed):
		v.report.Journal++
	case isLost(raw):
		v.report.note(CodeJournalLost, index, "entry %d: the journal's disk lost it, the log has it", index)
	default:
		v.report.problem(CodeJournalMismatch, index, "entry %d of the log is not entry %d of the journal", index, seq)
	}
}

func isLost(raw []byte) bool {
	e, err := audit.ParseEntry(raw)
	return err == nil && e.Kind == audit.KindLost
}

// journalProblem reports why the journal can't be read at index, and ends the comparison.
func (v *verification) journalProblem(index uint64, err error) {
	v.journal = nil
	var corrupt *audit.CorruptError
	switch {
	case errors.Is(err, io.EOF):
		v.report.problem(CodeJournalShort, index, "the journal ends at entry %d, the log has %d", index, v.checkpoint.size)
	case errors.As(err, &corrupt) && corrupt.Short:
		v.report.problem(CodeJournalShort, corrupt.Seq, "%v", err)
	default:
		v.report.problem(CodeJournalTorn, index, "%v", err)
	}
}

// tail counts and parses what the journal has behind the checkpoint.
func (v *verification) tail() {
	for v.journal != nil {
		seq, raw, err := v.journal.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			v.journalProblem(v.checkpoint.size+v.report.Unsealed, err)
			return
		}
		if seq < v.checkpoint.size {
			continue
		}
		v.report.Unsealed++
		e, err := audit.ParseEntry(raw)
		if err != nil {
			v.report.problem(CodeEntryMalformed, seq, "entry %d (not sealed yet): %v", seq, err)
		} else if e.Kind == audit.KindLost {
			v.report.note(CodeJournalLost, seq, "entry %d (not sealed yet) stands for one that was acknowledged and that the journal's disk lost", seq)
		}
	}
}
