package identity

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestThreat24KeySets(t *testing.T) {
	good, other := jwk("k0", rsaKeys[0]().Public()), jwk("k1", rsaKeys[1]().Public())
	oddOf := func(bits uint) *big.Int { // an odd number of that many bits
		n := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits-1)))
		return n.SetBit(n.SetBit(n, int(bits-1), 1), 0, 1)
	}
	modulus := func(n *big.Int) object { return with(good, "kid", "w", "n", b64(n.Bytes())) }
	exponent := func(e int64) object { return with(good, "kid", "w", "e", b64(big.NewInt(e).Bytes())) }
	even := new(big.Int).SetBit(oddOf(2048), 0, 0)
	many := make([]object, 10_000)
	for i := range many {
		many[i] = with(good, "kid", fmt.Sprint("k", i))
	}
	for what, body := range map[string]string{
		"duplicate kid":        jwks(good, with(other, "kid", "k0")),
		"the same key twice":   jwks(good, good),
		"RSA of 1024 bits":     jwks(good, modulus(oddOf(1024))),
		"RSA of 2047 bits":     jwks(good, modulus(oddOf(2047))),
		"RSA of 16384 bits":    jwks(good, modulus(oddOf(16384))),
		"even modulus":         jwks(good, modulus(even)),
		"exponent 1":           jwks(good, exponent(1)),
		"exponent 3":           jwks(good, exponent(3)),
		"even exponent":        jwks(good, exponent(65538)),
		"exponent of 33 bits":  jwks(good, exponent(1<<33+1)),
		"exponent missing":     jwks(good, with(good, "kid", "w", "e", nil)),
		"modulus padded":       jwks(good, with(good, "kid", "w", "n", good["n"].(string)+"==")),
		"modulus a number":     jwks(good, with(good, "kid", "w", "n", 5)),
		"private d":            jwks(good, with(other, "d", "AQAB")),
		"private p":            jwks(good, with(other, "p", "AQAB")),
		"private in an unused": jwks(good, with(other, "use", "enc", "dp", "AQAB")),
		"symmetric":            jwks(good, object{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
		"EC point off curve":   jwks(good, with(jwk("e0", ecKeyP256().Public()), "y", b64(make([]byte, 32)))),
		"EC at infinity":       jwks(good, with(jwk("e0", ecKeyP256().Public()), "x", b64(make([]byte, 32)), "y", b64(make([]byte, 32)))),
		"EC on another curve":  jwks(good, with(jwk("e0", ecKeyP256().Public()), "crv", "P-384")),
		"EC coordinate short":  jwks(good, with(jwk("e0", ecKeyP256().Public()), "x", "AQAB")),
		"Ed25519 short":        jwks(good, with(jwk("d0", edKey().Public()), "x", "AQAB")),
		"RSA named EC":         jwks(good, with(other, "kty", "EC", "crv", "P-256")),
		"65 keys":              jwks(many[:65]...),
		"10,000 keys":          jwks(many...),
		"empty":                `{"keys":[]}`, "no member": `{}`, "null": `{"keys":null}`, "object": `{"keys":{}}`, "keys of strings": `{"keys":["a"]}`,
		"Keys": `{"Keys":[` + string(must(json.Marshal(good))) + `]}`, "array": `[` + string(must(json.Marshal(good))) + `]`, "HTML": `<html></html>`, "nothing": ``,
		"member twice": strings.Replace(jwks(good), `"kid":"k0"`, `"kid":"k0","kid":"k0"`, 1), "only for encryption": jwks(with(good, "use", "enc")),
		"only without kid": jwks(with(good, "kid", nil)), "only unknown kty": jwks(object{"kty": "LMS", "kid": "x"}), "only signing ops": jwks(with(good, "key_ops", []string{"sign"})),
		"secp256k1 only": jwks(object{"kty": "EC", "kid": "x", "crv": "secp256k1", "x": "AA", "y": "AA"}),
	} {
		if set, err := parseKeySet([]byte(body)); err == nil {
			t.Errorf("%s: accepted with keys %v", what, set.ids())
		}
	}
	mixed := jwks(good, jwk("e0", ecKeyP256().Public()), jwk("e3", ecKeyP384().Public()), jwk("d0", edKey().Public()),
		with(other, "kid", "enc", "use", "enc", "alg", "RSA-OAEP"), with(other, "kid", "k0", "use", "enc"), with(other, "kid", nil), object{"kty": "LMS", "kid": "x"},
		with(other, "key_ops", []string{"verify"}, "use", nil), with(other, "kid", "a/b"))
	set, err := parseKeySet([]byte(mixed))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := set.ids(), []string{"d0", "e0", "e3", "k0", "k1"}; !slices.Equal(got, want) {
		t.Errorf("mixed set gives %v, want %v", got, want)
	}
}

func TestKeySetKeepsTheIdentityOfItsKeys(t *testing.T) {
	a := must(parseKeySet([]byte(jwks(jwk("k0", rsaKeys[0]().Public()), jwk("k1", rsaKeys[1]().Public())))))
	same := must(parseKeySet([]byte(jwks(jwk("k1", rsaKeys[1]().Public()), jwk("k0", rsaKeys[0]().Public())))))
	if same.adopt(a) != a {
		t.Error("an unchanged set became another one")
	}
	swapped := must(parseKeySet([]byte(jwks(jwk("k0", rsaKeys[1]().Public()), jwk("k1", rsaKeys[1]().Public()))))).adopt(a)
	if swapped == a || swapped.byID["k0"] == a.byID["k0"] || swapped.byID["k1"] != a.byID["k1"] {
		t.Error("a key id that stands for another key now is taken for the old key, or the other way round")
	}
	fewer := must(parseKeySet([]byte(jwks(jwk("k0", rsaKeys[0]().Public()))))).adopt(a)
	if fewer == a || len(fewer.byID) != 1 {
		t.Error("a key that was removed is still there")
	}
}
