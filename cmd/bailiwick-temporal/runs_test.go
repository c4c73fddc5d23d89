package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// withPolicy puts a policy in force beside the others until the returned function takes it away.
func (e *environment) withPolicy(t *testing.T, text string) (takeAway func()) {
	t.Helper()
	file := filepath.Join(e.cfg.PolicyDir, "for-a-test.cedar")
	wait := func(from string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); e.server.plugin.PolicyStatus().Digest == from; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the policy was not taken: %+v", e.server.plugin.PolicyStatus())
			}
		}
	}
	before := e.server.plugin.PolicyStatus().Digest
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(before)
	return func() {
		t.Helper()
		with := e.server.plugin.PolicyStatus().Digest
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		wait(with)
	}
}

// testRuns forbids an act on workflows of one type, though requests name only an id.
func (e *environment) testRuns(t *testing.T) {
	defer e.withPolicy(t, `@id("deploys-undisturbed") @reason("deploys are not to be disturbed")
forbid (principal, action in [Action::"SignalWorkflowExecution", Action::"UpdateWorkflowExecution"], resource in Namespace::"payments")
when { resource has type && resource.type == "deploy" };`)()
	w := e.wire(t)
	begin := func(id, typ string) string {
		t.Helper()
		req := start("payments", id, typ)
		req.TaskQueue = &taskqueuepb.TaskQueue{Name: "nobody-polls-this"} // it stays open
		req.RequestId = ""
		req.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
		resp, err := w.StartWorkflowExecution(as(t, e.alice, "bailiwick-reason", "a test"), req)
		if err != nil {
			t.Fatalf("starting %s of type %s: %v", id, typ, err)
		}
		return resp.GetRunId()
	}
	signal := func(id string) error {
		_, err := w.SignalWorkflowExecution(as(t, e.alice), &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: "payments", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id}, SignalName: "go",
		})
		return err
	}
	signals := func(id, run string) (n int, last attest.Statement) {
		t.Helper()
		for _, event := range e.history(t, id, run) {
			if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED {
				n++
				last = e.attested(t, event.GetWorkflowExecutionSignaledEventAttributes().GetHeader())
			}
		}
		return n, last
	}

	deploy, tea := begin("ship-1", "deploy"), begin("tea-1", "tea")
	if err := signal("ship-1"); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "not to be disturbed") {
		t.Errorf("signalling a deploy: %v", err)
	}
	if err := signal("tea-1"); err != nil {
		t.Errorf("signalling another: %v", err)
	}
	if n, _ := signals("ship-1", deploy); n != 0 {
		t.Errorf("the deploy got %d signals", n)
	}
	if n, s := signals("tea-1", tea); n != 1 || s.Binding.RunID != tea {
		t.Errorf("the other got %d signals, the last attested for run %q", n, s.Binding.RunID)
	}
	var seen *policy.Resource
	for _, entry := range e.journal(t) {
		if entry.Action == "SignalWorkflowExecution" && entry.Resource.WorkflowID == "tea-1" {
			seen = &entry.Resource
		}
	}
	if seen == nil || seen.WorkflowType != "tea" || seen.RunID != tea || seen.TaskQueue != "nobody-polls-this" {
		t.Errorf("recorded as %+v", seen)
	}
	if err := signal("nowhere"); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "not_found") {
		t.Errorf("signalling nobody: %v", err)
	}
	_, err := w.SignalWithStartWorkflowExecution(as(t, e.alice), &workflowservice.SignalWithStartWorkflowExecutionRequest{
		Namespace: "payments", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "tea"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "nobody-polls-this"}, SignalName: "go",
	})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("signal-with-start that names another type: %v", err)
	}

	t.Run("id used again", func(t *testing.T) {
		// The id goes from type to type while it is signalled. Whatever a signal was decided on is what it must reach.
		runs := map[string]string{begin("race-1", "tea"): "tea"} // run id → type
		stop := make(chan struct{})
		var group sync.WaitGroup
		var mu sync.Mutex
		outcomes := map[codes.Code]int{}
		for range 4 {
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					err := signal("race-1")
					mu.Lock()
					outcomes[status.Code(err)]++
					mu.Unlock()
				}
			})
		}
		count := func(code codes.Code) int {
			mu.Lock()
			defer mu.Unlock()
			return outcomes[code]
		}
		happened := func() bool {
			return count(codes.OK) > 0 && count(codes.PermissionDenied) > 0 && count(codes.Unavailable) > 0
		}
		for i := 0; i < 24 || i < 500 && !happened(); i++ {
			typ := []string{"tea", "deploy"}[i%2]
			runs[begin("race-1", typ)] = typ
			time.Sleep(time.Duration(20+i%24*9) * time.Millisecond) // sometimes within what the gate remembers, sometimes beyond
		}
		close(stop)
		group.Wait()
		reached := 0
		for run, typ := range runs {
			n, _ := signals("race-1", run)
			if typ == "deploy" && n > 0 {
				t.Errorf("a deploy got %d signals", n)
			}
			reached += n
		}
		t.Logf("%d signals reached runs of the other type; outcomes %v", reached, outcomes)
		if reached == 0 || !happened() || outcomes[codes.NotFound] > 0 {
			t.Error("signals did not reach tea, were not refused, or were not told to ask again when the run had changed")
		}
	})
}

// testDetours takes, on a real server, the ways around a forbidden act that the gate takes apart.
func (e *environment) testDetours(t *testing.T) {
	defer e.withPolicy(t, `@id("no-signals") @reason("no signals today") forbid (principal, action == Action::"SignalWorkflowExecution", resource in Namespace::"payments");`)()
	w := e.wire(t)
	before := len(e.journal(t))
	batch := func(change func(*workflowservice.StartBatchOperationRequest)) error {
		req := &workflowservice.StartBatchOperationRequest{Namespace: "payments", JobId: fmt.Sprint("job-", time.Now().UnixNano()), Reason: "a test",
			Operation: &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{Signal: "go"}}}
		change(req)
		_, err := w.StartBatchOperation(as(t, e.alice, "bailiwick-reason", "a test"), req)
		return err
	}
	for name, err := range map[string]error{
		"by query": batch(func(r *workflowservice.StartBatchOperationRequest) { r.VisibilityQuery = "WorkflowType = 'tea'" }),
		"by name": batch(func(r *workflowservice.StartBatchOperationRequest) {
			r.TargetExecutions = []*commonpb.Execution{{Type: enumspb.EXECUTION_TYPE_WORKFLOW, BusinessId: "tea-1"}}
		}),
	} {
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "no signals today") {
			t.Errorf("a batch of signals %s: %v", name, err)
		}
	}
	e.eventually(t, "a record of the refused act", func() bool {
		return slices.ContainsFunc(e.journal(t)[before:], func(entry audit.Entry) bool {
			return entry.Action == "StartBatchOperation" && len(entry.Acts) == 1 && entry.Acts[0].Action == "SignalWorkflowExecution" && entry.Acts[0].Resource.WorkflowID == "tea-1"
		})
	})
}
