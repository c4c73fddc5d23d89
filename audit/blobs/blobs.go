// Package blobs keeps texts that entries name by digest, such as the policy sets that decided, each in a file named after its SHA-256.
//
// It owns a directory and the rule that a blob is what its name says. It refuses to know what is in a blob and who names it.
package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// MaxSize is the largest blob in bytes.
const MaxSize = 64 << 20

// ErrNotFound is wrapped by the error of Get when there is no such blob.
var ErrNotFound = errors.New("no such blob")

// ErrNoDigest is wrapped by the error of Get for a name that is not a digest.
var ErrNoDigest = errors.New("not a SHA-256 in lower-case hex")

// ErrAltered is wrapped by the error of Get when a blob is not what its name says.
var ErrAltered = errors.New("blob does not have the digest that it is named by")

// Beside is the directory of the blobs that a journal's entries name.
func Beside(journal string) string { return filepath.Join(journal, "blobs") }

// Put keeps data in dir, which it makes if need be, and returns its digest: SHA-256 in lower-case hex. It returns when the blob is
// durable. One that is there and sound is left alone; a crash leaves all of it or nothing.
func Put(dir string, data []byte) (digest string, err error) {
	if len(data) > MaxSize {
		return "", fmt.Errorf("keeping a blob: it has %d bytes, more than %d", len(data), MaxSize)
	}
	sum := sha256.Sum256(data)
	digest = hex.EncodeToString(sum[:])
	if _, err := Get(dir, digest); err == nil {
		return digest, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keeping a blob: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, digest), data, 0o600); err != nil {
		return "", fmt.Errorf("keeping a blob: %w", err)
	}
	return digest, nil
}

// Get returns the blob of that digest. What it returns has that digest; an altered or foreign file is an error.
func Get(dir, digest string) ([]byte, error) {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != digest {
		return nil, fmt.Errorf("reading blob %.80q: %w", digest, ErrNoDigest) // which is also not a path
	}
	f, err := os.Open(filepath.Join(dir, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading blob %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a blob: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading a blob: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("reading blob %s: %w", digest, ErrAltered)
	}
	return data, nil
}
