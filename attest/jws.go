package attest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// MaxSize is the largest attestation, in bytes of the compact JWS, that is signed or looked at.
const MaxSize = 8 << 10

// b64 is base64url without padding (RFC 7515 section 2), refusing loose trailing bits. It still skips newlines: see decodePart.
var b64 = base64.RawURLEncoding.Strict()

// joseHeader is the protected header. It has exactly these members; RFC 7515's jwk, jku, x5u, x5c and crit are refused by their presence.
type joseHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// Verified is a statement whose signature, version and audience hold. Only KeySet.Verify makes one; the zero value is bound to nothing
// and fails every check.
type Verified struct {
	statement Statement
	raw       string
	kid       string
}

// Statement returns what was signed. Its times are UTC in whole seconds.
func (v Verified) Statement() Statement { return v.statement }

// Raw returns the compact JWS as it was received, for carrying it forward.
func (v Verified) Raw() string { return v.raw }

// KeyID returns the id of the key that signed.
func (v Verified) KeyID() string { return v.kid }

// Verify checks a compact JWS (RFC 7515 section 5.2, RFC 8037 section 3.1) under a strict profile: EdDSA only, exact typ, no other header
// members, canonical base64url, one version, canonical payload, at most MaxSize bytes, and exactly the audience aud.
// The error is a *Error always. It uses no clock: a statement does not expire, but it must be from within its key's validity.
func (k KeySet) Verify(raw string, aud string) (Verified, error) {
	if len(raw) > MaxSize {
		return Verified{}, refuse(CodeMalformed, fmt.Sprintf("%d bytes, more than the limit of %d", len(raw), MaxSize))
	}
	head, rest, ok1 := strings.Cut(raw, ".")
	body, tail, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(tail, ".") {
		return Verified{}, refuse(CodeMalformed, "not a compact JWS of three parts")
	}
	header, ok1 := decodePart(head)
	payload, ok2 := decodePart(body)
	sig, ok3 := decodePart(tail)
	if !ok1 || !ok2 || !ok3 {
		return Verified{}, refuse(CodeMalformed, "a part is empty or not canonical base64url")
	}
	h, err := parseHeader(header)
	if err != nil {
		return Verified{}, err
	}
	key, ok := k.lookup(h.KeyID)
	if !ok {
		return Verified{}, refuse(CodeKeyUnknown, fmt.Sprintf("no key with the id %q; fetch the gate's key set again", printable(h.KeyID)))
	}
	if len(sig) != ed25519.SignatureSize || !ed25519.Verify(key.Public, []byte(raw[:len(head)+1+len(body)]), sig) {
		return Verified{}, refuse(CodeSignature, "the signature does not verify: the attestation was altered or made by somebody else")
	}
	s, err := parsePayload(payload)
	if err != nil {
		return Verified{}, err
	}
	if !key.covers(s.IssuedAt) {
		return Verified{}, refuse(CodeKeyRetired, fmt.Sprintf("issued %s, outside the validity of its key", s.IssuedAt.Format(time.RFC3339)))
	}
	if aud == "" || s.Audience != aud {
		return Verified{}, refuse(CodeAudience, fmt.Sprintf("made for %q, not for %q", s.Audience, aud))
	}
	return Verified{statement: s, raw: raw, kid: h.KeyID}, nil
}

// decodePart decodes one part of a JWS. Re-encoding catches what Go's decoder lets pass: newlines inside.
func decodePart(s string) ([]byte, bool) {
	b, err := b64.DecodeString(s)
	return b, err == nil && len(b) > 0 && len(s) == b64.EncodedLen(len(b))
}

// parseHeader reads the protected header. Type and algorithm are told apart from plain damage because a caller who mixes up
// tokens is helped by knowing; anything that is not byte for byte the header that Sign writes for some kid is malformed.
func parseHeader(b []byte) (joseHeader, error) {
	var h joseHeader
	if err := json.Unmarshal(b, &h); err != nil {
		return h, refuse(CodeMalformed, "the header is not a JSON object")
	}
	if h.Algorithm != "EdDSA" {
		return h, refuse(CodeAlgorithm, fmt.Sprintf("the algorithm is %q, not EdDSA", printable(h.Algorithm)))
	}
	if h.Type != Type {
		return h, refuse(CodeType, fmt.Sprintf("the type is %q, not %s", printable(h.Type), Type))
	}
	if again, err := json.Marshal(h); err != nil || !bytes.Equal(again, b) {
		return h, refuse(CodeMalformed, "the header is not exactly alg, kid and typ in canonical form")
	}
	return h, nil
}

// printable cuts foreign text to something that can stand in a one-line message.
func printable(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
