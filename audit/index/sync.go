package index

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Record is one entry as a Source hands it out.
type Record struct {
	Index uint64
	Raw   []byte      // canonical form
	Entry audit.Entry // parsed from Raw; zero when it is malformed: it is then kept, and found by nothing
}

// Source hands out the entries of a log from an index on, in order and without gaps, up to the end as it is then.
type Source func(ctx context.Context, from uint64) iter.Seq2[Record, error]

// ErrDiverged is wrapped by the error of Sync when the index holds something that the log does not: one of the two was altered, or the
// log is another one. Verify the log, then Reindex.
var ErrDiverged = errors.New("index and log have come apart")

// ErrBehind is wrapped, with ErrDiverged, by the error of Sync when the log ends before the index does: it was cut back, or part of it was
// not given, such as the journal behind a sealed log.
var ErrBehind = errors.New("the log ends before the index")

// batchSize is how many entries one transaction adds at most: a block, so that a reindex writes each posting once.
const batchSize = blockSize

// Sync adds what the log has and the index has not, and returns how much that was. Before it adds, it compares the last indexed entry
// with the log's. It can be called by many at once, and again after a crash at any point.
func (x *Index) Sync(ctx context.Context, source Source) (added uint64, err error) {
	for {
		n, err := x.syncBatch(ctx, source)
		added += n
		if err != nil {
			return added, fmt.Errorf("syncing index: %w", err)
		}
		if n == 0 {
			return added, nil
		}
	}
}

// syncBatch adds up to the end of a block in one transaction.
func (x *Index) syncBatch(ctx context.Context, source Source) (uint64, error) {
	// Most times there is nothing to add, and then nobody needs to wait for the writer's place.
	next, err := x.Size(ctx)
	if err != nil {
		return 0, err
	}
	if batch, err := x.readBatch(ctx, x.db, source, next); err != nil || len(batch) == 0 {
		return 0, err
	}
	tx, err := x.write(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	n, err := meta(ctx, tx, "next")
	if err != nil {
		return 0, err
	}
	batch, err := x.readBatch(ctx, tx, source, uint64(n))
	if err != nil || len(batch) == 0 {
		return 0, err
	}
	if err := x.add(ctx, tx, batch); err != nil {
		return 0, err
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	return uint64(len(batch)), nil
}

// readBatch reads from the log the entries from next to the end of next's block, after comparing the one before.
func (x *Index) readBatch(ctx context.Context, q querier, source Source, next uint64) ([]Record, error) {
	from, end := next, (next/batchSize+1)*batchSize
	var last []byte
	if next > 0 {
		from--
		if err := q.QueryRowContext(ctx, `SELECT hash FROM entries WHERE idx = $1`, from).Scan(&last); err != nil {
			return nil, fmt.Errorf("reading the last entry: %w", err)
		}
	}
	var batch []Record
	want := from
	for r, err := range source(ctx, from) {
		if err != nil {
			return nil, err
		}
		if r.Index != want {
			return nil, fmt.Errorf("the log's entry %d came where %d was due", r.Index, want)
		}
		want++
		if r.Index < next {
			if h := tlog.RecordHash(r.Raw); !bytes.Equal(h[:], last) {
				return nil, fmt.Errorf("%w: entry %d is another one in the log", ErrDiverged, r.Index)
			}
			continue
		}
		if batch = append(batch, r); want == end {
			break
		}
	}
	if want < next {
		return nil, fmt.Errorf("%w: %w: the index has %d entries", ErrDiverged, ErrBehind, next)
	}
	return batch, nil
}

// add writes entries of one block and what they are found by.
func (x *Index) add(ctx context.Context, tx *sql.Tx, batch []Record) error {
	block := batch[0].Index / blockSize
	found := map[term][]uint16{}
	rows := newInserter(ctx, tx, `INSERT INTO entries (idx, time, id, hash, raw) VALUES `, 5)
	earliest, latest := int64(0), int64(0)
	for i := range batch {
		r := &batch[i]
		hash := tlog.RecordHash(r.Raw)
		at, id := projected(r)
		rows.add(int64(r.Index), at, id, hash[:], r.Raw)
		if i == 0 {
			earliest, latest = at, at
		}
		earliest, latest = min(earliest, at), max(latest, at)
		for _, t := range termsOf(r) {
			found[t] = append(found[t], uint16(r.Index%blockSize))
		}
	}
	if err := rows.finish(); err != nil {
		return fmt.Errorf("adding entries: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO blocks (block, earliest, latest) VALUES ($1, $2, $3) ON CONFLICT (block) DO UPDATE
		SET earliest = CASE WHEN excluded.earliest < blocks.earliest THEN excluded.earliest ELSE blocks.earliest END,
			latest = CASE WHEN excluded.latest > blocks.latest THEN excluded.latest ELSE blocks.latest END`, int64(block), earliest, latest); err != nil {
		return fmt.Errorf("adding a block: %w", err)
	}
	if err := x.post(ctx, tx, int64(block), found); err != nil {
		return fmt.Errorf("adding postings: %w", err)
	}
	return setMeta(ctx, tx, "next", int64(batch[len(batch)-1].Index)+1)
}

// projected is what an entry's row holds besides its bytes.
func projected(r *Record) (at int64, id string) {
	if r.Entry.ID == "" {
		return 0, "" // malformed
	}
	return nanos(r.Entry.Time), normal(r.Entry.ID)
}

// nanos is a time as it is stored. Times that int64 can't count in nanoseconds (before 1678, after 2261) go to the ends.
func nanos(t time.Time) int64 {
	switch y := t.UTC().Year(); {
	case y < 1679:
		return -1 << 63
	case y > 2260:
		return 1<<63 - 2
	}
	return t.UnixNano()
}

func termsOf(r *Record) []term {
	if r.Entry.ID == "" {
		return nil
	}
	return terms(&r.Entry)
}

// post adds occurrences to the postings of a block.
func (x *Index) post(ctx context.Context, tx *sql.Tx, block int64, found map[term][]uint16) error {
	keys := make([]term, 0, len(found))
	for t := range found {
		keys = append(keys, t)
	}
	slices.SortFunc(keys, func(a, b term) int { return cmp.Or(cmp.Compare(a.field, b.field), strings.Compare(a.value, b.value)) })
	numbers, err := x.number(ctx, tx, keys)
	if err != nil {
		return err
	}
	var old []int64 // terms that are not new, and so may have a posting in this block
	for _, t := range keys {
		if n := numbers[t]; !n.fresh {
			old = append(old, n.term)
		}
	}
	before := map[int64][]byte{}
	for part := range slices.Chunk(old, 500) {
		if err := x.postings(ctx, tx, block, part, func(t int64, data []byte) error { before[t] = data; return nil }); err != nil {
			return err
		}
	}
	insert := newInserter(ctx, tx, `INSERT INTO postings (term, block, n, data) VALUES `, 4)
	for _, t := range keys {
		number := numbers[t].term
		data, there := before[number]
		data = append(data, encodePosting(found[t])...)
		if !there {
			insert.add(number, block, len(data)/2, data)
			continue
		}
		if _, err := tx.ExecContext(ctx, `UPDATE postings SET n = $1, data = $2 WHERE term = $3 AND block = $4`, len(data)/2, data, number, block); err != nil {
			return err
		}
	}
	return insert.finish()
}

// postings reads the postings that some terms have in a block.
func (x *Index) postings(ctx context.Context, q querier, block int64, terms []int64, each func(term int64, data []byte) error) error {
	if len(terms) == 0 {
		return nil
	}
	args := []any{block}
	for _, t := range terms {
		args = append(args, t)
	}
	rows, err := q.QueryContext(ctx, `SELECT term, data FROM postings WHERE block = $1 AND term IN (`+marks(2, len(terms))+`)`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t int64
		var data []byte
		if err := rows.Scan(&t, &data); err != nil {
			return err
		}
		if err := each(t, data); err != nil {
			return err
		}
	}
	return rows.Err()
}

// numbered is the number of a term, and whether this transaction made it.
type numbered struct {
	term  int64
	fresh bool
}

// number finds the numbers of terms, and gives new ones to those that have none.
func (x *Index) number(ctx context.Context, tx *sql.Tx, keys []term) (map[term]numbered, error) {
	numbers := make(map[term]numbered, len(keys))
	byField := map[Field][]term{}
	for _, t := range keys {
		byField[t.field] = append(byField[t.field], t)
	}
	for field, list := range byField {
		for part := range slices.Chunk(list, 500) {
			args := []any{int(field)}
			for _, t := range part {
				args = append(args, t.value)
			}
			if err := scanTerms(ctx, tx, `SELECT term, value FROM terms WHERE field = $1 AND value IN (`+marks(2, len(part))+`)`, args, func(n int64, value string) {
				numbers[term{field, value}] = numbered{term: n}
			}); err != nil {
				return nil, err
			}
		}
	}
	last, err := meta(ctx, tx, "terms")
	if err != nil {
		return nil, err
	}
	insert := newInserter(ctx, tx, `INSERT INTO terms (term, field, value) VALUES `, 3)
	for _, t := range keys {
		if _, known := numbers[t]; !known {
			last++
			numbers[t] = numbered{last, true}
			insert.add(last, int(t.field), t.value)
		}
	}
	if err := insert.finish(); err != nil {
		return nil, err
	}
	return numbers, setMeta(ctx, tx, "terms", last)
}

func scanTerms(ctx context.Context, q querier, query string, args []any, each func(int64, string)) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var value string
		if err := rows.Scan(&n, &value); err != nil {
			return err
		}
		each(n, value)
	}
	return rows.Err()
}

// Reindex throws everything away and makes the index again from the log.
func (x *Index) Reindex(ctx context.Context, source Source) (added uint64, err error) {
	tx, err := x.write(ctx)
	if err != nil {
		return 0, fmt.Errorf("reindexing: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := x.recreate(ctx, tx); err != nil {
		return 0, fmt.Errorf("reindexing: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("reindexing: %w", err)
	}
	return x.Sync(ctx, source) // a crash in between leaves a shorter index, which the next Sync completes
}
