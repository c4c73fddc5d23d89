package rotation_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// okta is an Okta of two keys that never answers wrongly.
type okta struct{ rotated bool }

func (o *okta) Signing(context.Context, string) (rotation.Signing, error) {
	active, next := "a", "b"
	if o.rotated {
		active, next = "b", "c"
	}
	return rotation.Signing{Mode: "MANUAL", Keys: []rotation.Key{{ID: active, Status: "ACTIVE", JWK: "{}"}, {ID: next, Status: "NEXT", JWK: "{}"}}}, nil
}
func (o *okta) SetManual(context.Context, string) error { return nil }
func (o *okta) Rotate(context.Context, string) error    { o.rotated = true; return nil }

type api struct {
	*testing.T
	issuer   *bailiwicktest.Issuer
	url      string
	registry *rotation.Registry
	journal  string
}

func newAPI(t *testing.T) *api {
	t.Helper()
	dir := t.TempDir()
	a := &api{T: t, issuer: bailiwicktest.NewIssuer(t), journal: filepath.Join(dir, "journal")}
	if err := policy.WriteStarter(filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err)
	}
	plane, err := control.Open(t.Context(), control.Config{
		Name: "control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: a.issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: a.journal, AttestationKey: filepath.Join(dir, "keys"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	if a.registry, err = rotation.OpenRegistry(t.Context(), rotation.RegistryConfig{DSN: filepath.Join(dir, "verifiers.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.registry.Close() })
	s, err := rotation.New(rotation.Config{Servers: &okta{}, Issuers: []rotation.IssuerTarget{{ID: "default", URL: a.issuer.URL}}, Verifiers: a.registry, Decider: plane, Recorder: plane})
	if err != nil {
		t.Fatal(err)
	}
	s.Mount(plane)
	plane.Handle("POST /reports", a.registry.Reports())
	web := httptest.NewServer(plane)
	t.Cleanup(web.Close)
	a.url = web.URL
	return a
}

func (a *api) call(method, path, token, body string) (int, map[string]any) {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer res.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		a.Fatal(err)
	}
	return res.StatusCode, out
}

func TestPolicySaysWhoSeesAndRotatesKeys(t *testing.T) {
	a := newAPI(t)
	carol, alice := a.issuer.User("carol@acme.example", "security"), a.issuer.User("alice@acme.example", "temporal:payments:admin")
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/keys", ""}, {"GET", "/v1/keys/rotations", ""}, {"GET", "/v1/keys/rotations/issuer/default", ""}, {"POST", "/v1/keys/rotations?dry_run=true", `{"use":"issuer"}`},
		{"POST", "/v1/keys/rotations", `{"use":"issuer"}`}, {"DELETE", "/v1/keys/verifiers/x", ""},
	} {
		if status, body := a.call(c.method, c.path, alice, c.body); status != 403 || body["code"] != "no_permission" || body["decision"] == "" || body["next"] == nil {
			t.Errorf("%s %s for alice: %d %v", c.method, c.path, status, body)
		}
		if status, body := a.call(c.method, c.path, "nonsense", c.body); status != 401 {
			t.Errorf("%s %s for nobody: %d %v", c.method, c.path, status, body)
		}
		if status, body := a.call(c.method, c.path, carol, c.body); status == 403 || status == 401 {
			t.Errorf("%s %s for carol: %d %v", c.method, c.path, status, body)
		}
	}
	rotate := 0
	for _, e := range bailiwicktest.Entries(t, a.journal) {
		if e.Action == policy.KeysRotate && e.Actor.Login == "carol@acme.example" && e.Decision.Allow {
			rotate++
		}
	}
	if rotate != 2 {
		t.Errorf("%d decisions of carol's rotations are on record, want 2", rotate)
	}
}

func TestBadRequestsAboutKeys(t *testing.T) {
	a := newAPI(t)
	carol := a.issuer.User("carol@acme.example", "security")
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/v1/keys/rotations", `{"use":"issuer"}`, 503, "rotations_unavailable"}, // no Temporal
		{"POST", "/v1/keys/rotations", `{"use":"session"}`, 404, "use_unknown"},
		{"POST", "/v1/keys/rotations", `{"use":"issuer","target":"../x"}`, 404, "target_unknown"},
		{"POST", "/v1/keys/rotations", `{"use":"client"}`, 404, "target_unknown"},
		{"POST", "/v1/keys/rotations", `{"use":"issuer","force":true}`, 400, "body_malformed"},
		{"POST", "/v1/keys/rotations", `{`, 400, "body_malformed"},
		{"POST", "/v1/keys/rotations", strings.Repeat(" ", 70_000) + `{}`, 400, "body_malformed"},
		{"GET", "/v1/keys/rotations/issuer/none", "", 404, "target_unknown"},
		{"DELETE", "/v1/keys/verifiers/nobody", "", 409, "verifier_unknown"},
		{"POST", "/reports", `{"v":1,"verifier":"edge\n","issuers":[{"url":"x"}]}`, 400, "bad_request"},
		{"POST", "/reports", `{"v":2,"verifier":"edge","issuers":[{"url":"x"}]}`, 400, "bad_request"},
		{"POST", "/reports", `{"v":1,"verifier":"edge","issuers":[]}`, 400, "bad_request"},
		{"POST", "/reports", strings.Repeat(" ", 300_000), 400, "bad_request"},
	} {
		status, body := a.call(c.method, c.path, carol, c.body)
		if status != c.status || body["code"] != c.code || body["detail"] == nil {
			t.Errorf("%s %s %.40s: %d %v, want %d %s", c.method, c.path, c.body, status, body, c.status, c.code)
		}
	}
}

func TestVerifiersReportAndAreForgotten(t *testing.T) {
	a := newAPI(t)
	carol := a.issuer.User("carol@acme.example", "security")
	report := `{"v":1,"verifier":"edge-1","issuers":[{"url":"` + a.issuer.URL + `","key_ids":["a"],"usable":true}]}`
	if status, body := a.call("POST", "/reports", "", report); status != 200 || body["seconds"] != 15.0 || body["v"] != 1.0 {
		t.Fatalf("%d %v", status, body)
	}
	stop := a.registry.Hurry()
	if _, body := a.call("GET", "/v1/keys", carol, ""); body["verifiers"] == nil {
		t.Errorf("%v", body)
	}
	_, body := a.call("POST", "/reports", "", report)
	if expect := body["expect"].(map[string]any)[a.issuer.URL].([]any); body["seconds"] != 1.0 || len(expect) != 2 || expect[0] != "a" || expect[1] != "b" {
		t.Errorf("while somebody waits: %v", body)
	}
	stop()
	if _, look := a.call("POST", "/v1/keys/rotations?dry_run=true", carol, `{"use":"issuer"}`); look["ready"] != false || look["previous"] != "a" || look["next"] != "b" || len(look["lagging"].([]any)) != 1 {
		t.Errorf("%v", look)
	}
	if status, body := a.call("DELETE", "/v1/keys/verifiers/edge-1", carol, ""); status != 200 {
		t.Errorf("%d %v", status, body)
	}
	if _, look := a.call("POST", "/v1/keys/rotations?dry_run=true", carol, `{"use":"issuer"}`); look["ready"] != true {
		t.Errorf("after it was forgotten: %v", look)
	}
}

// Who was told of is waited for after a restart, also if it never reported itself; forgotten, only when it is heard again.
func TestRegistryOutlivesARestart(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	heard := now.Add(-time.Minute)
	cfg := rotation.RegistryConfig{DSN: filepath.Join(t.TempDir(), "verifiers.db"), Clock: func() time.Time { return now },
		Expected: func(context.Context) (map[string]time.Time, error) {
			return map[string]time.Time{"follows": heard, "long-gone": now.Add(-48 * time.Hour)}, nil
		}}
	lagging := func(do func(*rotation.Registry)) string {
		t.Helper()
		r, err := rotation.OpenRegistry(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		do(r)
		_, lag, err := r.Lagging(t.Context(), "iss", "next", now, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, l := range lag {
			names = append(names, l.Verifier+": "+l.Why)
		}
		return strings.Join(names, "; ")
	}
	report := func(kids ...string) func(*rotation.Registry) {
		return func(r *rotation.Registry) {
			if _, err := r.Take(t.Context(), standing.KeyReport{Version: 1, Verifier: "edge", Issuers: []identity.IssuerStatus{{URL: "iss", KeyIDs: kids, Usable: true}}}); err != nil {
				t.Error(err)
			}
		}
	}
	if got := lagging(report("old")); got != "edge: does not have the key; follows: never reported" {
		t.Error(got)
	}
	now = now.Add(time.Hour)
	if got := lagging(func(*rotation.Registry) {}); !strings.HasPrefix(got, "edge: not heard since 2026-11-23T12:00:00Z; follows: never") {
		t.Error(got)
	}
	forget := func(r *rotation.Registry) {
		for _, name := range []string{"edge", "follows"} {
			if err := r.Forget(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	}
	if got := lagging(forget); got != "" {
		t.Error(got)
	}
	if got := lagging(func(*rotation.Registry) {}); got != "" {
		t.Errorf("after a restart: %s", got)
	}
	heard = now.Add(time.Second)
	if got := lagging(report("old", "next")); got != "follows: never reported" {
		t.Errorf("heard again: %s", got)
	}
}
