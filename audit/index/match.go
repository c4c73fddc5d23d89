package index

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// match returns by block the offsets, ascending, of what satisfies every clause. The rarest clause is read first, and each other one only in
// the blocks where something is left. Times, and the range of indexes, are not compared.
func (p *plan) match(ctx context.Context, blocks []int64) (map[int64][]uint16, error) {
	clauses, err := p.rarestFirst(ctx, blocks)
	if err != nil {
		return nil, err
	}
	matching := map[int64][]uint16{}
	if len(clauses) == 0 {
		all := make([]uint16, blockSize)
		for i := range all {
			all[i] = uint16(i)
		}
		for _, b := range blocks {
			matching[b] = all // shared: nothing changes it in place, see below
		}
	}
	for i, terms := range clauses {
		in, err := p.occurrences(ctx, terms, blocks)
		if err != nil {
			return nil, err
		}
		for b, offsets := range in {
			if i > 0 {
				offsets = intersect(matching[b], offsets)
			}
			if in[b] = offsets; len(offsets) == 0 {
				delete(in, b)
			}
		}
		if matching = in; len(matching) == 0 {
			return nil, nil
		}
		blocks = remaining(blocks, matching)
	}
	if len(p.without) == 0 {
		return matching, nil
	}
	excluded, err := p.occurrences(ctx, p.without, blocks)
	if err != nil {
		return nil, err
	}
	for b, offsets := range excluded {
		matching[b] = subtract(matching[b], offsets)
	}
	return matching, nil
}

// remaining are the blocks in which something matches, in order.
func remaining(blocks []int64, matching map[int64][]uint16) []int64 {
	left := make([]int64, 0, len(matching))
	for _, b := range blocks {
		if len(matching[b]) > 0 {
			left = append(left, b)
		}
	}
	return left
}

// rarestFirst orders the clauses by how often their terms occur in the blocks.
func (p *plan) rarestFirst(ctx context.Context, blocks []int64) ([][]int64, error) {
	if len(p.clauses) < 2 {
		return p.clauses, nil
	}
	clausesOf := map[int64][]int{}
	var terms []int64
	for i, numbers := range p.clauses {
		for _, n := range numbers {
			clausesOf[n] = append(clausesOf[n], i)
		}
		terms = append(terms, numbers...)
	}
	slices.Sort(terms)
	counts := make([]int64, len(p.clauses))
	for part := range slices.Chunk(slices.Compact(terms), 500) {
		where, args := within(part, blocks)
		rows, err := p.x.db.QueryContext(ctx, `SELECT term, sum(n) FROM postings WHERE `+where+` GROUP BY term`, args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var term, n int64
			if err := rows.Scan(&term, &n); err != nil {
				_ = rows.Close()
				return nil, err
			}
			for _, i := range clausesOf[term] {
				counts[i] += n
			}
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	order := make([]int, len(p.clauses))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(counts[a], counts[b]) })
	clauses := make([][]int64, len(order))
	for i, n := range order {
		clauses[i] = p.clauses[n]
	}
	return clauses, nil
}

// occurrences returns by block where any of the terms occurs: offsets, ascending, which the caller may change.
func (p *plan) occurrences(ctx context.Context, terms, blocks []int64) (map[int64][]uint16, error) {
	wanted := make(map[int64]bool, len(blocks))
	for _, b := range blocks {
		wanted[b] = true
	}
	lists := make(map[int64][][]uint16, len(blocks))
	read := func(part []int64) error {
		where, args := within(part, blocks)
		rows, err := p.x.db.QueryContext(ctx, `SELECT term, block, data FROM postings WHERE `+where, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var term, block int64
			var data sql.RawBytes
			if err := rows.Scan(&term, &block, &data); err != nil {
				return err
			}
			if !wanted[block] {
				continue
			}
			offsets, err := decodePosting(data)
			if err != nil {
				return fmt.Errorf("term %d in block %d: %w; the index is damaged: reindex", term, block, err)
			}
			lists[block] = append(lists[block], offsets)
		}
		return rows.Err()
	}
	for part := range slices.Chunk(terms, 500) {
		if err := read(part); err != nil {
			return nil, err
		}
	}
	in := make(map[int64][]uint16, len(lists))
	for b, l := range lists {
		in[b] = union(l)
	}
	return in, nil
}

// within is the condition for the postings of some terms in some blocks, and its arguments. Where the blocks are close together it is their
// range, which is read in one go and may hold others.
func within(terms, blocks []int64) (where string, args []any) {
	for _, t := range terms {
		args = append(args, t)
	}
	where = `term IN (` + marks(1, len(terms)) + `) AND block `
	if low, high := slices.Min(blocks), slices.Max(blocks); high-low < 2*int64(len(blocks)) {
		return where + fmt.Sprintf(`BETWEEN $%d AND $%d`, len(args)+1, len(args)+2), append(args, low, high)
	}
	where += `IN (` + marks(len(args)+1, len(blocks)) + `)`
	for _, b := range blocks {
		args = append(args, b)
	}
	return where, args
}
