package identity

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// unavailable wants keys_unavailable with a cause that an operator can act on.
func (r *rig) unavailable(what, cause string) {
	r.t.Helper()
	_, err := r.verify(r.user())
	if err == nil || err.Code != CodeKeysUnavailable || err.Cause == nil || !strings.Contains(err.Cause.Error(), cause) {
		r.t.Errorf("%s: %v, want keys_unavailable caused by %q", what, err, cause)
	}
	if err != nil && err.Cause != nil && strings.Contains(err.Detail, err.Cause.Error()) {
		r.t.Errorf("%s: the caller is told the cause: %q", what, err.Detail)
	}
}

func TestThreat25DiscoveryOfAnotherIssuer(t *testing.T) {
	for what, said := range map[string]string{"other": "https://evil.example/oauth2/default", "slash": "%s/", "prefix": "%.30s", "missing": ""} {
		r := newRig(t)
		if strings.Contains(said, "%") {
			said = fmt.Sprintf(said, r.issuer)
		}
		r.breakDiscovery(func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, said, r.issuer+"/v1/keys"))
		})
		r.unavailable(what, "is for issuer")
		if r.fetches.Load() != 0 {
			t.Errorf("%s: keys were fetched all the same", what)
		}
	}
}

func TestDiscoveryDocumentFaults(t *testing.T) {
	evil := newOrg(t)
	for what, c := range map[string]struct{ body, cause string }{
		"keys on another host":   {`{"issuer":"ISSUER","jwks_uri":"` + evil.issuer + `/v1/keys"}`, "own host"},
		"keys by another scheme": {`{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}`, "own host"},
		"keys with a user":       {`{"issuer":"ISSUER","jwks_uri":"http://u:p@HOST/oauth2/default/v1/keys"}`, "own host"},
		"no keys":                {`{"issuer":"ISSUER"}`, "own host"},
		"keys is a list":         {`{"issuer":"ISSUER","jwks_uri":["ISSUER/v1/keys"]}`, "own host"},
		"issuer twice":           {`{"issuer":"ISSUER","jwks_uri":"ISSUER/v1/keys","issuer":"ISSUER"}`, "twice"},
		"not JSON":               {`<html>`, "not a JSON object"},
		"too large":              {`{"pad":"` + strings.Repeat("x", maxDocument) + `"}`, "larger than 1 MB"},
	} {
		r := newRig(t)
		r.breakDiscovery(func(w http.ResponseWriter, req *http.Request) {
			writeJSON(w, strings.NewReplacer("ISSUER", r.issuer, "HOST", req.Host).Replace(c.body))
		})
		r.unavailable(what, c.cause)
		if r.fetches.Load()+evil.fetches.Load() != 0 {
			t.Errorf("%s: keys were fetched all the same", what)
		}
	}
}

func TestDiscoveryFallsBackToOAuthMetadata(t *testing.T) {
	o := newOrg(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base := "http://" + r.Host + "/as"
		switch r.URL.Path {
		case "/as/.well-known/oauth-authorization-server":
			writeJSON(w, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, base, base+"/keys"))
		case "/as/keys":
			writeJSON(w, *o.keyset.Load())
		default:
			w.WriteHeader(404)
		}
	}))
	t.Cleanup(srv.Close)
	r := newRig(t, func(c *Config) { c.Issuers[0].URL = srv.URL + "/as" })
	r.accepts(r.user("iss", srv.URL+"/as"))
}

func TestKeysOfAnotherHostNeedASetting(t *testing.T) {
	keys := newOrg(t)
	r := newRig(t, func(c *Config) { c.Issuers[0].JWKSURL = keys.issuer + "/v1/keys" })
	r.accepts(r.user())
	if r.lookups.Load() != 0 || r.fetches.Load() != 0 || keys.fetches.Load() != 1 {
		t.Errorf("%d discoveries, %d and %d fetches; want 0, 0 and 1", r.lookups.Load(), r.fetches.Load(), keys.fetches.Load())
	}
}

// Over real HTTP, where redirects, compression and endless bodies are real.
func TestThreat24FetchOverHTTP(t *testing.T) {
	evil := newOrg(t)
	for what, c := range map[string]struct {
		fault http.HandlerFunc
		cause string
	}{
		"redirect to another host": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, evil.issuer+"/v1/keys", 302) }, "refusing redirect"},
		"redirect to another port by 307": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(evil.issuer, "127.0.0.1", "localhost", 1)+"/v1/keys", 307)
		}, "refusing redirect"},
		"redirect to a file": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "file:///etc/passwd", 302) }, "refusing redirect"},
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprintf(z, `{"pad":"%s"}`, strings.Repeat("x", 8<<20))
			z.Close()
		}, "larger than 1 MB"},
		"body cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "5000")
			io.WriteString(w, `{"keys":[`)
		}, "reading body"},
	} {
		r := newRig(t)
		r.breakKeys(c.fault)
		r.unavailable(what, c.cause)
	}
	if evil.fetches.Load() != 0 {
		t.Error("a redirect was followed to another host")
	}
	// A redirect on the same host is followed.
	r := newRig(t)
	var hops atomic.Int64
	r.breakKeys(func(w http.ResponseWriter, req *http.Request) {
		if hops.Add(1) == 1 {
			http.Redirect(w, req, req.URL.Path+"?again", 302)
			return
		}
		writeJSON(w, *r.keyset.Load())
	})
	r.accepts(r.user())
}

func TestThreat24EndlessBody(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real deadline")
	}
	t.Parallel()
	r := newRig(t)
	r.breakKeys(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for req.Context().Err() == nil {
			io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	})
	start := time.Now()
	if _, err := r.verify(r.user()); err == nil || err.Code != CodeKeysUnavailable {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > coldWait+2*time.Second {
		t.Errorf("waited %v", took)
	}
}

// A cookie that the issuer sets, or that the caller's client holds, is no part of fetching keys; nor is any token.
func TestFetchesCarryNothing(t *testing.T) {
	var seen http.Header
	jar := must(cookiejar.New(nil))
	r := newRig(t, func(c *Config) { c.HTTPClient = &http.Client{Jar: jar} })
	r.breakKeys(func(w http.ResponseWriter, req *http.Request) {
		seen = req.Header.Clone()
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "1"})
		writeJSON(w, *r.keyset.Load())
	})
	r.accepts(r.user())
	r.refuses(CodeKeyUnknown, "unknown", sign(object{"alg": "RS256", "kid": "k5"}, r.userClaims(epoch), rsaKeys[0]()))
	if r.fetches.Load() != 2 {
		t.Fatalf("%d fetches", r.fetches.Load())
	}
	if seen.Get("Cookie") != "" || seen.Get("Authorization") != "" {
		t.Errorf("the fetch carried %v", seen)
	}
}
