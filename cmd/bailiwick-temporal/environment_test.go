package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const (
	testAudience = "bailiwick:test"
	taskQueue    = "greetings"

	// run.Get can wait for a whole long poll of the server (20 s) now and then.
	patience = 45 * time.Second
)

// environment is a whole server on free ports: real issuer, starter policies, journal, UI, and one worker.
type environment struct {
	issuer  *bailiwicktest.Issuer
	cfg     Config
	server  *Server
	keys    attest.KeySet
	log     *lockedBuffer
	started time.Duration // how long StartServer took

	alice, bob, rita, worker string // tokens: write, write elsewhere, read, worker
}

// newEnvironment starts it; the test's end stops it.
func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{issuer: bailiwicktest.NewIssuer(t), log: &lockedBuffer{}}
	e.cfg = testConfig(t, e.issuer)
	logger := slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	begin := time.Now()
	server, err := StartServer(t.Context(), e.cfg, logger, func(code int) { t.Errorf("the server ended itself with code %d", code) })
	if err != nil {
		t.Fatalf("starting the server: %v\n%s", err, e.log.tail())
	}
	e.started = time.Since(begin)
	e.server = server
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	signer, err := attest.LoadOrCreateSigner(e.cfg.AttestationKey)
	if err != nil {
		t.Fatal(err)
	}
	e.keys = signer.PublicKeySet()
	e.alice = e.issuer.User("alice@acme.example", "temporal:payments:write", "temporal:deploy:read")
	e.bob = e.issuer.User("bob@acme.example", "temporal:deploy:write")
	e.rita = e.issuer.User("rita@acme.example", "temporal:payments:read")
	e.worker = e.issuer.Client("0oapaymentworker0001", "temporal:payments:worker")
	return e
}

// testConfig is a complete configuration on free ports, in a temporary directory.
func testConfig(t testing.TB, issuer *bailiwicktest.Issuer) Config {
	t.Helper()
	dir := t.TempDir()
	if err := policy.WriteStarter(filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 3)
	ui := "http://127.0.0.1:" + strconv.Itoa(ports[2])
	cfg := Config{
		StateDir: filepath.Join(dir, "state"), Name: "test", Audience: testAudience, Host: "127.0.0.1",
		GRPCPort: ports[0], HTTPPort: ports[1], UIPort: ports[2],
		Namespaces: []string{"default", "payments", "deploy"},
		Issuers:    []Issuer{{URL: issuer.URL, Audiences: []string{bailiwicktest.Audience}}},
		PolicyDir:  filepath.Join(dir, "policy"), JournalDir: filepath.Join(dir, "journal"), AttestationKey: filepath.Join(dir, "attestation.pem"),
		UI: UI{Enabled: true, Issuer: issuer.URL, ClientID: "0oatestui", ClientSecret: "test-secret", CallbackURL: ui + "/auth/sso/callback"},
	}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

// bearer sends one token with every call.
type bearer string

func (b bearer) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b), "bailiwick-reason": "a test"}, nil
}

func (e *environment) client(t *testing.T, token, namespace string) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{
		HostPort: e.server.grpcAddress(), Namespace: namespace, HeadersProvider: bearer(token),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("dialing as a caller with a good token: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// wire is a raw connection to the frontend, for what an SDK would not send.
func (e *environment) wire(t *testing.T) workflowservice.WorkflowServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(e.server.grpcAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return workflowservice.NewWorkflowServiceClient(conn)
}

func as(t *testing.T, token string, more ...string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, append([]string{"authorization", "Bearer " + token}, more...)...)
}

// startWorker runs the test's workflows in payments, with the worker's own token.
func (e *environment) startWorker(t *testing.T) {
	t.Helper()
	w := worker.New(e.client(t, e.worker, "payments"), taskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(greet, workflow.RegisterOptions{Name: "Greet"})
	w.RegisterWorkflowWithOptions(hello, workflow.RegisterOptions{Name: "Hello"})
	if err := w.Start(); err != nil {
		t.Fatalf("starting a worker: %v", err)
	}
	t.Cleanup(w.Stop)
}

// greet takes a name by update, then waits for the signal "done".
func greet(ctx workflow.Context) (string, error) {
	name := "nobody"
	if err := workflow.SetUpdateHandler(ctx, "rename", func(_ workflow.Context, to string) (string, error) {
		old := name
		name = to
		return old, nil
	}); err != nil {
		return "", err
	}
	workflow.GetSignalChannel(ctx, "done").Receive(ctx, nil)
	return "hello " + name, nil
}

func hello(workflow.Context) (string, error) { return "hello", nil }

// history reads all events of a run with a reader's token.
func (e *environment) history(t *testing.T, workflowID, runID string) []*historypb.HistoryEvent {
	t.Helper()
	c := e.client(t, e.rita, "payments")
	iter := c.GetWorkflowHistory(t.Context(), workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	var out []*historypb.HistoryEvent
	for iter.HasNext() {
		event, err := iter.Next()
		if err != nil {
			t.Fatalf("reading history: %v", err)
		}
		out = append(out, event)
	}
	return out
}

func find(events []*historypb.HistoryEvent, typ enumspb.EventType) *historypb.HistoryEvent {
	for _, event := range events {
		if event.GetEventType() == typ {
			return event
		}
	}
	return nil
}

// attested verifies the attestation in a header and returns what it says.
func (e *environment) attested(t *testing.T, h *commonpb.Header) attest.Statement {
	t.Helper()
	raw, ok := attest.FromPayload(h.GetFields()[attest.HeaderKey])
	if !ok {
		t.Fatalf("there is no attestation among the header's fields %v", h.GetFields())
	}
	v, err := e.keys.Verify(raw, testAudience)
	if err != nil {
		t.Fatalf("verifying the attestation: %v", err)
	}
	return v.Statement()
}

// eventually waits until f is content.
func (e *environment) eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen\n%s", what, e.log.tail())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// journal reads what is recorded so far. Refusals and reads are recorded without waiting: a test that looks for one waits for it.
func (e *environment) journal(t *testing.T) []audit.Entry {
	t.Helper()
	return bailiwicktest.Entries(t, e.cfg.JournalDir)
}

// lockedBuffer is a log that the server writes and the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) tail() string {
	s := l.String()
	return s[max(0, len(s)-4000):]
}

// rss is the resident memory of this process in MiB.
func rss(t *testing.T) int {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	fields := bytes.Fields(raw)
	pages, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}
