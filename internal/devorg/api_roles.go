package devorg

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// adminRole is a standard admin role: its label, and which scopes of the API it makes usable. A role's scopes are those that this org serves.
type adminRole struct {
	label  string
	scopes []string // "*.read" is all that read
}

// adminRoles are the standard roles that a service app can have (a part of Okta's).
func adminRoles() map[string]adminRole {
	return map[string]adminRole{
		"SUPER_ADMIN":     {"Super Administrator", []string{"*"}},
		"ORG_ADMIN":       {"Organization Administrator", []string{"okta.users", "okta.groups", "okta.eventHooks", "okta.logs", "okta.apps.read", "okta.appGrants.read"}},
		"READ_ONLY_ADMIN": {"Read-only Administrator", []string{"*.read"}},
		"REPORT_ADMIN":    {"Report Administrator", []string{"okta.logs.read"}},
		"APP_ADMIN":       {"Application Administrator", []string{"okta.apps", "okta.appGrants.read", "okta.users.read", "okta.groups.read"}},
		"API_ACCESS_MANAGEMENT_ADMIN": {"API Access Management Administrator",
			[]string{"okta.authorizationServers", "okta.apps.read", "okta.users.read", "okta.groups.read"}},
		"GROUP_MEMBERSHIP_ADMIN": {"Group Membership Administrator", []string{"okta.groups", "okta.users.read"}},
		"HELP_DESK_ADMIN":        {"Help Desk Administrator", []string{"okta.users.read", "okta.groups.read"}},
		"USER_ADMIN":             {"Group Administrator", []string{"okta.users", "okta.groups"}},
	}
}

// allows reports whether the role makes a scope usable.
func (r adminRole) allows(scope string) bool {
	return slices.ContainsFunc(r.scopes, func(s string) bool {
		return s == "*" || s == scope || s == "*.read" && strings.HasSuffix(scope, ".read") || strings.HasPrefix(scope, s+".")
	})
}

func (o *Org) showRole(r store.ClientRole) any {
	return map[string]any{
		"id": r.ID, "type": r.Type, "label": adminRoles()[r.Type].label, "status": store.Active, "assignmentType": "CLIENT", "created": stamp(r.Created), "lastUpdated": stamp(r.Created),
		"_links": map[string]any{"assignee": map[string]any{"href": o.base.String() + "/oauth2/v1/clients/" + r.AppID}},
	}
}

// listRoles serves GET /oauth2/v1/clients/{clientId}/roles.
func (o *Org) listRoles(c *call) error {
	var roles []store.ClientRole
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err == nil {
			roles, err = tx.ClientRoles(a.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	out := []any{}
	for _, r := range roles {
		out = append(out, o.showRole(r))
	}
	c.json(http.StatusOK, out)
	return nil
}

// addRole serves POST /oauth2/v1/clients/{clientId}/roles: a standard role for a service app.
func (o *Org) addRole(c *call) error {
	var in struct {
		Type string `json:"type"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if _, known := adminRoles()[in.Type]; !known {
		return invalid("type", "type: Is not a standard role that this development org has")
	}
	r := store.ClientRole{ID: newID("irb"), AppID: c.r.PathValue("app"), Type: in.Type, Created: c.now}
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if a.Settings.Type != "service" {
			return invalid("clientId", "clientId: Roles are for service applications")
		}
		err = tx.AddClientRole(r)
		if errors.Is(err, store.ErrExists) {
			return &apiError{Status: http.StatusConflict, Code: "E0000090", Summary: "The role specified is already assigned to the user."}
		}
		if err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "app.oauth2.client.privilege.grant", message: "Grant client privilege", actor: c.api.party, targets: []logParty{appParty(a)}, debug: map[string]any{"privilegeGranted": adminRoles()[in.Type].label}})
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, o.showRole(r))
	return nil
}

// deleteRole serves DELETE /oauth2/v1/clients/{clientId}/roles/{roleAssignmentId}.
func (o *Org) deleteRole(c *call) error {
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		a, err := pathApp(tx, c)
		if err != nil {
			return err
		}
		if err := tx.DeleteClientRole(a.ID, c.r.PathValue("role")); err != nil {
			return orMissing(err, printable(c.r.PathValue("role")), "Role")
		}
		return o.record(tx, c, event{kind: "app.oauth2.client.privilege.revoke", message: "Revoke client privilege", actor: c.api.party, targets: []logParty{appParty(a)}})
	})
	if err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// listFactors serves GET /api/v1/users/{user}/factors: nobody has any here, where every login is by password.
func (o *Org) listFactors(c *call) error {
	err := o.view(c.r.Context(), func(tx *store.Tx) error {
		_, err := tx.User(c.r.PathValue("user"))
		return orMissing(err, printable(c.r.PathValue("user")), "User")
	})
	if err != nil {
		return err
	}
	c.json(http.StatusOK, []any{})
	return nil
}
