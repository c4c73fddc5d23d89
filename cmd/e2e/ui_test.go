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
	rememberUI(t, ctx)
	do(t, ctx, "opening the list of workflows", chromedp.Navigate(d.context.UI+"/namespaces/deploy/workflows"))
	shows(t, ctx, "ui-1")
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

// TestTemporalUIFrontPage: someone without a role in namespace "default" opens the UI's front page, as the README says, and gets to where
// they do have one.
func TestTemporalUIFrontPage(t *testing.T) {
	d := shared(t)
	d.user(t, "alice@acme.example").ok(t, "run", "start", "deploy", "--namespace", "deploy", "--task-queue", "nobody", "--id", "ui-front-1")
	ctx := browser(t)
	do(t, ctx, "opening the UI", chromedp.Navigate(d.context.UI))
	shows(t, ctx, "Continue to SSO")
	do(t, ctx, "going on to the org", chromedp.Click(chromedp.Search(`//button[contains(., "Continue to SSO")]`)))
	atURL(t, ctx, strings.TrimSuffix(d.context.Issuer, "/oauth2/default"))
	signInPage(t, ctx, "alice@acme.example")
	atURL(t, ctx, d.context.UI)
	rememberUI(t, ctx)
	shows(t, ctx, "Select a Namespace")
	screenshot(t, ctx, "11-ui-front-page")
	do(t, ctx, "opening the namespaces", chromedp.Click(chromedp.Search(`//a[contains(., "Namespaces")]`)))
	if text := shows(t, ctx, "payments"); strings.Contains(text, "default") {
		t.Errorf("alice sees a namespace in which she has no role:\n%s", text)
	}
	do(t, ctx, "opening deploy", chromedp.Click(chromedp.Search(`//a[normalize-space()="deploy"]`)))
	atURL(t, ctx, d.context.UI+"/namespaces/deploy")
	shows(t, ctx, "Retention")
	do(t, ctx, "opening its workflows", chromedp.Click(chromedp.Search(`//a[normalize-space()="Workflows"]`)))
	atURL(t, ctx, d.context.UI+"/namespaces/deploy/workflows")
	shows(t, ctx, "ui-front-1")
	screenshot(t, ctx, "12-ui-alice-deploy")
}

// TestTemporalUIDenied: someone without a role signs in as well, and sees nothing.
func TestTemporalUIDenied(t *testing.T) {
	d := shared(t)
	d.user(t, "carol@acme.example").ok(t, "run", "start", "deploy", "--namespace", "deploy", "--task-queue", "nobody", "--id", "ui-hidden")
	ctx := browser(t)
	do(t, ctx, "opening the UI's login", chromedp.Navigate(d.context.UI+"/auth/sso"))
	atURL(t, ctx, strings.TrimSuffix(d.context.Issuer, "/oauth2/default"))
	signInPage(t, ctx, "erin@acme.example")
	atURL(t, ctx, d.context.UI)
	rememberUI(t, ctx)
	do(t, ctx, "opening the namespaces", chromedp.Navigate(d.context.UI+"/namespaces"))
	text := shows(t, ctx, "Namespaces")
	screenshot(t, ctx, "10-ui-no-roles")
	for _, name := range []string{"payments", "deploy"} {
		if strings.Contains(text, name) {
			t.Errorf("erin sees namespace %s:\n%s", name, text)
		}
	}
	do(t, ctx, "opening a namespace that she may not see", chromedp.Navigate(d.context.UI+"/namespaces/deploy/workflows"))
	if text := shows(t, ctx, "Continue to SSO"); strings.Contains(text, "ui-hidden") { // how Temporal's UI answers a refusal
		t.Errorf("erin sees what she may not:\n%s", text)
	}
}

// rememberUI waits until the UI has signed the browser in, and notes the tokens that it gave to it.
func rememberUI(t *testing.T, ctx context.Context) {
	t.Helper()
	var u struct{ AccessToken, IDToken string }
	eventually(t, "the UI keeps its user's tokens in the browser", func() string {
		raw, err := chromedp.Run(ctx, chromedp.Evaluate[string](`localStorage.getItem("AuthUser") || ""`))
		if err == nil {
			err = json.Unmarshal([]byte(raw), &u)
		}
		switch {
		case err != nil:
			return err.Error()
		case u.AccessToken == "":
			return "there is no access token"
		}
		return ""
	})
	secrets.add("the UI's access token", u.AccessToken)
	secrets.add("the UI's ID token", u.IDToken)
}
