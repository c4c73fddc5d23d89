package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// soon measures how long it takes until something is so, and fails the test if it is not within the time.
func soon(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("%s: not within %v", what, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
}

// TestLeaver: somebody leaves at the org, and Temporal's own gate refuses their valid token within two seconds, whichever way the news takes.
func TestLeaver(t *testing.T) {
	d := start(t, newSettings(t, "--no-ui", "--no-worker"))
	defer d.stop(t)
	users := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := users[0], users[1]
	token := "Bearer " + alice.token(t)
	reason := func(token string) func() string {
		return func() string {
			r, ok := describe(t, d, token)
			if ok {
				return ""
			}
			return r.reason
		}
	}
	works := reason(token)
	if got := works(); got != "" {
		t.Fatalf("alice is refused before anything happened: %s", got)
	}

	carol.ok(t, "dev", "people", "remove-group", "alice@acme.example", "temporal:deploy:write")
	soon(t, "from the removal of her group to the refusal", 2*time.Second, func() bool { return works() != "" })
	if got := works(); got == "revoked" {
		t.Error("a lost group is told as a lost account")
	}
	carol.ok(t, "dev", "people", "add-group", "alice@acme.example", "temporal:deploy:write")
	soon(t, "from being a member again to an answer", 5*time.Second, func() bool { return works() == "" })

	for _, chaos := range [][]string{nil, {"hooks", "--drop"}, {"users", "--status", "503"}} {
		name := "by event hook"
		if chaos != nil {
			name = "with dev chaos " + strings.Join(chaos, " ")
			carol.ok(t, append([]string{"dev", "chaos", "--for", "1m"}, chaos...)...)
		}
		carol.ok(t, "dev", "people", "deactivate", "alice@acme.example")
		soon(t, "from a leaver to the refusal of their valid token, "+name, 2*time.Second, func() bool { return reason(token)() == "revoked" })
		carol.ok(t, "dev", "chaos", "clear")
		carol.ok(t, "dev", "people", "restore", "alice@acme.example")
		time.Sleep(time.Second) // tokens say in whole seconds when they were issued
		if err := alice.signIn(); err != nil {
			t.Fatal(err)
		}
		fresh := "Bearer " + alice.token(t)
		soon(t, "from a new sign-in to an answer", 5*time.Second, func() bool { return reason(fresh)() == "" })
		if got := reason(token)(); got != "revoked" {
			t.Errorf("her token from before counts again: %q", got)
		}
		token = fresh
	}

	// On record, with the provider's event behind it.
	barred := 0
	for _, e := range auditEntries(t, carol) {
		if e.Kind == audit.KindRevocation && e.Detail["event"] == "user_deactivated" && strings.HasSuffix(e.Detail["subject"], "|00ualice000000000001") && e.Detail["source_event"] != "" {
			barred++
		}
	}
	if barred != 3 {
		t.Errorf("%d revocations of alice on record, want 3", barred)
	}
}

// TestGroupBackend: a request for access takes effect as a membership at the org, and leaves none behind.
func TestGroupBackend(t *testing.T) {
	s := newSettings(t, "--no-ui", "--no-worker")
	if err := os.MkdirAll(s.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.state(), "access.yaml"), []byte("version: 1\nokta_groups:\n  - {namespace: payments, role: write, group: \"temporal:payments:write\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, s)
	defer d.stop(t)
	users := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := users[0], users[1]
	member := func() bool {
		var people []struct {
			Login  string
			Groups []string
		}
		if err := json.Unmarshal([]byte(carol.ok(t, "dev", "people", "list", "--json")), &people); err != nil {
			t.Fatal(err)
		}
		for _, p := range people {
			if p.Login == "alice@acme.example" {
				return slices.Contains(p.Groups, "temporal:payments:write")
			}
		}
		return false
	}
	var asked struct {
		Asked struct{ ID string } `json:"asked"`
	}
	alice.json(t, &asked, "access", "request", "--namespace", "payments", "--role", "write", "--for", "30m", "--reason", "INC-123")
	if asked.Asked.ID == "" {
		t.Fatalf("no id: %+v", asked)
	}
	if member() {
		t.Fatal("a member before anybody approved")
	}
	carol.ok(t, "access", "approve", asked.Asked.ID)
	soon(t, "from the approval to the membership", 10*time.Second, member)
	alice.ok(t, "access", "return", asked.Asked.ID)
	soon(t, "from giving back to the end of the membership", 10*time.Second, func() bool { return !member() })
}
