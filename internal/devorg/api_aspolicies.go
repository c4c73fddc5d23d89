package devorg

import (
	"net/http"
	"slices"
)

// The scopes, claims and policies of an authorization server can be read, not changed: they are the seed's, and what is
// shown is what the token endpoint does.

// listScopes serves GET /api/v1/authorizationServers/{id}/scopes.
func (o *Org) listScopes(c *call) error {
	as, err := o.pathServer(c)
	if err != nil {
		return err
	}
	out := []any{}
	for _, name := range slices.Concat(as.seed.Scopes, oidcScopes) {
		out = append(out, map[string]any{
			"id": "scp" + as.ID + "-" + name, "name": name, "displayName": name, "description": "", "system": slices.Contains(oidcScopes, name), "default": false,
			"metadataPublish": "ALL_CLIENTS", "consent": "IMPLICIT", "optional": false,
		})
	}
	c.links("")
	c.json(http.StatusOK, out)
	return nil
}

// listClaims serves GET /api/v1/authorizationServers/{id}/claims.
func (o *Org) listClaims(c *call) error {
	as, err := o.pathServer(c)
	if err != nil {
		return err
	}
	out := []any{}
	claim := func(name, kind, valueType, value string, always bool, scopes []string) map[string]any {
		return map[string]any{
			"id": "ocl" + as.ID + "-" + kind + "-" + name, "name": name, "status": "ACTIVE", "claimType": kind, "valueType": valueType, "value": value,
			"conditions": map[string]any{"scopes": scopes}, "system": false, "alwaysIncludeInToken": always,
		}
	}
	sub := claim("sub", "RESOURCE", "EXPRESSION", "(appuser != null) ? appuser.userName : app.clientId", true, []string{})
	sub["system"] = true
	out = append(out, sub)
	if as.seed.GroupsRegex != "" {
		for _, g := range []map[string]any{
			claim("groups", "RESOURCE", "GROUPS", as.seed.GroupsRegex, true, []string{}),
			claim("groups", "IDENTITY", "GROUPS", as.seed.GroupsRegex, false, []string{"groups"}),
		} {
			g["group_filter_type"] = "REGEX"
			out = append(out, g)
		}
	}
	c.links("")
	c.json(http.StatusOK, out)
	return nil
}

// policyID is the one policy of a server; its one rule has an id of the same form.
func policyID(as server) string { return "00p" + as.ID + "policy" }

// listPolicies serves GET /api/v1/authorizationServers/{id}/policies.
func (o *Org) listPolicies(c *call) error {
	as, err := o.pathServer(c)
	if err != nil {
		return err
	}
	c.links("")
	c.json(http.StatusOK, []any{map[string]any{
		"id": policyID(as), "type": "OAUTH_AUTHORIZATION_POLICY", "status": "ACTIVE", "name": "Default Policy", "description": "All clients", "priority": 1, "system": false,
		"conditions": map[string]any{"clients": map[string]any{"include": []string{"ALL_CLIENTS"}}}, "created": stamp(as.Created), "lastUpdated": stamp(as.Created),
	}})
	return nil
}

// listRules serves GET /api/v1/authorizationServers/{id}/policies/{policyId}/rules.
func (o *Org) listRules(c *call) error {
	as, err := o.pathServer(c)
	if err != nil {
		return err
	}
	if c.r.PathValue("policy") != policyID(as) {
		return missing(printable(c.r.PathValue("policy")), "Policy")
	}
	c.links("")
	c.json(http.StatusOK, []any{map[string]any{
		"id": "0pr" + as.ID + "rule", "type": "RESOURCE_ACCESS", "name": "Default Policy Rule", "status": "ACTIVE", "priority": 1, "system": false,
		"created": stamp(as.Created), "lastUpdated": stamp(as.Created),
		"conditions": map[string]any{
			"people":     map[string]any{"groups": map[string]any{"include": []string{"EVERYONE"}}},
			"grantTypes": map[string]any{"include": []string{grantCode, grantClient, grantDevice, grantExchange}},
			"scopes":     map[string]any{"include": []string{"*"}},
		},
		"actions": map[string]any{"token": map[string]any{
			"accessTokenLifetimeMinutes": as.seed.accessMinutes(), "refreshTokenLifetimeMinutes": 0, "refreshTokenWindowMinutes": as.seed.refreshWindowMinutes(),
		}},
	}})
	return nil
}
