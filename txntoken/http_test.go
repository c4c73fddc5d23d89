package txntoken_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/txntoken"
)

// echo answers with the tokens it got.
func echo(t *testing.T, h http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, strings.Join(r.Header.Values(txntoken.Header), ","))
		}
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, u.Host
}

func client(t *testing.T, token func(context.Context) (string, error), hosts ...string) *http.Client {
	t.Helper()
	tr, err := txntoken.NewTransport(txntoken.TransportConfig{Hosts: hosts, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: tr, Timeout: 5 * time.Second}
}

func fixed(context.Context) (string, error) { return "the-token", nil }

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTransportKnowsItsHosts(t *testing.T) {
	known, knownHost := echo(t, nil)
	stranger, _ := echo(t, nil)
	c := client(t, fixed, knownHost)
	if got := get(t, c, known.URL); got != "the-token" {
		t.Errorf("a known host got %q", got)
	}
	if got := get(t, c, stranger.URL); got != "" {
		t.Errorf("a stranger got %q", got)
	}
	req, err := http.NewRequest(http.MethodGet, stranger.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(txntoken.Header, "mine")
	if _, err := c.Do(req); err == nil || !strings.Contains(err.Error(), "not a host that gets one") {
		t.Errorf("a header set by hand went to a stranger: %v", err)
	}
	req.URL = must(url.Parse(known.URL))
	if res, err := c.Do(req); err != nil || req.Header.Get(txntoken.Header) != "mine" {
		t.Errorf("the caller's request was changed: %v", err)
	} else {
		res.Body.Close()
	}
}

func must(u *url.URL, err error) *url.URL {
	if err != nil {
		panic(err)
	}
	return u
}

func TestTransportAndRedirects(t *testing.T) {
	known, knownHost := echo(t, nil)
	other, otherHost := echo(t, nil)
	to := func(where string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/end" {
				io.WriteString(w, r.Header.Get(txntoken.Header))
				return
			}
			target := where
			if target == "" {
				target = "/end"
			}
			http.Redirect(w, r, target, http.StatusFound)
		}
	}
	out, outHost := echo(t, to(other.URL))
	if got := get(t, client(t, fixed, outHost), out.URL); got != "" {
		t.Errorf("a redirect took the token to a stranger: %q", got)
	}
	if got := get(t, client(t, fixed, outHost, otherHost), out.URL); got != "" {
		t.Errorf("a redirect made a call with a token to another known host: %q", got)
	}
	stranger, _ := echo(t, to(known.URL))
	if got := get(t, client(t, fixed, knownHost), stranger.URL); got != "" {
		t.Errorf("a stranger's redirect made a call with a token: %q", got)
	}
	same, sameHost := echo(t, to(""))
	if got := get(t, client(t, fixed, sameHost), same.URL); got != "the-token" {
		t.Errorf("a redirect within a host lost the token: %q", got)
	}
	// There and back: home → stranger → home must not regain it.
	var back *httptest.Server
	home, homeHost := echo(t, func(w http.ResponseWriter, r *http.Request) { to(back.URL)(w, r) })
	back, _ = echo(t, to(home.URL+"/end"))
	if got := get(t, client(t, fixed, homeHost), home.URL); got != "" {
		t.Errorf("a stranger in the middle steered the token: %q", got)
	}
}

// body is a request body that knows whether it was closed.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestTransportFailures(t *testing.T) {
	never := func(*http.Request) (*http.Response, error) {
		t.Error("the request was sent")
		return nil, errors.New("sent")
	}
	for name, c := range map[string]struct {
		url   string
		token func(context.Context) (string, error)
		says  string
	}{
		"plaintext":    {"http://registry.acme.example/", fixed, "plaintext"},
		"no token":     {"https://registry.acme.example/", func(context.Context) (string, error) { return "", errors.New("minter is gone") }, "minter is gone"},
		"empty token":  {"https://registry.acme.example/", func(context.Context) (string, error) { return "", nil }, "empty"},
		"none came in": {"https://registry.acme.example/", txntoken.Forward, "no transaction token came in"},
	} {
		tr, err := txntoken.NewTransport(txntoken.TransportConfig{Hosts: []string{"registry.acme.example"}, Token: c.token, Base: roundTripper(never)})
		if err != nil {
			t.Fatal(err)
		}
		b := &body{Reader: strings.NewReader("x")}
		req, err := http.NewRequest(http.MethodPost, c.url, b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), c.says) || !b.closed {
			t.Errorf("%s: %v, body closed %v", name, err, b.closed)
		}
	}
	for _, h := range []string{"", "*.acme.example", "https://acme.example", "acme.example/x", "a b", "user@acme.example"} {
		if _, err := txntoken.NewTransport(txntoken.TransportConfig{Hosts: []string{h}, Token: fixed}); err == nil {
			t.Errorf("the host %q was taken", h)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPortsAreCompared(t *testing.T) {
	for _, c := range []struct {
		host, url string
		sent      bool
	}{
		{"acme.example", "https://acme.example/", true}, {"acme.example", "https://ACME.example:443/", true}, {"acme.example", "https://acme.example:8443/", false},
		{"acme.example:8443", "https://acme.example:8443/", true}, {"acme.example:443", "https://acme.example/", true}, {"acme.example", "https://x.acme.example/", false},
		{"acme.example", "https://acme.example.evil/", false}, {"[::1]:8080", "http://[::1]:8080/", true}, {"acme.example", "https://acme.example@evil.example/", false},
	} {
		got := false
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			got = r.Header.Get(txntoken.Header) != ""
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		tr, err := txntoken.NewTransport(txntoken.TransportConfig{Hosts: []string{c.host}, Token: fixed, Base: base})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.RoundTrip(req); err != nil || got != c.sent {
			t.Errorf("%s for %s: sent %v, %v", c.url, c.host, got, err)
		}
	}
}

func TestMiddleware(t *testing.T) {
	m := minter(t, edKey("a"), nil)
	good := mint(t, m, request())
	var log bytes.Buffer
	guard, err := txntoken.Middleware(txntoken.MiddlewareConfig{Keys: m.PublicKeySet, Audience: domain, Scope: []string{"registry.push"},
		Clock: func() time.Time { return noon }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	h := guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := txntoken.FromContext(r.Context())
		raw, err := txntoken.Forward(r.Context())
		if !ok || err != nil || raw != v.Raw() {
			t.Errorf("the handler has no token: %v", err)
		}
		io.WriteString(w, v.Claims().Text("workflow_id")+" for "+v.Claims().Subject)
	}))
	narrow := request()
	narrow.Scope = []string{"registry.read"}
	for name, c := range map[string]struct {
		tokens []string
		status int
		says   string
	}{
		"good":          {[]string{good}, 200, "ship-142 for user:https://acme.okta.com/oauth2/default|00u1"},
		"none":          {nil, 401, "txntoken_missing"},
		"two":           {[]string{good, good}, 401, "txntoken_missing"},
		"joined":        {[]string{good + "," + good}, 401, "txntoken_malformed"},
		"as a bearer":   {[]string{"Bearer " + good}, 401, "txntoken_malformed"},
		"foreign":       {[]string{mint(t, minter(t, edKey("b"), nil), request())}, 401, "txntoken_key_unknown"},
		"another scope": {[]string{mint(t, m, narrow)}, 403, "txntoken_scope"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/push", nil)
		for _, token := range c.tokens {
			r.Header.Add("txn-token", token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if c.status != 200 && !strings.Contains(log.String(), c.says) {
			t.Errorf("%s: the log does not say so", name)
		}
	}
	if strings.Contains(log.String(), good) || strings.Contains(log.String(), strings.Split(good, ".")[1]) {
		t.Error("a token is in the log")
	}
	r := httptest.NewRequest(http.MethodPost, "/push", nil)
	r.Header.Set("Authorization", "Bearer "+good)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("a token in Authorization opened the door: %d", w.Code)
	}
	for name, cfg := range map[string]txntoken.MiddlewareConfig{"no keys": {Audience: domain}, "no domain": {Keys: m.PublicKeySet}, "a bad scope": {Keys: m.PublicKeySet, Audience: domain, Scope: []string{"a b"}}} {
		if _, err := txntoken.Middleware(cfg); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
