package devorg

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// apiCaller is who calls the management API.
type apiCaller struct {
	party  logParty
	scopes []string // of an org access token
	all    bool     // an SSWS token: may do everything
	made   bool     // an app made through the API: has no more rights than its roles
	roles  []store.ClientRole
}

// authorizeAPI checks the caller of the management API: an SSWS token, or an org access token with the endpoint's scope.
// A .manage scope includes .read of the same kind.
func (o *Org) authorizeAPI(c *call, scope string) error {
	values := c.r.Header.Values("Authorization")
	if len(values) != 1 {
		return errAPIToken
	}
	kind, secret, _ := strings.Cut(values[0], " ")
	switch {
	case strings.EqualFold(kind, "SSWS"):
		if o.seed.APIToken == "" || subtle.ConstantTimeCompare([]byte(digest(secret)), []byte(digest(o.seed.APIToken))) != 1 {
			return errAPIToken
		}
		c.api = apiCaller{all: true, party: logParty{ID: "00Tdevorgapitoken001", Type: "User", AlternateID: "api-token", DisplayName: "Development API token"}}
		return nil
	case strings.EqualFold(kind, "Bearer"):
		if err := o.callerOf(c, secret); err != nil {
			return err
		}
	default:
		return errAPIToken
	}
	if !slices.Contains(c.api.scopes, scope) && !slices.Contains(c.api.scopes, strings.Replace(scope, ".read", ".manage", 1)) {
		refused := notAllowed("You do not have permission to perform the requested action")
		refused.bearer = fmt.Sprintf(`Bearer authorization_uri="%s/oauth2/v1/authorize", realm="%[1]s", scope="%s", error="insufficient_scope", error_description="The access token provided does not contain the required scopes.", resource="%s"`,
			o.base, scope, c.r.URL.EscapedPath())
		return refused
	}
	if c.api.made && !slices.ContainsFunc(c.api.roles, func(r store.ClientRole) bool { return adminRoles()[r.Type].allows(scope) }) {
		return notAllowed("You do not have permission to perform the requested action")
	}
	return nil
}

// callerOf reads the client and scopes of an org access token.
func (o *Org) callerOf(c *call, raw string) error {
	return o.view(c.r.Context(), func(tx *store.Tx) error {
		t, row, err := o.liveOrgToken(tx, c, raw)
		if err != nil {
			refused := *errAPIToken
			refused.bearer = fmt.Sprintf(`Bearer realm="%s", error="invalid_token", error_description="The access token is invalid."`, o.base)
			return &refused
		}
		app, err := tx.App(row.ClientID)
		if err != nil {
			return orMissing(err, row.ClientID, "App")
		}
		if app.Status != store.Active {
			return errAPIToken
		}
		c.api.party, c.api.made = appParty(app), app.Settings.Made
		if c.api.roles, err = tx.ClientRoles(app.ID); err != nil {
			return err
		}
		return json.Unmarshal(t.claims["scp"], &c.api.scopes)
	})
}
