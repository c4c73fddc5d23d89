package store

import (
	"encoding/json"
	"time"
)

// App statuses, also those of client keys and secrets. "ACTIVE" is shared with users.
const Inactive = "INACTIVE"

// App is an OAuth client.
type App struct {
	ID, Label, Status string
	Settings          AppSettings

	Created, LastUpdated time.Time
}

// AppSettings is what an app's registration says about its OAuth behaviour.
type AppSettings struct {
	Type          string   `json:"application_type"`                    // native, web, service
	AuthMethod    string   `json:"token_endpoint_auth_method"`          // none, client_secret_basic, private_key_jwt
	GrantTypes    []string `json:"grant_types"`                         // as on the wire
	RedirectURIs  []string `json:"redirect_uris,omitempty"`             // matched exactly
	LogoutURIs    []string `json:"post_logout_redirect_uris,omitempty"` // matched exactly
	RotateRefresh bool     `json:"rotate_refresh"`                      // true: rotation_type ROTATE, false: STATIC
	LeewaySeconds int      `json:"leeway"`                              // 0..60, how long a rotated refresh token still works
	PKCERequired  bool     `json:"pkce_required"`                       // public clients always need it
	Agent         bool     `json:"agent"`                               // an AI agent: token exchange with an actor_token emits act
	OrgServer     bool     `json:"org_server"`                          // may use the org authorization server
	AdminNote     string   `json:"admin_note,omitempty"`
	Made          bool     `json:"made,omitempty"` // through the API: people need to be assigned, and the management API asks for an admin role
}

const appColumns = `id, label, status, settings, created, last_updated`

func scanApp(s scanner) (App, error) {
	var a App
	var settings string
	var created, updated int64
	if err := s.Scan(&a.ID, &a.Label, &a.Status, &settings, &created, &updated); err != nil {
		return a, err
	}
	a.Created, a.LastUpdated = fromMillis(created), fromMillis(updated)
	return a, json.Unmarshal([]byte(settings), &a.Settings)
}

// App finds an app by its id, which is also its client id.
func (t *Tx) App(id string) (App, error) {
	return one(t, scanApp, `SELECT `+appColumns+` FROM apps WHERE id = ?`, id)
}

// Apps lists all apps with an id greater than after, in id order.
func (t *Tx) Apps(after string) ([]App, error) {
	return many(t, scanApp, `SELECT `+appColumns+` FROM apps WHERE id > ? ORDER BY id`, after)
}

// PutApp inserts or replaces an app.
func (t *Tx) PutApp(a App) error {
	settings, err := json.Marshal(a.Settings)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO apps (`+appColumns+`) VALUES (?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET label=excluded.label, status=excluded.status, settings=excluded.settings, last_updated=excluded.last_updated`,
		a.ID, a.Label, a.Status, string(settings), millis(a.Created), millis(a.LastUpdated))
}

// DeleteApp removes an app and what belongs to it.
func (t *Tx) DeleteApp(id string) error { return t.change(`DELETE FROM apps WHERE id = ?`, id) }

// AppGrant lets an app ask the org authorization server for one okta.* scope.
type AppGrant struct {
	ID, AppID, Scope, Issuer string
	Created                  time.Time
}

func scanAppGrant(s scanner) (AppGrant, error) {
	var g AppGrant
	var created int64
	err := s.Scan(&g.ID, &g.AppID, &g.Scope, &g.Issuer, &created)
	g.Created = fromMillis(created)
	return g, err
}

// AppGrants lists the okta.* scopes granted to an app, in scope order.
func (t *Tx) AppGrants(appID string) ([]AppGrant, error) {
	return many(t, scanAppGrant, `SELECT id, app_id, scope, issuer, created FROM app_grants WHERE app_id = ? ORDER BY scope`, appID)
}

// AddAppGrant grants a scope. ErrExists: it was granted before.
func (t *Tx) AddAppGrant(g AppGrant) error {
	return t.exec(`INSERT INTO app_grants (id, app_id, scope, issuer, created) VALUES (?,?,?,?,?)`, g.ID, g.AppID, g.Scope, g.Issuer, millis(g.Created))
}

// DeleteAppGrant takes a granted scope back.
func (t *Tx) DeleteAppGrant(appID, id string) error {
	return t.change(`DELETE FROM app_grants WHERE app_id = ? AND id = ?`, appID, id)
}
