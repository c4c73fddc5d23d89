package devorg

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxAssertion is how far ahead a client assertion may expire.
const maxAssertion = time.Hour

// clockSkew is how far a client's clock may run ahead.
const clockSkew = 60 // seconds

// assertion is a client assertion (RFC 7523 section 3) taken apart but not believed.
type assertion struct {
	*jws
	issuer, subject, id string
	audience            []string
	expires             int64 // Unix seconds
}

// parseAssertion reads a client assertion and checks everything that needs neither a key, nor a clock, nor a client.
func parseAssertion(raw string) (*assertion, error) {
	t, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	if t.typ != "" && t.typ != "JWT" && t.typ != "client-authentication+jwt" {
		return nil, errors.New("its 'typ' is not JWT")
	}
	a := &assertion{jws: t, issuer: t.claim("iss"), subject: t.claim("sub"), id: t.claim("jti")}
	if a.issuer == "" || a.subject != a.issuer {
		return nil, errors.New("'iss' and 'sub' must both be the client id")
	}
	if _, present := t.claims["jti"]; present && a.id == "" || len(a.id) > 512 {
		return nil, errors.New("'jti' must be a string of 1 to 512 bytes")
	}
	if one, err := text(t.claims["aud"]); err == nil {
		a.audience = []string{one}
	} else if json.Unmarshal(t.claims["aud"], &a.audience) != nil || len(a.audience) != 1 {
		return nil, errors.New("'aud' must be one string")
	}
	var ok bool
	if a.expires, ok = t.seconds("exp"); !ok {
		return nil, errors.New("'exp' must be a number")
	}
	for _, name := range []string{"iat", "nbf"} {
		if _, present := t.claims[name]; present {
			if _, ok := t.seconds(name); !ok {
				return nil, errors.New("'" + name + "' must be a number")
			}
		}
	}
	return a, nil
}

// check compares the claims with the time and with the addresses that the request may be meant for.
func (a *assertion) check(now time.Time, audiences ...string) error {
	if !slices.Contains(audiences, a.audience[0]) {
		return errors.New("the audience claim for client_assertion must be the endpoint invoked for the request")
	}
	if a.expires <= now.Unix() {
		return errors.New("the client_assertion token is expired")
	}
	if a.expires > now.Add(maxAssertion).Unix() {
		return errors.New("the client_assertion token has an expiration too far into the future")
	}
	for _, name := range []string{"iat", "nbf"} {
		if at, ok := a.seconds(name); ok && at > now.Unix()+clockSkew {
			return errors.New("the client_assertion token is not valid yet")
		}
	}
	return nil
}
