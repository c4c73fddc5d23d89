package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

const (
	maxKeys    = 64   // keys of one set; Okta publishes at most three
	minRSABits = 2048 // RFC 7518 section 3.3
	maxRSABits = 8192 // a longer key only serves to burn CPU
	minRSAExp  = 65537
)

// key is one public signing key of an issuer.
type key struct {
	id     string
	alg    string // the JWK's own "alg", empty when it states none
	family string // see algorithm.family
	public crypto.PublicKey
	print  string // the whole of what makes it this key, for comparison
	jwk    string // the same as a JWK
}

// keySet is an immutable set of signing keys by id.
type keySet struct{ byID map[string]*key }

// parseKeySet reads a JWK set (RFC 7517) and takes its signing keys. Keys for other uses or of unknown types are passed over
// (RFC 7517 section 5); a set that leaks private keys, has weak keys, two signing keys of one id, or none at all is refused
// whole, because whoever made it cannot be trusted to have made the rest.
func parseKeySet(body []byte) (*keySet, error) {
	doc, err := parseObject(string(body), nil)
	if err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	var list string
	for _, m := range doc {
		if m.name == "keys" {
			list = m.value
		}
	}
	if list == "" || list[0] != '[' {
		return nil, errors.New("key set has no array named keys")
	}
	set := &keySet{byID: make(map[string]*key)}
	n := 0
	for v := range elements(list) {
		if n++; n > maxKeys {
			return nil, fmt.Errorf("key set has more than %d keys", maxKeys)
		}
		k, err := parseKey(v)
		if err != nil {
			return nil, fmt.Errorf("key %d of the set: %w", n, err)
		}
		if k == nil {
			continue
		}
		if set.byID[k.id] != nil {
			return nil, fmt.Errorf("key id %s is there twice", quoted(k.id))
		}
		set.byID[k.id] = k
	}
	if len(set.byID) == 0 {
		return nil, errors.New("key set has no usable signing key")
	}
	return set, nil
}

// parseKey reads one JWK; nil without an error means that it is no signing key of ours to use.
func parseKey(v string) (*key, error) {
	if v[0] != '{' {
		return nil, errors.New("not an object")
	}
	members, err := parseObject(v, nil)
	if err != nil {
		return nil, err
	}
	jwk := make(map[string]string, len(members))
	for _, m := range members {
		switch m.name {
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			return nil, errors.New("it holds a private or symmetric key")
		case "kty", "use", "kid", "alg", "crv", "n", "e", "x", "y":
			s, ok := stringValue(m.value)
			if !ok {
				return nil, fmt.Errorf("%s is not a string", m.name)
			}
			jwk[m.name] = s
		case "key_ops":
			if m.value[0] != '[' || !slices.Contains(slices.Collect(elements(m.value)), `"verify"`) {
				return nil, nil
			}
		}
	}
	if use, stated := jwk["use"]; stated && use != "sig" || !validKeyID(jwk["kid"]) {
		return nil, nil
	}
	k := &key{id: jwk["kid"], alg: jwk["alg"]}
	switch jwk["kty"] {
	case "RSA":
		k.family = "RSA"
		k.public, err = rsaKey(jwk["n"], jwk["e"])
	case "EC":
		k.family = jwk["crv"]
		k.public, err = ecKey(jwk["crv"], jwk["x"], jwk["y"])
	case "OKP":
		k.family = jwk["crv"]
		k.public, err = okpKey(jwk["crv"], jwk["x"])
	}
	if err != nil || k.public == nil {
		return nil, err
	}
	k.jwk = canonicalJWK(jwk)
	k.print = strings.Join([]string{jwk["kty"], k.family, k.alg, jwk["n"], jwk["e"], jwk["x"], jwk["y"]}, "|")
	return k, nil
}

// canonicalJWK writes the members that make a key, in a fixed order.
func canonicalJWK(members map[string]string) string {
	var b strings.Builder
	for _, name := range []string{"kty", "kid", "alg", "crv", "n", "e", "x", "y"} {
		if v, ok := members[name]; ok {
			text, _ := json.Marshal(v) // a string always has a form
			fmt.Fprintf(&b, `,"%s":%s`, name, text)
		}
	}
	return "{" + b.String()[1:] + "}"
}

// since lists the keys that an older snapshot has not, by id.
func (s *keySet) since(old *snapshot) []PublicKey {
	var fresh []PublicKey
	for _, id := range s.ids() {
		k := s.byID[id]
		if old == nil || old.set.byID[id] == nil || old.set.byID[id].print != k.print {
			fresh = append(fresh, PublicKey{ID: id, JWK: k.jwk})
		}
	}
	return fresh
}

func rsaKey(n, e string) (crypto.PublicKey, error) {
	nb, ok1 := decode(n)
	eb, ok2 := decode(e)
	if !ok1 || !ok2 || len(nb) > maxRSABits/8+1 || len(eb) > 8 {
		return nil, errors.New("RSA modulus or exponent is malformed")
	}
	mod, exp := new(big.Int).SetBytes(nb), new(big.Int).SetBytes(eb)
	switch {
	case mod.BitLen() < minRSABits || mod.BitLen() > maxRSABits:
		return nil, fmt.Errorf("RSA key has %d bits; %d to %d are accepted", mod.BitLen(), minRSABits, maxRSABits)
	case mod.Bit(0) == 0:
		return nil, errors.New("RSA modulus is even")
	case exp.BitLen() > 31 || exp.Int64() < minRSAExp || exp.Bit(0) == 0:
		return nil, errors.New("RSA exponent is even, below 65537 or above 2^31")
	case isROCA(mod):
		return nil, errors.New("RSA modulus has the structure of CVE-2017-15361 (ROCA) and can be factored")
	}
	return &rsa.PublicKey{N: mod, E: int(exp.Int64())}, nil
}

// isROCA recognises the moduli of CVE-2017-15361: modulo every small prime they are a power of 65537
// (Nemec et al., "The Return of Coppersmith's Attack", section 3). A sound modulus passes for one with odds below 2^-27.
func isROCA(n *big.Int) bool {
	rem := new(big.Int)
	for _, p := range [...]int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
		101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167} {
		r, power := rem.Mod(n, big.NewInt(p)).Int64(), int64(1)
		for power != r {
			if power = power * 65537 % p; power == 1 {
				return false // been through the whole subgroup
			}
		}
	}
	return true
}

func ecKey(crv, x, y string) (crypto.PublicKey, error) {
	var curve elliptic.Curve
	switch crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, nil // another curve: no algorithm of ours uses it
	}
	size := (curve.Params().BitSize + 7) / 8
	xb, ok1 := decode(x)
	yb, ok2 := decode(y)
	if !ok1 || !ok2 || len(xb) != size || len(yb) != size {
		return nil, errors.New("EC coordinates are malformed or of the wrong length")
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, xb, yb))
	if err != nil {
		return nil, fmt.Errorf("reading EC point: %w", err)
	}
	return pub, nil
}

func okpKey(crv, x string) (crypto.PublicKey, error) {
	if crv != "Ed25519" {
		return nil, nil
	}
	xb, ok := decode(x)
	if !ok || len(xb) != ed25519.PublicKeySize {
		return nil, errors.New("Ed25519 key is malformed or of the wrong length")
	}
	return ed25519.PublicKey(xb), nil
}

// adopt makes the set reuse the key values of an older set where they are the same keys, and returns the older set itself when
// nothing changed. Cached tokens remember a *key: pointer equality then means "still the issuer's key".
func (s *keySet) adopt(old *keySet) *keySet {
	if old == nil {
		return s
	}
	same := len(s.byID) == len(old.byID)
	for id, k := range s.byID {
		if o := old.byID[id]; o != nil && o.print == k.print {
			s.byID[id] = o
		} else {
			same = false
		}
	}
	if same {
		return old
	}
	return s
}

// ids returns the key ids of the set, sorted.
func (s *keySet) ids() []string {
	out := make([]string, 0, len(s.byID))
	for id := range s.byID {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
