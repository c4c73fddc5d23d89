package devorg

import (
	"errors"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

var errRefresh = badRequest("invalid_grant", "The refresh token is invalid or expired.")

// addRefresh adds a generation to the family's refresh tokens.
func (o *Org) addRefresh(tx *store.Tx, g *grant, in issue) (string, error) {
	rule, err := o.ruleFor(tx, in.as, in.app, in.user, in.kind, in.scopes)
	if err != nil {
		return "", err
	}
	token := newSecret()
	row := store.RefreshToken{
		Hash: digest(token), ID: newID("oar"), FamilyID: in.family.ID, Created: g.now,
		Expires: g.now.Add(rule.refreshWindow()),
	}
	if err := tx.AddRefreshToken(row); err != nil {
		return "", err
	}
	return token, o.recordGrant(tx, g.call, in, "refresh_token", row.ID)
}

// grantRefresh serves RFC 6749 section 6 with Okta's rotation: a used refresh token works for the client's leeway longer;
// after that its reuse kills the family and its access tokens.
func (o *Org) grantRefresh(tx *store.Tx, g *grant) (tokenReply, error) {
	hash := digest(g.form.Get("refresh_token"))
	row, err := tx.RefreshToken(hash)
	if errors.Is(err, store.ErrNotFound) {
		return tokenReply{}, errRefresh
	}
	if err != nil {
		return tokenReply{}, err
	}
	family, err := tx.Family(row.FamilyID)
	if err != nil {
		return tokenReply{}, err
	}
	if family.ClientID != g.app.ID || family.AuthServer != g.as.ID || family.Revoked {
		return tokenReply{}, errRefresh
	}
	leeway := time.Duration(g.app.Settings.LeewaySeconds) * time.Second
	if !row.Rotated.IsZero() && g.now.After(row.Rotated.Add(leeway)) {
		return tokenReply{}, o.killReused(tx, g, family, row)
	}
	if !g.now.Before(row.Expires) {
		return tokenReply{}, errRefresh
	}
	user, err := o.liveUser(tx, family.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return tokenReply{}, errRefresh
	}
	if err != nil {
		return tokenReply{}, err
	}
	scopes := family.Scopes
	if asked := splitScopes(g.form.Get("scope")); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(family.Scopes, s) {
				return tokenReply{}, badRequest("invalid_scope", "The requested scope is more than what was granted.")
			}
		}
		scopes = asked
	}

	in := issue{as: g.as, app: g.app, kind: grantRefresh, user: user, family: &family, scopes: scopes}
	reply, err := o.issueTokens(tx, g.call, in)
	if err != nil {
		return tokenReply{}, err
	}
	if !g.app.Settings.RotateRefresh {
		rule, err := o.ruleFor(tx, in.as, in.app, in.user, in.kind, in.scopes)
		if err != nil {
			return reply, err
		}
		reply.RefreshToken = g.form.Get("refresh_token")
		return reply, tx.ExtendRefreshToken(hash, g.now.Add(rule.refreshWindow()))
	}
	if row.Rotated.IsZero() {
		if err := tx.MarkRotated(hash, g.now); err != nil {
			return tokenReply{}, err
		}
	}
	reply.RefreshToken, err = o.addRefresh(tx, g, in)
	return reply, err
}

// killReused answers a refresh token that was rotated before: a thief and the owner cannot both be right.
func (o *Org) killReused(tx *store.Tx, g *grant, family store.Family, row store.RefreshToken) error {
	if err := tx.RevokeFamily(family.ID); err != nil {
		return err
	}
	e := event{
		kind: "app.oauth2.as.token.detect_reuse", message: "Detected reuse of one time refresh token", failure: "token_reuse", actor: appParty(g.app),
		targets: []logParty{{ID: row.ID, Type: "refresh_token", AlternateID: "unknown", DisplayName: "refresh_token"}}, session: family.SessionID,
	}
	user, err := tx.User(family.UserID)
	if err == nil {
		e.targets = append(e.targets, userParty(user))
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := o.record(tx, g.call, e); err != nil {
		return err
	}
	return errRefresh
}
