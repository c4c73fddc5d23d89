package serverplugin

import (
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	tokenspb "go.temporal.io/server/api/token/v1"
	"go.temporal.io/server/common/tasktoken"
	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// Tokens are made by the server's own package here, so that a new form of them fails this test and not a user's worker.
func TestTaskTokens(t *testing.T) {
	tokens := tasktoken.NewSerializer()
	must := func(raw []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	workflow := must(tokens.Serialize(tasktoken.NewWorkflowTaskToken("ns-id", "ship-1", "run-1", 5, 6, nil, 1, nil, 0)))
	activity := must(tokens.Serialize(tasktoken.NewActivityTaskToken("ns-id", "ship-1", "run-1", 7, "a", "push", 1, nil, 0, 0, nil, 0)))
	alone := must(tokens.Serialize(tasktoken.NewActivityTaskToken("ns-id", "", "run-2", 0, "alone", "push", 1, nil, 0, 0, []byte("ref"), 0)))
	query := must(tokens.SerializeQueryTaskToken(&tokenspb.QueryTask{NamespaceId: "ns-id", TaskQueue: "/_sys/deploy/1", TaskId: "t"}))
	nexus := must(tokens.SerializeNexusTaskToken(&tokenspb.NexusTask{NamespaceId: "ns-id", TaskQueue: "deploy", TaskId: "t"}))
	for name, tc := range map[string]struct {
		req  any
		want *gate.Task
	}{
		"workflow task":       {&workflowservice.RespondWorkflowTaskCompletedRequest{TaskToken: workflow}, &gate.Task{WorkflowID: "ship-1", RunID: "run-1", ScheduledEventID: 5}},
		"failed":              {&workflowservice.RespondWorkflowTaskFailedRequest{TaskToken: workflow}, &gate.Task{WorkflowID: "ship-1", RunID: "run-1", ScheduledEventID: 5}},
		"activity":            {&workflowservice.RespondActivityTaskCompletedRequest{TaskToken: activity}, &gate.Task{WorkflowID: "ship-1", RunID: "run-1", ActivityID: "a", ActivityType: "push", ScheduledEventID: 7}},
		"heartbeat":           {&workflowservice.RecordActivityTaskHeartbeatRequest{TaskToken: activity}, &gate.Task{WorkflowID: "ship-1", RunID: "run-1", ActivityID: "a", ActivityType: "push", ScheduledEventID: 7}},
		"standalone activity": {&workflowservice.RespondActivityTaskFailedRequest{TaskToken: alone}, &gate.Task{RunID: "run-2", ActivityID: "alone", ActivityType: "push"}},
		"query":               {&workflowservice.RespondQueryTaskCompletedRequest{TaskToken: query}, &gate.Task{TaskQueue: "/_sys/deploy/1"}},
		"nexus":               {&workflowservice.RespondNexusTaskCompletedRequest{TaskToken: nexus}, &gate.Task{TaskQueue: "deploy"}},
		"nexus failed":        {&workflowservice.RespondNexusTaskFailedRequest{TaskToken: nexus}, &gate.Task{TaskQueue: "deploy"}},
		"no token":            {&workflowservice.RespondActivityTaskCompletedRequest{}, nil},
		"garbage":             {&workflowservice.RespondActivityTaskCompletedRequest{TaskToken: []byte("\xff\xff")}, nil},
		"no task at all":      {&workflowservice.StartWorkflowExecutionRequest{}, nil},
		"no request":          {nil, nil},
	} {
		got := taskOf(tc.req)
		if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// FuzzTaskToken reads any bytes as any kind of token. What it reads must be what the server would read.
func FuzzTaskToken(f *testing.F) {
	raw, err := tasktoken.NewSerializer().Serialize(tasktoken.NewActivityTaskToken("ns-id", "ship-1", "run-1", 7, "a", "push", 1, nil, 0, 0, nil, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("\x0a"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		task := taskOf(&workflowservice.RespondActivityTaskCompletedRequest{TaskToken: raw})
		var server tokenspb.Task
		readable := len(raw) > 0 && proto.Unmarshal(raw, &server) == nil
		if (task != nil) != readable || task != nil && (task.WorkflowID != server.GetWorkflowId() || task.RunID != server.GetRunId() || task.ActivityID != server.GetActivityId()) {
			t.Errorf("read as %+v; the server reads %v", task, &server)
		}
		taskOf(&workflowservice.RespondQueryTaskCompletedRequest{TaskToken: raw})
		taskOf(&workflowservice.RespondNexusTaskCompletedRequest{TaskToken: raw})
	})
}
