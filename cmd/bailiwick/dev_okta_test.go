package main

import (
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// testDirectory is the adapter on a development org, by its service app with no more than its scopes; admin is another client, with all rights.
func testDirectory(t *testing.T) (o *oktaDirectory, admin *okta.Client) {
	t.Helper()
	base, _ := orgtest.Start(t, devorg.Config{Seed: devorg.Acme()})
	at, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	d := &devEnv{app: &app{}, org: &orgServer{base: base}, state: stateDir{dir: t.TempDir()}}
	if d.flags.ports.Org, err = strconv.Atoi(at.Port()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.state.path("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if o, err = d.openDirectory(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if admin, err = okta.New(okta.Config{URL: base, Credentials: okta.APIToken(devorg.APIToken)}); err != nil {
		t.Fatal(err)
	}
	return o, admin
}

func TestGroupBackendOnTheOrg(t *testing.T) {
	o, admin := testDirectory(t)
	const group, bob = "temporal:deploy:write", "00ubob00000000000001"
	in := func() bool {
		users, err := o.Members(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(users, bob)
	}
	for range 2 { // an activity may run twice
		if err := o.Add(t.Context(), group, bob); err != nil || !in() {
			t.Fatalf("adding: %v", err)
		}
	}
	p, found, err := o.Person(t.Context(), "user:"+o.issuer+"|"+bob)
	if err != nil || !found || !p.Active || p.Login != "bob@acme.example" || !slices.Contains(p.Groups, group) {
		t.Errorf("%+v %v %v", p, found, err)
	}
	for range 2 {
		if err := o.Remove(t.Context(), group, bob); err != nil || in() {
			t.Fatalf("removing: %v", err)
		}
	}

	// The manager is whom managerId names, by login or id, while they are there.
	manager := func() string {
		name, err := o.Manager(t.Context(), "user:"+o.issuer+"|"+bob)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	for id, want := range map[string]string{"carol@acme.example": "user:" + o.issuer + "|00ucarol000000000001", "00ucarol000000000001": "user:" + o.issuer + "|00ucarol000000000001",
		"": "", "nobody@acme.example": "", "frank@acme.example": ""} { // frank has left
		if _, err := admin.CreateDocument(t.Context(), "/api/v1/users/"+bob, okta.Document{"profile": map[string]any{"managerId": id}}); err != nil {
			t.Fatal(err)
		}
		if got := manager(); got != want {
			t.Errorf("managerId %q is %q, want %q", id, got, want)
		}
	}
	if name, err := o.Manager(t.Context(), "user:https://elsewhere.example|00u1"); name != "" || err != nil {
		t.Errorf("somebody of another issuer: %q, %v", name, err)
	}

	// A group that was deleted and made anew has another id.
	g, err := admin.GroupNamed(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteGroup(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	if err := o.Add(t.Context(), group, bob); err == nil || !strings.Contains(err.Error(), group) {
		t.Errorf("adding to a group that is gone: %v", err)
	}
	if _, err := admin.CreateGroup(t.Context(), group, ""); err != nil {
		t.Fatal(err)
	}
	if err := o.Add(t.Context(), group, bob); err != nil || !in() {
		t.Errorf("adding to the new group of that name: %v", err)
	}
	if err := o.Remove(t.Context(), group, "00unobody00000000001"); err != nil {
		t.Errorf("removing who is not in the org any more: %v", err)
	}
}

func TestDirectoryOfTheOrg(t *testing.T) {
	o, _ := testDirectory(t)
	for principal, want := range map[string]struct{ found, active bool }{
		"user:" + o.issuer + "|00ualice000000000001":           {true, true},
		"user:" + o.issuer + "|00ufrank000000000001":           {true, false}, // deprovisioned
		"user:" + o.issuer + "|00ugone0000000000001":           {true, false}, // deleted: not active, and not unknown
		"user:https://other.example|00ualice000000000001":      {},
		"client:" + o.issuer + "|" + devorg.DeployWorker:       {},
		"user:" + o.issuer + "|":                               {},
		"user:" + o.issuer + ".evil.example|00ualice000000001": {},
	} {
		p, found, err := o.Person(t.Context(), principal)
		if err != nil || found != want.found || p.Active != want.active {
			t.Errorf("%s: %+v %v %v", principal, p, found, err)
		}
	}
}
