// Package oktatest is one suite of what Bailiwick needs of an org, run over internal/okta: against the development org in every test run and,
// where the environment names one, against a real org. What passes on both is what the development org may be trusted with.
//
// It owns the checks and refuses to know which org it speaks to. It reads, and changes only a scratch group and an event hook of its own, which it
// removes; people, apps and keys that are there are left as they are.
package oktatest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// Org is the org to check.
type Org struct {
	Client *okta.Client
	// HookURI is an address that the org reaches and that verifies event hooks; empty: hooks are made and removed, and not verified.
	HookURI string
	// AuthServer is the id of a custom authorization server, such as "default".
	AuthServer string
	// App is the id of the app that the client is.
	App string
}

// Run runs the suite. It needs the scopes okta.users.read, okta.groups.manage, okta.logs.read, okta.apps.read, okta.appGrants.read, okta.authorizationServers.read and
// okta.eventHooks.manage.
func Run(t *testing.T, o Org) {
	t.Run("people", o.people)
	t.Run("pages", o.pages)
	t.Run("membership", o.membership)
	t.Run("log", o.log)
	t.Run("app", o.app)
	t.Run("authorization server", o.authServer)
	t.Run("event hook", o.hook)
	t.Run("refusals", o.refusals)
}

// first is any person of the org who is active.
func (o Org) first(t *testing.T) okta.User {
	t.Helper()
	for u, err := range o.Client.Users(t.Context(), `status eq "ACTIVE"`) {
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	t.Fatal("the org has no active person")
	return okta.User{}
}

func (o Org) people(t *testing.T) {
	u := o.first(t)
	if !strings.HasPrefix(u.ID, "00u") || u.Profile.Login == "" || !u.Active() || u.LastUpdated.IsZero() {
		t.Errorf("%+v", u)
	}
	for _, by := range []string{u.ID, u.Profile.Login} {
		if same, err := o.Client.User(t.Context(), by); err != nil || same.ID != u.ID || same.Status != u.Status {
			t.Errorf("by %s: %+v, %v", by, same, err)
		}
	}
	everyone := false
	for g, err := range o.Client.UserGroups(t.Context(), u.ID) {
		if err != nil {
			t.Fatal(err)
		}
		everyone = everyone || g.Type == "BUILT_IN" && g.Profile.Name == "Everyone"
	}
	if !everyone {
		t.Error("nobody told that they are in Everyone")
	}
}

// pages reads the first pages of people and of groups, and a group's members, as a directory does: each from the cursor that the last one gave.
func (o Org) pages(t *testing.T) {
	seen := map[string]bool{}
	cursor := okta.Cursor("")
	for range 3 {
		people, next, err := o.Client.UsersPage(t.Context(), time.Time{}, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for i := range people {
			u := &people[i]
			if seen[u.ID] || u.Profile.All["login"] == nil {
				t.Errorf("%s is twice on the pages, or has no profile", u.ID)
			}
			seen[u.ID] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	groups, _, err := o.Client.GroupsPage(t.Context(), "")
	if err != nil || len(groups) == 0 || len(seen) == 0 {
		t.Fatalf("%d people, %d groups, %v", len(seen), len(groups), err)
	}
	if members, _, err := o.Client.MembersPage(t.Context(), groups[0].ID, ""); err != nil {
		t.Errorf("%d members of %s: %v", len(members), groups[0].Profile.Name, err)
	}
	// What changes is found by when it changed; the index behind it may be late, but not ahead.
	soon, _, err := o.Client.UsersPage(t.Context(), time.Now().Add(24*time.Hour), "")
	if err != nil || len(soon) != 0 {
		t.Errorf("%d people changed tomorrow, %v", len(soon), err)
	}
}

// membership makes a scratch group, and removes it.
func (o Org) membership(t *testing.T) {
	u := o.first(t)
	name := fmt.Sprintf("bailiwick-scratch-%d", time.Now().UnixNano())
	g, err := o.Client.CreateGroup(t.Context(), name, "made by Bailiwick's tests; may be deleted")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Client.DeleteGroup(context.WithoutCancel(t.Context()), g.ID); err != nil && !okta.IsNotFound(err) {
			t.Errorf("the scratch group %s was left behind: %v", name, err)
		}
	})
	members := func() (ids []string) {
		for m, err := range o.Client.Members(t.Context(), g.ID) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, m.ID)
		}
		return ids
	}
	for range 2 { // twice is once
		if err := o.Client.AddMember(t.Context(), g.ID, u.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := members(); !slices.Equal(got, []string{u.ID}) {
		t.Errorf("members %v, want %s", got, u.ID)
	}
	// Searches are served from an index that may be behind.
	eventually(t, "the group by its name", func() bool {
		found, err := o.Client.GroupNamed(t.Context(), name)
		return err == nil && found.ID == g.ID
	})
	for range 2 {
		if err := o.Client.RemoveMember(t.Context(), g.ID, u.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := members(); len(got) != 0 {
		t.Errorf("members %v after the removal", got)
	}
	if _, err := o.Client.CreateGroup(t.Context(), name, ""); err == nil {
		t.Error("two groups of one name")
	}
	if err := o.Client.DeleteGroup(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Client.Group(t.Context(), g.ID); !okta.IsNotFound(err) {
		t.Errorf("after the deletion: %v", err)
	}
}

// log polls: each event once, and what happens after the cursor comes by it.
func (o Org) log(t *testing.T) {
	began := time.Now().Add(-time.Minute)
	seen := map[string]bool{}
	cursor := ""
	for range 20 {
		events, next, err := o.Client.Logs(t.Context(), cursor, began, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.UUID == "" || e.EventType == "" || e.Published.IsZero() || e.Outcome.Result == "" {
				t.Errorf("%+v", e)
			}
			seen[e.UUID] = true
		}
		if cursor = next; len(events) == 0 {
			break
		}
	}
	name := fmt.Sprintf("bailiwick-scratch-log-%d", time.Now().UnixNano())
	g, err := o.Client.CreateGroup(t.Context(), name, "made by Bailiwick's tests; may be deleted")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Client.DeleteGroup(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group's events in the log", func() bool {
		events, next, err := o.Client.Logs(t.Context(), cursor, time.Time{}, "")
		if err != nil {
			t.Fatal(err)
		}
		cursor = next
		return slices.ContainsFunc(events, func(e okta.LogEvent) bool {
			return !seen[e.UUID] && slices.ContainsFunc(e.Target, func(p okta.LogParty) bool { return p.ID == g.ID })
		})
	})
}

func (o Org) app(t *testing.T) {
	a, err := o.Client.App(t.Context(), o.App)
	if err != nil || a.ID != o.App || a.Status != "ACTIVE" || a.Credentials.OAuth.AuthMethod != "private_key_jwt" {
		t.Errorf("%+v, %v", a, err)
	}
	keys, err := o.Client.ClientKeys(t.Context(), o.App)
	if err != nil || !slices.ContainsFunc(keys, func(k okta.ClientKey) bool { return k.Status == "ACTIVE" && k.KeyID != "" }) {
		t.Errorf("no active key among %+v, %v", keys, err)
	}
	scopes, err := o.Client.GrantedScopes(t.Context(), o.App)
	if err != nil || !slices.Contains(scopes, "okta.logs.read") {
		t.Errorf("scopes %v, %v", scopes, err)
	}
}

func (o Org) authServer(t *testing.T) {
	a, err := o.Client.AuthServer(t.Context(), o.AuthServer)
	if err != nil || len(a.Audiences) == 0 || !strings.HasPrefix(a.Issuer, "http") || a.Credentials.Signing.RotationMode == "" {
		t.Fatalf("%+v, %v", a, err)
	}
	keys, err := o.Client.SigningKeys(t.Context(), o.AuthServer)
	if err != nil {
		t.Fatal(err)
	}
	active := 0
	for _, k := range keys {
		if k.Status == "ACTIVE" {
			active++
		}
		if k.KeyID == "" || k.N == "" || k.Kty != "RSA" {
			t.Errorf("%+v", k)
		}
	}
	if active != 1 {
		t.Errorf("%d active keys of %+v", active, keys)
	}
}

// hook makes an event hook and removes it.
func (o Org) hook(t *testing.T) {
	at := o.HookURI
	if at == "" {
		at = "https://bailiwick.invalid/v1/okta/events"
	}
	h, err := o.Client.CreateEventHook(t.Context(), okta.EventHook{Name: fmt.Sprintf("bailiwick-scratch-%d", time.Now().UnixNano()), URI: at, Header: "Authorization", Types: []string{"user.lifecycle.suspend"}}, "a-secret-of-a-scratch-hook")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := o.Client.DeactivateEventHook(ctx, h.ID); err != nil {
			t.Errorf("the scratch hook %s was left behind: %v", h.Name, err)
		} else if err := o.Client.DeleteEventHook(ctx, h.ID); err != nil {
			t.Errorf("the scratch hook %s was left behind: %v", h.Name, err)
		}
	})
	if h.Verification != "UNVERIFIED" || h.URI != at {
		t.Errorf("%+v", h)
	}
	if o.HookURI != "" {
		if v, err := o.Client.VerifyEventHook(t.Context(), h.ID); err != nil || v.Verification != "VERIFIED" {
			t.Errorf("%+v, %v", v, err)
		}
	}
	all, err := o.Client.EventHooks(t.Context())
	if err != nil || !slices.ContainsFunc(all, func(x okta.EventHook) bool { return x.ID == h.ID }) {
		t.Errorf("%+v, %v", all, err)
	}
}

func (o Org) refusals(t *testing.T) {
	if _, err := o.Client.User(t.Context(), "00unobody0000000000"); !okta.IsNotFound(err) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := o.Client.GroupNamed(t.Context(), "no such group, surely"); !okta.IsNotFound(err) {
		t.Errorf("no group: %v", err)
	}
	if _, _, err := o.Client.Logs(t.Context(), "", time.Now().Add(-time.Hour), "eventType is no filter"); !okta.IsBadRequest(err) {
		t.Errorf("a filter that can't be read: %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("timed out waiting for %s", what)
}

// FromEnvironment is the real org that OKTA_ORG_URL, OKTA_CLIENT_ID and OKTA_PRIVATE_KEY (a file with an RSA key in PEM) name, and, where they
// differ from the defaults, OKTA_KEY_ID and OKTA_AUTH_SERVER. It skips the test without them.
func FromEnvironment(t *testing.T) Org {
	t.Helper()
	at, id, file := os.Getenv("OKTA_ORG_URL"), os.Getenv("OKTA_CLIENT_ID"), os.Getenv("OKTA_PRIVATE_KEY")
	if at == "" || id == "" || file == "" {
		t.Skip("set OKTA_ORG_URL, OKTA_CLIENT_ID and OKTA_PRIVATE_KEY to run against a real org")
	}
	key, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	server := os.Getenv("OKTA_AUTH_SERVER")
	if server == "" {
		server = "default"
	}
	return Org{Client: ServiceClient(t, at, id, os.Getenv("OKTA_KEY_ID"), key), AuthServer: server, App: id}
}
