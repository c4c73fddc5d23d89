package devorg

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

func (o *testOrg) exchange(client, secret string, pairs ...string) answer {
	o.t.Helper()
	form := []string{"grant_type", grantExchange, "client_id", client, "client_secret", secret, "subject_token_type", accessTokenType, "audience", "api://temporal", "scope", "temporal"}
	return o.post("/v1/token", append(form, pairs...)...)
}

func (o *testOrg) agentToken(client, secret string) string {
	o.t.Helper()
	return o.post("/v1/token", "grant_type", grantClient, "scope", "temporal", "client_id", client, "client_secret", secret).want(200).json()["access_token"].(string)
}

// withSecondAgent seeds another agent and a service that is none.
func withSecondAgent(c *Config) {
	c.Seed = Acme()
	c.Seed.Apps = append(c.Seed.Apps,
		App{ID: "0oasecondagent000001", Label: "Second agent", Type: "service", AuthMethod: authSecret, Secret: "second-agent-secret", Agent: true, GrantTypes: []string{grantClient, grantExchange}},
		App{ID: "0oaservice0000000001", Label: "Service", Type: "service", AuthMethod: authSecret, Secret: "service-secret-0001", GrantTypes: []string{grantClient, grantExchange}})
}

func TestOnBehalfOf(t *testing.T) {
	o := newTestOrg(t, withSecondAgent)
	login := o.login("alice@acme.example")
	authTime := float64(o.clock().Unix())
	o.advance(10 * time.Minute)
	got := o.exchange("0oaservice0000000001", "service-secret-0001", "subject_token", login["access_token"].(string)).want(200).json()
	if keysOf(got) != "access_token expires_in issued_token_type scope token_type" || got["issued_token_type"] != accessTokenType {
		t.Errorf("answer %v", got)
	}
	_, claims := o.verified(got["access_token"])
	if got, want := keysOf(claims), "aud auth_time cid exp groups iat iss jti scp sub uid ver"; got != want {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	if claims["cid"] != "0oaservice0000000001" || claims["sub"] != "alice@acme.example" || claims["uid"] != "00ualice000000000001" || claims["auth_time"] != authTime || fmt.Sprint(claims["scp"]) != "[temporal]" {
		t.Errorf("claims %v", claims)
	}
	// What came out of a login dies with it.
	o.post("/v1/revoke", "client_id", CLIClient, "token", login["refresh_token"].(string)).want(200)
	if o.post("/v1/introspect", "client_id", ReleaseAgent, "client_secret", AgentSecret, "token", got["access_token"].(string)).want(200).json()["active"] != false {
		t.Error("the exchanged token outlived the login")
	}
	o.exchange("0oaservice0000000001", "service-secret-0001", "subject_token", login["access_token"].(string)).wantOAuth(400, "invalid_grant")
}

func TestAgentsChain(t *testing.T) {
	o := newTestOrg(t, withSecondAgent)
	user := o.login("alice@acme.example")["access_token"].(string)
	actorArgs := func(token string) []string {
		return []string{"actor_token", token, "actor_token_type", accessTokenType}
	}
	one := o.exchange(ReleaseAgent, AgentSecret, append(actorArgs(o.agentToken(ReleaseAgent, AgentSecret)), "subject_token", user)...).want(200).json()["access_token"].(string)
	_, claims := o.verified(one)
	if got, want := keysOf(claims), "act aud auth_time cid exp groups iat iss jti scope sub sub_profile uid ver"; got != want {
		t.Errorf("members:\n got %s\nwant %s", got, want)
	}
	if claims["sub"] != "00ualice000000000001" || claims["uid"] != "00ualice000000000001" || claims["sub_profile"] != "user" || claims["scope"] != "temporal" || claims["cid"] != ReleaseAgent {
		t.Errorf("claims %v", claims)
	}
	wantAct(t, claims, `{"sub":"0oareleaseagent00001","sub_profile":"ai_agent"}`)

	two := o.exchange("0oasecondagent000001", "second-agent-secret", append(actorArgs(o.agentToken("0oasecondagent000001", "second-agent-secret")), "subject_token", one)...).want(200).json()["access_token"].(string)
	_, claims = o.verified(two)
	wantAct(t, claims, `{"act":{"sub":"0oareleaseagent00001","sub_profile":"ai_agent"},"sub":"0oasecondagent000001","sub_profile":"ai_agent"}`)

	// A chain cannot be laundered by leaving the actor out, nor grow for ever.
	o.exchange("0oaservice0000000001", "service-secret-0001", "subject_token", two).wantOAuth(400, "invalid_request")
	token := two
	for depth := 3; ; depth++ {
		a := o.exchange(ReleaseAgent, AgentSecret, append(actorArgs(o.agentToken(ReleaseAgent, AgentSecret)), "subject_token", token)...)
		if depth > maxActors {
			a.wantOAuth(400, "invalid_request")
			break
		}
		token = a.want(200).json()["access_token"].(string)
	}
}

func wantAct(t *testing.T, claims map[string]any, want string) {
	t.Helper()
	got, err := json.Marshal(claims["act"])
	if err != nil || string(got) != want {
		t.Errorf("act = %s, want %s (%v)", got, want, err)
	}
}

func TestExchangeRefusals(t *testing.T) {
	o := newTestOrg(t, withSecondAgent)
	login := o.login("alice@acme.example")
	user := login["access_token"].(string)
	agent := o.agentToken(ReleaseAgent, AgentSecret)
	for name, tc := range map[string]struct {
		code  string
		pairs []string
	}{
		"no subject":               {"invalid_grant", nil},
		"junk subject":             {"invalid_grant", []string{"subject_token", "a.b.c"}},
		"client as subject":        {"invalid_grant", []string{"subject_token", agent}},
		"ID token as subject":      {"invalid_grant", []string{"subject_token", login["id_token"].(string)}},
		"refresh token as subject": {"invalid_grant", []string{"subject_token", login["refresh_token"].(string)}},
		"subject type":             {"invalid_request", []string{"subject_token", user, "subject_token_type", "urn:ietf:params:oauth:token-type:id_token"}},
		"requested type":           {"invalid_request", []string{"subject_token", user, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}},
		"audience":                 {"invalid_target", []string{"subject_token", user, "audience", "api://other"}},
		"no audience":              {"invalid_target", []string{"subject_token", user, "audience", ""}},
		"offline":                  {"invalid_scope", []string{"subject_token", user, "scope", "temporal offline_access"}},
		"no scope":                 {"invalid_scope", []string{"subject_token", user, "scope", ""}},
		"actor without type":       {"invalid_request", []string{"subject_token", user, "actor_token", agent}},
		"a user as actor":          {"invalid_grant", []string{"subject_token", user, "actor_token", user, "actor_token_type", accessTokenType}},
		"another client as actor":  {"invalid_grant", []string{"subject_token", user, "actor_token_type", accessTokenType, "actor_token", o.agentToken("0oaservice0000000001", "service-secret-0001")}},
		"junk actor":               {"invalid_grant", []string{"subject_token", user, "actor_token", "x", "actor_token_type", accessTokenType}},
	} {
		t.Run(name, func(t *testing.T) { o.exchange(ReleaseAgent, AgentSecret, tc.pairs...).wantOAuth(400, tc.code) })
	}
	o.exchange("0oaservice0000000001", "service-secret-0001", "subject_token", user, "actor_token", o.agentToken("0oaservice0000000001", "service-secret-0001"), "actor_token_type", accessTokenType).
		wantOAuth(400, "invalid_request") // not an agent
	o.exchange(UIClient, UISecret, "subject_token", user).wantOAuth(400, "unauthorized_client")
	o.advance(time.Hour)
	o.exchange(ReleaseAgent, AgentSecret, "subject_token", user).wantOAuth(400, "invalid_grant")
}
