package identity

import (
	"crypto/rsa"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm is one JWS algorithm (RFC 7518 section 3, RFC 8037) with the kind of key it needs.
type algorithm struct {
	family string // "RSA", "P-256", "P-384", "P-521" or "Ed25519"
	method jwt.SigningMethod
	size   int // bytes of a signature; 0 when it depends on the key
}

// algorithms are those that an issuer's settings may list. No MAC and no "none": a verifier that holds no secret cannot be
// talked into using a public key as one.
var algorithms = map[string]algorithm{
	"RS256": {"RSA", jwt.SigningMethodRS256, 0},
	"RS384": {"RSA", jwt.SigningMethodRS384, 0},
	"RS512": {"RSA", jwt.SigningMethodRS512, 0},
	"PS256": {"RSA", strictPSS(jwt.SigningMethodPS256), 0},
	"PS384": {"RSA", strictPSS(jwt.SigningMethodPS384), 0},
	"PS512": {"RSA", strictPSS(jwt.SigningMethodPS512), 0},
	"ES256": {"P-256", jwt.SigningMethodES256, 64},
	"ES384": {"P-384", jwt.SigningMethodES384, 96},
	"ES512": {"P-521", jwt.SigningMethodES512, 132},
	"EdDSA": {"Ed25519", jwt.SigningMethodEdDSA, 64},
}

// strictPSS requires a salt as long as the hash (RFC 7518 section 3.5); golang-jwt's own methods take any length.
func strictPSS(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}

// fits reports whether the key may be used with the algorithm: its type and curve, and its own "alg" when it states one.
func (k *key) fits(alg string) bool {
	a, known := algorithms[alg]
	return known && a.family == k.family && (k.alg == "" || k.alg == alg)
}

// verifySignature checks the signature of a compact token with a key that is already known to belong to the issuer.
func verifySignature(k *key, alg string, c compact) *Error {
	if !k.fits(alg) {
		return reject(CodeAlgorithm, "algorithm "+quoted(alg)+" does not fit the key that the token names")
	}
	if c.signature == "" {
		return reject(CodeSignature, "the token's signature is missing")
	}
	sig, ok := decode(c.signature)
	if !ok {
		return malformed("the token's signature is not strict base64url")
	}
	a := algorithms[alg]
	want := a.size
	if pub, isRSA := k.public.(*rsa.PublicKey); isRSA {
		want = pub.Size()
	}
	if len(sig) != want {
		return reject(CodeSignature, "the token's signature has the wrong length")
	}
	if err := a.method.Verify(c.signed, sig, k.public); err != nil {
		return &Error{Code: CodeSignature, Detail: "the token's signature is wrong", Cause: err}
	}
	return nil
}
