package sdkplugin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// standingServer answers like the control plane's route.
type standingServer struct {
	mu      sync.Mutex // covers the rest
	revoked map[string]string
	status  int    // 0: 200
	about   string // answers about somebody else
	asked   int
	now     time.Time
}

func (s *standingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	principal := r.URL.Query().Get("principal")
	if r.Header.Get("Authorization") != "Bearer worker-token" || r.URL.Query().Get("namespace") != testNamespace || r.URL.Query().Get("task_queue") != "q" {
		http.Error(w, `{"code":"bad_request"}`, http.StatusBadRequest)
		return
	}
	if s.status != 0 {
		http.Error(w, `{"code":"no_permission"}`, s.status)
		return
	}
	reason, gone := s.revoked[principal]
	if s.about != "" {
		principal = s.about
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"principal": principal, "revoked": gone, "reason": reason})
}

func (s *standingServer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *standingServer) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

type fixedToken string

func (f fixedToken) Token(context.Context) (string, error) { return string(f), nil }

func newSource(t *testing.T) (*sdkplugin.RevocationSource, *standingServer) {
	t.Helper()
	s := &standingServer{revoked: map[string]string{}, now: time.Unix(1795446123, 0)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	source, err := sdkplugin.NewRevocationSource(sdkplugin.RevocationSourceConfig{
		URL: server.URL, Credentials: fixedToken("worker-token"), Namespace: testNamespace, TaskQueue: "q", Clock: s.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return source, s
}

func TestRevocationSource(t *testing.T) {
	source, s := newSource(t)
	alice := person("alice").Principal
	is := func(what, reason string, revoked bool) {
		t.Helper()
		gotReason, got, err := source.Revoked(t.Context(), alice)
		if err != nil || got != revoked || gotReason != reason {
			t.Errorf("%s: %q, %v, %v", what, gotReason, got, err)
		}
	}
	unknown := func(what string) {
		t.Helper()
		if _, gone, err := source.Revoked(t.Context(), alice); err == nil || gone {
			t.Errorf("%s: an answer, %v, %v", what, gone, err)
		}
	}
	pass := func(d time.Duration) { s.set(func() { s.now = s.now.Add(d) }) }

	is("at first", "", false)
	s.set(func() { s.revoked[alice] = "user_deactivated" })
	pass(2 * time.Second)
	is("within two seconds", "", false)
	if s.asked != 1 {
		t.Errorf("asked %d times", s.asked)
	}
	pass(time.Millisecond)
	is("after two seconds", "user_deactivated", true)
	s.set(func() { delete(s.revoked, alice); s.status = http.StatusServiceUnavailable })
	pass(10 * time.Second)
	is("the control plane is away", "user_deactivated", true)
	pass(6 * time.Second)
	unknown("away for longer than the answer is good for")
	s.set(func() { s.status = http.StatusForbidden })
	unknown("the worker may not ask")
	s.set(func() { s.status, s.about = 0, person("bob").Principal })
	unknown("an answer about somebody else")
	s.set(func() { s.about = "" })
	is("back again", "", false)
}

func TestRevocationSourceIsChecked(t *testing.T) {
	good := sdkplugin.RevocationSourceConfig{URL: "https://control.example/v1/standing/revoked", Credentials: fixedToken("t"), Namespace: "deploy"}
	if _, err := sdkplugin.NewRevocationSource(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*sdkplugin.RevocationSourceConfig){
		"plaintext":      func(c *sdkplugin.RevocationSourceConfig) { c.URL = "http://control.example/" },
		"no credentials": func(c *sdkplugin.RevocationSourceConfig) { c.Credentials = nil },
		"no namespace":   func(c *sdkplugin.RevocationSourceConfig) { c.Namespace = "" },
		"a long memory":  func(c *sdkplugin.RevocationSourceConfig) { c.MaxAge = time.Minute },
		"stale too soon": func(c *sdkplugin.RevocationSourceConfig) { c.MaxStale = time.Second },
	} {
		c := good
		change(&c)
		if _, err := sdkplugin.NewRevocationSource(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// While nobody can say who has lost access, activities wait and do not run.
func TestActivitiesWaitWhileStandingIsUnknown(t *testing.T) {
	source, s := newSource(t)
	p := newPlugin(t, sdkplugin.Options{Revocations: source})
	run := func() (ran bool, err error) {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.SetWorkerOptions(worker.Options{Interceptors: hooks(t, p)})
		env.SetHeader(header(sign(t, statement("alice", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "0"}))))
		act := func(context.Context) error { ran = true; return nil }
		env.RegisterActivity(act)
		_, err = env.ExecuteActivity(act)
		return ran, err
	}
	s.set(func() { s.status = http.StatusBadGateway })
	if ran, err := run(); ran || err == nil || !strings.Contains(err.Error(), string(sdkplugin.ForbiddenStandingUnknown)) || !strings.Contains(err.Error(), sdkplugin.FailureHeld) || !strings.Contains(err.Error(), "retryable: true") {
		t.Errorf("nobody knows: ran %v, %v", ran, err)
	}
	s.set(func() { s.status = 0 })
	if ran, err := run(); !ran {
		t.Errorf("in good standing: %v", err)
	}
	s.set(func() { s.revoked[person("alice").Principal] = "user_suspended"; s.now = s.now.Add(3 * time.Second) })
	if ran, err := run(); ran || err == nil || !strings.Contains(err.Error(), string(sdkplugin.ForbiddenRevoked)) || !strings.Contains(err.Error(), "user_suspended") {
		t.Errorf("revoked: ran %v, %v", ran, err)
	}
}
