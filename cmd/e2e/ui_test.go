package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// signInPage fills the org's login page as a person does.
func signInPage(t *testing.T, ctx context.Context, login string) {
	t.Helper()
	do(t, ctx, "signing in at the org's page",
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), login),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
		chromedp.Click(chromedp.CSS("button[type=submit]")))
}

// atURL waits until the browser is at a URL that begins with prefix.
func atURL(t *testing.T, ctx context.Context, prefix string) {
	t.Helper()
	at := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		at, _ = chromedp.Run(ctx, chromedp.Location()) // between two pages there is none
		if strings.HasPrefix(at, prefix) {
			return
		}
	}
	screenshot(t, ctx, "failed-"+t.Name())
	t.Fatalf("the browser is at %s, and never was at %s", withoutQuery(at), prefix)
}

// TestTemporalUI: the web UI sends a visitor to the org's login page, and shows carol what she may see afterwards.
func TestTemporalUI(t *testing.T) {
	d := shared(t)
	carol := d.user(t, "carol@acme.example")
	carol.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", "ui-1", "--input", `{"service":"web","version":"1"}`, "--reason", "to be seen", "--wait")
	ctx := browser(t)
	do(t, ctx, "opening the UI", chromedp.Navigate(d.context.UI+"/namespaces/deploy/workflows"))
	shows(t, ctx, "Continue to SSO")
	screenshot(t, ctx, "1-ui-login")
	do(t, ctx, "going on to the org", chromedp.Click(chromedp.Search(`//button[contains(., "Continue to SSO")]`)))
	atURL(t, ctx, strings.TrimSuffix(d.context.Issuer, "/oauth2/default"))
	screenshot(t, ctx, "2-org-login")
	signInPage(t, ctx, carol.login)
	atURL(t, ctx, d.context.UI)
	do(t, ctx, "opening the list of workflows", chromedp.Navigate(d.context.UI+"/namespaces/deploy/workflows"))
	shows(t, ctx, "ui-1")
	rememberUI(t, ctx)
	screenshot(t, ctx, "3-ui-workflows")
	do(t, ctx, "opening the run", chromedp.Click(chromedp.Search(`//a[contains(., "ui-1")]`)))
	shows(t, ctx, "Completed")
	screenshot(t, ctx, "4-ui-run")
	do(t, ctx, "opening the namespaces", chromedp.Navigate(d.context.UI+"/namespaces"))
	text := shows(t, ctx, "payments")
	if !strings.Contains(text, "deploy") || strings.Contains(text, "temporal-system") {
		t.Errorf("carol sees these namespaces, want deploy, default and payments and not Temporal's own:\n%s", text)
	}
	screenshot(t, ctx, "5-ui-namespaces")
}

// rememberUI notes the token that the UI gave to the browser.
func rememberUI(t *testing.T, ctx context.Context) {
	t.Helper()
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[string](`localStorage.getItem("AuthUser") || ""`))
	if err != nil {
		t.Fatal(err)
	}
	var u struct{ AccessToken, IDToken string }
	if err := json.Unmarshal([]byte(raw), &u); err != nil || u.AccessToken == "" {
		t.Errorf("the UI's token was not found in the browser (%v), so it can't be searched for elsewhere", err)
	}
	secrets.add("the UI's access token", u.AccessToken)
	secrets.add("the UI's ID token", u.IDToken)
}
