package attest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// LoadOrCreateSigner reads the one key in the PEM file (PKCS#8, RFC 8410) or, when there is no file, makes one. The file must not be
// readable by others. Creation is atomic: of two processes that race, both end up with the key of the first. OpenKeys has several keys that rotate.
func LoadOrCreateSigner(path string) (*Signer, error) {
	key, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = createKeyFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating attestation key %s: %w", path, err)
		}
		key, err = readKeyFile(path)
	}
	if err != nil {
		return nil, err
	}
	return NewSigner(key), nil
}

func readKeyFile(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading attestation key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading attestation key %s: its mode is %04o, so others can read it; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading attestation key: %w", err)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, fmt.Errorf("reading attestation key %s: not one PEM block \"PRIVATE KEY\"; restore it, or remove it to have a new one made", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading attestation key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading attestation key %s: a %T, not an Ed25519 key", path, parsed)
	}
	return key, nil
}

// createKeyFile makes a key: a crash leaves either none or a whole one, and an existing one is never replaced.
func createKeyFile(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return key, durable.CreateFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
