package identity

// One test for each numbered token threat of the project's threat model (docs/threat-model.md, section Tokens).
// Rules 23 to 25 are about caches and keys: see cache_test.go, keyset_test.go and keysource_test.go.

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
	"time"

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

func TestThreat10OtherKindsOfToken(t *testing.T) {
	r := newRig(t)
	for _, typ := range []string{"logout+jwt", "oauth-id-jag+jwt", "secevent+jwt", "txntoken+jwt", "bailiwick-attestation+jwt", "client-authentication+jwt",
		"global-token-revocation+jwt", "dpop+jwt", "id_token", "JOSE", "at+jwtx", "ＪＷＴ"} {
		r.refuses(CodeTokenType, typ, sign(with(rs256, "typ", typ), r.userClaims(epoch), rsaKeys[0]()))
	}
	r.refuses(CodeTokenType, "typ empty", sign(with(rs256, "typ", ""), r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenType, "typ number", sign(with(rs256, "typ", 1), r.userClaims(epoch), rsaKeys[0]()))
	for _, typ := range []string{"JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"} {
		r.accepts(sign(with(rs256, "typ", typ), r.userClaims(epoch), rsaKeys[0]()))
	}
	// Without a typ, the claims give it away.
	idToken := object{"ver": 1, "jti": "ID.x", "iss": r.issuer, "aud": "0oacli", "sub": "00ualice", "iat": epoch.Unix(), "exp": epoch.Unix() + 3600,
		"amr": []string{"pwd"}, "idp": "00o1", "auth_time": epoch.Unix(), "nonce": "n", "at_hash": "h", "email": "alice@acme.example"}
	r.refuses(CodeTokenType, "ID token", sign(rs256, idToken, rsaKeys[0]()))
	r.refuses(CodeTokenType, "ID token without nonce and at_hash", sign(rs256, with(idToken, "nonce", nil, "at_hash", nil), rsaKeys[0]()))
	r.refuses(CodeTokenType, "ID token whose client is our audience", sign(rs256, with(idToken, "aud", "api://temporal", "cid", "0oacli", "uid", "00ualice"), rsaKeys[0]()))
	r.refuses(CodeTokenType, "logout token", r.user("events", object{"http://schemas.openid.net/event/backchannel-logout": object{}}))
	r.refuses(CodeTokenType, "transaction token", r.user("tctx", object{}, "req_wl", "w"))
	r.refuses(CodeIssuer, "client assertion", sign(rs256, object{"iss": "0oacli", "sub": "0oacli", "aud": r.issuer + "/v1/token", "jti": "x",
		"iat": epoch.Unix(), "exp": epoch.Unix() + 300}, rsaKeys[0]()))
	// An issuer that always sets typ can be held to it.
	r = newRig(t, func(c *Config) { c.Issuers[0].TokenTypes = []string{"at+jwt"} })
	r.refuses(CodeTokenType, "typ missing where required", r.user())
	r.accepts(sign(with(rs256, "typ", "at+jwt"), r.userClaims(epoch), rsaKeys[0]()))
}

func TestThreat11WrongIssuer(t *testing.T) {
	r := newRig(t)
	for _, iss := range []string{r.issuer + "/", r.issuer + "2", r.issuer[:len(r.issuer)-1], strings.ToUpper(r.issuer), r.URL + "/oauth2/Default",
		r.URL + "/oauth2/aus2other", "https://evil.example/oauth2/default", r.issuer + "#", r.issuer + " ", strings.Replace(r.issuer, "127.0.0.1", "localhost", 1)} {
		r.refuses(CodeIssuer, iss, r.user("iss", iss))
	}
	r.refuses(CodeIssuer, "missing", r.user("iss", nil))
	r.refuses(CodeIssuer, "empty", r.user("iss", ""))
	r.refuses(CodeTokenMalformed, "array", r.user("iss", []string{r.issuer}))
	r.refuses(CodeTokenMalformed, "null", r.user("iss", json.RawMessage("null")))
	if r.fetches.Load() != 0 {
		t.Error("strange issuers caused a fetch")
	}
	// Two trusted issuers do not vouch for each other: the second's key signs for the first.
	other := newOrg(t)
	other.publish(jwk("k0", rsaKeys[1]().Public()))
	two := newRig(t, func(c *Config) { c.Issuers = append(c.Issuers, other.settings()) })
	two.refuses(CodeSignature, "signed by another trusted issuer", sign(rs256, two.userClaims(epoch), rsaKeys[1]()))
	two.accepts(sign(rs256, other.userClaims(epoch), rsaKeys[1]()))
}

func TestThreat12OrgServerToken(t *testing.T) {
	r := newRig(t)
	tellsWhatToDo := func(e *Error) {
		t.Helper()
		if !strings.Contains(e.Detail, "custom authorization server") {
			t.Errorf("does not say to use a custom authorization server: %q", e.Detail)
		}
	}
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "opaque", "00Nsomeopaquetokenofokta_-"))
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "words", "hello"))
	orgClaims := with(r.userClaims(epoch), "iss", r.URL, "aud", r.URL)
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "org server's JWT", sign(rs256, orgClaims, rsaKeys[0]())))
	tellsWhatToDo(r.refuses(CodeTokenOpaque, "org server's JWT without kid", sign(object{"alg": "RS256"}, orgClaims, rsaKeys[0]())))
}

func TestThreat13Audience(t *testing.T) {
	r := newRig(t)
	for what, aud := range map[string]any{
		"missing": nil, "other": "api://other", "prefix": "api://temp", "longer": "api://temporal2", "slash": "api://temporal/", "case": "API://temporal",
		"ours among others": []string{"api://temporal", "api://other"}, "ours twice": []string{"api://temporal", "api://temporal"}, "none": []string{},
		"the issuer": r.issuer, "array of another": []string{"api://other"}, "array of the empty": []string{""},
	} {
		r.refuses(CodeAudience, what, r.user("aud", aud))
	}
	for what, aud := range map[string]any{"number": 1, "object": object{"aud": "api://temporal"}, "array of a number": []any{1}, "ours and a number": []any{"api://temporal", 1},
		"nested array": []any{[]string{"api://temporal"}}, "empty": "", "true": true} {
		r.refuses(CodeTokenMalformed, what, r.user("aud", aud))
	}
}

func TestThreat14Times(t *testing.T) {
	r := newRig(t)
	now := epoch.Unix()
	for _, c := range []struct {
		what string
		code Code
		kv   []any
	}{
		{"exp missing", CodeTokenMalformed, []any{"exp", nil}},
		{"exp past", CodeExpired, []any{"exp", now - 1}},
		{"exp now", CodeExpired, []any{"exp", now}},
		{"exp zero", CodeExpired, []any{"exp", 0}},
		{"exp string", CodeTokenMalformed, []any{"exp", fmt.Sprint(now + 60)}},
		{"exp exponent", CodeTokenMalformed, []any{"exp", json.RawMessage("2e9")}},
		{"exp fraction and exponent", CodeTokenMalformed, []any{"exp", json.RawMessage("1.7e9")}},
		{"exp negative", CodeTokenMalformed, []any{"exp", -1}},
		{"exp minus zero", CodeTokenMalformed, []any{"exp", json.RawMessage("-0")}},
		{"exp > 2^53", CodeTokenMalformed, []any{"exp", json.RawMessage("9007199254740993")}},
		{"exp overflow", CodeTokenMalformed, []any{"exp", json.RawMessage("99999999999999999999999999")}},
		{"exp true", CodeTokenMalformed, []any{"exp", true}},
		{"exp null", CodeTokenMalformed, []any{"exp", json.RawMessage("null")}},
		{"exp array", CodeTokenMalformed, []any{"exp", []int64{now + 60}}},
		{"iat missing", CodeTokenMalformed, []any{"iat", nil}},
		{"iat string", CodeTokenMalformed, []any{"iat", "now"}},
		{"iat ahead", CodeNotYetValid, []any{"iat", now + 61}},
		{"nbf ahead", CodeNotYetValid, []any{"nbf", now + 61}},
		{"nbf string", CodeTokenMalformed, []any{"nbf", "0"}},
		{"auth_time ahead", CodeNotYetValid, []any{"auth_time", now + 61}},
	} {
		r.refuses(c.code, c.what, r.user(c.kv...))
	}
	for _, bad := range []string{"NaN", "Infinity", "0x10", "+1", "01", "1.", ".5", "1_000", "1e", "--1"} {
		r.refuses(CodeTokenMalformed, "exp "+bad, r.userText(func(s string) string {
			return strings.Replace(s, fmt.Sprintf(`"exp":%d`, now+3600), `"exp":`+bad, 1)
		}))
	}
	e := r.refuses(CodeExpired, "exp past", r.user("exp", now-180))
	if !strings.Contains(e.Detail, "2026-11-23T11:57:00Z") || !strings.Contains(e.Detail, "bailiwick login") {
		t.Errorf("does not say when it expired and what to do: %q", e.Detail)
	}
	// Within skew, and to the last instant.
	r.accepts(r.user("iat", now+60, "nbf", now+60, "auth_time", now+60))
	r.accepts(r.user("exp", now+1))
}

func TestThreat15Lifetime(t *testing.T) {
	r := newRig(t)
	now := epoch.Unix()
	r.refuses(CodeLifetime, "24h and a second", r.user("iat", now-10, "exp", now-10+86401))
	r.refuses(CodeLifetime, "forever", r.user("exp", int64(1)<<53))
	r.refuses(CodeLifetime, "expires before it was issued", r.user("iat", now+30, "exp", now+20))
	r.refuses(CodeLifetime, "expires before it is valid", r.user("nbf", now+30, "exp", now+20))
	r.accepts(r.user("iat", now-10, "exp", now-10+86400))
	r = newRig(t, func(c *Config) { c.Issuers[0].MaxLifetime = time.Hour })
	r.refuses(CodeLifetime, "longer than this issuer allows", r.user("iat", now, "exp", now+3601))
}

func TestThreat16JSONTricks(t *testing.T) {
	r := newRig(t)
	r.accepts(r.userText(func(s string) string { return s }))
	insert := func(text string) func(string) string {
		return func(s string) string { return "{" + text + "," + s[1:] }
	}
	for what, text := range map[string]string{
		"sub twice": `"sub":"root"`, "exp twice": `"exp":9999999999`, "sub twice by an escape": `"su\u0062":"root"`, "twice in an unknown claim": `"x":{"a":1,"a":2}`,
		"twice deep": `"x":[[{"y":{"a":1,"a":2}}]]`, "Exp": `"Exp":9999999999`, "SUB": `"SUB":"root"`, "sub with U+017F": `"\u017fub":"root"`, "raw U+017F": "\"\u017fub\":\"root\"",
		"aCt": `"aCt":{"sub":"x"}`, "Groups": `"Groups":["admin"]`, "CNF": `"CNF":{}`, "NUL": `"x":"a\u0000b"`, "raw NUL": "\"x\":\"a\x00b\"", "raw control": "\"x\":\"a\nb\"",
		"invalid UTF-8": "\"x\":\"\xff\"", "overlong UTF-8": "\"x\":\"\xc0\xaf\"", "encoded surrogate": "\"x\":\"\xed\xa0\x80\"", "lone surrogate": `"x":"\ud800"`,
		"surrogate pair reversed": `"x":"\udc00\ud800"`, "bad escape": `"x":"\q"`, "short escape": `"x":"\u12"`, "deep arrays": `"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"deep objects": `"x":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "huge number": `"x":` + strings.Repeat("9", 1000),
		"single quotes": `'x':1`, "comment": `/* hi */"x":1`, "bare word": `x:1`, "hex": `"x":0x1`, "True": `"x":True`, "undefined": `"x":undefined`, "double comma": `"x":1,`,
	} {
		r.refuses(CodeTokenMalformed, what, r.userText(insert(text)))
	}
	for what, edit := range map[string]func(string) string{
		"trailing comma":      func(s string) string { return s[:len(s)-1] + ",}" },
		"trailing object":     func(s string) string { return s + "{}" },
		"trailing text":       func(s string) string { return s + "x" },
		"trailing NUL":        func(s string) string { return s + "\x00" },
		"byte order mark":     func(s string) string { return "\ufeff" + s },
		"UTF-16":              func(s string) string { return "\xfe\xff\x00{\x00}" },
		"array":               func(s string) string { return "[" + s + "]" },
		"null":                func(string) string { return "null" },
		"string":              func(string) string { return `"x"` },
		"number":              func(string) string { return "1" },
		"nothing":             func(string) string { return "" },
		"unfinished":          func(s string) string { return s[:len(s)-1] },
		"two thousand claims": func(s string) string { return "{" + manyClaims(2000) + s[1:] },
	} {
		r.refuses(CodeTokenMalformed, what, r.userText(edit))
	}
	for what, h := range map[string]string{
		"alg twice": `{"alg":"RS256","kid":"k0","alg":"RS256"}`, "ALG": `{"alg":"RS256","kid":"k0","ALG":"none"}`, "kid twice by an escape": `{"alg":"RS256","kid":"k0","\u006bid":"k1"}`,
		"K\u0130D": "{\"alg\":\"RS256\",\"kid\":\"k0\",\"\u212aid\":\"k1\"}", "array": `[{"alg":"RS256","kid":"k0"}]`, "trailing": `{"alg":"RS256","kid":"k0"}{}`, "null": `null`, "empty": ``,
	} {
		r.refuses(CodeTokenMalformed, "header "+what, sign(h, r.userClaims(epoch), rsaKeys[0]()))
	}
	if r.fetches.Load() != 1 {
		t.Errorf("%d fetches, want the first alone", r.fetches.Load())
	}
}

func manyClaims(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%x":1,`, i)
	}
	return b.String()
}

func TestThreat17Sizes(t *testing.T) {
	r := newRig(t)
	r.refuses(CodeTokenMalformed, "token of 17 KB", r.user("pad", strings.Repeat("x", 12<<10)))
	r.refuses(CodeTokenMalformed, "header of 5 KB", sign(with(rs256, "pad", strings.Repeat("x", 5<<10)), r.userClaims(epoch), rsaKeys[0]()))
	r.refuses(CodeTokenMalformed, "a million dots", strings.Repeat(".", 1_000_000))
	r.refuses(CodeTokenMalformed, "16 KB of dots", strings.Repeat(".", maxToken))
	groups := make([]string, 10_000)
	for i := range groups {
		groups[i] = fmt.Sprint("g", i)
	}
	r.refuses(CodeTokenMalformed, "10,000 groups", r.user("groups", groups))
	short := slices.Repeat([]string{"g"}, maxGroups+1)
	r.refuses(CodeTokenMalformed, "too many groups in a small token", r.user("groups", short))
	for what, g := range map[string]string{"newline": "temporal:payments:read\ntemporal:payments:admin", "empty": "", "NEL": "a\u0085b", "line separator": "a\u2028b", "escape": "a\x1b[2Jb",
		"bidi override": "temporal:\u202epayments", "zero width": "temporal:pay\u200bments:admin", "long": strings.Repeat("g", 257)} {
		r.refuses(CodeTokenMalformed, "group with "+what, r.user("groups", []string{"ok", g}))
	}
	for what, g := range map[string]any{"number": []any{1}, "null inside": []any{nil}, "string": "temporal:payments:admin", "object": object{"0": "a"}, "nested": []any{[]string{"a"}}} {
		r.refuses(CodeTokenMalformed, "groups "+what, r.user("groups", g))
	}
	// Look-alikes are other names: they pass, unchanged, and nothing folds them.
	odd := []string{"temporal:pаyments:admin", "TEMPORAL:payments:admin", "temporal：payments：admin", "temporal:a:b:c:d", "temporal::admin", "temporal:\u017fales:read", "グループ"}
	if got := r.accepts(r.user("groups", odd)).Groups; !slices.Equal(got, odd) {
		t.Errorf("groups %q became %q", odd, got)
	}
}

func TestThreat18Subjects(t *testing.T) {
	other := newOrg(t)
	r := newRig(t, func(c *Config) { c.Issuers = append(c.Issuers, other.settings()) })
	a := r.accepts(r.user())
	b := r.accepts(sign(rs256, other.userClaims(epoch), rsaKeys[0]()))
	if a.Principal() == b.Principal() || a.ID != b.ID {
		t.Errorf("one uid at two issuers: %s and %s", a.Principal(), b.Principal())
	}
	// A user and a client with one sub are two principals.
	u, c := r.accepts(r.user("sub", "0oaworker", "uid", "00ux")), r.accepts(r.client())
	if u.Principal() == c.Principal() || u.Kind != User || c.Kind != Client || u.Login != c.Login {
		t.Errorf("one sub: %s and %s", u.Principal(), c.Principal())
	}
	for _, tc := range []struct {
		what string
		code Code
		kv   []any
	}{
		{"uid missing", CodeSubject, []any{"uid", nil}},
		{"uid empty", CodeTokenMalformed, []any{"uid", ""}},
		{"uid null", CodeTokenMalformed, []any{"uid", json.RawMessage("null")}},
		{"uid number", CodeTokenMalformed, []any{"uid", 7}},
		{"sub missing", CodeSubject, []any{"sub", nil}},
		{"sub empty", CodeTokenMalformed, []any{"sub", ""}},
		{"sub with a newline", CodeTokenMalformed, []any{"sub", "alice\nroot"}},
		{"sub array", CodeTokenMalformed, []any{"sub", []string{"alice"}}},
		{"cid missing", CodeSubject, []any{"cid", nil}},
		{"cid and client_id differ", CodeSubject, []any{"client_id", "0oaother"}},
		{"type temporal", CodeSubject, []any{"sub_profile", "temporal"}},
		{"type Temporal", CodeSubject, []any{"sub_profile", "Temporal"}},
		{"principal_type temporal", CodeSubject, []any{"principal_type", "temporal"}},
		{"uid temporal:", CodeSubject, []any{"uid", "temporal:internal-frontend"}},
		{"sub temporal:", CodeSubject, []any{"sub", "Temporal:system"}},
	} {
		r.refuses(tc.code, tc.what, r.user(tc.kv...))
	}
}

func TestThreat19Clients(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Issuers[0].ClientIDs = []string{"0oacli", "0oaworker"} })
	r.accepts(r.user())
	r.refuses(CodeClient, "client not allowed", r.user("cid", "0oaother"))
	r.refuses(CodeClient, "prefix of an allowed client", r.user("cid", "0oacl"))
	r.refuses(CodeSubject, "client as user: uid is the client", r.client("uid", "0oaworker"))
	r.refuses(CodeSubject, "client as user: sub is the client", r.client("uid", "00ualice"))
	r.refuses(CodeSubject, "client as user: sub is a person, no uid", r.client("sub", "alice@acme.example"))
	r.refuses(CodeSubject, "client as user: profile", r.client("sub_profile", "user"))
	r.refuses(CodeSubject, "agent with a uid", r.user("sub_profile", "ai_agent"))
	if c := r.accepts(r.client("groups", []string{"temporal:payments:write"})); c.Kind != Client || c.ID != "0oaworker" || c.Principal() != "client:"+r.issuer+"|0oaworker" {
		t.Errorf("client became %+v", c)
	}
}

func TestThreat20Delegation(t *testing.T) {
	r := newRig(t)
	chain := func(subs ...string) (act object) {
		for _, s := range slices.Backward(subs) {
			next := object{"sub": s, "sub_profile": "ai_agent"}
			if act != nil {
				next["act"] = act
			}
			act = next
		}
		return act
	}
	c := r.accepts(r.user("act", chain("agent2", "agent1")))
	if want := []Actor{{"agent2", "ai_agent"}, {"agent1", "ai_agent"}}; !slices.Equal(c.Actors, want) {
		t.Errorf("actors %v, want the outermost first: %v", c.Actors, want)
	}
	if c.ID != "00ualice" || c.Kind != User || slices.Contains(c.Groups, "agent1") {
		t.Errorf("an actor became the subject: %+v", c)
	}
	r.accepts(r.user("act", chain("a", "b", "c", "d", "e")))
	r.refuses(CodeTokenMalformed, "six deep", r.user("act", chain("a", "b", "c", "d", "e", "f")))
	r.refuses(CodeTokenMalformed, "thirty deep", r.user("act", chain(strings.Split(strings.Repeat("a,", 30), ",")...)))
	r.refuses(CodeSubject, "cycle", r.user("act", chain("a", "b", "a")))
	r.refuses(CodeSubject, "self by login", r.user("act", chain("alice@acme.example")))
	r.refuses(CodeSubject, "self by uid, nested", r.user("act", chain("a", "00ualice")))
	r.refuses(CodeSubject, "actor temporal", r.user("act", object{"sub": "x", "sub_profile": "temporal"}))
	r.refuses(CodeSubject, "actor without sub", r.user("act", object{"sub_profile": "ai_agent"}))
	for what, act := range map[string]any{"string": "agent", "array": []any{chain("a")}, "null": json.RawMessage("null"), "sub number": object{"sub": 1}, "Sub": object{"sub": "a", "Sub": "b"},
		"inner string": object{"sub": "a", "act": "b"}, "inner null": object{"sub": "a", "act": nil}, "sub twice": json.RawMessage(`{"sub":"a","sub":"b"}`)} {
		r.refuses(CodeTokenMalformed, "act "+what, r.user("act", act))
	}
}

func TestThreat21BoundTokens(t *testing.T) {
	r := newRig(t)
	for what, cnf := range map[string]any{"jkt": object{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, "x5t": object{"x5t#S256": "x"}, "empty": object{}, "null": json.RawMessage("null"), "string": "x"} {
		r.refuses(CodeBinding, "cnf "+what, r.user("cnf", cnf))
	}
}

func TestThreat22RevokedAccess(t *testing.T) {
	var out = map[string]bool{}
	r := newRig(t, func(c *Config) { c.Revoked = func(c *Claims) bool { return out[c.Principal()] } })
	token := r.user()
	alice := r.accepts(token).Principal()
	out[alice] = true
	r.refuses(CodeRevoked, "remembered token", token)
	r.refuses(CodeRevoked, "fresh token", r.user("jti", "AT.new"))
	r.accepts(r.client())
	delete(out, alice)
	r.accepts(token)
}

func TestMustBeAccepted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Issuers[0].Algorithms = []string{"RS256", "ES256", "EdDSA"} })
	r.publish(jwk("k0", rsaKeys[0]().Public()), jwk("e0", ecKeyP256().Public()), jwk("d0", edKey().Public()))
	c := r.accepts(r.user()) // no typ: Okta's shape
	want := &Claims{Issuer: r.issuer, Kind: User, ID: "00ualice", Login: "alice@acme.example", ClientID: "0oacli", Audience: "api://temporal",
		Scopes: []string{"openid", "temporal"}, Groups: []string{"Everyone", "temporal:payments:write"}, AuthTime: epoch.Add(-100 * time.Second),
		TokenID: "AT.abc", KeyID: "k0", IssuedAt: epoch.Add(-10 * time.Second), Expires: epoch.Add(time.Hour)}
	if got, want := string(must(json.Marshal(c))), string(must(json.Marshal(want))); got != want {
		t.Errorf("claims\n%s, want\n%s", got, want)
	}
	for range 8 { // both halves of the signature space
		r.accepts(sign(object{"alg": "ES256", "kid": "e0"}, r.userClaims(epoch), ecKeyP256()))
	}
	r.accepts(sign(object{"alg": "EdDSA", "kid": "d0"}, r.userClaims(epoch), edKey()))
	if c := r.accepts(r.user("aud", []string{"api://temporal"})); c.Audience != "api://temporal" {
		t.Errorf("audience %q", c.Audience)
	}
	if c := r.accepts(r.user("exp", json.RawMessage(fmt.Sprint(epoch.Unix()+60, ".25")))); !c.Expires.Equal(epoch.Add(60*time.Second + 250*time.Millisecond)) {
		t.Errorf("fractional exp read as %v", c.Expires)
	}
	r.accepts(r.user("unknown", object{"deep": []any{1, "x", nil, object{"y": true}}}, "EMAIL", "x", "https://acme/roles", []string{"a"}, "amr", []string{"pwd"}))
	r.accepts(sign(with(rs256, "x5t", "abc", "custom", 1), r.userClaims(epoch), rsaKeys[0]()))
	if c := r.accepts(r.client("scp", nil, "scope", "temporal.worker openid")); !slices.Equal(c.Scopes, []string{"temporal.worker", "openid"}) {
		t.Errorf("scope string read as %q", c.Scopes)
	}
	r.accepts(r.user("scope", "openid temporal"))
	r.refuses(CodeTokenMalformed, "scp and scope disagree", r.user("scope", "openid admin"))
	if c := r.accepts(r.user("acr", "urn:okta:loa:2fa:any")); c.ACR != "urn:okta:loa:2fa:any" {
		t.Errorf("acr %q", c.ACR)
	}
	if c := r.accepts(r.user("groups", json.RawMessage("null"))); len(c.Groups) != 0 {
		t.Errorf("null groups read as %q", c.Groups)
	}
	if c := r.accepts(r.user("temporal_groups", []string{"Everyone", "temporal:deploy:read"})); !slices.Equal(c.Groups, []string{"Everyone", "temporal:payments:write", "temporal:deploy:read"}) {
		t.Errorf("two groups claims read as %q", c.Groups)
	}
	if c := r.accepts(r.client("cid", nil, "client_id", "0oaworker")); c.ClientID != "0oaworker" { // RFC 9068
		t.Errorf("client_id %q", c.ClientID)
	}
	agent := with(r.userClaims(epoch), "uid", nil, "sub", "00ualice", "sub_profile", "user", "scp", nil, "scope", "temporal",
		"act", object{"sub": "wlp2", "sub_profile": "ai_agent", "act": object{"sub": "wlp1", "sub_profile": "ai_agent"}})
	if c := r.accepts(sign(rs256, agent, rsaKeys[0]())); c.Kind != User || c.ID != "00ualice" || len(c.Actors) != 2 {
		t.Errorf("Okta's agent token read as %+v", c)
	}
	r = newRig(t, func(c *Config) { c.Issuers[0].GroupsClaims = []string{"acmeGroups"} })
	if c := r.accepts(r.user("acmeGroups", []string{"a"})); !slices.Equal(c.Groups, []string{"a"}) {
		t.Errorf("configured groups claim read as %q", c.Groups)
	}
	r.refuses(CodeTokenMalformed, "case variant of a configured groups claim", r.user("acmegroups", []string{"a"}))
}

func TestAuthorizationValues(t *testing.T) {
	for _, c := range []struct {
		code   Code
		values []string
	}{
		{CodeTokenMissing, nil}, {CodeTokenMissing, []string{""}},
		{CodeTokenMalformed, []string{"Bearer a.b.c", "Bearer a.b.c"}}, {CodeTokenMalformed, []string{"Bearer a.b.c", ""}},
		{CodeTokenMalformed, []string{"Bearer"}}, {CodeTokenMalformed, []string{"Bearer "}}, {CodeTokenMalformed, []string{"Basic YTpi"}},
		{CodeTokenMalformed, []string{"a.b.c"}}, {CodeTokenMalformed, []string{"Bearer a.b.c, Bearer d.e.f"}}, {CodeTokenMalformed, []string{"Bearer  a.b.c"}},
		{CodeTokenMalformed, []string{"Bearer a.b.c\n"}}, {CodeTokenMalformed, []string{"DPoP a.b.c"}},
	} {
		_, err := FromAuthorization(c.values)
		if e, ok := err.(*Error); !ok || e.Code != c.code {
			t.Errorf("%q: %v, want %s", c.values, err, c.code)
		}
	}
	for _, v := range []string{"Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"} {
		if u, err := FromAuthorization([]string{v}); err != nil || u.raw != "a.b.c" {
			t.Errorf("%q: %v", v, err)
		}
	}
	secret := ParseUnverified("s3cret.s3cret.s3cret")
	if s := fmt.Sprintf("%v %s %+v %#v %q", secret, secret, secret, secret, secret); strings.Contains(s, "s3cret") {
		t.Errorf("the token prints as %s", s)
	}
	r := newRig(t)
	r.refuses(CodeTokenMissing, "zero Unverified", "")
}

func TestErrorsHoldNoRawText(t *testing.T) {
	r := newRig(t)
	e := r.refuses(CodeAudience, "hostile audience", r.user("aud", "\u00e9"+strings.Repeat("A", 200)))
	if strings.ContainsFunc(e.Detail, func(c rune) bool { return c < 0x20 }) || len(e.Detail) > 300 {
		t.Errorf("detail is not fit for a log: %q", e.Detail)
	}
	e = r.refuses(CodeIssuer, "hostile issuer", r.user("iss", "https://x\x1b[2J"))
	if strings.Contains(e.Detail, "\x1b") {
		t.Errorf("terminal escape in %q", e.Detail)
	}
}

func cut(token string) (head, body, sig string) {
	p := strings.Split(token, ".")
	return p[0], p[1], p[2]
}

func second(_, _, sig string) string { return sig }
