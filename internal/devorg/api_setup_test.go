package devorg

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

type fields = map[string]any

func (o *testOrg) make(path string, status int, body fields) fields {
	o.t.Helper()
	return o.api("POST", path, body).want(status).json()
}

// workerApp makes a service app with test key 8.
func (o *testOrg) workerApp(label string) string {
	o.t.Helper()
	e, n := jwkNumbers(&testKey(8).PublicKey)
	return o.make("/api/v1/apps", 200, fields{"name": "oidc_client", "label": label, "signOnMode": "OPENID_CONNECT",
		"credentials": fields{"oauthClient": fields{"token_endpoint_auth_method": "private_key_jwt"}},
		"settings": fields{"notes": fields{"admin": "ours"}, "oauthClient": fields{"application_type": "service", "grant_types": []string{"client_credentials"}, "response_types": []string{"token"},
			"jwks": fields{"keys": []fields{{"kid": "k", "kty": "RSA", "e": e, "n": n}}}}}})["id"].(string)
}

// clientCredentials asks a token endpoint with a good assertion.
func (o *testOrg) clientCredentials(app, endpoint, scope string) answer {
	claims := o.assertionClaims(app)
	claims["aud"] = o.url + endpoint
	raw := signAssertion(o.t, testKey(8), "k", jwt.SigningMethodRS256, claims)
	return o.request("POST", endpoint, formOf("grant_type", grantClient, "scope", scope, "client_assertion_type", assertionType, "client_assertion", raw).Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func rule(name string, minutes int, groups, grants, scopes []string) fields {
	return fields{"type": "RESOURCE_ACCESS", "name": name,
		"conditions": fields{"people": fields{"groups": fields{"include": groups}}, "grantTypes": fields{"include": grants}, "scopes": fields{"include": scopes}},
		"actions":    fields{"token": fields{"accessTokenLifetimeMinutes": minutes, "refreshTokenLifetimeMinutes": 0, "refreshTokenWindowMinutes": 1440}}}
}

// A server that was made through the API gives tokens to nobody until a rule says so, and then as the rule says.
func TestServerMadeThroughTheAPI(t *testing.T) {
	o := newTestOrg(t)
	const servers = "/api/v1/authorizationServers"
	as := o.make(servers, 201, fields{"name": "Ours", "description": "d", "audiences": []string{"api://ours"}})
	id := as["id"].(string)
	if !strings.HasPrefix(id, "aus") || as["issuer"] != o.url+"/oauth2/"+id || len(o.api("GET", servers+"?limit=200", nil).want(200).list()) != 2 {
		t.Errorf("%v", as)
	}
	o.api("POST", servers, fields{"name": "Ours", "audiences": []string{"x"}}).wantAPI(400, "E0000001")
	at := servers + "/" + id
	scope := o.make(at+"/scopes", 201, fields{"name": "work"})
	o.api("POST", at+"/scopes", fields{"name": "work"}).wantAPI(400, "E0000001")
	o.api("POST", at+"/scopes", fields{"name": "two words"}).wantAPI(400, "E0000001")
	if got := o.api("PUT", at+"/scopes/"+scope["id"].(string), fields{"name": "work", "description": "to work"}).want(200).json(); got["description"] != "to work" || got["id"] != scope["id"] {
		t.Errorf("%v", got)
	}
	app := o.workerApp("Worker")
	token := "/oauth2/" + id + "/v1/token"
	o.clientCredentials(app, token, "work").wantOAuth(400, "access_denied")
	policy := o.make(at+"/policies", 201, fields{"type": "OAUTH_AUTHORIZATION_POLICY", "name": "P", "description": "d", "conditions": fields{"clients": fields{"include": []string{app}}}})
	rules := at + "/policies/" + policy["id"].(string) + "/rules"
	o.clientCredentials(app, token, "work").wantOAuth(400, "access_denied")
	o.api("POST", rules, rule("R", 4, []string{"EVERYONE"}, []string{"client_credentials"}, []string{"work"})).wantAPI(400, "E0000001")
	o.api("POST", rules, rule("R", 15, []string{"EVERYONE"}, []string{"client_credentials"}, []string{"play"})).wantAPI(400, "E0000001")
	made := o.make(rules, 201, rule("R", 15, []string{"EVERYONE"}, []string{"client_credentials"}, []string{"work"}))
	if tok := o.clientCredentials(app, token, "work").want(200).json(); tok["expires_in"] != 900.0 {
		t.Errorf("%v", tok)
	}
	other := o.workerApp("Other")
	o.clientCredentials(other, token, "work").wantOAuth(400, "access_denied")
	o.api("PUT", rules+"/"+made["id"].(string), rule("R", 30, []string{"EVERYONE"}, []string{"authorization_code"}, []string{"work"})).want(200)
	o.clientCredentials(app, token, "work").wantOAuth(400, "access_denied")
	o.api("PUT", rules+"/"+made["id"].(string), rule("R", 30, []string{"EVERYONE"}, []string{"client_credentials"}, []string{"*"})).want(200)
	o.api("POST", at+"/policies/"+policy["id"].(string)+"/lifecycle/deactivate", nil).want(204)
	o.clientCredentials(app, token, "work").wantOAuth(400, "access_denied")
	o.api("POST", at+"/policies/"+policy["id"].(string)+"/lifecycle/activate", nil).want(204)
	o.restart()
	o.clientCredentials(app, token, "work").want(200)
	o.api("GET", rules+"/0prnone", nil).wantAPI(404, "E0000007")
	o.api("GET", at+"/policies/00pnone/rules", nil).wantAPI(404, "E0000007")
}

// People use an app that was made through the API when a group of theirs is assigned, and get the groups that the claim's filter lets through.
func TestAppMadeThroughTheAPI(t *testing.T) {
	o := newTestOrg(t)
	app := fields{"name": "oidc_client", "label": "App", "signOnMode": "OPENID_CONNECT",
		"credentials": fields{"oauthClient": fields{"token_endpoint_auth_method": "none", "pkce_required": true}},
		"settings": fields{"oauthClient": fields{"application_type": "native", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "redirect_uris": []string{callback},
			"refresh_token": fields{"rotation_type": "ROTATE", "leeway": 30}}}}
	for name, change := range map[string]fields{
		"no label":     {"label": ""},
		"other kind":   {"name": "template_saml_2_0"},
		"no PKCE":      {"credentials": fields{"oauthClient": fields{"token_endpoint_auth_method": "none"}}},
		"no redirect":  {"settings": fields{"oauthClient": fields{"application_type": "native", "grant_types": []string{"authorization_code"}, "response_types": []string{"code"}}}},
		"wrong grants": {"settings": fields{"oauthClient": fields{"application_type": "service", "grant_types": []string{"authorization_code"}, "response_types": []string{"code"}, "redirect_uris": []string{callback}}}},
	} {
		bad := fields{}
		for k, v := range app {
			bad[k] = v
		}
		for k, v := range change {
			bad[k] = v
		}
		if a := o.api("POST", "/api/v1/apps", bad); a.status != 400 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	made := o.make("/api/v1/apps", 200, app)
	id := made["id"].(string)
	authorize := func(who string) string {
		to, err := devorgtest.NewBrowser().Authorize(t.Context(), o.authorizeURL("client_id", id), who, "bailiwick")
		if err != nil {
			t.Fatal(err)
		}
		return to.Query().Get("error") + to.Query().Get("code")
	}
	if got := authorize("alice@acme.example"); got != "access_denied" {
		t.Errorf("without an assignment: %q", got)
	}
	group := o.api("GET", "/api/v1/groups?q=temporal:deploy:write", nil).want(200).list()[0]["id"].(string)
	o.api("PUT", "/api/v1/apps/"+id+"/groups/"+group, fields{}).want(200)
	if l := o.api("GET", "/api/v1/apps/"+id+"/groups", nil).want(200).list(); len(l) != 1 || l[0]["id"] != group {
		t.Errorf("%v", l)
	}
	if got := authorize("bob@acme.example"); got != "access_denied" {
		t.Errorf("somebody of another group: %q", got)
	}
	o.make("/api/v1/authorizationServers/default/claims", 201, fields{"name": "temporal_groups", "claimType": "RESOURCE", "valueType": "GROUPS", "group_filter_type": "STARTS_WITH", "value": "temporal:dep", "alwaysIncludeInToken": true})
	tok := o.post("/v1/token", "grant_type", "authorization_code", "client_id", id, "code", authorize("alice@acme.example"), "redirect_uri", callback, "code_verifier", verifier).want(200).json()
	_, claims := o.verified(tok["access_token"])
	if got := claims["temporal_groups"].([]any); len(got) != 1 || got[0] != "temporal:deploy:write" || len(claims["groups"].([]any)) != 2 {
		t.Errorf("%v", claims)
	}
	app["label"] = "Renamed"
	if got := o.api("PUT", "/api/v1/apps/"+id, app).want(200).json(); got["label"] != "Renamed" {
		t.Errorf("%v", got)
	}
	o.api("DELETE", "/api/v1/apps/"+id, nil).wantAPI(403, "E0000006")
	o.api("POST", "/api/v1/apps/"+id+"/lifecycle/deactivate", nil).want(200)
	o.api("DELETE", "/api/v1/apps/"+id, nil).want(204)
	o.api("GET", "/api/v1/apps/"+id, nil).wantAPI(404, "E0000007")
}

// A service app needs a scope's grant to get a token with it, and an admin role to use it.
func TestRolesOfServiceApps(t *testing.T) {
	o := newTestOrg(t)
	app := o.workerApp("Control")
	token := func(scope string) answer { return o.clientCredentials(app, "/oauth2/v1/token", scope) }
	token("okta.logs.read").wantOAuth(400, "consent_required")
	for _, s := range []string{"okta.logs.read", "okta.users.read"} {
		o.make("/api/v1/apps/"+app+"/grants", 201, fields{"scopeId": s, "issuer": o.url})
	}
	auth := "Bearer " + token("okta.logs.read okta.users.read").want(200).json()["access_token"].(string)
	o.get("/api/v1/logs", "Authorization", auth).wantAPI(403, "E0000006")
	roles := "/oauth2/v1/clients/" + app + "/roles"
	o.api("POST", roles, fields{"type": "KING"}).wantAPI(400, "E0000001")
	r := o.make(roles, 200, fields{"type": "REPORT_ADMIN"})
	o.api("POST", roles, fields{"type": "REPORT_ADMIN"}).wantAPI(409, "E0000090")
	o.get("/api/v1/logs", "Authorization", auth).want(200)
	o.get("/api/v1/users", "Authorization", auth).wantAPI(403, "E0000006")
	o.make(roles, 200, fields{"type": "READ_ONLY_ADMIN"})
	o.get("/api/v1/users", "Authorization", auth).want(200)
	o.api("DELETE", roles+"/"+r["id"].(string), nil).want(204)
	if l := o.api("GET", roles, nil).want(200).list(); len(l) != 1 || l[0]["type"] != "READ_ONLY_ADMIN" {
		t.Errorf("%v", l)
	}
}
