package devorg

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// maxJWS bounds any signed token that the org reads.
const maxJWS = 16 << 10

var b64 = base64.RawURLEncoding.Strict()

// jws is a compact JWS (RFC 7515) taken apart. Nothing in it is to be trusted before verify.
type jws struct {
	alg, kid, typ string
	claims        map[string]json.RawMessage
	signed        string // header.payload, what the signature covers
	signature     []byte
}

// signRS256 makes a compact JWS whose header has kid and alg only, as Okta's tokens do.
func signRS256(key *rsa.PrivateKey, kid string, claims any) (string, error) {
	return signTyped(key, kid, "", claims)
}

// signTyped does it with a typ in the header, where that is not empty.
func signTyped(key *rsa.PrivateKey, kid, typ string, claims any) (string, error) {
	header, err := json.Marshal(struct {
		KID string `json:"kid"`
		Alg string `json:"alg"`
		Typ string `json:"typ,omitempty"`
	}{kid, "RS256", typ})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed + "." + b64.EncodeToString(sig), nil
}

// parseJWS takes a compact JWS apart. It refuses everything but three canonical base64url parts, JSON objects without
// duplicate members, alg RS256 and critical extensions of which there are none.
func parseJWS(raw string) (*jws, error) {
	if len(raw) > maxJWS {
		return nil, errors.New("longer than 16 KiB")
	}
	// base64 decoders skip line breaks, so they are looked for here.
	if strings.ContainsAny(raw, "\r\n") {
		return nil, errors.New("contains a line break")
	}
	parts := strings.SplitN(raw, ".", 4)
	if len(parts) != 3 {
		return nil, errors.New("not three parts separated by dots")
	}
	var decoded [3][]byte
	for i, p := range parts {
		d, err := b64.DecodeString(p)
		if err != nil {
			return nil, fmt.Errorf("part %d is not base64url", i+1)
		}
		decoded[i] = d
	}
	header, err := parseObject(decoded[0])
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	claims, err := parseObject(decoded[1])
	if err != nil {
		return nil, fmt.Errorf("reading the claims: %w", err)
	}
	t := &jws{claims: claims, signed: parts[0] + "." + parts[1], signature: decoded[2]}
	for name, into := range map[string]*string{"alg": &t.alg, "kid": &t.kid, "typ": &t.typ} {
		if raw, ok := header[name]; ok {
			if *into, err = text(raw); err != nil {
				return nil, fmt.Errorf("reading the header's %s: %w", name, err)
			}
		}
	}
	if t.alg != "RS256" {
		return nil, errors.New("the algorithm is not RS256")
	}
	if _, ok := header["crit"]; ok {
		return nil, errors.New("the header has critical extensions")
	}
	return t, nil
}

// verify checks the signature.
func (t *jws) verify(key *rsa.PublicKey) bool {
	sum := sha256.Sum256([]byte(t.signed))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.signature) == nil
}

// claim reads a string claim; "" when absent or not a string.
func (t *jws) claim(name string) string {
	s, _ := text(t.claims[name])
	return s
}

// seconds reads a NumericDate claim (RFC 7519 section 2) as whole seconds; ok is false when it is absent, no number or absurd.
func (t *jws) seconds(name string) (_ int64, ok bool) {
	raw := t.claims[name]
	if len(raw) == 0 || raw[0] == '"' {
		return 0, false
	}
	var f float64
	if json.Unmarshal(raw, &f) != nil || bytes.Equal(raw, []byte("null")) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func text(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errors.New("not a string")
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// parseObject reads exactly one JSON object, keeps its member names exactly (Go's struct decoding folds case) and
// refuses duplicates, invalid UTF-8 and anything after it.
func parseObject(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errors.New("not well-formed JSON")
		}
		key, ok := name.(string)
		if !ok {
			return nil, errors.New("not well-formed JSON")
		}
		if _, ok := out[key]; ok {
			return nil, errors.New("a member name occurs twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("not well-formed JSON")
		}
		out[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("not well-formed JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return out, nil
}

// jwkNumbers returns a public key's modulus and exponent as a JWK spells them (RFC 7518 section 6.3.1).
func jwkNumbers(key *rsa.PublicKey) (e, n string) {
	return b64.EncodeToString(big.NewInt(int64(key.E)).Bytes()), b64.EncodeToString(key.N.Bytes())
}

// parsePublic reads a JWK's numbers and refuses keys that nobody should use.
func parsePublic(e, n string) (*rsa.PublicKey, error) {
	eb, err := b64.DecodeString(strings.TrimRight(e, "="))
	if err != nil || len(eb) == 0 || len(eb) > 4 {
		return nil, errors.New("'e' is not a base64url exponent")
	}
	nb, err := b64.DecodeString(strings.TrimRight(n, "="))
	if err != nil {
		return nil, errors.New("'n' is not a base64url modulus")
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(new(big.Int).SetBytes(eb).Int64())}
	if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
		return nil, fmt.Errorf("the modulus has %d bits; 2048 to 8192 are accepted", bits)
	}
	if key.E < 3 || key.E%2 == 0 {
		return nil, errors.New("the exponent is even or too small")
	}
	return key, nil
}
