package devorg

import (
	"testing"
	"time"
)

func TestRefreshRotationAndReuse(t *testing.T) {
	o := newTestOrg(t)
	first := o.login("alice@acme.example")
	authTime := float64(o.clock().Unix())
	o.advance(30 * time.Minute)
	second := o.refresh(first["refresh_token"].(string)).want(200).json()
	if keysOf(second) != "access_token expires_in id_token refresh_token scope token_type" || second["refresh_token"] == first["refresh_token"] {
		t.Fatalf("answer %v", second)
	}
	if _, claims := o.verified(second["access_token"]); claims["auth_time"] != authTime {
		t.Errorf("auth_time %v after a refresh, want the login's %v", claims["auth_time"], authTime)
	}

	// Within the leeway the old one still works: two processes may have raced.
	o.advance(30 * time.Second)
	third := o.refresh(first["refresh_token"].(string)).want(200).json()
	for _, tok := range []any{second["access_token"], third["access_token"], second["refresh_token"], third["refresh_token"]} {
		if !o.active(tok) {
			t.Fatal("a token died within the leeway")
		}
	}

	// After it, reuse means theft: everything of this login dies.
	other := o.login("alice@acme.example")
	o.advance(time.Second)
	o.refresh(first["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
	for _, tok := range []any{second["access_token"], third["access_token"], second["refresh_token"], third["refresh_token"]} {
		if o.active(tok) {
			t.Error("a token of the family outlived the reuse")
		}
	}
	o.refresh(second["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
	o.refresh(third["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
	if !o.active(other["access_token"]) {
		t.Error("another login's token died too")
	}
	o.wantEvent("app.oauth2.as.token.detect_reuse")
}

func TestRefreshRefusals(t *testing.T) {
	o := newTestOrg(t)
	tok := o.login("alice@acme.example")["refresh_token"].(string)
	o.refresh("").wantOAuth(400, "invalid_grant")
	o.refresh(newSecret()).wantOAuth(400, "invalid_grant")
	o.post("/v1/token", "grant_type", "refresh_token", "client_id", UIClient, "client_secret", UISecret, "refresh_token", tok).wantOAuth(400, "invalid_grant")
	o.post("/v1/token", "grant_type", "refresh_token", "client_id", CLIClient, "refresh_token", tok, "scope", "openid temporal temporal.worker").wantOAuth(400, "invalid_scope")
	narrow := o.post("/v1/token", "grant_type", "refresh_token", "client_id", CLIClient, "refresh_token", tok, "scope", "temporal offline_access").want(200).json()
	if narrow["scope"] != "temporal offline_access" || narrow["id_token"] != nil {
		t.Errorf("narrowed: %v", narrow)
	}

	idle := o.login("bob@acme.example")["refresh_token"].(string)
	o.advance(7*24*time.Hour - time.Second)
	next := o.refresh(idle).want(200).json()["refresh_token"].(string)
	o.advance(7 * 24 * time.Hour)
	o.refresh(next).wantOAuth(400, "invalid_grant")
}

func TestStaticRefreshTokens(t *testing.T) {
	o := newTestOrg(t, func(c *Config) {
		c.Seed = Acme()
		c.Seed.Apps[0].StaticTokens = true
	})
	tok := o.login("alice@acme.example")["refresh_token"].(string)
	for range 3 {
		o.advance(6 * 24 * time.Hour)
		if got := o.refresh(tok).want(200).json()["refresh_token"]; got != tok {
			t.Fatal("a static refresh token changed")
		}
	}
}

func TestLosingTheAccountKillsTokens(t *testing.T) {
	for name, lose := range map[string]func(*testOrg){
		"suspend": func(o *testOrg) { o.api("POST", "/api/v1/users/alice@acme.example/lifecycle/suspend", nil).want(200) },
		"deactivate": func(o *testOrg) {
			o.api("POST", "/api/v1/users/alice@acme.example/lifecycle/deactivate", nil).want(200)
		},
		"clear sessions": func(o *testOrg) {
			o.api("DELETE", "/api/v1/users/00ualice000000000001/sessions?oauthTokens=true", nil).want(204)
		},
		"delete": func(o *testOrg) {
			o.api("DELETE", "/api/v1/users/alice@acme.example", nil).want(204)
			o.api("DELETE", "/api/v1/users/alice@acme.example", nil).want(204)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTestOrg(t)
			tok := o.login("alice@acme.example")
			code := o.code("alice@acme.example")
			if !o.active(tok["access_token"]) || !o.active(tok["refresh_token"]) {
				t.Fatal("fresh tokens are not active")
			}
			lose(o)
			if o.active(tok["access_token"]) || o.active(tok["refresh_token"]) {
				t.Error("tokens outlived it")
			}
			o.refresh(tok["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
			o.redeem(code).wantOAuth(400, "invalid_grant")
			o.get("/oauth2/default/v1/userinfo", "Authorization", "Bearer "+tok["access_token"].(string)).want(401)
			if name == "suspend" {
				// What was taken stays taken when the person comes back; a new login works.
				o.api("POST", "/api/v1/users/alice@acme.example/lifecycle/unsuspend", nil).want(200)
				o.refresh(tok["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
				o.login("alice@acme.example")
			}
		})
	}
	t.Run("clear sessions without oauthTokens", func(t *testing.T) {
		o := newTestOrg(t)
		tok := o.login("alice@acme.example")
		o.api("DELETE", "/api/v1/users/00ualice000000000001/sessions", nil).want(204)
		o.refresh(tok["refresh_token"].(string)).want(200)
	})
}
