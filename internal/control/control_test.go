package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/policy"
)

type kit struct {
	*control.Plane
	issuer  *bailiwicktest.Issuer
	journal string
	url     string
}

func newKit(t *testing.T) *kit {
	t.Helper()
	dir := t.TempDir()
	k := &kit{issuer: bailiwicktest.NewIssuer(t), journal: filepath.Join(dir, "journal")}
	if err := policy.WriteStarter(filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err)
	}
	var err error
	k.Plane, err = control.Open(t.Context(), control.Config{
		Name: "test-control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: k.issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: filepath.Join(dir, "policy"), JournalDir: k.journal, AttestationKey: filepath.Join(dir, "attestation.pem"),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Handle("POST /v1/start", k.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		d, id := k.Decide(r.Context(), who, policy.Request{
			Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: r.FormValue("namespace")},
			Context: policy.Context{SourceIP: netaddr.Source(r), Reason: "because", RequestDigest: "d1"},
		})
		_ = json.NewEncoder(w).Encode(map[string]any{"allow": d.Allow, "code": d.Code, "id": id})
	}))
	k.Handle("POST /v1/cluster", k.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		if k.Permit(w, r, who, policy.Request{Action: policy.AuditRead}, "not for you") {
			_ = json.NewEncoder(w).Encode(map[string]any{"done": true})
		}
	}))
	server := httptest.NewServer(k)
	k.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *kit) post(t *testing.T, path string, tokens ...string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		req.Header.Add("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// entries are those of the journal but keys.
func (k *kit) entries(t *testing.T) []audit.Entry {
	t.Helper()
	return slices.DeleteFunc(bailiwicktest.Entries(t, k.journal), func(e audit.Entry) bool { return e.Kind == audit.KindKey })
}

func TestDecisionsAreRecorded(t *testing.T) {
	k := newKit(t)
	alice := k.issuer.User("alice@acme.example", "temporal:deploy:write")
	status, body := k.post(t, "/v1/start?namespace=deploy", alice)
	if status != http.StatusOK || body["allow"] != true {
		t.Fatalf("%d %v", status, body)
	}
	entries := k.entries(t)
	last := entries[len(entries)-1]
	if entries[0].Kind != audit.KindGate || last.ID != body["id"] || last.Actor.Login != "alice@acme.example" || last.Gate != "test-control" || last.Source != "127.0.0.1" || last.RequestDigest != "d1" {
		t.Errorf("entries: %+v", entries)
	}
	if status, body = k.post(t, "/v1/start?namespace=payments", alice); status != http.StatusOK || body["allow"] != false || body["code"] != "no_permission" {
		t.Errorf("%d %v", status, body)
	}
}

// Who is not permitted is told why, and the entry to ask about; nothing is done for them.
func TestPermit(t *testing.T) {
	k := newKit(t)
	if status, body := k.post(t, "/v1/cluster", k.issuer.User("carol@acme.example", "security")); status != http.StatusOK || body["done"] != true {
		t.Errorf("%d %v", status, body)
	}
	status, body := k.post(t, "/v1/cluster", k.issuer.User("alice@acme.example", "temporal:deploy:write"))
	if detail, _ := body["detail"].(string); status != http.StatusForbidden || body["code"] != "no_permission" || !strings.HasPrefix(detail, "not for you") || body["done"] != nil {
		t.Fatalf("%d %v", status, body)
	}
	// A denial is recorded but not waited for. What follows it in the journal is: once that is durable, so is the denial.
	if _, err := k.Record(t.Context(), audit.Entry{Kind: audit.KindAdmin, Detail: map[string]string{"event": "tested"}}); err != nil {
		t.Fatal(err)
	}
	entries := k.entries(t)
	if last := entries[len(entries)-2]; body["decision"] != last.ID || last.Decision.Allow || last.Action != policy.AuditRead || last.Source != "127.0.0.1" || last.Actor.Login != "alice@acme.example" {
		t.Errorf("%v; on record: %+v", body, last)
	}
}

// What a token was verified with is on record ahead of the decision about it, once.
func TestIssuersKeysAreRecorded(t *testing.T) {
	k := newKit(t)
	alice := k.issuer.User("alice@acme.example", "temporal:deploy:write")
	for range 2 {
		k.post(t, "/v1/start?namespace=deploy", alice)
	}
	recorded := map[string]int{}
	for _, e := range bailiwicktest.Entries(t, k.journal) {
		switch d := e.Detail; {
		case e.Kind == audit.KindKey && d["use"] == audit.UseIssuer:
			if d["issuer"] != k.issuer.URL || d["jwk"] == "" || d["event"] != "published" {
				t.Errorf("entry %+v", e)
			}
			recorded[d["kid"]]++
		case e.Kind == audit.KindDecision:
			if e.Actor.TokenKey == "" || recorded[e.Actor.TokenKey] != 1 {
				t.Errorf("the key %q of a decision is %d times on record before it", e.Actor.TokenKey, recorded[e.Actor.TokenKey])
			}
		}
	}
}

func TestOnlyValidTokensGetIn(t *testing.T) {
	k := newKit(t)
	for name, tokens := range map[string][]string{"none": nil, "not a token": {"secret"}, "two": {k.issuer.User("alice@acme.example"), k.issuer.User("bob@acme.example")}} {
		status, body := k.post(t, "/v1/start", tokens...)
		if status != http.StatusUnauthorized || body["code"] == nil || body["decision"] == nil || body["status"] != 401.0 {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	if status, body := k.post(t, "/elsewhere"); status != http.StatusNotFound || body["code"] != "not_found" {
		t.Errorf("unknown path: %d %v", status, body)
	}
}

func TestRecordFillsAnEntry(t *testing.T) {
	k := newKit(t)
	id, err := k.Record(t.Context(), audit.Entry{Kind: audit.KindAdmin, Detail: map[string]string{"event": "tested"}})
	if err != nil {
		t.Fatal(err)
	}
	entries := k.entries(t)
	if last := entries[len(entries)-1]; last.ID != id || last.Actor.Principal != "gate:test-control" || last.Time.IsZero() {
		t.Errorf("%+v", last)
	}
}

func TestJournalHasOneOwner(t *testing.T) {
	k := newKit(t)
	_, err := control.Open(t.Context(), control.Config{Name: "b", Audience: "b", Issuers: []identity.Issuer{{URL: k.issuer.URL, Audiences: []string{"x"}}}, JournalDir: k.journal})
	if err == nil {
		t.Fatal("two control planes share a journal")
	}
}

// failing is a journal that stops taking entries when it is told to.
type failing struct {
	gate.Recorder
	broken *atomic.Bool
}

func (f failing) Append(ctx context.Context, e audit.Entry) (uint64, error) {
	if f.broken.Load() {
		return 0, errors.New("no space left on device")
	}
	return f.Recorder.Append(ctx, e)
}

// Another policy set is on record before it decides; one that can't be recorded does not come into force.
func TestPolicySetsAreRecordedFirst(t *testing.T) {
	dir, recorded := t.TempDir(), 0
	var broken atomic.Bool
	policies, journal := filepath.Join(dir, "policy"), filepath.Join(dir, "journal")
	if err := policy.WriteStarter(policies); err != nil {
		t.Fatal(err)
	}
	p, err := control.Open(t.Context(), control.Config{
		Name: "test-control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: bailiwicktest.NewIssuer(t).URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: policies, JournalDir: journal, AttestationKey: filepath.Join(dir, "attestation.pem"),
		Protect: func(r gate.Recorder) gate.Recorder { return failing{r, &broken} },
	})
	if err != nil {
		t.Fatal(err)
	}
	change := func(text string) error {
		if err := os.WriteFile(filepath.Join(policies, "more.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p.Policy().Reload()
	}
	broken.Store(true)
	old := p.Policy().Status().Digest
	text := `@id("one") forbid (principal, action == Action::"ResetWorkflowExecution", resource);`
	if err := change(text); err == nil || p.Policy().Status().Digest != old || p.Policy().Status().LastError == "" {
		t.Errorf("without a journal: %v, %+v", err, p.Policy().Status())
	}
	broken.Store(false)
	if err := change(text); err != nil || p.Policy().Status().Digest == old {
		t.Fatalf("%v, %+v", err, p.Policy().Status())
	}
	now := p.Policy().Status().Digest
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range bailiwicktest.Entries(t, journal) {
		if e.Kind == audit.KindPolicy && e.Detail["policy_digest"] == now {
			recorded++
		}
	}
	if recorded != 1 {
		t.Errorf("%d entries about policy set %s", recorded, now)
	}
}
