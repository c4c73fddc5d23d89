package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
)

// testHTTP drives the HTTP API: the same gate, the same refusals.
func (e *environment) testHTTP(t *testing.T) {
	base := fmt.Sprintf("http://127.0.0.1:%d/api/v1/namespaces/payments/workflows/", e.cfg.HTTPPort)
	post := func(id, token string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+id,
			strings.NewReader(`{"workflowType":{"name":"Hello"},"taskQueue":{"name":"greetings"}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Bailiwick-Reason", "over http")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, body := post("http-0", ""); code != http.StatusUnauthorized || !strings.Contains(body, "token_missing") {
		t.Errorf("without token: %d %s", code, body)
	}
	if code, body := post("http-1", e.rita); code != http.StatusForbidden || !strings.Contains(body, "no_permission") {
		t.Errorf("as a reader: %d %s", code, body)
	}
	if code, body := post("http-2", e.alice); code != http.StatusOK {
		t.Fatalf("as a writer: %d %s", code, body)
	}
	started := e.history(t, "http-2", "")[0].GetWorkflowExecutionStartedEventAttributes()
	if s := e.attested(t, started.GetHeader()); s.Originator.Login != "alice@acme.example" || s.Reason != "over http" {
		t.Errorf("attested as %+v", s)
	}
	for _, entry := range e.journal(t) {
		if entry.Reason == "over http" && entry.Source != "127.0.0.1" {
			t.Errorf("the caller's address is recorded as %q", entry.Source)
		}
	}
}

// testUI signs in to the web UI by the code flow and uses its API with the token that it hands to the browser.
func (e *environment) testUI(t *testing.T) {
	select {
	case <-e.server.ui.ready:
	case <-time.After(10 * time.Second):
		t.Fatalf("the UI does not run\n%s", e.log.tail())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	user := ""
	browser := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	browser.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), uiAddress(e.cfg.UI.CallbackURL)+"/auth/sso/callback") || !strings.HasPrefix(req.URL.String(), uiAddress(e.cfg.UI.CallbackURL)) {
			return nil
		}
		return http.ErrUseLastResponse // signed in: back at the UI
	}
	resp, err := browser.Get(uiAddress(e.cfg.UI.CallbackURL) + "/auth/sso")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, c := range resp.Cookies() {
		if strings.HasPrefix(c.Name, "user") {
			user += c.Value
		}
	}
	raw, err := base64.StdEncoding.DecodeString(user)
	var signedIn struct{ AccessToken, IDToken string }
	if err != nil || json.Unmarshal(raw, &signedIn) != nil || signedIn.AccessToken == "" {
		t.Fatalf("signing in ended with %s and user cookie %q (%v)", resp.Status, user, err)
	}
	ask := func(token, id string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, uiAddress(e.cfg.UI.CallbackURL)+"/api/v1/namespaces/payments/workflows", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Authorization-Extras", id)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, body := ask("", ""); code != http.StatusUnauthorized {
		t.Errorf("without token: %d %s", code, body)
	}
	// The issuer's access token names no group, so the gate refuses: the UI itself grants nothing.
	if code, body := ask(signedIn.AccessToken, signedIn.IDToken); code != http.StatusForbidden || !strings.Contains(body, "no_permission") {
		t.Errorf("signed in without groups: %d %s", code, body)
	}
	// The same person through the same application, as a reader: the two tokens that the UI sends are of one sign-in.
	reader := e.issuer.Token(map[string]any{
		"sub": "alice@acme.example", "uid": bailiwicktest.UID("alice@acme.example"), "cid": e.cfg.UI.ClientID, "groups": []string{"temporal:payments:read"},
	})
	if code, body := ask(reader, signedIn.IDToken); code != http.StatusOK || !strings.Contains(body, "executions") {
		t.Errorf("as a reader: %d %.300s", code, body)
	}
	// Somebody else's access token beside her ID token.
	if code, body := ask(e.rita, signedIn.IDToken); code != http.StatusUnauthorized || !strings.Contains(body, "id_token_invalid") {
		t.Errorf("with the ID token of another person: %d %.300s", code, body)
	}
}
