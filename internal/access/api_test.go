package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// runs stands in for Temporal: it keeps what the API starts and sends, and plays a request that is pending, or active once it was approved.
type runs struct {
	client.Client
	mu    sync.Mutex // guards all below
	cases map[string]access.Case
	view  map[string]access.Request
	acts  []sent
	down  bool
	order []string
}

type sent struct {
	update, id, key string
	act             access.Act
}

func (f *runs) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, serviceerror.NewUnavailable("down")
	}
	c := args[0].(access.Case)
	if _, exists := f.cases[o.ID]; exists {
		return nil, serviceerror.NewWorkflowExecutionAlreadyStarted("", "", "")
	}
	f.cases[o.ID] = c
	f.view[o.ID] = access.Request{Asked: c.Asked, Digest: c.Digest, State: access.Pending, Needed: c.Rules.Approvals, Created: c.At, Requester: access.Person{Principal: c.Asked.Principal, Login: c.Asked.Login}}
	f.order = append([]string{o.ID}, f.order...)
	return nil, nil
}

func (f *runs) QueryWorkflow(_ context.Context, id, _, _ string, _ ...any) (converter.EncodedValue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.view[id]
	if f.down {
		return nil, serviceerror.NewUnavailable("down")
	}
	if !ok {
		return nil, serviceerror.NewNotFound("no such run")
	}
	return value{v}, nil
}

func (f *runs) UpdateWorkflow(_ context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts = append(f.acts, sent{o.UpdateName, o.WorkflowID, o.UpdateID, o.Args[0].(access.Act)})
	v := f.view[o.WorkflowID]
	v.State = map[string]access.State{"approve": access.Active, "deny": access.Denied, "withdraw": access.Withdrawn, "revoke": access.Revoked, "return": access.Returned}[o.UpdateName]
	if v.State == "" {
		v.State = access.Active
	}
	v.Grant, v.Settled = "grant-x", true
	f.view[o.WorkflowID] = v
	return handle{value: value{v}}, nil
}

func (f *runs) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, id := range f.order {
		p, err := converter.GetDefaultDataConverter().ToPayload(f.view[id])
		if err != nil {
			return nil, err
		}
		res.Executions = append(res.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}, Memo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{"access-request": p}}})
	}
	return res, nil
}

type value struct{ r access.Request }

func (v value) HasValue() bool { return true }
func (v value) Get(to any) error {
	*to.(*access.Request) = v.r
	return nil
}

type handle struct {
	client.WorkflowUpdateHandle
	value
}

func (h handle) Get(_ context.Context, to any) error { return h.value.Get(to) }

type noFeed struct{}

func (noFeed) Put(context.Context, standing.Event) (uint64, error) { return 0, errors.New("unused") }

// chief is a directory that knows one manager of everybody.
type chief struct{ principal string }

func (chief) Person(context.Context, string) (p standing.Person, found bool, err error) {
	return p, false, nil
}

func (c *chief) Manager(context.Context, string) (string, error) {
	if c.principal == "down" {
		return "", errors.New("the directory is down")
	}
	return c.principal, nil
}

type someUses struct{}

func (someUses) Uses(_ context.Context, grant string) ([]access.Use, error) {
	return []access.Use{{Entry: "e1", Action: "StartWorkflowExecution", Allow: true, Code: "allowed", Reason: grant}}, nil
}

// api is the real handler on a real control plane with the starter policies, in front of runs.
type api struct {
	*testing.T
	issuer *bailiwicktest.Issuer
	plane  *control.Plane
	runs   *runs
	url    string
	dir    string
	chief  chief
}

func newAPI(t *testing.T) *api {
	t.Helper()
	dir := t.TempDir()
	a := &api{T: t, issuer: bailiwicktest.NewIssuer(t), runs: &runs{cases: map[string]access.Case{}, view: map[string]access.Request{}}, dir: filepath.Join(dir, "policy")}
	if err := policy.WriteStarter(a.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.plane, err = control.Open(t.Context(), control.Config{
		Name: "test-control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: a.issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: a.dir, JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "attestation.pem"),
	}); err != nil {
		t.Fatal(err)
	}
	s, err := access.New(access.Config{Decider: a.plane, Judge: a.plane.Policy(), Recorder: a.plane, Publisher: noFeed{}, Uses: someUses{}, Directory: &a.chief})
	if err != nil {
		t.Fatal(err)
	}
	s.Mount(a.plane)
	server := httptest.NewServer(a.plane)
	a.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := a.plane.Close(); err != nil {
			t.Error(err)
		}
	})
	a.as("alice").refused(access.AskBody{Namespace: "payments", Role: "write", Seconds: 600, Reason: "before Temporal is up"}, "access_unavailable")
	s.Connect(a.runs)
	return a
}

var groups = map[string][]string{"alice": {"temporal:payments:read"}, "bob": {"temporal:payments:approver"}, "carol": {"temporal:payments:admin"}, "dave": {"contractors", "temporal:payments:read"}, "erin": nil, "greta": {"break-glass", "temporal:payments:read"}}

// person calls the API as somebody.
type person struct {
	*api
	*access.Client
}

func (a *api) as(name string) person {
	token := a.issuer.User(name+"@acme.example", groups[name]...)
	return person{a, &access.Client{URL: a.url, Token: func(context.Context) (string, error) { return token, nil }}}
}

func (p person) refused(body access.AskBody, code string) {
	p.Helper()
	_, err := p.Ask(p.Context(), body, "")
	p.isRefusal(err, code)
}

func (a *api) isRefusal(err error, code string) {
	a.Helper()
	var r *access.Refusal
	if !errors.As(err, &r) || r.Code != code || r.Detail == "" {
		a.Errorf("%v, want %s", err, code)
	}
}

func writeAccess() access.AskBody {
	return access.AskBody{Namespace: "payments", Role: "write", Seconds: 600, Reason: "INC-123"}
}

func TestAskApproveShow(t *testing.T) {
	a := newAPI(t)
	alice, bob := a.as("alice"), a.as("bob")
	r, err := alice.Ask(t.Context(), writeAccess(), "key-1")
	if err != nil || r.State != access.Pending || r.Needed != 1 || r.Digest != r.Asked.Digest() || r.Asked.Login != "alice@acme.example" {
		t.Fatalf("%+v, %v", r, err)
	}
	if again, err := alice.Ask(t.Context(), writeAccess(), "key-1"); err != nil || again.Asked.ID != r.Asked.ID || len(a.runs.cases) != 1 {
		t.Errorf("the same key: %v, %v", again.Asked.ID, err)
	}
	other := writeAccess()
	other.Role = "read"
	_, err = alice.Ask(t.Context(), other, "key-1")
	a.isRefusal(err, "idempotency_key_reused")

	c := a.runs.cases[r.Asked.ID]
	if c.Requester.Principal() != r.Asked.Principal || c.Decision == "" || c.Policies[0] != "access-ask" || c.Rules.MaxSeconds != 480*60 {
		t.Errorf("case %+v", c)
	}
	if _, err := bob.Do(t.Context(), r.Asked.ID, "approve", access.ActBody{Digest: r.Digest, Comment: "ok"}); err != nil {
		t.Fatal(err)
	}
	act := a.runs.acts[0]
	if act.update != "approve" || act.act.By.Login != "bob@acme.example" || act.act.Digest != r.Digest || act.act.Decision == "" || !strings.Contains(act.key, r.Digest) || act.act.By.AuthTime.IsZero() {
		t.Errorf("act %+v", act)
	}
	if uses, more, err := alice.Uses(t.Context(), r.Asked.ID); err != nil || more || len(uses) != 1 || uses[0].Reason != "grant-x" {
		t.Errorf("uses %v, %v", uses, err)
	}
	for name, want := range map[string]int{"alice": 1, "bob": 1, "carol": 1, "dave": 0, "erin": 0} {
		if found, err := a.as(name).List(t.Context(), access.Filter{}); err != nil || len(found) != want {
			t.Errorf("%s lists %d, %v", name, len(found), err)
		}
	}
	_, err = a.as("erin").Get(t.Context(), r.Asked.ID)
	a.isRefusal(err, "request_unknown") // whether there is one is not told
}

func TestWhoMayDoWhat(t *testing.T) {
	a := newAPI(t)
	alice := a.as("alice")
	r, err := alice.Ask(t.Context(), writeAccess(), "")
	if err != nil {
		t.Fatal(err)
	}
	a.as("erin").refused(writeAccess(), "no_permission")
	a.as("dave").refused(writeAccess(), "forbidden")
	for _, verb := range []string{"approve", "deny"} {
		_, err := alice.Do(t.Context(), r.Asked.ID, verb, access.ActBody{Digest: r.Digest})
		a.isRefusal(err, "forbidden")
		_, err = a.as("bob").Do(t.Context(), r.Asked.ID, verb, access.ActBody{})
		a.isRefusal(err, "digest_missing")
	}
	_, err = a.as("bob").Do(t.Context(), r.Asked.ID, "review", access.ActBody{Comment: "x"})
	a.isRefusal(err, "verdict_missing")
	yes := true
	_, err = alice.Do(t.Context(), r.Asked.ID, "review", access.ActBody{Comment: "x", Justified: &yes})
	a.isRefusal(err, "forbidden")
	for _, name := range []string{"erin", "dave"} {
		_, err := a.as(name).Do(t.Context(), r.Asked.ID, "revoke", access.ActBody{})
		a.isRefusal(err, "request_unknown")
	}
	if len(a.runs.acts) != 0 {
		t.Errorf("acts got through: %+v", a.runs.acts)
	}
	_, err = a.as("bob").Do(t.Context(), "ar-aaaaaaaaaaaa", "approve", access.ActBody{Digest: "x"})
	a.isRefusal(err, "request_unknown")
	_, err = a.as("bob").Get(t.Context(), "../../../etc/passwd")
	if err == nil {
		t.Error("a path as an id")
	}
}

// By the cookbook's recipe a manager sees and decides what nobody else without a role may know of.
func TestManagerDecides(t *testing.T) {
	a := newAPI(t)
	recipe, err := os.ReadFile("../../policy/cookbook/manager-approves.cedar")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, "manager.cedar"), recipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.plane.Policy().Reload(); err != nil {
		t.Fatal(err)
	}
	r, err := a.as("alice").Ask(t.Context(), writeAccess(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, manager := range []string{"", "down", strings.ReplaceAll(r.Asked.Principal, "alice", "bob")} {
		a.chief.principal = manager
		_, err := a.as("erin").Do(t.Context(), r.Asked.ID, "approve", access.ActBody{Digest: r.Digest})
		a.isRefusal(err, "request_unknown")
	}
	a.chief.principal = strings.ReplaceAll(r.Asked.Principal, "alice", "erin")
	if _, err := a.as("erin").Do(t.Context(), r.Asked.ID, "approve", access.ActBody{Digest: r.Digest}); err != nil {
		t.Error(err)
	}
	a.chief.principal = r.Asked.Principal
	_, err = a.as("alice").Do(t.Context(), r.Asked.ID, "approve", access.ActBody{Digest: r.Digest})
	a.isRefusal(err, "forbidden")
}

func TestTermsOfPolicy(t *testing.T) {
	a := newAPI(t)
	alice := a.as("alice")
	long := writeAccess()
	long.Seconds = 9 * 3600
	alice.refused(long, "obligation_unmet")
	admin := writeAccess()
	admin.Role, admin.Seconds = "admin", 1800
	r, err := alice.Ask(t.Context(), admin, "")
	if err != nil || r.Needed != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if rules := a.runs.cases[r.Asked.ID].Rules; rules.MaxAuthAge != 15*time.Minute {
		t.Errorf("rules %+v", rules)
	}
	glass := writeAccess()
	glass.BreakGlass = true
	alice.refused(glass, "no_permission")
	r, err = a.as("greta").Ask(t.Context(), glass, "")
	if err != nil || r.Needed != 0 || !r.Asked.BreakGlass {
		t.Errorf("%+v, %v", r, err)
	}
	// A policy that permits to ask, and does not look whether glass is to be broken, breaks none.
	if err := os.WriteFile(filepath.Join(a.dir, "loose.cedar"), []byte(`@id("loose") @obligation("approvals:1") permit (principal, action == Action::"Access.Request", resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if _, err = alice.Ask(t.Context(), glass, ""); err != nil && strings.Contains(err.Error(), "break_glass_not_allowed") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.isRefusal(err, "break_glass_not_allowed")
}

func TestBadRequests(t *testing.T) {
	a := newAPI(t)
	alice := a.as("alice")
	for code, edit := range map[string]func(*access.AskBody){
		"namespace_missing":   func(b *access.AskBody) { b.Namespace = "" },
		"role_or_actions":     func(b *access.AskBody) { b.Actions = []string{"TerminateWorkflowExecution"} },
		"role_unknown":        func(b *access.AskBody) { b.Role = "owner" },
		"action_unknown":      func(b *access.AskBody) { b.Role, b.Actions = "", []string{"terminate"} },
		"workflow_missing":    func(b *access.AskBody) { b.RunID = "x" },
		"scope_malformed":     func(b *access.AskBody) { b.WorkflowID = "a\x1b[2J" },
		"reason_missing":      func(b *access.AskBody) { b.Reason = " \t" },
		"reason_too_long":     func(b *access.AskBody) { b.Reason = strings.Repeat("x", 1001) },
		"reason_malformed":    func(b *access.AskBody) { b.Reason = "two\nlines" },
		"request_too_large":   func(b *access.AskBody) { b.Reason = strings.Repeat("x", 10<<20) },
		"duration_too_short":  func(b *access.AskBody) { b.Seconds = 59 },
		"duration_over_limit": func(b *access.AskBody) { b.Seconds = 31 * 24 * 3600 },
		"too_many_actions":    func(b *access.AskBody) { b.Role, b.Actions = "", strings.Split(strings.Repeat("a,", 30)+"b", ",") },
	} {
		body := writeAccess()
		edit(&body)
		if body.Role == "" && code == "too_many_actions" {
			for i := range body.Actions {
				body.Actions[i] += strings.Repeat("x", i)
			}
		}
		alice.refused(body, code)
	}
	token, _ := alice.Token(t.Context())
	post := func(kind, body string) string {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+"/v1/access/requests", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", kind)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var said struct{ Code string }
		_ = json.NewDecoder(res.Body).Decode(&said)
		return said.Code
	}
	for body, want := range map[string]string{`{"namespace":1}`: "body_malformed", `{"principal":"user:x|y"}`: "body_malformed", `{} {}`: "body_malformed", `[`: "body_malformed", ``: "body_malformed"} {
		if got := post("application/json", body); got != want {
			t.Errorf("%s: %s", body, got)
		}
	}
	if got := post("text/plain", `{}`); got != "content_type" {
		t.Errorf("text: %s", got)
	}
	nobody := access.Client{URL: a.url, Token: func(context.Context) (string, error) { return "x.y.z", nil }}
	if _, err := nobody.Get(t.Context(), "ar-aaaaaaaaaaaa"); err == nil {
		t.Error("without a token")
	}
	if len(a.runs.cases) != 0 {
		t.Errorf("%d requests got through", len(a.runs.cases))
	}
	a.runs.mu.Lock()
	a.runs.down = true
	a.runs.mu.Unlock()
	alice.refused(writeAccess(), "access_unavailable")
}

func TestWatch(t *testing.T) {
	a := newAPI(t)
	alice := a.as("alice")
	r, err := alice.Ask(t.Context(), writeAccess(), "")
	if err != nil {
		t.Fatal(err)
	}
	var seen []access.State
	err = alice.Watch(t.Context(), r.Asked.ID, func(now access.Request) error {
		seen = append(seen, now.State)
		switch now.State {
		case access.Pending:
			_, err = a.as("bob").Do(t.Context(), r.Asked.ID, "approve", access.ActBody{Digest: r.Digest})
			return err
		case access.Active:
			_, err = alice.Do(t.Context(), r.Asked.ID, "return", access.ActBody{})
			return err
		}
		return nil
	})
	if err != nil || len(seen) != 3 || seen[2] != access.Returned {
		t.Errorf("saw %v, %v", seen, err)
	}
	err = a.as("erin").Watch(t.Context(), r.Asked.ID, func(access.Request) error { return nil })
	a.isRefusal(err, "request_unknown")
}

func TestDigestIsStable(t *testing.T) {
	asked := access.Asked{Version: 1, ID: "ar-aaaaaaaaaaaa", Principal: "user:https://acme.example|00u1", Login: "alice@acme.example", Namespace: "payments", Actions: []string{"TerminateWorkflowExecution"},
		WorkflowID: "order-17", RunID: "r1", Seconds: 600, Reason: "INC-123 <a&b> “ü”", BreakGlass: true}
	raw, err := os.ReadFile("testdata/asked-v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	if want := string(bytes.TrimSpace(raw)); asked.Digest() != want {
		t.Errorf("digest %s, want %s: what was approved before would not count any more", asked.Digest(), want)
	}
	seen := map[string]bool{asked.Digest(): true}
	for i, edit := range []func(*access.Asked){
		func(a *access.Asked) { a.ID = "ar-b" }, func(a *access.Asked) { a.Principal += "2" }, func(a *access.Asked) { a.Login = "x" }, func(a *access.Asked) { a.Namespace = "deploy" }, func(a *access.Asked) { a.Role = "admin" },
		func(a *access.Asked) { a.Actions = nil }, func(a *access.Asked) { a.WorkflowType = "t" }, func(a *access.Asked) { a.WorkflowID = "" }, func(a *access.Asked) { a.RunID = "" }, func(a *access.Asked) { a.TaskQueue = "q" },
		func(a *access.Asked) { a.Seconds++ }, func(a *access.Asked) { a.Reason += "." }, func(a *access.Asked) { a.BreakGlass = false }, func(a *access.Asked) { a.Extension = 1 }, func(a *access.Asked) { a.Version = 2 },
	} {
		b := asked
		edit(&b)
		if seen[b.Digest()] {
			t.Errorf("edit %d leaves the digest as it was", i)
		}
		seen[b.Digest()] = true
	}
}

// TestTooManyRequests: nobody buries approvers in requests; what has ended does not count, nor what others ask for.
func TestTooManyRequests(t *testing.T) {
	a := newAPI(t)
	alice := a.as("alice")
	var last access.Request
	for range access.DefaultMaxOpen {
		r, err := alice.Ask(t.Context(), writeAccess(), "")
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	alice.refused(writeAccess(), "too_many_requests")
	if _, err := a.as("carol").Ask(t.Context(), writeAccess(), ""); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	if _, err := alice.Do(t.Context(), last.Asked.ID, "withdraw", access.ActBody{}); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Ask(t.Context(), writeAccess(), ""); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestSentAgainAfterTheEnd: Temporal would answer a repeated approval with its first outcome, as if it counted still.
func TestSentAgainAfterTheEnd(t *testing.T) {
	a := newAPI(t)
	r, err := a.as("alice").Ask(t.Context(), writeAccess(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.as("alice").Do(t.Context(), r.Asked.ID, "withdraw", access.ActBody{}); err != nil {
		t.Fatal(err)
	}
	_, err = a.as("bob").Do(t.Context(), r.Asked.ID, "approve", access.ActBody{Digest: r.Digest})
	a.isRefusal(err, "not_pending")
	var refused *access.Refusal
	if !errors.As(err, &refused) || !strings.HasSuffix(refused.Next, r.Asked.ID) {
		t.Errorf("what to do: %v", err)
	}
}
