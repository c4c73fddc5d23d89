package oktasetup_test

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// patient is a client as the command has it, whose pauses take no time and are told.
func (b *bench) patient(c okta.Credentials, paused *[]time.Duration) *okta.Client {
	b.t.Helper()
	now := atomic.Int64{} // nanoseconds that pauses have moved the clock by
	var mu sync.Mutex
	org, err := okta.New(okta.Config{URL: b.url, Credentials: c, Share: 1, MaxWait: time.Hour,
		Clock: func() time.Time { return time.Now().Add(time.Duration(now.Load())) },
		Sleep: func(ctx context.Context, d time.Duration) error {
			now.Add(int64(d))
			mu.Lock()
			defer mu.Unlock()
			*paused = append(*paused, d)
			return ctx.Err()
		}})
	if err != nil {
		b.t.Fatal(err)
	}
	return org
}

// twice lists what is there more than once.
func (b *bench) twice() (double []string) {
	b.t.Helper()
	for _, path := range []string{"/api/v1/groups", "/api/v1/apps", "/api/v1/authorizationServers", "/api/v1/eventHooks"} {
		all, err := b.org.Documents(b.t.Context(), path, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, d := range all {
			name := path + " " + d.Text("profile.name") + d.Text("label") + d.Text("name")
			if seen[name] {
				double = append(double, name)
			}
			seen[name] = true
		}
	}
	return double
}

// Set-up in an org that says 429 at every third request waits as long as the headers say, does each thing once and is done in one run.
func TestSetUpThroughRateLimits(t *testing.T) {
	b := newBench(t)
	var asked atomic.Int64
	b.breaks = func(w http.ResponseWriter, r *http.Request) bool {
		if asked.Add(1)%3 != 0 {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Rate-Limit-Limit", "600")
		w.Header().Set("X-Rate-Limit-Remaining", "0")
		w.Header().Set("X-Rate-Limit-Reset", fmt.Sprint(time.Now().Add(40*time.Second).Unix()))
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"errorCode":"E0000047","errorSummary":"API call exceeded rate limit due to too many requests."}`))
		return true
	}
	var paused []time.Duration
	org := b.patient(okta.APIToken(devorg.APIToken), &paused)
	p, err := oktasetup.Make(t.Context(), org, spec(), b.options())
	if err != nil {
		t.Fatal(err)
	}
	todo := p.Count(oktasetup.Create)
	done, err := p.Apply(t.Context(), org, b.options())
	if err != nil || len(done) != todo {
		t.Fatalf("%d of %d, %v", len(done), todo, err)
	}
	if len(paused) == 0 || slices.Max(paused) < 30*time.Second || slices.Max(paused) > 2*time.Minute {
		t.Errorf("%d pauses, the longest %v; the headers say 40 s", len(paused), slices.Max(append(paused, 0)))
	}
	b.breaks = nil
	if again := b.plan(spec(), b.options()); !again.Nothing() {
		t.Errorf("%s", text(again))
	}
	if double := b.twice(); double != nil {
		t.Errorf("made twice: %q", double)
	}
}

// An org that answers no more holds set-up up as long as its user lets it; what it did meanwhile is found by the next run, and nothing is there twice.
func TestSetUpOfASlowOrg(t *testing.T) {
	b := newBench(t)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var writes atomic.Int64
	reached := make(chan struct{})
	b.breaks = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || writes.Add(1) != 9 || r.Header.Get("X-Again") != "" {
			return false
		}
		again, _ := http.NewRequest(r.Method, b.url+r.URL.String(), r.Body) // it does what it is asked, and does not say so
		again.Header = r.Header.Clone()
		again.Header.Set("X-Again", "1")
		if res, err := http.DefaultClient.Do(again); err == nil {
			res.Body.Close()
		}
		close(reached)
		<-r.Context().Done()
		return true
	}
	go func() { <-reached; giveUp() }()
	p := b.plan(spec(), b.options())
	done, err := p.Apply(ctx, b.org, b.options())
	var failed *oktasetup.Failure
	if !errors.As(err, &failed) || !errors.Is(err, context.Canceled) || len(done) == 0 || failed.Left == 0 {
		t.Fatalf("%d done, %v", len(done), err)
	}
	b.breaks = nil
	b.apply(spec())
	if again := b.plan(spec(), b.options()); !again.Nothing() {
		t.Errorf("%s", text(again))
	}
	if double := b.twice(); double != nil {
		t.Errorf("made twice: %q", double)
	}
}

// setter makes a service app that may set up, and returns its id.
func (b *bench) setter(key *rsa.PrivateKey, scopes []string) (app string) {
	b.t.Helper()
	jwk, _, err := b.options().Key("setter", true)
	if err != nil {
		b.t.Fatal(err)
	}
	d := okta.Document{"name": "oidc_client", "label": "Set-up", "signOnMode": "OPENID_CONNECT"}
	d.Set("credentials.oauthClient.token_endpoint_auth_method", "private_key_jwt")
	d.Set("settings.oauthClient", map[string]any{"application_type": "service", "grant_types": []string{"client_credentials"}, "response_types": []string{"token"}, "jwks": map[string]any{"keys": []any{jwk}}})
	made, err := b.org.CreateDocument(b.t.Context(), "/api/v1/apps", d)
	if err != nil {
		b.t.Fatal(err)
	}
	app = made.Text("id")
	for _, s := range scopes {
		if _, err := b.org.CreateDocument(b.t.Context(), okta.Path("/api/v1/apps/%s/grants", app), okta.Document{"scopeId": s, "issuer": b.url}); err != nil {
			b.t.Fatal(err)
		}
	}
	return app
}

// may gives an app the role that makes its scopes usable, and returns what takes it away.
func (b *bench) may(app string) (takeAway func()) {
	b.t.Helper()
	roles := okta.Path("/oauth2/v1/clients/%s/roles", app)
	made, err := b.org.CreateDocument(b.t.Context(), roles, okta.Document{"type": "SUPER_ADMIN"})
	if err != nil {
		b.t.Fatal(err)
	}
	return func() {
		req, err := http.NewRequest(http.MethodDelete, b.url+roles+okta.Path("/%s", made.Text("id")), nil)
		if err == nil {
			req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
			var res *http.Response
			if res, err = http.DefaultClient.Do(req); err == nil {
				if res.Body.Close(); res.StatusCode != http.StatusNoContent {
					err = errors.New(res.Status)
				}
			}
		}
		if err != nil {
			b.t.Errorf("taking the role away: %v", err)
		}
	}
}

// A service app that loses its role in the middle of an application: it stops there and says so, whoever gives the right back goes on with
// a second one, and what is there is what one run would have made.
func TestRightsLostMeanwhile(t *testing.T) {
	for _, at := range []int{2, 40} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			b := newBench(t)
			key, err := oneKey()
			if err != nil {
				t.Fatal(err)
			}
			scopes := []string{"okta.apps.manage", "okta.appGrants.manage", "okta.authorizationServers.manage", "okta.groups.manage", "okta.eventHooks.manage", "okta.roles.manage", "okta.users.read", "okta.logs.read"}
			app := b.setter(key, scopes)
			takeAway := b.may(app)
			credentials, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: app, Scopes: scopes, Key: func() (*rsa.PrivateKey, string, error) { return key, "kid-setter", nil }})
			if err != nil {
				t.Fatal(err)
			}
			org := b.client(credentials)
			var writes atomic.Int64
			b.breaks = func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.Header.Get("Authorization"), "SSWS") || r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/token") || writes.Add(1) != int64(at) {
					return false
				}
				takeAway()
				return false
			}
			p, err := oktasetup.Make(t.Context(), org, spec(), b.options())
			if err != nil {
				t.Fatal(err)
			}
			done, err := p.Apply(t.Context(), org, b.options())
			var failed *oktasetup.Failure
			if !errors.As(err, &failed) || !okta.IsForbidden(err) || len(failed.Done) != len(done) || len(done) != at-1 {
				t.Fatalf("%d done of %d before, %v", len(done), at-1, err)
			}
			// Without the right the second run does nothing either, and says what is to do.
			if again, err := oktasetup.Make(t.Context(), org, spec(), b.options()); err == nil {
				if did, err := again.Apply(t.Context(), org, b.options()); !okta.IsForbidden(err) || len(did) != 0 {
					t.Errorf("%d done without the right, %v", len(did), err)
				}
			} else if !okta.IsForbidden(err) {
				t.Error(err)
			}
			b.may(app)
			if p, err = oktasetup.Make(t.Context(), org, spec(), b.options()); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Apply(t.Context(), org, b.options()); err != nil {
				t.Fatal(err)
			}
			if again := b.plan(spec(), b.options()); !again.Nothing() {
				t.Errorf("%s", text(again))
			}
			if double := b.twice(); double != nil {
				t.Errorf("made twice: %q", double)
			}
		})
	}
}
