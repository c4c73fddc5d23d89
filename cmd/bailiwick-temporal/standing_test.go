package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/serverplugin"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// TestStandingReachesAServer publishes to a feed and watches what a real server, in a process of its own, lets through.
func TestStandingReachesAServer(t *testing.T) {
	issuer := bailiwicktest.NewIssuer(t)
	const token = "token-of-the-standing-feed"
	f, err := feed.Open(t.Context(), feed.Config{DSN: filepath.Join(t.TempDir(), "feed.db"), Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, ed25519.SeedSize)), Tokens: []string{token}})
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		f.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { control.CloseClientConnections(); control.Close(); _ = f.Close() })

	cfg := testConfig(t, issuer)
	cfg.UI.Enabled = false
	cfg.Standing = &serverplugin.Standing{
		URL: control.URL + feed.Path, TokenFile: filepath.Join(t.TempDir(), "token"), Cache: filepath.Join(t.TempDir(), "standing", "cache"),
		Keys: []string{base64.StdEncoding.EncodeToString(f.PublicKey())},
	}
	if err := os.WriteFile(cfg.Standing.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := writeConfig(t, cfg)
	server := launch(t, "--config", path)
	conn, err := grpc.NewClient(server.ready(t).GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	wire := workflowservice.NewWorkflowServiceClient(conn)

	erin := issuer.User("erin@acme.example")
	principal := "user:" + issuer.URL + "|" + bailiwicktest.UID("erin@acme.example")
	start := func() string {
		_, err := wire.StartWorkflowExecution(as(t, erin), &workflowservice.StartWorkflowExecutionRequest{
			Namespace: "payments", WorkflowId: "w-" + time.Now().Format(time.RFC3339Nano), RequestId: time.Now().String(), WorkflowType: &commonpb.WorkflowType{Name: "Greet"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"},
		})
		if err == nil {
			return "allowed"
		}
		code, _, _ := strings.Cut(err.Error()[strings.Index(err.Error(), "desc = ")+len("desc = "):], ":")
		return code
	}
	publish := func(e standing.Event) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		seq, err := f.Put(ctx, e)
		if err == nil {
			err = f.WaitSeen(ctx, seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when, want string) {
		t.Helper()
		if got := start(); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	expect("without a grant", "no_permission")
	ends := time.Now().Add(3 * time.Second)
	publish(standing.Event{ID: "e1", Kind: standing.EventGrant, Grant: &standing.Grant{ID: "g1", Principal: principal, Namespace: "payments", Role: "write", NotBefore: time.Now().Add(-time.Second), Expires: ends}})
	expect("granted", "allowed")
	time.Sleep(time.Until(ends))
	expect("expired", "no_permission")
	publish(standing.Event{ID: "e2", Kind: standing.EventGrant, Grant: &standing.Grant{ID: "g2", Principal: principal, Namespace: "payments", Role: "write", NotBefore: time.Now().Add(-time.Second), Expires: time.Now().Add(time.Hour)}})
	expect("granted again", "allowed")
	publish(standing.Event{ID: "e3", Kind: standing.EventBar, Bar: &standing.Bar{ID: "b1", Principal: principal, Reason: "user_deactivated", Since: time.Now()}})
	expect("deactivated", "revoked")

	// Killed and started again while the control plane is away, it has forgotten nothing; without its copy it lets in nobody.
	down.Store(true)
	if err := server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	server.exit(t)
	server = launch(t, "--config", path)
	server.ready(t)
	expect("after a crash", "revoked")
	if err := server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	server.exit(t)
	if err := os.Remove(cfg.Standing.Cache); err != nil {
		t.Fatal(err)
	}
	server = launch(t, "--config", path)
	server.ready(t)
	expect("without a copy", "standing_unknown")
	down.Store(false)
	publish(standing.Event{ID: "e4", Kind: standing.EventUnbar, Bar: &standing.Bar{ID: "b1"}})
	for end := time.Now().Add(patience); start() != "allowed"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the control plane is back, and still %s\n%s", start(), server.stderr.tail())
		}
	}
}
