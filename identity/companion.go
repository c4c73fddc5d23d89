package identity

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Companion is what a verified ID token says of the login behind an access token, beside which it was sent. Okta's access tokens carry no
// amr; the ID tokens that it hands out with them do. The zero value says nothing.
type Companion struct {
	AMR      []string  // how the person authenticated (RFC 8176), such as "pwd", "mfa"; shared by every call with this token: must not be changed
	ACR      string    // how strongly; empty when the token does not say
	AuthTime time.Time // when; zero when the token does not say
}

// maxAMR bounds the methods in a token.
const maxAMR = 32

// idToken is an ID token (OpenID Connect Core section 2) that has been verified once.
type idToken struct {
	companion Companion
	issuer    string
	subject   string
	uid       string
	audience  string // the client that it was made for
	azp       string
	session   string
	issued    time.Time
	expires   time.Time
	latest    time.Time // of iat, nbf and auth_time
	from      *trusted
	key       *key
}

// VerifyCompanion verifies an ID token that was sent beside an access token, which must be of a person: it must be from the same issuer and
// signed by its keys, for the same client, about the same person and the same login, and be nothing but an ID token. Any other is refused with
// CodeIDToken, or CodeKeysUnavailable. An ID token that has expired adds nothing and refuses nothing: access tokens may live longer, and
// clients go on sending it.
//
// at_hash is not compared, because clients refresh access tokens under the same ID token. An ID token is never taken for an access token, nor
// the other way round: they are read and remembered apart.
func (v *Verifier) VerifyCompanion(ctx context.Context, access Identity, t Unverified) (Companion, error) {
	if !access.Valid() {
		return Companion{}, reject(CodeTokenMissing, "no access token was verified before the ID token")
	}
	raw, c := t.text(), access.Claims()
	if c.Kind != User {
		return Companion{}, wrongCompanion(reject(CodeSubject, "the access token is not a person's"))
	}
	id, err := v.recallID(raw)
	if err == nil && id == nil {
		id, err = v.examineID(ctx, raw, c)
		if err == nil && id != nil {
			v.companions.Set(raw, id)
		}
	}
	if err == nil && id != nil {
		err = id.belongsTo(c)
	}
	if err != nil {
		return Companion{}, wrongCompanion(err)
	}
	if id == nil { // expired
		return Companion{}, nil
	}
	return id.companion, nil
}

// wrongCompanion gives every refusal one code; its text says more.
func wrongCompanion(err *Error) *Error {
	if err.Code == CodeKeysUnavailable {
		return err
	}
	return &Error{Code: CodeIDToken, Detail: "the ID token sent beside the access token is not accepted: " + err.Detail, Cause: err.Cause}
}

// recallID looks for the whole token in the cache and checks again what time and the issuer can change.
func (v *Verifier) recallID(raw string) (*idToken, *Error) {
	if len(raw) > maxToken {
		return nil, nil // examineID says why
	}
	id, found := v.companions.GetIfPresent(raw)
	if !found {
		return nil, nil
	}
	now := v.cfg.Clock()
	set := id.from.keys.fresh(now)
	if !now.Before(id.expires) || set == nil || set.byID[id.key.id] != id.key || id.latest.Sub(now) > v.cfg.Skew {
		v.companions.Invalidate(raw)
		return nil, nil
	}
	return id, nil
}

// examineID is the whole way for an ID token. nil without an error means that it has expired.
func (v *Verifier) examineID(ctx context.Context, raw string, access *Claims) (*idToken, *Error) {
	parts, err := split(raw)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(parts.header)
	if err != nil {
		return nil, err
	}
	text, ok := decode(parts.payload)
	if !ok {
		return nil, malformed("its payload is not strict base64url")
	}
	members, bad := parseObject(string(text), nil)
	if bad != nil {
		return nil, malformed("its payload is malformed: " + bad.Error())
	}
	id, err := readID(members)
	if err != nil {
		return nil, err
	}
	id.from = v.issuers[id.issuer]
	switch typ := folded(h.typ); {
	case id.from == nil || id.issuer != access.Issuer:
		return nil, reject(CodeIssuer, "it is not from the access token's issuer")
	case !slices.Contains(id.from.Algorithms, h.alg):
		return nil, reject(CodeAlgorithm, "algorithm "+quoted(h.alg)+" is not accepted from this issuer")
	case typ != "" && typ != "jwt":
		return nil, reject(CodeTokenType, "a token of type "+quoted(h.typ)+" is not an ID token")
	case h.kid == "":
		return nil, reject(CodeKeyUnknown, "it names no key (kid)")
	}
	if err := id.belongsTo(access); err != nil {
		return nil, err
	}
	now := v.cfg.Clock()
	if err := id.times(now, v.cfg.Skew, id.from.MaxLifetime); err != nil {
		return nil, err
	}
	if !now.Before(id.expires) {
		return nil, nil
	}
	if id.key, err = id.from.keys.find(ctx, h.kid); err != nil {
		return nil, err
	}
	if err := verifySignature(id.key, h.alg, parts); err != nil {
		return nil, err
	}
	return id, nil
}

// readID reads the claims of an ID token. Those that only other kinds of token have give such a token away, whatever else it says.
func readID(members []member) (*idToken, *Error) {
	id := &idToken{}
	var notBefore time.Time
	var err *Error
	for _, m := range members {
		switch m.name {
		case "iss":
			id.issuer, err = name(m)
		case "aud":
			id.audience, err = audience(m)
		case "azp":
			id.azp, err = name(m)
		case "sub":
			id.subject, err = name(m)
		case "uid":
			id.uid, err = name(m)
		case "sid":
			id.session, err = name(m)
		case "jti":
			var jti string
			if jti, err = name(m); err == nil && strings.HasPrefix(jti, "AT.") {
				err = reject(CodeTokenType, "it is an access token")
			}
		case "exp":
			id.expires, err = numericDate(m)
		case "iat":
			id.issued, err = numericDate(m)
		case "nbf":
			notBefore, err = numericDate(m)
		case "auth_time":
			id.companion.AuthTime, err = numericDate(m)
		case "acr":
			id.companion.ACR, err = name(m)
		case "amr":
			id.companion.AMR, err = names(m, maxAMR)
		case "cid", "client_id", "scp", "scope", "act", "cnf", "events", "tctx", "rctx", "req_wl":
			err = reject(CodeTokenType, "claim "+m.name+" belongs to another kind of token")
		default:
			switch f := folded(m.name); f {
			case m.name:
			case "azp":
				err = malformed("claim " + quoted(m.name) + " is a case variant of a known one")
			default:
				if knownClaim(f) {
					err = malformed("claim " + quoted(m.name) + " is a case variant of a known one")
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	id.latest = latest(id.issued, notBefore, id.companion.AuthTime)
	return id, nil
}

// belongsTo checks that the ID token is of the access token's issuer, client, person and login. It is asked on every use: two access tokens may
// come with the same ID token.
func (id *idToken) belongsTo(c *Claims) *Error {
	switch {
	case id.issuer != c.Issuer:
		return reject(CodeIssuer, "it is not from the access token's issuer")
	case id.audience == "" || id.audience != c.ClientID || id.azp != "" && id.azp != c.ClientID:
		return reject(CodeAudience, "it was made for another client than the access token")
	case id.subject == "" || id.subject != c.ID || id.uid != "" && id.uid != c.ID:
		return reject(CodeSubject, "it is not about the person of the access token")
	case id.session != "" && c.SessionID != "" && id.session != c.SessionID:
		return reject(CodeSubject, "it is from another session than the access token")
	case !id.companion.AuthTime.IsZero() && !c.AuthTime.IsZero() && !id.companion.AuthTime.Equal(c.AuthTime):
		// Else the methods of one login would lend their strength to another.
		return reject(CodeSubject, "it is from another login than the access token: log in again")
	}
	return nil
}

// times checks iat, nbf and auth_time with skew, and the lifetime; exp is the caller's to look at.
func (id *idToken) times(now time.Time, skew, longest time.Duration) *Error {
	switch {
	case id.expires.IsZero() || id.issued.IsZero():
		return malformed("claim exp or iat is missing")
	case id.latest.Sub(now) > skew:
		return reject(CodeNotYetValid, "it is not valid yet: check the clocks")
	case id.expires.Before(id.issued) || id.expires.Sub(id.issued) > longest:
		return reject(CodeLifetime, "it lives for "+id.expires.Sub(id.issued).String()+"; at most "+longest.String()+" is accepted")
	}
	return nil
}
