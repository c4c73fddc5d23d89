package identity

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// checkJWS is the way of a token up to and including its signature, without claims: what signature vectors can speak to.
// only is the key to use when the vector's header names none; our own profile always requires a kid.
func checkJWS(set *keySet, raw string) *Error {
	parts, err := split(raw)
	if err != nil {
		return err
	}
	h, err := parseHeader(parts.header)
	if err != nil {
		return err
	}
	if _, ok := decode(parts.payload); !ok {
		return malformed("payload is not strict base64url")
	}
	k := set.byID[h.kid]
	if h.kid == "" && len(set.byID) == 1 {
		for _, k = range set.byID {
		}
	}
	if k == nil {
		return reject(CodeKeyUnknown, "no such key")
	}
	return verifySignature(k, h.alg, parts)
}

// TestRFCExamples runs the examples of RFC 7515 appendix A, RFC 7520 section 4 and RFC 8037 appendix A.
func TestRFCExamples(t *testing.T) {
	const joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	rsaJWK := object{"kty": "RSA", "kid": "x", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}
	rs256 := "eyJhbGciOiJSUzI1NiJ9." + joe + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	p256 := object{"kty": "EC", "kid": "x", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
	p521 := object{"kty": "EC", "kid": "x", "crv": "P-521", "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk", "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}
	ed := object{"kty": "OKP", "kid": "x", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
	for _, c := range []struct {
		what string
		key  object
		raw  string
		code Code
	}{
		{"RFC 7515 A.1, HS256", rsaJWK, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", CodeAlgorithm},
		{"RFC 7515 A.2, RS256", rsaJWK, rs256, ""},
		{"RFC 7515 A.3, ES256 (a high s)", p256, "eyJhbGciOiJFUzI1NiJ9." + joe + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", ""},
		{"RFC 7515 A.4, ES512", p521, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn", ""},
		{"RFC 7515 A.5, none", rsaJWK, "eyJhbGciOiJub25lIn0." + joe + ".", CodeAlgorithm},
		{"RFC 7515 A.7, flattened JSON", p256, `{"payload":"` + joe + `","protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"x"},"signature":"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"}`, CodeTokenMalformed},
		{"RFC 7515 E, crit", rsaJWK, b64([]byte(`{"alg":"none","crit":["http://example.invalid/UNDEFINED"],"http://example.invalid/UNDEFINED":true}`)) + ".RkFJTA.", CodeTokenMalformed},
		{"RFC 8037 A.4, Ed25519", ed, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", ""},
		{"A.2's token under A.3's key", p256, rs256, CodeAlgorithm},
		{"A.2's token, one bit of the signature changed", rsaJWK, strings.Replace(rs256, "cC4h", "cC4i", 1), CodeSignature},
	} {
		err := checkJWS(must(parseKeySet([]byte(jwks(c.key)))), c.raw)
		if c.code == "" && err != nil || c.code != "" && (err == nil || err.Code != c.code) {
			t.Errorf("%s: %v, want %q", c.what, err, c.code)
		}
	}
	// RFC 7520's keys and signatures are in the Wycheproof file, whose JWKs state wrong or unregistered algorithms.
	figures := map[string]bool{"Figure13": true, "Figure20": true, "Figure27": true}
	for _, g := range wycheproof(t, "json_web_signature_test.json") {
		if g.Comment != "rfc7520" || g.Public == nil {
			continue
		}
		delete(g.Public, "alg")
		for _, v := range g.Tests {
			if err := checkJWS(must(parseKeySet([]byte(jwks(g.Public)))), v.jws()); err != nil || !figures[v.Comment] {
				t.Errorf("RFC 7520 %s: %v", v.Comment, err)
			}
			delete(figures, v.Comment)
		}
	}
	if len(figures) != 0 {
		t.Errorf("not run: %v", figures)
	}
}

type vectorGroup struct {
	Comment         string
	Public, Private object
	Tests           []vector
}

type vector struct {
	ID      int `json:"tcId"`
	Comment string
	JWS     json.RawMessage
	Result  string
}

// jws is the vector's token: a compact string, or the text of a JSON serialisation.
func (v vector) jws() string {
	var s string
	if json.Unmarshal(v.JWS, &s) == nil {
		return s
	}
	return string(v.JWS)
}

func wycheproof(t *testing.T, file string) []vectorGroup {
	var doc struct {
		NumberOfTests int
		TestGroups    []vectorGroup
	}
	if err := json.Unmarshal(must(os.ReadFile("testdata/wycheproof/"+file)), &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range doc.TestGroups {
		n += len(g.Tests)
	}
	if n != doc.NumberOfTests || n == 0 {
		t.Fatalf("%s says %d tests and has %d", file, doc.NumberOfTests, n)
	}
	return doc.TestGroups
}

// TestWycheproof runs Project Wycheproof's JWS and JWK vectors. All invalid ones must be refused, and all valid ones accepted but for:
// MACs, which the profile never accepts, and JWKs whose own "alg" is not the algorithm of the token.
func TestWycheproof(t *testing.T) {
	accepted, refused := 0, 0
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		for _, g := range wycheproof(t, file) {
			pub := g.Public
			if pub == nil {
				pub = g.Private // symmetric
			}
			text := jwks(pub)
			if _, isSet := pub["keys"]; isSet {
				text = string(must(json.Marshal(pub)))
			}
			set, setErr := parseKeySet([]byte(text))
			for _, v := range g.Tests {
				err := &Error{Code: "key_set_refused", Cause: setErr}
				if setErr == nil {
					err = checkJWS(set, v.jws())
				}
				if err == nil {
					accepted++
				} else {
					refused++
				}
				want := v.Result == "valid"
				if alg, _ := pub["alg"].(string); want && err != nil {
					switch {
					case strings.HasPrefix(alg, "HS") || strings.Contains(text, `"alg":"HS`):
						want = false
					case err.Code == CodeAlgorithm && strings.HasPrefix(g.Comment, "rfc7520"):
						want = false // TestRFCExamples runs these with the statement removed
					}
				}
				if want != (err == nil) {
					t.Errorf("%s: %d %s %s is %s: %v", file, v.ID, g.Comment, v.Comment, v.Result, err)
				}
			}
		}
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	if accepted < 30 || refused < 370 {
		t.Errorf("%d accepted and %d refused: the vectors did not run as meant", accepted, refused)
	}
}
