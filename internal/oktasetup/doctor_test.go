package oktasetup_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// checkup sets the org up and returns what Doctor needs.
func (b *bench) checkup(s oktasetup.Spec) oktasetup.Checkup {
	b.t.Helper()
	r, err := b.apply(s).Result(func(string) (string, string, string) { return "", "", "" })
	if err != nil {
		b.t.Fatal(err)
	}
	return oktasetup.Checkup{Org: b.org, Setup: r}
}

func (b *bench) doctor(c oktasetup.Checkup) []oktasetup.Finding {
	b.t.Helper()
	all, err := oktasetup.Doctor(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range all {
		if f.Code == "" || f.What == "" || f.Level == oktasetup.Wrong && f.Fix == "" {
			b.t.Errorf("a finding that says too little: %+v", f)
		}
	}
	return all
}

func has(all []oktasetup.Finding, level oktasetup.Level, code string) bool {
	return slices.ContainsFunc(all, func(f oktasetup.Finding) bool { return f.Level == level && f.Code == code })
}

func TestDoctorOfAGoodOrg(t *testing.T) {
	b := newBench(t)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"verification": r.Header.Get("X-Okta-Verification-Challenge")})
	}))
	t.Cleanup(echo.Close)
	s := spec()
	s.HookURI, s.HookTypes = echo.URL+"/v1/okta/events", []string{"user.lifecycle.suspend", "user.lifecycle.deactivate"}
	c := b.checkup(s)
	if !has(b.doctor(c), oktasetup.Warning, "rotation_by_okta") {
		t.Error("Okta's own rotation, beside ours, is not found")
	}
	if _, err := b.org.SetRotationMode(t.Context(), find(t, b.plan(s, b.options()), "server").ID, "MANUAL"); err != nil { // as the first rotation does
		t.Fatal(err)
	}
	all := b.doctor(c)
	for _, f := range all {
		if f.Level == oktasetup.Wrong || f.Level == oktasetup.Warning && f.Code != "admin_without_mfa" {
			t.Errorf("%+v", f)
		}
	}
	for _, code := range []string{"issuer", "clock", "wanted", "strangers", "groups", "rotation", "key", "least_rights", "hook", "rate_limit"} {
		if !has(all, oktasetup.Good, code) {
			t.Errorf("nothing was said of %s: %+v", code, all)
		}
	}
	if !has(all, oktasetup.Warning, "admin_without_mfa") || !has(all, oktasetup.Unknown, "rights_untried") {
		t.Errorf("%+v", all)
	}
	// The hook of another address is somebody else's, until it is adopted.
	s.HookURI = echo.URL + "/v2"
	p := b.plan(s, b.options())
	if find(t, p, "hook").Action != oktasetup.Conflict {
		t.Errorf("%s", text(p))
	}
	o := b.options()
	o.Adopt = []string{"hook"}
	if _, err := b.plan(s, o).Apply(t.Context(), b.org, o); err != nil {
		t.Fatal(err)
	}
	c.Setup.Wanted = s
	if all := b.doctor(c); !has(all, oktasetup.Wrong, "hook_unverified") && !has(all, oktasetup.Good, "hook") {
		t.Errorf("%+v", all)
	}
}

// Each thing that goes wrong has its finding.
func TestDoctorFinds(t *testing.T) {
	b := newBench(t)
	c := b.checkup(spec())
	p := b.plan(spec(), b.options())
	server := okta.Path("/api/v1/authorizationServers/%s", find(t, p, "server").ID)
	control := find(t, p, "app/control").ID
	create := func(path string, d okta.Document) okta.Document {
		t.Helper()
		made, err := b.org.CreateDocument(t.Context(), path, d)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	finds := func(level oktasetup.Level, code string) {
		t.Helper()
		if all := b.doctor(c); !has(all, level, code) {
			t.Errorf("%s is not found: %+v", code, all)
		}
	}
	finds(oktasetup.Warning, "hook_none")

	c.Clock = func() time.Time { return time.Now().Add(90 * time.Second) }
	finds(oktasetup.Wrong, "clock_skew")
	c.Clock = func() time.Time { return time.Now().Add(200 * 24 * time.Hour) }
	finds(oktasetup.Warning, "key_old")
	finds(oktasetup.Warning, "rotation_overdue")
	c.Clock = nil
	b.put(server, map[string]any{"audiences": []string{"api://else"}})
	finds(oktasetup.Wrong, "authorization_server_differs")
	b.put(server+okta.Path("/claims/%s", find(t, p, "claim/access").ID), map[string]any{"value": ".*"})
	finds(oktasetup.Wrong, "claim_differs")
	b.put(ruleOf(t, p, "cli"), map[string]any{"actions.token.accessTokenLifetimeMinutes": 600})
	finds(oktasetup.Wrong, "rule_differs")
	b.put(ruleOf(t, p, "console"), map[string]any{"actions.token.accessTokenLifetimeMinutes": 5})
	finds(oktasetup.Warning, "rule_narrowed")

	stranger := okta.Document{"type": "OAUTH_AUTHORIZATION_POLICY", "name": "Everybody", "description": "d"}
	stranger.Set("conditions.clients.include", []string{"ALL_CLIENTS"})
	create(server+"/policies", stranger)
	finds(oktasetup.Wrong, "policy_stranger")

	create(okta.Path("/oauth2/v1/clients/%s/roles", control), okta.Document{"type": "SUPER_ADMIN"})
	finds(oktasetup.Warning, "role_excess")
	create(okta.Path("/api/v1/apps/%s/grants", control), okta.Document{"scopeId": "okta.users.manage", "issuer": b.url})
	finds(oktasetup.Warning, "grant_excess")

	keys, err := b.org.ClientKeys(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Setup.Services {
		c.Setup.Services[i].KeyID, c.Setup.Services[i].KeyFile = "another", "keys/x.pem"
	}
	finds(oktasetup.Wrong, "key_unknown")
	if err := b.org.DeactivateClientKey(t.Context(), control, keys[0].ID); err != nil {
		t.Fatal(err)
	}
	finds(oktasetup.Wrong, "key_none")

	if err := b.org.DeleteGroup(t.Context(), find(t, p, "group/orders/read").ID); err != nil {
		t.Fatal(err)
	}
	finds(oktasetup.Wrong, "group_missing")
	more := c
	more.Setup.Wanted.Namespaces = nil
	for i := range 30 {
		more.Setup.Wanted.Namespaces = append(more.Setup.Wanted.Namespaces, "ns"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	b.apply(more.Setup.Wanted)
	if all := b.doctor(more); !has(all, oktasetup.Warning, "groups_may_overflow") {
		t.Errorf("%+v", all)
	}

	c.Control = func(string) (*okta.Client, error) { return b.client(okta.APIToken("no such token")), nil }
	finds(oktasetup.Wrong, "right_missing")
	c.Control = nil

	b.breaks = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth2/v1/clients/"+control+"/roles" {
			w.WriteHeader(403)
			return true
		}
		return false
	}
	finds(oktasetup.Unknown, "check_forbidden")
	b.breaks = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true }
	finds(oktasetup.Wrong, "issuer_unreachable")
	finds(oktasetup.Unknown, "check_failed")
}
