package feed

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// page is what a gate must know after a position.
type page struct {
	afterLink, link string
	lost            bool // the position is one that the feed has forgotten
	seq, head       uint64
	events          []standing.Event
}

// after reads what comes after a position, up to limit events or about maxPage bytes.
func (s *store) after(ctx context.Context, position uint64, limit int) (p page, err error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: s.postgres, Isolation: s.reading()})
	if err != nil {
		return p, err
	}
	defer func() { _ = tx.Rollback() }()
	end, link, err := head(ctx, tx)
	if err != nil {
		return p, err
	}
	p.head, p.seq, p.link = end, end, hex.EncodeToString(link)
	if position > 0 {
		var before []byte
		switch err := tx.QueryRowContext(ctx, `SELECT link FROM log WHERE seq = $1`, int64(position)).Scan(&before); {
		case errors.Is(err, sql.ErrNoRows):
			p.lost = position <= end
			return p, nil
		case err != nil:
			return p, fmt.Errorf("reading the feed: %w", err)
		}
		p.afterLink = hex.EncodeToString(before)
	}
	rows, err := tx.QueryContext(ctx, `SELECT raw FROM events WHERE seq > $1 ORDER BY seq LIMIT $2`, int64(position), limit+1)
	if err != nil {
		return p, fmt.Errorf("reading the feed: %w", err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var raw sql.RawBytes
		if err := rows.Scan(&raw); err != nil {
			return p, fmt.Errorf("reading the feed: %w", err)
		}
		if len(p.events) == limit || size > maxPage {
			p.seq, p.link = p.events[len(p.events)-1].Seq, ""
			break
		}
		size += len(raw)
		var e standing.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return p, fmt.Errorf("reading the feed: %w", err)
		}
		p.events = append(p.events, e)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return p, fmt.Errorf("reading the feed: %w", err)
	}
	if p.seq != end {
		var link []byte
		if err := tx.QueryRowContext(ctx, `SELECT link FROM log WHERE seq = $1`, int64(p.seq)).Scan(&link); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return p, fmt.Errorf("reading the feed: %w", err)
		}
		p.link = hex.EncodeToString(link)
	}
	return p, nil
}

// reading is the isolation in which the parts of a page agree. SQLite's transactions have it by themselves.
func (s *store) reading() sql.IsolationLevel {
	if s.postgres {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault
}

// prune forgets what no gate can need any more. What has ended goes together with the positions before it: a gate that was away for longer
// finds its own position gone, and begins anew.
func (s *store) prune(ctx context.Context, now time.Time, keep retention) (dropped int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		end, _, err := head(ctx, tx)
		if err != nil {
			return err
		}
		var cut sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT MAX(seq) FROM log WHERE at < $1 AND seq < $2`, now.Add(-keep.ended).UnixNano(), int64(end)).Scan(&cut); err != nil {
			return fmt.Errorf("pruning: %w", err)
		}
		for _, step := range []struct {
			query string
			args  []any
		}{
			{`DELETE FROM log WHERE seq <= $1`, []any{cut.Int64}},
			{`DELETE FROM events WHERE ended = 1 AND seq <= $1 AND forget <= $2`, []any{cut.Int64, now.UnixNano()}},
			{`DELETE FROM events WHERE ended = 0 AND forget > 0 AND forget <= $1`, []any{now.UnixNano()}},
			{`DELETE FROM gates WHERE at < $1`, []any{now.Add(-keep.ended).UnixNano()}},
		} {
			result, err := tx.ExecContext(ctx, step.query, step.args...)
			if err != nil {
				return fmt.Errorf("pruning: %w", err)
			}
			n, _ := result.RowsAffected() // both drivers know
			dropped += n
		}
		return nil
	})
	return dropped, err
}

// saw notes how far a gate is.
func (s *store) saw(ctx context.Context, gate string, seq uint64, now time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO gates (gate, seq, at) VALUES ($1, $2, $3) ON CONFLICT (gate) DO UPDATE SET seq = excluded.seq, at = excluded.at`, gate, int64(seq), now.UnixNano())
	if err != nil {
		return fmt.Errorf("noting how far a gate is: %w", err)
	}
	return nil
}

func (s *store) gates(ctx context.Context) (map[string]Seen, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT gate, seq, at FROM gates`)
	if err != nil {
		return nil, fmt.Errorf("reading how far gates are: %w", err)
	}
	defer rows.Close()
	out := map[string]Seen{}
	for rows.Next() {
		var gate string
		var seq, at int64
		if err := rows.Scan(&gate, &seq, &at); err != nil {
			return nil, fmt.Errorf("reading how far gates are: %w", err)
		}
		out[gate] = Seen{uint64(seq), time.Unix(0, at).UTC()}
	}
	return out, errors.Join(rows.Err(), rows.Close())
}
