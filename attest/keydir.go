package attest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// keyDir is what a key directory holds.
type keyDir struct {
	private  map[string]ed25519.PrivateKey // by key id
	own      KeySet                        // as published
	peers    KeySet                        // other gates' keys
	problems []error                       // files that can't be used
}

// readKeyDir reads a key directory. Files that are no keys (yet: somebody may be writing one) are passed over; a damaged published
// set is an error, because without it nobody knows what retired keys may have signed.
func readKeyDir(path string) (keyDir, error) {
	dir := keyDir{private: map[string]ed25519.PrivateKey{}}
	entries, err := os.ReadDir(path)
	if err != nil {
		return dir, fmt.Errorf("reading attestation keys: %w", err)
	}
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".pem":
			key, err := readKeyFile(file)
			if err != nil {
				dir.problems = append(dir.problems, err)
				continue
			}
			dir.private[KeyID(key.Public().(ed25519.PublicKey))] = key
		case ".jwks":
			set, err := readKeySet(file)
			if err != nil {
				dir.problems = append(dir.problems, err)
				continue
			}
			dir.peers = dir.peers.Merge(set)
		}
	}
	if dir.own, err = readKeySet(filepath.Join(path, manifest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	return dir, nil
}

func readKeySet(file string) (KeySet, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return KeySet{}, fmt.Errorf("reading attestation keys: %w", err)
	}
	set, err := ParseKeySet(data)
	if err != nil {
		return KeySet{}, fmt.Errorf("reading %s: %w", file, err)
	}
	return set, nil
}

// PublishedKeys reads the published set of a key directory, or of a single key file, for whoever serves it to verifiers. The owner of
// the directory (OpenKeys) must have made it.
func PublishedKeys(path string) (KeySet, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		key, err := readKeyFile(path)
		if err != nil {
			return KeySet{}, err
		}
		return NewSigner(key).PublicKeySet(), nil
	}
	dir, err := readKeyDir(path)
	if err != nil {
		return KeySet{}, err
	}
	return dir.peers.Merge(dir.own), nil
}

// newest returns the held key that began last, of those that satisfy the condition.
func (d *keyDir) newest(fits func(Key) bool) (newest Key, ok bool) {
	for _, k := range d.own.keys {
		if _, held := d.private[k.ID]; !held || !fits(k) {
			continue
		}
		if !ok || k.NotBefore.After(newest.NotBefore) {
			newest, ok = k, true
		}
	}
	return newest, ok
}

// drop takes out a key that has signed nothing.
func (d *keyDir) drop(id string) {
	d.own = KeySet{keys: slices.DeleteFunc(slices.Clone(d.own.keys), func(k Key) bool { return k.ID == id })}
}
