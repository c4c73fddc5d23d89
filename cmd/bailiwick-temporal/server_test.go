package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
)

// TestServer shares one server among its parts, because starting one takes seconds.
func TestServer(t *testing.T) {
	e := newEnvironment(t)
	t.Logf("started in %v, %d MiB resident", e.started.Round(time.Millisecond), rss(t))
	e.startWorker(t)

	t.Run("tokens", e.testTokens)
	t.Run("denials", e.testDenials)
	t.Run("attestations", e.testAttestations)
	t.Run("copies of clients", e.testClientCopies)
	t.Run("namespaces", e.testNamespaces)
	t.Run("schedule", e.testSchedule)
	t.Run("policy change", e.testPolicyChange)
	t.Run("runs", e.testRuns)
	t.Run("detours", e.testDetours)
	t.Run("remote cluster", e.testRemoteCluster)
	t.Run("http", e.testHTTP)
	t.Run("nexus", e.testNexus)
	t.Run("nexus from a workflow", e.testNexusFromWorkflow)
	t.Run("nexus door", e.testNexusDoor)
	t.Run("existence", e.testExistence)
	t.Run("ui", e.testUI)
	t.Run("doors", e.testDoors)
	t.Run("no token leaks", e.testNoLeak) // last: it looks at what the others left
	t.Logf("%d MiB resident at the end", rss(t))
}

func start(namespace, id, typ string) *workflowservice.StartWorkflowExecutionRequest {
	return &workflowservice.StartWorkflowExecutionRequest{
		Namespace: namespace, WorkflowId: id, WorkflowType: &commonpb.WorkflowType{Name: typ},
		TaskQueue: &taskqueuepb.TaskQueue{Name: taskQueue}, RequestId: id,
	}
}

func (e *environment) testTokens(t *testing.T) {
	w := e.wire(t)
	other := bailiwicktest.NewIssuer(t)
	cases := map[string]struct {
		authorization []string
		code          codes.Code
		reason        string
	}{
		"none":         {nil, codes.Unauthenticated, "token_missing"},
		"not bearer":   {[]string{"Basic YWxpY2U6cHc="}, codes.Unauthenticated, "token_malformed"},
		"opaque":       {[]string{"Bearer 00abcdef"}, codes.Unauthenticated, "token_"},
		"other issuer": {[]string{"Bearer " + other.User("alice@acme.example", "temporal:payments:write")}, codes.Unauthenticated, "token_issuer"},
		"other audience": {[]string{"Bearer " + e.issuer.Token(map[string]any{"sub": "a@x", "uid": "00u1", "aud": "api://other"})},
			codes.Unauthenticated, "token_audience"},
		"expired": {[]string{"Bearer " + e.issuer.Token(map[string]any{"sub": "a@x", "uid": "00u1", "iat": time.Now().Add(-2 * time.Hour).Unix(), "exp": time.Now().Add(-time.Hour).Unix()})},
			codes.Unauthenticated, "token_expired"},
		"signature cut": {[]string{"Bearer " + e.alice[:len(e.alice)-8]}, codes.Unauthenticated, "token_"},
		"twice":         {[]string{"Bearer " + e.alice, "Bearer " + e.alice}, codes.Unauthenticated, "token_malformed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx := withValues(t, c.authorization)
			_, err := w.StartWorkflowExecution(ctx, start("payments", "refused", "Hello"))
			st := status.Convert(err)
			if st.Code() != c.code || !strings.HasPrefix(st.Message(), c.reason) {
				t.Errorf("got %v: %s; want %v: %s…", st.Code(), st.Message(), c.code, c.reason)
			}
			if _, err := w.GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); status.Code(err) != c.code {
				t.Errorf("GetSystemInfo: %v", err)
			}
		})
	}
	t.Run("dial without token", func(t *testing.T) {
		_, err := client.Dial(client.Options{HostPort: e.server.grpcAddress()})
		if err == nil || !strings.Contains(err.Error(), "bailiwick login") {
			t.Errorf("the SDK's error does not say what to do: %v", err)
		}
	})
}

func (e *environment) testDenials(t *testing.T) {
	reader := e.client(t, e.rita, "payments")
	_, err := reader.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "not-by-rita", TaskQueue: taskQueue}, "Hello")
	var refused *serviceerror.PermissionDenied
	if !errors.As(err, &refused) {
		t.Fatalf("a reader's start ended with %T %v", err, err)
	}
	for _, want := range []string{"no_permission", "rita@acme.example", "StartWorkflowExecution", "missing permission: ", "write in payments", "decision "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the denial does not mention %q: %v", want, err)
		}
	}
	if !strings.Contains(refused.Reason, "no_permission") {
		t.Errorf("the failure's reason lacks the code: %q", refused.Reason)
	}
	if _, err := reader.DescribeWorkflowExecution(t.Context(), "no-such", ""); status.Code(err) == codes.PermissionDenied {
		t.Errorf("a reader may not look: %v", err)
	}

	// A namespace that does not exist and one that is forbidden read the same to someone without a role in either.
	bob := e.client(t, e.bob, "payments")
	_, forbidden := bob.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "x", TaskQueue: taskQueue}, "Hello")
	absent := e.client(t, e.bob, "nowhere")
	_, unknown := absent.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "x", TaskQueue: taskQueue}, "Hello")
	if !errors.As(forbidden, new(*serviceerror.PermissionDenied)) || !errors.As(unknown, new(*serviceerror.PermissionDenied)) {
		t.Errorf("forbidden: %v; absent: %v", forbidden, unknown)
	}
}

func (e *environment) testAttestations(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	alice := e.client(t, e.alice, "payments")
	run, err := alice.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "greeting-1", TaskQueue: taskQueue}, "Greet")
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	update, err := alice.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: "greeting-1", UpdateName: "rename", Args: []any{"world"}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		t.Fatalf("updating: %v", err)
	}
	if err := update.Get(ctx, nil); err != nil {
		t.Fatalf("update's result: %v", err)
	}
	if err := alice.SignalWorkflow(ctx, "greeting-1", "", "done", nil); err != nil {
		t.Fatalf("signalling: %v", err)
	}
	var result string
	if err := run.Get(ctx, &result); err != nil || result != "hello world" {
		t.Fatalf("result %q, %v", result, err)
	}

	events := e.history(t, "greeting-1", run.GetRunID())
	started := find(events, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
	s := e.attested(t, started.GetWorkflowExecutionStartedEventAttributes().GetHeader())
	if s.Edge != attest.EdgeStart || s.Binding.WorkflowID != "greeting-1" || s.Binding.Namespace != "payments" || s.Binding.WorkflowType != "Greet" {
		t.Errorf("start is attested as %+v", s)
	}
	if s.Originator.Login != "alice@acme.example" || !strings.HasSuffix(s.Originator.Principal, "|"+bailiwicktest.UID("alice@acme.example")) {
		t.Errorf("start's originator is %+v", s.Originator)
	}
	if s.Reason != "a test" {
		t.Errorf("start's reason is %q", s.Reason)
	}
	if p := started.GetPrincipal(); p.GetType() != "user" || p.GetName() != "alice@acme.example" {
		t.Errorf("Temporal's own principal on the start is %v", p)
	}
	signaled := find(events, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED).GetWorkflowExecutionSignaledEventAttributes()
	if s := e.attested(t, signaled.GetHeader()); s.Edge != attest.EdgeSignal || s.Binding.Name != "done" {
		t.Errorf("signal is attested as %+v", s)
	}
	accepted := find(events, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED).GetWorkflowExecutionUpdateAcceptedEventAttributes()
	if s := e.attested(t, accepted.GetAcceptedRequest().GetInput().GetHeader()); s.Edge != attest.EdgeUpdate || s.Binding.Name != "rename" {
		t.Errorf("update is attested as %+v", s)
	}

	// Each attestation's other half is in the journal, and the entry was there before the event.
	entries := map[string]string{}
	for _, entry := range e.journal(t) {
		entries[entry.ID] = entry.Action
	}
	if entries[s.ID] != "StartWorkflowExecution" {
		t.Errorf("the start's decision %s is recorded as %q", s.ID, entries[s.ID])
	}
}

func (e *environment) testClientCopies(t *testing.T) {
	w := e.wire(t)
	forged := attest.ToPayload(`{"v":1,"by":["user:root"]}`)
	req := start("payments", "forged-1", "Hello")
	req.Header = &commonpb.Header{Fields: map[string]*commonpb.Payload{
		attest.HeaderKey: forged, "Bailiwick-Attestation": forged, "mine": {Data: []byte("kept")},
	}}
	ctx := as(t, e.alice, "temporal-principal-type", "user", "temporal-principal-name", "root")
	resp, err := w.StartWorkflowExecution(ctx, req)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	started := find(e.history(t, "forged-1", resp.GetRunId()), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
	h := started.GetWorkflowExecutionStartedEventAttributes().GetHeader()
	if s := e.attested(t, h); s.Originator.Login != "alice@acme.example" {
		t.Errorf("attested as %+v", s)
	}
	if h.GetFields()["Bailiwick-Attestation"] != nil || h.GetFields()["mine"] == nil || len(h.GetFields()) != 2 {
		t.Errorf("the header's fields are %v", h.GetFields())
	}
	if p := started.GetPrincipal(); p.GetName() != "alice@acme.example" {
		t.Errorf("a client set the principal: %v", p)
	}
}

func (e *environment) testNamespaces(t *testing.T) {
	w := e.wire(t)
	names := func(token string) string {
		resp, err := w.ListNamespaces(as(t, token), &workflowservice.ListNamespacesRequest{})
		if err != nil {
			t.Fatalf("listing: %v", err)
		}
		var out []string
		for _, n := range resp.GetNamespaces() {
			out = append(out, n.GetNamespaceInfo().GetName())
		}
		return strings.Join(out, " ")
	}
	if got := names(e.rita); got != "payments" {
		t.Errorf("rita sees %q", got)
	}
	if got := names(e.bob); got != "deploy" {
		t.Errorf("bob sees %q", got)
	}
	if got := names(e.issuer.User("erin@acme.example")); got != "" {
		t.Errorf("erin, who has no role, sees %q", got)
	}
}

func (e *environment) testSchedule(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	alice := e.client(t, e.alice, "payments")
	handle, err := alice.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:                 "nightly",
		Spec:               client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action:             &client.ScheduleWorkflowAction{ID: "nightly-run", Workflow: "Hello", TaskQueue: taskQueue},
		TriggerImmediately: true,
	})
	if err != nil {
		t.Fatalf("creating a schedule: %v", err)
	}
	var runID, workflowID string
	for runID == "" {
		d, err := handle.Describe(ctx)
		if err != nil {
			t.Fatalf("describing the schedule: %v\n%s", err, e.log.tail())
		}
		if len(d.Info.RecentActions) > 0 {
			runID, workflowID = d.Info.RecentActions[0].StartWorkflowResult.FirstExecutionRunID, d.Info.RecentActions[0].StartWorkflowResult.WorkflowID
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the schedule started nothing\n%s", e.log.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
	started := find(e.history(t, workflowID, runID), enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
	s := e.attested(t, started.GetWorkflowExecutionStartedEventAttributes().GetHeader())
	if s.Edge != attest.EdgeSchedule || s.Binding.ScheduleID != "nightly" || s.Binding.WorkflowID != "nightly-run" || s.Originator.Login != "alice@acme.example" {
		t.Errorf("a scheduled run is attested as %+v", s)
	}
	if p := started.GetPrincipal(); p.GetType() != "temporal" {
		t.Errorf("Temporal's own principal on a scheduled start is %v", p)
	}
	if err := e.client(t, e.rita, "payments").ScheduleClient().GetHandle(ctx, "nightly").Delete(ctx); !errors.As(err, new(*serviceerror.PermissionDenied)) {
		t.Errorf("a reader deleting a schedule: %v", err)
	}
	if err := handle.Delete(ctx); err != nil {
		t.Errorf("deleting the schedule: %v", err)
	}
	recorded := false
	for _, entry := range e.journal(t) {
		recorded = recorded || entry.Actor.Principal == "temporal:internal" && entry.Action == "StartWorkflowExecution" && entry.Resource.Namespace == "payments"
	}
	if !recorded {
		t.Error("the start that the schedule made is not recorded")
	}
}

func (e *environment) testNoLeak(t *testing.T) {
	if len(e.log.String()) < 1000 {
		t.Fatal("there is hardly any log to look at")
	}
	secrets := map[string]string{"alice": e.alice, "bob": e.bob, "rita": e.rita, "worker": e.worker}
	check := func(where, text string) {
		for name, token := range secrets {
			if strings.Contains(text, token[len(token)-40:]) {
				t.Errorf("%s's token is in %s", name, where)
			}
		}
	}
	check("the log", e.log.String())
	files := 0
	err := filepath.WalkDir(filepath.Dir(e.cfg.StateDir), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		check(path, string(raw))
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 && !strings.HasPrefix(path, e.cfg.PolicyDir) {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}

// testPolicyChange shows that a saved policy counts without a restart, and that a broken one leaves the last good one in force.
func (e *environment) testPolicyChange(t *testing.T) {
	w := e.wire(t)
	before := e.server.plugin.PolicyStatus().Digest
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(e.cfg.PolicyDir, "extra.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	allowed := func(id string) bool {
		_, err := w.StartWorkflowExecution(as(t, e.rita), start("payments", id, "Hello"))
		return err == nil
	}
	if allowed("rita-1") {
		t.Fatal("a reader may start already")
	}
	save(`@id("rita-starts") permit (principal, action == Action::"StartWorkflowExecution", resource in Namespace::"payments");`)
	e.eventually(t, "the new policy", func() bool { return allowed("rita-2") })
	save(`@id("rita-starts") permit (principal, action == `)
	e.eventually(t, "the report of the broken policy", func() bool { return e.server.plugin.PolicyStatus().LastError != "" })
	if !allowed("rita-3") {
		t.Error("a broken file took the last good policy away")
	}
	if !strings.Contains(e.server.plugin.PolicyStatus().LastError, "extra.cedar") {
		t.Errorf("the error does not name the file: %s", e.server.plugin.PolicyStatus().LastError)
	}
	if err := os.Remove(filepath.Join(e.cfg.PolicyDir, "extra.cedar")); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, "the old policy", func() bool { return e.server.plugin.PolicyStatus().Digest == before })
	// A set is in force a moment before that is recorded.
	e.eventually(t, "the record of three changes", func() bool {
		changes := 0
		for _, entry := range e.journal(t) {
			if entry.Kind == audit.KindPolicy {
				changes++
			}
		}
		return changes >= 3
	})
}
