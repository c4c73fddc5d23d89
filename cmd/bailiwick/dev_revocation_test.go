package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

// accessToken signs a person in at the development org by the code flow.
func accessToken(t *testing.T, issuer, login string) string {
	t.Helper()
	const verifier, callback = "a-code-verifier-of-at-least-forty-three-characters", "http://127.0.0.1:8765/callback"
	sum := sha256.Sum256([]byte(verifier))
	to, err := devorgtest.NewBrowser().Authorize(t.Context(), issuer+"/v1/authorize?"+url.Values{
		"client_id": {devorg.CLIClient}, "response_type": {"code"}, "scope": {"openid temporal"}, "redirect_uri": {callback}, "state": {"s"},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode(), login, "bailiwick")
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.PostForm(issuer+"/v1/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {devorg.CLIClient}, "code": {to.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var wire struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&wire); err != nil || wire.Token == "" {
		t.Fatalf("no token for %s (HTTP %d, %v)", login, res.StatusCode, err)
	}
	return wire.Token
}

// refusal asks the control plane, whose gate is one of those that follow, and returns the code by which it refuses; "" if it does not.
func refusal(t *testing.T, control, token string) string {
	t.Helper()
	_, answer := ask(t, http.MethodGet, control+"/v1/access/requests", token, "")
	var problem struct{ Code string }
	if err := json.Unmarshal([]byte(answer), &problem); err != nil {
		t.Fatalf("%s", answer)
	}
	return problem.Code
}

// command runs a command of ours as a user would, and fails the test if it fails.
func command(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs buffer
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != exitOK {
		t.Fatalf("bailiwick %s: exit code %d\n%s%s", strings.Join(args, " "), code, out.String(), errs.String())
	}
	return out.String()
}

// within measures how long it takes until a token is refused with the code, and fails the test after 2 s.
func within(t *testing.T, what string, began time.Time, ok func() bool) {
	t.Helper()
	for !ok() {
		if time.Since(began) > 2*time.Second {
			t.Fatalf("%s: not within 2 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
}

func TestLeaverOnALaptop(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	r := startDev(t, "--state", filepath.Join(t.TempDir(), "state"), "--ports", "auto")
	r.await(t)
	alice, bob := accessToken(t, r.ready.Issuer, "alice@acme.example"), accessToken(t, r.ready.Issuer, "bob@acme.example")
	is := func(token, code string) func() bool {
		return func() bool { return refusal(t, r.ready.Control, token) == code }
	}
	if got := refusal(t, r.ready.Control, alice); got == "revoked" {
		t.Fatal("alice is refused before anything happened")
	}
	before := refusal(t, r.ready.Control, alice)

	for _, round := range [][]string{
		{"deactivate"}, {"suspend"},
		{"deactivate", "hooks", "--drop"},                // the net below them
		{"suspend", "users", "--status", "503"},          // nobody says how she stands: the event is believed
		{"deactivate", "users", "--slow", "30s"},         // likewise
		{"suspend", "hooks", "--duplicate", "--reorder"}, // once is enough
	} {
		if len(round) > 1 {
			command(t, append([]string{"dev", "chaos", "--for", "1m"}, round[1:]...)...)
		}
		began := time.Now()
		command(t, "dev", "people", round[0], "alice@acme.example")
		within(t, strings.Join(round, " ")+": until the next call is refused", began, is(alice, "revoked"))
		if got := refusal(t, r.ready.Control, bob); got == "revoked" {
			t.Error("bob is refused with her")
		}
		command(t, "dev", "chaos", "clear")
		began = time.Now()
		command(t, "dev", "people", "restore", "alice@acme.example")
		time.Sleep(time.Second) // tokens say in whole seconds when they were issued
		fresh := accessToken(t, r.ready.Issuer, "alice@acme.example")
		eventually(t, "a new sign-in to count", is(fresh, before))
		t.Logf("restored, and signed in anew, after %v", time.Since(began).Round(time.Millisecond))
		if got := refusal(t, r.ready.Control, alice); got != "revoked" {
			t.Errorf("her token from before counts again: %q", got)
		}
		alice = fresh
	}
	if code := r.end(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, r.errs.String())
	}
}
