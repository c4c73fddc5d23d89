package devorg

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// The org authorization server has two key sets: one that it publishes, and one for its access tokens that it does not,
// because those are opaque to everyone but the org.
const (
	orgPublished = "org"
	orgPrivate   = "org.access"
)

// rotationPeriod is how often an AUTO authorization server changes its key by itself; Okta's is about quarterly.
const rotationPeriod = 90 * 24 * time.Hour

func generateKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// signer is a private key ready for use.
type signer struct {
	kid string
	key *rsa.PrivateKey
}

func (s signer) sign(claims any) (string, error) { return signRS256(s.key, s.kid, claims) }

// activeKey is the key that the server signs with, made on first use. An AUTO server whose time has come rotates here.
func (o *Org) activeKey(tx *store.Tx, c *call, as string) (signer, error) {
	if row, err := tx.AuthServer(as); err == nil && row.RotationMode == "AUTO" && !c.now.Before(row.LastRotated.Add(rotationPeriod)) {
		if err := o.rotateKeys(tx, c, row, logParty{ID: "okta", Type: "SystemPrincipal", AlternateID: "system@okta.com", DisplayName: "Okta System"}); err != nil {
			return signer{}, err
		}
	}
	row, err := o.ensureKey(tx, c.now, as, store.Active)
	if err != nil {
		return signer{}, err
	}
	key, err := o.parseKey(row)
	return signer{row.KID, key}, err
}

// ensureKey finds the server's key of a status and makes it if there is none.
func (o *Org) ensureKey(tx *store.Tx, now time.Time, as, status string) (store.SigningKey, error) {
	row, err := tx.SigningKey(as, status)
	if !errors.Is(err, store.ErrNotFound) {
		return row, err
	}
	key, err := o.newKey()
	if err != nil {
		return row, fmt.Errorf("making a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return row, fmt.Errorf("encoding a signing key: %w", err)
	}
	row = store.SigningKey{KID: newSecret(), AuthServer: as, Status: status, PKCS8: der, Created: now, LastUpdated: now}
	return row, tx.AddSigningKey(row)
}

// rotateKeys makes ACTIVE EXPIRED and NEXT ACTIVE at once, then makes a new NEXT.
func (o *Org) rotateKeys(tx *store.Tx, c *call, as store.AuthServer, by logParty) error {
	for _, status := range []string{store.Active, store.Next} {
		if _, err := o.ensureKey(tx, c.now, as.ID, status); err != nil {
			return err
		}
	}
	if err := tx.RotateSigningKeys(as.ID, c.now); err != nil {
		return err
	}
	as.LastRotated, as.LastUpdated = c.now, c.now
	if err := tx.PutAuthServer(as); err != nil {
		return err
	}
	next, err := o.ensureKey(tx, c.now, as.ID, store.Next)
	if err != nil {
		return err
	}
	active, err := tx.SigningKey(as.ID, store.Active)
	if err != nil {
		return err
	}
	return o.record(tx, c, event{
		kind: "app.oauth2.as.key.rollover", message: "OAuth2 authorization server signing key rollover", actor: by,
		targets: []logParty{{ID: as.ID, Type: "AuthorizationServer", AlternateID: "unknown", DisplayName: as.Name}},
		debug:   map[string]any{"activeKid": active.KID, "nextKid": next.KID},
	})
}

func (o *Org) parseKey(row store.SigningKey) (*rsa.PrivateKey, error) {
	if k, ok := o.parsed.Load(row.KID); ok {
		return k.(*rsa.PrivateKey), nil
	}
	any, err := x509.ParsePKCS8PrivateKey(row.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("reading signing key %s: %w", row.KID, err)
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading signing key %s: not an RSA key", row.KID)
	}
	o.parsed.Store(row.KID, key)
	return key, nil
}

// publicJWK is a key as /v1/keys publishes it.
type publicJWK struct {
	Kty string `json:"kty"`
	Alg string `json:"alg"`
	KID string `json:"kid"`
	Use string `json:"use"`
	E   string `json:"e"`
	N   string `json:"n"`
}

// publicKeys lists what the server publishes: ACTIVE, NEXT where it exists, and EXPIRED while tokens signed with it may live.
func (o *Org) publicKeys(c *call, as string) ([]publicJWK, error) {
	var rows []store.SigningKey
	read := func(tx *store.Tx) (err error) {
		rows, err = tx.SigningKeys(as)
		return err
	}
	if err := o.view(c.r.Context(), read); err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].Status != store.Active {
		err := o.update(c.r.Context(), func(tx *store.Tx) error {
			if _, err := o.ensureKey(tx, c.now, as, store.Active); err != nil {
				return err
			}
			return read(tx)
		})
		if err != nil {
			return nil, err
		}
	}
	out := []publicJWK{}
	for _, row := range rows {
		key, err := o.parseKey(row)
		if err != nil {
			return nil, err
		}
		e, n := jwkNumbers(&key.PublicKey)
		out = append(out, publicJWK{"RSA", "RS256", row.KID, "sig", e, n})
	}
	return out, nil
}

// keysMaxAge is the Cache-Control lifetime of a key set in seconds. Okta's is weeks; a shorter one lets rotations be seen.
const keysMaxAge = 3600

// serverKeys serves GET /oauth2/{as}/v1/keys.
func (o *Org) serverKeys(c *call) error {
	as, err := o.pathServer(c)
	if err != nil {
		return err
	}
	return o.serveKeys(c, as.ID)
}

// orgKeys serves GET /oauth2/v1/keys.
func (o *Org) orgKeys(c *call) error { return o.serveKeys(c, orgPublished) }

func (o *Org) serveKeys(c *call, as string) error {
	keys, err := o.publicKeys(c, as)
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d, must-revalidate", keysMaxAge))
	c.json(200, map[string]any{"keys": keys})
	return nil
}

// openToken checks the signature of a token against the server's keys. Expiry and revocation are the caller's to check.
func (o *Org) openToken(tx *store.Tx, as, raw string) (*jws, error) {
	t, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	rows, err := tx.SigningKeys(as)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.KID != t.kid {
			continue
		}
		key, err := o.parseKey(row)
		if err != nil {
			return nil, err
		}
		if !t.verify(&key.PublicKey) {
			return nil, errors.New("the signature does not match")
		}
		return t, nil
	}
	return nil, errors.New("the key is unknown")
}
