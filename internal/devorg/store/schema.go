package store

import (
	"context"
	"fmt"
)

// migrations are applied in order and never edited once released; user_version counts how many have run.
var migrations = []string{
	// 1 (2026-11): the first release.
	`
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE users (
  id TEXT PRIMARY KEY, status TEXT NOT NULL, login TEXT NOT NULL COLLATE NOCASE UNIQUE, profile TEXT NOT NULL, password TEXT NOT NULL,
  created INTEGER NOT NULL, activated INTEGER NOT NULL, status_changed INTEGER NOT NULL, last_login INTEGER NOT NULL,
  last_updated INTEGER NOT NULL, password_changed INTEGER NOT NULL) STRICT;

CREATE TABLE groups (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL,
  created INTEGER NOT NULL, last_updated INTEGER NOT NULL, last_membership_updated INTEGER NOT NULL) STRICT;

CREATE TABLE members (
  group_id TEXT NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  PRIMARY KEY (group_id, user_id)) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members(user_id);

CREATE TABLE apps (
  id TEXT PRIMARY KEY, label TEXT NOT NULL, status TEXT NOT NULL, settings TEXT NOT NULL,
  created INTEGER NOT NULL, last_updated INTEGER NOT NULL) STRICT;
CREATE TABLE app_grants (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE, scope TEXT NOT NULL, issuer TEXT NOT NULL,
  created INTEGER NOT NULL, UNIQUE (app_id, scope)) STRICT;
CREATE TABLE client_keys (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE, kid TEXT NOT NULL, status TEXT NOT NULL,
  e TEXT NOT NULL, n TEXT NOT NULL, created INTEGER NOT NULL, last_updated INTEGER NOT NULL, UNIQUE (app_id, kid)) STRICT;
CREATE TABLE client_secrets (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE, secret TEXT NOT NULL, status TEXT NOT NULL,
  created INTEGER NOT NULL, last_updated INTEGER NOT NULL) STRICT;
CREATE TABLE used_assertions (
  client_id TEXT NOT NULL, jti TEXT NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (client_id, jti)) STRICT, WITHOUT ROWID;

CREATE TABLE auth_servers (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, audience TEXT NOT NULL, rotation_mode TEXT NOT NULL,
  last_rotated INTEGER NOT NULL, created INTEGER NOT NULL, last_updated INTEGER NOT NULL) STRICT;
CREATE TABLE signing_keys (
  kid TEXT PRIMARY KEY, as_id TEXT NOT NULL, status TEXT NOT NULL, pkcs8 BLOB NOT NULL,
  created INTEGER NOT NULL, last_updated INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX one_signing_key_per_status ON signing_keys(as_id, status);

CREATE TABLE sessions (
  secret_hash TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  auth_time INTEGER NOT NULL, expires INTEGER NOT NULL) STRICT;
CREATE INDEX sessions_by_user ON sessions(user_id);

CREATE TABLE families (
  id TEXT PRIMARY KEY, client_id TEXT NOT NULL, user_id TEXT NOT NULL, as_id TEXT NOT NULL, scopes TEXT NOT NULL,
  nonce TEXT NOT NULL, session_id TEXT NOT NULL, auth_time INTEGER NOT NULL, created INTEGER NOT NULL, revoked INTEGER NOT NULL) STRICT;
CREATE INDEX families_by_user ON families(user_id);
CREATE TABLE refresh_tokens (
  hash TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, family_id TEXT NOT NULL REFERENCES families(id) ON DELETE CASCADE,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, rotated INTEGER NOT NULL) STRICT;
CREATE INDEX refresh_tokens_by_family ON refresh_tokens(family_id);
CREATE TABLE access_tokens (
  jti TEXT PRIMARY KEY, as_id TEXT NOT NULL, client_id TEXT NOT NULL, user_id TEXT NOT NULL, family_id TEXT NOT NULL,
  issued INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL) STRICT;
CREATE INDEX access_tokens_by_family ON access_tokens(family_id);
CREATE INDEX access_tokens_by_user ON access_tokens(user_id);
CREATE INDEX access_tokens_by_expiry ON access_tokens(expires);

CREATE TABLE codes (
  hash TEXT PRIMARY KEY, family_id TEXT NOT NULL REFERENCES families(id) ON DELETE CASCADE, redirect_uri TEXT NOT NULL,
  challenge TEXT NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL) STRICT;
CREATE TABLE device_codes (
  hash TEXT PRIMARY KEY, user_code TEXT NOT NULL UNIQUE, as_id TEXT NOT NULL, client_id TEXT NOT NULL, scopes TEXT NOT NULL, status TEXT NOT NULL,
  user_id TEXT NOT NULL, session_id TEXT NOT NULL, auth_time INTEGER NOT NULL,
  poll_interval INTEGER NOT NULL, last_poll INTEGER NOT NULL, expires INTEGER NOT NULL) STRICT;

CREATE TABLE logs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, published INTEGER NOT NULL, event_type TEXT NOT NULL, event TEXT NOT NULL) STRICT;
CREATE INDEX logs_by_published ON logs(published);
`,
	// 2 (2026-11): event hooks.
	`
CREATE TABLE event_hooks (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, verification TEXT NOT NULL, uri TEXT NOT NULL, auth_key TEXT NOT NULL,
  auth_value TEXT NOT NULL, types TEXT NOT NULL, created_by TEXT NOT NULL, created INTEGER NOT NULL, last_updated INTEGER NOT NULL) STRICT;
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, hook_id TEXT NOT NULL REFERENCES event_hooks(id) ON DELETE CASCADE, event TEXT NOT NULL) STRICT;
`,
	// 3 (2026-11): what set-up writes: scopes, claims, policies and rules of authorization servers, people's apps by group, roles of service apps.
	`
CREATE TABLE as_parts (
  id TEXT PRIMARY KEY, as_id TEXT NOT NULL REFERENCES auth_servers(id) ON DELETE CASCADE, kind TEXT NOT NULL, parent TEXT NOT NULL, slot TEXT NOT NULL,
  status TEXT NOT NULL, priority INTEGER NOT NULL, doc TEXT NOT NULL, created INTEGER NOT NULL, last_updated INTEGER NOT NULL,
  UNIQUE (as_id, kind, parent, slot)) STRICT;
CREATE TABLE app_groups (
  app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE, group_id TEXT NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  priority INTEGER NOT NULL, last_updated INTEGER NOT NULL, PRIMARY KEY (app_id, group_id)) STRICT, WITHOUT ROWID;
CREATE TABLE client_roles (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id) ON DELETE CASCADE, type TEXT NOT NULL, created INTEGER NOT NULL,
  UNIQUE (app_id, type)) STRICT;
`,
}

func (s *Store) migrate(ctx context.Context) error {
	return s.Update(ctx, func(t *Tx) error {
		var version int
		if err := t.tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return fmt.Errorf("reading the development org's schema version: %w (is the file a SQLite database?)", err)
		}
		if version > len(migrations) {
			return fmt.Errorf("opening the development org's database: its schema is version %d, this build knows up to %d: use a newer build or delete the file", version, len(migrations))
		}
		for ; version < len(migrations); version++ {
			if _, err := t.tx.ExecContext(ctx, migrations[version]); err != nil {
				return fmt.Errorf("creating the development org's schema: %w", err)
			}
		}
		// PRAGMA takes no parameters; the value is a number of ours.
		if _, err := t.tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
			return fmt.Errorf("recording the development org's schema version: %w", err)
		}
		return nil
	})
}

// Meta reads a named value; ErrNotFound when it was never set.
func (t *Tx) Meta(key string) (string, error) {
	return one(t, func(s scanner) (v string, err error) { return v, s.Scan(&v) }, `SELECT value FROM meta WHERE key = ?`, key)
}

// SetMeta writes a named value.
func (t *Tx) SetMeta(key, value string) error {
	return t.exec(`INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
}
