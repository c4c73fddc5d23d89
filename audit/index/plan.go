package index

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// plan is a query made ready: what to intersect, and where.
type plan struct {
	x          *Index
	filter     Filter
	limit      int
	clauses    [][]int64      // numbers of terms, one list for each clause
	without    []int64        // terms that must not be there
	blocks     []int64        // candidates in the window looked at, in order
	low, high  int64          // indexes that may still be answered: low ≤ index < high
	begin, end int64          // times: begin ≤ time < end
	ids        []string       // entry ids, exact or prefixes
	empty      bool           // a clause has no term that the index knows: nothing matches
	inside     map[int64]bool // blocks wholly within the time range, whose entries' times need no look
}

func (x *Index) plan(ctx context.Context, f Filter) (*plan, error) {
	p := &plan{x: x, filter: f, limit: f.Limit, begin: math.MinInt64, end: math.MaxInt64, ids: f.ID}
	switch {
	case p.limit < 0:
		return nil, fmt.Errorf("%w: a limit of %d", ErrFilter, p.limit)
	case p.limit == 0:
		p.limit = defaultLimit
	}
	p.limit = min(p.limit, maxLimit)
	clauses, err := f.clauses()
	if err != nil {
		return nil, err
	}
	if p.high, err = meta(ctx, x.db, "next"); err != nil {
		return nil, err
	}
	if f.Cursor != "" {
		last, err := decodeCursor(f.Cursor, f.Oldest)
		if err != nil {
			return nil, err
		}
		if f.Oldest {
			p.low = last + 1
		} else {
			p.high = min(p.high, last)
		}
	}
	if !f.From.IsZero() {
		p.begin = nanos(f.From)
	}
	if !f.To.IsZero() {
		p.end = nanos(f.To)
	}
	for _, c := range clauses {
		numbers, err := x.numbersOf(ctx, c)
		if err != nil {
			return nil, err
		}
		if len(numbers) == 0 {
			p.empty = true
			return p, nil
		}
		p.clauses = append(p.clauses, numbers)
	}
	if len(f.NotAccess) > 0 {
		var c clause
		for _, a := range f.NotAccess {
			c = append(c, term{FieldAccess, a})
		}
		if p.without, err = x.numbersOf(ctx, c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// findBlocks lists the candidates from block low up to high: in the time range, and with every clause occurring. They are in the order
// of the answer.
func (p *plan) findBlocks(ctx context.Context, low, high int64) error {
	p.blocks, p.inside = p.blocks[:0], map[int64]bool{}
	rows, err := p.x.db.QueryContext(ctx, `SELECT block, earliest, latest FROM blocks WHERE block >= $1 AND block < $2 AND latest >= $3 AND earliest < $4 ORDER BY block`,
		low, high, p.begin, p.end)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var block, earliest, latest int64
		if err := rows.Scan(&block, &earliest, &latest); err != nil {
			return err
		}
		p.blocks = append(p.blocks, block)
		p.inside[block] = earliest >= p.begin && latest < p.end
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, numbers := range p.clauses {
		if len(p.blocks) == 0 {
			return nil
		}
		in, err := p.occurrences(ctx, numbers)
		if err != nil {
			return err
		}
		p.blocks = slices.DeleteFunc(p.blocks, func(b int64) bool { return !in[b] })
	}
	if !p.filter.Oldest {
		slices.Reverse(p.blocks)
	}
	return nil
}

// occurrences returns the blocks in which any of the terms occurs, within the candidates.
func (p *plan) occurrences(ctx context.Context, numbers []int64) (map[int64]bool, error) {
	in := map[int64]bool{}
	for part := range slices.Chunk(numbers, 500) {
		args := []any{p.blocks[0], p.blocks[len(p.blocks)-1]}
		for _, n := range part {
			args = append(args, n)
		}
		rows, err := p.x.db.QueryContext(ctx, `SELECT block FROM postings WHERE block BETWEEN $1 AND $2 AND term IN (`+marks(3, len(part))+`)`, args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var block int64
			if err := rows.Scan(&block); err != nil {
				_ = rows.Close()
				return nil, err
			}
			in[block] = true
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// firstWindow is how many blocks are looked at first. Each further look is at twice as many: most answers are in the first, and what is
// rare takes few looks.
const firstWindow = 8

// run goes through the blocks until the page is full.
func (p *plan) run(ctx context.Context) (found []Row, next string, err error) {
	if p.empty {
		return nil, "", nil
	}
	if len(p.ids) > 0 {
		return p.byID(ctx)
	}
	low, high := p.low/blockSize, (p.high+blockSize-1)/blockSize
	for window := p.x.window; low < high && len(found) <= p.limit; window *= 2 {
		from, to := max(low, high-window), high
		if p.filter.Oldest {
			from, to = low, min(high, low+window)
			low = to
		} else {
			high = from
		}
		if err := p.findBlocks(ctx, from, to); err != nil {
			return nil, "", err
		}
		if found, err = p.collect(ctx, found); err != nil {
			return nil, "", err
		}
	}
	return p.page(found)
}

// collect adds the matches of the candidates, up to one more than the page holds: that one tells whether there is a next page.
func (p *plan) collect(ctx context.Context, found []Row) ([]Row, error) {
	missing := func() int { return p.limit + 1 - len(found) }
	add := func(rows []Row, err error) error {
		found = append(found, rows...)
		return err
	}
	var pending []int64 // matches of blocks wholly in the time range: their rows are fetched together
	flush := func() error {
		for len(pending) > 0 && missing() > 0 {
			n := min(len(pending), missing(), fetchRows)
			if err := add(p.fetch(ctx, pending[:n], true)); err != nil {
				return err
			}
			pending = pending[n:]
		}
		pending = pending[:0]
		return nil
	}
	for _, block := range p.blocks {
		if len(p.clauses) == 0 && len(p.without) == 0 {
			if err := add(p.span(ctx, block, missing())); err != nil || missing() <= 0 {
				return found, err
			}
			continue
		}
		matches, err := p.match(ctx, block)
		if err != nil {
			return nil, err
		}
		if p.inside[block] {
			if pending = append(pending, matches...); len(pending) < missing() {
				continue
			}
			err := flush() // before found is looked at, which it changes
			return found, err
		}
		if err := flush(); err != nil {
			return nil, err
		}
		for len(matches) > 0 && missing() > 0 {
			n := min(len(matches), missing(), fetchRows)
			if err := add(p.fetch(ctx, matches[:n], false)); err != nil {
				return nil, err
			}
			matches = matches[n:]
		}
		if missing() <= 0 {
			return found, nil
		}
	}
	err := flush()
	return found, err
}

// fetchRows is how many rows one statement fetches at most.
const fetchRows = 500

func (p *plan) page(found []Row) ([]Row, string, error) {
	if len(found) <= p.limit {
		return found, "", nil
	}
	found = found[:p.limit]
	return found, encodeCursor(p.filter.Oldest, int64(found[p.limit-1].Index)), nil
}

// match returns the indexes in one block that satisfy every clause, in the order of the answer. Times are compared in fetch.
func (p *plan) match(ctx context.Context, block int64) ([]int64, error) {
	clauseOf := map[int64][]int{}
	var wanted []int64
	for i, numbers := range p.clauses {
		for _, n := range numbers {
			clauseOf[n] = append(clauseOf[n], i)
			wanted = append(wanted, n)
		}
	}
	for _, n := range p.without {
		clauseOf[n] = append(clauseOf[n], -1)
		wanted = append(wanted, n)
	}
	slices.Sort(wanted)
	lists := make([][][]uint16, len(p.clauses))
	var without [][]uint16
	for part := range slices.Chunk(slices.Compact(wanted), 500) {
		if err := p.x.postings(ctx, p.x.db, block, part, func(t int64, data []byte) error {
			offsets, err := decodePosting(data)
			if err != nil {
				return fmt.Errorf("term %d in block %d: %w; the index is damaged: reindex", t, block, err)
			}
			for _, i := range clauseOf[t] {
				if i < 0 {
					without = append(without, offsets)
				} else {
					lists[i] = append(lists[i], slices.Clone(offsets))
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	first := block * blockSize
	matches, err := p.intersection(lists, first)
	if err != nil {
		return nil, err
	}
	excluded := map[uint16]bool{}
	for _, l := range without {
		for _, o := range l {
			excluded[o] = true
		}
	}
	out := make([]int64, 0, len(matches))
	for _, o := range matches {
		if i := first + int64(o); i >= p.low && i < p.high && !excluded[o] {
			out = append(out, i)
		}
	}
	if !p.filter.Oldest {
		slices.Reverse(out)
	}
	return out, nil
}

// intersection of the clauses' unions, the smallest first. Without a clause it is the whole block.
func (p *plan) intersection(lists [][][]uint16, first int64) ([]uint16, error) {
	if len(lists) == 0 {
		var all []uint16
		for i := max(first, p.low); i < min(first+blockSize, p.high); i++ {
			all = append(all, uint16(i-first))
		}
		return all, nil
	}
	unions := make([][]uint16, len(lists))
	for i, l := range lists {
		if len(l) == 0 {
			return nil, nil
		}
		unions[i] = union(l)
	}
	slices.SortFunc(unions, func(a, b []uint16) int { return len(a) - len(b) })
	matches := unions[0]
	for _, u := range unions[1:] {
		matches = intersect(matches, u)
	}
	return matches, nil
}

// span reads the first rows of a block that are in the time range, when nothing else is asked.
func (p *plan) span(ctx context.Context, block int64, limit int) ([]Row, error) {
	first := block * blockSize
	return p.rows(ctx, `SELECT idx, hash, raw FROM entries WHERE idx >= $1 AND idx < $2 AND time >= $3 AND time < $4`+p.order()+` LIMIT `+strconv.Itoa(limit),
		[]any{max(first, p.low), min(first+blockSize, p.high), p.begin, p.end})
}

// fetch reads rows by index, in that order, and leaves out those outside the time range, unless they are all known to be inside.
func (p *plan) fetch(ctx context.Context, indexes []int64, inside bool) ([]Row, error) {
	args := make([]any, len(indexes), len(indexes)+2)
	for i, n := range indexes {
		args[i] = n
	}
	query := `SELECT idx, hash, raw FROM entries WHERE idx IN (` + marks(1, len(indexes)) + `)`
	if !inside {
		query += ` AND time >= $` + strconv.Itoa(len(args)+1) + ` AND time < $` + strconv.Itoa(len(args)+2)
		args = append(args, p.begin, p.end)
	}
	return p.rows(ctx, query+p.order(), args)
}

func (p *plan) order() string {
	if p.filter.Oldest {
		return ` ORDER BY idx`
	}
	return ` ORDER BY idx DESC`
}

func (p *plan) rows(ctx context.Context, query string, args []any) ([]Row, error) {
	rows, err := p.x.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Row
	for rows.Next() {
		var r Row
		var hash []byte
		if err := rows.Scan(&r.Index, &hash, &r.Raw); err != nil {
			return nil, err
		}
		if h := tlog.RecordHash(r.Raw); !bytes.Equal(h[:], hash) {
			return nil, fmt.Errorf("entry %d in the index is not what its hash says; the index was altered: verify the log and reindex", r.Index)
		}
		if e, err := audit.ParseEntry(r.Raw); err == nil { // a malformed entry is shown by its index alone
			if p.x.Open != nil {
				e = p.x.Open(e)
			}
			r.Entry = e
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// byID finds entries by id, then compares them with the other conditions.
func (p *plan) byID(ctx context.Context) ([]Row, string, error) {
	if len(p.ids) > 100 {
		return nil, "", fmt.Errorf("%w: %d ids; at most 100 are possible", ErrFilter, len(p.ids))
	}
	var conditions []string
	args := []any{p.low, p.high, p.begin, p.end}
	for _, id := range p.ids {
		if prefix, isPrefix := strings.CutSuffix(id, "*"); isPrefix {
			conditions = append(conditions, fmt.Sprintf("id >= $%d AND id < $%d", len(args)+1, len(args)+2))
			args = append(args, normal(prefix), normal(prefix)+"\U0010FFFF")
		} else {
			conditions = append(conditions, fmt.Sprintf("id = $%d", len(args)+1))
			args = append(args, normal(id))
		}
	}
	// The plus keeps databases from going through the range of indexes, which is the whole log, instead of the ids.
	rows, err := p.rows(ctx, `SELECT idx, hash, raw FROM entries WHERE +idx >= $1 AND +idx < $2 AND time >= $3 AND time < $4 AND (`+
		strings.Join(conditions, " OR ")+`)`+strings.Replace(p.order(), "idx", "+idx", 1)+` LIMIT `+strconv.Itoa(maxLimit+1), args)
	if err != nil {
		return nil, "", err
	}
	if len(rows) > maxLimit {
		return nil, "", fmt.Errorf("%w: more than %d entries have an id that begins so; give more of it", ErrFilter, maxLimit)
	}
	var found []Row
	matching := map[int64][]int64{}
	for _, r := range rows {
		block := int64(r.Index) / blockSize
		if _, done := matching[block]; !done {
			if matching[block], err = p.match(ctx, block); err != nil {
				return nil, "", err
			}
		}
		if slices.Contains(matching[block], int64(r.Index)) {
			found = append(found, r)
		}
	}
	return p.page(found)
}
