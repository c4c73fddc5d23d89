package store

import "time"

// AuthServer is the changeable part of a custom authorization server; scopes, claims and policies come from the seed.
type AuthServer struct {
	ID, Name, Description, Audience string
	RotationMode                    string // AUTO or MANUAL

	LastRotated, Created, LastUpdated time.Time
}

const authServerColumns = `id, name, description, audience, rotation_mode, last_rotated, created, last_updated`

func scanAuthServer(s scanner) (AuthServer, error) {
	var a AuthServer
	var rotated, created, updated int64
	err := s.Scan(&a.ID, &a.Name, &a.Description, &a.Audience, &a.RotationMode, &rotated, &created, &updated)
	a.LastRotated, a.Created, a.LastUpdated = fromMillis(rotated), fromMillis(created), fromMillis(updated)
	return a, err
}

// AuthServer finds an authorization server by id.
func (t *Tx) AuthServer(id string) (AuthServer, error) {
	return one(t, scanAuthServer, `SELECT `+authServerColumns+` FROM auth_servers WHERE id = ?`, id)
}

// AuthServers lists all of them in id order.
func (t *Tx) AuthServers() ([]AuthServer, error) {
	return many(t, scanAuthServer, `SELECT `+authServerColumns+` FROM auth_servers ORDER BY id`)
}

// PutAuthServer inserts or replaces one.
func (t *Tx) PutAuthServer(a AuthServer) error {
	return t.exec(`INSERT INTO auth_servers (`+authServerColumns+`) VALUES (?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET name=excluded.name, description=excluded.description, audience=excluded.audience,
 rotation_mode=excluded.rotation_mode, last_rotated=excluded.last_rotated, last_updated=excluded.last_updated`,
		a.ID, a.Name, a.Description, a.Audience, a.RotationMode, millis(a.LastRotated), millis(a.Created), millis(a.LastUpdated))
}

// Signing key statuses, besides Active.
const (
	Next    = "NEXT"
	Expired = "EXPIRED"
)

// SigningKey is a private key of an authorization server. There is at most one of each status per server.
type SigningKey struct {
	KID, AuthServer, Status string
	PKCS8                   []byte

	Created, LastUpdated time.Time
}

const signingKeyColumns = `kid, as_id, status, pkcs8, created, last_updated`

func scanSigningKey(s scanner) (SigningKey, error) {
	var k SigningKey
	var created, updated int64
	err := s.Scan(&k.KID, &k.AuthServer, &k.Status, &k.PKCS8, &created, &updated)
	k.Created, k.LastUpdated = fromMillis(created), fromMillis(updated)
	return k, err
}

// SigningKeys lists a server's keys: ACTIVE, then NEXT, then EXPIRED.
func (t *Tx) SigningKeys(as string) ([]SigningKey, error) {
	return many(t, scanSigningKey, `SELECT `+signingKeyColumns+` FROM signing_keys WHERE as_id = ?
ORDER BY CASE status WHEN 'ACTIVE' THEN 0 WHEN 'NEXT' THEN 1 ELSE 2 END`, as)
}

// SigningKey finds a server's key by status.
func (t *Tx) SigningKey(as, status string) (SigningKey, error) {
	return one(t, scanSigningKey, `SELECT `+signingKeyColumns+` FROM signing_keys WHERE as_id = ? AND status = ?`, as, status)
}

// AddSigningKey inserts a key. ErrExists: the server has one of that status already.
func (t *Tx) AddSigningKey(k SigningKey) error {
	return t.exec(`INSERT INTO signing_keys (`+signingKeyColumns+`) VALUES (?,?,?,?,?,?)`,
		k.KID, k.AuthServer, k.Status, k.PKCS8, millis(k.Created), millis(k.LastUpdated))
}

// RotateSigningKeys forgets the EXPIRED key and makes ACTIVE EXPIRED and NEXT ACTIVE.
func (t *Tx) RotateSigningKeys(as string, now time.Time) error {
	if err := t.exec(`DELETE FROM signing_keys WHERE as_id = ? AND status = 'EXPIRED'`, as); err != nil {
		return err
	}
	if err := t.change(`UPDATE signing_keys SET status = 'EXPIRED', last_updated = ? WHERE as_id = ? AND status = 'ACTIVE'`, millis(now), as); err != nil {
		return err
	}
	return t.change(`UPDATE signing_keys SET status = 'ACTIVE', last_updated = ? WHERE as_id = ? AND status = 'NEXT'`, millis(now), as)
}
