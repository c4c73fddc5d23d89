package devorg

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

func TestIntrospect(t *testing.T) {
	o := newTestOrg(t)
	tok := o.login("alice@acme.example")
	access := o.post("/v1/introspect", "client_id", CLIClient, "token", tok["access_token"].(string), "token_type_hint", "access_token").want(200).json()
	if got, want := keysOf(access), "active aud auth_time client_id exp groups iat iss jti scope sub token_type uid username"; got != want {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	if access["active"] != true || access["uid"] != "00ualice000000000001" || access["username"] != "alice@acme.example" || access["client_id"] != CLIClient || access["token_type"] != "Bearer" {
		t.Errorf("answer %v", access)
	}
	for _, kind := range []string{"refresh_token", "id_token"} {
		if !o.active(tok[kind]) {
			t.Errorf("the %s is not active", kind)
		}
	}
	for _, junk := range []string{"", "junk", "a.b.c", tok["access_token"].(string) + "x", strings.Replace(tok["access_token"].(string), ".", "\n.", 1)} {
		if got := o.post("/v1/introspect", "client_id", CLIClient, "token", junk).want(200).json(); keysOf(got) != "active" || got["active"] != false {
			t.Errorf("junk: %v", got)
		}
	}
	// A live jti helps nobody who cannot sign.
	parts := strings.Split(tok["access_token"].(string), ".")
	richer, err := b64.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	richer = bytes.Replace(richer, []byte("temporal:deploy:write"), []byte("temporal:deploy:admin"), 1)
	signature, err := b64.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	signature[0] ^= 1
	for _, forged := range []string{
		parts[0] + "." + b64.EncodeToString(richer) + "." + parts[2],
		parts[0] + "." + parts[1] + "." + b64.EncodeToString(signature),
	} {
		if o.active(forged) {
			t.Error("a forged token is active")
		}
		o.get("/oauth2/default/v1/userinfo", "Authorization", "Bearer "+forged).want(401)
	}
	// A public client proves nothing, so it learns nothing of others' tokens; a confidential one may ask.
	agent := o.agentToken(ReleaseAgent, AgentSecret)
	if o.active(agent) {
		t.Error("a public client could introspect another's token")
	}
	if o.post("/v1/introspect", "client_id", ReleaseAgent, "client_secret", AgentSecret, "token", tok["access_token"].(string)).json()["active"] != true {
		t.Error("a confidential client could not introspect")
	}
	o.post("/v1/introspect", "token", agent).wantOAuth(401, "invalid_client")
	o.post("/v1/introspect", "client_id", CLIClient).wantOAuth(400, "invalid_request")
	o.advance(time.Hour)
	for _, kind := range []string{"access_token", "id_token"} {
		if o.active(tok[kind]) {
			t.Errorf("the %s is active after an hour", kind)
		}
	}
}

func TestRevoke(t *testing.T) {
	o := newTestOrg(t)
	tok := o.login("alice@acme.example")
	revoke := func(token any) answer { return o.post("/v1/revoke", "client_id", CLIClient, "token", token.(string)) }
	for _, junk := range []string{"", "junk", "a.b.c", o.agentToken(ReleaseAgent, AgentSecret)} {
		if a := revoke(junk).want(200); len(a.body) != 0 {
			t.Errorf("a body: %s", a.body)
		}
	}
	o.post("/v1/revoke", "client_id", ReleaseAgent, "client_secret", AgentSecret, "token", tok["refresh_token"].(string)).want(200)
	o.post("/v1/revoke", "client_id", ReleaseAgent, "client_secret", AgentSecret, "token", tok["access_token"].(string)).want(200)
	if !o.active(tok["access_token"]) || !o.active(tok["refresh_token"]) {
		t.Fatal("another client revoked them")
	}
	revoke(tok["access_token"]).want(200)
	if o.active(tok["access_token"]) || !o.active(tok["refresh_token"]) {
		t.Error("revoking the access token must kill it alone")
	}
	second := o.refresh(tok["refresh_token"].(string)).want(200).json()
	revoke(second["refresh_token"]).want(200)
	revoke(second["refresh_token"]).want(200)
	if o.active(second["access_token"]) || o.active(second["refresh_token"]) {
		t.Error("revoking the refresh token must kill its access tokens too")
	}
	o.refresh(second["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
	o.wantEvent("app.oauth2.as.token.revoke")
}

func TestUserinfo(t *testing.T) {
	o := newTestOrg(t)
	info := func(token string) answer {
		return o.get("/oauth2/default/v1/userinfo", "Authorization", "Bearer "+token)
	}
	tok := o.login("alice@acme.example")["access_token"].(string)
	m := info(tok).want(200).json()
	if m["sub"] != "00ualice000000000001" || m["email"] != "alice@acme.example" || m["name"] != "Alice Anders" || len(m["groups"].([]any)) != 2 {
		t.Errorf("answer %v", m)
	}
	if got := keysOf(info(o.login("bob@acme.example", "scope", "openid")["access_token"].(string)).want(200).json()); got != "sub" {
		t.Errorf("with openid alone: %s", got)
	}
	if a := info(o.login("bob@acme.example", "scope", "temporal")["access_token"].(string)).want(403); !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("without openid: %v", a.header)
	}
	for _, bad := range []string{"", "x", o.agentToken(ReleaseAgent, AgentSecret)} {
		if a := info(bad).want(401); !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%q: %v", bad, a.header)
		}
	}
	o.get("/oauth2/default/v1/userinfo", "Authorization", "Bearer "+tok, "Authorization", "Bearer "+tok).want(401)
	o.get("/oauth2/default/v1/userinfo").want(401)
}

func TestLogout(t *testing.T) {
	o := newTestOrg(t)
	b := devorgtest.NewBrowser()
	const ui, after = "http://localhost:8233/auth/sso/callback", "http://localhost:8233"
	to, err := b.Authorize(t.Context(), o.authorizeURL("client_id", UIClient, "redirect_uri", ui, "scope", "openid", "code_challenge", "", "code_challenge_method", ""), "bob@acme.example", "bailiwick")
	if err != nil {
		t.Fatal(err)
	}
	tok := o.post("/v1/token", "grant_type", "authorization_code", "code", to.Query().Get("code"), "redirect_uri", ui, "client_id", UIClient, "client_secret", UISecret).want(200).json()
	logout := func(pairs ...string) *devorgtest.Page {
		t.Helper()
		p, err := b.Open(t.Context(), o.issuer+"/v1/logout?"+formOf(pairs...).Encode())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	id := tok["id_token"].(string)
	for name, pairs := range map[string][]string{
		"no hint":         {"post_logout_redirect_uri", after},
		"junk hint":       {"id_token_hint", "x", "post_logout_redirect_uri", after},
		"access token":    {"id_token_hint", tok["access_token"].(string), "post_logout_redirect_uri", after},
		"foreign address": {"id_token_hint", id, "post_logout_redirect_uri", "https://evil.example"},
		"longer address":  {"id_token_hint", id, "post_logout_redirect_uri", after + "/"},
	} {
		if p := logout(pairs...); p.Status != 400 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p, _ := b.Open(t.Context(), o.url+"/"); !strings.Contains(p.Text(), "Signed in as bob@acme.example") {
		t.Fatal("a refused logout ended the session")
	}
	o.advance(90 * time.Minute) // an expired ID token is still a hint
	if p := logout("id_token_hint", id, "post_logout_redirect_uri", after, "state", "s 1"); p.URL.String() != after+"?state=s+1" {
		t.Errorf("sent to %s (%d)", p.URL, p.Status)
	}
	if p, _ := b.Open(t.Context(), o.url+"/"); strings.Contains(p.Text(), "bob@") {
		t.Error("the session is still there")
	}
	if p := logout("id_token_hint", id); p.URL.Path != "/login" {
		t.Errorf("without an address: %s", p.URL)
	}
	// Someone else's session is not ended.
	if _, err := b.Submit(t.Context(), mustOpen(t, b, o.url+"/login"), url.Values{"username": {"carol@acme.example"}, "password": {"bailiwick"}}); err != nil {
		t.Fatal(err)
	}
	logout("id_token_hint", id, "post_logout_redirect_uri", after)
	if p := mustOpen(t, b, o.url+"/"); !strings.Contains(p.Text(), "carol@acme.example") {
		t.Error("bob's hint ended carol's session")
	}
}

func mustOpen(t *testing.T, b *devorgtest.Browser, address string) *devorgtest.Page {
	t.Helper()
	p, err := b.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
