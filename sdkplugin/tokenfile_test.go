package sdkplugin_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// projected puts a token where a kubelet would, by a rename.
func projected(t *testing.T, path, token string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func jwtUntil(t time.Time) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, t.Unix())) + ".c2ln"
}

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		first, second := jwtUntil(time.Now().Add(time.Hour)), jwtUntil(time.Now().Add(2*time.Hour))
		projected(t, path, first)
		c, err := sdkplugin.TokenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, c, first)
		projected(t, path, second)
		time.Sleep(2 * time.Second)
		wantToken(t, c, second)
		// Gone for a moment: the last one serves, until it ends.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wantToken(t, c, second)
		time.Sleep(2 * time.Hour)
		if token, err := c.Token(t.Context()); err == nil || strings.Contains(err.Error(), second) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("an expired token: %q, %v", token, err)
		}
		third := jwtUntil(time.Now().Add(time.Hour))
		projected(t, path, third)
		wantToken(t, c, third)
	})
	for name, content := range map[string]string{"empty": "", "two words": "a b", "a page": "<html>\n<body>", "large": strings.Repeat("x", 1<<17)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sdkplugin.TokenFile(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := sdkplugin.TokenFile(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A renewed token reaches a running program's next call.
func TestRenewedTokenReachesARunningClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	projected(t, path, "first")
	creds, err := sdkplugin.TokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, addr := serve(t)
	c, err := client.Dial(client.Options{HostPort: addr, Plugins: []client.Plugin{newPlugin(t, sdkplugin.Options{Credentials: creds})}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := func() string {
		t.Helper()
		if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "q"}, "w"); err != nil {
			t.Fatal(err)
		}
		return f.last().Get("authorization")[0]
	}
	if got := sent(); got != "Bearer first" {
		t.Errorf("sent %q", got)
	}
	projected(t, path, "second")
	time.Sleep(1100 * time.Millisecond)
	if got := sent(); got != "Bearer second" {
		t.Errorf("sent %q", got)
	}
}

func TestAssertionFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assertion")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{lifetime: 300}
		projected(t, path, "assertion-1")
		c, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: tokenURL, ClientID: "0oa1", AssertionFile: path, HTTPClient: directClient(i.ServeHTTP)})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, c, "token-1")
		projected(t, path, "assertion-2")
		time.Sleep(time.Hour)
		wantToken(t, c, "token-2")
		for n, want := range []string{"assertion-1", "assertion-2"} {
			f := i.request(n).Form
			if f.Get("client_assertion") != want || f.Get("client_id") != "0oa1" || f.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
				t.Errorf("request %d: %v", n, f)
			}
		}
	})
	for name, cfg := range map[string]sdkplugin.ClientCredentialsConfig{
		"no file":    {TokenURL: tokenURL, ClientID: "c", AssertionFile: path + ".none"},
		"two proofs": {TokenURL: tokenURL, ClientID: "c", AssertionFile: path, Secret: "s"},
	} {
		if _, err := sdkplugin.ClientCredentials(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDeviceLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "temporal.toml")
	refreshes := 0
	hc := directClient(func(w http.ResponseWriter, r *http.Request) {
		refreshes++
		_ = r.ParseForm()
		w.Header().Set("Content-Type", "application/json")
		if r.Form.Get("refresh_token") != "R1" || r.Form.Get("client_id") != "cli" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprint(w, `{"token_type":"Bearer","access_token":"A2","refresh_token":"R2","expires_in":3600}`)
	})
	creds := func() sdkplugin.Credentials {
		t.Helper()
		c, err := sdkplugin.DeviceLogin(sdkplugin.DeviceLoginConfig{File: file, HTTPClient: hc})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	refused := func(c sdkplugin.Credentials, code string) {
		t.Helper()
		var r *sdkplugin.RefusedError
		if _, err := c.Token(context.Background()); !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Hint, "bailiwick login") {
			t.Errorf("error %v, want %s", err, code)
		}
	}
	refused(creds(), "not_logged_in")

	profile := func(access, refresh string, until time.Time) {
		t.Helper()
		text := fmt.Sprintf("[profile.bailiwick]\naddress = \"127.0.0.1:7233\"\n[profile.bailiwick.oauth]\nclient_id = \"cli\"\ntoken_url = \"https://issuer.example/token\"\naccess_token = %q\nrefresh_token = %q\ntoken_type = \"Bearer\"\nexpires_at = %q\n",
			access, refresh, until.Format(time.RFC3339))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	profile("A1", "R1", time.Now().Add(time.Hour))
	wantToken(t, creds(), "A1")
	profile("A1", "R1", time.Now().Add(-time.Minute))
	c := creds()
	wantToken(t, c, "A2")
	wantToken(t, c, "A2")
	wantToken(t, creds(), "A2") // another program finds it in the file
	if refreshes != 1 {
		t.Errorf("%d refreshes", refreshes)
	}
	profile("A1", "revoked", time.Now().Add(-time.Minute))
	refused(creds(), "login_expired")
}
