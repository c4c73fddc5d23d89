// Package tiles seals the journal into a transparency log of tlog-tiles (https://c2sp.org/tlog-tiles) with signed checkpoints
// (https://c2sp.org/tlog-checkpoint), verifies such a log offline, and reads it.
//
// It owns the log's directory and its key; Tessera writes the tiles, and everything that checks them is independent of Tessera. It
// runs in the control plane, never in the gate's process, and shares only files with the journal's writer. It refuses to know what
// entries mean and who may read them.
package tiles

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// keyPrefix begins a signer key; the algorithm byte 1 is Ed25519 (https://c2sp.org/signed-note).
const (
	keyPrefix    = "PRIVATE+KEY+"
	algorithmEd  = 1
	keyFilePerm  = 0o600
	logDirPerm   = 0o700
	groupAndRest = 0o077
)

// LoadOrCreateKey reads the log's signing key (note format, Ed25519) from path, or makes one for origin and writes it with mode
// 0600. The verifier key that it returns is what verifiers are given. It refuses a key of another origin, and a file that others
// can read.
func LoadOrCreateKey(path, origin string) (signer note.Signer, verifierKey string, err error) {
	if origin == "" || strings.ContainsAny(origin, "+ \t\r\n") {
		return nil, "", fmt.Errorf("log origin %q must be non-empty, without spaces and '+'", origin)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		skey, _, err := note.GenerateKey(rand.Reader, origin)
		if err != nil {
			return nil, "", fmt.Errorf("generating log key: %w", err)
		}
		// When two create it at once, one wins and both load what it wrote.
		if err := durable.CreateFile(path, []byte(skey+"\n"), keyFilePerm); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, "", fmt.Errorf("saving log key: %w", err)
		}
	}
	return loadKey(path, origin)
}

// loadKey is LoadOrCreateKey for a key that must be there.
func loadKey(path, origin string) (signer note.Signer, verifierKey string, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("reading log key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", fmt.Errorf("reading log key: %w", err)
	}
	if perm := info.Mode().Perm(); perm&groupAndRest != 0 {
		return nil, "", fmt.Errorf("log key %s has mode %#o: others can read it; run: chmod 600 %s", path, perm, path)
	}
	skey := strings.TrimSpace(string(raw))
	if signer, err = note.NewSigner(skey); err != nil {
		return nil, "", fmt.Errorf("parsing log key %s: %w", path, err)
	}
	if signer.Name() != origin {
		return nil, "", fmt.Errorf("log key %s is of origin %q, not %q: use its origin, or another file for this log", path, signer.Name(), origin)
	}
	verifierKey, err = verifierFor(skey)
	if err != nil {
		return nil, "", fmt.Errorf("deriving verifier key of %s: %w", path, err)
	}
	return signer, verifierKey, nil
}

// verifierFor derives the verifier key from a signer key that note.NewSigner accepts.
func verifierFor(skey string) (string, error) {
	parts := strings.SplitN(strings.TrimPrefix(skey, keyPrefix), "+", 3) // name, hash, key data
	if len(parts) != 3 {
		return "", errors.New("not a note signer key")
	}
	data, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(data) != 1+ed25519.SeedSize || data[0] != algorithmEd {
		return "", errors.New("not an Ed25519 signer key")
	}
	public, ok := ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("not an Ed25519 signer key")
	}
	return note.NewEd25519VerifierKey(parts[0], public)
}
