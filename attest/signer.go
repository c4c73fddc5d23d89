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
	"path/filepath"
	"slices"
)

// Signer makes attestations with one Ed25519 key. It is safe for concurrent use.
type Signer struct {
	key    ed25519.PrivateKey
	kid    string
	prefix []byte // of the signing input: the same for every statement
}

// NewSigner makes a signer from a key. It panics if the key has the wrong size, as crypto/ed25519 does.
func NewSigner(key ed25519.PrivateKey) *Signer {
	if len(key) != ed25519.PrivateKeySize {
		panic("attest: a private key of the wrong size")
	}
	kid := KeyID(key.Public().(ed25519.PublicKey))
	return &Signer{key: key, kid: kid, prefix: slices.Clip(signingPrefix(kid))}
}

// KeyID returns the key's id; see KeyID.
func (s *Signer) KeyID() string { return s.kid }

// PublicKeySet returns the set with the signer's one public key.
func (s *Signer) PublicKeySet() KeySet {
	return KeySet{keys: []Key{{ID: s.kid, Public: s.key.Public().(ed25519.PublicKey)}}}
}

// Sign returns the attestation of a statement. A zero Version means the current one, a zero IssuedAt is an error: the caller owns the
// clock. A statement that KeySet.Verify would not accept (incomplete, invalid UTF-8, over MaxSize) is an error.
func (s *Signer) Sign(st Statement) (string, error) {
	if st.Version == 0 {
		st.Version = Version
	}
	if st.Version != Version {
		return "", fmt.Errorf("signing attestation: version %d, this code writes %d", st.Version, Version)
	}
	if err := complete(st); err != nil {
		return "", fmt.Errorf("signing attestation: %w", err)
	}
	if !validText(st) {
		return "", errors.New("signing attestation: a text is not valid UTF-8")
	}
	payload, err := marshalPayload(st)
	if err != nil {
		return "", fmt.Errorf("signing attestation: %w", err)
	}
	size := len(payload) - 1 + tail
	if size > MaxSize {
		return "", fmt.Errorf("signing attestation: %d bytes, more than the limit of %d; shorten the reason", size, MaxSize)
	}
	sig := ed25519.Sign(s.key, append(s.prefix, payload...))
	buf := append(payload[:len(payload)-1], sigName...)
	buf = append(append(buf, s.kid...), '.')
	buf = b64.AppendEncode(buf, sig)
	return string(append(buf, `"}`...)), nil
}

// LoadOrCreateSigner reads the key in the PEM file (PKCS#8, RFC 8410) or, when there is no file, makes one. The file must not be
// readable by others. Creation is atomic: of two processes that race, both end up with the key of the first.
func LoadOrCreateSigner(path string) (*Signer, error) {
	for {
		s, err := loadSigner(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if err := createKeyFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating attestation key %s: %w", path, err)
		}
	}
}

func loadSigner(path string) (*Signer, error) {
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
	return NewSigner(key), nil
}

// createKeyFile writes a new key beside path and links it into place: a crash leaves either no key or a whole one (and perhaps a
// stray temporary file), and an existing key is never replaced.
func createKeyFile(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("generating: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".attestation-key-*") // 0600 by os.CreateTemp
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new directory entry durable; without it the key could be gone after a power cut, and with it every signature's verifier.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
