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

// receiver is an event hook's other end.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex // covers the rest
	status  int
	lie     bool // about the challenge
	got     []string
	secrets []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: 200}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if req.Method == http.MethodGet {
			answer := req.Header.Get("X-Okta-Verification-Challenge")
			if r.lie {
				answer = "something else"
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"verification": answer})
			return
		}
		raw, _ := io.ReadAll(req.Body)
		var body struct {
			EventType string `json:"eventType"`
			Data      struct {
				Events []struct{ UUID, EventType string }
			}
		}
		if json.Unmarshal(raw, &body) != nil || body.EventType != "com.okta.event_hook" || len(body.Data.Events) != 1 {
			t.Errorf("delivery %s", raw)
			return
		}
		r.got, r.secrets = append(r.got, body.Data.Events[0].EventType), append(r.secrets, req.Header.Get("Authorization"))
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *receiver) await(t *testing.T, n int) []string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		got := slices.Clone(r.got)
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
	}
	t.Fatalf("%d deliveries, want %d", len(r.got), n)
	return nil
}

func hook(uri string, types ...string) map[string]any {
	return map[string]any{"name": "ours", "events": map[string]any{"type": "EVENT_TYPE", "items": types},
		"channel": map[string]any{"type": "HTTP", "version": "1.0.0", "config": map[string]any{"uri": uri, "authScheme": map[string]any{"type": "HEADER", "key": "Authorization", "value": "the-secret"}}}}
}

func TestEventHooks(t *testing.T) {
	o, r := newTestOrg(t), newReceiver(t)
	const suspend, alice = "user.lifecycle.suspend", "00ualice000000000001"
	step := func(s string) { o.api("POST", "/api/v1/users/"+alice+"/lifecycle/"+s, nil).want(200) }

	o.api("POST", "/api/v1/eventHooks", hook("http://example.com/x", suspend)).wantAPI(400, "E0000001")
	o.api("POST", "/api/v1/eventHooks", hook(r.URL, "app.oauth2.as.key.rollover")).wantAPI(400, "E0000001")
	made := o.api("POST", "/api/v1/eventHooks", hook(r.URL, suspend)).want(200)
	if strings.Contains(string(made.body), "the-secret") {
		t.Error("the secret is shown")
	}
	path := "/api/v1/eventHooks/" + made.json()["id"].(string)
	step("suspend") // not verified yet: nothing is sent
	step("unsuspend")
	r.set(func() { r.lie = true })
	o.api("POST", path+"/lifecycle/verify", nil).wantAPI(400, "E0000001")
	r.set(func() { r.lie = false })
	if v := o.api("POST", path+"/lifecycle/verify", nil).want(200).json(); v["verificationStatus"] != "VERIFIED" {
		t.Errorf("%v", v)
	}
	step("suspend")
	step("unsuspend") // not subscribed to
	if got := r.await(t, 1); got[0] != suspend || r.secrets[0] != "the-secret" {
		t.Errorf("%v %v", got, r.secrets)
	}
	r.set(func() { r.status = 500 })
	step("suspend")
	r.await(t, 3) // tried twice
	step("unsuspend")
	r.set(func() { r.status = 400 })
	step("suspend")
	r.await(t, 4) // a refusal is not tried again
	step("unsuspend")

	// Another address is verified anew, and an active hook is not deleted.
	if v := o.api("PUT", path, hook(r.URL+"/other", suspend)).want(200).json(); v["verificationStatus"] != "UNVERIFIED" {
		t.Errorf("%v", v)
	}
	o.api("DELETE", path, nil).wantAPI(400, "E0000001")
	o.api("POST", path+"/lifecycle/deactivate", nil).want(200)
	o.api("DELETE", path, nil).want(204)
	o.api("GET", path, nil).wantAPI(404, "E0000007")
	if n := len(o.api("GET", "/api/v1/eventHooks", nil).want(200).list()); n != 0 {
		t.Errorf("%d hooks", n)
	}
	if got := r.await(t, 4); len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// What was not delivered when the org stopped is delivered when it is back.
func TestDeliveryOutlivesARestart(t *testing.T) {
	o, r := newTestOrg(t), newReceiver(t)
	made := o.api("POST", "/api/v1/eventHooks", hook(r.URL, "user.lifecycle.suspend")).want(200)
	o.api("POST", "/api/v1/eventHooks/"+made.json()["id"].(string)+"/lifecycle/verify", nil).want(200)
	o.api("POST", "/dev/faults", map[string]any{"target": "hooks", "slow_ms": 60000, "for_seconds": 60}).want(200)
	o.api("POST", "/api/v1/users/00ualice000000000001/lifecycle/suspend", nil).want(200)
	o.restart()
	if got := r.await(t, 1); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestFaults(t *testing.T) {
	o, r := newTestOrg(t), newReceiver(t)
	kid, _ := o.addKey(ManagementClient, 8)
	auth := []string{"Authorization", "Bearer " + o.orgTokenFor(kid, "okta.users.read").want(200).json()["access_token"].(string)}
	set := func(f map[string]any) { o.api("POST", "/dev/faults", f).want(200) }
	clear := func() { o.api("DELETE", "/dev/faults", nil).want(204) }

	for _, bad := range []map[string]any{{"target": "okta", "for_seconds": 5}, {"target": "nothing", "status": 500, "for_seconds": 5}, {"target": "okta", "status": 404, "for_seconds": 5},
		{"target": "users", "drop": true, "for_seconds": 5}, {"target": "hooks", "status": 500, "for_seconds": 5}, {"target": "okta", "status": 500}} {
		o.api("POST", "/dev/faults", bad).wantAPI(400, "E0000001")
	}
	o.request("GET", "/dev/faults", "", auth...).wantAPI(403, "E0000006")
	o.request("GET", "/dev/faults", "").wantAPI(401, "E0000011")

	set(map[string]any{"target": "okta", "status": 429, "for_seconds": 30})
	limited := o.get("/api/v1/users", auth...).wantAPI(429, "E0000047")
	if limited.header.Get("X-Rate-Limit-Remaining") != "0" || limited.header.Get("X-Rate-Limit-Reset") == "" {
		t.Errorf("headers %v", limited.header)
	}
	o.api("GET", "/api/v1/users", nil).want(200) // the operator's token is spared
	o.orgTokenFor(kid, "okta.users.read").want(429)
	o.advance(31 * time.Second)
	o.get("/api/v1/users", auth...).want(200)

	set(map[string]any{"target": "users", "status": 503, "for_seconds": 30})
	o.get("/api/v1/users", auth...).want(503)
	clear()
	set(map[string]any{"target": "users", "malformed": true, "for_seconds": 30})
	if json.Valid(o.get("/api/v1/users", auth...).want(200).body) {
		t.Error("not malformed")
	}
	clear()
	set(map[string]any{"target": "keys", "status": 500, "for_seconds": 30})
	o.get("/oauth2/default/v1/keys").want(500)
	clear()
	o.get("/oauth2/default/v1/keys").want(200)

	made := o.api("POST", "/api/v1/eventHooks", hook(r.URL, "user.lifecycle.suspend", "user.lifecycle.unsuspend")).want(200)
	o.api("POST", "/api/v1/eventHooks/"+made.json()["id"].(string)+"/lifecycle/verify", nil).want(200)
	set(map[string]any{"target": "hooks", "duplicate": true, "reorder": true, "for_seconds": 30})
	o.api("POST", "/api/v1/users/00ualice000000000001/lifecycle/suspend", nil).want(200)
	r.await(t, 2)
}
