package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	tokenspb "go.temporal.io/server/api/token/v1"
	commonnexus "go.temporal.io/server/common/nexus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// nexusCall posts to the frontend's HTTP port and returns status and body.
func (e *environment) nexusCall(t *testing.T, path, token string, header map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", e.cfg.HTTPPort, path), strings.NewReader(`"hi"`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// testNexus uses the doors that Nexus opens beside the API: they run the authorizer but no interceptor.
func (e *environment) testNexus(t *testing.T) {
	const start = "/namespaces/payments/task-queues/nobody-polls-this/nexus-services/greeter/greet"
	short := map[string]string{"Request-Timeout": "300ms", "Bailiwick-Reason": "by nexus"}
	if code, body := e.nexusCall(t, start, "", short); code != http.StatusForbidden || !strings.Contains(body, "token_missing") {
		t.Errorf("without token: %d %s", code, body)
	}
	if code, body := e.nexusCall(t, start, e.rita, short); code != http.StatusForbidden || !strings.Contains(body, "no_permission") {
		t.Errorf("as a reader: %d %s", code, body)
	}
	// Nobody polls the queue: what counts is that the gate let it through to the wait.
	if code, body := e.nexusCall(t, start, e.alice, short); code == http.StatusForbidden || code == http.StatusUnauthorized {
		t.Errorf("as a writer: %d %s", code, body)
	}
	recorded := false
	for _, entry := range e.journal(t) {
		recorded = recorded || entry.Action == "StartNexusOperationExecution" && entry.Reason == "by nexus" && entry.Actor.Login == "alice@acme.example" && entry.Decision.Allow
	}
	if !recorded {
		t.Error("the Nexus call is not recorded with its reason")
	}

	// A callback token is not a secret: anybody can write one.
	described, err := e.wire(t).DescribeNamespace(as(t, e.rita), &workflowservice.DescribeNamespaceRequest{Namespace: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := commonnexus.NewCallbackTokenGenerator().Tokenize(&tokenspb.NexusOperationCompletion{
		NamespaceId: described.GetNamespaceInfo().GetId(), WorkflowId: "greeting-1", RunId: "00000000-0000-0000-0000-000000000000", RequestId: "r",
		Ref: &persistencespb.StateMachineRef{},
	})
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"Nexus-Operation-State": "succeeded", commonnexus.CallbackTokenHeader: forged}
	for name, token := range map[string]string{"nobody": "", "alice": e.alice} {
		for _, path := range []string{"/nexus/callback", "/namespaces/payments/nexus/callback"} {
			if code, body := e.nexusCall(t, path, token, header); code != http.StatusForbidden {
				t.Errorf("%s completing an operation at %s: %d %s", name, path, code, body)
			}
		}
	}
}

// testExistence asks, without a token, about namespaces that exist and that do not.
func (e *environment) testExistence(t *testing.T) {
	w := e.wire(t)
	ask := func(namespace string) string {
		_, err := w.DescribeNamespace(withValues(t, nil), &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		_, err2 := w.StartWorkflowExecution(withValues(t, nil), start(namespace, "x", "Hello"))
		code, _, _ := strings.Cut(status.Convert(err).Message(), ":")
		code2, _, _ := strings.Cut(status.Convert(err2).Message(), ":")
		return fmt.Sprint(status.Code(err), code, status.Code(err2), code2)
	}
	if a, b := ask("payments"), ask("nowhere"); a != b {
		t.Errorf("an existing namespace answers %s, an absent one %s", a, b)
	}

	// The one exception, in Temporal itself: a call that names its namespace only by a task token has it looked up, by its UUID, before it
	// is authorized. This test notices when that changes.
	token, err := proto.Marshal(&tokenspb.Task{NamespaceId: "3f0c8f56-5a2c-4a57-9a8b-111111111111", WorkflowId: "x"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.RespondActivityTaskCompleted(withValues(t, nil), &workflowservice.RespondActivityTaskCompletedRequest{TaskToken: token})
	t.Logf("a task token of a namespace id that does not exist: %v", err)
	if code := status.Code(err); code != codes.NotFound && code != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}
