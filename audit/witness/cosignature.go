// Package witness has third parties vouch for a log: cosignatures (https://c2sp.org/tlog-cosignature), the protocol by which a log asks for
// them (https://c2sp.org/tlog-witness), and a small witness that serves it.
//
// A witness signs a checkpoint only when it extends the last one that it signed of that log: so whoever sees a witness's signature sees the
// same history as everybody else who does. The package owns keys, protocol and the witness's state. It refuses to know what a log holds and
// where its tiles are: proofs are handed to it.
package witness

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// algorithm is the signature type of a timestamped Ed25519 cosignature, version 1.
const algorithm = 4

// Signer makes cosignatures. It is a note.Signer.
type Signer struct {
	name  string
	key   ed25519.PrivateKey
	clock func() time.Time
}

// NewSigner returns a signer of that name, which has no spaces and no '+'. clock may be nil.
func NewSigner(name string, key ed25519.PrivateKey, clock func() time.Time) (*Signer, error) {
	if !validName(name) {
		return nil, fmt.Errorf("witness name %q must be non-empty, without spaces and '+'", name)
	}
	if clock == nil {
		clock = time.Now
	}
	return &Signer{name: name, key: key, clock: clock}, nil
}

func validName(name string) bool { return name != "" && !strings.ContainsAny(name, "+ \t\r\n") }

// LoadOrCreateKey reads a witness's Ed25519 seed (32 bytes in base64) from path, or makes one with mode 0600.
func LoadOrCreateKey(path, name string) (*Signer, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, fmt.Errorf("generating witness key: %w", err)
		}
		seed := base64.StdEncoding.EncodeToString(key.Seed()) + "\n"
		if err := durable.CreateFile(path, []byte(seed), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("saving witness key: %w", err)
		}
		raw, err = os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading witness key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("reading witness key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading witness key: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("witness key %s has mode %#o: others can read it; run: chmod 600 %s", path, perm, path)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("witness key %s is not an Ed25519 seed in base64", path)
	}
	return NewSigner(name, ed25519.NewKeyFromSeed(seed), nil)
}

// Name implements note.Signer.
func (s *Signer) Name() string { return s.name }

// KeyHash implements note.Signer.
func (s *Signer) KeyHash() uint32 { return keyHash(s.name, s.public()) }

func (s *Signer) public() []byte { return s.key.Public().(ed25519.PublicKey) } //nolint:forcetypeassert // an Ed25519 key's

// Sign implements note.Signer: the time (seconds since 1970, big-endian) and the signature.
func (s *Signer) Sign(msg []byte) ([]byte, error) {
	at := uint64(s.clock().Unix())
	sig := binary.BigEndian.AppendUint64(nil, at)
	return append(sig, ed25519.Sign(s.key, signed(at, msg))...), nil
}

// VerifierKey is what those who rely on the witness are given: NAME+HASH+KEY.
func (s *Signer) VerifierKey() string {
	return fmt.Sprintf("%s+%08x+%s", s.name, s.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{algorithm}, s.public()...)))
}

// signed is what the signature is over.
func signed(at uint64, msg []byte) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, msg)
}

func keyHash(name string, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', algorithm})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Verifier checks cosignatures. It is a note.Verifier.
type Verifier struct {
	name string
	key  ed25519.PublicKey
}

// NewVerifier reads a verifier key as VerifierKey writes it.
func NewVerifier(vkey string) (*Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	h, err := strconv.ParseUint(hash, 16, 32)
	raw, err2 := base64.StdEncoding.Strict().DecodeString(encoded)
	switch {
	case err != nil || err2 != nil || len(hash) != 8 || !validName(name) || len(raw) == 0:
		return nil, fmt.Errorf("witness key %.100q does not have the form NAME+HASH+KEY", vkey)
	case raw[0] == 1:
		return nil, fmt.Errorf("witness key %.100q is a log's key: a witness has one for cosignatures", vkey)
	case raw[0] != algorithm || len(raw) != 1+ed25519.PublicKeySize:
		return nil, fmt.Errorf("witness key %.100q is not of a timestamped Ed25519 cosignature", vkey)
	case keyHash(name, raw[1:]) != uint32(h):
		return nil, fmt.Errorf("witness key %.100q does not have its own hash: it was mistyped", vkey)
	}
	return &Verifier{name: name, key: raw[1:]}, nil
}

// Name implements note.Verifier.
func (v *Verifier) Name() string { return v.name }

// KeyHash implements note.Verifier.
func (v *Verifier) KeyHash() uint32 { return keyHash(v.name, v.key) }

// Verify implements note.Verifier.
func (v *Verifier) Verify(msg, sig []byte) bool {
	return len(sig) == 8+ed25519.SignatureSize && ed25519.Verify(v.key, signed(binary.BigEndian.Uint64(sig), msg), sig[8:])
}

// Time returns when a cosignature that verifies was made, as its witness says.
func Time(sig note.Signature) (time.Time, bool) {
	raw, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil || len(raw) != 4+8+ed25519.SignatureSize {
		return time.Time{}, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC(), true
}
