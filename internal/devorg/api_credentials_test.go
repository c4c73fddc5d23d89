package devorg

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestApps(t *testing.T) {
	o := newTestOrg(t)
	if n := len(o.api("GET", "/api/v1/apps", nil).want(200).list()); n != 6 {
		t.Errorf("%d apps", n)
	}
	a := o.api("GET", "/api/v1/apps?limit=2", nil).want(200)
	if len(a.list()) != 2 || next(a) == "" {
		t.Errorf("page %s, next %q", a.body, next(a))
	}
	cli := o.api("GET", "/api/v1/apps/"+CLIClient, nil).want(200).json()
	client := cli["settings"].(map[string]any)["oauthClient"].(map[string]any)
	if rt := client["refresh_token"].(map[string]any); rt["rotation_type"] != "ROTATE" || rt["leeway"] != 30.0 {
		t.Errorf("refresh token settings %v", rt)
	}
	if len(client["redirect_uris"].([]any)) != 3 || cli["credentials"].(map[string]any)["oauthClient"].(map[string]any)["token_endpoint_auth_method"] != "none" {
		t.Errorf("app %v", cli)
	}
	o.api("GET", "/api/v1/apps/0oanone", nil).wantAPI(404, "E0000007")

	grants := o.api("GET", "/api/v1/apps/"+ManagementClient+"/grants", nil).want(200).list()
	if len(grants) != 14 {
		t.Errorf("%d grants", len(grants))
	}
	path := "/api/v1/apps/" + ManagementClient + "/grants"
	o.api("DELETE", path+"/"+grants[0]["id"].(string), nil).want(204)
	o.api("DELETE", path+"/"+grants[0]["id"].(string), nil).wantAPI(404, "E0000007")
	body := map[string]any{"scopeId": grants[0]["scopeId"], "issuer": o.url}
	o.api("POST", path, body).want(201)
	o.api("POST", path, body).wantAPI(400, "E0000001")
	o.api("POST", path, map[string]any{"scopeId": "okta.everything", "issuer": o.url}).wantAPI(400, "E0000001")
	o.api("POST", path, map[string]any{"scopeId": "okta.users.read", "issuer": "https://x"}).wantAPI(400, "E0000001")
}

func TestClientKeys(t *testing.T) {
	o := newTestOrg(t)
	path := "/api/v1/apps/" + DeployWorker + "/credentials/jwks"
	_, id := o.addKey(DeployWorker, 8)
	k := o.api("GET", path+"/"+id, nil).want(200).json()
	if got, want := keysOf(k), "_links alg created e id kid kty lastUpdated n status use"; got != want || !strings.HasPrefix(id, "pks") || k["_links"].(map[string]any)["deactivate"] == nil {
		t.Errorf("members:\n got %s\nwant %s (%v)", got, want, k["_links"])
	}
	e, n := jwkNumbers(&testKey(9).PublicKey)
	good := func() map[string]any {
		return map[string]any{"kid": "k2", "kty": "RSA", "alg": "RS256", "use": "sig", "e": e, "n": n}
	}
	for name, value := range map[string]any{
		"kty": "EC", "alg": "RS512", "use": "enc", "e": "AA", "n": "AQAB", "status": "MAYBE", "d": "AQAB", "kid": k["kid"],
	} {
		b := good()
		b[name] = value
		o.api("POST", path, b).wantAPI(400, "E0000001")
	}
	o.api("POST", path, map[string]any{}).wantAPI(400, "E0000001")

	second := o.api("POST", path, good()).want(201).json()["id"].(string)
	o.api("DELETE", path+"/"+second, nil).wantAPI(400, "E0000001") // active
	if got := o.api("POST", path+"/"+second+"/lifecycle/deactivate", nil).want(200).json(); got["status"] != "INACTIVE" || got["_links"].(map[string]any)["activate"] == nil {
		t.Errorf("deactivated: %v", got)
	}
	o.api("DELETE", path+"/"+second, nil).want(204)
	o.api("GET", path+"/"+second, nil).wantAPI(404, "E0000007")
	o.api("POST", path+"/"+second+"/lifecycle/activate", nil).wantAPI(404, "E0000007")
	for i := range maxClientKeys - 1 {
		b := good()
		b["kid"] = fmt.Sprint("k", i)
		o.api("POST", path, b).want(201)
	}
	o.api("POST", path, good()).wantAPI(400, "E0000001")
	for _, kind := range []string{"create", "deactivate", "delete"} {
		o.wantEvent("app.oauth2.credentials.lifecycle." + kind)
	}
}

func TestClientSecrets(t *testing.T) {
	o := newTestOrg(t)
	path := "/api/v1/apps/" + ReleaseAgent + "/credentials/secrets"
	first := o.api("GET", path, nil).want(200).list()[0]
	if got, want := keysOf(first), "_links client_secret created id lastUpdated secret_hash status"; got != want || first["client_secret"] != AgentSecret {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	firstPath := path + "/" + first["id"].(string)
	o.api("POST", firstPath+"/lifecycle/deactivate", nil).wantAPI(400, "E0000001") // the only active one
	o.api("POST", path, map[string]any{"client_secret": "short"}).wantAPI(400, "E0000001")
	second := o.api("POST", path, map[string]any{}).want(201).json()
	o.api("POST", path, map[string]any{}).wantAPI(400, "E0000001") // two are the most
	o.agentToken(ReleaseAgent, AgentSecret)
	o.agentToken(ReleaseAgent, second["client_secret"].(string))

	o.api("DELETE", firstPath, nil).wantAPI(400, "E0000001") // active
	o.api("POST", firstPath+"/lifecycle/deactivate", nil).want(200)
	o.post("/v1/token", "grant_type", grantClient, "scope", "temporal", "client_id", ReleaseAgent, "client_secret", AgentSecret).wantOAuth(401, "invalid_client")
	o.api("DELETE", firstPath, nil).want(204)
	o.api("GET", firstPath, nil).wantAPI(404, "E0000007")
	o.api("POST", "/api/v1/apps/"+CLIClient+"/credentials/secrets", map[string]any{}).wantAPI(400, "E0000001")
	// A restart does not bring the seeded secret back.
	o.restart()
	if l := o.api("GET", path, nil).list(); len(l) != 1 || l[0]["id"] != second["id"] {
		t.Errorf("after a restart: %v", l)
	}
}

func TestSigningKeyRotation(t *testing.T) {
	o := newTestOrg(t)
	const path = "/api/v1/authorizationServers/default"
	byStatus := func(l []map[string]any) map[string]any {
		out := map[string]any{}
		for _, k := range l {
			out[k["status"].(string)] = k["kid"]
		}
		return out
	}
	published := func() string {
		var kids []string
		for _, k := range o.get("/oauth2/default/v1/keys").want(200).json()["keys"].([]any) {
			m := k.(map[string]any)
			if keysOf(m) != "alg e kid kty n use" {
				t.Errorf("published key members: %s", keysOf(m))
			}
			kids = append(kids, m["kid"].(string))
		}
		return strings.Join(kids, " ")
	}
	if cc := o.get("/oauth2/default/v1/keys").header.Get("Cache-Control"); cc != "max-age=3600, must-revalidate" {
		t.Errorf("Cache-Control %q", cc)
	}
	tok := o.login("alice@acme.example")
	old, _ := o.verified(tok["access_token"])

	before := o.api("GET", path+"/credentials/keys", nil).want(200).list()
	if got, want := keysOf(before[0]), "_links alg created e kid kty lastUpdated n status use"; got != want {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	was := byStatus(before)
	if len(was) != 2 || was["ACTIVE"] != old["kid"] || was["NEXT"] == nil {
		t.Fatalf("keys %v", was)
	}
	if !strings.Contains(published(), was["NEXT"].(string)) {
		t.Error("NEXT is not published before it is used")
	}
	for _, bad := range []any{nil, map[string]any{}, map[string]any{"use": "enc"}, map[string]any{"use": 1}} {
		a := o.api("POST", path+"/credentials/lifecycle/keyRotate", bad)
		if a.status != 400 || bad == nil && a.json()["errorSummary"] != "Api validation failed: rotateKeys" {
			t.Errorf("%v: %s", bad, a.body)
		}
	}
	o.advance(time.Minute)
	is := byStatus(o.api("POST", path+"/credentials/lifecycle/keyRotate", map[string]any{"use": "sig"}).want(200).list())
	if is["ACTIVE"] != was["NEXT"] || is["EXPIRED"] != was["ACTIVE"] || is["NEXT"] == nil || is["NEXT"] == was["NEXT"] {
		t.Errorf("keys %v, were %v", is, was)
	}
	fresh, _ := o.verified(o.refresh(tok["refresh_token"].(string)).want(200).json()["access_token"])
	if fresh["kid"] != is["ACTIVE"] {
		t.Errorf("a new token is signed by %v", fresh["kid"])
	}
	if o.verified(tok["access_token"]); !o.active(tok["access_token"]) {
		t.Error("a token of the expired key is not active any more")
	}
	o.wantEvent("app.oauth2.as.key.rollover")

	o.api("POST", path+"/credentials/lifecycle/keyRotate", map[string]any{"use": "sig"}).want(200)
	if strings.Contains(published(), old["kid"].(string)) {
		t.Error("two rotations later the first key is still published")
	}
}

func TestAuthorizationServers(t *testing.T) {
	o := newTestOrg(t)
	const path = "/api/v1/authorizationServers/default"
	as := o.api("GET", path, nil).want(200).json()
	signing := as["credentials"].(map[string]any)["signing"].(map[string]any)
	if as["issuer"] != o.issuer || fmt.Sprint(as["audiences"]) != "[api://temporal]" || signing["rotationMode"] != "AUTO" || signing["kid"] == nil || signing["nextRotation"] == nil || signing["lastRotated"] == nil {
		t.Errorf("server %v", as)
	}
	put := func(name, audience, mode string) answer {
		return o.api("PUT", path, map[string]any{"name": name, "audiences": []string{audience}, "credentials": map[string]any{"signing": map[string]any{"rotationMode": mode}}})
	}
	put("", "api://temporal", "MANUAL").wantAPI(400, "E0000001")
	put("default", "", "MANUAL").wantAPI(400, "E0000001")
	put("default", "api://temporal", "SOMETIMES").wantAPI(400, "E0000001")
	o.api("PUT", "/api/v1/authorizationServers/none", map[string]any{"name": "x", "audiences": []string{"y"}}).wantAPI(404, "E0000007")

	// AUTO rotates by itself when the quarter is over; MANUAL never does.
	first := signing["kid"]
	o.advance(rotationPeriod)
	signing = o.api("GET", path, nil).json()["credentials"].(map[string]any)["signing"].(map[string]any)
	if signing["kid"] == first {
		t.Error("AUTO did not rotate")
	}
	signing = put("default", "api://temporal", "MANUAL").want(200).json()["credentials"].(map[string]any)["signing"].(map[string]any)
	if signing["nextRotation"] != nil || signing["rotationMode"] != "MANUAL" {
		t.Errorf("MANUAL: %v", signing)
	}
	kid := signing["kid"]
	o.advance(2 * rotationPeriod)
	o.restart()
	if got := o.api("GET", path, nil).json()["credentials"].(map[string]any)["signing"].(map[string]any); got["kid"] != kid || got["rotationMode"] != "MANUAL" {
		t.Errorf("after a restart: %v", got)
	}

	if n := len(o.api("GET", "/api/v1/authorizationServers", nil).want(200).list()); n != 1 {
		t.Errorf("%d servers", n)
	}
	if n := len(o.api("GET", path+"/scopes", nil).want(200).list()); n != 7 {
		t.Errorf("%d scopes", n)
	}
	claims := o.api("GET", path+"/claims", nil).want(200).list()
	if c := claims[1]; c["name"] != "groups" || c["valueType"] != "GROUPS" || c["group_filter_type"] != "REGEX" || c["value"] != `^(temporal:.*|contractors|security|break-glass)$` || c["alwaysIncludeInToken"] != true {
		t.Errorf("groups claim %v", c)
	}
	policies := o.api("GET", path+"/policies", nil).want(200).list()
	rules := o.api("GET", path+"/policies/"+policies[0]["id"].(string)+"/rules", nil).want(200).list()
	if token := rules[0]["actions"].(map[string]any)["token"].(map[string]any); token["accessTokenLifetimeMinutes"] != 60.0 || token["refreshTokenWindowMinutes"] != 10080.0 {
		t.Errorf("rule %v", rules[0])
	}
	o.api("GET", path+"/policies/00pnone/rules", nil).wantAPI(404, "E0000007")
}
