// Package index is a search index of the audit log in SQLite or PostgreSQL: a projection that can be made again from the log at any time
// and that is never the truth.
//
// It owns the tables, the terms that entries are found by, queries and their paging, and the check that index and log agree. It refuses
// to know where entries come from (a Source hands them out in order), how the log is sealed, and who may ask.
package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/database"
)

// FormatVersion is the integer version of the tables. History: 1 (2026-11) first; 2 (2026-11) has the terms of FieldRefused. An index of an
// earlier version is emptied when it is opened, and the next Sync makes it again from the log.
const FormatVersion = 2

// ErrVersion is wrapped by the error of Open for an index of a later version.
var ErrVersion = errors.New("index is of another version")

// Index is an open index. Its methods may be called at the same time, by any number of processes.
type Index struct {
	// Open, set before the first query, gives the entries of rows back as the Source handed them out where those in the log hold personal data
	// encrypted; nil: rows have them as they are in the log.
	Open func(audit.Entry) audit.Entry

	db      *sql.DB
	dialect dialect
	window  int // firstWindow, but for tests
}

// dialect is what the two databases do differently.
type dialect struct {
	postgres bool
	schema   []string
}

// What is stored:
//
//	meta      name → value: "version", "next" (index of the next entry), "terms" (how many)
//	entries   idx, time (ns since 1970, UTC), id, hash (SHA-256 of 0x00 and raw: the log's leaf hash), raw (the entry's bytes)
//	          entries_time on (block, time) finds the part of a block that is in a time range; an index that was made before it was there is read
//	          by the block's rows instead
//	blocks    block (of 8192 entries), earliest and latest: the time range of its entries
//	terms     term, field, value
//	postings  term, block, n (how many), data: where in the block (posting.go)
var sqlite = dialect{
	schema: []string{
		`CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID`,
		`CREATE TABLE IF NOT EXISTS entries (idx INTEGER PRIMARY KEY, time INTEGER NOT NULL, id TEXT NOT NULL, hash BLOB NOT NULL, raw BLOB NOT NULL)`,
		`CREATE INDEX IF NOT EXISTS entries_id ON entries (id)`,
		`CREATE INDEX IF NOT EXISTS entries_time ON entries (idx / 8192, time)`,
		`CREATE TABLE IF NOT EXISTS blocks (block INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS terms (term INTEGER PRIMARY KEY, field INTEGER NOT NULL, value TEXT NOT NULL)`,
		`CREATE UNIQUE INDEX IF NOT EXISTS terms_value ON terms (field, value)`,
		`CREATE TABLE IF NOT EXISTS postings (term INTEGER NOT NULL, block INTEGER NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL)`,
		`CREATE UNIQUE INDEX IF NOT EXISTS postings_term ON postings (term, block, n)`,
		`CREATE INDEX IF NOT EXISTS postings_block ON postings (block)`,
	},
}

// The values' order must be by bytes, so that a prefix is a range; hence the collation.
var postgres = dialect{
	postgres: true,
	schema: []string{
		`CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS entries (idx BIGINT PRIMARY KEY, time BIGINT NOT NULL, id TEXT COLLATE "C" NOT NULL, hash BYTEA NOT NULL, raw BYTEA NOT NULL)`,
		`CREATE INDEX IF NOT EXISTS entries_id ON entries (id)`,
		`CREATE INDEX IF NOT EXISTS entries_time ON entries ((idx / 8192), time, idx)`,
		`CREATE TABLE IF NOT EXISTS blocks (block BIGINT PRIMARY KEY, earliest BIGINT NOT NULL, latest BIGINT NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS terms (term BIGINT PRIMARY KEY, field INTEGER NOT NULL, value TEXT COLLATE "C" NOT NULL)`,
		`CREATE UNIQUE INDEX IF NOT EXISTS terms_value ON terms (field, value)`,
		`CREATE TABLE IF NOT EXISTS postings (term BIGINT NOT NULL, block BIGINT NOT NULL, n INTEGER NOT NULL, data BYTEA NOT NULL)`,
		`CREATE UNIQUE INDEX IF NOT EXISTS postings_term ON postings (term, block, n)`,
		`CREATE INDEX IF NOT EXISTS postings_block ON postings (block)`,
	},
}

// tables, in the order in which they can be dropped.
var tables = []string{"postings", "terms", "blocks", "entries", "meta"}

// Open opens an index, making it if it is not there. dsn is a path of an SQLite file, or a URL that begins with postgres:// or
// postgresql:// (https://www.postgresql.org/docs/current/libpq-connect.html), whose schema is the connection's search_path.
func Open(ctx context.Context, dsn string) (*Index, error) {
	x, err := open(dsn)
	if err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	if err := x.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening index: %w", err), x.Close())
	}
	return x, nil
}

func open(dsn string) (*Index, error) {
	// What a power cut takes from the index, the next Sync brings back from the log: hence not FULL.
	db, err := database.Open(dsn, "busy_timeout(30000)", "synchronous(NORMAL)", "cache_size(-65536)", "mmap_size(1073741824)")
	if err != nil {
		return nil, err
	}
	x := &Index{db: db, dialect: sqlite, window: firstWindow}
	if database.IsPostgres(dsn) {
		x.dialect = postgres
	}
	return x, nil
}

// Close releases the database.
func (x *Index) Close() error { return x.db.Close() }

// prepare checks the tables' version, and makes them if they are not there or of an earlier one. An index that is there needs no right to make
// tables.
func (x *Index) prepare(ctx context.Context) error {
	if version, err := meta(ctx, x.db, "version"); err == nil && version >= FormatVersion {
		return sameVersion(version)
	}
	tx, err := x.write(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := x.create(ctx, tx); err != nil {
		return err
	}
	version, err := meta(ctx, tx, "version")
	if err == nil && version < FormatVersion {
		version = FormatVersion
		err = x.recreate(ctx, tx)
	}
	if err == nil {
		err = sameVersion(version)
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

func sameVersion(version int64) error {
	if version != FormatVersion {
		return fmt.Errorf("%w: it has version %d, this build has %d; remove it and it is made again from the log", ErrVersion, version, FormatVersion)
	}
	return nil
}

func (x *Index) create(ctx context.Context, tx *sql.Tx) error {
	for _, s := range x.dialect.schema {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("making tables: %w", err)
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('version', $1), ('next', 0), ('terms', 0) ON CONFLICT DO NOTHING`, FormatVersion)
	return err
}

// recreate empties the index: what it held is in the log.
func (x *Index) recreate(ctx context.Context, tx *sql.Tx) error {
	for _, table := range tables {
		if _, err := tx.ExecContext(ctx, `DROP TABLE IF EXISTS `+table); err != nil {
			return fmt.Errorf("dropping tables: %w", err)
		}
	}
	return x.create(ctx, tx)
}

// advisory is the lock that PostgreSQL's writers take: an arbitrary number.
const advisory = 0x6261696c

// write begins a transaction that is the only one to write until it ends.
func (x *Index) write(ctx context.Context) (*sql.Tx, error) {
	tx, err := x.db.BeginTx(ctx, nil) // SQLite: BEGIN IMMEDIATE
	if err == nil && x.dialect.postgres {
		if _, err = tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(advisory)); err != nil {
			_ = tx.Rollback()
		}
	}
	return tx, err
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func meta(ctx context.Context, q querier, name string) (v int64, err error) {
	if err = q.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = $1`, name).Scan(&v); err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	return v, nil
}

func setMeta(ctx context.Context, tx *sql.Tx, name string, v int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE meta SET value = $1 WHERE name = $2`, v, name)
	return err
}

// Size returns how many entries are indexed.
func (x *Index) Size(ctx context.Context) (uint64, error) {
	n, err := meta(ctx, x.db, "next")
	return uint64(n), err
}
