package store

import (
	"strings"
	"time"
)

// Session is a browser's login at the org. Only the hash of the cookie is kept; ID is the public name that logs carry.
type Session struct {
	SecretHash, ID, UserID string
	AuthTime, Expires      time.Time
}

// AddSession inserts a session and forgets expired ones.
func (t *Tx) AddSession(s Session) error {
	if err := t.exec(`DELETE FROM sessions WHERE expires < ?`, millis(s.AuthTime)); err != nil {
		return err
	}
	return t.exec(`INSERT INTO sessions (secret_hash, id, user_id, auth_time, expires) VALUES (?,?,?,?,?)`,
		s.SecretHash, s.ID, s.UserID, millis(s.AuthTime), millis(s.Expires))
}

// Session finds a session by the hash of its cookie.
func (t *Tx) Session(secretHash string) (Session, error) {
	return one(t, func(r scanner) (Session, error) {
		var s Session
		var auth, expires int64
		err := r.Scan(&s.SecretHash, &s.ID, &s.UserID, &auth, &expires)
		s.AuthTime, s.Expires = fromMillis(auth), fromMillis(expires)
		return s, err
	}, `SELECT secret_hash, id, user_id, auth_time, expires FROM sessions WHERE secret_hash = ?`, secretHash)
}

// DeleteSession ends one session.
func (t *Tx) DeleteSession(secretHash string) error {
	return t.exec(`DELETE FROM sessions WHERE secret_hash = ?`, secretHash)
}

// DeleteSessionsOf ends all of a person's sessions.
func (t *Tx) DeleteSessionsOf(userID string) error {
	return t.exec(`DELETE FROM sessions WHERE user_id = ?`, userID)
}

// Code is a one-time authorization code; what it grants is in its family.
type Code struct {
	Hash, FamilyID, RedirectURI, Challenge string // Challenge is the S256 PKCE challenge or empty
	Expires                                time.Time
	Used                                   bool
}

// AddCode inserts a code and forgets long-dead ones.
func (t *Tx) AddCode(c Code) error {
	if err := t.exec(`DELETE FROM codes WHERE expires < ?`, millis(c.Expires.Add(-24*time.Hour))); err != nil {
		return err
	}
	return t.exec(`INSERT INTO codes (hash, family_id, redirect_uri, challenge, expires, used) VALUES (?,?,?,?,?,?)`,
		c.Hash, c.FamilyID, c.RedirectURI, c.Challenge, millis(c.Expires), c.Used)
}

// Code finds a code by the hash of its text.
func (t *Tx) Code(hash string) (Code, error) {
	return one(t, func(s scanner) (Code, error) {
		var c Code
		var expires int64
		err := s.Scan(&c.Hash, &c.FamilyID, &c.RedirectURI, &c.Challenge, &expires, &c.Used)
		c.Expires = fromMillis(expires)
		return c, err
	}, `SELECT hash, family_id, redirect_uri, challenge, expires, used FROM codes WHERE hash = ?`, hash)
}

// UseCode marks a code as spent.
func (t *Tx) UseCode(hash string) error {
	return t.change(`UPDATE codes SET used = 1 WHERE hash = ? AND used = 0`, hash)
}

// Device authorization statuses.
const (
	DevicePending  = "pending"
	DeviceApproved = "approved"
	DeviceDenied   = "denied"
	DeviceRedeemed = "redeemed"
)

// DeviceCode is one device authorization (RFC 8628).
type DeviceCode struct {
	Hash, UserCode, AuthServer, ClientID string
	Scopes                               []string
	Status                               string
	UserID, SessionID                    string // who approved or denied
	AuthTime                             time.Time
	Interval                             time.Duration // how long the device must wait between polls
	LastPoll, Expires                    time.Time
}

const deviceColumns = `hash, user_code, as_id, client_id, scopes, status, user_id, session_id, auth_time, poll_interval, last_poll, expires`

func scanDevice(s scanner) (DeviceCode, error) {
	var d DeviceCode
	var scopes string
	var auth, interval, poll, expires int64
	err := s.Scan(&d.Hash, &d.UserCode, &d.AuthServer, &d.ClientID, &scopes, &d.Status, &d.UserID, &d.SessionID, &auth, &interval, &poll, &expires)
	d.Scopes, d.AuthTime, d.Interval = strings.Fields(scopes), fromMillis(auth), time.Duration(interval)*time.Millisecond
	d.LastPoll, d.Expires = fromMillis(poll), fromMillis(expires)
	return d, err
}

// DeviceByCode finds a device authorization by the hash of its device code.
func (t *Tx) DeviceByCode(hash string) (DeviceCode, error) {
	return one(t, scanDevice, `SELECT `+deviceColumns+` FROM device_codes WHERE hash = ?`, hash)
}

// DeviceByUserCode finds a device authorization by what the person types.
func (t *Tx) DeviceByUserCode(code string) (DeviceCode, error) {
	return one(t, scanDevice, `SELECT `+deviceColumns+` FROM device_codes WHERE user_code = ?`, code)
}

// PutDevice inserts or changes a device authorization and forgets long-dead ones. ErrExists: the user code is taken.
func (t *Tx) PutDevice(d DeviceCode) error {
	if err := t.exec(`DELETE FROM device_codes WHERE expires < ?`, millis(d.Expires.Add(-24*time.Hour))); err != nil {
		return err
	}
	return t.exec(`INSERT INTO device_codes (`+deviceColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (hash) DO UPDATE SET status=excluded.status, user_id=excluded.user_id, session_id=excluded.session_id, auth_time=excluded.auth_time,
 poll_interval=excluded.poll_interval, last_poll=excluded.last_poll`,
		d.Hash, d.UserCode, d.AuthServer, d.ClientID, strings.Join(d.Scopes, " "), d.Status, d.UserID, d.SessionID, millis(d.AuthTime),
		d.Interval.Milliseconds(), millis(d.LastPoll), millis(d.Expires))
}
