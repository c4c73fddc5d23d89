// Package database opens what parts of the product keep in SQL: a private SQLite file, or PostgreSQL.
//
// It owns how a DSN is read, the file's permissions, the drivers and the sizes of their pools, and the one table in which a database says of which
// version it is. It refuses to know other tables: their owners describe them.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// IsPostgres reports whether a DSN names a PostgreSQL database and not a file.
func IsPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// Open opens a database without reaching for it. dsn is a path of an SQLite file, or a URL that begins with postgres:// or postgresql://
// (https://www.postgresql.org/docs/current/libpq-connect.html). The pragmas are for SQLite.
func Open(dsn string, pragmas ...string) (*sql.DB, error) {
	if dsn == "" {
		return nil, errors.New("name a file, or a postgres:// URL")
	}
	if !IsPostgres(dsn) {
		return OpenFile(dsn, pragmas...)
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// OpenFile opens an SQLite file, making it if it is not there: for its owner only, because what is kept names people. It has a write-ahead log, and
// a transaction takes the write lock when it begins.
func OpenFile(file string, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": append([]string{"journal_mode(WAL)"}, pragmas...), "_txlock": {"immediate"}}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return db, nil
}

// Write runs f in a transaction, which is undone if f fails.
func Write(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing; else what f says is why
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// ErrVersion is what Prepare's error wraps when the tables are of another version.
var ErrVersion = errors.New("its tables are of another version")

// Prepare makes what is absent of the tables, and of a table "meta" of named texts, which holds their version. Statements are those of both databases.
func Prepare(ctx context.Context, tx *sql.Tx, version string, tables ...string) error {
	for _, table := range append([]string{`CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)`}, tables...) {
		if _, err := tx.ExecContext(ctx, table); err != nil {
			return fmt.Errorf("making tables: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('version', $1) ON CONFLICT DO NOTHING`, version); err != nil {
		return fmt.Errorf("making tables: %w", err)
	}
	var have string
	if err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'version'`).Scan(&have); err != nil {
		return fmt.Errorf("reading the version of its tables: %w", err)
	}
	if have != version {
		return fmt.Errorf("%w: %s, this program knows %s", ErrVersion, have, version)
	}
	return nil
}

// SetMeta sets named texts in the table "meta".
func SetMeta(ctx context.Context, tx *sql.Tx, values map[string]string) error {
	for name, value := range values {
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}
