package devorg

import (
	"net/http"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// oktaScopes are the management API's scopes that the org server can grant.
var oktaScopes = []string{
	"okta.appGrants.manage", "okta.appGrants.read", "okta.apps.manage", "okta.apps.read", "okta.authorizationServers.manage", "okta.authorizationServers.read",
	"okta.eventHooks.manage", "okta.eventHooks.read", "okta.groups.manage", "okta.groups.read", "okta.logs.read", "okta.roles.manage", "okta.roles.read", "okta.users.manage", "okta.users.read",
	"ssf.manage", "ssf.read",
}

// orgTokenLifetime is the fixed lifetime of the org server's access tokens.
const orgTokenLifetime = time.Hour

// orgClaims is an access token of the org server. It is for the management API alone; its signing key is not published.
type orgClaims struct {
	Ver int      `json:"ver"`
	JTI string   `json:"jti"`
	Iss string   `json:"iss"`
	Aud string   `json:"aud"`
	Iat int64    `json:"iat"`
	Exp int64    `json:"exp"`
	CID string   `json:"cid"`
	SCP []string `json:"scp"`
	Sub string   `json:"sub"`
}

// orgToken serves POST /oauth2/v1/token: client_credentials with private_key_jwt for okta.* scopes, nothing else.
func (o *Org) orgToken(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	var reply tokenReply
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		app, err := o.authenticate(tx, c, form, o.base.String()+"/oauth2/v1/token")
		if err == nil {
			switch {
			case form.Get("grant_type") != grantClient:
				err = badRequest("unsupported_grant_type", "The org authorization server of this development org supports client_credentials only.")
			case !app.Settings.OrgServer && !app.Settings.Made || app.Settings.AuthMethod != authPrivateKey:
				err = badRequest("unauthorized_client", "This client may not ask the org authorization server for tokens.")
			default:
				reply, err = o.issueOrgToken(tx, c, app, form.Get("scope"))
			}
		}
		return o.recordRefusal(tx, c, orgPrivate, app, form, err)
	})
	if err != nil {
		return err
	}
	c.json(200, reply)
	return nil
}

func (o *Org) issueOrgToken(tx *store.Tx, c *call, app store.App, raw string) (tokenReply, error) {
	scopes := splitScopes(raw)
	if len(scopes) == 0 {
		return tokenReply{}, badRequest("invalid_scope", "The 'scope' must be provided.")
	}
	grants, err := tx.AppGrants(app.ID)
	if err != nil {
		return tokenReply{}, err
	}
	for _, s := range scopes {
		if !slices.ContainsFunc(grants, func(g store.AppGrant) bool { return g.Scope == s }) {
			return tokenReply{}, badRequest("consent_required", "You are not allowed any of the requested scopes.")
		}
	}
	key, err := o.activeKey(tx, c, orgPrivate)
	if err != nil {
		return tokenReply{}, err
	}
	issuer := o.base.String()
	claims := orgClaims{Ver: 1, JTI: "AT." + newSecret(), Iss: issuer, Aud: issuer, Iat: c.now.Unix(), Exp: c.now.Add(orgTokenLifetime).Unix(), CID: app.ID, SCP: scopes, Sub: app.ID}
	raw, err = key.sign(claims)
	if err != nil {
		return tokenReply{}, err
	}
	if err := tx.AddAccessToken(store.AccessToken{JTI: claims.JTI, AuthServer: orgPrivate, ClientID: app.ID, Issued: c.now, Expires: c.now.Add(orgTokenLifetime)}); err != nil {
		return tokenReply{}, err
	}
	err = o.record(tx, c, event{
		kind: "app.oauth2.token.grant.access_token", message: "OIDC access token is granted", actor: appParty(app),
		targets: []logParty{{ID: claims.JTI, Type: "access_token", AlternateID: "unknown", DisplayName: "access_token"}},
		debug:   map[string]any{"grantedScopes": joinScopes(scopes)},
	})
	return tokenReply{TokenType: "Bearer", ExpiresIn: int(orgTokenLifetime / time.Second), AccessToken: raw, Scope: joinScopes(scopes)}, err
}

// orgIntrospect serves POST /oauth2/v1/introspect.
func (o *Org) orgIntrospect(c *call) error {
	answer := inactive
	err := o.orgTokenCall(c, "introspect", func(tx *store.Tx, app store.App, raw string) error {
		if t, row, err := o.liveOrgToken(tx, c, raw); err == nil && row.ClientID == app.ID {
			answer = describeAccess(t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, answer)
	return nil
}

// orgRevoke serves POST /oauth2/v1/revoke.
func (o *Org) orgRevoke(c *call) error {
	err := o.orgTokenCall(c, "revoke", func(tx *store.Tx, app store.App, raw string) error {
		return o.revokeToken(tx, c, orgPrivate, app, raw)
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusOK)
	return nil
}

// orgTokenCall authenticates the client of a request about a token and hands both to serve.
func (o *Org) orgTokenCall(c *call, endpoint string, serve func(*store.Tx, store.App, string) error) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	return o.update(c.r.Context(), func(tx *store.Tx) error {
		base := o.base.String() + "/oauth2/v1/"
		app, err := o.authenticate(tx, c, form, base+endpoint, base+"token")
		if err != nil {
			return err
		}
		if !form.Has("token") {
			return badRequest("invalid_request", "The request must specify a 'token'.")
		}
		return serve(tx, app, form.Get("token"))
	})
}

// liveOrgToken checks an org access token completely.
func (o *Org) liveOrgToken(tx *store.Tx, c *call, raw string) (*jws, store.AccessToken, error) {
	t, err := o.openToken(tx, orgPrivate, raw)
	if err != nil {
		return nil, store.AccessToken{}, err
	}
	row, err := tx.AccessToken(t.claim("jti"))
	if err != nil {
		return nil, row, err
	}
	if row.Revoked || row.AuthServer != orgPrivate || !c.now.Before(row.Expires) {
		return nil, row, store.ErrNotFound
	}
	return t, row, nil
}
