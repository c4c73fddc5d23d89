package attest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// An attestation is a JWS with an unencoded, detached payload (RFC 7797) whose parts are joined into one JSON object, so that people and
// tools can read it where it lies:
//
//	{"v":1,…,"iat":1795446123,"sig":"KID.SIGNATURE"}
//
// The payload is the object without its last member. The protected header does not travel: it has no freedom but the kid.
//
//	{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"KID","typ":"bailiwick-attestation"}

// MaxSize is the largest attestation, in bytes, that is signed or looked at.
const MaxSize = 8 << 10

const (
	kidSize = 16 // characters
	sigSize = 86 // base64url of 64 bytes
	sigName = `,"sig":"`
	tail    = len(sigName) + kidSize + len(".") + sigSize + len(`"}`)
)

// b64 is base64url without padding (RFC 7515 section 2), refusing loose trailing bits. It still skips newlines: see decodePart.
var b64 = base64.RawURLEncoding.Strict()

// signingPrefix is what stands before the payload in the signing input (RFC 7515 section 5.1): the encoded protected header and a dot.
func signingPrefix(kid string) []byte {
	header := `{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"` + kid + `","typ":"` + Type + `"}`
	return append(b64.AppendEncode(make([]byte, 0, MaxSize/4), []byte(header)), '.')
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

// Raw returns the attestation as it was received, for carrying it forward.
func (v Verified) Raw() string { return v.raw }

// KeyID returns the id of the key that signed.
func (v Verified) KeyID() string { return v.kid }

// Verify checks an attestation (RFC 7515 section 5.2, RFC 7797, RFC 8037 section 3.1) under a strict profile: EdDSA only, one typ, canonical
// base64url, one version, canonical payload, at most MaxSize bytes, and exactly the audience aud.
// The error is a *Error always. It uses no clock: a statement does not expire, but it must be from within its key's validity.
func (k KeySet) Verify(raw string, aud string) (Verified, error) {
	payload, kid, sig, err := split(raw)
	if err != nil {
		return Verified{}, err
	}
	key, ok := k.lookup(kid)
	if !ok {
		return Verified{}, refuse(CodeKeyUnknown, fmt.Sprintf("no key with the id %q; fetch the gate's key set again", kid))
	}
	input := append(signingPrefix(kid), payload...)
	if !ed25519.Verify(key.Public, input, sig) {
		return Verified{}, refuse(CodeSignature, "the signature does not verify: the attestation was altered or made by somebody else")
	}
	s, err := parsePayload([]byte(payload))
	if err != nil {
		return Verified{}, err
	}
	if !key.covers(s.IssuedAt) {
		return Verified{}, refuse(CodeKeyRetired, fmt.Sprintf("issued %s, outside the validity of its key", s.IssuedAt.Format(time.RFC3339)))
	}
	if aud == "" || s.Audience != aud {
		return Verified{}, refuse(CodeAudience, fmt.Sprintf("made for %q, not for %q", s.Audience, aud))
	}
	return Verified{statement: s, raw: raw, kid: kid}, nil
}

// split takes an attestation apart by lengths alone: nothing in the payload can move where the signature begins.
func split(raw string) (payload, kid string, sig []byte, err error) {
	switch {
	case len(raw) > MaxSize:
		return "", "", nil, refuse(CodeMalformed, fmt.Sprintf("%d bytes, more than the limit of %d", len(raw), MaxSize))
	case strings.HasPrefix(raw, "eyJ") && strings.Count(raw, ".") == 2:
		return "", "", nil, refuse(CodeType, "a JWT or another compact JWS, not an attestation")
	case len(raw) <= tail || raw[0] != '{':
		return "", "", nil, refuse(CodeMalformed, "not an attestation")
	}
	at := len(raw) - tail
	end, ok := strings.CutPrefix(raw[at:], sigName)
	if !ok || end[kidSize] != '.' || !strings.HasSuffix(end, `"}`) {
		return "", "", nil, refuse(CodeMalformed, "it does not end in a signature")
	}
	kid = end[:kidSize]
	sig, ok = decodePart(end[kidSize+1 : kidSize+1+sigSize])
	if _, isID := decodePart(kid); !ok || !isID {
		return "", "", nil, refuse(CodeMalformed, "the key id or the signature is not canonical base64url")
	}
	return raw[:at] + "}", kid, sig, nil
}

// UnverifiedAudience reads the environment that an attestation, not verified yet, says it is for; "" when it says none. It is for choosing
// what to verify with, never for believing.
func UnverifiedAudience(raw string) string {
	payload, _, _, err := split(raw)
	if err != nil {
		return ""
	}
	var claims struct {
		Audience string `json:"aud"`
	}
	if json.Unmarshal([]byte(payload), &claims) != nil {
		return ""
	}
	return claims.Audience
}

// decodePart decodes base64url. Re-encoding catches what Go's decoder lets pass: newlines inside.
func decodePart(s string) ([]byte, bool) {
	b, err := b64.DecodeString(s)
	return b, err == nil && len(b) > 0 && len(s) == b64.EncodedLen(len(b))
}
