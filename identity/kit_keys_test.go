package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// Keys are made once: RSA keys are slow to make.
var (
	rsaKeys = [2]func() *rsa.PrivateKey{
		sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) }),
		sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) }),
	}
	ecKeyP256 = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ecKeyP384 = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	edKey     = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type object = map[string]any

// jwk is the public JWK of a key, as Okta publishes it.
func jwk(kid string, pub crypto.PublicKey) object {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return object{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		raw := must(k.Bytes())[1:]
		return object{"kty": "EC", "use": "sig", "kid": kid, "crv": k.Curve.Params().Name, "x": b64(raw[:len(raw)/2]), "y": b64(raw[len(raw)/2:])}
	case ed25519.PublicKey:
		return object{"kty": "OKP", "use": "sig", "kid": kid, "crv": "Ed25519", "x": b64(k)}
	}
	panic("unknown key")
}

func jwks(keys ...object) string { return string(must(json.Marshal(object{"keys": keys}))) }

func with(o object, kv ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(o, kv[i].(string))
		} else {
			o[kv[i].(string)] = kv[i+1]
		}
	}
	return o
}

// rs256 is Okta's header.
var rs256 = object{"alg": "RS256", "kid": "k0"}

// sign makes a compact JWS. header and claims are marshalled unless they are strings already.
func sign(header, claims any, priv crypto.PrivateKey) string {
	text := func(v any) string {
		if s, ok := v.(string); ok {
			return s
		}
		return string(must(json.Marshal(v)))
	}
	h := text(header)
	var parsed struct{ Alg string }
	_ = json.Unmarshal([]byte(h), &parsed)
	signed := b64([]byte(h)) + "." + b64([]byte(text(claims)))
	m := jwt.GetSigningMethod(parsed.Alg)
	if m == nil || m == jwt.SigningMethodNone {
		m = jwt.SigningMethodRS256
	}
	return signed + "." + b64(must(m.Sign(signed, priv)))
}

func saltOf(n int) *rsa.PSSOptions { return &rsa.PSSOptions{SaltLength: n} }
