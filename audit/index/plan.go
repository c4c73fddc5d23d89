package index

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// plan is a query made ready: what to intersect, and where.
type plan struct {
	x          *Index
	filter     Filter
	limit      int
	clauses    [][]int64      // numbers of terms, one list for each clause
	without    []int64        // terms that must not be there
	low, high  int64          // indexes that may still be answered: low ≤ index < high
	begin, end int64          // times: begin ≤ time < end
	ids        []string       // entry ids, exact or prefixes
	empty      bool           // a clause has no term that the index knows: nothing matches
	edges      map[int64]bool // blocks of which only a part may be in the time range: their entries' times are compared
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

// findBlocks lists the blocks that may hold an answer, in the order of the answer: with a time range those that overlap with it, wherever
// they are. Clocks differ, so that neither the blocks' times nor those of the entries within them need ascend.
func (p *plan) findBlocks(ctx context.Context) (blocks []int64, err error) {
	low, high := p.low/blockSize, (p.high+blockSize-1)/blockSize
	p.edges = map[int64]bool{}
	if p.filter.From.IsZero() && p.filter.To.IsZero() {
		for b := low; b < high; b++ {
			blocks = append(blocks, b)
		}
	} else if blocks, err = p.overlapping(ctx, low, high); err != nil {
		return nil, err
	}
	if !p.filter.Oldest {
		slices.Reverse(blocks)
	}
	return blocks, nil
}

// overlapping lists the blocks from low up to high whose times overlap with the range, and notes those that are not wholly in it.
func (p *plan) overlapping(ctx context.Context, low, high int64) (blocks []int64, err error) {
	rows, err := p.x.db.QueryContext(ctx, `SELECT block, earliest, latest FROM blocks WHERE block >= $1 AND block < $2 AND latest >= $3 AND earliest < $4 ORDER BY block`,
		low, high, p.begin, p.end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var block, earliest, latest int64
		if err := rows.Scan(&block, &earliest, &latest); err != nil {
			return nil, err
		}
		blocks = append(blocks, block)
		if earliest < p.begin || latest >= p.end {
			p.edges[block] = true
		}
	}
	return blocks, rows.Err()
}

const (
	// firstWindow is how many blocks are looked at first: what most entries have is found in them.
	firstWindow = 2
	// windowGrowth is how many times as many are looked at next, unless what was found so far says that fewer will do. What is rare takes
	// few looks.
	windowGrowth = 4
	// maxWindow bounds the memory of a look: a term that all entries have takes 16 KiB a block.
	maxWindow = 512
)

// run goes through the blocks until the page is full.
func (p *plan) run(ctx context.Context) (found []Row, next string, err error) {
	if p.empty {
		return nil, "", nil
	}
	if len(p.ids) > 0 {
		return p.byID(ctx)
	}
	blocks, err := p.findBlocks(ctx)
	if err != nil {
		return nil, "", err
	}
	seen := 0
	for window := p.x.window; len(blocks) > 0 && len(found) <= p.limit; window = p.nextWindow(window, seen, len(found)) {
		looked := blocks[:min(window, len(blocks))]
		blocks = blocks[len(looked):]
		seen += len(looked)
		matching, err := p.match(ctx, looked)
		if err != nil {
			return nil, "", err
		}
		if found, err = p.collect(ctx, found, looked, matching); err != nil {
			return nil, "", err
		}
	}
	return p.page(found)
}

// nextWindow says how many blocks to look at after some were seen and had so many rows: about as many as the page still needs.
func (p *plan) nextWindow(last, seen, found int) int {
	next := min(last*windowGrowth, maxWindow)
	if found > 0 {
		next = min(next, 1+(p.limit+1-found)*seen*5/(4*found)) // a quarter more, so that most times one look is enough
	}
	return max(next, 1)
}

// collect adds the rows of what matches in some blocks, up to one more than the page holds: that one tells whether there is a next page.
func (p *plan) collect(ctx context.Context, found []Row, blocks []int64, matching map[int64][]uint16) ([]Row, error) {
	missing := func() int { return p.limit + 1 - len(found) }
	fetch := func(indexes []int64, timed bool) error {
		for len(indexes) > 0 && missing() > 0 {
			n := min(len(indexes), missing(), fetchRows)
			rows, err := p.fetch(ctx, indexes[:n], timed)
			if err != nil {
				return err
			}
			found, indexes = append(found, rows...), indexes[n:]
		}
		return nil
	}
	var pending []int64 // matches of blocks wholly in the time range: their rows are fetched together
	for _, block := range blocks {
		if len(matching[block]) == 0 {
			continue
		}
		indexes, err := p.indexes(ctx, block, matching[block])
		if err != nil {
			return nil, err
		}
		if !p.edges[block] {
			if pending = append(pending, indexes...); len(pending) >= missing() {
				break
			}
			continue
		}
		if err := fetch(pending, false); err != nil {
			return nil, err
		}
		pending = nil
		if err := fetch(indexes, true); err != nil {
			return nil, err
		}
		if missing() <= 0 {
			break
		}
	}
	err := fetch(pending, false)
	return found, err
}

// fewMatches is how many matches of a block are fetched without asking first which part of the block is in the time range.
const fewMatches = 100

// indexes are a block's matches as indexes in the order of the answer. Of a block at an edge of the time range those before its first entry
// that is in it, and after its last, are left out; entries between them may still be outside.
func (p *plan) indexes(ctx context.Context, block int64, offsets []uint16) ([]int64, error) {
	first := block * blockSize
	low, high := p.low, p.high
	if p.edges[block] && len(offsets) > fewMatches {
		// The first condition is for the index of times; the range of indexes is for one that was made before that was there.
		var earliest, latest sql.NullInt64
		if err := p.x.db.QueryRowContext(ctx, `SELECT min(idx), max(idx) FROM entries WHERE idx / `+strconv.Itoa(blockSize)+` = $1 AND idx >= $2 AND idx < $3 AND time >= $4 AND time < $5`,
			block, max(first, low), min(first+blockSize, high), p.begin, p.end).Scan(&earliest, &latest); err != nil {
			return nil, err
		}
		if !earliest.Valid {
			return nil, nil
		}
		low, high = earliest.Int64, latest.Int64+1
	}
	indexes := make([]int64, 0, len(offsets))
	for _, o := range offsets {
		if i := first + int64(o); i >= low && i < high {
			indexes = append(indexes, i)
		}
	}
	if !p.filter.Oldest {
		slices.Reverse(indexes)
	}
	return indexes, nil
}

func (p *plan) page(found []Row) ([]Row, string, error) {
	if len(found) <= p.limit {
		return found, "", nil
	}
	found = found[:p.limit]
	return found, encodeCursor(p.filter.Oldest, int64(found[p.limit-1].Index)), nil
}
