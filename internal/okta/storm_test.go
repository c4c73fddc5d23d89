package okta_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/devorg/orgtest"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// turned is a clock that waiting moves, so that minutes of waiting take none.
type turned struct{ ns atomic.Int64 }

func newTurned() *turned {
	c := &turned{}
	c.ns.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *turned) now() time.Time { return time.Unix(0, c.ns.Load()).UTC() }

// sleep moves the clock on to the end of the wait, and no further where others wait as well.
func (c *turned) sleep(ctx context.Context, d time.Duration) error {
	until := c.ns.Load() + int64(d)
	for {
		now := c.ns.Load()
		if now >= until || c.ns.CompareAndSwap(now, until) {
			return ctx.Err()
		}
	}
}

// An org whose limit others have used up answers 429 to everything; a crowd of callers waits for the refill together, none fails, the share is kept
// in each window, and requests that change something are done once.
func TestStormOf429(t *testing.T) {
	const limit, callers, each = 60, 8, 20
	clock := newTurned()
	start := clock.now()
	var mu sync.Mutex // covers what follows
	windows, refused := map[int64]int{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		now := clock.now()
		window := now.Unix() / 60
		h := w.Header()
		h.Set("Date", now.Format(http.TimeFormat))
		h.Set("X-Rate-Limit-Limit", strconv.Itoa(limit))
		h.Set("X-Rate-Limit-Reset", strconv.FormatInt((window+1)*60, 10))
		h.Set("Content-Type", "application/json")
		if now.Sub(start) < 90*time.Second { // somebody else's storm
			refused++
			h.Set("X-Rate-Limit-Remaining", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}`)
			return
		}
		windows[window]++
		h.Set("X-Rate-Limit-Remaining", strconv.Itoa(limit-windows[window]))
		fmt.Fprint(w, `{"id":"00g1","profile":{"name":"x"}}`)
	}))
	t.Cleanup(server.Close)
	c, err := okta.New(okta.Config{URL: server.URL, Credentials: okta.APIToken("t"), Share: 0.5, MaxWait: time.Hour, Attempts: 10, Clock: clock.now, Sleep: clock.sleep})
	if err != nil {
		t.Fatal(err)
	}
	var crowd sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		crowd.Go(func() {
			for range each {
				_, err := c.CreateGroup(t.Context(), "x", "")
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	crowd.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	total := 0
	for window, n := range windows {
		total += n
		// A request that was counted at the end of a window may arrive in the next.
		if n > limit/2+callers {
			t.Errorf("window %d: %d requests, of %d allowed", window, n, limit/2)
		}
	}
	if total != callers*each {
		t.Errorf("%d groups were made of %d", total, callers*each)
	}
	if refused == 0 || refused > 4*callers {
		t.Errorf("%d requests ran into the storm", refused)
	}
}

// Work that can wait stands back: what everybody of this program uses counts for it.
func TestWithinASmallerShare(t *testing.T) {
	clock := newTurned()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Date", clock.now().Format(http.TimeFormat))
		h.Set("X-Rate-Limit-Limit", "100")
		h.Set("X-Rate-Limit-Remaining", "90")
		h.Set("X-Rate-Limit-Reset", strconv.FormatInt(clock.now().Truncate(time.Minute).Unix()+60, 10))
		h.Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"00u1","status":"ACTIVE"}`)
	}))
	t.Cleanup(server.Close)
	c, err := okta.New(okta.Config{URL: server.URL, Credentials: okta.APIToken("t"), Share: 0.5, MaxWait: time.Second, Clock: clock.now, Sleep: clock.sleep})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *okta.Client, n int) (done int) {
		for range n {
			if _, err := c.User(t.Context(), "00u1"); err != nil {
				if !okta.IsRateLimited(err) {
					t.Fatal(err)
				}
				return done
			}
			done++
		}
		return done
	}
	if n := ask(c, 10); n != 10 {
		t.Fatalf("%d of 10", n)
	}
	if n := ask(c.Within(0.2), 30); n != 10 {
		t.Errorf("with a fifth, of which half was used: %d", n)
	}
	if n := ask(c, 60); n != 30 {
		t.Errorf("the rest of half: %d", n)
	}
	if u := c.Usage(); len(u) != 1 || u[0].Sent != 50 || u[0].Most != 50 || u[0].Limit != 100 {
		t.Errorf("%+v", u)
	}
}

// This machine's clock is an hour off: the first token is refused, Okta's Date says why, and the next assertion is made for its time. Waits for a
// limit go by the distance of Reset and Date, whatever our clock says.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			base := org(t)
			credentials := serviceApp(t, base, "okta.users.read")
			c, err := okta.New(okta.Config{URL: base, Credentials: credentials, Clock: func() time.Time { return time.Now().Add(skew) }})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if u, err := c.User(t.Context(), "alice@acme.example"); err != nil || u.Profile.Login != "alice@acme.example" {
					t.Fatalf("%+v, %v", u, err)
				}
			}
		})
	}
}

// A token that was revoked is replaced and the request sent once more, whatever its method: nothing was done. An API token has no other.
func TestRevokedToken(t *testing.T) {
	var refuse, sent atomic.Int64
	refuse.Store(1)
	inner := http.NewServeMux()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			sent.Add(1)
			if refuse.Add(-1) >= 0 {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"errorCode":"E0000011","errorSummary":"Invalid token provided"}`)
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	var tokens atomic.Int64
	inner.HandleFunc("POST /oauth2/v1/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, tokens.Add(1))
	})
	inner.HandleFunc("POST /api/v1/groups", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"00g1"}`)
	})
	c := client(t, proxy.URL, anyApp(t, nil))
	if _, err := c.CreateGroup(t.Context(), "x", ""); err != nil || tokens.Load() != 2 || sent.Load() != 2 {
		t.Errorf("%v, %d tokens, %d requests", err, tokens.Load(), sent.Load())
	}
	refuse.Store(100)
	sent.Store(0)
	if _, err := c.CreateGroup(t.Context(), "x", ""); !okta.IsForbidden(err) || sent.Load() != 2 {
		t.Errorf("refused for good: %v after %d requests", err, sent.Load())
	}
	sent.Store(0)
	if _, err := client(t, proxy.URL, okta.APIToken("t")).CreateGroup(t.Context(), "x", ""); !okta.IsForbidden(err) || sent.Load() != 1 {
		t.Errorf("an API token: %v after %d requests", err, sent.Load())
	}
}

// anyApp are credentials with a key that nobody checks.
func anyApp(t *testing.T, d *okta.DPoP) okta.Credentials {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	out, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: "0oa1", Scopes: []string{"s"}, Key: func() (*rsa.PrivateKey, string, error) { return key, "k", nil }, DPoP: d})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The token endpoint and the API each want a nonce of their own (RFC 9449 sections 8 and 9); proofs name the token, the method and the address, and
// none is used twice.
func TestNonces(t *testing.T) {
	seen := map[string]bool{}
	var mu sync.Mutex
	claims := func(r *http.Request) map[string]any {
		mu.Lock()
		defer mu.Unlock()
		parts := strings.Split(r.Header.Get("DPoP"), ".")
		var out map[string]any
		if len(parts) == 3 {
			raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
			_ = json.Unmarshal(raw, &out)
		}
		id, _ := out["jti"].(string)
		if id == "" || seen[id] || out["htm"] != r.Method || out["htu"] != "http://"+r.Host+r.URL.Path {
			t.Errorf("a proof of %v for %s %s", out, r.Method, r.URL.Path)
		}
		seen[id] = true
		return out
	}
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proof := claims(r)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/oauth2/v1/token" {
			w.Header().Set("DPoP-Nonce", "n1")
			if proof["nonce"] != "n1" {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":"use_dpop_nonce","error_description":"Authorization server requires nonce in DPoP proof."}`)
				return
			}
			fmt.Fprint(w, `{"access_token":"t","token_type":"DPoP","expires_in":3600}`)
			return
		}
		requests.Add(1)
		if proof["ath"] == nil || r.Header.Get("Authorization") != "DPoP t" {
			t.Errorf("the proof is of no token: %v", proof)
		}
		if proof["nonce"] != "n2" {
			w.Header().Set("DPoP-Nonce", "n2")
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"id":"00u1","status":"ACTIVE"}`)
	}))
	t.Cleanup(server.Close)
	d, err := okta.NewDPoP()
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, server.URL, anyApp(t, d))
	for range 3 {
		if _, err := c.User(t.Context(), "00u1"); err != nil {
			t.Fatal(err)
		}
	}
	if requests.Load() != 4 {
		t.Errorf("%d requests: the nonce is not kept", requests.Load())
	}
}

// Pages go on from a cursor that was kept, in another process; a list that leads to itself or to another list ends in an error and not in a loop.
func TestPagesFromACursor(t *testing.T) {
	base, o := orgtest.Start(t, devorg.Config{})
	if err := o.Fill(t.Context(), devorg.Crowd{People: 500, Groups: 2, Each: 1}); err != nil {
		t.Fatal(err)
	}
	seen, cursor, pages := map[string]bool{}, okta.Cursor(""), 0
	for {
		pages++
		users, next, err := client(t, base, okta.APIToken(devorg.APIToken)).UsersPage(t.Context(), time.Time{}, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			if seen[u.ID] {
				t.Errorf("%s is on two pages", u.ID)
			}
			seen[u.ID] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if want := 500 + len(devorg.Acme().People); len(seen) != want || pages != 3 {
		t.Errorf("%d people on %d pages, want %d", len(seen), pages, want)
	}
	for name, link := range map[string]string{"itself": "/api/v1/groups?limit=1000", "another list": "/api/v1/users?after=1"} {
		c, _ := faulty(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s>; rel="next"`, r.Host, link))
			fmt.Fprint(w, `[]`)
		})
		if _, _, err := c.GroupsPage(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "another list's") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := client(t, base, okta.APIToken("t")).GroupsPage(t.Context(), "a\nb"); err == nil {
		t.Error("a cursor with a line break is taken")
	}
}
