package devorg

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// appInput is an OpenID Connect application as POST and PUT /api/v1/apps take it.
type appInput struct {
	Name        string `json:"name"`
	Label       string `json:"label"`
	SignOnMode  string `json:"signOnMode"`
	Credentials struct {
		OAuth struct {
			ClientID string `json:"client_id"`
			Method   string `json:"token_endpoint_auth_method"`
			PKCE     bool   `json:"pkce_required"`
		} `json:"oauthClient"`
	} `json:"credentials"`
	Settings struct {
		Implicit bool `json:"implicitAssignment"`
		Notes    struct {
			Admin string `json:"admin"`
		} `json:"notes"`
		OAuth struct {
			Type          string   `json:"application_type"`
			GrantTypes    []string `json:"grant_types"`
			ResponseTypes []string `json:"response_types"`
			RedirectURIs  []string `json:"redirect_uris"`
			LogoutURIs    []string `json:"post_logout_redirect_uris"`
			Refresh       *struct {
				Rotation string `json:"rotation_type"`
				Leeway   int    `json:"leeway"`
			} `json:"refresh_token"`
			JWKS struct {
				Keys []appKey `json:"keys"`
			} `json:"jwks"`
		} `json:"oauthClient"`
	} `json:"settings"`
}

// appKey is a public key in an app's own key set.
type appKey struct {
	KID string  `json:"kid"`
	Kty string  `json:"kty"`
	E   string  `json:"e"`
	N   string  `json:"n"`
	D   *string `json:"d"`
}

// appGrants are the grant types that each type of application can have.
func appGrants(kind string) []string {
	switch kind {
	case "service":
		return []string{grantClient, grantExchange}
	case "web":
		return []string{grantCode, grantRefresh, grantClient, grantDevice, grantExchange}
	case "native":
		return []string{grantCode, grantRefresh, grantDevice, grantExchange}
	case "browser":
		return []string{grantCode, grantRefresh}
	}
	return nil
}

func (in *appInput) check() error {
	oauth, method := in.Settings.OAuth, in.Credentials.OAuth.Method
	possible := appGrants(oauth.Type)
	switch {
	case in.Name != "oidc_client" || in.SignOnMode != "OPENID_CONNECT":
		return invalid("name", "name, signOnMode: This development org has OpenID Connect applications alone: oidc_client, OPENID_CONNECT")
	case strings.TrimSpace(in.Label) == "" || len(in.Label) > 100:
		return invalid("label", "label: The field must have 1 to 100 characters")
	case possible == nil:
		return invalid("settings.oauthClient", "application_type: Must be web, native, browser or service")
	case len(oauth.GrantTypes) == 0:
		return invalid("settings.oauthClient", "grant_types: The field cannot be left blank")
	case !oneOf(method, authNone, authSecret, authPrivateKey):
		return invalid("credentials.oauthClient", "token_endpoint_auth_method: This development org has none, client_secret_basic and private_key_jwt")
	case method == authNone && (oauth.Type == "service" || oauth.Type == "web"):
		return invalid("credentials.oauthClient", "token_endpoint_auth_method: none is for native and browser applications")
	case method == authNone && !in.Credentials.OAuth.PKCE:
		return invalid("credentials.oauthClient", "pkce_required: Must be true for clients without authentication")
	case slices.Contains(oauth.GrantTypes, grantCode) && (len(oauth.RedirectURIs) == 0 || !slices.Contains(oauth.ResponseTypes, "code")):
		return invalid("settings.oauthClient", "redirect_uris, response_types: authorization_code needs at least one redirect URI, and the response type code")
	case slices.Contains(oauth.GrantTypes, grantRefresh) && !slices.Contains(oauth.GrantTypes, grantCode) && !slices.Contains(oauth.GrantTypes, grantDevice):
		return invalid("settings.oauthClient", "grant_types: refresh_token needs a grant that people use")
	case oauth.Refresh != nil && (!oneOf(oauth.Refresh.Rotation, "ROTATE", "STATIC") || oauth.Refresh.Leeway < 0 || oauth.Refresh.Leeway > 60):
		return invalid("settings.oauthClient", "refresh_token: rotation_type must be ROTATE or STATIC, leeway 0 to 60")
	}
	for _, g := range oauth.GrantTypes {
		if !slices.Contains(possible, g) {
			return invalid("settings.oauthClient", fmt.Sprintf("grant_types: %s is not possible for applications of type %s", printable(g), oauth.Type))
		}
	}
	for _, at := range slices.Concat(oauth.RedirectURIs, oauth.LogoutURIs) {
		if u, err := url.Parse(at); err != nil || u.Scheme == "" || u.Fragment != "" || strings.ContainsAny(at, " \r\n") {
			return invalid("settings.oauthClient", "redirect_uris: "+printable(at)+" is not an absolute URI")
		}
	}
	for _, k := range oauth.JWKS.Keys {
		if k.D != nil {
			return invalid("settings.oauthClient", "jwks: A private key must never be sent. Send the public part only, and make a new key: this one has been disclosed")
		}
		if _, err := parsePublic(k.E, k.N); k.Kty != "RSA" || err != nil || k.KID == "" {
			return invalid("settings.oauthClient", "jwks: Each key must be an RSA key with kid, e and n")
		}
	}
	return nil
}

// apply makes the app what the request says. An app's type stays what it was made as.
func (in *appInput) apply(a *store.App) {
	oauth := in.Settings.OAuth
	a.Label = in.Label
	s := &a.Settings
	s.Type, s.AuthMethod, s.GrantTypes, s.RedirectURIs, s.LogoutURIs = oauth.Type, in.Credentials.OAuth.Method, oauth.GrantTypes, oauth.RedirectURIs, oauth.LogoutURIs
	s.PKCERequired, s.AdminNote = in.Credentials.OAuth.PKCE, in.Settings.Notes.Admin
	s.RotateRefresh, s.LeewaySeconds = false, 0
	if oauth.Refresh != nil {
		s.RotateRefresh, s.LeewaySeconds = oauth.Refresh.Rotation == "ROTATE", oauth.Refresh.Leeway
	}
}

// createApp serves POST /api/v1/apps?activate=. Nobody may use a new app until a group is assigned to it.
func (o *Org) createApp(c *call) error {
	var in appInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	keys := in.Settings.OAuth.JWKS.Keys
	if in.Credentials.OAuth.Method == authPrivateKey && len(keys) == 0 {
		return invalid("settings.oauthClient", "jwks: private_key_jwt needs at least one key")
	}
	a := store.App{ID: newID("0oa"), Status: store.Active, Created: c.now, LastUpdated: c.now, Settings: store.AppSettings{Made: true}}
	if c.r.URL.Query().Get("activate") == "false" {
		a.Status = store.Inactive
	}
	in.apply(&a)
	secret := ""
	var out any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		if err := tx.PutApp(a); err != nil {
			return err
		}
		for _, k := range keys {
			if err := tx.PutClientKey(store.ClientKey{ID: newID("pks"), AppID: a.ID, KID: k.KID, Status: store.Active, E: k.E, N: k.N, Created: c.now, LastUpdated: c.now}); err != nil {
				return err
			}
		}
		if a.Settings.AuthMethod == authSecret {
			secret = newSecret()
			if err := tx.PutClientSecret(store.ClientSecret{ID: newID("ocs"), AppID: a.ID, Secret: secret, Status: store.Active, Created: c.now, LastUpdated: c.now}); err != nil {
				return err
			}
		}
		var err error
		if out, err = o.showAppWith(tx, a, secret); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "application.lifecycle.create", message: "Create application", actor: c.api.party, targets: []logParty{appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

// replaceApp serves PUT /api/v1/apps/{id}. Its keys are changed at …/credentials/jwks.
func (o *Org) replaceApp(c *call) error {
	var in appInput
	if err := c.body(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	var out any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if a.Settings.Type != in.Settings.OAuth.Type {
			return invalid("settings.oauthClient", "application_type: Can't be changed")
		}
		in.apply(&a)
		a.LastUpdated = c.now
		if err := tx.PutApp(a); err != nil {
			return err
		}
		if out, err = o.showAppWith(tx, a, ""); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "application.lifecycle.update", message: "Update application", actor: c.api.party, targets: []logParty{appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, out)
	return nil
}

// showAppWith is an app with its key set and, when it is made, its secret.
func (o *Org) showAppWith(tx *store.Tx, a store.App, secret string) (any, error) {
	out := o.showApp(a).(map[string]any)
	keys, err := tx.ClientKeys(a.ID)
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		set := []any{}
		for _, k := range keys {
			set = append(set, map[string]any{"kid": k.KID, "kty": "RSA", "e": k.E, "n": k.N, "status": k.Status})
		}
		out["settings"].(map[string]any)["oauthClient"].(map[string]any)["jwks"] = map[string]any{"keys": set}
	}
	if secret != "" {
		out["credentials"].(map[string]any)["oauthClient"].(map[string]any)["client_secret"] = secret
	}
	return out, nil
}

// changeApp serves POST /api/v1/apps/{id}/lifecycle/{activate,deactivate}.
func (o *Org) changeApp(c *call) error {
	step := c.r.PathValue("step")
	status, known := map[string]string{"activate": store.Active, "deactivate": store.Inactive}[step]
	if !known {
		return missing(printable(c.r.URL.Path), "this development org does not serve it")
	}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		a.Status, a.LastUpdated = status, c.now
		if err := tx.PutApp(a); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "application.lifecycle." + step, message: "Change application", actor: c.api.party, targets: []logParty{appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, struct{}{})
	return nil
}

// deleteApp serves DELETE /api/v1/apps/{id}: of an inactive app.
func (o *Org) deleteApp(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if a.Status != store.Inactive {
			return notAllowed("You do not have permission to perform the requested action") // Okta's answer for active apps
		}
		if err := tx.DeleteApp(a.ID); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "application.lifecycle.delete", message: "Delete application", actor: c.api.party, targets: []logParty{appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
