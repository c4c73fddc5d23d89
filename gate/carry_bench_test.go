package gate_test

import (
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// BenchmarkAnswer is a worker's answer with one activity, decided, recorded and stamped with its run's statement.
func BenchmarkAnswer(b *testing.B) {
	runs := &resolver{started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{}}
	k := newKitWith(b, "", gate.Config{Log: &queue{}, Runs: runs})
	start := startRequest()
	a, err := k.Admit(b.Context(), k.call("StartWorkflowExecution", start, k.alice()))
	if err != nil {
		b.Fatal(err)
	}
	if err := k.Stamp(a, start); err != nil {
		b.Fatal(err)
	}
	runs.started["ship-1/run-1"] = &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: start.WorkflowType, TaskQueue: start.TaskQueue, Header: start.Header}
	activity := &commandpb.ScheduleActivityTaskCommandAttributes{TaskQueue: start.TaskQueue}
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("token"), Commands: []*commandpb.Command{command(activity)}}
	c := k.call("RespondWorkflowTaskCompleted", req, k.issuer.Client(deployWorker))
	c.Task = &gate.Task{WorkflowID: "ship-1", RunID: "run-1"}
	b.ReportAllocs()
	for b.Loop() {
		activity.Header = nil
		a, err := k.Admit(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		if err := k.Stamp(a, req); err != nil {
			b.Fatal(err)
		}
	}
	if carried(activity.Header) == "" || runs.read.Load() != 1 {
		b.Fatal("nothing was carried, or the first event was read more than once")
	}
}
