package identity

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Sizes that the profile allows. An Okta token with a hundred groups is about 4 KB.
const (
	maxToken  = 16 << 10 // bytes of a whole compact token
	maxHeader = 4 << 10  // bytes of a decoded header
	maxKeyID  = 128      // characters of a kid
)

const opaqueHelp = "access tokens of an Okta org authorization server can be read by Okta alone; " +
	"ask for a token from a custom authorization server (an issuer ending in /oauth2/{id})"

// strictBase64 is base64url without padding that also refuses non-zero trailing bits (RFC 4648 section 3.5).
var strictBase64 = base64.RawURLEncoding.Strict()

// compact is a token cut at its dots (RFC 7515 section 7.1), still encoded.
type compact struct {
	header, payload, signature string
	signed                     string // header and payload with the dot between: what the signature covers
}

// split cuts a compact JWS and refuses every other serialisation. It looks at sizes and dots only.
func split(raw string) (compact, *Error) {
	switch {
	case raw == "":
		return compact{}, reject(CodeTokenMissing, "no bearer token was sent")
	case len(raw) > maxToken:
		return compact{}, reject(CodeTokenMalformed, "the token is longer than 16 KB")
	case raw[0] == '{' || raw[0] == '[':
		return compact{}, reject(CodeTokenMalformed, "JSON-serialised tokens are not accepted: send the compact form")
	}
	switch strings.Count(raw, ".") {
	case 2:
	case 0:
		return compact{}, reject(CodeTokenOpaque, "the token is opaque, not a signed JWT: "+opaqueHelp)
	case 4:
		return compact{}, reject(CodeTokenMalformed, "encrypted tokens (JWE) are not accepted")
	default:
		return compact{}, reject(CodeTokenMalformed, "a signed token has exactly three parts")
	}
	first, last := strings.IndexByte(raw, '.'), strings.LastIndexByte(raw, '.')
	return compact{
		header:    raw[:first],
		payload:   raw[first+1 : last],
		signature: raw[last+1:],
		signed:    raw[:last],
	}, nil
}

// decode undoes base64url. Go's decoder skips CR and LF even in strict mode, so that they are refused here.
func decode(part string) ([]byte, bool) {
	if strings.IndexByte(part, '\n') >= 0 || strings.IndexByte(part, '\r') >= 0 {
		return nil, false
	}
	b, err := strictBase64.DecodeString(part)
	return b, err == nil
}

// header is the part of a JOSE header (RFC 7515 section 4) that the profile reads.
type header struct {
	alg, kid string
	typ      string // empty when absent
}

// parseHeader reads a header and refuses all that could make a verifier trust a key, a payload or an extension of the sender's choice.
func parseHeader(part string) (header, *Error) {
	var h header
	if strictBase64.DecodedLen(len(part)) > maxHeader {
		return h, reject(CodeTokenMalformed, "the token's header is larger than 4 KB")
	}
	text, ok := decode(part)
	if !ok {
		return h, reject(CodeTokenMalformed, "the token's header is not strict base64url")
	}
	var room [8]member
	members, err := parseObject(string(text), room[:0])
	if err != nil {
		return h, malformed("the token's header is malformed: " + err.Error())
	}
	var hasAlg bool
	for _, m := range members {
		switch m.name {
		case "alg":
			h.alg, hasAlg = stringValue(m.value)
			if !hasAlg {
				return h, malformed("header alg is not a string")
			}
		case "kid":
			if h.kid, ok = stringValue(m.value); !ok {
				return h, malformed("header kid is not a string")
			}
			if !validKeyID(h.kid) {
				return h, reject(CodeKeyUnknown, "header kid is empty, too long or has characters that no key id has")
			}
		case "typ":
			if h.typ, ok = stringValue(m.value); !ok || h.typ == "" || !isASCII(h.typ) {
				return h, reject(CodeTokenType, "header typ is empty, not ASCII or not a string")
			}
		case "jku", "jwk", "x5u", "x5c":
			return h, malformed("header " + m.name + " names a key to trust: keys come from the issuer only")
		case "crit", "b64":
			return h, malformed("header " + m.name + " asks for an extension that is not supported")
		case "enc", "zip":
			return h, malformed("header " + m.name + " belongs to an encrypted token, which is not accepted")
		case "cty":
			return h, malformed("header cty announces a nested token, which is not accepted")
		default:
			switch folded(m.name) {
			case "alg", "kid", "typ", "jku", "jwk", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty":
				return h, malformed("header member " + quoted(m.name) + " is a misspelling of a registered one")
			}
		}
	}
	if !hasAlg {
		return h, reject(CodeAlgorithm, "the token's header names no algorithm")
	}
	if _, known := algorithms[h.alg]; !known {
		return h, reject(CodeAlgorithm, "algorithm "+quoted(h.alg)+" is not accepted: tokens must be signed with a public-key algorithm such as RS256")
	}
	return h, nil
}

// validKeyID keeps key ids to what issuers use (base64url, hex, UUIDs, padded base64), so that a path, a URL or a novel is refused unread.
func validKeyID(kid string) bool {
	if kid == "" || len(kid) > maxKeyID || strings.Contains(kid, "..") {
		return false
	}
	for i := range len(kid) {
		c := kid[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~+=@", c) >= 0) {
			return false
		}
	}
	return true
}

// folded maps a name to what a case-insensitive JSON reader (encoding/json) would take it for: ASCII lower case, with the two
// non-ASCII letters that fold into ASCII, U+017F and U+212A. A name that is already lower case comes back as it is.
func folded(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' || c >= 0x80 {
			plain = false
			break
		}
	}
	if plain {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '\u017f':
			return 's'
		case r == '\u212a':
			return 'k'
		}
		return r
	}, name)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func malformed(detail string) *Error { return reject(CodeTokenMalformed, detail) }

// quoted makes text from a token fit for a log, a terminal and an error: ASCII, escaped, at most 80 characters of it.
func quoted(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strconv.QuoteToASCII(s)
}
