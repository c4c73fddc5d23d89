package devorg

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/devorgtest"
)

func TestLoginPage(t *testing.T) {
	o := newTestOrg(t)
	b := devorgtest.NewBrowser()
	p, err := b.Open(t.Context(), o.authorizeURL("login_hint", `"><script>alert(1)</script>`))
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, p.Header, p.Body)
	if !strings.Contains(p.Header.Get("Content-Security-Policy"), "form-action 'self' http://127.0.0.1:8765") {
		t.Errorf("the policy would stop the browser from going back to the application: %s", p.Header.Get("Content-Security-Policy"))
	}
	text := p.Text()
	for _, want := range []string{"Bailiwick CLI", "alice@acme.example", "temporal:payments:admin", "bailiwick"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not mention %s: %s", want, text)
		}
	}
	if strings.Contains(text, "frank@acme.example") {
		t.Error("the page offers a deprovisioned person")
	}
	css := o.get("/assets/org.css").want(200)
	if css.header.Get("Content-Type") != "text/css; charset=utf-8" || strings.Contains(string(css.body), "url(") {
		t.Error("the style sheet has the wrong type or loads something")
	}
}

func TestLoginCookies(t *testing.T) {
	o := newTestOrg(t)
	b := devorgtest.NewBrowser()
	org, _ := url.Parse(o.url)
	// Session fixation: a cookie that was there before must not become the session.
	b.SetCookie(org, &http.Cookie{Name: sessionCookie, Value: "planted", Path: "/"})
	p, err := b.SignIn(t.Context(), o.authorizeURL(), "alice@acme.example", "bailiwick")
	if err != nil || p.Status != 0 {
		t.Fatalf("%+v %v", p, err)
	}
	first := b.Cookie(org, sessionCookie)
	if first == "planted" || len(first) != 43 {
		t.Errorf("session cookie %q", first)
	}
	if _, err := b.SignIn(t.Context(), o.authorizeURL("prompt", "login"), "alice@acme.example", "bailiwick"); err != nil {
		t.Fatal(err)
	}
	if b.Cookie(org, sessionCookie) == first {
		t.Error("a second login kept the session's cookie")
	}

	a := o.get("/login")
	c := a.header.Get("Set-Cookie")
	form := formOf("csrf", csrfIn(string(a.body)), "username", "bob@acme.example", "password", "bailiwick")
	a = o.request("POST", "/login", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", c[:strings.Index(c, ";")]).want(303)
	if got := a.header.Get("Location"); got != "/" {
		t.Errorf("sent to %q", got)
	}
	for _, c := range append(a.header.Values("Set-Cookie"), c) {
		if !strings.Contains(c, "; HttpOnly") || !strings.Contains(c, "; SameSite=Lax") || !strings.Contains(c, "; Path=/") || strings.Contains(c, "Secure") {
			t.Errorf("cookie %s", c)
		}
	}
}

func csrfIn(body string) string { return (&devorgtest.Page{Body: body}).Hidden().Get("csrf") }

func TestLoginRefusals(t *testing.T) {
	o := newTestOrg(t)
	open := func(t *testing.T) (*devorgtest.Browser, *devorgtest.Page) {
		b := devorgtest.NewBrowser()
		p, err := b.Open(t.Context(), o.authorizeURL())
		if err != nil {
			t.Fatal(err)
		}
		return b, p
	}
	for name, fields := range map[string]url.Values{
		"wrong password":       {"username": {"alice@acme.example"}, "password": {"Bailiwick"}},
		"no password":          {"username": {"alice@acme.example"}},
		"nobody":               {"username": {"zoe@acme.example"}, "password": {"bailiwick"}},
		"deprovisioned person": {"username": {"frank@acme.example"}, "password": {"bailiwick"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := open(t)
			p, err := b.Submit(t.Context(), p, fields)
			if err != nil || p.Status != 401 || !strings.Contains(p.Text(), "Unable to sign in. Check the username and the password.") {
				t.Fatalf("%+v %v", p, err)
			}
			checkPage(t, p.Header, p.Body)
		})
	}
	for name, fields := range map[string]url.Values{
		"no token":      {"csrf": {""}},
		"foreign token": {"csrf": {newSecret()}},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := open(t)
			fields.Set("username", "alice@acme.example")
			fields.Set("password", "bailiwick")
			if p, err := b.Submit(t.Context(), p, fields); err != nil || p.Status != 403 {
				t.Fatalf("%+v %v", p, err)
			}
		})
	}
	t.Run("another browser's token", func(t *testing.T) {
		_, theirs := open(t)
		b, p := open(t)
		fields := url.Values{"csrf": {theirs.Hidden().Get("csrf")}, "username": {"alice@acme.example"}, "password": {"bailiwick"}}
		if p, err := b.Submit(t.Context(), p, fields); err != nil || p.Status != 403 {
			t.Fatalf("%+v %v", p, err)
		}
	})
	t.Run("another site", func(t *testing.T) {
		a := o.get("/login")
		form := formOf("csrf", csrfIn(string(a.body)), "username", "bob@acme.example", "password", "bailiwick")
		cookie := strings.Split(a.header.Get("Set-Cookie"), ";")[0]
		o.request("POST", "/login", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie, "Origin", "https://evil.example").want(403)
	})
	failures := o.api("GET", "/api/v1/logs?"+formOf("filter", `eventType eq "user.session.start" and outcome.result eq "FAILURE"`).Encode(), nil).want(200).list()
	if len(failures) != 4 {
		t.Errorf("%d failed logins in the log, want 4", len(failures))
	}
	for _, f := range failures {
		if f["outcome"].(map[string]any)["reason"] != "INVALID_CREDENTIALS" {
			t.Errorf("outcome %v", f["outcome"])
		}
	}
}

func TestLoginIsNoOpenRedirect(t *testing.T) {
	o := newTestOrg(t)
	good := strings.TrimPrefix(o.authorizeURL(), o.url)
	for _, from := range []string{
		"https://evil.example/", "//evil.example", `/\evil.example`, "/\t/evil.example", "javascript:alert(1)", "/api/v1/users", "/oauth2/a/b/v1/authorize?x=1",
		"/oauth2/default/v1/authorize", "/oauth2/none/v1/authorize?x=1", "/oauth2/default/v1/authorize?client_id=x", o.url + good, "/%2e%2e//evil.example", "/activate/../x",
		strings.Replace(good, url.QueryEscape(callback), url.QueryEscape("https://evil.example/callback"), 1),
	} {
		if a := o.get("/login?" + formOf("fromURI", from).Encode()); a.status < 400 {
			t.Errorf("%q accepted: %d", from, a.status)
		}
	}
	for _, from := range []string{"", good, "/activate?user_code=BCDFGHJK", "/activate"} {
		o.get("/login?" + formOf("fromURI", from).Encode()).want(200)
	}
}

func TestSignOut(t *testing.T) {
	o := newTestOrg(t)
	b := devorgtest.NewBrowser()
	if _, err := b.SignIn(t.Context(), o.url+"/login", "carol@acme.example", "bailiwick"); err != nil {
		t.Fatal(err)
	}
	p, err := b.Open(t.Context(), o.url+"/")
	if err != nil || !strings.Contains(p.Text(), "Signed in as carol@acme.example") {
		t.Fatalf("%s %v", p.Text(), err)
	}
	p.URL.Path = "/signout"
	if p, err = b.Submit(t.Context(), p, nil); err != nil || strings.Contains(p.Text(), "carol") {
		t.Fatalf("%s %v", p.Text(), err)
	}
	o.wantEvent("user.session.end")
	a := o.request("POST", "/signout", "csrf=x", "Content-Type", "application/x-www-form-urlencoded")
	a.want(403)
}

func TestForeignHostNamesAreRefused(t *testing.T) {
	o := newTestOrg(t)
	for host, want := range map[string]int{"evil.example": 421, "evil.example:80": 421, "127.0.0.1.evil.example": 421, "localhost:1": 200, "[::1]:9": 200} {
		req, _ := http.NewRequest("GET", o.url+"/", nil)
		req.Host = host
		if a := o.do(req); a.status != want {
			t.Errorf("host %s: %d, want %d", host, a.status, want)
		}
	}
}

// checkPage checks what holds for every page.
func checkPage(t *testing.T, h http.Header, body string) {
	t.Helper()
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'self'", "form-action 'self'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy %q lacks %s", csp, want)
		}
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	if !strings.Contains(h.Get("Cache-Control"), "no-store") {
		t.Errorf("Cache-Control: %q", h.Get("Cache-Control"))
	}
	for _, bad := range []string{"<script", "style=", "onclick", "src=\"http", "href=\"http", "@import"} {
		if strings.Contains(strings.ToLower(body), bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
}
