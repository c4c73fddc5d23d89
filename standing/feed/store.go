package feed

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/database"
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
	// FULL: a bar that was acknowledged outlives a power cut.
	db, err := database.Open(dsn, "busy_timeout(10000)", "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	return &store{db, database.IsPostgres(dsn)}, nil
}

// prepare makes the tables if they are not there, and checks their version.
func (s *store) prepare(ctx context.Context) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		bytes := "BLOB"
		if s.postgres {
			bytes = "BYTEA"
		}
		tables := slices.Clone(schema)
		for i, table := range tables {
			if strings.Contains(table, "%") {
				tables[i] = fmt.Sprintf(table, bytes)
			}
		}
		if err := database.Prepare(ctx, tx, formatVersion, tables...); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('feed', $1) ON CONFLICT DO NOTHING`, rand.Text()); err != nil {
			return fmt.Errorf("naming the feed: %w", err)
		}
		return nil
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
	return database.Write(ctx, s.db, func(tx *sql.Tx) error {
		if s.postgres { // SQLite's transactions take the lock when they begin
			if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(advisory)); err != nil {
				return err
			}
		}
		return f(tx)
	})
}
