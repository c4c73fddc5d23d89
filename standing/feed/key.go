package feed

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// LoadOrCreateKey reads the feed's signing key from a PEM file (PKCS#8, RFC 8410), or makes one. The file must not be readable by others. Of two
// processes that race, both end up with the key of the first.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	raw, err := loadOrCreate(path, func() ([]byte, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	})
	if err != nil {
		return nil, fmt.Errorf("loading the feed's key: %w", err)
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, fmt.Errorf("loading the feed's key: %s is not one PEM block \"PRIVATE KEY\"; restore it, or remove it to have a new one made", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("loading the feed's key: %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("loading the feed's key: %s holds a %T, not an Ed25519 key", path, parsed)
	}
	return key, nil
}

// LoadOrCreateToken reads the token that gates read the feed with from a file, or makes one.
func LoadOrCreateToken(path string) (string, error) {
	raw, err := loadOrCreate(path, func() ([]byte, error) { return []byte(rand.Text() + rand.Text() + "\n"), nil })
	if err != nil {
		return "", fmt.Errorf("loading the feed's token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

func loadOrCreate(path string, create func() ([]byte, error)) ([]byte, error) {
	for {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.Mode().Perm()&0o077 != 0:
			return nil, fmt.Errorf("%s has mode %04o, so others can read it; run: chmod 600 %s", path, info.Mode().Perm(), path)
		case err == nil:
			return os.ReadFile(path)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		fresh, err := create()
		if err != nil {
			return nil, err
		}
		if err := durable.CreateFile(path, fresh, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}
