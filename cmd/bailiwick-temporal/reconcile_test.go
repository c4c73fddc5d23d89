package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/reconcile"
)

// TestReconcile lets every edge of a run's life happen through the gate, which leaves nothing to find, and then goes around it.
func TestReconcile(t *testing.T) {
	e := &edges{environment: newEnvironment(t), entries: map[string]audit.Entry{}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	t.Cleanup(cancel)
	e.ctx = ctx
	e.table = tabwriter.NewWriter(&e.out, 0, 0, 2, ' ', 0)
	began := time.Now().Add(-time.Minute)
	workers := e.startEdgeWorkers(t, e.issuer.Client("0oaedgeworker0000001", "temporal:payments:worker", "temporal:deploy:worker", "temporal:deploy:write"))
	t.Run("calls", e.testCalls(workers))
	t.Run("family", e.testFamily(workers))
	t.Run("again", e.testAgain)
	t.Run("acts without header", e.testActs)
	t.Run("schedule", e.testScheduleEdge)
	t.Run("batch", e.testBatch)

	alice := e.client(t, e.alice, "payments")
	honest, err := alice.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "bystander", TaskQueue: "nobody-polls-this"}, "Wait")
	if err != nil {
		t.Fatal(err)
	}
	// Allowed and without effect: there is no such run.
	if err := alice.SignalWorkflow(ctx, "no-such-run", "", "go", nil); err == nil {
		t.Fatal("signalling nobody went well")
	}
	time.Sleep(1500 * time.Millisecond) // visibility follows
	report := e.reconcile(t, began)
	for _, b := range report.Bypasses {
		t.Errorf("before anybody went around the gate: %+v", b)
	}
	if report.Runs < 8 || report.By[reconcile.Attested] < 8 || report.By[reconcile.Signed] == 0 {
		t.Errorf("%d runs, %d events, tied by %v", report.Runs, report.Events, report.By)
	}
	if !slices.ContainsFunc(report.Orphans, func(o reconcile.Orphan) bool { return o.WorkflowID == "no-such-run" }) {
		t.Errorf("the signal to nobody is not an orphan: %+v", report.Orphans)
	}
	t.Logf("%d runs, %d events tied by %v, %d orphans of %d decisions", report.Runs, report.Events, report.By, len(report.Orphans), report.Decisions)

	// Around the gate: by the certificate of the server's own services.
	behind := e.behind(t)
	signed := "alice@acme.example via bailiwick [" + e.decisionAbout(t, "bystander") + "]"
	req := start("payments", "smuggled", "Wait")
	if _, err := behind.StartWorkflowExecution(ctx, req); err != nil {
		t.Fatal(err)
	}
	target := &commonpb.WorkflowExecution{WorkflowId: "bystander", RunId: honest.GetRunID()}
	stolen := e.history(t, "bystander", honest.GetRunID())[0].GetWorkflowExecutionStartedEventAttributes().GetHeader()
	for _, r := range []*workflowservice.SignalWorkflowExecutionRequest{
		{SignalName: "bare", Identity: "alice@acme.example"},
		{SignalName: "stolen", Header: stolen},   // a genuine statement, about the start
		{SignalName: "marked", Identity: signed}, // a genuine decision, about the start
		{SignalName: "invented", Identity: "alice@acme.example via bailiwick [01936a2e-5b1c-7c3a-9f00-8d5b0a7e1c11]"},
	} {
		r.Namespace, r.WorkflowExecution = "payments", target
		if _, err := behind.SignalWorkflowExecution(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := behind.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "payments", WorkflowExecution: target, Identity: "history-service", Reason: "by parent close policy"}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	report = e.reconcile(t, began)
	var got []string
	for _, b := range report.Bypasses {
		got = append(got, fmt.Sprintf("%s %s %s", b.WorkflowID, b.Kind, b.Code))
		t.Logf("%+v", b)
	}
	slices.Sort(got)
	want := []string{
		"bystander signal bare internal_only",
		"bystander signal invented unknown_decision",
		"bystander signal marked decision_of_another",
		"bystander signal stolen attestation_invalid",
		"bystander terminated internal_only",
		"smuggled start Wait internal_only",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q\nwant  %q", got, want)
	}
	e.scheduledReport(t, want)
}

// reconcile reads with a reader's token, through the gate.
func (e *edges) reconcile(t *testing.T, from time.Time) reconcile.Report {
	t.Helper()
	reader := e.issuer.User("audrey@acme.example", "temporal:payments:read", "temporal:deploy:read", "temporal:default:read")
	c := e.client(t, reader, "payments")
	now := time.Now()
	x, err := index.Open(t.Context(), filepath.Join(t.TempDir(), "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if _, err := x.Sync(t.Context(), e.entriesFrom); err != nil {
		t.Fatal(err)
	}
	histories := reconcile.Temporal{Service: c.WorkflowService()}
	namespaces, err := histories.Namespaces(t.Context())
	if err != nil || len(namespaces) != 3 {
		t.Fatalf("namespaces %q: %v", namespaces, err)
	}
	r, err := reconcile.Reconcile(t.Context(), reconcile.Config{
		Namespaces: namespaces, From: from, To: now, Histories: histories, Record: reconcile.Indexed{Index: x}, Keys: e.keys, Audience: testAudience, DecisionOf: gate.DecisionOf, PerSecond: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (e *edges) entriesFrom(_ context.Context, from uint64) iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		r, err := audit.OpenReader(e.cfg.JournalDir, from)
		if err != nil {
			yield(index.Record{}, err)
			return
		}
		defer r.Close()
		for {
			seq, raw, err := r.Next()
			if err != nil {
				return // the end
			}
			entry, err := audit.ParseEntry(raw)
			if !yield(index.Record{Index: seq, Raw: raw, Entry: entry}, err) {
				return
			}
		}
	}
}

// decisionAbout is the id of the decision that started a workflow.
func (e *edges) decisionAbout(t *testing.T, workflowID string) string {
	t.Helper()
	for _, entry := range e.journal(t) {
		if entry.Action == "StartWorkflowExecution" && entry.Resource.WorkflowID == workflowID {
			return entry.ID
		}
	}
	t.Fatalf("no decision about %s", workflowID)
	return ""
}

// behind is a connection that no gate guards.
func (e *edges) behind(t *testing.T) workflowservice.WorkflowServiceClient {
	t.Helper()
	node, ca := filepath.Join(e.cfg.StateDir, "tls", "node.pem"), filepath.Join(e.cfg.StateDir, "tls", "ca.pem")
	pair, err := tls.LoadX509KeyPair(node, node)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	for _, address := range listeners(t) {
		_, port, _ := net.SplitHostPort(address)
		if e.named(port) != "internal" {
			continue
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: internodeName})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := workflowservice.NewWorkflowServiceClient(conn)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = c.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: "payments"})
		cancel()
		if err == nil {
			return c
		}
	}
	t.Fatal("no internal frontend")
	return nil
}
