package identity

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// Bounds of what a token may say.
const (
	maxGroups = 1000
	maxScopes = 200
	maxName   = 256 // bytes of a group, scope, subject, id …
	maxActors = 5   // links of a delegation chain
)

// reservedType is Temporal's own principal type: no token may claim it.
const reservedType = "temporal"

// payload is what the profile reads out of a token's claims before the issuer's settings judge it.
type payload struct {
	claims     Claims
	notBefore  time.Time
	sub, uid   string
	cid        string
	subProfile string
	scp, scope []string
	idToken    string // the claim that shows this to be another kind of token than an access token
	bound      bool   // cnf is there
}

// knownClaim reports whether the profile gives a claim name a meaning.
func knownClaim(name string) bool {
	switch name {
	case "iss", "aud", "sub", "uid", "cid", "client_id", "jti", "exp", "iat", "nbf", "auth_time", "acr", "amr", "scp", "scope",
		"act", "cnf", "sid", "_claim_names", "sub_profile", "principal_type", "nonce", "at_hash", "c_hash", "s_hash", "events", "tctx", "rctx", "req_wl":
		return true
	}
	return false
}

// issuerOf returns the iss claim.
func issuerOf(members []member) (string, *Error) {
	for _, m := range members {
		if m.name == "iss" {
			iss, ok := stringValue(m.value)
			if !ok {
				return "", malformed("claim iss is not a string")
			}
			return iss, nil
		}
	}
	return "", reject(CodeIssuer, "the token names no issuer")
}

// readPayload reads the claims that the profile knows and refuses those of the wrong shape. Unknown claims are passed over,
// unless they are a case variant of a known one, which another reader might take for it.
func (is *Issuer) readPayload(members []member) (*payload, *Error) {
	p := &payload{}
	c := &p.claims
	var err *Error
	for _, m := range members {
		switch m.name {
		case "iss":
			c.Issuer, err = name(m)
		case "aud":
			c.Audience, err = audience(m)
		case "sub":
			p.sub, err = name(m)
		case "uid":
			p.uid, err = name(m)
		case "cid", "client_id": // Okta's name and RFC 9068's
			var id string
			if id, err = name(m); err == nil && p.cid != "" && p.cid != id {
				err = reject(CodeSubject, "claims cid and client_id contradict each other")
			}
			p.cid = id
		case "jti":
			c.TokenID, err = name(m)
		case "acr":
			c.ACR, err = name(m)
		case "amr":
			c.AMR, err = names(m, maxAMR)
		case "sid":
			c.SessionID, err = name(m)
		case "sub_profile", "principal_type":
			var profile string
			if profile, err = name(m); err == nil && folded(profile) == reservedType {
				err = reject(CodeSubject, "principal type \"temporal\" is reserved")
			}
			if m.name == "sub_profile" {
				p.subProfile = profile
			}
		case "exp":
			c.Expires, err = numericDate(m)
		case "iat":
			c.IssuedAt, err = numericDate(m)
		case "nbf":
			p.notBefore, err = numericDate(m)
		case "auth_time":
			c.AuthTime, err = numericDate(m)
		case "scp":
			p.scp, err = names(m, maxScopes)
		case "scope":
			p.scope, err = scopeWords(m)
		case "act":
			c.Actors, err = actors(m)
		case "cnf":
			p.bound = true
		case "_claim_names":
			err = is.readElsewhere(m, c)
		case "nonce", "at_hash", "c_hash", "s_hash", "events", "tctx", "rctx", "req_wl":
			p.idToken = m.name
		default:
			err = is.readOther(m, c)
		}
		if err != nil {
			return nil, err
		}
	}
	if p.scp != nil && p.scope != nil && !slices.Equal(p.scp, p.scope) {
		return nil, malformed("claims scp and scope contradict each other")
	}
	if c.Scopes = p.scp; c.Scopes == nil {
		c.Scopes = p.scope
	}
	return p, nil
}

// readOther handles the claims whose names are settings, and misspellings.
func (is *Issuer) readOther(m member, c *Claims) *Error {
	if slices.Contains(is.GroupsClaims, m.name) {
		groups, err := names(m, maxGroups)
		if err != nil {
			return err
		}
		if c.Groups == nil {
			c.Groups = groups
			return nil
		}
		for _, g := range groups {
			if !slices.Contains(c.Groups, g) {
				c.Groups = append(c.Groups, g)
			}
		}
		return nil
	}
	if m.name == is.GroupsMarker {
		if m.value != "true" && m.value != "false" {
			return malformed("claim " + quoted(m.name) + " is neither true nor false")
		}
		c.GroupsElsewhere = c.GroupsElsewhere || m.value == "true"
		return nil
	}
	f := folded(m.name)
	if f != m.name && knownClaim(f) || slices.ContainsFunc(is.GroupsClaims, func(g string) bool { return folded(g) == f }) || is.GroupsMarker != "" && folded(is.GroupsMarker) == f {
		return malformed("claim " + quoted(m.name) + " is a case variant of a known one")
	}
	c.keep(m)
	return nil
}

// name reads a claim that must be a short, printable, non-empty string.
func name(m member) (string, *Error) {
	s, ok := stringValue(m.value)
	if !ok {
		return "", malformed("claim " + m.name + " is not a string")
	}
	if !printable(s) {
		return "", malformed("claim " + m.name + " is empty, too long or has control or invisible characters")
	}
	return s, nil
}

// printable keeps line breaks, terminal escapes and invisible or direction-changing characters out of names that policies match,
// logs show and digests join by newline. Look-alike letters pass: they are other names, and nothing here folds one into another.
func printable(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	ascii := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f {
			return false
		} else if c >= 0x80 {
			ascii = false
		}
	}
	return ascii || !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}

// names reads a claim that must be an array of names; null says "none". The result is not nil.
func names(m member, limit int) ([]string, *Error) {
	if m.value == "null" {
		return []string{}, nil
	}
	if m.value[0] != '[' {
		return nil, malformed("claim " + m.name + " is not an array")
	}
	out := make([]string, 0, min(limit, strings.Count(m.value, ",")+1))
	for v := range elements(m.value) {
		s, ok := stringValue(v)
		if !ok {
			return nil, malformed("claim " + m.name + " holds something that is not a string")
		}
		if !printable(s) {
			return nil, malformed("claim " + m.name + " holds a name that is empty, too long or has control or invisible characters")
		}
		if len(out) == limit {
			return nil, malformed("claim " + m.name + " holds too many names")
		}
		out = append(out, s)
	}
	return out, nil
}

// scopeWords reads a space-separated scope string (RFC 6749 section 3.3).
func scopeWords(m member) ([]string, *Error) {
	s, ok := stringValue(m.value)
	if !ok {
		return nil, malformed("claim scope is not a string")
	}
	words := strings.Fields(s)
	if words == nil {
		words = []string{}
	}
	if len(words) > maxScopes || slices.ContainsFunc(words, func(w string) bool { return !printable(w) }) {
		return nil, malformed("claim scope holds too many words or unprintable ones")
	}
	return words, nil
}

// audience reads aud: one string, or an array of exactly one (RFC 7519 section 4.1.3 allows more; a token for several services
// can be replayed by each of them).
func audience(m member) (string, *Error) {
	if m.value[0] != '[' {
		return name(m)
	}
	var only string
	n := 0
	for v := range elements(m.value) {
		s, ok := stringValue(v)
		if !ok {
			return "", malformed("claim aud holds something that is not a string")
		}
		only = s
		n++
	}
	if n != 1 || !printable(only) {
		return "", reject(CodeAudience, "the token must be for this service alone, not for none or several")
	}
	return only, nil
}

// numericDate reads a NumericDate (RFC 7519 section 2): seconds since the epoch, perhaps with a fraction. Strings, negative
// numbers, exponents and anything above 2^53 are refused. A fraction finer than a nanosecond is cut.
func numericDate(m member) (time.Time, *Error) {
	whole, frac, _ := strings.Cut(m.value, ".")
	var sec, nsec int64
	for i := range len(whole) {
		d := whole[i]
		if d < '0' || d > '9' || i >= 16 {
			return time.Time{}, malformed("claim " + m.name + " is not a plain positive number of seconds")
		}
		sec = sec*10 + int64(d-'0')
	}
	for i := range 9 {
		nsec *= 10
		if i < len(frac) {
			nsec += int64(frac[i] - '0')
		}
	}
	if strings.ContainsAny(frac, "eE") || sec > 1<<53 {
		return time.Time{}, malformed("claim " + m.name + " is not a plain positive number of seconds")
	}
	return time.Unix(sec, nsec).UTC(), nil
}
