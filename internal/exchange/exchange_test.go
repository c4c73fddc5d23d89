package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/exchange"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// kit is a token endpoint over a real gate: issuer, policies, journal and key.
type kit struct {
	issuer  *bailiwicktest.Issuer
	signer  *attest.Signer
	journal *audit.Journal
	dir     string
	url     string
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{issuer: bailiwicktest.NewIssuer(t), dir: t.TempDir()}
	verifier, err := identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: k.issuer.URL, Audiences: []string{bailiwicktest.Audience}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = verifier.Close() })
	if err := policy.WriteStarter(filepath.Join(k.dir, "policy")); err != nil {
		t.Fatal(err)
	}
	engine, err := policy.Open(filepath.Join(k.dir, "policy"), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if k.journal, err = audit.OpenJournal(audit.JournalConfig{Dir: filepath.Join(k.dir, "journal")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.journal.Close() })
	if k.signer, err = attest.LoadOrCreateSigner(filepath.Join(k.dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Name: "exchange", Audience: "bailiwick:test", Verifier: verifier, Policy: engine, Log: k.journal, Signer: k.signer})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/token", exchange.Handler(g, nil))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	k.url = server.URL + "/v1/token"
	return k
}

func (k *kit) alice() string { return k.issuer.User("alice@acme.example", "temporal:deploy:write") }

// form is a good request, which change may spoil.
func (k *kit) form(token, details string, change func(url.Values)) url.Values {
	f := url.Values{
		"grant_type": {exchange.GrantType}, "subject_token": {token}, "subject_token_type": {exchange.SubjectType},
		"requested_token_type": {exchange.AttestationType}, "authorization_details": {details},
	}
	if change != nil {
		change(f)
	}
	return f
}

type reply struct {
	AccessToken string `json:"access_token"`
	IssuedType  string `json:"issued_token_type"`
	TokenType   string `json:"token_type"`
	Decision    string `json:"decision"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Code        string `json:"code"`
}

func (k *kit) post(t *testing.T, body, contentType string) (int, reply) {
	t.Helper()
	resp, err := http.Post(k.url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var r reply
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", resp.Header.Get("Cache-Control"))
	}
	return resp.StatusCode, r
}

func (k *kit) ask(t *testing.T, f url.Values) (int, reply) {
	t.Helper()
	return k.post(t, f.Encode(), "application/x-www-form-urlencoded")
}

// entry returns the journal's entry with an id.
func (k *kit) entry(t *testing.T, id string) (found audit.Entry) {
	t.Helper()
	for _, e := range bailiwicktest.Entries(t, filepath.Join(k.dir, "journal")) {
		if e.ID == id {
			found = e
		}
	}
	return found
}

func TestEachAct(t *testing.T) {
	k := newKit(t)
	carol := k.issuer.User("carol@acme.example", "temporal:deploy:admin")
	for _, c := range []struct {
		details, method string
		want            attest.Binding
		edge            attest.Edge
	}{
		{`{"type":"temporal_act","edge":"start","namespace":"deploy","workflow_id":"d-1","workflow_type":"deploy","task_queue":"q","reason":"why"}`, "StartWorkflowExecution",
			attest.Binding{Namespace: "deploy", WorkflowID: "d-1", WorkflowType: "deploy"}, attest.EdgeStart},
		{`{"type":"temporal_act","edge":"start","namespace":"deploy","workflow_id":"d-1","workflow_type":"deploy","task_queue":"q","name":"approve","reason":"why"}`, "SignalWithStartWorkflowExecution",
			attest.Binding{Namespace: "deploy", WorkflowID: "d-1", WorkflowType: "deploy", Name: "approve"}, attest.EdgeStart},
		{`{"type":"temporal_act","edge":"signal","namespace":"deploy","workflow_id":"d-1","run_id":"r-1","name":"approve","reason":"why"}`, "SignalWorkflowExecution",
			attest.Binding{Namespace: "deploy", WorkflowID: "d-1", RunID: "r-1", Name: "approve"}, attest.EdgeSignal},
		{`{"type":"temporal_act","edge":"update","namespace":"deploy","workflow_id":"d-1","name":"resize","reason":"why"}`, "UpdateWorkflowExecution",
			attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "resize"}, attest.EdgeUpdate},
		{`{"type":"temporal_act","edge":"query","namespace":"deploy","workflow_id":"d-1","name":"state","reason":"why"}`, "QueryWorkflow",
			attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "state"}, attest.EdgeQuery},
		{`{"type":"temporal_act","edge":"schedule","namespace":"deploy","schedule_id":"nightly","workflow_id":"night","workflow_type":"report","task_queue":"q","reason":"why"}`, "CreateSchedule",
			attest.Binding{Namespace: "deploy", WorkflowID: "night", WorkflowType: "report", ScheduleID: "nightly"}, attest.EdgeSchedule},
		{`{"type":"temporal_act","edge":"schedule","change":true,"namespace":"deploy","schedule_id":"nightly","workflow_id":"night","workflow_type":"report","task_queue":"q","reason":"why"}`, "UpdateSchedule",
			attest.Binding{Namespace: "deploy", WorkflowID: "night", WorkflowType: "report", ScheduleID: "nightly"}, attest.EdgeSchedule},
		{`{"type":"temporal_act","edge":"activity","namespace":"deploy","activity_id":"a-1","name":"push","task_queue":"q","reason":"why"}`, "StartActivityExecution",
			attest.Binding{Namespace: "deploy", ActivityID: "a-1", Name: "push"}, attest.EdgeActivity},
	} {
		t.Run(c.method, func(t *testing.T) {
			status, r := k.ask(t, k.form(carol, "["+c.details+"]", nil))
			if status != http.StatusOK || r.TokenType != "N_A" || r.IssuedType != exchange.AttestationType {
				t.Fatalf("%d %+v", status, r)
			}
			v, err := k.signer.PublicKeySet().Verify(r.AccessToken, "bailiwick:test")
			if err != nil {
				t.Fatal(err)
			}
			s := v.Statement()
			if s.Edge != c.edge || s.Binding != c.want || s.Originator.Login != "carol@acme.example" || s.Reason != "why" || s.ID != r.Decision || s.AuthorityUntil.IsZero() != (c.edge == attest.EdgeSchedule) {
				t.Errorf("%+v", s)
			}
			if c.edge == attest.EdgeQuery {
				return // a read is recorded, but not waited for
			}
			if e := k.entry(t, r.Decision); e.Action != c.method || e.Actor.Login != "carol@acme.example" || e.Decision == nil || !e.Decision.Allow || e.Source == "" || e.RequestDigest != s.RequestDigest {
				t.Errorf("recorded as %+v", e)
			}
		})
	}
}

// The caller's own digest of what it will send decides the statement's digest.
func TestRequestDigestCommits(t *testing.T) {
	k := newKit(t)
	digests := map[string]bool{}
	for _, mine := range []string{"", strings.Repeat("aa", 32), strings.Repeat("ab", 32)} {
		_, r := k.ask(t, k.form(k.alice(), `[{"type":"temporal_act","edge":"start","namespace":"deploy","workflow_id":"d-1","workflow_type":"deploy","task_queue":"q","request_digest":"`+mine+`"}]`, nil))
		v, err := k.signer.Verify(r.AccessToken, "bailiwick:test")
		if err != nil {
			t.Fatal(err)
		}
		digests[v.Statement().RequestDigest] = true
	}
	if len(digests) != 3 {
		t.Errorf("digests %v", digests)
	}
}

func TestRefusals(t *testing.T) {
	k := newKit(t)
	const act = `{"type":"temporal_act","edge":"start","namespace":"deploy","workflow_id":"d-1","workflow_type":"deploy","task_queue":"q"}`
	good := "[" + act + "]"
	set := func(name, value string) func(url.Values) { return func(f url.Values) { f.Set(name, value) } }
	forged := strings.Split(k.alice(), ".")
	for _, c := range []struct {
		name, token, details string
		change               func(url.Values)
		status               int
		err, code            string
	}{
		{"another grant", k.alice(), good, set("grant_type", "client_credentials"), 400, "unsupported_grant_type", "exchange_request"},
		{"no grant", k.alice(), good, func(f url.Values) { f.Del("grant_type") }, 400, "unsupported_grant_type", "exchange_request"},
		{"another parameter twice", k.alice(), good, func(f url.Values) { f["subject_token"] = append(f["subject_token"], "x") }, 400, "invalid_request", "exchange_request"},
		{"no token", "", good, nil, 400, "invalid_request", "exchange_request"},
		{"an ID token's type", k.alice(), good, set("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"), 400, "invalid_request", "exchange_request"},
		{"asking for an access token", k.alice(), good, set("requested_token_type", exchange.SubjectType), 400, "invalid_request", "exchange_request"},
		{"an actor token", k.alice(), good, set("actor_token", "x"), 400, "invalid_request", "exchange_request"},
		{"a scope", k.alice(), good, set("scope", "all"), 400, "invalid_request", "exchange_request"},
		{"no details", k.alice(), "", nil, 400, "invalid_authorization_details", "exchange_details"},
		{"no list", k.alice(), act, nil, 400, "invalid_authorization_details", "exchange_details"},
		{"two acts", k.alice(), "[" + act + "," + act + "]", nil, 400, "invalid_authorization_details", "exchange_details"},
		{"trailing", k.alice(), good + "[]", nil, 400, "invalid_authorization_details", "exchange_details"},
		{"another type", k.alice(), strings.Replace(good, "temporal_act", "payment", 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"an unknown member", k.alice(), strings.Replace(good, `"edge"`, `"admin":true,"edge"`, 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"an unknown edge", k.alice(), strings.Replace(good, `"start"`, `"terminate"`, 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"no namespace", k.alice(), strings.Replace(good, `"deploy"`, `""`, 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"no workflow id", k.alice(), strings.Replace(good, `"d-1"`, `""`, 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"a control character", k.alice(), strings.Replace(good, `"d-1"`, `"d\u0000"`, 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"a long id", k.alice(), strings.Replace(good, `d-1`, strings.Repeat("d", 1001), 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"a bad digest", k.alice(), strings.Replace(good, `"edge"`, `"request_digest":"abc","edge"`, 1), nil, 400, "invalid_authorization_details", "exchange_details"},
		{"a forged token", forged[0] + "." + forged[1] + ".AAAA", good, nil, 400, "invalid_request", "token_signature"},
		{"no token at all", "abc", good, nil, 400, "invalid_request", "token_opaque"},
		{"another namespace", k.alice(), strings.Replace(good, `"namespace":"deploy"`, `"namespace":"payments"`, 1), nil, 403, "access_denied", "no_permission"},
		{"a reason with control characters", k.alice(), strings.Replace(good, `"edge"`, `"reason":"a\nb","edge"`, 1), nil, 400, "invalid_request", "bad_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, r := k.ask(t, k.form(c.token, c.details, c.change))
			if status != c.status || r.Error != c.err || r.Code != c.code || r.Description == "" || r.AccessToken != "" {
				t.Errorf("%d %+v, want %d %s %s", status, r, c.status, c.err, c.code)
			}
			if c.token != "" && strings.Contains(r.Description, c.token) && len(c.token) > 10 {
				t.Error("the token is in the answer")
			}
		})
	}
	if status, r := k.post(t, "{}", "application/json"); status != 400 || r.Code != "exchange_request" {
		t.Errorf("JSON: %d %+v", status, r)
	}
	if status, r := k.post(t, "a="+strings.Repeat("x", 1<<17), "application/x-www-form-urlencoded"); status != 400 || r.Code != "exchange_request" {
		t.Errorf("large: %d %+v", status, r)
	}
	if status, r := k.post(t, "%zz", "application/x-www-form-urlencoded"); status != 400 || r.Code != "exchange_request" {
		t.Errorf("no form: %d %+v", status, r)
	}
}

// No audit, no attestation.
func TestNothingIsIssuedUnrecorded(t *testing.T) {
	k := newKit(t)
	if err := k.journal.Close(); err != nil {
		t.Fatal(err)
	}
	status, r := k.ask(t, k.form(k.alice(), `[{"type":"temporal_act","edge":"start","namespace":"deploy","workflow_id":"d-1","workflow_type":"deploy","task_queue":"q"}]`, nil))
	if status != http.StatusServiceUnavailable || r.Error != "temporarily_unavailable" || r.Code != "audit_unavailable" || r.AccessToken != "" {
		t.Errorf("%d %+v", status, r)
	}
}

// A gate that fails without a denial tells nothing of why.
func TestInternalErrors(t *testing.T) {
	w := httptest.NewRecorder()
	k := &kit{}
	r := httptest.NewRequest(http.MethodPost, "/v1/token", strings.NewReader(k.form("t", `[{"type":"temporal_act","edge":"query","namespace":"n","workflow_id":"w","name":"q"}]`, nil).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	exchange.Handler(broken{}, nil).ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "server_error") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type broken struct{}

func (broken) Admit(context.Context, gate.Call) (*gate.Admission, error) {
	return nil, errors.New("secret detail")
}
func (broken) Stamp(*gate.Admission, any) error { return nil }
