package index

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// fetchRows is how many rows one statement fetches at most.
const fetchRows = 500

// fetch reads rows by index, in the order of the answer. Timed leaves out those outside the time range.
func (p *plan) fetch(ctx context.Context, indexes []int64, timed bool) ([]Row, error) {
	args := make([]any, len(indexes), len(indexes)+2)
	for i, n := range indexes {
		args[i] = n
	}
	query := `SELECT idx, hash, raw FROM entries WHERE idx IN (` + marks(1, len(indexes)) + `)`
	if timed {
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
	var blocks []int64
	for _, r := range rows {
		blocks = append(blocks, int64(r.Index)/blockSize)
	}
	matching := map[int64][]uint16{}
	for part := range slices.Chunk(slices.Compact(blocks), maxWindow) {
		some, err := p.match(ctx, part)
		if err != nil {
			return nil, "", err
		}
		maps.Copy(matching, some)
	}
	var found []Row
	for _, r := range rows {
		if _, there := slices.BinarySearch(matching[int64(r.Index)/blockSize], uint16(r.Index%blockSize)); there {
			found = append(found, r)
		}
	}
	return p.page(found)
}
