package oktasetup_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// put changes a document in the org as an admin would.
func (b *bench) put(path string, values map[string]any) {
	b.t.Helper()
	d, err := b.org.Document(b.t.Context(), path)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.org.PutDocument(b.t.Context(), path, d.Changed(values)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) document(path string) okta.Document {
	b.t.Helper()
	d, err := b.org.Document(b.t.Context(), path)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// ruleOf is the path of a client's rule.
func ruleOf(t *testing.T, p *oktasetup.Plan, client string) string {
	return okta.Path("/api/v1/authorizationServers/%s/policies/%s/rules/%s", find(t, p, "server").ID, find(t, p, "policy/"+client).ID, find(t, p, "rule/"+client).ID)
}

// What an admin narrowed stays until set-up is told; what they widened is put right; what they renamed is found again.
func TestAdminsChanges(t *testing.T) {
	b := newBench(t)
	b.apply(spec())
	p := b.plan(spec(), b.options())
	rule, app := ruleOf(t, p, "cli"), okta.Path("/api/v1/apps/%s", find(t, p, "app/cli").ID)

	b.put(rule, map[string]any{"actions.token.accessTokenLifetimeMinutes": 10})
	b.put(app, map[string]any{"label": "Our CLI", "settings.oauthClient.redirect_uris": []string{"http://127.0.0.1:8765/callback"}})
	if err := b.org.Deactivate(t.Context(), "erin@acme.example"); err != nil { // has nothing to do with it
		t.Fatal(err)
	}
	p = b.plan(spec(), b.options())
	if !p.Nothing() || p.Count(oktasetup.Narrowed) != 2 {
		t.Fatalf("%s", text(p))
	}
	c := find(t, p, "rule/cli").Changes
	if len(c) != 1 || !c[0].Left || !c[0].Widens || c[0].From != "10" || c[0].To != "30" {
		t.Errorf("%+v", c)
	}
	b.apply(spec())
	if b.document(rule).Number("actions.token.accessTokenLifetimeMinutes") != 10 || len(b.document(app).Texts("settings.oauthClient.redirect_uris")) != 1 {
		t.Error("what an admin narrowed was given back")
	}

	// Wider than wanted, beside narrower: the one is put right, the other stays.
	b.put(rule, map[string]any{"actions.token.refreshTokenLifetimeMinutes": 0})
	p = b.plan(spec(), b.options())
	if item := find(t, p, "rule/cli"); item.Action != oktasetup.Alter || p.Count(oktasetup.Alter) != 1 || len(item.Changes) != 2 {
		t.Fatalf("%s", text(p))
	}
	b.apply(spec())
	if d := b.document(rule); d.Number("actions.token.refreshTokenLifetimeMinutes") != 7*24*60 || d.Number("actions.token.accessTokenLifetimeMinutes") != 10 {
		t.Errorf("%v", d)
	}

	o := b.options()
	o.Widen = true
	p = b.plan(spec(), o)
	if p.Count(oktasetup.Alter) != 2 {
		t.Fatalf("%s", text(p))
	}
	if _, err := p.Apply(t.Context(), b.org, o); err != nil {
		t.Fatal(err)
	}
	if d := b.document(app); len(d.Texts("settings.oauthClient.redirect_uris")) != 3 || d.Text("label") != "Our CLI" || b.document(rule).Number("actions.token.accessTokenLifetimeMinutes") != 30 {
		t.Errorf("%v", d)
	}
	if p := b.plan(spec(), b.options()); !p.Nothing() {
		t.Errorf("%s", text(p))
	}
}

// A deactivated app stays deactivated, until set-up is told.
func TestDeactivatedApp(t *testing.T) {
	b := newBench(t)
	first := b.apply(spec())
	id := find(t, first, "app/worker/deploy").ID
	if _, err := b.org.CreateDocument(t.Context(), okta.Path("/api/v1/apps/%s/lifecycle/deactivate", id), okta.Document{}); err != nil {
		t.Fatal(err)
	}
	p := b.plan(spec(), b.options())
	if item := find(t, p, "app/worker/deploy"); item.Action != oktasetup.Narrowed || item.Changes[0].From != "INACTIVE" || !p.Nothing() {
		t.Fatalf("%s", text(p))
	}
	o := b.options()
	o.Widen = true
	if _, err := b.plan(spec(), o).Apply(t.Context(), b.org, o); err != nil {
		t.Fatal(err)
	}
	if got := b.document(okta.Path("/api/v1/apps/%s", id)).Text("status"); got != "ACTIVE" {
		t.Error(got)
	}
}

// Things of others that have our names are told and left alone, unless they are adopted one by one.
func TestForeign(t *testing.T) {
	b := newBench(t)
	made, err := b.org.CreateDocument(t.Context(), "/api/v1/authorizationServers", okta.Document{"name": "Bailiwick Temporal (prod)", "description": "Theirs", "audiences": []string{"api://theirs"}})
	if err != nil {
		t.Fatal(err)
	}
	p := b.plan(spec(), b.options())
	if item := find(t, p, "server"); item.Action != oktasetup.Conflict || item.ID != made.Text("id") || p.Nothing() {
		t.Fatalf("%s", text(p))
	}
	done, err := p.Apply(t.Context(), b.org, b.options())
	if !errors.Is(err, oktasetup.ErrConflict) || len(done) != 0 || !strings.Contains(err.Error(), "--adopt server") {
		t.Errorf("%d done, %v", len(done), err)
	}
	if apps, err := b.org.Documents(t.Context(), "/api/v1/apps", nil); err != nil || len(apps) != 6 {
		t.Errorf("something was made all the same: %d apps, %v", len(apps), err)
	}
	o := b.options()
	o.Adopt = []string{"nothing"}
	if _, err := oktasetup.Make(t.Context(), b.org, spec(), o); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("an unknown key: %v", err)
	}
	o.Adopt = []string{"server"}
	if _, err := b.plan(spec(), o).Apply(t.Context(), b.org, o); err != nil {
		t.Fatal(err)
	}
	d := b.document(okta.Path("/api/v1/authorizationServers/%s", made.Text("id")))
	if got := d.Text("description"); got != "Theirs [bailiwick:prod/server]" || d.Texts("audiences")[0] != "api://temporal" {
		t.Errorf("%v", d)
	}
	if p := b.plan(spec(), b.options()); !p.Nothing() {
		t.Errorf("%s", text(p))
	}
	// Somebody copied a description with its mark: nobody can say which is ours.
	if _, err := b.org.CreateDocument(t.Context(), "/api/v1/authorizationServers", okta.Document{"name": "Copy", "description": "Theirs [bailiwick:prod/server]", "audiences": []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := oktasetup.Make(t.Context(), b.org, spec(), b.options()); err == nil || !strings.Contains(err.Error(), "two authorization servers are marked") {
		t.Errorf("two marks: %v", err)
	}
}

func TestSpec(t *testing.T) {
	good := spec()
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*oktasetup.Spec){
		"name":      func(s *oktasetup.Spec) { s.Name = "Prod!" },
		"namespace": func(s *oktasetup.Spec) { s.Namespaces = []string{"a:b"} },
		"role":      func(s *oktasetup.Spec) { s.Roles = []string{"king"} },
		"worker":    func(s *oktasetup.Spec) { s.Workers = []string{"../x"} },
		"pattern":   func(s *oktasetup.Spec) { s.Pattern = "{namespace}-{role}" },
		"console":   func(s *oktasetup.Spec) { s.Console = []string{"http://temporal.acme.com"} },
		"hook":      func(s *oktasetup.Spec) { s.HookURI, s.HookTypes = "https://control.acme.com/?x=1", []string{"a"} },
		"audience":  func(s *oktasetup.Spec) { s.Audience = "two words" },
	} {
		bad := spec()
		change(&bad)
		if bad.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for want, s := range map[string]oktasetup.Spec{
		"^temporal:.*":                     {},
		`^(temporal:.*|break-glass|a\.b)$`: {MoreGroups: []string{"break-glass", "a.b"}},
		`^t\+prod-.*`:                      {Pattern: "t+prod-{namespace}-{role}"},
	} {
		if got := s.GroupFilter(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	b := newBench(t)
	nobody := spec()
	nobody.People = "No such group"
	if _, err := oktasetup.Make(t.Context(), b.org, nobody, b.options()); !errors.Is(err, oktasetup.ErrMissing) {
		t.Errorf("%v", err)
	}
}

// What the rest is configured with names every client, and no secret.
func TestResult(t *testing.T) {
	b := newBench(t)
	r, err := b.apply(spec()).Result(func(name string) (string, string, string) { return "", "", "" })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(r.Issuer, b.url+"/oauth2/aus") || len(r.Issuers) != 1 || len(r.Issuers[0].ClientIDs) != 5 || len(r.Services) != 3 || r.Console == nil || r.Control.ClientID == "" {
		t.Errorf("%+v", r)
	}
	if y := r.RolesYAML(); strings.Count(y, "- id: 0oa") != 3 || strings.Contains(y, r.Control.ClientID) {
		t.Errorf("%s", y)
	}
	if len(maps.Collect(maps.All(b.kept))) != 1 {
		t.Errorf("%d secrets", len(b.kept))
	}
	if _, err := b.plan(oktasetup.Spec{Name: "other"}, b.options()).Result(nil); err == nil {
		t.Error("a result of what is not set up")
	}
}
