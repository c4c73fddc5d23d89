// Package store keeps the development org's state in one SQLite file.
//
// It owns the schema, the transactions and the mapping between rows and values. It refuses to know HTTP,
// OAuth rules and the clock: callers say what time it is and what may follow from what.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // pure Go, so that the development org needs no C compiler
)

// ErrNotFound says that no row has the key asked for.
var ErrNotFound = errors.New("not found")

// ErrExists says that a row with the same key or unique name is already there.
var ErrExists = errors.New("already exists")

// Store is one open database. It is safe for concurrent use.
//
// Writes go through a pool of exactly one connection whose transactions begin immediately, so writers queue here
// and never meet SQLITE_BUSY; reads have their own connections and, in WAL mode, never wait for the writer.
type Store struct {
	writer *sql.DB
	reader *sql.DB
}

// Open opens the database file, creates it with mode 0600 if it is absent, and brings its schema up to date.
func Open(ctx context.Context, path string) (*Store, error) {
	if path == "" {
		return nil, errors.New("opening the development org's database: no file was named; set Config.DB")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening the development org's database: %w", err)
	}
	// SQLite gives its -wal and -shm files the mode of the main file, so creating that one privately is enough.
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the development org's database: %w (is the directory there and writable?)", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the development org's database: %w", err)
	}

	// synchronous=NORMAL in WAL mode: a killed process loses nothing, a power cut may lose the last commits but
	// never corrupts. That is the right price for a development org.
	const common = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)"
	s := &Store{}
	if s.writer, err = open(abs, common+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = open(abs, common+"&_pragma=query_only(1)"); err != nil {
		s.writer.Close()
		return nil, err
	}
	s.reader.SetMaxOpenConns(4)
	if err := s.migrate(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func open(abs, options string) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: abs, RawQuery: options}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening the development org's database: %w", err)
	}
	return db, nil
}

// Close folds the write-ahead log back into the file and closes it.
func (s *Store) Close() error {
	return errors.Join(s.reader.Close(), s.writer.Close())
}

// Update runs fn in the one write transaction. It commits when fn returns nil and rolls back otherwise.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	return run(ctx, s.writer, fn)
}

// View runs fn over one consistent snapshot.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return run(ctx, s.reader, fn)
}

func run(ctx context.Context, db *sql.DB, fn func(*Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer tx.Rollback() // a no-op after Commit
	if err := fn(&Tx{ctx: ctx, tx: tx}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// Tx is one transaction. It lives no longer than the function it was handed to, which is why it may hold the context.
type Tx struct {
	ctx context.Context
	tx  *sql.Tx
}

// Context is the context that the transaction runs under.
func (t *Tx) Context() context.Context { return t.ctx }

func (t *Tx) exec(query string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, query, args...)
	return classify(err)
}

// change runs a statement that must touch at least one row.
func (t *Tx) change(query string, args ...any) error {
	n, err := t.count(query, args...)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// count runs a statement and returns how many rows it touched.
func (t *Tx) count(query string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, classify(err)
	}
	n, err := res.RowsAffected()
	return n, classify(err)
}

type scanner interface{ Scan(...any) error }

func one[T any](t *Tx, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	v, err := scan(t.tx.QueryRowContext(t.ctx, query, args...))
	return v, classify(err)
}

func many[T any](t *Tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := t.tx.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, classify(err)
		}
		out = append(out, v)
	}
	return out, classify(rows.Err())
}

// SQLite's extended result codes for a violated PRIMARY KEY and UNIQUE constraint (sqlite.org/rescode.html).
const (
	constraintPrimaryKey = 1555
	constraintUnique     = 2067
)

func classify(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	var se *sqlite.Error
	if errors.As(err, &se) && (se.Code() == constraintPrimaryKey || se.Code() == constraintUnique) {
		return ErrExists
	}
	return fmt.Errorf("querying the development org's database: %w", err)
}

// millis and fromMillis keep times as Unix milliseconds, the precision of Okta's timestamps; zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
