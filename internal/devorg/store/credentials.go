package store

import "time"

// ClientKey is a public RSA key with which an app signs its client assertions.
type ClientKey struct {
	ID, AppID, KID, Status string
	E, N                   string // base64url, as in a JWK

	Created, LastUpdated time.Time
}

const clientKeyColumns = `id, app_id, kid, status, e, n, created, last_updated`

func scanClientKey(s scanner) (ClientKey, error) {
	var k ClientKey
	var created, updated int64
	err := s.Scan(&k.ID, &k.AppID, &k.KID, &k.Status, &k.E, &k.N, &created, &updated)
	k.Created, k.LastUpdated = fromMillis(created), fromMillis(updated)
	return k, err
}

// ClientKeys lists an app's keys in the order they were made.
func (t *Tx) ClientKeys(appID string) ([]ClientKey, error) {
	return many(t, scanClientKey, `SELECT `+clientKeyColumns+` FROM client_keys WHERE app_id = ? ORDER BY created, id`, appID)
}

// ClientKey finds one key of an app by the key's id ("pks…").
func (t *Tx) ClientKey(appID, id string) (ClientKey, error) {
	return one(t, scanClientKey, `SELECT `+clientKeyColumns+` FROM client_keys WHERE app_id = ? AND id = ?`, appID, id)
}

// PutClientKey inserts or replaces a key. ErrExists: the app has another key with that kid.
func (t *Tx) PutClientKey(k ClientKey) error {
	return t.exec(`INSERT INTO client_keys (`+clientKeyColumns+`) VALUES (?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET status=excluded.status, last_updated=excluded.last_updated`,
		k.ID, k.AppID, k.KID, k.Status, k.E, k.N, millis(k.Created), millis(k.LastUpdated))
}

// DeleteClientKey removes a key.
func (t *Tx) DeleteClientKey(appID, id string) error {
	return t.change(`DELETE FROM client_keys WHERE app_id = ? AND id = ?`, appID, id)
}

// ClientSecret is one of an app's at most two secrets. The text is kept because Okta's API returns it in later reads too.
type ClientSecret struct {
	ID, AppID, Secret, Status string

	Created, LastUpdated time.Time
}

func scanClientSecret(s scanner) (ClientSecret, error) {
	var c ClientSecret
	var created, updated int64
	err := s.Scan(&c.ID, &c.AppID, &c.Secret, &c.Status, &created, &updated)
	c.Created, c.LastUpdated = fromMillis(created), fromMillis(updated)
	return c, err
}

const clientSecretColumns = `id, app_id, secret, status, created, last_updated`

// ClientSecrets lists an app's secrets in the order they were made.
func (t *Tx) ClientSecrets(appID string) ([]ClientSecret, error) {
	return many(t, scanClientSecret, `SELECT `+clientSecretColumns+` FROM client_secrets WHERE app_id = ? ORDER BY created, id`, appID)
}

// ClientSecret finds one secret of an app by the secret's id ("ocs…").
func (t *Tx) ClientSecret(appID, id string) (ClientSecret, error) {
	return one(t, scanClientSecret, `SELECT `+clientSecretColumns+` FROM client_secrets WHERE app_id = ? AND id = ?`, appID, id)
}

// PutClientSecret inserts a secret or changes its status.
func (t *Tx) PutClientSecret(c ClientSecret) error {
	return t.exec(`INSERT INTO client_secrets (`+clientSecretColumns+`) VALUES (?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET status=excluded.status, last_updated=excluded.last_updated`,
		c.ID, c.AppID, c.Secret, c.Status, millis(c.Created), millis(c.LastUpdated))
}

// DeleteClientSecret removes a secret.
func (t *Tx) DeleteClientSecret(appID, id string) error {
	return t.change(`DELETE FROM client_secrets WHERE app_id = ? AND id = ?`, appID, id)
}

// UseAssertion marks a client assertion's jti as spent until it expires. ErrExists: it was spent before.
func (t *Tx) UseAssertion(clientID, jti string, expires, now time.Time) error {
	if err := t.exec(`DELETE FROM used_assertions WHERE expires < ?`, millis(now)); err != nil {
		return err
	}
	return t.exec(`INSERT INTO used_assertions (client_id, jti, expires) VALUES (?,?,?)`, clientID, jti, millis(expires))
}
