package identity

import (
	"slices"
	"strings"
	"time"
)

// judge applies the issuer's settings and the clock to what a token says, and settles whom it speaks for.
// The claims it returns are worth nothing until the signature has been checked.
func (is *Issuer) judge(p *payload, now time.Time, skew time.Duration) *Error {
	if p.idToken != "" {
		return reject(CodeTokenType, "claim "+p.idToken+" belongs to an ID token, a security event or a transaction token: send the access token")
	}
	if strings.HasPrefix(p.claims.TokenID, "ID.") {
		return reject(CodeTokenType, "this is an ID token: send the access token")
	}
	if p.claims.Audience == "" || !slices.Contains(is.Audiences, p.claims.Audience) {
		return reject(CodeAudience, "the token is for audience "+quoted(p.claims.Audience)+", not for this service")
	}
	if err := p.settle(); err != nil {
		return err
	}
	if is.Groups == GroupsLookup && p.claims.Kind == User {
		p.claims.GroupsElsewhere = true
	}
	if len(is.ClientIDs) > 0 && !slices.Contains(is.ClientIDs, p.claims.ClientID) {
		return reject(CodeClient, "client "+quoted(p.claims.ClientID)+" may not be used with this service")
	}
	if p.bound {
		return reject(CodeBinding, "the token is bound to a key (cnf) and proofs of possession are not supported: ask for a bearer token")
	}
	return is.times(p, now, skew)
}

// settle decides whom the token speaks for (Okta: uid is there exactly when a user is; without one, sub is the client itself).
func (p *payload) settle() *Error {
	c := &p.claims
	switch {
	case p.sub == "":
		return reject(CodeSubject, "the token has no sub")
	case p.cid == "":
		return reject(CodeSubject, "the token has no cid")
	case reservedName(p.sub) || reservedName(p.uid) || reservedName(p.cid):
		return reject(CodeSubject, "principal type \"temporal\" is reserved")
	}
	c.Login, c.ClientID = p.sub, p.cid
	switch {
	case p.uid != "":
		if p.uid == p.cid || p.sub == p.cid {
			return reject(CodeSubject, "the token claims to be a user and its client at once")
		}
		if p.subProfile != "" && p.subProfile != "user" {
			return reject(CodeSubject, "the token has a uid but sub_profile "+quoted(p.subProfile))
		}
		c.Kind, c.ID = User, p.uid
	case p.sub == p.cid:
		if p.subProfile == "user" {
			return reject(CodeSubject, "the token claims to be a user but has no uid")
		}
		c.Kind, c.ID = Client, p.cid
	case p.subProfile == "user" && strings.HasPrefix(p.sub, "00u"):
		// Okta's agent tokens name the user's id in sub and have no uid.
		c.Kind, c.ID = User, p.sub
	default:
		return reject(CodeSubject, "the token has no uid, and its sub is not its client")
	}
	// Whoever acts for another is not that other: a chain that leads back to its start is no delegation.
	if slices.ContainsFunc(c.Actors, func(a Actor) bool { return a.Subject == c.ID || a.Subject == c.Login }) {
		return reject(CodeSubject, "the delegation chain names the subject as its own actor")
	}
	return nil
}

func reservedName(s string) bool { return strings.HasPrefix(folded(s), reservedType+":") }

// times checks exp without leeway, and iat, nbf and auth_time with skew.
func (is *Issuer) times(p *payload, now time.Time, skew time.Duration) *Error {
	c := &p.claims
	switch {
	case c.Expires.IsZero():
		return malformed("claim exp is missing: tokens must expire")
	case c.IssuedAt.IsZero():
		return malformed("claim iat is missing: the token's lifetime cannot be told")
	case !now.Before(c.Expires):
		return expired(c.Expires, now)
	case c.IssuedAt.Sub(now) > skew || p.notBefore.Sub(now) > skew || c.AuthTime.Sub(now) > skew:
		return reject(CodeNotYetValid, "the token is not valid yet: its iat, nbf or auth_time lies ahead of this service's clock; check both clocks")
	case c.Expires.Sub(c.IssuedAt) > is.MaxLifetime || c.Expires.Before(c.IssuedAt):
		return reject(CodeLifetime, "the token lives for "+c.Expires.Sub(c.IssuedAt).String()+"; at most "+is.MaxLifetime.String()+" is accepted")
	case p.notBefore.After(c.Expires):
		return reject(CodeLifetime, "the token expires before it is valid")
	}
	return nil
}

func expired(exp, now time.Time) *Error {
	return reject(CodeExpired, "the token expired at "+exp.Format(time.RFC3339)+" ("+now.Sub(exp).Round(time.Second).String()+
		" ago); log in again (run: bailiwick login)")
}
