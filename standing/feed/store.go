package feed

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// formatVersion is the integer version of the tables. History: 1 (2026-11) first.
const formatVersion = "1"

// store keeps the feed's events. What is stored:
//
//	meta    name → value: "version", "feed" (random id of this database)
//	log     seq, id and digest of each event published (so that publishing it again is harmless), link (see standing.Message), at
//	events  object ("g/ID", "b/ID", "p/PRINCIPAL") → its newest event: seq, raw (JSON), ended (1: a revoke or unbar), forget (ns since 1970;
//	        0: never)
//	gates   gate → seq that it has, at (when it last asked)
type store struct {
	db       *sql.DB
	postgres bool
}

// %[1]s is the type of bytes.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS log (seq BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest %[1]s NOT NULL, link %[1]s NOT NULL, at BIGINT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS events (object TEXT PRIMARY KEY, seq BIGINT NOT NULL UNIQUE, raw %[1]s NOT NULL, ended INTEGER NOT NULL, forget BIGINT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS gates (gate TEXT PRIMARY KEY, seq BIGINT NOT NULL, at BIGINT NOT NULL)`,
}

// advisory is the lock that PostgreSQL's writers take: an arbitrary number.
const advisory = 0x6261696c + 1

func openStore(ctx context.Context, dsn string) (*store, error) {
	s, err := connect(dsn)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

func connect(dsn string) (*store, error) {
	if dsn == "" {
		return nil, errors.New("name a file, or a postgres:// URL")
	}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(8)
		db.SetConnMaxIdleTime(time.Minute)
		return &store{db, true}, nil
	}
	abs, err := filepath.Abs(dsn)
	if err != nil {
		return nil, err
	}
	// It names people, what they were granted and why: for its owner only.
	f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	// FULL: a bar that was acknowledged outlives a power cut.
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return &store{db, false}, nil
}

// prepare makes the tables if they are not there, and checks their version.
func (s *store) prepare(ctx context.Context) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		bytes := "BLOB"
		if s.postgres {
			bytes = "BYTEA"
		}
		for _, table := range schema {
			if strings.Contains(table, "%") {
				table = fmt.Sprintf(table, bytes)
			}
			if _, err := tx.ExecContext(ctx, table); err != nil {
				return fmt.Errorf("making tables: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('version', $1), ('feed', $2) ON CONFLICT DO NOTHING`, formatVersion, rand.Text()); err != nil {
			return fmt.Errorf("making tables: %w", err)
		}
		version, err := s.meta(ctx, tx, "version")
		if err == nil && version != formatVersion {
			err = fmt.Errorf("its tables have version %s, this build has %s", version, formatVersion)
		}
		return err
	})
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *store) meta(ctx context.Context, q querier, name string) (v string, err error) {
	if err = q.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = $1`, name).Scan(&v); err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return v, nil
}

// write runs f in a transaction that is the only one to write until it ends, so that positions are given in the order of commits.
func (s *store) write(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil) // SQLite: BEGIN IMMEDIATE
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if s.postgres {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(advisory)); err != nil {
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// head is where the feed ends, and the link there.
func head(ctx context.Context, q querier) (seq uint64, link []byte, err error) {
	err = q.QueryRowContext(ctx, `SELECT seq, link FROM log ORDER BY seq DESC LIMIT 1`).Scan(&seq, &link)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		err = fmt.Errorf("reading the feed's end: %w", err)
	}
	return seq, link, err
}

// object names what an event is about, of which only the newest event is kept.
func object(e *standing.Event) string {
	switch e.Kind {
	case standing.EventGrant, standing.EventRevoke:
		return "g/" + e.Grant.ID
	case standing.EventBar, standing.EventUnbar:
		return "b/" + e.Bar.ID
	}
	return "p/" + e.Person.Principal
}

// digest tells whether an event that is published again is the same. When it was published does not count.
func digest(e standing.Event) ([]byte, error) {
	e.Seq, e.At = 0, time.Time{}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	sum := sha256.Sum256(raw)
	return sum[:], nil
}

// put adds an event, or finds that it is there. now is the feed's clock.
func (s *store) put(ctx context.Context, e standing.Event, now time.Time, keep retention) (seq uint64, err error) {
	print, err := digest(e)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		var known []byte
		switch err := tx.QueryRowContext(ctx, `SELECT seq, digest FROM log WHERE id = $1`, e.ID).Scan(&seq, &known); {
		case err == nil && string(known) == string(print):
			return nil
		case err == nil:
			return fmt.Errorf("%w: %q is event %d", ErrConflict, e.ID, seq)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("looking for the event: %w", err)
		}
		last, link, err := head(ctx, tx)
		if err != nil {
			return err
		}
		before, err := newest(ctx, tx, object(&e))
		if err != nil {
			return err
		}
		forget, err := follows(before, &e, now, keep)
		if err != nil {
			return err
		}
		seq = last + 1
		e.Seq = seq
		raw, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encoding the event: %w", err)
		}
		if len(raw) > maxEvent {
			return fmt.Errorf("the event has %d bytes; the limit is %d", len(raw), maxEvent)
		}
		next := sha256.Sum256(append(link[:len(link):len(link)], raw...))
		if _, err := tx.ExecContext(ctx, `INSERT INTO log (seq, id, digest, link, at) VALUES ($1, $2, $3, $4, $5)`, int64(seq), e.ID, print, next[:], now.UnixNano()); err != nil {
			return fmt.Errorf("adding the event: %w", err)
		}
		if forget < 0 {
			return nil // news that are older than what is known
		}
		ended := 0
		if e.Kind == standing.EventRevoke || e.Kind == standing.EventUnbar {
			ended = 1
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO events (object, seq, raw, ended, forget) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (object) DO UPDATE SET seq = excluded.seq, raw = excluded.raw, ended = excluded.ended, forget = excluded.forget`,
			object(&e), int64(seq), raw, ended, forget); err != nil {
			return fmt.Errorf("adding the event: %w", err)
		}
		return nil
	})
	return seq, err
}

// newest is the newest event of an object, or nil.
func newest(ctx context.Context, q querier, object string) (*standing.Event, error) {
	var raw []byte
	switch err := q.QueryRowContext(ctx, `SELECT raw FROM events WHERE object = $1`, object).Scan(&raw); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading what is known: %w", err)
	}
	var e standing.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("reading what is known: %w", err)
	}
	return &e, nil
}

// follows says whether an event may come after what is known of its object, and when it can be forgotten: in ns since 1970, 0 for never, -1 for
// not worth keeping at all.
func follows(before, e *standing.Event, now time.Time, keep retention) (forget int64, err error) {
	switch e.Kind {
	case standing.EventGrant:
		if before != nil && before.Kind == standing.EventRevoke {
			return 0, fmt.Errorf("%w: %q ended at %s; give a new grant another id", ErrEnded, e.Grant.ID, before.At.Format(time.RFC3339))
		}
		if before != nil && before.Grant.Principal != e.Grant.Principal {
			return 0, fmt.Errorf("%w: the grant %q is another principal's", ErrConflict, e.Grant.ID)
		}
		return e.Grant.Expires.UnixNano(), nil
	case standing.EventRevoke:
		until := now.Add(keep.ended)
		if before != nil && before.Kind == standing.EventGrant && before.Grant.Expires.After(until) {
			until = before.Grant.Expires
		}
		return until.UnixNano(), nil
	case standing.EventBar:
		if e.Bar.Before.IsZero() {
			return 0, nil
		}
		return e.Bar.Before.Add(keep.tokens).UnixNano(), nil
	case standing.EventUnbar:
		return now.Add(keep.ended).UnixNano(), nil
	}
	if before != nil && before.Person != nil && e.Person.AsOf.Before(before.Person.AsOf) {
		return -1, nil
	}
	return 0, nil
}

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
