package sdkplugin_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/interceptor"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// What the SDK's test environment calls its run.
const (
	testNamespace = "default-test-namespace"
	testWorkflow  = "default-test-workflow-id"
	audience      = "bailiwick:test"
)

func signerOf(label string) *attest.Signer {
	seed := sha256.Sum256([]byte("bailiwick sdkplugin test key " + label))
	return attest.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
}

// person is a party whose login is easy to see in a result.
func person(name string) attest.Party {
	return attest.Party{Principal: "user:https://issuer.example|" + name, Login: name + "@acme.example", ClientID: "cli", Profile: "user"}
}

// statement is one that a gate would sign for a person.
func statement(name string, edge attest.Edge, b attest.Binding) attest.Statement {
	p := person(name)
	return attest.Statement{ID: "decision-" + name, Issuer: "test", Audience: audience, Edge: edge, Originator: p, Actor: p, Reason: "because " + name,
		Binding: b, IssuedAt: time.Unix(1795446123, 0)}
}

func sign(t testing.TB, s attest.Statement) string {
	t.Helper()
	raw, err := signerOf("gate").Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func header(raw string) *commonpb.Header {
	return &commonpb.Header{Fields: map[string]*commonpb.Payload{attest.HeaderKey: attest.ToPayload(raw)}}
}

// started is the header of a run that alice started in the test environment.
func started(t testing.TB, workflowType string) *commonpb.Header {
	t.Helper()
	return header(sign(t, statement("alice", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: workflowType})))
}

// journal is a logger whose lines can be searched.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// line returns the first line that has all the parts, or "".
func (j *journal) line(parts ...string) string {
next:
	for l := range strings.Lines(j.String()) {
		for _, p := range parts {
			if !strings.Contains(l, p) {
				continue next
			}
		}
		return l
	}
	return ""
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newPlugin(t testing.TB, o sdkplugin.Options) *sdkplugin.Plugin {
	t.Helper()
	if o.KeysURL == "" && o.Keys.Len() == 0 {
		o.Keys = signerOf("gate").PublicKeySet()
	}
	if o.Audience == "" {
		o.Audience = audience
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Histories == nil {
		o.Histories = histories{} // the test environment's client has none
	}
	p, err := sdkplugin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hooks asks the plugin for its interceptors in the way that a worker does.
func hooks(t testing.TB, p *sdkplugin.Plugin) []interceptor.WorkerInterceptor {
	t.Helper()
	var o worker.Options
	if err := p.ConfigureWorker(context.Background(), worker.PluginConfigureWorkerOptions{WorkerOptions: &o}); err != nil {
		t.Fatal(err)
	}
	return o.Interceptors
}

// environment is the SDK's test environment with the plugin in it.
func environment(t testing.TB, p *sdkplugin.Plugin, log *journal) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(tlog.NewStructuredLogger(log.logger()))
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: hooks(t, p)})
	return env
}
