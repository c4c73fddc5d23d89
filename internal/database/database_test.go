package database_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/database"
	"github.com/bailiwick-dev/bailiwick/internal/database/pgtest"
)

func TestFileIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd ?#% name.db")
	db, err := database.Open(path, "synchronous(FULL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE t (n INTEGER)`); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
	var mode string
	var sync int
	if err := errors.Join(db.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode), db.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&sync)); err != nil || mode != "wal" || sync != 2 {
		t.Errorf("journal %s, synchronous %d, %v", mode, sync, err)
	}
}

func TestNothingIsNamed(t *testing.T) {
	if _, err := database.Open(""); err == nil {
		t.Error("a database without a name")
	}
	if _, err := database.Open(filepath.Join(t.TempDir(), "no", "such", "directory.db")); err == nil {
		t.Error("a file in a directory that is not there")
	}
}

func TestSQLite(t *testing.T) {
	t.Run("write", func(t *testing.T) { testWrite(t, filepath.Join(t.TempDir(), "a.db")) })
	t.Run("version", func(t *testing.T) { testVersion(t, filepath.Join(t.TempDir(), "a.db")) })
}

func TestPostgres(t *testing.T) {
	server := pgtest.Start(t)
	t.Run("write", func(t *testing.T) { testWrite(t, server.Database(t)) })
	t.Run("version", func(t *testing.T) { testVersion(t, server.Database(t)) })
}

// testVersion: tables of another version are left as they are, and none are made beside them.
func testVersion(t *testing.T, dsn string) {
	prepare := func(version string, tables ...string) (value string, err error) {
		db, err := database.Open(dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = database.Write(t.Context(), db, func(tx *sql.Tx) error {
			err := database.Prepare(t.Context(), tx, version, tables...)
			if err == nil {
				err = tx.QueryRowContext(t.Context(), `SELECT coalesce(max(value), '') FROM meta WHERE name = 'cursor'`).Scan(&value)
			}
			return errors.Join(err, database.SetMeta(t.Context(), tx, map[string]string{"cursor": version}))
		})
		return value, err
	}
	const table = `CREATE TABLE IF NOT EXISTS t (n INTEGER)`
	if had, err := prepare("1", table); err != nil || had != "" {
		t.Fatal(had, err)
	}
	if _, err := prepare("2", table, `CREATE TABLE IF NOT EXISTS later (n INTEGER)`); !errors.Is(err, database.ErrVersion) || !strings.Contains(err.Error(), "1, this program knows 2") {
		t.Errorf("another version: %v", err)
	}
	if had, err := prepare("1", table); err != nil || had != "1" {
		t.Errorf("prepared again: cursor %q, %v", had, err)
	}
	if _, err := prepare("1", `CREATE TABLE later`); err == nil || errors.Is(err, database.ErrVersion) {
		t.Errorf("a statement that fails: %v", err)
	}
}

func testWrite(t *testing.T, dsn string) {
	db, err := database.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wrong := errors.New("no")
	for _, fail := range []error{nil, wrong} {
		if err := database.Write(t.Context(), db, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `CREATE TABLE IF NOT EXISTS t (n INTEGER)`)
			if err == nil {
				_, err = tx.ExecContext(t.Context(), `INSERT INTO t VALUES (1)`)
			}
			return errors.Join(err, fail)
		}); !errors.Is(err, fail) || fail == nil && err != nil {
			t.Fatalf("%v, want %v", err, fail)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}
