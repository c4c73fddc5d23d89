package devorg

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// showApp is Okta's OpenID Connect Application object.
func (o *Org) showApp(a store.App) any {
	s := a.Settings
	rotation := "STATIC"
	if s.RotateRefresh {
		rotation = "ROTATE"
	}
	responses := []string{"token"}
	if slices.Contains(s.GrantTypes, grantCode) {
		responses = []string{"code"}
	}
	var notes any
	if s.AdminNote != "" {
		notes = map[string]any{"admin": s.AdminNote, "enduser": nil}
	}
	return map[string]any{
		"id": a.ID, "name": "oidc_client", "label": a.Label, "status": a.Status, "created": stamp(a.Created), "lastUpdated": stamp(a.LastUpdated), "signOnMode": "OPENID_CONNECT",
		"credentials": map[string]any{"oauthClient": map[string]any{
			"client_id": a.ID, "token_endpoint_auth_method": s.AuthMethod, "pkce_required": s.PKCERequired, "autoKeyRotation": true,
		}},
		"settings": map[string]any{"implicitAssignment": !s.Made, "notes": notes, "oauthClient": map[string]any{
			"application_type": s.Type, "grant_types": s.GrantTypes, "response_types": responses, "redirect_uris": s.RedirectURIs, "post_logout_redirect_uris": s.LogoutURIs,
			"consent_method": "TRUSTED", "issuer_mode": "ORG_URL", "refresh_token": map[string]any{"rotation_type": rotation, "leeway": s.LeewaySeconds},
		}},
		"_links": map[string]any{"self": map[string]any{"href": o.base.String() + "/api/v1/apps/" + a.ID}},
	}
}

// listApps serves GET /api/v1/apps with q (the start of the label).
func (o *Org) listApps(c *call) error {
	p, err := c.paging(20, 200)
	if err != nil {
		return err
	}
	var apps []store.App
	if err := o.view(c.r.Context(), func(tx *store.Tx) (err error) { apps, err = tx.Apps(p.after); return err }); err != nil {
		return err
	}
	start := strings.ToLower(c.r.URL.Query().Get("q"))
	keep := func(a store.App) bool { return strings.HasPrefix(strings.ToLower(a.Label), start) }
	c.json(http.StatusOK, pageOf(c, p, apps, func(a store.App) string { return a.ID }, keep, o.showApp))
	return nil
}

// getApp serves GET /api/v1/apps/{id}.
func (o *Org) getApp(c *call) error {
	var out any
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err == nil {
			out, err = o.showAppWith(tx, a, "")
		}
		return err
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

func pathApp(tx *store.Tx, c *call) (store.App, error) {
	a, err := tx.App(c.r.PathValue("app"))
	return a, orMissing(err, printable(c.r.PathValue("app")), "AppInstance")
}

func (o *Org) showGrant(g store.AppGrant) any {
	return map[string]any{
		"id": g.ID, "status": store.Active, "created": stamp(g.Created), "lastUpdated": stamp(g.Created), "issuer": g.Issuer, "scopeId": g.Scope, "clientId": g.AppID, "source": "ADMIN",
	}
}

// listGrants serves GET /api/v1/apps/{id}/grants: the okta.* scopes that the app may ask the org server for.
func (o *Org) listGrants(c *call) error {
	var grants []store.AppGrant
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err == nil {
			grants, err = tx.AppGrants(a.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	out := []any{}
	for _, g := range grants {
		out = append(out, o.showGrant(g))
	}
	c.json(http.StatusOK, out)
	return nil
}

// addGrant serves POST /api/v1/apps/{id}/grants.
func (o *Org) addGrant(c *call) error {
	var in struct {
		Scope  string `json:"scopeId"`
		Issuer string `json:"issuer"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if !slices.Contains(oktaScopes, in.Scope) {
		return invalid("scopeId", "scopeId: Invalid scope")
	}
	if in.Issuer != o.base.String() {
		return invalid("issuer", "issuer: must be "+o.base.String())
	}
	g := store.AppGrant{ID: newID("oag"), AppID: c.r.PathValue("app"), Scope: in.Scope, Issuer: in.Issuer, Created: c.now}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		err = tx.AddAppGrant(g)
		if errors.Is(err, store.ErrExists) {
			return invalid("scopeId", "scopeId: The scope is already granted")
		}
		if err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "app.oauth2.consent.grant", message: "Grant scope to app", actor: c.api.party, targets: []logParty{appParty(a)}, debug: map[string]any{"scope": g.Scope}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusCreated, o.showGrant(g))
	return nil
}

// deleteGrant serves DELETE /api/v1/apps/{id}/grants/{grantId}.
func (o *Org) deleteGrant(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if err := tx.DeleteAppGrant(a.ID, c.r.PathValue("grant")); err != nil {
			return orMissing(err, printable(c.r.PathValue("grant")), "OAuth2ScopeConsentGrant")
		}
		return o.record(tx, c, event{kind: "app.oauth2.consent.revoke", message: "Revoke scope from app", actor: c.api.party, targets: []logParty{appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
