package e2e

import (
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
)

// TestNoTokenLeavesATrace looks for every token that this test and those before it used: in all histories, and in all files that the
// environment wrote, its logs included. The files are looked at once more when the shared environment is closed.
func TestNoTokenLeavesATrace(t *testing.T) {
	d := shared(t)
	team := d.team(t, "alice@acme.example", "carol@acme.example")
	alice, carol := team[0], team[1]
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", "traces-1", "--input", `{"service":"x","version":"1"}`, "--wait")
	if r := alice.run(t, "run", "start", "deploy", "--namespace", "payments"); r.code != 3 {
		t.Errorf("alice may start in payments: %v", r)
	}
	// A sweep that finds nothing proves nothing unless it finds what is there.
	if found := secrets.find([]byte("x" + alice.token(t) + "y")); len(found) == 0 {
		t.Fatal("the search does not find alice's own token")
	}

	ctx := patience(t)
	histories := 0
	for _, namespace := range []string{"default", "payments", "deploy"} {
		c := sdkClient(t, d, carol.token(t), namespace)
		defer c.Close()
		list := &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace}
		for {
			page, err := c.WorkflowService().ListWorkflowExecutions(ctx, list)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.GetExecutions() {
				events := c.GetWorkflowHistory(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
				for events.HasNext() {
					event, err := events.Next()
					if err != nil {
						t.Fatal(err)
					}
					raw, err := proto.Marshal(event)
					if err != nil {
						t.Fatal(err)
					}
					secrets.expectNone(t, "the history of "+id(e.GetExecution()), raw)
				}
				histories++
			}
			if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
				break
			}
		}
	}
	if histories == 0 {
		t.Error("no history was looked at")
	}
	problems := secrets.sweep(d.settings)
	for _, p := range problems {
		t.Error(p)
	}
	t.Logf("looked through %d histories for %d pieces of secrets", histories, secrets.size())
}

func id(e *commonpb.WorkflowExecution) string { return e.GetWorkflowId() + "/" + e.GetRunId() }
