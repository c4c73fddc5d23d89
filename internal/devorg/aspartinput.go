package devorg

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// readScope checks a scope (POST and PUT …/scopes).
func readScope(_ *Org, _ *store.Tx, _ server, raw []byte, before *store.ServerPart) (any, string, error) {
	s := asScope{MetadataPublish: "ALL_CLIENTS", Consent: "IMPLICIT"}
	if err := decodeJSON(raw, &s); err != nil {
		return nil, "", err
	}
	s.System = before != nil && slices.Contains(oidcScopes, before.Slot)
	switch {
	case s.Name == "" || strings.ContainsAny(s.Name, " \"\\") || len(s.Name) > 255:
		return nil, "", invalid("name", "name: The field must have 1 to 255 characters, without spaces and quotes")
	case before == nil && (strings.HasPrefix(s.Name, "okta.") || s.Name == "openid"):
		return nil, "", invalid("name", "name: The name is reserved")
	case s.System && s.Name != before.Slot:
		return nil, "", invalid("name", "name: A system scope keeps its name")
	case !oneOf(s.MetadataPublish, "ALL_CLIENTS", "NO_CLIENTS"):
		return nil, "", invalid("metadataPublish", "metadataPublish: Must be ALL_CLIENTS or NO_CLIENTS")
	case !oneOf(s.Consent, "IMPLICIT", "REQUIRED", "FLEXIBLE"):
		return nil, "", invalid("consent", "consent: Must be IMPLICIT, REQUIRED or FLEXIBLE")
	}
	if s.DisplayName == "" {
		s.DisplayName = s.Name
	}
	return s, s.Name, nil
}

// readClaim checks a claim (POST and PUT …/claims).
func readClaim(_ *Org, _ *store.Tx, as server, raw []byte, before *store.ServerPart) (any, string, error) {
	var c asClaim
	if err := decodeJSON(raw, &c); err != nil {
		return nil, "", err
	}
	if c.Conditions.Scopes == nil {
		c.Conditions.Scopes = []string{}
	}
	c.System = before != nil && before.Slot == "RESOURCE sub"
	switch {
	case c.Name == "" || strings.ContainsAny(c.Name, " \"\\") || len(c.Name) > 255:
		return nil, "", invalid("name", "name: The field must have 1 to 255 characters, without spaces and quotes")
	case !oneOf(c.ClaimType, "RESOURCE", "IDENTITY"):
		return nil, "", invalid("claimType", "claimType: Must be RESOURCE or IDENTITY")
	case !oneOf(c.ValueType, "EXPRESSION", "GROUPS", "SYSTEM"):
		return nil, "", invalid("valueType", "valueType: Must be EXPRESSION, GROUPS or SYSTEM")
	case c.Value == "":
		return nil, "", invalid("value", "value: The field cannot be left blank")
	case c.ValueType == "GROUPS" && !oneOf(c.GroupFilter, "STARTS_WITH", "EQUALS", "CONTAINS", "REGEX"):
		return nil, "", invalid("group_filter_type", "group_filter_type: Must be STARTS_WITH, EQUALS, CONTAINS or REGEX")
	case c.ValueType != "GROUPS" && c.GroupFilter != "":
		return nil, "", invalid("group_filter_type", "group_filter_type: Is for GROUPS alone")
	}
	if c.GroupFilter == "REGEX" {
		if _, err := regexp.Compile(c.Value); err != nil {
			return nil, "", invalid("value", "value: Is not a regular expression")
		}
	}
	for _, s := range c.Conditions.Scopes {
		if !as.hasScope(s) {
			return nil, "", invalid("conditions.scopes", "conditions.scopes: "+printable(s)+" is not a scope of this authorization server")
		}
	}
	return c, c.ClaimType + " " + c.Name, nil
}

// readPolicy checks an access policy (POST and PUT …/policies).
func readPolicy(_ *Org, tx *store.Tx, _ server, raw []byte, _ *store.ServerPart) (any, string, error) {
	p := asPolicy{Type: policyType}
	if err := decodeJSON(raw, &p); err != nil {
		return nil, "", err
	}
	clients := p.Conditions.Clients.Include
	switch {
	case strings.TrimSpace(p.Name) == "" || len(p.Name) > 255:
		return nil, "", invalid("name", "name: The field must have 1 to 255 characters")
	case p.Description == "":
		return nil, "", invalid("description", "description: The field cannot be left blank")
	case p.Type != policyType:
		return nil, "", invalid("type", "type: Must be "+policyType)
	case len(clients) == 0:
		return nil, "", invalid("conditions", "conditions.clients: The field cannot be left blank")
	}
	for _, id := range clients {
		if id == "ALL_CLIENTS" {
			continue
		}
		if _, err := tx.App(id); err != nil {
			return nil, "", invalid("conditions", "conditions.clients: "+printable(id)+" is not a client of this org")
		}
	}
	return p, p.Name, nil
}

// readRule checks a rule (POST and PUT …/policies/{policyId}/rules).
func readRule(_ *Org, tx *store.Tx, as server, raw []byte, _ *store.ServerPart) (any, string, error) {
	r := asRule{Type: ruleType}
	r.Actions.Token.AccessMinutes, r.Actions.Token.WindowMinutes = 60, 10080
	if err := decodeJSON(raw, &r); err != nil {
		return nil, "", err
	}
	token, people := r.Actions.Token, r.Conditions.People
	switch {
	case strings.TrimSpace(r.Name) == "" || len(r.Name) > 255:
		return nil, "", invalid("name", "name: The field must have 1 to 255 characters")
	case r.Type != ruleType:
		return nil, "", invalid("type", "type: Must be "+ruleType)
	case len(r.Conditions.GrantTypes.Include) == 0 || len(r.Conditions.Scopes.Include) == 0:
		return nil, "", invalid("conditions", "conditions: grantTypes and scopes cannot be left blank")
	case len(people.Groups.Include) == 0 && (people.Users == nil || len(people.Users.Include) == 0):
		return nil, "", invalid("conditions", "conditions.people: The field cannot be left blank")
	case token.AccessMinutes < 5 || token.AccessMinutes > 1440:
		return nil, "", invalid("actions.token.accessTokenLifetimeMinutes", "accessTokenLifetimeMinutes: Must be from 5 to 1440")
	case token.RefreshMinutes != 0 && token.RefreshMinutes < token.AccessMinutes:
		return nil, "", invalid("actions.token.refreshTokenLifetimeMinutes", "refreshTokenLifetimeMinutes: Must be 0, or not less than the access token's")
	case token.WindowMinutes < 10 || token.WindowMinutes > 5*365*24*60 || token.WindowMinutes < token.AccessMinutes:
		return nil, "", invalid("actions.token.refreshTokenWindowMinutes", "refreshTokenWindowMinutes: Must be at least 10, and not less than the access token's lifetime")
	}
	for _, g := range r.Conditions.GrantTypes.Include {
		if !oneOf(g, grantCode, grantClient, grantDevice, grantExchange, "implicit", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer", "interaction_code") {
			return nil, "", invalid("conditions.grantTypes", "grantTypes: "+printable(g)+" is not a grant type of rules")
		}
	}
	for _, s := range r.Conditions.Scopes.Include {
		if s != "*" && !as.hasScope(s) {
			return nil, "", invalid("conditions.scopes", "scopes: "+printable(s)+" is not a scope of this authorization server")
		}
	}
	for _, id := range append(slices.Clone(people.Groups.Include), people.Groups.Exclude...) {
		if id == "EVERYONE" {
			continue
		}
		if _, err := tx.Group(id); err != nil {
			return nil, "", invalid("conditions.people", "groups: "+printable(id)+" is not a group of this org")
		}
	}
	return r, r.Name, nil
}
