package devorg

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

func TestCodeFlowWithIndependentClient(t *testing.T) {
	o := newTestOrg(t)
	client := oauth2.Config{
		ClientID: CLIClient, RedirectURL: callback, Scopes: []string{"openid", "profile", "email", "groups", "offline_access", "temporal"},
		Endpoint: oauth2.Endpoint{AuthURL: o.issuer + "/v1/authorize", TokenURL: o.issuer + "/v1/token"},
	}
	v := oauth2.GenerateVerifier()
	to, err := devorgtest.NewBrowser().Authorize(t.Context(), client.AuthCodeURL("the state", oauth2.S256ChallengeOption(v), oauth2.SetAuthURLParam("nonce", "the nonce")), "Alice@Acme.Example", "bailiwick")
	if err != nil {
		t.Fatal(err)
	}
	if got := to.Query(); got.Get("state") != "the state" || got.Get("iss") != o.issuer || !strings.HasPrefix(to.String(), callback+"?") {
		t.Fatalf("sent back to %s", to)
	}
	o.advance(90 * time.Second)
	tok, err := client.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(v))
	if err != nil {
		t.Fatal(err)
	}

	header, access := o.verified(tok.AccessToken)
	if keysOf(header) != "alg kid" {
		t.Errorf("header members: %s", keysOf(header))
	}
	if got, want := keysOf(access), "aud auth_time cid exp groups iat iss jti scp sub uid ver"; got != want {
		t.Errorf("access token members:\n got %s\nwant %s", got, want)
	}
	now := o.clock().Unix()
	for name, want := range map[string]any{
		"ver": 1.0, "iss": o.issuer, "aud": "api://temporal", "sub": "alice@acme.example", "cid": CLIClient, "uid": "00ualice000000000001",
		"iat": float64(now), "exp": float64(now + 3600), "auth_time": float64(now - 90),
	} {
		if access[name] != want {
			t.Errorf("%s = %v, want %v", name, access[name], want)
		}
	}
	if got := fmt.Sprint(access["groups"]); got != "[temporal:deploy:write temporal:payments:read]" {
		t.Errorf("groups = %s", got)
	}
	if got := fmt.Sprint(access["scp"]); got != "[openid profile email groups offline_access temporal]" {
		t.Errorf("scp = %s", got)
	}
	if !strings.HasPrefix(access["jti"].(string), "AT.") {
		t.Errorf("jti = %v", access["jti"])
	}

	_, id := o.verified(tok.Extra("id_token"))
	if got, want := keysOf(id), "amr at_hash aud auth_time email exp groups iat idp iss jti name nonce preferred_username sub ver"; got != want {
		t.Errorf("ID token members:\n got %s\nwant %s", got, want)
	}
	half := sha256.Sum256([]byte(tok.AccessToken))
	for name, want := range map[string]any{
		"sub": "00ualice000000000001", "aud": CLIClient, "nonce": "the nonce", "name": "Alice Anders", "email": "alice@acme.example",
		"at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
	} {
		if id[name] != want {
			t.Errorf("ID token %s = %v, want %v", name, id[name], want)
		}
	}
	if !strings.HasPrefix(id["jti"].(string), "ID.") {
		t.Errorf("ID token jti = %v", id["jti"])
	}

	// The client's own refreshing works against the rotation.
	o.advance(time.Hour)
	tok.Expiry = time.Now().Add(-time.Minute)
	fresh, err := client.TokenSource(t.Context(), tok).Token()
	if err != nil {
		t.Fatal(err)
	}
	if fresh.RefreshToken == tok.RefreshToken || fresh.AccessToken == tok.AccessToken {
		t.Error("the tokens did not change")
	}
	for _, kind := range []string{"user.session.start", "app.oauth2.as.authorize.code", "app.oauth2.as.token.grant.access_token", "app.oauth2.as.token.grant.id_token", "app.oauth2.as.token.grant.refresh_token"} {
		o.wantEvent(kind)
	}
}

func TestConfidentialClientWithoutPKCE(t *testing.T) {
	o := newTestOrg(t)
	const ui = "http://localhost:8233/auth/sso/callback"
	code := o.code("bob@acme.example", "client_id", UIClient, "redirect_uri", ui, "code_challenge", "", "code_challenge_method", "", "scope", "openid profile email")
	args := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", ui, "client_id", UIClient}
	o.post("/v1/token", append(args, "client_secret", "wrong")...).wantOAuth(401, "invalid_client")
	o.post("/v1/token", args...).wantOAuth(401, "invalid_client")
	o.post("/v1/token", append(args, "client_secret", UISecret, "code_verifier", verifier)...).wantOAuth(400, "invalid_grant")
	tok := o.post("/v1/token", append(args, "client_secret", UISecret)...).want(200)
	if cc := tok.header.Get("Cache-Control"); !strings.Contains(cc, "no-store") {
		t.Errorf("Cache-Control %q on a token", cc)
	}
	if _, id := o.verified(tok.json()["id_token"]); id["groups"] != nil {
		t.Error("groups in an ID token that did not ask for them")
	}
	if tok.json()["refresh_token"] != nil {
		t.Error("a refresh token without offline_access")
	}
}

func TestAuthorizeRefusesWithoutRedirecting(t *testing.T) {
	o := newTestOrg(t)
	for name, changes := range map[string][]string{
		"unknown client":         {"client_id", "0oanobody"},
		"no client":              {"client_id", ""},
		"service client":         {"client_id", DeployWorker},
		"no redirect":            {"redirect_uri", ""},
		"other port":             {"redirect_uri", "http://127.0.0.1:9999/callback"},
		"localhost for loopback": {"redirect_uri", "http://localhost:8765/callback"},
		"longer path":            {"redirect_uri", callback + "/more"},
		"added query":            {"redirect_uri", callback + "?x=1"},
		"other case":             {"redirect_uri", "http://127.0.0.1:8765/Callback"},
		"another client's":       {"redirect_uri", "http://localhost:8233/auth/sso/callback"},
		"script":                 {"redirect_uri", "javascript:alert(1)"},
	} {
		t.Run(name, func(t *testing.T) {
			a := o.get(o.authorizeURL(changes...))
			if a.status != 400 || a.header.Get("Location") != "" {
				t.Fatalf("status %d, Location %q", a.status, a.header.Get("Location"))
			}
			checkPage(t, a.header, string(a.body))
		})
	}
	a := o.get(o.authorizeURL() + "&state=again")
	if a.status != 400 || a.header.Get("Location") != "" {
		t.Errorf("a parameter sent twice: status %d", a.status)
	}
}

func TestAuthorizeRefusesByRedirect(t *testing.T) {
	o := newTestOrg(t)
	for name, tc := range map[string]struct {
		code    string
		changes []string
	}{
		"token response":     {"unsupported_response_type", []string{"response_type", "token"}},
		"no response type":   {"unsupported_response_type", []string{"response_type", ""}},
		"fragment":           {"invalid_request", []string{"response_mode", "fragment"}},
		"no state":           {"invalid_request", []string{"state", ""}},
		"no PKCE":            {"invalid_request", []string{"code_challenge", "", "code_challenge_method", ""}},
		"plain PKCE":         {"invalid_request", []string{"code_challenge_method", "plain"}},
		"PKCE method absent": {"invalid_request", []string{"code_challenge_method", ""}},
		"short challenge":    {"invalid_request", []string{"code_challenge", "short"}},
		"unknown scope":      {"invalid_scope", []string{"scope", "openid everything"}},
		"no scope":           {"invalid_scope", []string{"scope", ""}},
		"request object":     {"request_not_supported", []string{"request", "eyJ"}},
		"request uri":        {"request_uri_not_supported", []string{"request_uri", "https://evil.example"}},
		"prompt":             {"invalid_request", []string{"prompt", "select_account"}},
		"max_age":            {"invalid_request", []string{"max_age", "-1"}},
		"prompt none":        {"login_required", []string{"prompt", "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := o.get(o.authorizeURL(tc.changes...)).want(302)
			to, err := url.Parse(a.header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			q := to.Query()
			if !strings.HasPrefix(to.String(), callback+"?") || q.Get("error") != tc.code || q.Get("iss") != o.issuer || q.Get("code") != "" {
				t.Fatalf("sent to %s", to)
			}
			if name != "no state" && q.Get("state") != "st-1" {
				t.Errorf("state %q", q.Get("state"))
			}
		})
	}
}

func TestSessionIsUsedAgainUnlessTheClientObjects(t *testing.T) {
	o := newTestOrg(t)
	b := devorgtest.NewBrowser()
	if _, err := b.Authorize(t.Context(), o.authorizeURL(), "alice@acme.example", "bailiwick"); err != nil {
		t.Fatal(err)
	}
	// No password this time: the session answers.
	to, err := b.Authorize(t.Context(), o.authorizeURL("prompt", "none"), "", "")
	if err != nil || to.Query().Get("code") == "" {
		t.Fatalf("%v %v", to, err)
	}
	o.advance(10 * time.Minute)
	for _, changes := range [][]string{{"prompt", "login"}, {"max_age", "300"}} {
		p, err := b.Open(t.Context(), o.authorizeURL(changes...))
		if err != nil {
			t.Fatal(err)
		}
		if p.URL.Path != "/login" {
			t.Fatalf("%v led to %s", changes, p.URL)
		}
		p, err = b.Submit(t.Context(), p, url.Values{"username": {"alice@acme.example"}, "password": {"bailiwick"}})
		if err != nil || p.URL.Query().Get("code") == "" {
			t.Fatalf("%v: after the login: %+v %v", changes, p, err)
		}
		o.advance(10 * time.Minute)
	}
	o.advance(3 * time.Hour)
	if p, err := b.Open(t.Context(), o.authorizeURL()); err != nil || p.URL.Path != "/login" {
		t.Errorf("an expired session led to %v %v", p.URL, err)
	}
}

func TestCodeIsBoundAndSingleUse(t *testing.T) {
	o := newTestOrg(t)
	good := func(code string) []string {
		return []string{"grant_type", "authorization_code", "client_id", CLIClient, "code", code, "redirect_uri", callback, "code_verifier", verifier}
	}
	for name, change := range map[string][]string{
		"wrong verifier":   {"code_verifier", verifier + "x"},
		"no verifier":      {"code_verifier", ""},
		"other redirect":   {"redirect_uri", "http://127.0.0.1:8766/callback"},
		"no redirect":      {"redirect_uri", ""},
		"no code":          {"code", ""},
		"invented code":    {"code", newSecret()},
		"unknown grant":    {"grant_type", "password"},
		"no grant":         {"grant_type", ""},
		"not for a client": {"grant_type", grantClient},
	} {
		t.Run(name, func(t *testing.T) {
			code := o.code("alice@acme.example")
			want := map[string]string{"unknown grant": "unsupported_grant_type", "no grant": "invalid_request", "not for a client": "unauthorized_client"}[name]
			if want == "" {
				want = "invalid_grant"
			}
			o.post("/v1/token", append(good(code), change...)...).wantOAuth(400, want)
			// A refused attempt does not spend the code.
			o.post("/v1/token", good(code)...).want(200)
		})
	}
	t.Run("another client", func(t *testing.T) {
		code := o.code("alice@acme.example")
		o.post("/v1/token", append(good(code), "client_id", UIClient, "client_secret", UISecret)...).wantOAuth(400, "invalid_grant")
	})
	t.Run("expired", func(t *testing.T) {
		code := o.code("alice@acme.example")
		o.advance(300 * time.Second)
		o.post("/v1/token", good(code)...).wantOAuth(400, "invalid_grant")
	})
	t.Run("twice", func(t *testing.T) {
		code := o.code("alice@acme.example")
		first := o.post("/v1/token", good(code)...).want(200).json()
		if !o.active(first["access_token"]) {
			t.Fatal("a fresh token is not active")
		}
		o.post("/v1/token", good(code)...).wantOAuth(400, "invalid_grant")
		if o.active(first["access_token"]) {
			t.Error("the first redemption's access token survived the second attempt")
		}
		o.refresh(first["refresh_token"].(string)).wantOAuth(400, "invalid_grant")
	})
	t.Run("not a form", func(t *testing.T) {
		o.request("POST", "/oauth2/default/v1/token", `{"grant_type":"x"}`, "Content-Type", "application/json").wantOAuth(400, "invalid_request")
		o.request("POST", "/oauth2/default/v1/token", "grant_type=a&grant_type=b", "Content-Type", "application/x-www-form-urlencoded").wantOAuth(400, "invalid_request")
	})
	o.wantEvent("app.oauth2.as.token.grant")
}

func TestTooManyGroups(t *testing.T) {
	o := newTestOrg(t)
	for i := range 101 {
		g := o.api("POST", "/api/v1/groups", map[string]any{"profile": map[string]any{"name": fmt.Sprintf("temporal:many:%d", i)}}).want(200).json()
		o.api("PUT", fmt.Sprintf("/api/v1/groups/%s/users/00uerin0000000000001", g["id"]), nil).want(204)
	}
	o.redeem(o.code("erin@acme.example")).wantOAuth(400, "invalid_request")
}
