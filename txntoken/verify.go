package txntoken

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// b64 is base64url without padding (RFC 7515 section 2), refusing loose trailing bits. It still skips newlines: see decodePart.
var b64 = base64.RawURLEncoding.Strict()

// Verified are claims whose signature, type, audience and times hold. Only KeySet.Verify makes one; the zero value has no claims and opens
// nothing.
type Verified struct {
	claims Claims
	raw    string
}

// Claims returns what was signed. Its maps are the token's own: don't write to them.
func (v Verified) Claims() Claims { return v.claims }

// Raw returns the token as it was received, for passing it on. It is a secret as long as it is valid: don't log it.
func (v Verified) Raw() string { return v.raw }

// Verify checks a token for a trust domain at a time: compact JWS with typ exactly "txntoken+jwt", EdDSA or ES256 as the key says, no crit and no
// keys in the header, canonical base64url, no JSON member twice, all required claims of the right type, aud one string, iat not in the future
// beyond Skew, exp not reached, and no longer than MaxLifetime between them. Unknown claims are ignored, as the draft asks. The error is
// always a *Error.
func (s KeySet) Verify(raw, audience string, now time.Time) (Verified, error) {
	if len(raw) > MaxSize {
		return Verified{}, refuse(CodeMalformed, fmt.Sprintf("%d bytes, more than the limit of %d", len(raw), MaxSize))
	}
	head, rest, ok1 := strings.Cut(raw, ".")
	body, tail, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(tail, ".") {
		return Verified{}, refuse(CodeMalformed, "not a compact JWS of three parts")
	}
	header, ok1 := decodePart(head)
	claims, ok2 := decodePart(body)
	sig, ok3 := decodePart(tail)
	if !ok1 || !ok2 || !ok3 {
		return Verified{}, refuse(CodeMalformed, "a part is empty or not canonical base64url")
	}
	k, err := s.keyFor(header)
	if err != nil {
		return Verified{}, err
	}
	if !k.verify([]byte(raw[:len(head)+1+len(body)]), sig) {
		return Verified{}, refuse(CodeSignature, "the signature does not verify: the token was altered or made by somebody else")
	}
	c, err := parseClaims(claims)
	if err != nil {
		return Verified{}, err
	}
	switch {
	case audience == "" || c.Audience != audience:
		return Verified{}, refuse(CodeAudience, fmt.Sprintf("of the trust domain %q, not of %q", printable(c.Audience), audience))
	case !c.IssuedAt.Before(c.ExpiresAt) || c.ExpiresAt.Sub(c.IssuedAt) > MaxLifetime:
		return Verified{}, refuse(CodeLifetime, fmt.Sprintf("valid for %s, not for a second to %s", c.ExpiresAt.Sub(c.IssuedAt), MaxLifetime))
	case c.IssuedAt.After(now.Add(Skew)):
		return Verified{}, refuse(CodeTooNew, fmt.Sprintf("issued at %s, in the future; check the clocks", c.IssuedAt.Format(time.RFC3339)))
	case !now.Before(c.ExpiresAt):
		return Verified{}, refuse(CodeExpired, fmt.Sprintf("expired at %s; get a new one for each call", c.ExpiresAt.Format(time.RFC3339)))
	}
	return Verified{claims: c, raw: raw}, nil
}

// keyFor reads the protected header and finds its key.
func (s KeySet) keyFor(header []byte) (key, error) {
	h, err := parseObject(header)
	if err != nil {
		return key{}, refuse(CodeMalformed, "the header is "+err.Error())
	}
	for _, name := range []string{"crit", "b64", "jku", "jwk", "x5u", "x5c"} {
		if _, present := h[name]; present {
			return key{}, refuse(CodeMalformed, fmt.Sprintf("the header has the member %q", name))
		}
	}
	if typ, _ := h["typ"].(string); typ != Type {
		return key{}, refuse(CodeType, fmt.Sprintf("the type is %q, not %s", printable(typ), Type))
	}
	alg, _ := h["alg"].(string)
	if alg != algEdDSA && alg != algES256 {
		return key{}, refuse(CodeAlgorithm, fmt.Sprintf("the algorithm is %q, not EdDSA or ES256", printable(alg)))
	}
	kid, _ := h["kid"].(string)
	k, ok := s.lookup(kid)
	if !ok {
		return key{}, refuse(CodeKeyUnknown, fmt.Sprintf("no key with the id %q; fetch the key set again", printable(kid)))
	}
	if k.alg != alg {
		return key{}, refuse(CodeAlgorithm, fmt.Sprintf("the algorithm is %s, the key is for %s", alg, k.alg))
	}
	return k, nil
}

func (k key) verify(input, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	switch p := k.public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(p, input, sig)
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		if r.Sign() == 0 || s.Sign() == 0 || s.Cmp(halfOrder) > 0 {
			return false
		}
		digest := sha256.Sum256(input)
		return ecdsa.Verify(p, digest[:], r, s)
	}
	return false
}

// parseClaims reads a payload whose signature is known to be good.
func parseClaims(b []byte) (Claims, error) {
	object, err := parseObject(b)
	if err != nil {
		return Claims{}, refuse(CodeMalformed, "the payload is "+err.Error())
	}
	r := reader{object: object}
	c := Claims{
		IssuedAt: r.time("iat"), ExpiresAt: r.time("exp"), Audience: r.text("aud"), Transaction: r.text("txn"), Subject: r.text("sub"),
		Scope: strings.Split(r.text("scope"), " "), Workload: r.text("req_wl"), Context: r.optional("tctx"), Environment: r.optional("rctx"),
	}
	if r.bad == "" && !validScope(c.Scope) {
		r.bad = "scope"
	}
	if r.bad != "" {
		return Claims{}, refuse(CodeMalformed, fmt.Sprintf("the claim %q is missing or not of its type", r.bad))
	}
	return c, nil
}

// reader takes claims out of an object and remembers the first bad one.
type reader struct {
	object map[string]any
	bad    string
}

func (r *reader) fail(name string) {
	if r.bad == "" {
		r.bad = name
	}
}

func (r *reader) text(name string) string {
	s, ok := r.object[name].(string)
	if !ok || s == "" {
		r.fail(name)
	}
	return s
}

// time reads a NumericDate (RFC 7519 section 2). A fraction is dropped.
func (r *reader) time(name string) time.Time {
	n, _ := r.object[name].(json.Number)
	whole, fraction, _ := strings.Cut(n.String(), ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds <= 0 || seconds > 1<<53 || strings.ContainsAny(fraction, "eE") {
		r.fail(name)
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// optional reads an optional object.
func (r *reader) optional(name string) map[string]any {
	v, present := r.object[name]
	if !present {
		return nil
	}
	o, ok := v.(map[string]any)
	if !ok {
		r.fail(name)
	}
	return o
}

// decodePart decodes one part of a JWS. Comparing lengths catches what Go's decoder lets pass: newlines inside.
func decodePart(s string) ([]byte, bool) {
	b, err := b64.DecodeString(s)
	return b, err == nil && len(b) > 0 && len(s) == b64.EncodedLen(len(b))
}

func parseDER(der []byte) (r, s *big.Int, err error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) != 0 {
		return nil, nil, fmt.Errorf("reading the key's signature: %w", err)
	}
	return sig.R, sig.S, nil
}

// printable cuts foreign text to something that can stand in a one-line message.
func printable(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
