package devorg

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// listener is a receiver of signed tokens, and keeps what it was sent.
type listener struct {
	*httptest.Server
	mu     sync.Mutex // covers the rest
	status int
	got    []delivered
}

type delivered struct{ kind, authorization, body string }

func newListener(t *testing.T) *listener {
	l := &listener{status: http.StatusAccepted}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, delivered{r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(raw)})
		w.WriteHeader(l.status)
	}))
	t.Cleanup(l.Close)
	return l
}

// wait returns what came since, when there is as much as is wanted.
func (l *listener) wait(t *testing.T, n int) []delivered {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		got := slices.Clone(l.got)
		l.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("%d deliveries, want %d", len(got), n)
		}
	}
}

func (l *listener) clear(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got, l.status = nil, status
}

// open verifies a token against the keys that the org publishes.
func (o *testOrg) openPublished(raw, typ string) map[string]json.RawMessage {
	o.t.Helper()
	token, err := parseJWS(raw)
	if err != nil || token.typ != typ {
		o.t.Fatalf("%v: %q", err, raw)
	}
	for _, k := range o.get("/oauth2/v1/keys").want(200).json()["keys"].([]any) {
		k := k.(map[string]any)
		if k["kid"] != token.kid {
			continue
		}
		public, err := parsePublic(k["e"].(string), k["n"].(string))
		if err != nil || !token.verify(public) {
			o.t.Fatal("the signature does not verify")
		}
		return token.claims
	}
	o.t.Fatal("the key is not published")
	return nil
}

func TestSharedSignals(t *testing.T) {
	o := newTestOrg(t)
	l := newListener(t)
	meta := o.get("/.well-known/ssf-configuration").want(200).json()
	if meta["issuer"] != o.url || meta["jwks_uri"] != o.url+"/oauth2/v1/keys" {
		t.Errorf("%v", meta)
	}
	alice := "/api/v1/users/alice@acme.example"
	o.api("DELETE", alice+"/sessions", nil).want(204) // from before there was a stream: not told
	body := map[string]any{"events_requested": append(slices.Clone(setTypes), "https://else.example/x"), "format": "iss_sub",
		"delivery": map[string]any{"method": pushMethod, "endpoint_url": l.URL, "authorization_header": "Bearer shared"}}
	o.api("POST", "/api/v1/ssf/stream", map[string]any{"delivery": map[string]any{"method": "poll"}}).wantAPI(400, "E0000001")
	made := o.api("POST", "/api/v1/ssf/stream", body).want(201).json()
	id, _ := made["stream_id"].(string)
	if made["aud"] != l.URL || id == "" || strings.Contains(string(o.api("GET", "/api/v1/ssf/stream", nil).want(200).body), "shared") {
		t.Errorf("%v", made)
	}
	o.api("POST", "/api/v1/ssf/stream", body).wantAPI(409, "E0000267")
	o.api("GET", "/api/v1/ssf/stream?stream_id=none", nil).wantAPI(404, "E0000007")
	if st := o.api("GET", "/api/v1/ssf/stream/status?stream_id="+id, nil).want(200).json(); st["status"] != "enabled" {
		t.Errorf("%v", st)
	}
	o.api("POST", "/api/v1/ssf/stream/verification", map[string]any{"stream_id": id, "state": "hello"}).want(204)
	first := l.wait(t, 1)[0]
	claims := o.openPublished(first.body, "secevent+jwt")
	if first.kind != "application/secevent+jwt" || first.authorization != "Bearer shared" || !strings.Contains(string(claims["events"]), `"state":"hello"`) || !strings.Contains(string(claims["events"]), setVerify) {
		t.Errorf("%+v %s", first, claims["events"])
	}
	l.clear(http.StatusServiceUnavailable)
	o.api("DELETE", alice+"/sessions", nil).want(204)
	l.wait(t, 2) // tried again
	l.clear(http.StatusAccepted)
	again := l.wait(t, 1)
	for i, step := range []string{"suspend", "unsuspend", "reset_password", "deactivate"} {
		o.api("POST", alice+"/lifecycle/"+step, nil).want(200)
		again = l.wait(t, i+2)
	}
	var kinds []string
	for _, d := range again {
		var events map[string]struct {
			Subject struct{ Format, Iss, Sub string }
			At      int64 `json:"event_timestamp"`
		}
		if err := json.Unmarshal(o.openPublished(d.body, "secevent+jwt")["events"], &events); err != nil {
			t.Fatal(err)
		}
		for name, e := range events {
			kinds = append(kinds, name[strings.LastIndexByte(name, '/')+1:])
			if e.Subject.Format != "iss_sub" || e.Subject.Iss != o.url || e.Subject.Sub != "00ualice000000000001" || e.At < 1e12 {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	if want := []string{"session-revoked", "account-disabled", "account-enabled", "credential-change", "account-disabled"}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	o.api("DELETE", "/api/v1/ssf/stream?stream_id="+id, nil).want(204)
	o.api("DELETE", "/api/v1/ssf/stream", nil).wantAPI(404, "E0000007")
}

func TestSignalFaults(t *testing.T) {
	o := newTestOrg(t)
	l := newListener(t)
	o.api("POST", "/api/v1/ssf/stream", map[string]any{"events_requested": setTypes, "delivery": map[string]any{"method": pushMethod, "endpoint_url": l.URL}}).want(201)
	o.api("POST", "/dev/faults", map[string]any{"target": "ssf", "duplicate": true, "malformed": true, "for_seconds": 60}).want(200)
	o.api("DELETE", "/api/v1/users/alice@acme.example/sessions", nil).want(204)
	got := l.wait(t, 3)
	if _, err := parseJWS(got[1].body); err != nil || got[1].body == got[0].body || len(got[0].body) >= len(got[1].body) {
		t.Errorf("a cut one, and then whole ones: %v %v", got, err)
	}
	jti := func(d delivered) string { return string(o.openPublished(d.body, "secevent+jwt")["jti"]) }
	if jti(got[1]) != jti(got[2]) {
		t.Error("a duplicate has another id")
	}
	o.api("POST", "/dev/faults", map[string]any{"target": "ssf", "status": 503, "for_seconds": 60}).wantAPI(400, "E0000001")
	o.api("POST", "/dev/faults", map[string]any{"target": "users", "drop": true, "for_seconds": 60}).wantAPI(400, "E0000001")
}

func TestUniversalLogout(t *testing.T) {
	o := newTestOrg(t)
	l := newListener(t)
	o.api("PUT", "/dev/logout", map[string]any{"endpoint": "ftp://x"}).wantAPI(400, "E0000001")
	o.api("PUT", "/dev/logout", map[string]any{"endpoint": l.URL}).wantAPI(400, "E0000001")
	o.api("PUT", "/dev/logout", map[string]any{"endpoint": l.URL, "client_id": CLIClient}).want(200)
	o.api("DELETE", "/api/v1/users/alice@acme.example/sessions", nil).want(204)
	d := l.wait(t, 1)[0]
	raw, _ := strings.CutPrefix(d.authorization, "Bearer ")
	claims := o.openPublished(raw, "global-token-revocation+jwt")
	if string(claims["sub"]) != `"`+CLIClient+`"` || string(claims["aud"]) != `"`+l.URL+`"` || d.kind != "application/json" || d.body != `{"sub_id":{"email":"alice@acme.example","format":"email"}}` {
		t.Errorf("%+v %s", d, claims)
	}
	o.api("PUT", "/dev/logout", map[string]any{"endpoint": l.URL, "client_id": CLIClient, "format": "iss_sub"}).want(200)
	o.api("POST", "/api/v1/users/bob@acme.example/lifecycle/suspend", nil).want(200)
	if d := l.wait(t, 2)[1]; !strings.Contains(d.body, `"sub":"00ubob00000000000001"`) {
		t.Errorf("%+v", d)
	}
	o.api("PUT", "/dev/logout", map[string]any{}).want(200)
	if o.api("GET", "/dev/logout", nil).want(200).json()["endpoint"] != "" {
		t.Error("it is still configured")
	}
}
