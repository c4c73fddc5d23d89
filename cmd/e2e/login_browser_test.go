package e2e

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var authorization = regexp.MustCompile(`https?://\S+/v1/authorize\?\S+`)

// TestBrowserLogin: `bailiwick login --browser` by the authorization code flow, as a person does it in Chromium.
func TestBrowserLogin(t *testing.T) {
	d := shared(t)
	u := d.newcomer(t, "carol@acme.example")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := u.command(ctx, "login", "--browser")
	cmd.Env = append(cmd.Env, "BROWSER=true") // a program that opens nothing: this test is the browser
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := out.await(ctx, authorization)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"code_challenge_method=S256", "state=", "redirect_uri=http%3A%2F%2F127.0.0.1%3A876"} {
		if !strings.Contains(url, want) {
			t.Errorf("the authorization request has no %s: %s", want, withoutQuery(url))
		}
	}
	page := browser(t)
	do(t, page, "opening the authorization request", chromedp.Navigate(url))
	signInPage(t, page, u.login)
	atURL(t, page, "http://127.0.0.1:876")
	shows(t, page, "You can close this page")
	screenshot(t, page, "9-browser-login-done")
	if at, _ := chromedp.Run(page, chromedp.Location()); strings.Contains(at, "code=") {
		t.Log("the address bar keeps the authorization code (it is used up)")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("login --browser: %v\n%s", err, out.String())
	}
	if err := u.remember(); err != nil {
		t.Fatal(err)
	}
	secrets.expectNone(t, "the output of login --browser", []byte(out.String()))
	if !strings.Contains(u.ok(t, "whoami"), u.login) {
		t.Error("whoami does not know carol after login --browser")
	}
}
