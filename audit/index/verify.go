package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Code is the stable name of a problem.
type Code string

const (
	CodeEntryAltered   Code = "index_entry_altered"   // a row is not the log's entry
	CodeEntryMissing   Code = "index_entry_missing"   // an entry that the index counts has no row
	CodeEntryExtra     Code = "index_entry_extra"     // a row beyond what the log has, or what the index counts
	CodePostingAltered Code = "index_posting_altered" // entries are found by something that is not theirs, or not found by what is
	CodeBlockAltered   Code = "index_block_altered"   // a block's time range does not hold its entries
)

// Problem is one finding.
type Problem struct {
	Code  Code   `json:"code"`
	Index uint64 `json:"index"` // the entry it is about, or the first of its block
	Text  string `json:"text"`
}

// maxProblems is how many problems are listed; the rest is counted.
const maxProblems = 100

// Report is what Verify found.
type Report struct {
	Entries    uint64    `json:"entries"`   // compared
	Unindexed  uint64    `json:"unindexed"` // that the log has and the index not yet: not a problem, the next Sync adds them
	Problems   []Problem `json:"problems,omitempty"`
	Suppressed uint64    `json:"suppressed,omitempty"` // problems beyond the first 100
}

// OK reports whether index and log agree.
func (r Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(code Code, index uint64, format string, args ...any) {
	if len(r.Problems) == maxProblems {
		r.Suppressed++
		return
	}
	r.Problems = append(r.Problems, Problem{code, index, fmt.Sprintf(format, args...)})
}

// Verify compares the index with the log, entry by entry: the bytes, and everything that an entry is found by, derived again. What it
// finds is in the Report; an error means that it could not compare. It proves that the index is the log's projection; that the log is
// sound is for the log's own verification.
func (x *Index) Verify(ctx context.Context, source Source) (Report, error) {
	v := &verification{x: x, found: map[term][]uint16{}}
	if err := v.run(ctx, source); err != nil {
		return v.report, fmt.Errorf("verifying index: %w", err)
	}
	return v.report, nil
}

type verification struct {
	x      *Index
	report Report
	next   uint64 // entries that the index counts

	found            map[term][]uint16 // what the block's entries must be found by
	earliest, latest int64
	postings, rows   int64 // how many there must be in all
}

func (v *verification) run(ctx context.Context, source Source) (err error) {
	if v.next, err = v.x.Size(ctx); err != nil {
		return err
	}
	want := uint64(0)
	var page map[uint64]stored
	for r, err := range source(ctx, 0) {
		if err != nil {
			return err
		}
		if r.Index != want {
			return fmt.Errorf("the log's entry %d came where %d was due", r.Index, want)
		}
		want++
		if r.Index >= v.next {
			v.report.Unindexed++
			continue
		}
		if r.Index%verifyPage == 0 {
			if page, err = v.page(ctx, r.Index); err != nil {
				return err
			}
		}
		v.entry(&r, page)
		if want%blockSize == 0 || want == v.next {
			if err := v.block(ctx, r.Index/blockSize); err != nil {
				return err
			}
		}
	}
	if want < v.next {
		v.report.problem(CodeEntryExtra, want, "the index has %d entries, the log %d", v.next, want)
		if want%blockSize != 0 {
			v.found = map[term][]uint16{} // the rest of the block can't be compared
		}
		return nil
	}
	return v.totals(ctx)
}

// verifyPage is how many rows are read at once. It divides blockSize.
const verifyPage = 1024

// stored is one row.
type stored struct {
	time int64
	id   string
	hash []byte
	raw  []byte
}

func (v *verification) page(ctx context.Context, from uint64) (map[uint64]stored, error) {
	rows, err := v.x.db.QueryContext(ctx, `SELECT idx, time, id, hash, raw FROM entries WHERE idx >= $1 AND idx < $2`, int64(from), int64(min(from+verifyPage, v.next)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	page := map[uint64]stored{}
	for rows.Next() {
		var i uint64
		var s stored
		if err := rows.Scan(&i, &s.time, &s.id, &s.hash, &s.raw); err != nil {
			return nil, err
		}
		page[i] = s
	}
	return page, rows.Err()
}

func (v *verification) entry(r *Record, page map[uint64]stored) {
	v.report.Entries++
	at, id := projected(r)
	if r.Index%blockSize == 0 {
		v.earliest, v.latest = at, at
	}
	v.earliest, v.latest = min(v.earliest, at), max(v.latest, at)
	for _, t := range termsOf(r) {
		v.found[t] = append(v.found[t], uint16(r.Index%blockSize))
	}
	s, there := page[r.Index]
	hash := tlog.RecordHash(r.Raw)
	switch {
	case !there:
		v.report.problem(CodeEntryMissing, r.Index, "entry %d is not in the index", r.Index)
	case !bytes.Equal(s.raw, r.Raw) || !bytes.Equal(s.hash, hash[:]) || s.time != at || s.id != id:
		v.rows++
		v.report.problem(CodeEntryAltered, r.Index, "entry %d in the index is not the log's", r.Index)
	default:
		v.rows++
	}
}

// block compares what a block's entries are found by.
func (v *verification) block(ctx context.Context, block uint64) error {
	first := block * blockSize
	v.postings += int64(len(v.found))
	var earliest, latest int64
	err := v.x.db.QueryRowContext(ctx, `SELECT earliest, latest FROM blocks WHERE block = $1`, int64(block)).Scan(&earliest, &latest)
	if err != nil || earliest != v.earliest || latest != v.latest {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		v.report.problem(CodeBlockAltered, first, "block %d does not have the time range of its entries", block)
	}
	rows, err := v.x.db.QueryContext(ctx, `SELECT t.field, t.value, p.n, p.data FROM postings p JOIN terms t ON t.term = p.term WHERE p.block = $1`, int64(block))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t term
		var n int
		var data []byte
		if err := rows.Scan(&t.field, &t.value, &n, &data); err != nil {
			return err
		}
		want, known := v.found[t]
		delete(v.found, t)
		if !known || n != len(want) || !bytes.Equal(data, encodePosting(want)) {
			v.report.problem(CodePostingAltered, first, "block %d: what is found by %s %.80q is not what has it", block, fieldNames[t.field], t.value)
		}
	}
	for t := range v.found {
		v.report.problem(CodePostingAltered, first, "block %d: nothing is found by %s %.80q", block, fieldNames[t.field], t.value)
	}
	v.found = map[term][]uint16{}
	return rows.Err()
}

// totals finds rows that no entry led to.
func (v *verification) totals(ctx context.Context) error {
	var rows, postings, blocks int64
	err := errors.Join(
		v.x.db.QueryRowContext(ctx, `SELECT count(*) FROM entries`).Scan(&rows),
		v.x.db.QueryRowContext(ctx, `SELECT count(*) FROM postings`).Scan(&postings),
		v.x.db.QueryRowContext(ctx, `SELECT count(*) FROM blocks`).Scan(&blocks))
	if err != nil {
		return err
	}
	if rows > v.rows {
		v.report.problem(CodeEntryExtra, v.next, "the index has %d rows that it does not count", rows-v.rows)
	}
	if blocks > int64((v.next+blockSize-1)/blockSize) {
		v.report.problem(CodeBlockAltered, v.next, "the index has blocks that no entry is in")
	}
	if postings > v.postings {
		v.report.problem(CodePostingAltered, v.next, "the index has %d postings that no entry led to", postings-v.postings)
	}
	return nil
}
