package revocation

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/database"
)

// formatVersion is the integer version of the tables. History: 1 (2026-11) first.
const formatVersion = "1"

// store keeps, until the work is done and a while longer:
//
//	meta     name → value: "version", "cursor" and "seen" (where the log was read to, and the time of its last event), "hook" (id of ours at the org)
//	signals  id → what came; noted: it is on record, settled: it needs nothing more. Kept for dedup
//	people   uid → what is known and in force
//	outbox   what is to be published and recorded, in order
//
// What follows from signals is decided and queued in one transaction: a crash leaves either signals to settle or rows to publish.
type store struct{ db *sql.DB }

var schema = []string{
	`CREATE TABLE IF NOT EXISTS signals (id TEXT PRIMARY KEY, uid TEXT NOT NULL, raw TEXT NOT NULL, received INTEGER NOT NULL, noted INTEGER NOT NULL, settled INTEGER NOT NULL) STRICT`,
	`CREATE INDEX IF NOT EXISTS signals_open ON signals(uid) WHERE settled = 0`,
	`CREATE TABLE IF NOT EXISTS people (uid TEXT PRIMARY KEY, raw TEXT NOT NULL) STRICT`,
	`CREATE TABLE IF NOT EXISTS outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, raw TEXT NOT NULL) STRICT`,
	`CREATE INDEX IF NOT EXISTS outbox_lanes ON outbox(lane, n)`,
}

func openStore(ctx context.Context, file string) (*store, error) {
	// FULL: a signal that was acknowledged outlives a power cut.
	db, err := database.OpenFile(file, "busy_timeout(10000)", "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	s := &store{db}
	err = s.write(ctx, func(tx *sql.Tx) error { return database.Prepare(ctx, tx, formatVersion, schema...) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", file, err), db.Close())
	}
	return s, nil
}

func (s *store) write(ctx context.Context, f func(*sql.Tx) error) error {
	return database.Write(ctx, s.db, f)
}

// accept adds signals that did not come before, and sets the named values in the same step.
func (s *store) accept(ctx context.Context, signals []Signal, now time.Time, meta map[string]string) (added int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		added = 0
		for _, sig := range signals {
			raw, err := json.Marshal(sig)
			if err != nil {
				return err
			}
			res, err := tx.ExecContext(ctx, `INSERT INTO signals VALUES (?, ?, ?, ?, 0, 0) ON CONFLICT DO NOTHING`, sig.ID, sig.UID, string(raw), now.UnixNano())
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			added += int(n)
		}
		return database.SetMeta(ctx, tx, meta)
	})
	return added, err
}

// meta reads a named value; "" if it was never set.
func (s *store) meta(ctx context.Context, name string) (value string, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// waiting is somebody who has signals to settle.
type waiting struct {
	uid   string
	noted bool // what takes access away was believed already
}

// open lists the people who have signals to settle, who waits longest first.
func (s *store) open(ctx context.Context) (out []waiting, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT uid, min(noted) FROM signals WHERE settled = 0 GROUP BY uid ORDER BY min(received)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var w waiting
		if err := rows.Scan(&w.uid, &w.noted); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, rows.Err()
}

// arrival is a signal with what was done about it.
type arrival struct {
	Signal
	noted bool
}

func arrivals(ctx context.Context, tx *sql.Tx, uid string) (out []arrival, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT raw, noted FROM signals WHERE uid = ? AND settled = 0 ORDER BY received, rowid`, uid)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var raw string
		var a arrival
		if err := rows.Scan(&raw, &a.noted); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(raw), &a.Signal); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// decide lets f derive what follows from somebody's open signals, and stores all of it in one step. final: the signals need nothing more.
func (s *store) decide(ctx context.Context, uid string, upTo []string, final bool, f func(k *known, open []arrival) []row) (rows int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		var k known
		var raw string
		err := tx.QueryRowContext(ctx, `SELECT raw FROM people WHERE uid = ?`, uid).Scan(&raw)
		if err == nil {
			err = json.Unmarshal([]byte(raw), &k)
		} else if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		if err != nil {
			return err
		}
		all, err := arrivals(ctx, tx, uid)
		if err != nil {
			return err
		}
		// Those that came after the directory was asked need another look at it.
		var open []arrival
		for _, a := range all {
			for _, id := range upTo {
				if a.ID == id {
					open = append(open, a)
				}
			}
		}
		out := f(&k, open)
		rows = len(out)
		for _, o := range out {
			if err := o.insert(ctx, tx); err != nil {
				return err
			}
		}
		for _, a := range open {
			if _, err := tx.ExecContext(ctx, `UPDATE signals SET noted = 1, settled = ? WHERE id = ?`, final, a.ID); err != nil {
				return err
			}
		}
		now, err := json.Marshal(k)
		if err != nil || string(now) == raw {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO people VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET raw = excluded.raw`, uid, string(now))
		return err
	})
	return rows, err
}

// prune forgets signals that can't come again.
func (s *store) prune(ctx context.Context, before time.Time) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM signals WHERE settled = 1 AND received < ?`, before.UnixNano())
	return err
}
