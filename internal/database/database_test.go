package database_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
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

func TestWriteIsWholeOrNothing(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testWrite(t, filepath.Join(t.TempDir(), "a.db")) })
	t.Run("postgres", func(t *testing.T) { testWrite(t, pgtest.Start(t).Database(t)) })
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
