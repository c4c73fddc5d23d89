package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxKeySetBytes = 1 << 20
	maxKeys        = 256
)

// Key is one public key of a gate.
type Key struct {
	ID        string // KeyID of Public
	Public    ed25519.PublicKey
	NotBefore time.Time // statements issued earlier are refused; zero: no bound
	NotAfter  time.Time // statements issued later are refused: set when the key is retired; zero: no bound
}

func (k Key) covers(t time.Time) bool {
	return (k.NotBefore.IsZero() || !t.Before(k.NotBefore)) && (k.NotAfter.IsZero() || !t.After(k.NotAfter))
}

// KeySet holds public keys. It is a value: methods that change it return another one. The zero value knows no key and verifies nothing.
type KeySet struct {
	keys []Key // sorted by ID, no two alike; never written after it is built
}

// jwk is an Ed25519 public key as RFC 8037 section 2 writes it. nbf and exp (NumericDate) bound the time of issue of what it signed.
type jwk struct {
	KeyType   string          `json:"kty"`
	Curve     string          `json:"crv"`
	X         string          `json:"x"`
	KeyID     string          `json:"kid"`
	Use       string          `json:"use,omitempty"`
	Algorithm string          `json:"alg,omitempty"`
	NotBefore int64           `json:"nbf,omitempty"`
	NotAfter  int64           `json:"exp,omitempty"`
	D         json.RawMessage `json:"d,omitempty"` // present only in a private key, which has no place in a set
}

// Thumbprint returns the RFC 7638 thumbprint (SHA-256, base64url) of an Ed25519 key, over the members RFC 8037 section 2 requires.
func Thumbprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// KeyID returns the id of a key: the first 16 characters of its thumbprint. That is 96 bits, and short because it stands in every
// attestation; a set never holds two keys with one id.
func KeyID(key ed25519.PublicKey) string { return Thumbprint(key)[:kidSize] }

// NewKeySet makes a set of keys; ids are computed from the keys. Two alike, or one of the wrong size, are an error.
func NewKeySet(keys ...Key) (KeySet, error) {
	set := KeySet{keys: make([]Key, 0, len(keys))}
	for _, k := range keys {
		if len(k.Public) != ed25519.PublicKeySize {
			return KeySet{}, fmt.Errorf("building key set: a key has %d bytes, not %d", len(k.Public), ed25519.PublicKeySize)
		}
		k.ID = KeyID(k.Public)
		set.keys = append(set.keys, k)
	}
	slices.SortFunc(set.keys, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	for i := 1; i < len(set.keys); i++ {
		if set.keys[i].ID == set.keys[i-1].ID {
			return KeySet{}, fmt.Errorf("building key set: the key %s is there twice", set.keys[i].ID)
		}
	}
	return set, nil
}

// ParseKeySet reads a JWK set (RFC 7517 section 5). Keys of other types are passed over, as the RFC advises; an Ed25519 key that is
// private, meant for encryption, named otherwise than by its thumbprint, or there twice refuses the whole set, and so does a set
// without a usable key.
func ParseKeySet(jwks []byte) (KeySet, error) {
	if len(jwks) > maxKeySetBytes {
		return KeySet{}, fmt.Errorf("parsing key set: %d bytes, more than the limit of %d", len(jwks), maxKeySetBytes)
	}
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &doc); err != nil {
		return KeySet{}, fmt.Errorf("parsing key set: not a JSON web key set: %w", err)
	}
	if len(doc.Keys) > maxKeys {
		return KeySet{}, fmt.Errorf("parsing key set: %d keys, more than the limit of %d", len(doc.Keys), maxKeys)
	}
	var keys []Key
	for i, raw := range doc.Keys {
		var j jwk
		if err := json.Unmarshal(raw, &j); err != nil {
			return KeySet{}, fmt.Errorf("parsing key set: key %d: %w", i, err)
		}
		if j.KeyType != "OKP" || j.Curve != "Ed25519" {
			continue
		}
		k, err := j.key()
		if err != nil {
			return KeySet{}, fmt.Errorf("parsing key set: key %d: %w", i, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return KeySet{}, fmt.Errorf("parsing key set: no Ed25519 key among %d", len(doc.Keys))
	}
	set, err := NewKeySet(keys...)
	if err != nil {
		return KeySet{}, fmt.Errorf("parsing key set: %w", err)
	}
	return set, nil
}

func (j jwk) key() (Key, error) {
	public, ok := decodePart(j.X)
	switch {
	case len(j.D) != 0:
		return Key{}, fmt.Errorf("holds the private member \"d\": publish public keys only, and replace this key")
	case !ok || len(public) != ed25519.PublicKeySize:
		return Key{}, fmt.Errorf("\"x\" is not %d bytes in base64url", ed25519.PublicKeySize)
	case j.Use != "" && j.Use != "sig":
		return Key{}, fmt.Errorf("its use is %q, not \"sig\"", j.Use)
	case j.Algorithm != "" && j.Algorithm != "EdDSA":
		return Key{}, fmt.Errorf("its algorithm is %q, not \"EdDSA\"", j.Algorithm)
	case j.KeyID != KeyID(public):
		return Key{}, fmt.Errorf("its kid %q is not the first 16 characters of its thumbprint", j.KeyID)
	case j.NotBefore < 0 || j.NotAfter < 0 || (j.NotAfter != 0 && j.NotAfter < j.NotBefore):
		return Key{}, fmt.Errorf("its validity (nbf %d, exp %d) makes no sense", j.NotBefore, j.NotAfter)
	}
	k := Key{ID: j.KeyID, Public: public}
	if j.NotBefore != 0 {
		k.NotBefore = time.Unix(j.NotBefore, 0).UTC()
	}
	if j.NotAfter != 0 {
		k.NotAfter = time.Unix(j.NotAfter, 0).UTC()
	}
	return k, nil
}

// jwk returns the key in JSON's form, with or without its validity.
func (k Key) jwk(validity bool) jwk {
	j := jwk{KeyType: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(k.Public), KeyID: k.ID, Use: "sig", Algorithm: "EdDSA"}
	if validity && !k.NotBefore.IsZero() {
		j.NotBefore = k.NotBefore.Unix()
	}
	if validity && !k.NotAfter.IsZero() {
		j.NotAfter = k.NotAfter.Unix()
	}
	return j
}

func (j jwk) json() []byte {
	b, err := json.Marshal(j)
	if err != nil {
		panic("attest: a key of strings and numbers did not marshal: " + err.Error())
	}
	return b
}

// JSON writes the set as a JWK set, keys sorted by id. An empty set is {"keys":[]}.
func (k KeySet) JSON() []byte {
	out := struct {
		Keys []jwk `json:"keys"`
	}{Keys: make([]jwk, 0, len(k.keys))}
	for _, key := range k.keys {
		out.Keys = append(out.Keys, key.jwk(true))
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("attest: a key set of strings and numbers did not marshal: " + err.Error())
	}
	return b
}

// Merge returns the keys of both sets. Where both know a key, b's validity counts.
func (k KeySet) Merge(b KeySet) KeySet {
	merged := slices.Clone(b.keys)
	for _, key := range k.keys {
		if _, ok := b.lookup(key.ID); !ok {
			merged = append(merged, key)
		}
	}
	slices.SortFunc(merged, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	return KeySet{keys: merged}
}

// Retire returns the set with the key's validity ended at the given time: what it signed until then still verifies.
// A key that is not in the set changes nothing.
func (k KeySet) Retire(kid string, at time.Time) KeySet {
	keys := slices.Clone(k.keys)
	for i := range keys {
		if keys[i].ID == kid {
			keys[i].NotAfter = at.UTC()
		}
	}
	return KeySet{keys: keys}
}

// Keys returns the keys, sorted by id.
func (k KeySet) Keys() []Key { return slices.Clone(k.keys) }

// Len returns the number of keys.
func (k KeySet) Len() int { return len(k.keys) }

// Equal reports whether both sets hold the same keys with the same validity.
func (k KeySet) Equal(b KeySet) bool { return bytes.Equal(k.JSON(), b.JSON()) }

func (k KeySet) lookup(kid string) (Key, bool) {
	i, ok := slices.BinarySearchFunc(k.keys, kid, func(key Key, id string) int { return strings.Compare(key.ID, id) })
	if !ok {
		return Key{}, false
	}
	return k.keys[i], true
}
