package txntoken

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	algEdDSA = "EdDSA" // RFC 8037, with Ed25519
	algES256 = "ES256" // RFC 7518 section 3.4

	maxKeySetBytes = 1 << 20
	maxKeys        = 256
)

// key is one public key of a minter.
type key struct {
	id, alg string
	public  crypto.PublicKey // ed25519.PublicKey or *ecdsa.PublicKey on P-256, as alg says
}

// KeySet holds the public keys of a trust domain's minters. It is a value; the zero value knows no key and verifies nothing.
type KeySet struct{ keys []key } // sorted by id, no two alike

// jwk is a public key as RFC 8037 section 2 and RFC 7518 section 6.2 write it.
type jwk struct {
	KeyType   string          `json:"kty"`
	Curve     string          `json:"crv"`
	X         string          `json:"x"`
	Y         string          `json:"y,omitempty"`
	KeyID     string          `json:"kid"`
	Use       string          `json:"use,omitempty"`
	Algorithm string          `json:"alg,omitempty"`
	D         json.RawMessage `json:"d,omitempty"` // present only in a private key, which has no place in a set
}

// newKey names a public key by its RFC 7638 thumbprint.
func newKey(public crypto.PublicKey) (key, error) {
	switch p := public.(type) {
	case ed25519.PublicKey:
		if len(p) == ed25519.PublicKeySize {
			x := b64.EncodeToString(p)
			return key{thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`), algEdDSA, p}, nil
		}
	case *ecdsa.PublicKey:
		if p != nil && p.Curve == elliptic.P256() {
			x, y, err := point(p)
			if err != nil {
				return key{}, err
			}
			return key{thumbprint(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`), algES256, p}, nil
		}
	}
	return key{}, fmt.Errorf("a key of type %T; use Ed25519 or ECDSA on P-256", public)
}

func thumbprint(canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// point returns the coordinates of a P-256 key in base64url.
func point(p *ecdsa.PublicKey) (x, y string, err error) {
	raw, err := p.Bytes() // uncompressed: 4, x, y; it checks that the point is on the curve
	if err != nil {
		return "", "", err
	}
	return b64.EncodeToString(raw[1:33]), b64.EncodeToString(raw[33:]), nil
}

// ParseKeySet reads a JWK set (RFC 7517 section 5). Keys of other kinds are passed over; a damaged, ambiguous or private one is an error, and so
// is a set without any key of ours.
func ParseKeySet(raw []byte) (KeySet, error) {
	if len(raw) > maxKeySetBytes {
		return KeySet{}, fmt.Errorf("parsing key set: %d bytes, more than %d", len(raw), maxKeySetBytes)
	}
	if _, err := parseObject(raw); err != nil {
		return KeySet{}, fmt.Errorf("parsing key set: %w", err)
	}
	var doc struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return KeySet{}, errors.New("parsing key set: not a JWK set")
	}
	if len(doc.Keys) > maxKeys {
		return KeySet{}, fmt.Errorf("parsing key set: %d keys, more than %d", len(doc.Keys), maxKeys)
	}
	var set KeySet
	for i, j := range doc.Keys {
		k, ok, err := j.key()
		if err != nil {
			return KeySet{}, fmt.Errorf("parsing key set: key %d: %w", i, err)
		}
		if !ok {
			continue
		}
		if _, twice := set.lookup(k.id); twice {
			return KeySet{}, fmt.Errorf("parsing key set: the kid %q is there twice", k.id)
		}
		set = set.with(k)
	}
	if len(set.keys) == 0 {
		return KeySet{}, fmt.Errorf("parsing key set: no Ed25519 or P-256 key for signatures among %d", len(doc.Keys))
	}
	return set, nil
}

// key reads one; ok is false for keys that are not for signing with our algorithms.
func (j jwk) key() (k key, ok bool, err error) {
	if len(j.D) != 0 {
		return k, false, errors.New("holds the private member \"d\": publish public keys only, and replace this key")
	}
	var alg string
	switch {
	case j.KeyType == "OKP" && j.Curve == "Ed25519":
		alg = algEdDSA
	case j.KeyType == "EC" && j.Curve == "P-256":
		alg = algES256
	default:
		return k, false, nil
	}
	if j.Use != "" && j.Use != "sig" || j.Algorithm != "" && j.Algorithm != alg {
		return k, false, nil
	}
	if j.KeyID == "" {
		return k, false, errors.New("has no kid")
	}
	x, okX := decodePart(j.X)
	if alg == algEdDSA {
		if !okX || len(x) != ed25519.PublicKeySize {
			return k, false, fmt.Errorf("\"x\" is not %d bytes in base64url", ed25519.PublicKeySize)
		}
		return key{j.KeyID, alg, ed25519.PublicKey(x)}, true, nil
	}
	y, okY := decodePart(j.Y)
	if !okX || !okY || len(x) != 32 || len(y) != 32 {
		return k, false, errors.New("\"x\" and \"y\" are not 32 bytes each in base64url")
	}
	p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return k, false, errors.New("is not a point on P-256")
	}
	return key{j.KeyID, alg, p}, true, nil
}

// JSON writes the set as a JWK set, for publishing. An empty set is {"keys":[]}.
func (s KeySet) JSON() []byte {
	out := struct {
		Keys []jwk `json:"keys"`
	}{Keys: make([]jwk, 0, len(s.keys))}
	for _, k := range s.keys {
		j := jwk{KeyID: k.id, Use: "sig", Algorithm: k.alg}
		switch p := k.public.(type) {
		case ed25519.PublicKey:
			j.KeyType, j.Curve, j.X = "OKP", "Ed25519", b64.EncodeToString(p)
		case *ecdsa.PublicKey:
			x, y, err := point(p)
			if err != nil {
				panic("txntoken: a key that was checked is not on its curve: " + err.Error())
			}
			j.KeyType, j.Curve, j.X, j.Y = "EC", "P-256", x, y
		}
		out.Keys = append(out.Keys, j)
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("txntoken: a key set of strings did not marshal: " + err.Error())
	}
	return b
}

// Merge returns the keys of both sets: of several workers, or of a worker's old and new key. Where both know a kid, b's key counts.
func (s KeySet) Merge(b KeySet) KeySet {
	merged := b
	for _, k := range s.keys {
		if _, ok := b.lookup(k.id); !ok {
			merged = merged.with(k)
		}
	}
	return merged
}

// Len returns the number of keys.
func (s KeySet) Len() int { return len(s.keys) }

// Equal reports whether both sets hold the same keys.
func (s KeySet) Equal(b KeySet) bool { return bytes.Equal(s.JSON(), b.JSON()) }

func (s KeySet) with(k key) KeySet {
	keys := append(slices.Clone(s.keys), k)
	slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.id, b.id) })
	return KeySet{keys}
}

func (s KeySet) lookup(kid string) (key, bool) {
	i, ok := slices.BinarySearchFunc(s.keys, kid, func(k key, id string) int { return strings.Compare(k.id, id) })
	if !ok {
		return key{}, false
	}
	return s.keys[i], true
}
