package okta_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// org is a development org on a port of its own.
func org(t *testing.T) string {
	t.Helper()
	base, _ := orgtest.Start(t, devorg.Config{Seed: devorg.Acme()})
	return base
}

func client(t *testing.T, base string, cred okta.Credentials) *okta.Client {
	t.Helper()
	c, err := okta.New(okta.Config{URL: base, Credentials: cred})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func collect[T any](t *testing.T, seq func(func(T, error) bool)) (out []T) {
	t.Helper()
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// serviceApp registers a key for the seeded control plane app and returns credentials with it.
func serviceApp(t *testing.T, base string, scopes ...string) okta.Credentials {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	jwk, err := json.Marshal(map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1", "status": "ACTIVE", "e": b64(big.NewInt(int64(key.E)).Bytes()), "n": b64(key.N.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/api/v1/apps/0oabailiwickctl00001/credentials/jwks", strings.NewReader(string(jwk)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("registering the key: %s %s", res.Status, body)
	}
	cred, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: "0oabailiwickctl00001", Scopes: scopes, Key: func() (*rsa.PrivateKey, string, error) { return key, "k1", nil }})
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func TestMembershipAsServiceApp(t *testing.T) {
	base := org(t)
	c := client(t, base, serviceApp(t, base, "okta.users.read", "okta.groups.manage"))
	bob, err := c.User(t.Context(), "bob@acme.example")
	if err != nil || !bob.Active() {
		t.Fatalf("%+v, %v", bob, err)
	}
	g, err := c.GroupNamed(t.Context(), "temporal:deploy:write")
	if err != nil {
		t.Fatal(err)
	}
	in := func() bool {
		for _, u := range collect(t, c.Members(t.Context(), g.ID)) {
			if u.ID == bob.ID {
				return true
			}
		}
		return false
	}
	for range 2 { // twice is once
		if err := c.AddMember(t.Context(), g.ID, bob.ID); err != nil || !in() {
			t.Fatalf("adding: %v", err)
		}
	}
	for range 2 {
		if err := c.RemoveMember(t.Context(), g.ID, bob.ID); err != nil || in() {
			t.Fatalf("removing: %v", err)
		}
	}
	if _, err := c.GroupNamed(t.Context(), `no "such" group`); !okta.IsNotFound(err) {
		t.Errorf("an absent group: %v", err)
	}
	if _, err := c.User(t.Context(), "nobody@acme.example"); !okta.IsNotFound(err) {
		t.Errorf("an absent person: %v", err)
	}
	frank, err := c.User(t.Context(), "frank@acme.example")
	if err != nil || frank.Active() {
		t.Errorf("a deprovisioned person: %+v, %v", frank, err)
	}
}

func TestScopeThatIsNotGranted(t *testing.T) {
	base := org(t)
	c := client(t, base, serviceApp(t, base, "okta.users.read"))
	if _, err := c.CreateGroup(t.Context(), "new", ""); !okta.IsForbidden(err) {
		t.Errorf("%v", err)
	}
}

func TestPagesAndLogs(t *testing.T) {
	base := org(t)
	c := client(t, base, okta.APIToken(devorg.APIToken))
	for i := range 230 { // more than one page
		if _, err := c.CreateGroup(t.Context(), fmt.Sprintf("team-%03d", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(collect(t, c.Groups(t.Context(), "team-"))); n != 230 {
		t.Errorf("%d groups, want 230", n)
	}
	seen := map[string]bool{}
	cursor := ""
	for {
		events, next, err := c.Logs(t.Context(), cursor, time.Now().Add(-time.Hour), "")
		if err != nil {
			t.Fatal(err)
		}
		if cursor = next; len(events) == 0 {
			break
		}
		for _, e := range events {
			if seen[e.UUID] {
				t.Errorf("event %s came twice", e.UUID)
			}
			seen[e.UUID] = true
		}
	}
	if len(seen) < 230 {
		t.Errorf("%d events", len(seen))
	}
	before := len(seen)
	if _, err := c.CreateGroup(t.Context(), "late", ""); err != nil {
		t.Fatal(err)
	}
	events, _, err := c.Logs(t.Context(), cursor, time.Time{}, "")
	if err != nil || len(events) != 1 || seen[events[0].UUID] {
		t.Errorf("after %d events, the cursor brings %d (%v), want the new one", before, len(events), err)
	}
}

// faulty answers as told, one after another, then with a user.
func faulty(t *testing.T, answers ...http.HandlerFunc) (*okta.Client, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i := int(n.Add(1)) - 1; i < len(answers) {
			answers[i](w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"00u1","status":"ACTIVE"}`)
	}))
	t.Cleanup(server.Close)
	c, err := okta.New(okta.Config{URL: server.URL, Credentials: okta.APIToken("t"), MaxWait: 4 * time.Second, Attempts: 4})
	if err != nil {
		t.Fatal(err)
	}
	return c, &n
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, `{"errorCode":"E0000009","errorSummary":"wrong"}`)
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestFaultsAreRetriedWhereItIsSafe(t *testing.T) {
	reset := func() []string {
		return []string{"X-Rate-Limit-Limit", "600", "X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", fmt.Sprint(time.Now().Unix())}
	}
	for name, answers := range map[string][]http.HandlerFunc{
		"unavailable": {status(503), status(500)}, "cut": {cut}, "limited": {status(429, reset()...)},
	} {
		c, n := faulty(t, answers...)
		if u, err := c.User(t.Context(), "x"); err != nil || u.ID != "00u1" || int(n.Load()) != len(answers)+1 {
			t.Errorf("%s: %+v, %v after %d requests", name, u, err, n.Load())
		}
	}
	c, n := faulty(t, status(503))
	if _, err := c.CreateGroup(t.Context(), "g", ""); err == nil || n.Load() != 1 {
		t.Errorf("a POST that may have been taken was sent %d times (%v)", n.Load(), err)
	}
	c, n = faulty(t, status(400))
	var refused *okta.Error
	if _, err := c.User(t.Context(), "x"); !errors.As(err, &refused) || refused.Code != "E0000009" || refused.Summary != "wrong" || n.Load() != 1 {
		t.Errorf("a refusal: %v after %d requests", err, n.Load())
	}
}

func TestLimitThatTakesTooLong(t *testing.T) {
	c, n := faulty(t, status(429, "X-Rate-Limit-Limit", "600", "X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", fmt.Sprint(time.Now().Add(time.Minute).Unix())))
	began := time.Now()
	_, err := c.User(t.Context(), "x")
	if !okta.IsRateLimited(err) || time.Since(began) > 3*time.Second || n.Load() != 1 {
		t.Errorf("%v after %v and %d requests", err, time.Since(began), n.Load())
	}
}

func TestShareOfALimit(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Rate-Limit-Limit", "10")
		h.Set("X-Rate-Limit-Remaining", fmt.Sprint(10-n.Add(1)))
		h.Set("X-Rate-Limit-Reset", fmt.Sprint(time.Now().Add(time.Minute).Unix()))
		fmt.Fprint(w, `{"id":"00u1"}`)
	}))
	defer server.Close()
	c, err := okta.New(okta.Config{URL: server.URL, Credentials: okta.APIToken("t"), Share: 0.5, MaxWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil && n.Load() < 10 {
		_, err = c.User(t.Context(), "x")
	}
	if !okta.IsRateLimited(err) || n.Load() != 5 {
		t.Errorf("%d requests of a limit of 10 at half a share (%v), want 5", n.Load(), err)
	}
}

func TestHostileAnswers(t *testing.T) {
	long := strings.Repeat("x", 17<<20)
	answer := func(contentType, link, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Link", link)
			fmt.Fprint(w, body)
		}
	}
	for name, a := range map[string]http.HandlerFunc{
		"page": answer("text/html", "", "<html>"), "garbage": answer("application/json", "", "{"), "huge": answer("application/json", "", `"`+long+`"`),
		"elsewhere":        answer("application/json", `<http://evil.example/api/v1/groups?after=1>; rel="next"`, `[]`),
		"elsewhere inside": answer("application/json", `</oauth2/v1/token>; rel="next"`, `[]`),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		server := httptest.NewServer(a)
		c, err := okta.New(okta.Config{URL: server.URL, Credentials: okta.APIToken("t"), Attempts: 1})
		if err != nil {
			t.Fatal(err)
		}
		failed := false
		for _, err := range c.Groups(t.Context(), "") {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("%s: taken for an answer", name)
		}
		server.Close()
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	for _, at := range []string{"", "http://acme.okta.com", "https://acme.okta.com/x", "https://u:p@acme.okta.com", "acme.okta.com", "ftp://127.0.0.1"} {
		if _, err := okta.New(okta.Config{URL: at, Credentials: okta.APIToken("t")}); err == nil {
			t.Errorf("%q is taken for an org", at)
		}
	}
	if _, err := okta.New(okta.Config{URL: "https://acme.okta.com"}); err == nil {
		t.Error("no credentials are taken")
	}
}

func TestCancelledWaitEnds(t *testing.T) {
	c, _ := faulty(t, status(503), status(503), status(503), status(503))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.User(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
