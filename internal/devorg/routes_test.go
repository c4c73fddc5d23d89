package devorg

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// concrete fills a route's wildcards with names that need not exist.
func concrete(path string) string {
	path = strings.NewReplacer("{as}", "default", "{user}", "00ualice000000000001", "{app}", UIClient, "{step}", "activate", "{$}", "").Replace(path)
	return regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "x")
}

func TestDiscovery(t *testing.T) {
	o := newTestOrg(t)
	served := map[string]bool{}
	for _, rt := range o.routes() {
		served[strings.ReplaceAll(rt.path, "{as}", "default")] = true
	}
	for base, issuer := range map[string]string{"": o.url, "/oauth2/default": o.issuer} {
		one, two := o.get(base+"/.well-known/openid-configuration").want(200), o.get(base+"/.well-known/oauth-authorization-server").want(200)
		if string(one.body) != string(two.body) {
			t.Errorf("%s: the two documents differ", base)
		}
		m := one.json()
		if m["issuer"] != issuer {
			t.Errorf("issuer %v, want %s", m["issuer"], issuer)
		}
		for name, v := range m {
			if address, ok := v.(string); ok && name != "issuer" && !served[strings.TrimPrefix(address, o.url)] {
				t.Errorf("%s names %s, which is not served", name, address)
			}
		}
	}
	m := o.get("/oauth2/default/.well-known/openid-configuration").json()
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint", "end_session_endpoint", "device_authorization_endpoint"} {
		if m[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if m["authorization_response_iss_parameter_supported"] != true || !slices.Contains(m["scopes_supported"].([]any), any("temporal.worker")) {
		t.Errorf("document %v", m)
	}
	o.get("/oauth2/none/.well-known/openid-configuration").wantAPI(404, "E0000007")
	o.get("/oauth2/none/v1/keys").wantAPI(404, "E0000007")
	o.request("POST", "/oauth2/none/v1/token", "grant_type=x", "Content-Type", "application/x-www-form-urlencoded").wantAPI(404, "E0000007")
}

func TestEveryManagementRouteNeedsItsScope(t *testing.T) {
	o := newTestOrg(t)
	kid, _ := o.addKey(ManagementClient, 8)
	for _, s := range oktaScopes { // what the seed has not granted
		o.api("POST", "/api/v1/apps/"+ManagementClient+"/grants", map[string]any{"scopeId": s, "issuer": o.url})
	}
	// For each scope of the table: a token that has every scope but those that would do.
	token := func(without string) string {
		var scopes []string
		for _, s := range oktaScopes {
			if s != without && s != strings.Replace(without, ".read", ".manage", 1) {
				scopes = append(scopes, s)
			}
		}
		return o.orgTokenFor(kid, strings.Join(scopes, " ")).want(200).json()["access_token"].(string)
	}
	user := o.login("carol@acme.example")["access_token"].(string)
	tokens := map[string]string{}
	checked := 0
	for _, rt := range o.routes() {
		if rt.scope == "" {
			if strings.HasPrefix(rt.path, "/api/") {
				t.Errorf("%s %s needs no scope", rt.method, rt.path)
			}
			continue
		}
		checked++
		if tokens[rt.scope] == "" {
			tokens[rt.scope] = token(rt.scope)
		}
		path := concrete(rt.path)
		o.request(rt.method, path, "").wantAPI(401, "E0000011")
		for _, auth := range []string{"SSWS wrong", "SSWS", "Bearer x", "Bearer " + user, "Basic x", "SSWS " + APIToken + "x"} {
			o.request(rt.method, path, "", "Authorization", auth).wantAPI(401, "E0000011")
		}
		o.request(rt.method, path, "", "Authorization", "SSWS "+APIToken, "Authorization", "SSWS "+APIToken).wantAPI(401, "E0000011")
		refused := o.request(rt.method, path, "", "Authorization", "Bearer "+tokens[rt.scope]).wantAPI(403, "E0000006")
		if !strings.Contains(refused.header.Get("WWW-Authenticate"), rt.scope) {
			t.Errorf("%s %s: the header does not name the scope: %s", rt.method, path, refused.header.Get("WWW-Authenticate"))
		}
	}
	if checked < 35 {
		t.Errorf("only %d management routes", checked)
	}
}

func (o *testOrg) orgTokenFor(kid, scope string) answer {
	o.t.Helper()
	claims := o.assertionClaims(ManagementClient)
	claims["aud"] = o.url + "/oauth2/v1/token"
	raw := signAssertion(o.t, testKey(8), kid, jwt.SigningMethodRS256, claims)
	return o.request("POST", "/oauth2/v1/token", formOf("grant_type", grantClient, "scope", scope, "client_assertion_type", assertionType, "client_assertion", raw).Encode(),
		"Content-Type", "application/x-www-form-urlencoded")
}

func TestOrgServer(t *testing.T) {
	o := newTestOrg(t)
	kid, _ := o.addKey(ManagementClient, 8)
	tok := o.orgTokenFor(kid, "okta.users.read okta.groups.manage").want(200).json()
	raw := tok["access_token"].(string)
	if tok["expires_in"] != 3600.0 || tok["scope"] != "okta.users.read okta.groups.manage" {
		t.Errorf("answer %v", tok)
	}
	auth := []string{"Authorization", "Bearer " + raw}
	o.get("/api/v1/users", auth...).want(200)
	o.get("/api/v1/groups", auth...).want(200) // manage includes read
	o.request("POST", "/api/v1/users", "{}", auth...).wantAPI(403, "E0000006")

	// Nobody outside can verify it: its key is not published anywhere.
	parsed, err := parseJWS(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/oauth2/v1/keys", "/oauth2/default/v1/keys"} {
		if strings.Contains(string(o.get(path).want(200).body), parsed.kid) {
			t.Errorf("%s publishes the org's private signing key's id", path)
		}
	}
	if o.active(raw) {
		t.Error("the custom server calls an org token active")
	}

	o.orgTokenFor(kid, "okta.users.read okta.policies.manage").wantOAuth(400, "consent_required")
	o.orgTokenFor(kid, "").wantOAuth(400, "invalid_scope")
	send := func(pairs ...string) answer {
		return o.request("POST", "/oauth2/v1/token", formOf(pairs...).Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	send("grant_type", grantClient, "scope", "okta.users.read", "client_id", ReleaseAgent, "client_secret", AgentSecret).wantOAuth(400, "unauthorized_client")
	send("grant_type", grantCode, "client_id", CLIClient).wantOAuth(400, "unsupported_grant_type")
	// And the management client gets nothing from the custom server.
	claims := o.assertionClaims(ManagementClient)
	o.clientToken(signAssertion(t, testKey(8), kid, jwt.SigningMethodRS256, claims)).wantOAuth(400, "unauthorized_client")

	about := func(endpoint string) answer {
		c := o.assertionClaims(ManagementClient)
		c["aud"] = o.url + "/oauth2/v1/" + endpoint
		return o.request("POST", "/oauth2/v1/"+endpoint, formOf("token", raw, "client_assertion_type", assertionType, "client_assertion", signAssertion(t, testKey(8), kid, jwt.SigningMethodRS256, c)).Encode(),
			"Content-Type", "application/x-www-form-urlencoded")
	}
	if about("introspect").want(200).json()["active"] != true {
		t.Error("not active")
	}
	about("revoke").want(200)
	if about("introspect").want(200).json()["active"] != false {
		t.Error("active after revocation")
	}
	o.get("/api/v1/users", auth...).wantAPI(401, "E0000011")

	fresh := o.orgTokenFor(kid, "okta.users.read").want(200).json()["access_token"].(string)
	o.now.Add(3600_000)
	o.get("/api/v1/users", "Authorization", "Bearer "+fresh).wantAPI(401, "E0000011")
}

func TestUnservedCalls(t *testing.T) {
	o := newTestOrg(t)
	o.api("PATCH", "/api/v1/users", nil).wantAPI(405, "E0000022")
	o.api("PUT", "/api/v1/logs", nil).wantAPI(405, "E0000022")
	o.api("GET", "/api/v1/policies", nil).wantAPI(404, "E0000007")
	o.api("POST", "/api/v1/users/alice@acme.example/lifecycle/unlock", nil).wantAPI(404, "E0000007")
	if a := o.request("DELETE", "/oauth2/default/v1/token", ""); a.status != 405 {
		t.Errorf("DELETE on the token endpoint: %d", a.status)
	}
}

func TestRateLimits(t *testing.T) {
	o := newTestOrg(t, func(c *Config) { c.RateLimits = map[string]int{"users": 3, "token": 1} })
	for left := 2; left >= 0; left-- {
		a := o.api("GET", "/api/v1/users", nil).want(200)
		if a.header.Get("X-Rate-Limit-Limit") != "3" || a.header.Get("X-Rate-Limit-Remaining") != string(rune('0'+left)) || a.header.Get("X-Rate-Limit-Reset") != "1795435260" {
			t.Fatalf("headers %v", a.header)
		}
	}
	a := o.api("GET", "/api/v1/users/alice@acme.example", nil).wantAPI(429, "E0000047")
	if a.header.Get("X-Rate-Limit-Remaining") != "0" || a.header.Get("X-Rate-Limit-Reset") != "1795435260" {
		t.Errorf("headers %v", a.header)
	}
	// Date is the org's clock, so that Reset minus Date is the time to wait.
	if date, err := http.ParseTime(a.header.Get("Date")); err != nil || date.Unix() != o.clock().Unix() {
		t.Errorf("Date %q", a.header.Get("Date"))
	}
	o.api("GET", "/api/v1/groups", nil).want(200) // another family
	for range 5 {
		if a := o.get("/oauth2/default/v1/keys").want(200); a.header.Get("X-Rate-Limit-Limit") != "" {
			t.Fatal("the keys are rate-limited")
		}
	}
	o.now.Add(60_000)
	o.api("GET", "/api/v1/users", nil).want(200)
	// A clock set back must not lock callers out.
	o.api("GET", "/api/v1/users", nil).want(200)
	o.api("GET", "/api/v1/users", nil).want(200)
	o.now.Add(-24 * 3600_000)
	o.api("GET", "/api/v1/users", nil).want(200)
}
