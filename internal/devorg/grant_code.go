package devorg

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// codeLifetime is how long an authorization code can be redeemed.
const codeLifetime = 300 * time.Second

var errCode = badRequest("invalid_grant", "The authorization code is invalid or has expired.")

// grantCode redeems an authorization code (RFC 6749 section 4.1.3) with its PKCE verifier (RFC 7636 section 4.5).
func (o *Org) grantCode(tx *store.Tx, g *grant) (tokenReply, error) {
	hash := digest(g.form.Get("code"))
	code, err := tx.Code(hash)
	if errors.Is(err, store.ErrNotFound) {
		return tokenReply{}, errCode
	}
	if err != nil {
		return tokenReply{}, err
	}
	family, err := tx.Family(code.FamilyID)
	if err != nil {
		return tokenReply{}, err
	}
	if family.ClientID != g.app.ID || family.AuthServer != g.as.ID {
		return tokenReply{}, errCode
	}
	if code.Used {
		// RFC 6749 section 4.1.2: a code that comes twice may have been stolen; what it gave is taken back.
		if err := tx.RevokeFamily(family.ID); err != nil {
			return tokenReply{}, err
		}
		return tokenReply{}, errCode
	}
	if !g.now.Before(code.Expires) || family.Revoked {
		return tokenReply{}, errCode
	}
	if g.form.Get("redirect_uri") != code.RedirectURI {
		return tokenReply{}, badRequest("invalid_grant", "The 'redirect_uri' does not match the redirection URI used in the authorization request.")
	}
	if !pkceMatches(code.Challenge, g.form.Get("code_verifier")) {
		return tokenReply{}, badRequest("invalid_grant", "PKCE verification failed.")
	}
	user, err := o.liveUser(tx, family.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return tokenReply{}, badRequest("invalid_grant", "The user is not active.")
	}
	if err != nil {
		return tokenReply{}, err
	}
	if err := tx.UseCode(hash); err != nil {
		return tokenReply{}, err
	}
	return o.issueWithRefresh(tx, g, issue{as: g.as, app: g.app, kind: grantCode, user: user, family: &family, scopes: family.Scopes})
}

// issueWithRefresh issues tokens and, where offline_access was granted, the family's first refresh token.
func (o *Org) issueWithRefresh(tx *store.Tx, g *grant, in issue) (tokenReply, error) {
	reply, err := o.issueTokens(tx, g.call, in)
	if err != nil || !slices.Contains(in.scopes, "offline_access") {
		return reply, err
	}
	reply.RefreshToken, err = o.addRefresh(tx, g, in)
	return reply, err
}

// pkceMatches compares a verifier with an S256 challenge. No challenge means that no verifier may be sent: one that comes
// all the same belongs to another request.
func pkceMatches(challenge, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	if !validVerifier(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(b64.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// validVerifier checks RFC 7636 section 4.1: 43 to 128 unreserved characters.
func validVerifier(v string) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for _, r := range v {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_', r == '~':
		default:
			return false
		}
	}
	return true
}
