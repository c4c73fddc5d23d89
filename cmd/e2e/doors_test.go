package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/metadata"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

// TestHTTPDoor: Temporal's HTTP API is another door to the same acts. It asks for the same token, decides the same, and its runs are attested.
func TestHTTPDoor(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "erin@acme.example")
	alice, erin := team[0], team[1]
	start := func(token, id string) (int, string) {
		t.Helper()
		body := `{"workflowType":{"name":"deploy"},"taskQueue":{"name":"deploy"},"input":[{"service":"checkout","version":"7"}]}`
		req, err := http.NewRequest("POST", d.context.HTTP+"/api/v1/namespaces/deploy/workflows/"+id, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(answer)
	}
	if code, answer := start("", "http-1"); code != http.StatusUnauthorized || !strings.Contains(answer, "token_missing") {
		t.Errorf("without a token: %d %s", code, answer)
	}
	if code, answer := start(erin.token(t), "http-1"); code != http.StatusForbidden || !strings.Contains(answer, "write in deploy") {
		t.Errorf("as erin: %d %s", code, answer)
	}
	if code, answer := start(alice.token(t), "http-1"); code != http.StatusOK {
		t.Fatalf("as alice: %d %s", code, answer)
	}
	tl := closed(t, alice, "http-1")
	if tl.Status != "completed" || tl.Invalid+tl.Unattested != 0 || tl.Steps[0].Attestation.Actor.Login != alice.login {
		t.Errorf("the run started by HTTP: %s, %d unattested, %d invalid, by %+v", tl.Status, tl.Unattested, tl.Invalid, tl.Steps[0].Attestation)
	}
}

// closed waits until a run in deploy has ended and returns its timeline. It asks again and again, because a long poll may wait 20 s too long.
func closed(t *testing.T, u *user, id string) runs.Timeline {
	t.Helper()
	var tl runs.Timeline
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(300 * time.Millisecond) {
		u.json(t, &tl, "run", "show", id, "--namespace", "deploy")
		if tl.Status != "running" {
			return tl
		}
		if time.Now().After(end) {
			t.Fatalf("run %s had not ended after three minutes: %+v", id, tl)
		}
	}
}

// TestForgedHeaders: an attestation and a principal that the client sends are dropped. What the run carries is of the gate's making.
func TestForgedHeaders(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--task-queue", "nobody-polls-this", "--id", "forged-source")
	asCarol := sdkClient(t, d, carol.token(t), "deploy")
	defer asCarol.Close()
	keys := gateKeys(t, d)
	stolen := startHeader(t, asCarol, "forged-source")

	req := startRequest("forged-1")
	req.Header = &commonpb.Header{Fields: map[string]*commonpb.Payload{
		attest.HeaderKey: stolen, strings.ToUpper(attest.HeaderKey): stolen, "Bailiwick-Attestation": stolen, "mine": stolen,
	}}
	ctx := metadata.AppendToOutgoingContext(patience(t), "temporal-principal-type", "user", "temporal-principal-name", "alice@acme.example",
		"bailiwick-attestation", "x")
	if _, err := asCarol.WorkflowService().StartWorkflowExecution(metadata.AppendToOutgoingContext(ctx, "authorization-extras", alice.token(t)), startRequest("forged-0")); err == nil || !strings.Contains(err.Error(), "id_token_invalid") {
		t.Errorf("somebody else's access token in the place of an ID token: %v", err)
	}
	if _, err := asCarol.WorkflowService().StartWorkflowExecution(ctx, req); err != nil {
		t.Fatal(err)
	}
	st, exists := startAttestation(t, d, asCarol, keys, "forged-1")
	if !exists || st.Actor.Login != carol.login || st.Originator.Login != carol.login || st.Binding.WorkflowID != "forged-1" {
		t.Errorf("the run carries %+v, want carol's own statement", st)
	}
	page, err := asCarol.WorkflowService().GetWorkflowExecutionHistory(patience(t), &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: "deploy", Execution: &commonpb.WorkflowExecution{WorkflowId: "forged-1"}, MaximumPageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	first := page.GetHistory().GetEvents()[0]
	if got := first.GetPrincipal().GetName(); got != carol.login {
		t.Errorf("Temporal's own record names %q, want carol", got)
	}
	for key, p := range first.GetWorkflowExecutionStartedEventAttributes().GetHeader().GetFields() {
		if key != "mine" && key != attest.HeaderKey {
			t.Errorf("the forged header %q got into the run", key)
		}
		if key == attest.HeaderKey && string(p.GetData()) == string(stolen.GetData()) {
			t.Error("the stolen attestation got into the run")
		}
	}
}

func startHeader(t *testing.T, c client.Client, id string) *commonpb.Payload {
	t.Helper()
	page, err := c.WorkflowService().GetWorkflowExecutionHistory(patience(t), &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: "deploy", Execution: &commonpb.WorkflowExecution{WorkflowId: id}, MaximumPageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := page.GetHistory().GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetHeader().GetFields()[attest.HeaderKey]
	if p == nil {
		t.Fatalf("run %s has no attestation", id)
	}
	return p
}

// TestAttestationIsNoToken: what anyone may read in a history opens no door.
func TestAttestationIsNoToken(t *testing.T) {
	d := shared(t)
	carol := d.user(t, "carol@acme.example")
	carol.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--task-queue", "nobody-polls-this", "--id", "no-token-1")
	c := sdkClient(t, d, carol.token(t), "deploy")
	defer c.Close()
	raw := string(startHeader(t, c, "no-token-1").GetData())
	if !json.Valid([]byte(raw)) {
		t.Fatalf("the attestation is not what this test knows: %s", raw)
	}
	if r, ok := describe(t, d, "Bearer "+raw); ok || !strings.HasPrefix(r.reason, "token_") {
		t.Errorf("an attestation used as a token: accepted %v, reason %q", ok, r.reason)
	}
}

// TestSchedule: a run that a schedule starts carries who made the schedule, not Temporal's internal user nor who triggered it.
func TestSchedule(t *testing.T) {
	d := shared(t)
	carol := d.user(t, "carol@acme.example")
	c := sdkClient(t, d, carol.token(t), "deploy")
	defer c.Close()
	ctx := patience(t)
	handle := c.ScheduleClient().GetHandle(ctx, demo.ScheduleID)
	eventually(t, "bailiwick dev makes the demo's schedule", func() string {
		if _, err := handle.Describe(ctx); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := handle.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	id := ""
	eventually(t, "the triggered schedule starts its run", func() string {
		desc, err := handle.Describe(ctx)
		if err != nil {
			return err.Error()
		}
		if len(desc.Info.RecentActions) == 0 {
			return "no recent actions"
		}
		id = desc.Info.RecentActions[0].StartWorkflowResult.WorkflowID
		return ""
	})
	tl := closed(t, carol, id)
	st := tl.Steps[0].Attestation
	if tl.Status != "completed" || tl.Invalid+tl.Unattested != 0 || st == nil || st.Edge != attest.EdgeSchedule || st.Actor.ClientID != "0oareleaseagent00001" || st.Reason != "nightly report of the demo" {
		t.Errorf("the scheduled run: %s, %d unattested, %d invalid, by %+v", tl.Status, tl.Unattested, tl.Invalid, st)
	}
	if tl.Lineage.ScheduleID != demo.ScheduleID {
		t.Errorf("run show says schedule %q", tl.Lineage.ScheduleID)
	}
}
