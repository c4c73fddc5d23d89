package store

import (
	"encoding/json"
	"strings"
	"time"
)

// Okta's user statuses that the development org uses.
const (
	Staged        = "STAGED"
	Active        = "ACTIVE"
	Suspended     = "SUSPENDED"
	Deprovisioned = "DEPROVISIONED"
)

// User is a person in the directory.
type User struct {
	ID       string // "00u…", never reused
	Status   string
	Login    string         // unique without regard to case; may change
	Profile  map[string]any // firstName, lastName, email, login and whatever else was stored
	Password string         // encoded hash; empty: cannot log in with a password

	Created, Activated, StatusChanged, LastLogin, LastUpdated, PasswordChanged time.Time
}

// Attribute returns a profile attribute as text; "" when it is absent or no string.
func (u User) Attribute(name string) string {
	s, _ := u.Profile[name].(string)
	return s
}

// DisplayName is "First Last", or the login when there is no name.
func (u User) DisplayName() string {
	if name := strings.TrimSpace(u.Attribute("firstName") + " " + u.Attribute("lastName")); name != "" {
		return name
	}
	return u.Login
}

const userColumns = `id, status, login, profile, password, created, activated, status_changed, last_login, last_updated, password_changed`

func scanUser(s scanner) (User, error) {
	var u User
	var profile string
	var created, activated, changed, login, updated, password int64
	if err := s.Scan(&u.ID, &u.Status, &u.Login, &profile, &u.Password, &created, &activated, &changed, &login, &updated, &password); err != nil {
		return u, err
	}
	u.Created, u.Activated, u.StatusChanged = fromMillis(created), fromMillis(activated), fromMillis(changed)
	u.LastLogin, u.LastUpdated, u.PasswordChanged = fromMillis(login), fromMillis(updated), fromMillis(password)
	return u, json.Unmarshal([]byte(profile), &u.Profile)
}

// User finds a person by id.
func (t *Tx) User(id string) (User, error) {
	return one(t, scanUser, `SELECT `+userColumns+` FROM users WHERE id = ?`, id)
}

// UserByLogin finds a person by login, without regard to case.
func (t *Tx) UserByLogin(login string) (User, error) {
	return one(t, scanUser, `SELECT `+userColumns+` FROM users WHERE login = ?`, login)
}

// UsersAfter lists up to limit people with an id greater than after, in id order.
func (t *Tx) UsersAfter(after string, limit int) ([]User, error) {
	return many(t, scanUser, `SELECT `+userColumns+` FROM users WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
}

// PutUser inserts or replaces a person. ErrExists: another person has the login.
func (t *Tx) PutUser(u User) error {
	profile, err := json.Marshal(u.Profile)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO users (`+userColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET status=excluded.status, login=excluded.login, profile=excluded.profile, password=excluded.password,
 created=excluded.created, activated=excluded.activated, status_changed=excluded.status_changed, last_login=excluded.last_login,
 last_updated=excluded.last_updated, password_changed=excluded.password_changed`,
		u.ID, u.Status, u.Login, string(profile), u.Password, millis(u.Created), millis(u.Activated), millis(u.StatusChanged),
		millis(u.LastLogin), millis(u.LastUpdated), millis(u.PasswordChanged))
}

// DeleteUser removes a person, their memberships and their sessions.
func (t *Tx) DeleteUser(id string) error { return t.change(`DELETE FROM users WHERE id = ?`, id) }
