package devorg

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

func TestRestart(t *testing.T) {
	o := newTestOrg(t)
	b := devorgtest.NewBrowser()
	to, err := b.Authorize(t.Context(), o.authorizeURL(), "alice@acme.example", "bailiwick")
	if err != nil {
		t.Fatal(err)
	}
	tok := o.redeem(to.Query().Get("code")).want(200).json()
	code := o.code("bob@acme.example")
	device := o.startDevice()
	o.api("PUT", "/api/v1/groups/"+o.api("GET", "/api/v1/groups?q=security", nil).list()[0]["id"].(string)+"/users/00ualice000000000001", nil).want(204)
	loginPage := mustOpen(t, devorgtest.NewBrowser(), o.url+"/login")
	before := len(o.events())
	keys := string(o.get("/oauth2/default/v1/keys").body)

	o.restart()

	if string(o.get("/oauth2/default/v1/keys").body) != keys {
		t.Error("the keys changed")
	}
	if !o.active(tok["access_token"]) {
		t.Error("the access token is gone")
	}
	fresh := o.refresh(tok["refresh_token"].(string)).want(200).json()
	if _, claims := o.verified(fresh["access_token"]); len(claims["groups"].([]any)) != 3 {
		t.Errorf("groups %v", claims["groups"])
	}
	o.redeem(code).want(200)
	o.poll(device).wantOAuth(400, "authorization_pending")
	if to, err := b.Authorize(t.Context(), o.authorizeURL("prompt", "none"), "", ""); err != nil || to.Query().Get("code") == "" {
		t.Errorf("the session is gone: %v %v", to, err)
	}
	if len(o.events()) <= before {
		t.Error("the log lost events")
	}
	if loginPage.Hidden().Get("csrf") == "" {
		t.Error("the login page has no token")
	}
	if p, err := b.Submit(t.Context(), mustOpen(t, b, o.url+"/login"), url.Values{"username": {"erin@acme.example"}, "password": {"bailiwick"}}); err != nil || p.Status != 200 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestSeedFollowsConfigurationOnRestart(t *testing.T) {
	o := newTestOrg(t)
	o.api("POST", "/api/v1/users/bob@acme.example/lifecycle/deactivate", nil).want(200)
	seed := Acme()
	cli := seed.App(CLIClient)
	cli.RedirectURIs = append(cli.RedirectURIs, "http://127.0.0.1:9999/callback")
	o.cfg.Seed = seed
	o.restart()
	o.code("alice@acme.example", "redirect_uri", "http://127.0.0.1:9999/callback")
	if got := o.api("GET", "/api/v1/users/bob@acme.example", nil).json()["status"]; got != "DEPROVISIONED" {
		t.Errorf("the restart brought bob back: %v", got)
	}
}

func TestOpenRefusesBadSettings(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	good := Config{DB: filepath.Join(dir, "org.db"), BaseURL: "http://127.0.0.1:9080"}
	for name, change := range map[string]func(*Config){
		"no file":           func(c *Config) { c.DB = "" },
		"no directory":      func(c *Config) { c.DB = filepath.Join(dir, "none", "org.db") },
		"no database":       func(c *Config) { c.DB = junk },
		"no address":        func(c *Config) { c.BaseURL = "" },
		"trailing slash":    func(c *Config) { c.BaseURL += "/" },
		"http off loopback": func(c *Config) { c.BaseURL = "http://org.example" },
		"no URL":            func(c *Config) { c.BaseURL = "127.0.0.1:9080" },
		"lifetime":          func(c *Config) { c.Seed = Acme(); c.Seed.AuthServers[0].AccessMinutes = 3 },
		"groups filter":     func(c *Config) { c.Seed = Acme(); c.Seed.AuthServers[0].GroupsRegex = "(" },
		"leeway":            func(c *Config) { c.Seed = Acme(); c.Seed.Apps[0].Leeway = 61 },
		"method":            func(c *Config) { c.Seed = Acme(); c.Seed.Apps[0].AuthMethod = "magic" },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			if org, err := Open(context.Background(), c); err == nil {
				org.Close()
				t.Fatal("accepted")
			} else if !strings.Contains(err.Error(), " ") || len(err.Error()) < 30 {
				t.Errorf("the error says too little: %v", err)
			}
		})
	}
	org, err := Open(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer org.Close()
	for _, name := range []string{"org.db", "org.db-wal", "org.db-shm"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// Two processes that present the same single-use thing at once: exactly one gets it.
func TestSingleUseUnderContention(t *testing.T) {
	o := newTestOrg(t)
	o.get("/oauth2/default/v1/keys").want(200)
	code := o.code("alice@acme.example")
	var wg sync.WaitGroup
	results := make(chan int, 8)
	for range cap(results) {
		wg.Go(func() { results <- o.redeem(code).status })
	}
	wg.Wait()
	close(results)
	won := 0
	for status := range results {
		switch status {
		case 200:
			won++
		case 400:
		default:
			t.Errorf("status %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 redeemed one code", won)
	}
}
