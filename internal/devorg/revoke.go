package devorg

import (
	"errors"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// revoke serves POST /oauth2/{as}/v1/revoke (RFC 7009): 200 whatever the token was, once the client is known.
// A refresh token takes its family's access tokens with it; an access token goes alone.
func (o *Org) revoke(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		app, err := o.authenticate(tx, c, form, as.endpoint("revoke"), as.endpoint("token"))
		if err != nil {
			return err
		}
		if !form.Has("token") {
			return badRequest("invalid_request", "The revocation request must specify a 'token'.")
		}
		return o.revokeToken(tx, c, as.ID, app, form.Get("token"))
	})
	if err != nil {
		return err
	}
	c.empty(200)
	return nil
}

func (o *Org) revokeToken(tx *store.Tx, c *call, as string, app store.App, raw string) error {
	e := event{kind: "app.oauth2.as.token.revoke", message: "OAuth2 token revocation request", actor: appParty(app), debug: map[string]any{"authorizationServerId": as}}
	if t, err := o.openToken(tx, as, raw); err == nil {
		row, err := tx.AccessToken(t.claim("jti"))
		if errors.Is(err, store.ErrNotFound) || err == nil && (row.ClientID != app.ID || row.Revoked) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tx.RevokeAccessToken(row.JTI); err != nil {
			return err
		}
		e.targets = []logParty{{ID: row.JTI, Type: "access_token", AlternateID: "unknown", DisplayName: "access_token"}}
		return o.record(tx, c, e)
	}
	row, family, err := findRefresh(tx, raw)
	if errors.Is(err, store.ErrNotFound) || err == nil && (family.ClientID != app.ID || family.AuthServer != as || family.Revoked) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := tx.RevokeFamily(family.ID); err != nil {
		return err
	}
	e.targets = []logParty{{ID: row.ID, Type: "refresh_token", AlternateID: "unknown", DisplayName: "refresh_token"}}
	e.session = family.SessionID
	return o.record(tx, c, e)
}
