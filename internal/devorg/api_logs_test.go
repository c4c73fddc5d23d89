package devorg

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func (o *testOrg) makeGroup(name string) {
	o.t.Helper()
	o.api("POST", "/api/v1/groups", map[string]any{"profile": map[string]any{"name": name}}).want(200)
}

func names(events []map[string]any) string {
	var out []string
	for _, e := range events {
		targets := e["target"].([]any)
		out = append(out, targets[0].(map[string]any)["displayName"].(string))
	}
	return strings.Join(out, " ")
}

func TestLogPolling(t *testing.T) {
	o := newTestOrg(t)
	empty := o.api("GET", "/api/v1/logs?since=2026-11-23T11:00:00.000Z", nil).want(200)
	if len(empty.list()) != 0 || next(empty) == "" {
		t.Fatalf("an empty page must have a next link: %q", next(empty))
	}
	for i := range 5 {
		o.makeGroup(fmt.Sprint("g", i))
		o.advance(time.Second)
	}
	// The link of the empty page finds what came after it; pages follow one another without loss.
	var got []map[string]any
	path := strings.Replace(next(empty), "?", "?limit=2&", 1)
	for range 3 {
		a := o.api("GET", strings.TrimPrefix(path, o.url), nil).want(200)
		got, path = append(got, a.list()...), next(a)
	}
	if names(got) != "g0 g1 g2 g3 g4" {
		t.Errorf("polled %q", names(got))
	}
	idle := o.api("GET", strings.TrimPrefix(path, o.url), nil).want(200)
	if len(idle.list()) != 0 || next(idle) == "" {
		t.Error("an idle poll must be empty and have a next link")
	}
	o.makeGroup("g5")
	o.restart()
	if a := o.api("GET", strings.TrimPrefix(next(idle), o.url), nil); names(a.list()) != "g5" {
		t.Errorf("after a restart the persisted link gives %q", names(a.list()))
	}

	e := got[0]
	for _, name := range []string{"uuid", "published", "eventType", "actor", "target", "outcome", "authenticationContext", "transaction", "debugContext", "severity", "displayMessage", "version", "client"} {
		if e[name] == nil {
			t.Errorf("the event lacks %s", name)
		}
	}
	if e["published"] != "2026-11-23T12:00:00.000Z" || e["eventType"] != "group.lifecycle.create" || e["outcome"].(map[string]any)["result"] != "SUCCESS" {
		t.Errorf("event %v", e)
	}
}

func TestLogQueries(t *testing.T) {
	o := newTestOrg(t)
	for i := range 5 {
		o.makeGroup(fmt.Sprint("g", i))
		o.advance(time.Second)
	}
	o.login("alice@acme.example")
	query := func(pairs ...string) answer { return o.api("GET", "/api/v1/logs?"+formOf(pairs...).Encode(), nil) }
	const group = `eventType eq "group.lifecycle.create"`

	bounded := query("since", "2026-11-23T12:00:01Z", "until", "2026-11-23T12:00:03.000Z")
	if names(bounded.list()) != "g1 g2" || next(bounded) != "" {
		t.Errorf("bounded: %q, next %q", names(bounded.list()), next(bounded))
	}
	down := query("sortOrder", "DESCENDING", "filter", group, "limit", "2")
	if names(down.list()) != "g4 g3" || next(down) == "" {
		t.Errorf("descending: %q, next %q", names(down.list()), next(down))
	}
	if rest := o.api("GET", strings.TrimPrefix(next(down), o.url), nil); names(rest.list()) != "g2 g1" {
		t.Errorf("descending, second page: %q", names(rest.list()))
	}
	if got := query("filter", group+` or eventType eq "user.session.start"`).list(); len(got) != 6 {
		t.Errorf("filter: %d events", len(got))
	}
	if got := query("filter", `target.displayName eq "g3" and outcome.result eq "SUCCESS"`).list(); names(got) != "g3" {
		t.Errorf("by target: %q", names(got))
	}
	login := query("filter", `eventType eq "user.session.start"`).list()[0]
	grant := query("filter", `eventType eq "app.oauth2.as.token.grant.access_token"`).list()[0]
	session := func(e map[string]any) any { return e["authenticationContext"].(map[string]any)["externalSessionId"] }
	if session(login) != session(grant) || session(login) == "unknown" {
		t.Errorf("the login's session %v and the grant's %v", session(login), session(grant))
	}
	o.makeGroup("easily found")
	if got := query("q", "Easily Found").list(); names(got) != "easily found" {
		t.Errorf("q: %q", names(got))
	}
	o.advance(8 * 24 * time.Hour)
	if got := query().list(); len(got) != 0 {
		t.Errorf("without since: %d events older than a week", len(got))
	}

	for _, bad := range [][]string{
		{"since", "2026-11-23T12:00:00Z", "after", "3"}, {"since", "yesterday"}, {"until", "x"}, {"limit", "1001"}, {"limit", "0"},
		{"after", "x"}, {"after", "-1"}, {"after", "since_x"}, {"sortOrder", "UP"}, {"filter", "eventType"},
	} {
		query(bad...).wantAPI(400, "E0000001")
	}
}

// Tokens, codes, passwords and secrets must not be in the log.
func TestLogHoldsNoSecrets(t *testing.T) {
	o := newTestOrg(t)
	code := o.code("alice@acme.example")
	tok := o.redeem(code).want(200).json()
	second := o.refresh(tok["refresh_token"].(string)).want(200).json()
	o.post("/v1/revoke", "client_id", CLIClient, "token", second["refresh_token"].(string))
	agent := o.agentToken(ReleaseAgent, AgentSecret)
	log := string(o.api("GET", "/api/v1/logs?limit=1000", nil).want(200).body)
	for name, secret := range map[string]any{
		"code": code, "access token": tok["access_token"], "ID token": tok["id_token"], "refresh token": tok["refresh_token"], "rotated refresh token": second["refresh_token"],
		"agent token": agent, "secret": AgentSecret, "API token": APIToken,
	} {
		if strings.Contains(log, secret.(string)) {
			t.Errorf("the log contains the %s", name)
		}
	}
}
