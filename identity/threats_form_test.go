package identity

// One test for each numbered token threat of the project's threat model, named TestThreatNN: 1 to 9 in threats_form_test.go, 10 to 15
// and 18 to 22 in threats_claims_test.go, 16 and 17 in threats_text_test.go, 23 in cache_test.go, 24 in keyset_test.go and
// discovery_test.go, 25 in discovery_test.go. What must be accepted is in accepted_test.go.

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestThreat01AlgNone(t *testing.T) {
	r := newRig(t)
	claims := b64(must(json.Marshal(r.userClaims(epoch))))
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		h := b64(must(json.Marshal(object{"alg": alg, "kid": "k0"})))
		r.refuses(CodeAlgorithm, alg+" without a signature", h+"."+claims+".")
		_, _, sig := cut(r.user())
		r.refuses(CodeAlgorithm, alg+" with a signature", h+"."+claims+"."+sig)
	}
	r.refuses(CodeAlgorithm, "alg missing", sign(object{"kid": "k0"}, r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "alg null", sign(`{"alg":null,"kid":"k0"}`, r.userClaims(epoch), rsaKeys[0]()))
	if n := r.fetches.Load(); n != 0 {
		t.Errorf("junk caused %d fetches of keys", n)
	}
}

func TestThreat02PublicKeyAsMACSecret(t *testing.T) {
	r := newRig(t)
	r.accepts(r.user())
	pub := &rsaKeys[0]().PublicKey
	der := must(x509.MarshalPKIXPublicKey(pub))
	secrets := map[string][]byte{
		"DER PKIX": der, "DER PKCS1": x509.MarshalPKCS1PublicKey(pub),
		"PEM PKIX":  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"PEM PKCS1": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(pub)}),
		"JWK":       must(json.Marshal(jwk("k0", pub))), "modulus": pub.N.Bytes(), "JWK set": []byte(*r.keyset.Load()), "empty": {},
	}
	for form, secret := range secrets {
		for _, alg := range []string{"HS256", "HS384", "HS512", "hs256"} {
			m := jwt.GetSigningMethod(strings.ToUpper(alg))
			signed := b64([]byte(`{"alg":"`+alg+`","kid":"k0"}`)) + "." + b64(must(json.Marshal(r.userClaims(epoch))))
			r.refuses(CodeAlgorithm, alg+" with "+form, signed+"."+b64(must(m.Sign(signed, secret))))
		}
	}
}

func TestThreat03AlgorithmNotOfTheIssuer(t *testing.T) {
	r := newRig(t)
	for _, alg := range []string{"RS384", "RS512", "PS256", "PS384", "PS512"} {
		r.refuses(CodeAlgorithm, alg, sign(object{"alg": alg, "kid": "k0"}, r.userClaims(epoch), rsaKeys[0]()))
	}
	// Listed by the issuer, but the key itself says RS256.
	r = newRig(t, func(c *Config) { c.Issuers[0].Algorithms = []string{"RS256", "PS256", "RS512"} })
	r.accepts(r.user())
	r.refuses(CodeAlgorithm, "PS256 with a key for RS256", sign(object{"alg": "PS256", "kid": "k0"}, r.userClaims(epoch), rsaKeys[0]()))
	// Listed, and the key states no algorithm: accepted, so the refusals above are not for a broken test.
	r.publish(with(jwk("k1", rsaKeys[0]().Public()), "alg", nil))
	r.accepts(sign(object{"alg": "PS256", "kid": "k1"}, r.userClaims(epoch), rsaKeys[0]()))
	// A PSS salt that is not as long as the hash.
	long := &jwt.SigningMethodRSAPSS{SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA, Options: saltOf(20)}
	signed := b64([]byte(`{"alg":"PS256","kid":"k1"}`)) + "." + b64(must(json.Marshal(r.userClaims(epoch))))
	r.refuses(CodeSignature, "PS256 with a short salt", signed+"."+b64(must(long.Sign(signed, rsaKeys[0]()))))
}

func TestThreat04BrokenECDSA(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Issuers[0].Algorithms = []string{"RS256", "ES256", "ES384"} })
	r.publish(jwk("e0", ecKeyP256().Public()), jwk("e3", ecKeyP384().Public()), jwk("k0", rsaKeys[0]().Public()))
	h := object{"alg": "ES256", "kid": "e0"}
	good := sign(h, r.userClaims(epoch), ecKeyP256())
	r.accepts(good)
	head, body, sig := cut(good)
	raw := must(base64.RawURLEncoding.DecodeString(sig))
	n := elliptic.P256().Params().N
	forge := func(rr, s *big.Int) string {
		b := make([]byte, 64)
		return head + "." + body + "." + b64(slices.Concat(rr.FillBytes(b[:32]), s.FillBytes(b[32:])))
	}
	one, zero := big.NewInt(1), new(big.Int)
	for what, rs := range map[string][2]*big.Int{
		"zero": {zero, zero}, "one": {one, one}, "r zero": {zero, one}, "s zero": {one, zero}, "r = n": {n, one}, "s = n": {one, n}, "n, n": {n, n},
	} {
		r.refuses(CodeSignature, "r and s "+what, forge(rs[0], rs[1]))
	}
	der := must(ecdsa.SignASN1(rand.Reader, ecKeyP256(), bytes.Repeat([]byte{1}, 32)))
	r.refuses(CodeSignature, "DER signature", head+"."+body+"."+b64(der))
	r.refuses(CodeAlgorithm, "ES256 named, key on P-384", b64([]byte(`{"alg":"ES256","kid":"e3"}`))+"."+body+"."+sig)
	r.refuses(CodeAlgorithm, "ES384 named, key on P-256", b64([]byte(`{"alg":"ES384","kid":"e0"}`))+"."+body+"."+sig)
	r.refuses(CodeAlgorithm, "ES256 named, RSA key", b64([]byte(`{"alg":"ES256","kid":"k0"}`))+"."+body+"."+sig)

	// n - s verifies as well as s: RFC 7518 signatures come in either form (its own example in RFC 7515 A.3 is the high one), so
	// neither can be refused. What matters is that the twin is no other identity and shares nothing by bytes.
	rr, s := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	twin := forge(rr, new(big.Int).Sub(n, s))
	if twin == good {
		t.Fatal("the twin is the token itself")
	}
	a, b := r.accepts(good), r.accepts(twin)
	if a.Principal() != b.Principal() || a.TokenID != b.TokenID {
		t.Errorf("the twin is %s %s, the token %s %s", b.Principal(), b.TokenID, a.Principal(), a.TokenID)
	}
}

func TestThreat05DamagedSignature(t *testing.T) {
	r := newRig(t)
	good := r.user()
	r.accepts(good)
	head, body, sig := cut(good)
	raw := must(base64.RawURLEncoding.DecodeString(sig))
	flipped := bytes.Clone(raw)
	flipped[17] ^= 1
	loose := []byte(sig) // 256 bytes end in A, Q, g or w: four spare bits, all zero
	loose[len(loose)-1]++
	if !bytes.Equal(must(base64.RawURLEncoding.DecodeString(string(loose))), raw) {
		t.Fatal("the spare bits are not spare")
	}
	for _, c := range []struct {
		what string
		code Code
		sig  string
	}{
		{"empty", CodeSignature, ""},
		{"truncated", CodeSignature, b64(raw[:255])},
		{"half", CodeSignature, b64(raw[:128])},
		{"trailing byte", CodeSignature, b64(append(bytes.Clone(raw), 0))},
		{"leading zero", CodeSignature, b64(append([]byte{0}, raw...))},
		{"one bit flipped", CodeSignature, b64(flipped)},
		{"zeros", CodeSignature, b64(make([]byte, 256))},
		{"of another token", CodeSignature, second(cut(r.client()))},
		{"padded", CodeTokenMalformed, sig + "=="},
		{"loose trailing bits", CodeTokenMalformed, string(loose)},
		{"newline inside", CodeTokenMalformed, sig[:9] + "\n" + sig[9:]},
		{"CR at the end", CodeTokenMalformed, sig + "\r"},
		{"space at the end", CodeTokenMalformed, sig + " "},
		{"standard alphabet", CodeTokenMalformed, "+/" + sig[2:]},
		{"NUL", CodeTokenMalformed, sig[:9] + "\x00" + sig[10:]},
	} {
		r.refuses(c.code, c.what, head+"."+body+"."+c.sig)
	}
	r.refuses(CodeTokenMalformed, "without the last dot", head+"."+body)
	r.refuses(CodeTokenMalformed, "newline in the header", head[:5]+"\n"+head[5:]+"."+body+"."+sig)
	r.refuses(CodeTokenMalformed, "newline in the payload", head+"."+body[:5]+"\n"+body[5:]+"."+sig)
	r.refuses(CodeTokenMalformed, "padding in the payload", head+"."+body+"=."+sig)
	r.refuses(CodeSignature, "signed by another key", sign(rs256, r.userClaims(epoch), rsaKeys[1]()))
}

func TestThreat06KeyID(t *testing.T) {
	r := newRig(t)
	r.accepts(r.user())
	forge := func(kid any) string {
		return sign(with(rs256, "kid", kid), r.userClaims(epoch), rsaKeys[0]())
	}
	before := r.fetches.Load()
	for what, kid := range map[string]any{
		"missing": nil, "empty": "", "path": "../../../../dev/null", "absolute path": "/etc/passwd", "dots": "..", "URL": "https://evil.example/key",
		"query": "k0' OR '1'='1", "NUL-like": "k0%00", "long": strings.Repeat("k", 200), "space": "k0 ", "newline": "k0\n", "look-alike": "ｋ0",
	} {
		r.refuses(CodeKeyUnknown, "kid "+what, forge(kid))
	}
	for what, kid := range map[string]any{"number": 0, "array": []string{"k0"}, "object": object{"kid": "k0"}} {
		r.refuses(CodeTokenMalformed, "kid "+what, forge(kid))
	}
	r.refuses(CodeTokenMalformed, "kid of 1 MB", forge(strings.Repeat("k", 1<<20)))
	r.refuses(CodeTokenMalformed, "kid null", sign(`{"alg":"RS256","kid":null}`, r.userClaims(epoch), rsaKeys[0]()))
	if n := r.fetches.Load(); n != before {
		t.Errorf("malformed key ids caused %d fetches", n-before)
	}
	r.refuses(CodeKeyUnknown, "unknown kid", forge("k9"))
	r.refuses(CodeKeyUnknown, "kid in another case", forge("K0"))
	if n := r.fetches.Load(); n != before+1 {
		t.Errorf("unknown key ids caused %d fetches, want 1", n-before)
	}
}

func TestThreat07KeysOfTheSendersChoice(t *testing.T) {
	r := newRig(t)
	r.accepts(r.user())
	evil := newOrg(t)
	evil.publish(jwk("k0", rsaKeys[1]().Public()))
	for name, v := range map[string]any{
		"jku": evil.issuer + "/v1/keys", "jwk": jwk("k0", rsaKeys[1]().Public()), "x5u": evil.URL + "/cert", "x5c": []string{"MIIB"},
		"JKU": evil.issuer + "/v1/keys", "Jwk": jwk("k0", rsaKeys[1]().Public()), "j\u212au": evil.issuer + "/v1/keys",
	} {
		r.refuses(CodeTokenMalformed, name, sign(with(rs256, name, v), r.userClaims(epoch), rsaKeys[1]()))
		r.refuses(CodeTokenMalformed, name+" with the right key", sign(with(rs256, name, v), r.userClaims(epoch), rsaKeys[0]()))
	}
	if evil.fetches.Load()+evil.lookups.Load() != 0 {
		t.Error("the attacker's server was asked")
	}
}

func TestThreat08CriticalExtensions(t *testing.T) {
	r := newRig(t)
	for what, h := range map[string]object{
		"unknown": with(rs256, "crit", []string{"bork"}, "bork", 1), "empty": with(rs256, "crit", []string{}), "exp": with(rs256, "crit", []string{"exp"}, "exp", 1),
		"b64": with(rs256, "crit", []string{"b64"}, "b64", false), "b64 alone": with(rs256, "b64", false), "b64 true": with(rs256, "b64", true),
		"null": with(rs256, "crit", json.RawMessage("null")), "Crit": with(rs256, "Crit", []string{"bork"}),
	} {
		r.refuses(CodeTokenMalformed, what, sign(h, r.userClaims(epoch), rsaKeys[0]()))
	}
}

func TestThreat09OtherSerialisations(t *testing.T) {
	r := newRig(t)
	good := r.user()
	head, body, sig := cut(good)
	r.refuses(CodeTokenMalformed, "JWE", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.BBBB.CCCC")
	r.refuses(CodeTokenMalformed, "JWE header on a JWS", sign(with(rs256, "enc", "A256GCM"), r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "compressed", sign(with(rs256, "zip", "DEF"), r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "nested, announced", sign(with(rs256, "cty", "JWT"), good, rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "nested, silent", sign(rs256, good, rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "flattened JSON", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, head, body, sig))
	r.refuses(CodeTokenMalformed, "general JSON", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, body, head, sig))
	r.refuses(CodeTokenMalformed, "array of tokens", fmt.Sprintf("[%q]", good))
	r.refuses(CodeTokenMalformed, "four parts", good+".x")
	r.refuses(CodeTokenMalformed, "detached payload", head+".."+sig)
	r.refuses(CodeTokenMalformed, "SD-JWT", good+"~WyJhIl0~")
}

func cut(token string) (head, body, sig string) {
	p := strings.Split(token, ".")
	return p[0], p[1], p[2]
}

func second(_, _, sig string) string { return sig }
