package gate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const service = "/temporal.api.workflowservice.v1.WorkflowService/"

// journal keeps entries in memory and can be made to fail, as a full disk would.
type journal struct {
	mu      sync.Mutex
	entries []audit.Entry
	durable map[string]bool // ids that Append acknowledged
	broken  error
}

func (j *journal) Append(_ context.Context, e audit.Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return 0, j.broken
	}
	j.entries = append(j.entries, e)
	j.durable[e.ID] = true
	return uint64(len(j.entries) - 1), nil
}

func (j *journal) Enqueue(e audit.Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	j.entries = append(j.entries, e)
	return nil
}

func (j *journal) last(t *testing.T) audit.Entry {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		t.Fatal("nothing was recorded")
	}
	return j.entries[len(j.entries)-1]
}

type kit struct {
	*gate.Gate
	issuer *bailiwicktest.Issuer
	log    *journal
	signer *attest.Signer

	engine   *policy.Engine
	policies string // the engine's directory
}

// newKit is a gate with a real verifier, a real policy engine on the starter set plus the policies given, and a journal in memory.
func newKit(t testing.TB, policies string) *kit {
	t.Helper()
	return newKitWith(t, policies, gate.Config{})
}

// newKitWith takes a log, a resolver or a meter besides.
func newKitWith(t testing.TB, policies string, with gate.Config) *kit {
	t.Helper()
	issuer := bailiwicktest.NewIssuer(t)
	verifier, err := identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = verifier.Close() })
	dir := t.TempDir()
	if err := policy.WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	if policies != "" {
		if err := os.WriteFile(filepath.Join(dir, "test.cedar"), []byte(policies), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := policy.Open(dir, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := attest.LoadOrCreateSigner(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	log := &journal{durable: map[string]bool{}}
	with.Name, with.Audience, with.Verifier, with.Policy, with.Signer = "gate-1", "bailiwick:test", verifier, engine, signer
	if with.Log == nil {
		with.Log = log
	}
	g, err := gate.New(with)
	if err != nil {
		t.Fatal(err)
	}
	return &kit{Gate: g, issuer: issuer, log: log, signer: signer, engine: engine, policies: dir}
}

// setPolicies puts other policies in force beside the starter set.
func (k *kit) setPolicies(t testing.TB, policies string) {
	t.Helper()
	file := filepath.Join(k.policies, "test.cedar")
	err := os.WriteFile(file, []byte(policies), 0o600)
	if policies == "" {
		err = os.Remove(file)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := k.engine.Reload(); err != nil {
		t.Fatal(err)
	}
}

func (k *kit) call(method string, req any, token string) gate.Call {
	c := gate.Call{Method: service + method, Request: req}
	if token != "" {
		c.Authorization = []string{"Bearer " + token}
	}
	return c
}

func (k *kit) alice() string { return k.issuer.User("alice@acme.example", "temporal:deploy:write") }

func startRequest() *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "deploy", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"},
	}
}

func denial(t *testing.T, err error) *gate.Denial {
	t.Helper()
	var d *gate.Denial
	if !errors.As(err, &d) {
		t.Fatalf("got %v, want a *gate.Denial", err)
	}
	return d
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	for _, cfg := range []gate.Config{{}, {Name: "g"}, {Name: "g", Audience: "a"}} {
		if _, err := gate.New(cfg); err == nil {
			t.Errorf("a gate was made of %+v", cfg)
		}
	}
}

func TestAllowedCallIsDurableBeforeItGoesOn(t *testing.T) {
	k := newKit(t, "")
	c := k.call("StartWorkflowExecution", startRequest(), k.alice())
	c.Reason = []string{"CHG-7: release"}
	a, err := k.Admit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if !k.log.durable[a.ID()] {
		t.Error("the call was let through before its entry was durable")
	}
	e := k.log.last(t)
	if e.ID != a.ID() || e.Actor.Login != "alice@acme.example" || e.Action != "StartWorkflowExecution" || e.Access != "operate" ||
		e.Resource.WorkflowType != "deploy" || e.Resource.WorkflowID != "ship-1" || e.Reason != "CHG-7: release" || len(e.RequestDigest) != 64 {
		t.Errorf("entry lacks facts: %+v", e)
	}
	if e.Decision == nil || !e.Decision.Allow || len(e.Decision.Policies) == 0 {
		t.Errorf("entry lacks the decision: %+v", e.Decision)
	}
	if typ, name := a.Principal(); typ != "user" || name != "alice@acme.example" {
		t.Errorf("native principal is %s %s", typ, name)
	}
}

func TestNoAuditNoAccess(t *testing.T) {
	k := newKit(t, "")
	k.log.broken = errors.New("no space left on device")
	_, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), k.alice()))
	d := denial(t, err)
	if d.Code != gate.CodeAuditUnavailable || d.GRPCStatus().Code() != codes.Unavailable {
		t.Errorf("got %s %s", d.Code, d.GRPCStatus().Code())
	}
	if strings.Contains(d.GRPCStatus().Message(), "no space") {
		t.Error("the caller was told an internal cause")
	}
	// Reads follow policy.
	if _, err := k.Admit(t.Context(), k.call("DescribeWorkflowExecution", &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "deploy"}, k.alice())); err != nil {
		t.Errorf("a read was refused: %v", err)
	}
	// And a denial stays a denial.
	if _, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), "")); denial(t, err).Code != string(identity.CodeTokenMissing) {
		t.Errorf("got %v", err)
	}
	k.log.broken = nil
	if _, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", startRequest(), k.alice())); err != nil {
		t.Errorf("did not recover: %v", err)
	}
}

func TestRefusalsSayWhyAndWhatToDo(t *testing.T) {
	k := newKit(t, "")
	payments := startRequest()
	payments.Namespace = "payments"
	twice := k.call("StartWorkflowExecution", startRequest(), k.alice())
	twice.Authorization = append(twice.Authorization, twice.Authorization[0])
	for _, tc := range []struct {
		name, code string
		status     codes.Code
		call       gate.Call
	}{
		{"no token", "token_missing", codes.Unauthenticated, k.call("StartWorkflowExecution", startRequest(), "")},
		{"garbage", "token_opaque", codes.Unauthenticated, k.call("StartWorkflowExecution", startRequest(), "garbage")},
		{"two authorization values", "token_malformed", codes.Unauthenticated, twice},
		{"other namespace", "no_permission", codes.PermissionDenied, k.call("StartWorkflowExecution", payments, k.alice())},
		{"unknown method", "unknown_method", codes.PermissionDenied, k.call("Teleport", startRequest(), k.alice())},
		{"unknown service", "unknown_method", codes.PermissionDenied, gate.Call{Method: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Authorization: []string{"Bearer " + k.alice()}}},
		{"admin service", "no_permission", codes.PermissionDenied, gate.Call{Method: "/temporal.server.api.adminservice.v1.AdminService/CloseShard", Authorization: []string{"Bearer " + k.alice()}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(k.log.entries)
			_, err := k.Admit(t.Context(), tc.call)
			d := denial(t, err)
			st := d.GRPCStatus()
			if d.Code != tc.code || st.Code() != tc.status {
				t.Fatalf("got %s (%s), want %s (%s): %s", d.Code, st.Code(), tc.code, tc.status, d.Message)
			}
			if !strings.HasPrefix(st.Message(), tc.code+": ") || !strings.Contains(st.Message(), d.DecisionID) {
				t.Errorf("the text lacks its code or decision id: %s", st.Message())
			}
			info := false
			for _, detail := range st.Details() {
				if e, ok := detail.(*errdetails.ErrorInfo); ok && e.Reason == tc.code && e.Domain == gate.ErrorDomain && e.Metadata["decision"] == d.DecisionID {
					info = true
				}
			}
			if !info {
				t.Errorf("no ErrorInfo among the details %v", st.Details())
			}
			if len(k.log.entries) != before+1 || k.log.last(t).Decision.Allow || k.log.last(t).ID != d.DecisionID {
				t.Error("the denial was not recorded")
			}
		})
	}
	_, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", payments, k.alice()))
	if d := denial(t, err); d.Missing != "write in payments" || !strings.Contains(d.Message, "write in payments") {
		t.Errorf("the denial does not name the missing permission: %+v", d)
	}
}

func TestStatedReasonIsClean(t *testing.T) {
	k := newKit(t, "")
	for name, values := range map[string][]string{
		"two values": {"a", "b"}, "too long": {strings.Repeat("x", 1025)}, "control": {"a\x1b[2Jb"}, "newline": {"a\nb"}, "invalid UTF-8": {"\xff"}, "bidi": {"a\u202eb"},
	} {
		c := k.call("StartWorkflowExecution", startRequest(), k.alice())
		c.Reason = values
		if _, err := k.Admit(t.Context(), c); denial(t, err).Code != gate.CodeBadRequest {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c := k.call("StartWorkflowExecution", startRequest(), k.alice())
	c.Reason = []string{"Änderung 7 – für Kürşat"}
	if _, err := k.Admit(t.Context(), c); err != nil {
		t.Errorf("a reason in another language was refused: %v", err)
	}
}

// What a policy may look at is in the entry, so that another policy can be put to the same question later.
func TestEntriesCanBeReplayed(t *testing.T) {
	k := newKit(t, "")
	since := time.Now().Add(-10 * time.Minute).Unix()
	token := k.issuer.Token(map[string]any{
		"sub": "alice@acme.example", "uid": "00ualice", "groups": []string{"temporal:deploy:write"}, "scp": []string{"openid", "temporal"}, "auth_time": since,
		"acr": "urn:okta:loa:2fa:any", "act": map[string]any{"sub": "0oareleaseagent00001", "sub_profile": "ai_agent"},
	})
	sws := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: "approve"}
	if _, err := k.Admit(t.Context(), k.call("SignalWithStartWorkflowExecution", sws, token)); err != nil {
		t.Fatal(err)
	}
	e := k.log.last(t)
	if a := e.Actor; a.AuthTime.Unix() != since || a.ACR != "urn:okta:loa:2fa:any" || !slices.Equal(a.Scopes, []string{"openid", "temporal"}) ||
		a.ActorProfile != "ai_agent" || !slices.Equal(a.Actors, []string{"0oareleaseagent00001"}) || a.Principal == "" || len(a.Groups) != 1 {
		t.Errorf("the actor lacks facts: %+v", a)
	}
	if len(e.Acts) != 2 || e.Acts[0].Action != "StartWorkflowExecution" || e.Acts[1].Action != "SignalWorkflowExecution" || e.Acts[1].Resource.Signal != "approve" {
		t.Errorf("acts: %+v", e.Acts)
	}
	raw, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := audit.ParseEntry(raw); err != nil || !reflect.DeepEqual(back.Acts, e.Acts) || !back.Actor.AuthTime.Equal(e.Actor.AuthTime) {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func TestDecisionIDs(t *testing.T) {
	k := newKit(t, "")
	token, seen := k.alice(), map[string]bool{}
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	before := time.Now().UnixMilli()
	for range 1000 { // over more than one block of randomness
		a, err := k.Admit(t.Context(), k.call("GetSystemInfo", &workflowservice.GetSystemInfoRequest{}, token))
		if err != nil {
			t.Fatal(err)
		}
		id := a.ID()
		ms, _ := strconv.ParseInt(strings.ReplaceAll(id[:13], "-", ""), 16, 64)
		if !form.MatchString(id) || seen[id] || ms < before || ms > time.Now().UnixMilli() {
			t.Fatalf("%s is no UUIDv7 of now, or was used before", id)
		}
		seen[id] = true
	}
}

// What the gate refuses although policy allows it is on record as refused.
func TestRefusalAfterAnAllowingPolicyIsRecordedAsRefused(t *testing.T) {
	k := newKit(t, `@id("test-operators") permit(principal in Group::"operators", action, resource);`)
	c := gate.Call{Method: "/temporal.server.api.adminservice.v1.AdminService/CloseShard", Authorization: []string{"Bearer " + k.issuer.User("olga@acme.example", "operators")}}
	_, err := k.Admit(t.Context(), c) // without a request there is nothing to digest
	if d := denial(t, err); d.Code != gate.CodeBadRequest {
		t.Fatalf("got %v", err)
	}
	if e := k.log.last(t); e.Decision.Allow || e.Decision.Code != policy.Code(gate.CodeBadRequest) {
		t.Errorf("recorded as %+v", e.Decision)
	}
}

// Policies see the digest of a mutating request, so that a permit can be for exactly one request.
func TestPolicySeesTheRequestDigest(t *testing.T) {
	open := newKit(t, "")
	start := startRequest()
	if _, err := open.Admit(t.Context(), open.call("StartWorkflowExecution", start, open.alice())); err != nil {
		t.Fatal(err)
	}
	digest := open.log.last(t).RequestDigest
	k := newKit(t, `@id("test-one-request") forbid(principal, action == Action::"StartWorkflowExecution", resource) unless { context has request_digest && context.request_digest == "`+digest+`" };`)
	if _, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", start, k.alice())); err != nil {
		t.Errorf("the very request was refused: %v", err)
	}
	start.RequestId = "another"
	_, err := k.Admit(t.Context(), k.call("StartWorkflowExecution", start, k.alice()))
	if d := denial(t, err); d.Code != "forbidden" || k.log.last(t).RequestDigest == digest {
		t.Errorf("another request: %v", err)
	}
}
