package oktasetup

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Grant types, as on the wire.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantClient  = "client_credentials"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
)

// Lifetimes in minutes. A person's access token lives as long as it takes to be renewed a few times in a working day; their login ends after a night without
// use and in any case after a week. A service gets a new token whenever it likes.
const (
	personAccess  = 30
	personWindow  = 12 * 60
	personRefresh = 7 * 24 * 60
	serviceAccess = 60
)

// personScopes are what people's programs ask for.
func personScopes() []string {
	return []string{"openid", "profile", "email", "groups", "offline_access", ScopePeople}
}

// cliRedirects are the addresses that `bailiwick login --browser` listens on. Okta matches the port too.
func cliRedirects() (all []string) {
	for port := 8765; port <= 8767; port++ {
		all = append(all, "http://127.0.0.1:"+strconv.Itoa(port)+"/callback")
	}
	return all
}

// wanted lists everything, in an order in which each comes after what it refers to.
func (s Spec) wanted(org string) []resource {
	all := []resource{s.server()}
	all = append(all, s.tokens()...)
	all = append(all, s.apps()...)
	all = append(all, s.groups()...)
	all = append(all, s.policies()...)
	all = append(all, s.control(org)...)
	if s.HookURI != "" {
		all = append(all, s.hook())
	}
	return all
}

func (s Spec) described(key, why string) string { return why + " " + s.mark(key) }

func (s Spec) server() resource {
	return resource{
		kind: "authorization server", key: "server", name: s.label("Temporal"), list: "/api/v1/authorizationServers", query: url.Values{"limit": {"200"}}, named: "name", marked: "description",
		why:    "issues the tokens that gates verify; tokens of the org's own server are opaque to everybody but Okta",
		fixed:  map[string]any{"name": s.label("Temporal"), "description": s.described("server", "Tokens for Temporal, made by bailiwick okta setup.")},
		fields: []field{{"audiences", "audience", []string{s.Audience}, plain}, {"status", "status", "ACTIVE", active}},
	}
}

// tokens are the scopes and the groups claims.
func (s Spec) tokens() (all []resource) {
	for _, scope := range []struct{ name, why string }{
		{ScopePeople, "people, agents and Bailiwick's own workflows ask for it: a token without it is not for Temporal"},
		{ScopeWorker, "workers ask for it"},
	} {
		all = append(all, resource{
			kind: "scope", key: "scope/" + scope.name, name: scope.name, why: scope.why, list: "/api/v1/authorizationServers/{server}/scopes", named: "name",
			fixed:  map[string]any{"name": scope.name, "displayName": scope.name, "description": "Temporal, by Bailiwick", "metadataPublish": "ALL_CLIENTS"},
			fields: []field{{"consent", "consent", "IMPLICIT", plain}, {"default", "default", false, plain}},
		})
	}
	claim := func(key, kind, why string, always bool, scopes []string) resource {
		return resource{
			kind: "claim", key: key, name: "groups", why: why, list: "/api/v1/authorizationServers/{server}/claims", named: "name claimType",
			fixed: map[string]any{"name": "groups", "claimType": kind},
			fields: []field{
				{"valueType", "value", "GROUPS", plain}, {"group_filter_type", "filter", "REGEX", plain}, {"value", "groups that match", s.GroupFilter(), plain},
				{"alwaysIncludeInToken", "always", always, plain}, {"conditions.scopes", "only with scopes", scopes, plain}, {"status", "status", "ACTIVE", active},
			},
		}
	}
	return append(all, claim("claim/access", "RESOURCE", "roles come from groups; the filter keeps a token below Okta's limit of 100 groups", true, []string{}),
		claim("claim/id", "IDENTITY", "the web UI shows who is signed in", false, []string{"groups"}))
}

// app is what all OpenID Connect apps share. It is a resource whose fields are those given.
func (s Spec) app(key, label, kind, method, why string, grants []string, fields ...field) resource {
	responses := []string{"token"}
	if slices.Contains(grants, grantCode) {
		responses = []string{"code"}
	}
	r := resource{
		kind: "app", key: key, name: s.label(label), why: why, list: "/api/v1/apps", query: url.Values{"limit": {"200"}}, named: "label", marked: "settings.notes.admin",
		fixed: map[string]any{
			"name": "oidc_client", "label": s.label(label), "signOnMode": "OPENID_CONNECT", "settings.notes.admin": s.described(key, "Made by bailiwick okta setup: "+why+"."),
			"credentials.oauthClient.autoKeyRotation": true, "settings.oauthClient.application_type": kind, "settings.oauthClient.response_types": responses, "settings.oauthClient.consent_method": "TRUSTED",
		},
		fields: append([]field{{"credentials.oauthClient.token_endpoint_auth_method", "authenticates with", method, plain}, {"settings.oauthClient.grant_types", "grants", grants, bigger},
			{"status", "status", "ACTIVE", active}}, fields...),
	}
	if method == "private_key_jwt" {
		r.keyName = strings.ReplaceAll(strings.TrimPrefix(key, "app/"), "/", "-")
	}
	return r
}

// apps are the programs that ask for tokens.
func (s Spec) apps() (all []resource) {
	refresh := []field{{"settings.oauthClient.refresh_token.rotation_type", "refresh tokens", "ROTATE", plain}, {"settings.oauthClient.refresh_token.leeway", "leeway, seconds", 30, bigger}}
	pkce := field{"credentials.oauthClient.pkce_required", "PKCE required", true, plain}
	all = append(all, s.app("app/cli", "CLI", "native", "none", "people sign in on the command line, with a code or a browser", []string{grantCode, grantDevice, grantRefresh},
		append(refresh, pkce, field{"settings.oauthClient.redirect_uris", "redirects to", cliRedirects(), bigger})...))
	if len(s.Console) > 0 {
		var to, out []string
		for _, at := range s.Console {
			at = strings.TrimSuffix(at, "/")
			to, out = append(to, at+"/auth/sso/callback"), append(out, at)
		}
		all = append(all, s.app("app/console", "web UI", "web", "client_secret_basic", "people sign in to Temporal's web UI", []string{grantCode, grantRefresh},
			append(refresh, field{"settings.oauthClient.redirect_uris", "redirects to", to, bigger}, field{"settings.oauthClient.post_logout_redirect_uris", "after logout to", out, bigger})...))
	}
	all = append(all, s.app("app/workflows", "workflows", "service", "private_key_jwt", "Bailiwick's own workflows on Temporal, such as requests for access", []string{grantClient}))
	for _, w := range s.Workers {
		all = append(all, s.app("app/worker/"+w, "worker "+w, "service", "private_key_jwt", "the worker "+w+" takes tasks", []string{grantClient}))
	}
	return append(all, s.app("app/control", "control plane", "service", "private_key_jwt", "the control plane calls Okta's API, with scopes and roles granted one by one", []string{grantClient}))
}

// groups are those that have roles, and who may sign in.
func (s Spec) groups() (all []resource) {
	prefix, _, _ := strings.Cut(s.Pattern, "{")
	for _, ns := range s.Namespaces {
		for _, role := range s.Roles {
			key, name := "group/"+ns+"/"+role, s.GroupName(ns, role)
			all = append(all, resource{
				kind: "group", key: key, name: name, why: role + " in " + ns, list: "/api/v1/groups", query: url.Values{"q": {prefix}, "limit": {"200"}}, named: "profile.name", marked: "profile.description",
				fixed: map[string]any{"profile.name": name, "profile.description": s.described(key, "Members have "+role+" in Temporal's namespace "+ns+".")}, shared: true,
			})
		}
	}
	all = append(all, resource{kind: "group", key: "people", name: s.People, why: "may sign in", list: "/api/v1/groups", query: url.Values{"q": {s.People}, "limit": {"200"}}, named: "profile.name", lookup: true})
	for _, app := range []string{"app/cli", "app/console"} {
		if app == "app/console" && len(s.Console) == 0 {
			continue
		}
		all = append(all, resource{kind: "assignment", key: "assign/" + app, name: s.People + " to " + app[len("app/"):], why: "who is not assigned can't sign in; who has no role is refused by the gate",
			list: "/api/v1/apps/{" + app + "}/groups", query: url.Values{"limit": {"200"}}, named: "id", put: true, target: "people"})
	}
	return all
}
