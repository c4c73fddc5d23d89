package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.temporal.io/api/errordetails/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

func bailiwick(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// idp approves every sign-in at once.
func idp(t *testing.T) (url string, revoked *[]string) {
	revoked = &[]string{}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL, "authorization_endpoint": server.URL + "/authorize", "token_endpoint": server.URL + "/token",
			"device_authorization_endpoint": server.URL + "/device", "revocation_endpoint": server.URL + "/revoke"})
	})
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"device_code":"D","user_code":"AB\u001bCD","verification_uri":"%s/activate","expires_in":30,"interval":1}`, server.URL)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		claims := fmt.Sprintf(`{"iss":%q,"sub":"alice@acme.example","uid":"00u1","cid":"cli","exp":%d}`, server.URL, time.Now().Add(time.Hour).Unix())
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"h.%s.s","refresh_token":"R","token_type":"Bearer","expires_in":3600}`, base64.RawURLEncoding.EncodeToString([]byte(claims)))
	})
	mux.HandleFunc("POST /revoke", func(_ http.ResponseWriter, r *http.Request) {
		*revoked = append(*revoked, r.FormValue("token_type_hint"))
	})
	return server.URL, revoked
}

func TestLoginMakesAContext(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "temporal.toml")
	t.Setenv("TEMPORAL_CONFIG_FILE", file)
	url, revoked := idp(t)

	code, out, errs := bailiwick("login", "--issuer", url, "--client-id", "cli", "--address", "127.0.0.1:7233", "--namespace", "deploy", "--context", "mine", "--control-url", url)
	if code != exitOK || !strings.Contains(out, "Logged in as alice@acme.example in context mine") {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	if !strings.Contains(errs, url+"/activate") || !strings.Contains(errs, `AB\x1bCD`) || strings.Contains(out+errs, "\x1b") {
		t.Errorf("what the person sees: %q", errs)
	}
	c, err := login.LoadContext("")
	if err != nil || c.Name != "mine" || c.Issuer != url || c.Address != "127.0.0.1:7233" || c.TLS || c.DefaultNamespace != "deploy" {
		t.Errorf("context: %+v, %v", c, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(raw), "[profile.bailiwick.tls]\ndisabled = true") || !strings.Contains(string(raw), `namespace = "deploy"`) {
		t.Errorf("profile: %s, %v", raw, err)
	}
	code, out, _ = bailiwick("token")
	if code != exitOK || strings.Count(out, ".") != 2 || strings.Count(out, "\n") != 1 {
		t.Errorf("token: %d %q", code, out)
	}
	code, out, errs = bailiwick("logout", "--json")
	if code != exitOK || strings.Join(*revoked, " ") != "refresh_token access_token" || !strings.Contains(out, `"logged_out":true`) {
		t.Errorf("logout: %d %s %s, revoked %v", code, out, errs, *revoked)
	}
	if code, _, _ = bailiwick("token"); code != exitDenied {
		t.Errorf("token after logout: %d", code)
	}
	// A server that is not on this machine is reached by TLS.
	code, out, errs = bailiwick("login", "--issuer", url, "--client-id", "cli", "--address", "temporal.example:7233", "--context", "far", "--json")
	if c, err := login.LoadContext("far"); code != exitOK || err != nil || !c.TLS {
		t.Errorf("%d %s %s: %+v, %v", code, out, errs, c, err)
	}
}

func TestDenied(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	st, err := status.New(codes.PermissionDenied, "no_permission: alice may not start; missing permission: write in payments; ask for the group g (decision d-1)").WithDetails(
		&errordetails.PermissionDeniedFailure{Reason: "x"},
		&errdetails.ErrorInfo{Domain: gate.ErrorDomain, Reason: "no_permission", Metadata: map[string]string{"missing": "write in payments", "hint": "ask for the group g", "decision": "d-1"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"gRPC": st.Err(), "SDK": serviceerror.FromStatus(st), "wrapped": fmt.Errorf("starting: %w", serviceerror.FromStatus(st))} {
		d, ok := denied(err)
		if !ok || d.code != "no_permission" || d.missing != "write in payments" || d.decision != "d-1" || d.text != "alice may not start" || d.next() != "ask for the group g" {
			t.Errorf("%s: %+v, %v", name, d, ok)
		}
		var out, errs bytes.Buffer
		if code := newApp(nil, &out, &errs).report(err); code != exitDenied || !strings.Contains(errs.String(), "missing   write in payments\n") || !strings.Contains(errs.String(), "next      ask for the group g\n") || !strings.Contains(errs.String(), "bailiwick audit show d-1") {
			t.Errorf("%s: %d %s", name, code, errs.String())
		}
	}
	// Where the log can be read, the refusal says how to ask why.
	if err := (login.Context{Name: "c", JournalDir: "j"}).Save(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if newApp(nil, &out, &errs).report(st.Err()); !strings.Contains(errs.String(), "why       bailiwick policy explain --decision d-1\n") {
		t.Error(errs.String())
	}
	// The gate's denial for an unrecorded call is not a transport failure; others' Unavailable is.
	unrecorded, _ := status.New(codes.Unavailable, "audit_unavailable: x (decision d-2)").WithDetails(&errdetails.ErrorInfo{Domain: gate.ErrorDomain, Reason: gate.CodeAuditUnavailable})
	if d, ok := denied(serviceerror.FromStatus(unrecorded)); !ok || d.code != gate.CodeAuditUnavailable {
		t.Errorf("audit_unavailable: %+v %v", d, ok)
	}
	for name, err := range map[string]error{"unavailable": status.Error(codes.Unavailable, "down"), "not found": serviceerror.NewNotFound("x"), "plain": errors.New("x"),
		"bad request": func() error {
			s, _ := status.New(codes.InvalidArgument, "bad_request: x").WithDetails(&errdetails.ErrorInfo{Domain: gate.ErrorDomain, Reason: gate.CodeBadRequest})
			return s.Err()
		}()} {
		if d, ok := denied(err); ok {
			t.Errorf("%s was taken for a denial: %+v", name, d)
		}
	}
	// A stranger's denial says what it says.
	if d, ok := denied(serviceerror.NewPermissionDenied("Request unauthorized.", "")); !ok || d.text != "Request unauthorized." {
		t.Errorf("%+v %v", d, ok)
	}
}

// The SDK tries again what is Unavailable. When its time is up, the gate's reason is told and not the deadline.
func TestRefusalBehindDeadline(t *testing.T) {
	unrecorded, err := status.New(codes.Unavailable, "audit_unavailable: x (decision d-2)").WithDetails(&errdetails.ErrorInfo{Domain: gate.ErrorDomain, Reason: gate.CodeAuditUnavailable})
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	a := newApp(nil, &out, &errs)
	answer := unrecorded.Err()
	call := func() {
		_ = a.hear(t.Context(), "/m", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return answer })
	}
	call()
	for _, late := range []error{fmt.Errorf("starting: %w", context.DeadlineExceeded), serviceerror.NewDeadlineExceeded("late")} {
		errs.Reset()
		if code := a.report(late); code != exitDenied || !strings.Contains(errs.String(), gate.CodeAuditUnavailable) {
			t.Errorf("%T: %d %s", late, code, errs.String())
		}
	}
	if code := a.report(errors.New("something else")); code != exitError {
		t.Errorf("another error: %d", code)
	}
	answer = nil
	call()
	if code := a.report(context.DeadlineExceeded); code != exitError {
		t.Errorf("a deadline after a call that went through: %d", code)
	}
}

func TestReasonTravels(t *testing.T) {
	for reason, key := range map[string]string{"CHG-7: release": "bailiwick-reason", "Größe": "bailiwick-reason-bin", "a\tb": "bailiwick-reason-bin"} {
		h, err := stated(reason).GetHeaders(t.Context())
		if err != nil || len(h) != 1 || h[key] != reason {
			t.Errorf("%q: %v", reason, h)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("plain ünïcode ✓")
	f.Add("\x1b[31mred\x1b]0;title\x07\u202e\u200b\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		out := safe(s)
		if !utf8.ValidString(out) {
			t.Errorf("not UTF-8: %q", out)
		}
		for _, r := range out {
			if !unicode.IsPrint(r) {
				t.Errorf("%q holds %U", out, r)
			}
		}
		if strings.ContainsFunc(safeLines(s), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%q", safeLines(s))
		}
	})
}

func TestColumnsAndColours(t *testing.T) {
	var b bytes.Buffer
	w := newTerminal(&b)
	if w.red("x") != "x" {
		t.Error("colours in a pipe")
	}
	w.colors = true
	w.rows([]string{"A", "B"}, [][]string{{w.red("long-cell"), "1"}, {"ü", "2"}})
	plain := strings.NewReplacer("\x1b[31m", "", "\x1b[2m", "", "\x1b[0m", "").Replace(b.String())
	if plain != "A          B\nlong-cell  1\nü          2\n" {
		t.Errorf("%q", plain)
	}
	t.Setenv("NO_COLOR", "1")
	if code, _, _ := bailiwick("version", "--color", "always"); code != exitOK {
		t.Error(code)
	}
}

// What others chose (ids, names, reasons) must come out harmless wherever a run is shown.
func TestShowRunIsHarmless(t *testing.T) {
	evil := "e\x1b]0;x\x07\u202e"
	p := attest.Party{Principal: evil, Login: evil, Profile: "ai_agent"}
	st := &attest.Statement{ID: evil, Originator: p, Actor: attest.Party{Principal: "q" + evil, Login: evil}, Chain: []attest.Party{p}, Reason: evil, Grant: evil, Policies: []string{evil}, ACR: evil, AuthTime: time.Now()}
	tl := runs.Timeline{WorkflowID: evil, WorkflowType: evil, Namespace: evil, RunID: "r", Status: "running", NextRunID: evil, Lineage: attest.Run{ParentWorkflowID: evil, ScheduleID: evil}, Invalid: 1}
	for i, k := range []runs.Kind{runs.KindStart, runs.KindSignal, runs.KindUpdate, runs.KindActivity, runs.KindChild, runs.KindSignalOut, runs.KindNexus, runs.KindContinuedAsNew, runs.KindCancelRequest, runs.KindTerminate, runs.KindPause} {
		for j, v := range []runs.Verdict{runs.Verified, runs.Invalid, runs.Unattested, runs.Recorded} {
			s := runs.Step{EventID: int64(10*i + j), Kind: k, Name: evil, ID: evil, Verdict: v, Problem: evil, Code: "attestation_binding", Principal: evil, Identity: evil, Attestation: st}
			if j == 0 && i > 2 {
				s.CarriedFrom = 10
				s.ExecutedBy = evil
			}
			tl.Steps = append(tl.Steps, s)
		}
	}
	var out, errs bytes.Buffer
	newApp(nil, &out, &errs).showRun(tl)
	if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("raw %q in: %q", out.String()[i:i+1], out.String()[max(0, i-40):i+10])
	}
	if !strings.Contains(out.String(), "attestation_binding") || !strings.Contains(out.String(), "1 INVALID") {
		t.Errorf("an invalid step is not told:\n%s", out.String())
	}
}

// The command stays small: the Temporal server is another program's.
func TestLinksNoServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil || !strings.Contains(string(out), "go.temporal.io/sdk/client") {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "go.temporal.io/server") {
			t.Errorf("the command links %s", line)
		}
	}
}

func TestSuggestedCommandsAreQuoted(t *testing.T) {
	for in, want := range map[string]string{"ship-1": "ship-1", "a b": "'a b'", "$(rm)": "'$(rm)'", "a'b": `'a'\''b'`, "": "''", "x\x1b": `'x\x1b'`} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
