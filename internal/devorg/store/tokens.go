package store

import (
	"strings"
	"time"
)

// Family is everything that one act of logging in (or approving a device) led to: its code, refresh tokens and access tokens.
// Killing the family kills them all.
type Family struct {
	ID, ClientID, UserID, AuthServer string
	Scopes                           []string // as granted
	Nonce                            string
	SessionID                        string

	AuthTime, Created time.Time
	Revoked           bool
}

// AddFamily inserts a family.
func (t *Tx) AddFamily(f Family) error {
	return t.exec(`INSERT INTO families (id, client_id, user_id, as_id, scopes, nonce, session_id, auth_time, created, revoked) VALUES (?,?,?,?,?,?,?,?,?,?)`,
		f.ID, f.ClientID, f.UserID, f.AuthServer, strings.Join(f.Scopes, " "), f.Nonce, f.SessionID, millis(f.AuthTime), millis(f.Created), f.Revoked)
}

// Family finds a family by id.
func (t *Tx) Family(id string) (Family, error) {
	return one(t, func(s scanner) (Family, error) {
		var f Family
		var scopes string
		var auth, created int64
		err := s.Scan(&f.ID, &f.ClientID, &f.UserID, &f.AuthServer, &scopes, &f.Nonce, &f.SessionID, &auth, &created, &f.Revoked)
		f.Scopes, f.AuthTime, f.Created = strings.Fields(scopes), fromMillis(auth), fromMillis(created)
		return f, err
	}, `SELECT id, client_id, user_id, as_id, scopes, nonce, session_id, auth_time, created, revoked FROM families WHERE id = ?`, id)
}

// RevokeFamily kills a family and its access tokens.
func (t *Tx) RevokeFamily(id string) error {
	if err := t.exec(`UPDATE families SET revoked = 1 WHERE id = ?`, id); err != nil {
		return err
	}
	return t.exec(`UPDATE access_tokens SET revoked = 1 WHERE family_id = ?`, id)
}

// RevokeTokensOf kills every family and access token of a person.
func (t *Tx) RevokeTokensOf(userID string) error {
	if err := t.exec(`UPDATE families SET revoked = 1 WHERE user_id = ?`, userID); err != nil {
		return err
	}
	return t.exec(`UPDATE access_tokens SET revoked = 1 WHERE user_id = ?`, userID)
}

// RefreshToken is one generation of a family's refresh token; only the hash of its text is kept.
type RefreshToken struct {
	Hash, ID, FamilyID        string
	Created, Expires, Rotated time.Time // Rotated is zero while it is the current one
}

// AddRefreshToken inserts a refresh token.
func (t *Tx) AddRefreshToken(r RefreshToken) error {
	return t.exec(`INSERT INTO refresh_tokens (hash, id, family_id, created, expires, rotated) VALUES (?,?,?,?,?,?)`,
		r.Hash, r.ID, r.FamilyID, millis(r.Created), millis(r.Expires), millis(r.Rotated))
}

// RefreshToken finds a refresh token by the hash of its text.
func (t *Tx) RefreshToken(hash string) (RefreshToken, error) {
	return one(t, func(s scanner) (RefreshToken, error) {
		var r RefreshToken
		var created, expires, rotated int64
		err := s.Scan(&r.Hash, &r.ID, &r.FamilyID, &created, &expires, &rotated)
		r.Created, r.Expires, r.Rotated = fromMillis(created), fromMillis(expires), fromMillis(rotated)
		return r, err
	}, `SELECT hash, id, family_id, created, expires, rotated FROM refresh_tokens WHERE hash = ?`, hash)
}

// MarkRotated records the first time that a refresh token was exchanged for a successor.
func (t *Tx) MarkRotated(hash string, now time.Time) error {
	return t.change(`UPDATE refresh_tokens SET rotated = ? WHERE hash = ? AND rotated = 0`, millis(now), hash)
}

// ExtendRefreshToken moves the end of a STATIC refresh token's idle window.
func (t *Tx) ExtendRefreshToken(hash string, expires time.Time) error {
	return t.change(`UPDATE refresh_tokens SET expires = ? WHERE hash = ?`, millis(expires), hash)
}

// AccessToken is what is remembered of an issued access token, so that it can be revoked and introspected.
type AccessToken struct {
	JTI, AuthServer, ClientID, UserID, FamilyID string // UserID and FamilyID are empty for client credentials
	Issued, Expires                             time.Time
	Revoked                                     bool
}

// AddAccessToken inserts an access token and forgets those that expired over an hour before it was issued.
func (t *Tx) AddAccessToken(a AccessToken) error {
	if err := t.exec(`DELETE FROM access_tokens WHERE expires < ?`, millis(a.Issued.Add(-time.Hour))); err != nil {
		return err
	}
	return t.exec(`INSERT INTO access_tokens (jti, as_id, client_id, user_id, family_id, issued, expires, revoked) VALUES (?,?,?,?,?,?,?,?)`,
		a.JTI, a.AuthServer, a.ClientID, a.UserID, a.FamilyID, millis(a.Issued), millis(a.Expires), a.Revoked)
}

// AccessToken finds an access token by its jti.
func (t *Tx) AccessToken(jti string) (AccessToken, error) {
	return one(t, func(s scanner) (AccessToken, error) {
		var a AccessToken
		var issued, expires int64
		err := s.Scan(&a.JTI, &a.AuthServer, &a.ClientID, &a.UserID, &a.FamilyID, &issued, &expires, &a.Revoked)
		a.Issued, a.Expires = fromMillis(issued), fromMillis(expires)
		return a, err
	}, `SELECT jti, as_id, client_id, user_id, family_id, issued, expires, revoked FROM access_tokens WHERE jti = ?`, jti)
}

// RevokeAccessToken kills one access token.
func (t *Tx) RevokeAccessToken(jti string) error {
	return t.exec(`UPDATE access_tokens SET revoked = 1 WHERE jti = ?`, jti)
}
