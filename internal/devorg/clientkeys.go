package devorg

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// EnsureClientKey makes sure that the app can authenticate with the RSA private key in a PEM (PKCS #8) file: it makes the
// file, mode 0600, if it is absent, and registers the public key as ACTIVE if it is unknown. It returns the key's `kid`, its
// RFC 7638 thumbprint. Whoever sets up a development environment calls it; it stands for what an administrator does by hand.
func (o *Org) EnsureClientKey(ctx context.Context, clientID, pemFile string) (kid string, err error) {
	key, err := o.readOrCreateKey(pemFile)
	if err != nil {
		return "", err
	}
	kid = thumbprint(&key.PublicKey)
	err = o.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.App(clientID); err != nil {
			return fmt.Errorf("registering a key for client %q: %w", clientID, err)
		}
		keys, err := tx.ClientKeys(clientID)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(keys, func(k store.ClientKey) bool { return k.KID == kid }) {
			return nil // if someone deactivated it, that stands
		}
		e, n := jwkNumbers(&key.PublicKey)
		now := o.now()
		return tx.PutClientKey(store.ClientKey{ID: newID("pks"), AppID: clientID, KID: kid, Status: store.Active, E: e, N: n, Created: now, LastUpdated: now})
	})
	return kid, err
}

func (o *Org) readOrCreateKey(file string) (*rsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return o.createKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a client key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("reading a client key: %s is not a PEM file; delete it to have a new key made", file)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading a client key: %s: %w; delete it to have a new key made", file, err)
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading a client key: %s holds no RSA key; delete it to have a new key made", file)
	}
	return key, nil
}

// createKey writes the key beside its place and renames it there, so that a crash leaves no half file.
func (o *Org) createKey(file string) (*rsa.PrivateKey, error) {
	key, err := o.newKey()
	if err != nil {
		return nil, fmt.Errorf("making a client key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making a client key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("making a client key: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("making a client key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("making a client key: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return nil, fmt.Errorf("making a client key: %w", err)
	}
	return key, nil
}

// thumbprint is RFC 7638: the hash of the key's required members in lexical order.
func thumbprint(key *rsa.PublicKey) string {
	e, n := jwkNumbers(key)
	sum := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`))
	return b64.EncodeToString(sum[:])
}
