package directory

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

// Names in meta.
const (
	metaPhase  = "phase"     // of the full sync under way: users, groups, members or log; empty: none
	metaRound  = "round"     // number of the full sync that is under way or was the last
	metaCursor = "cursor"    // where the list of the phase goes on
	metaGroup  = "group"     // whose members are read: those before it are done
	metaBegan  = "began"     // when the full sync under way began
	metaLog    = "log"       // where the org's log was read to
	metaSince  = "log_since" // where it begins while there is no cursor
	metaAsOf   = "as_of"     // up to when the copy is true; absent until the first full sync has ended
	metaFull   = "full"      // when the last full sync began
	metaWanted = "wanted"    // somebody asked for a full sync
	metaError  = "error"     // of the last round
	metaTried  = "tried"     // when the last round ended
	metaWork   = "requests"  // pages read in the full sync under way or the last
	metaTook   = "took_ms"   // that the last full sync took, pauses and restarts included
)

// store is the copy. A row's round says which full sync saw it last: what a finished one has not seen is gone.
type store struct{ db *sql.DB }

var schema = []string{
	`CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, login TEXT NOT NULL COLLATE NOCASE, status TEXT NOT NULL, active INTEGER NOT NULL, profile TEXT NOT NULL, round INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS users_login ON users(login)`,
	`CREATE TABLE IF NOT EXISTS groups (id TEXT PRIMARY KEY, name TEXT NOT NULL, round INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS groups_name ON groups(name)`,
	`CREATE TABLE IF NOT EXISTS members (group_id TEXT NOT NULL, user_id TEXT NOT NULL, round INTEGER NOT NULL, PRIMARY KEY (group_id, user_id)) STRICT, WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS members_user ON members(user_id)`,
}

func openStore(ctx context.Context, file string) (*store, error) {
	// NORMAL: after a power cut the last pages are read once more. 8 MiB of cache bounds the memory, whatever the org's size.
	db, err := database.OpenFile(file, "busy_timeout(10000)", "synchronous(NORMAL)", "cache_size(-4096)")
	if err != nil {
		return nil, err
	}
	s := &store{db}
	err = s.write(ctx, func(tx *sql.Tx) error { return database.Prepare(ctx, tx, formatVersion, schema...) })
	if errors.Is(err, database.ErrVersion) {
		err = fmt.Errorf("%w: remove %s, and it is read anew", err, file)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *store) close() error { return s.db.Close() }

func (s *store) write(ctx context.Context, f func(*sql.Tx) error) error {
	return database.Write(ctx, s.db, f)
}

// meta reads all named values; those never set are "".
func (s *store) meta(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT name, value FROM meta`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, rows.Err()
}

func (s *store) set(ctx context.Context, values map[string]string) error {
	return s.write(ctx, func(tx *sql.Tx) error { return database.SetMeta(ctx, tx, values) })
}

func putUser(ctx context.Context, tx *sql.Tx, u User, round int64) error {
	profile, err := json.Marshal(bounded(u.Profile))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO users VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET login = excluded.login, status = excluded.status, active = excluded.active,
 profile = excluded.profile, round = excluded.round`, u.ID, u.Login, u.Status, u.Active, string(profile), round)
	return err
}

// bounded leaves out the longest attributes until the rest fits.
func bounded(profile map[string]json.RawMessage) map[string]json.RawMessage {
	size := 0
	for name, v := range profile {
		size += len(name) + len(v)
	}
	if size <= ProfileMost {
		return profile
	}
	out := make(map[string]json.RawMessage, len(profile))
	for name, v := range profile {
		out[name] = v
	}
	for size > ProfileMost {
		longest := ""
		for name, v := range out {
			if longest == "" || len(v) > len(out[longest]) || len(v) == len(out[longest]) && name > longest {
				longest = name
			}
		}
		size -= len(longest) + len(out[longest])
		delete(out, longest)
	}
	return out
}

func dropUser(ctx context.Context, tx *sql.Tx, id string) error {
	return run(ctx, tx, []string{`DELETE FROM members WHERE user_id = ?`, `DELETE FROM users WHERE id = ?`}, id)
}

func putGroup(ctx context.Context, tx *sql.Tx, g Group, round int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO groups VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, round = excluded.round`, g.ID, g.Name, round)
	return err
}

func dropGroup(ctx context.Context, tx *sql.Tx, id string) error {
	return run(ctx, tx, []string{`DELETE FROM members WHERE group_id = ?`, `DELETE FROM groups WHERE id = ?`}, id)
}

func join(ctx context.Context, tx *sql.Tx, group, user string, round int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO members VALUES (?, ?, ?) ON CONFLICT (group_id, user_id) DO UPDATE SET round = excluded.round`, group, user, round)
	return err
}

// run runs statements with one argument each.
func run(ctx context.Context, tx *sql.Tx, statements []string, arg any) error {
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement, arg); err != nil {
			return err
		}
	}
	return nil
}

// moment reads a time of meta; the zero time if there is none.
func moment(text string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, text)
	return t
}

func written(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
