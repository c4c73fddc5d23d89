package identity

import "strings"

// Unverified is a bearer token that nobody has checked. It prints as "[token]", so that it cannot reach a log by accident: the text is
// behind a pointer, because formatters look into the unexported fields of a struct that holds one and call no method there.
type Unverified struct{ raw *string }

// ParseUnverified wraps a raw compact JWS. It checks nothing.
func ParseUnverified(raw string) Unverified { return Unverified{&raw} }

// FromAuthorization takes the token out of the values of an Authorization header (RFC 6750 section 2.1).
// Exactly one value with the scheme Bearer is accepted; anything else is a *Error with CodeTokenMissing or CodeTokenMalformed.
func FromAuthorization(values []string) (Unverified, error) {
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return Unverified{}, reject(CodeTokenMissing, "no bearer token was sent")
	}
	if len(values) > 1 {
		return Unverified{}, reject(CodeTokenMalformed, "more than one authorization value was sent")
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || raw == "" || holdsSeparator(raw) {
		return Unverified{}, reject(CodeTokenMalformed, "the authorization value is not of the form \"Bearer TOKEN\"")
	}
	return Unverified{&raw}, nil
}

// holdsSeparator is strings.ContainsAny, which is slow on something as long as a token; it runs on every call.
func holdsSeparator(raw string) bool {
	return strings.IndexByte(raw, ' ') >= 0 || strings.IndexByte(raw, ',') >= 0 || strings.IndexByte(raw, '\t') >= 0 ||
		strings.IndexByte(raw, '\r') >= 0 || strings.IndexByte(raw, '\n') >= 0
}

// String hides the token from every formatter.
func (Unverified) String() string { return "[token]" }

// GoString hides the token from %#v.
func (Unverified) GoString() string { return "[token]" }

func (t Unverified) text() string {
	if t.raw == nil {
		return ""
	}
	return *t.raw
}
