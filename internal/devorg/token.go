package devorg

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// grant is one request to a token endpoint, its client known.
type grant struct {
	*call
	as   server
	app  store.App
	form url.Values
}

// token serves POST /oauth2/{as}/v1/token.
func (o *Org) token(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	var reply tokenReply
	err = o.update(c.r.Context(), func(tx *store.Tx) error {
		as, err := o.server(tx, c.r.PathValue("as"))
		if err != nil {
			return err
		}
		app, err := o.authenticate(tx, c, form, as.endpoint("token"))
		if err == nil {
			reply, err = o.grant(tx, &grant{c, as, app, form})
		}
		return o.recordRefusal(tx, c, as.ID, app, form, err)
	})
	if err != nil {
		return err
	}
	c.json(200, reply)
	return nil
}

// grant dispatches on the grant type.
func (o *Org) grant(tx *store.Tx, g *grant) (tokenReply, error) {
	kind := g.form.Get("grant_type")
	grants := map[string]func(*store.Tx, *grant) (tokenReply, error){
		grantCode:     o.grantCode,
		grantRefresh:  o.grantRefresh,
		grantClient:   o.grantClient,
		grantDevice:   o.grantDevice,
		grantExchange: o.grantExchange,
	}
	serve, known := grants[kind]
	switch {
	case kind == "":
		return tokenReply{}, badRequest("invalid_request", "The token request must specify a 'grant_type'.")
	case !known:
		return tokenReply{}, badRequest("unsupported_grant_type", "The authorization grant type is not supported by the authorization server. Configured grant types: [%s].",
			strings.Join([]string{grantCode, grantRefresh, grantClient, grantDevice, grantExchange}, ", "))
	case !slices.Contains(g.app.Settings.GrantTypes, kind):
		return tokenReply{}, badRequest("unauthorized_client", "The client is not authorized to use the provided grant type. Configured grant types: [%s].",
			strings.Join(g.app.Settings.GrantTypes, ", "))
	case g.app.Settings.OrgServer:
		return tokenReply{}, badRequest("unauthorized_client", "This client is registered for the org authorization server only.")
	}
	return serve(tx, g)
}

// grantClient serves client credentials (RFC 6749 section 4.4): `sub` is the client, there is no `uid`.
func (o *Org) grantClient(tx *store.Tx, g *grant) (tokenReply, error) {
	if g.app.Settings.AuthMethod == authNone {
		return tokenReply{}, badRequest("unauthorized_client", "A public client cannot use client credentials.")
	}
	scopes, err := g.as.clientScopes(g.form.Get("scope"))
	if err != nil {
		return tokenReply{}, err
	}
	return o.issueTokens(tx, g.call, issue{as: g.as, app: g.app, kind: grantClient, scopes: scopes})
}

// recordRefusal logs a refused token request and hands the error on. Polling that is merely early is not worth an event.
func (o *Org) recordRefusal(tx *store.Tx, c *call, as string, app store.App, form url.Values, err error) error {
	var refused *oauthError
	if !errors.As(err, &refused) || refused.Code == "authorization_pending" || refused.Code == "slow_down" {
		return err
	}
	if app.ID == "" {
		app = store.App{ID: printable(form.Get("client_id")), Label: "unknown client"}
	}
	kind := "app.oauth2.as.token.grant"
	if as == orgPrivate {
		kind = "app.oauth2.token.grant"
	}
	if logErr := o.record(tx, c, event{
		kind: kind, message: "OAuth2 token request", failure: refused.Code, actor: appParty(app),
		debug: map[string]any{"authorizationServerId": as, "grantType": printable(form.Get("grant_type")), "description": refused.Description},
	}); logErr != nil {
		return logErr
	}
	return err
}
