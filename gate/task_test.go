package gate_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
)

const confinedRoles = `version: 1
clients:
  - id: 0oaconfinedworker001
    roles: { deploy: worker }
    task_queues: [deploy]
  - id: 0oadeployworker00001
    roles: { deploy: worker }
`

// confined is a gate whose worker takes tasks from the queue "deploy" only.
func confined(t *testing.T, runs gate.Resolver) *kit {
	k := newKitWith(t, "", gate.Config{Runs: runs})
	if err := os.WriteFile(filepath.Join(k.policies, policy.RolesFile), []byte(confinedRoles), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.engine.Reload(); err != nil {
		t.Fatal(err)
	}
	return k
}

// A confined worker answers only tasks of its queues, by whatever token or id it comes.
func TestAnswersAreConfined(t *testing.T) {
	started := func(queue string) *historypb.WorkflowExecutionStartedEventAttributes {
		return &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, TaskQueue: &taskqueuepb.TaskQueue{Name: queue}}
	}
	runs := &resolver{
		runs: map[string]gate.Execution{
			"ship-1": {RunID: "run-1", Type: "deploy", TaskQueue: "deploy", Running: true}, "ship-1/run-1": {RunID: "run-1", Type: "deploy", TaskQueue: "deploy", Running: true},
			"pay-1": {RunID: "run-1", Type: "pay", TaskQueue: "billing", Running: true}, "pay-1/run-1": {RunID: "run-1", Type: "pay", TaskQueue: "billing", Running: true},
		},
		started: map[string]*historypb.WorkflowExecutionStartedEventAttributes{"ship-1/run-1": started("deploy"), "pay-1/run-1": started("billing")},
		queues:  map[string]string{"ship-1/a": "deploy", "ship-1/b": "billing", "pay-1/a": "deploy", "/alone": "deploy"},
	}
	k := confined(t, runs)
	task := func(workflow, activity string) *gate.Task {
		return &gate.Task{WorkflowID: workflow, RunID: "run-1", ActivityID: activity}
	}
	for _, tc := range []struct {
		name, method string
		req          proto.Message
		task         *gate.Task
		want         string // code; empty: allowed
	}{
		{"own run", "RespondWorkflowTaskCompleted", &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("ship-1", ""), ""},
		{"another queue's run", "RespondWorkflowTaskCompleted", &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("pay-1", ""), "no_permission"},
		{"failing another queue's run", "RespondWorkflowTaskFailed", &workflowservice.RespondWorkflowTaskFailedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("pay-1", ""), "no_permission"},
		{"a run that is not there", "RespondWorkflowTaskCompleted", &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("gone-1", ""), "unresolved"},
		{"own activity", "RespondActivityTaskCompleted", &workflowservice.RespondActivityTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("ship-1", "a"), ""},
		{"own activity of another's run", "RespondActivityTaskFailed", &workflowservice.RespondActivityTaskFailedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("pay-1", "a"), ""},
		{"another queue's activity of an own run", "RespondActivityTaskCompleted", &workflowservice.RespondActivityTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("ship-1", "b"), "no_permission"},
		{"heartbeat of another queue's", "RecordActivityTaskHeartbeat", &workflowservice.RecordActivityTaskHeartbeatRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("ship-1", "b"), "no_permission"},
		{"unknown activity", "RespondActivityTaskCompleted", &workflowservice.RespondActivityTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, task("ship-1", "z"), "unresolved"},
		{"by id", "RespondActivityTaskCompletedById", &workflowservice.RespondActivityTaskCompletedByIdRequest{Namespace: "deploy", WorkflowId: "ship-1", ActivityId: "a"}, nil, ""},
		{"another queue's by id", "RespondActivityTaskCompletedById", &workflowservice.RespondActivityTaskCompletedByIdRequest{Namespace: "deploy", WorkflowId: "ship-1", ActivityId: "b"}, nil, "no_permission"},
		{"another queue's heartbeat by id", "RecordActivityTaskHeartbeatById", &workflowservice.RecordActivityTaskHeartbeatByIdRequest{Namespace: "deploy", WorkflowId: "ship-1", ActivityId: "b"}, nil, "no_permission"},
		{"standalone by id", "RespondActivityTaskCompletedById", &workflowservice.RespondActivityTaskCompletedByIdRequest{Namespace: "deploy", ActivityId: "alone"}, nil, ""},
		{"own query", "RespondQueryTaskCompleted", &workflowservice.RespondQueryTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, &gate.Task{TaskQueue: "/_sys/deploy/3"}, ""},
		{"another queue's query", "RespondQueryTaskCompleted", &workflowservice.RespondQueryTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, &gate.Task{TaskQueue: "billing"}, "no_permission"},
		{"a token that can't be read", "RespondActivityTaskCompleted", &workflowservice.RespondActivityTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte("t")}, nil, "no_permission"},
	} {
		for who, want := range map[string]string{"0oaconfinedworker001": tc.want, deployWorker: ""} {
			c := k.call(tc.method, tc.req, k.issuer.Client(who))
			c.Task = tc.task
			_, err := k.Admit(t.Context(), c)
			code := ""
			if d, ok := errors.AsType[*gate.Denial](err); ok {
				code = d.Code
			}
			if code != want {
				t.Errorf("%s as %s: %v, want code %q", tc.name, who, err, want)
			}
		}
	}
}

// The gate remembers where a task was taken from, and does not look it up.
func TestTasksTakenHereNeedNoLookUp(t *testing.T) {
	runs := &resolver{err: errors.New("must not be asked")}
	k := confined(t, runs)
	token := k.issuer.Client("0oaconfinedworker001")
	poll := &workflowservice.PollActivityTaskQueueRequest{Namespace: "deploy", TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"}}
	a, err := k.Admit(t.Context(), k.call("PollActivityTaskQueue", poll, token))
	if err != nil {
		t.Fatal(err)
	}
	k.Learn(a, poll, &workflowservice.PollActivityTaskQueueResponse{TaskToken: []byte("taken")})
	answer := func(token string) gate.Call {
		c := k.call("RespondActivityTaskCompleted", &workflowservice.RespondActivityTaskCompletedRequest{Namespace: "deploy", TaskToken: []byte(token)}, k.issuer.Client("0oaconfinedworker001"))
		c.Task = &gate.Task{WorkflowID: "ship-1", RunID: "run-1", ActivityID: "a"}
		return c
	}
	if _, err := k.Admit(t.Context(), answer("taken")); err != nil || runs.asked.Load() != 0 {
		t.Errorf("%v after %d look-ups", err, runs.asked.Load())
	}
	if _, err := k.Admit(t.Context(), answer("not taken")); denial(t, err).Code != "unresolved" {
		t.Errorf("a task that was taken elsewhere, with nobody to ask: %v", err)
	}
}
