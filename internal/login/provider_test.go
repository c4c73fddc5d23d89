package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// provider is a small OpenID provider with knobs; the development org is tested against this package elsewhere.
type provider struct {
	*httptest.Server
	mu        sync.Mutex
	refreshes atomic.Int32
	valid     string // the refresh token that is good; guarded by mu
	pending   atomic.Int32
	device    string // error to answer the device poll with, once nothing is pending
	nonce     string
	revoked   []string // guarded by mu
	expires   int
	edit      func(map[string]any) // changes the discovery document
}

func newProvider(t *testing.T) *provider {
	p := &provider{valid: "R0", expires: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		doc := map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"device_authorization_endpoint": p.URL + "/device", "revocation_endpoint": p.URL + "/revoke", "authorization_response_iss_parameter_supported": true}
		if p.edit != nil {
			p.edit(doc)
		}
		_ = json.NewEncoder(w).Encode(doc)
	})
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"device_code":"D","user_code":"ABCD-EFGH","verification_uri":"%s/activate","verification_uri_complete":"%s/activate?user_code=ABCD-EFGH","expires_in":30,"interval":1}`, p.URL, p.URL)
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.revoked = append(p.revoked, r.FormValue("token_type_hint")+"="+r.FormValue("token"))
	})
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fail := func(code string) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"because"}`, code)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch grant := r.FormValue("grant_type"); {
	case grant == "refresh_token" && r.FormValue("refresh_token") != p.valid:
		fail("invalid_grant")
		return
	case grant == "refresh_token":
		p.valid = fmt.Sprintf("R%d", p.refreshes.Add(1))
		time.Sleep(20 * time.Millisecond)
	case strings.HasSuffix(grant, "device_code") && p.pending.Add(-1) >= 0:
		fail("authorization_pending")
		return
	case strings.HasSuffix(grant, "device_code") && p.device != "":
		fail(p.device)
		return
	case grant == "authorization_code" && (r.FormValue("code") != "CODE" || r.FormValue("code_verifier") == ""):
		fail("invalid_grant")
		return
	}
	id := "x." + base64.RawURLEncoding.EncodeToString([]byte(`{"nonce":"`+p.nonce+`"}`)) + ".y"
	_, _ = fmt.Fprintf(w, `{"access_token":"A%d","refresh_token":%q,"token_type":"Bearer","expires_in":%d,"id_token":%q}`, p.refreshes.Load(), p.valid, p.expires, id)
}

func (p *provider) app(t *testing.T) Application {
	t.Helper()
	found, err := Discover(t.Context(), nil, p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return Application{Provider: found, ClientID: "cli", Scopes: []string{"openid"}}
}

func TestDiscoverRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		issuer string
		edit   func(map[string]any)
		want   string
	}{
		"plain http":      {issuer: "http://idp.example", want: "https"},
		"not a URL":       {issuer: "idp", want: "absolute"},
		"credentials":     {issuer: "https://a:b@idp.example", want: "absolute"},
		"another issuer":  {edit: func(d map[string]any) { d["issuer"] = "https://evil.example" }, want: "speaks for"},
		"no token":        {edit: func(d map[string]any) { delete(d, "token_endpoint") }, want: "no token endpoint"},
		"http token":      {edit: func(d map[string]any) { d["token_endpoint"] = "http://evil.example/t" }, want: "https"},
		"http revocation": {edit: func(d map[string]any) { d["revocation_endpoint"] = "http://evil.example/t" }, want: "https"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.edit = c.edit
			if c.issuer == "" {
				c.issuer = p.URL
			}
			if _, err := Discover(t.Context(), nil, c.issuer); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDevice(t *testing.T) {
	p := newProvider(t)
	p.pending.Store(1)
	var shown DevicePrompt
	tok, err := p.app(t).Device(t.Context(), func(d DevicePrompt) { shown = d })
	if err != nil || tok.AccessToken != "A0" || tok.RefreshToken != "R0" {
		t.Fatalf("%v, %v", tok, err)
	}
	if shown.UserCode != "ABCD-EFGH" || !strings.Contains(shown.Complete, "ABCD") {
		t.Errorf("shown %+v", shown)
	}
	for answer, want := range map[string]error{"access_denied": ErrDenied, "expired_token": ErrTimedOut} {
		p.device = answer
		p.pending.Store(0)
		if _, err := p.app(t).Device(t.Context(), func(DevicePrompt) {}); !errors.Is(err, want) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.app(t).Device(ctx, func(DevicePrompt) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestBrowser(t *testing.T) {
	// callback plays the browser: it turns the authorization URL into the request that would reach the loopback port.
	type callback func(p *provider, auth url.Values) url.Values
	good := func(p *provider, auth url.Values) url.Values {
		p.nonce = auth.Get("nonce")
		return url.Values{"state": {auth.Get("state")}, "code": {"CODE"}, "iss": {p.URL}}
	}
	for name, c := range map[string]struct {
		answer callback
		want   string // in the error; empty for success
		status int
	}{
		"good": {answer: good, status: 200},
		"denied": {answer: func(p *provider, a url.Values) url.Values {
			return url.Values{"state": {a.Get("state")}, "iss": {p.URL}, "error": {"access_denied"}}
		}, want: "refused", status: 400},
		"wrong issuer": {answer: func(p *provider, a url.Values) url.Values {
			v := good(p, a)
			v.Set("iss", "https://evil.example")
			return v
		}, want: "RFC 9207", status: 400},
		"no issuer":   {answer: func(p *provider, a url.Values) url.Values { v := good(p, a); v.Del("iss"); return v }, want: "RFC 9207", status: 400},
		"no code":     {answer: func(p *provider, a url.Values) url.Values { v := good(p, a); v.Del("code"); return v }, want: "no code", status: 400},
		"wrong code":  {answer: func(p *provider, a url.Values) url.Values { v := good(p, a); v.Set("code", "X"); return v }, want: "invalid_grant", status: 200},
		"other nonce": {answer: func(p *provider, a url.Values) url.Values { v := good(p, a); p.nonce = "other"; return v }, want: "nonce", status: 200},
		"wrong state": {answer: func(p *provider, a url.Values) url.Values { v := good(p, a); v.Set("state", "X"); return v }, want: "not finished in time", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			var status int
			open := func(visit string) error {
				u, _ := url.Parse(visit)
				q := u.Query()
				if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" || q.Get("nonce") == "" {
					t.Errorf("authorization request lacks something: %s", visit)
				}
				res, err := http.Get(q.Get("redirect_uri") + "?" + c.answer(p, q).Encode())
				if err != nil {
					return err
				}
				res.Body.Close()
				status = res.StatusCode
				return nil
			}
			tok, err := p.app(t).Browser(t.Context(), BrowserConfig{Ports: []int{0}, Open: open, Timeout: 300 * time.Millisecond})
			if status != c.status {
				t.Errorf("the browser got %d, want %d", status, c.status)
			}
			if c.want == "" && (err != nil || tok.AccessToken != "A0") {
				t.Fatalf("%v, %v", tok, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCallbackRefusesOtherHosts(t *testing.T) {
	answers := make(chan answer, 1)
	h := Application{}.callback("127.0.0.1:8765", "S", answers)
	for _, target := range []string{"http://evil.example/callback?state=S&code=C", "http://127.0.0.1:8765/other?state=S&code=C"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != http.StatusNotFound || len(answers) != 0 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestRevoke(t *testing.T) {
	p := newProvider(t)
	if err := p.app(t).Revoke(t.Context(), "R", "A"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.revoked, " "); got != "refresh_token=R access_token=A" {
		t.Errorf("revoked %q", got)
	}
}

func (p *provider) session(t *testing.T, s *Store) *Session {
	t.Helper()
	if err := s.Save(t.Context(), Profile{Address: "127.0.0.1:7233", ClientID: "cli", TokenURL: p.URL + "/token", AccessToken: "old", RefreshToken: "R0",
		Expires: time.Now().Add(30 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	return &Session{Store: s}
}

func TestSessionRefreshesOnce(t *testing.T) {
	p, s := newProvider(t), testStore(t, others)
	session := p.session(t, s)
	for range 3 {
		if tok, err := session.Token(t.Context()); err != nil || tok != "A1" {
			t.Fatalf("%q, %v", tok, err)
		}
	}
	if n := p.refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	stored, err := s.Load()
	if err != nil || stored.AccessToken != "A1" || stored.RefreshToken != "R1" || stored.Address != "127.0.0.1:7233" {
		t.Errorf("stored %v, %v", stored, err)
	}
}

func TestRevokedLogin(t *testing.T) {
	p, s := newProvider(t), testStore(t, "")
	session := p.session(t, s)
	p.valid = "gone"
	if _, err := session.Token(t.Context()); !errors.Is(err, ErrLoginExpired) {
		t.Errorf("got %v", err)
	}
	if _, err := (&Session{Store: testStore(t, "")}).Token(t.Context()); !errors.Is(err, ErrNotLoggedIn) {
		t.Errorf("no login: %v", err)
	}
}

// The stock CLI refreshes without our lock: it rotates the token while our request with the old one is on its way.
func TestStockCLIWinsTheRace(t *testing.T) {
	p, s := newProvider(t), testStore(t, "")
	session := p.session(t, s)
	session.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		p.mu.Lock()
		p.valid = "R9"
		p.mu.Unlock()
		if err := s.change(change{oauth: Profile{ClientID: "cli", TokenURL: p.URL + "/token", AccessToken: "A9", RefreshToken: "R9", Expires: time.Now().Add(time.Hour)}.oauthTable()}); err != nil {
			t.Error(err)
		}
		return http.DefaultTransport.RoundTrip(r)
	})}
	if tok, err := session.Token(t.Context()); err != nil || tok != "A9" {
		t.Errorf("%q, %v", tok, err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A store that can't be written must not cost the login: the refresh token is not spent.
func TestUnwritableStoreSpendsNothing(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root writes anywhere")
	}
	p, s := newProvider(t), testStore(t, "")
	session := p.session(t, s)
	dir := strings.TrimSuffix(s.Path(), "/temporal.toml")
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	if _, err := session.Token(t.Context()); err == nil || p.refreshes.Load() != 0 {
		t.Errorf("%v after %d refreshes", err, p.refreshes.Load())
	}
}

// Two processes and several goroutines in each want a token at the same moment: the provider sees one refresh.
func TestConcurrentRefreshByProcesses(t *testing.T) {
	if path := os.Getenv("LOGIN_TEST_STORE"); path != "" {
		s, err := OpenStore(StoreConfig{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		for time.Now().UnixMilli() < mustInt(os.Getenv("LOGIN_TEST_START")) {
			time.Sleep(time.Millisecond)
		}
		tok, err := (&Session{Store: s}).Token(t.Context())
		fmt.Printf("token=%s err=%v\n", tok, err)
		return
	}
	p, s := newProvider(t), testStore(t, others)
	p.session(t, s)
	start := fmt.Sprint(time.Now().Add(700 * time.Millisecond).UnixMilli())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestConcurrentRefreshByProcesses$", "-test.v")
			cmd.Env = append(os.Environ(), "LOGIN_TEST_STORE="+s.Path(), "LOGIN_TEST_START="+start)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "token=A1 err=<nil>") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if n := p.refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want exactly 1", n)
	}
}

func mustInt(s string) (n int64) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

func TestDecodeUnverified(t *testing.T) {
	raw := "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"i","sub":"a@x","uid":"00u","cid":"c","scope":"a b","groups":["g"],"exp":1.5e9}`)) + ".s"
	c, err := DecodeUnverified(raw)
	if err != nil || c.Subject != "a@x" || len(c.Scopes) != 2 || c.Groups[0] != "g" || c.Expires.Unix() != 1500000000 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "opaque", "a.b.c", "a.!.c"} {
		if _, err := DecodeUnverified(bad); err == nil {
			t.Errorf("%q was decoded", bad)
		}
	}
	if s := fmt.Sprintf("%v %+v %s", sample.With(&oauth2.Token{AccessToken: "SECRET"}), sample, sample); strings.Contains(s, "SECRET") {
		t.Errorf("a token was printed: %s", s)
	}
}

func TestContexts(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	if _, err := LoadContext(""); !errors.Is(err, ErrNoContext) {
		t.Errorf("none: %v", err)
	}
	if _, err := LoadContext("prod"); err == nil || !strings.Contains(err.Error(), "bailiwick login --context prod") {
		t.Errorf("missing: %v", err)
	}
	for _, n := range []string{"dev", "prod"} {
		if err := (Context{Name: n, Address: n + ":1"}).Save(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := LoadContext(""); err != nil || c.Name != "prod" {
		t.Errorf("current: %v %v", c, err)
	}
	if c, err := LoadContext("dev"); err != nil || c.Address != "dev:1" {
		t.Errorf("by name: %v %v", c, err)
	}
	if err := (Context{Name: "../x"}).Save(); err == nil {
		t.Error("a context left its directory")
	}
}
