package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/login"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// privateEnv is a control plane whose journal holds personal data encrypted.
type privateEnv struct {
	*devEnv
	c      *controlPlane
	issuer *bailiwicktest.Issuer
	url    string
}

func newPrivateEnv(t *testing.T) *privateEnv {
	t.Helper()
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	d := &devEnv{state: stateDir{dir: t.TempDir()}, flags: devFlags{encrypt: true}}
	if err := policy.WriteStarter(d.state.path("policy")); err != nil {
		t.Fatal(err)
	}
	roles := d.state.path("policy", "roles.yaml")
	raw, err := os.ReadFile(roles)
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.Replace(raw, []byte("groups: []"), []byte(`groups: [{name: "platform-admins", roles: {"*": admin}}]`), 1)
	if err := os.WriteFile(roles, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	protect, keys, err := d.openPrivacy()
	if err != nil {
		t.Fatal(err)
	}
	e := &privateEnv{devEnv: d, issuer: bailiwicktest.NewIssuer(t), c: &controlPlane{journals: []string{d.state.path("journal-control")}, sealed: d.state.path("log")}}
	if e.c.plane, err = control.Open(t.Context(), control.Config{Name: "test-control", Audience: "bailiwick:test", Issuers: []identity.Issuer{{URL: e.issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir: d.state.path("policy"), JournalDir: d.state.path("journal-control"), AttestationKey: d.state.path("attestation.pem"), Protect: protect}); err != nil {
		t.Fatal(err)
	}
	d.servePrivacy(e.c, keys, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(e.c.plane)
	e.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := e.c.plane.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (e *privateEnv) post(t *testing.T, path, token, body string) (int, string) {
	t.Helper()
	return ask(t, http.MethodPost, e.url+path, token, body)
}

// ask sends a request as whom the token is of, if there is one, and returns the status and the answer.
func ask(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// audit runs an audit command on the environment's journal.
func (e *privateEnv) audit(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append(append([]string{"audit"}, args...), "--journal", e.c.journals[0]), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func TestEraseAPerson(t *testing.T) {
	e := newPrivateEnv(t)
	alice, bob := e.issuer.User("alice@acme.example", "temporal:deploy:write"), e.issuer.User("bob@acme.example", "temporal:deploy:write")
	admin := e.issuer.User("root@acme.example", "platform-admins")
	// Each asks for what only an administrator may, and is on record with it.
	for _, token := range []string{alice, bob} {
		if status, body := e.post(t, "/v1/audit/erase", token, `{"subject":"bob@acme.example","reason":"no"}`); status != http.StatusForbidden || !strings.Contains(body, "no_permission") {
			t.Fatalf("%d %s", status, body)
		}
	}
	if status, _ := e.post(t, "/v1/audit/erase", "", `{}`); status != http.StatusUnauthorized {
		t.Errorf("a stranger: %d", status)
	}
	for _, dir := range e.c.journals {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			if raw, _ := os.ReadFile(f); bytes.Contains(raw, []byte("alice@")) || bytes.Contains(raw, []byte("127.0.0.1\"")) {
				t.Errorf("%s holds personal data in the clear", f)
			}
		}
	}
	if code, out := e.audit(t, "query", "--actor", "alice@acme.example", "--format", "json"); code != 0 || strings.Count(out, `"login":"alice@acme.example"`) != 1 {
		t.Errorf("alice before: %d %s", code, out)
	}
	report := filepath.Join(t.TempDir(), "alice.json")
	if code, out := e.audit(t, "export", "--subject", "alice@acme.example", "-o", report); code != 0 {
		t.Errorf("alice's own data: %d %s", code, out)
	}
	var about subjectReport
	if raw, err := os.ReadFile(report); err != nil || json.Unmarshal(raw, &about) != nil || len(about.Entries) != 1 || about.Entries[0].Actor.Login != "alice@acme.example" || len(about.Persons) != 1 {
		t.Errorf("alice's own data: %+v %v", about, err)
	}
	if code, page := e.audit(t, "export", "--subject", "alice@acme.example", "--format", "html"); code != 0 || !strings.Contains(page, "refused: no_permission") {
		t.Errorf("alice's page: %d %s", code, page)
	}

	for body, want := range map[string]string{`{"subject":"nobody@acme.example","reason":"x"}`: "subject_unknown", `{"subject":"alice@acme.example"}`: "bad_request", `{"color":1}`: "bad_request"} {
		if _, answer := e.post(t, "/v1/audit/erase", admin, body); !strings.Contains(answer, want) {
			t.Errorf("%s: %s", body, answer)
		}
	}
	status, body := e.post(t, "/v1/audit/erase", admin, `{"subject":"alice@acme.example","reason":"request DSR-118"}`)
	var done eraseAnswer
	if status != http.StatusOK || json.Unmarshal([]byte(body), &done) != nil || !strings.HasPrefix(done.Pseudonym, "person:") {
		t.Fatalf("%d %s", status, body)
	}
	if code, out := e.audit(t, "reindex"); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := e.audit(t, "reindex", "--check"); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := e.audit(t, "query", "--actor", "alice@acme.example"); code != 0 || !strings.Contains(out, "nothing found") {
		t.Errorf("alice after: %d %s", code, out)
	}
	if code, out := e.audit(t, "query", "--actor", done.Pseudonym, "--format", "json"); code != 0 || !strings.Contains(out, "⟨erased⟩") || strings.Contains(out, "alice") {
		t.Errorf("her pseudonym: %d %s", code, out)
	}
	if code, out := e.audit(t, "query", "--actor", "bob@acme.example", "--format", "json"); code != 0 || strings.Count(out, `"login":"bob@acme.example"`) != 1 {
		t.Errorf("bob: %d %s", code, out)
	}
	if code, out := e.audit(t, "show", done.Entry); code != 0 || !strings.Contains(out, "DSR-118") || !strings.Contains(out, "root@acme.example") || strings.Contains(out, "alice") {
		t.Errorf("the record of it: %d %s", code, out)
	}
	if index, err := os.ReadFile(e.c.journals[0] + ".index.db"); err != nil || bytes.Contains(index, []byte("alice@acme.example")) {
		t.Errorf("the index still knows alice: %v", err)
	}
}

// What is sealed verifies before and after somebody is erased.
func TestErasureKeepsProofs(t *testing.T) {
	e := newPrivateEnv(t)
	admin := e.issuer.User("root@acme.example", "platform-admins")
	e.post(t, "/v1/audit/erase", e.issuer.User("alice@acme.example"), `{}`)
	e.seal(t)
	verify := func() {
		t.Helper()
		key, err := os.ReadFile(e.state.path("log.vkey"))
		if err != nil {
			t.Fatal(err)
		}
		report, err := tiles.Verify(t.Context(), tiles.VerifyConfig{Log: e.c.sealed, Journals: e.c.journals, VerifierKey: string(key), Remember: e.state.path("remembered")})
		if err != nil || !report.OK() || report.Entries == 0 {
			t.Fatalf("%+v %v", report, err)
		}
	}
	verify()
	if status, body := e.post(t, "/v1/audit/erase", admin, `{"subject":"alice@acme.example","reason":"DSR-1"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	verify()
	e.seal(t)
	verify()
}

// seal seals what the journal has.
func (e *privateEnv) seal(t *testing.T) {
	t.Helper()
	signer, verifier, err := tiles.LoadOrCreateKey(e.state.path("log.key"), "bailiwick.test/private")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.state.path("log.vkey"), []byte(verifier), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(ctx, tiles.SealerConfig{Journals: e.c.journals, Log: e.c.sealed, Signer: signer, Interval: 200 * time.Millisecond})
	}()
	eventually(t, "everything sealed", func() bool { n, err := e.c.pending(); return err == nil && n == 0 })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The commands, as the person logged in, against the control plane.
func TestEraseAndRetainCommands(t *testing.T) {
	e := newPrivateEnv(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := e.serveRetention(ctx, e.c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	e.post(t, "/v1/audit/erase", e.issuer.User("alice@acme.example"), `{}`) // something about alice
	e.seal(t)
	t.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(t.TempDir(), "temporal.toml"))
	where := login.Context{Name: "test", Issuer: e.issuer.URL, ClientID: "cli", Address: "127.0.0.1:1", ControlURL: e.url, LogDir: e.c.sealed, JournalDir: e.c.journals[0], Profile: "test"}
	if err := where.Save(); err != nil {
		t.Fatal(err)
	}
	as := func(token string) {
		t.Helper()
		store, err := login.OpenStore(login.StoreConfig{Profile: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(t.Context(), login.Profile{Address: "127.0.0.1:1", ClientID: "cli", TokenURL: e.issuer.URL + "/token", AccessToken: token, TokenType: "Bearer", Expires: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	command := func(in string, args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"--context", "test"}, args...), strings.NewReader(in), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	erase := []string{"audit", "erase", "--subject", "alice@acme.example", "--reason", "DSR-9"}
	as(e.issuer.User("bob@acme.example"))
	if code, out := command("", append(erase, "--yes")...); code != exitDenied || !strings.Contains(out, "no_permission") {
		t.Errorf("bob: %d %s", code, out)
	}
	as(e.issuer.User("root@acme.example", "platform-admins"))
	if code, out := command("", erase...); code != exitUsage || !strings.Contains(out, "--yes") {
		t.Errorf("without being asked: %d %s", code, out)
	}
	if code, out := command("", "audit", "query", "--actor", "alice@acme.example"); code != 0 || !strings.Contains(out, "alice@acme.example") {
		t.Errorf("before: %d %s", code, out)
	}
	if code, out := command("", append(erase, "--yes")...); code != 0 || !strings.Contains(out, "Erased.") {
		t.Errorf("root: %d %s", code, out)
	}
	if code, out := command("", "audit", "query", "--actor", "alice@acme.example"); code != 0 || !strings.Contains(out, "nothing found") {
		t.Errorf("after: %d %s", code, out)
	}
	if code, out := command("", append(erase, "--yes")...); code != exitError || !strings.Contains(out, "subject_unknown") {
		t.Errorf("again: %d %s", code, out)
	}
	if code, out := command("", "audit", "retain", "--keep", "400d", "--dry-run"); code != 0 || !strings.Contains(out, "0 entries") {
		t.Errorf("retain: %d %s", code, out)
	}
	if code, out := command("", "audit", "retain", "--keep", "1h", "--dry-run"); code != exitUsage || !strings.Contains(out, "400d") {
		t.Errorf("retain for an hour: %d %s", code, out)
	}
}
