package inflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"google.golang.org/grpc"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

const alice = "user:https://acme.example/oauth2/default|00ualice"

// run is one that the fake server has.
type run struct {
	namespace, id, typ, owner, login string // owner: whose the statement is; "": none verifies
	status                           enumspb.WorkflowExecutionStatus
	reason                           string // of the pause
}

type schedule struct {
	namespace, id, owner, notes string
	paused                      bool
}

// world is a Temporal server, a record, and what of both is broken.
type world struct {
	workflowservice.WorkflowServiceClient // whatever is not below is not called
	t                                     *testing.T

	mu         sync.Mutex // covers the rest
	runs       []*run
	schedules  []*schedule
	entries    map[string]audit.Entry
	order      []string
	noAttr     map[string]bool // namespaces without the search attributes
	unreadable map[string]int  // namespaces that can't be listed, how many times more
	deeds      []string
	adopted    map[string]string      // who took over a run, by its id
	lost       func(deed string) bool // the deed is done, or not, and the caller does not hear of it
}

// connection is the SDK's client of it.
type connection struct {
	client.Client // nothing else is called
	w             *world
}

func (c connection) WorkflowService() workflowservice.WorkflowServiceClient { return c.w }

// do does a deed. One that is "lost" fails before it, one that is "unheard" after it.
func (w *world) do(name string, f func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil && w.lost(name+"/before") {
		return serviceerror.NewUnavailable("lost on purpose")
	}
	f()
	if w.lost != nil && w.lost(name+"/after") {
		return serviceerror.NewUnavailable("unheard on purpose")
	}
	return nil
}

func (w *world) ListNamespaces(context.Context, *workflowservice.ListNamespacesRequest, ...grpc.CallOption) (*workflowservice.ListNamespacesResponse, error) {
	var out []*workflowservice.DescribeNamespaceResponse
	for _, n := range []string{"bailiwick", "temporal-system", "deploy", "payments"} {
		out = append(out, &workflowservice.DescribeNamespaceResponse{NamespaceInfo: &namespacepb.NamespaceInfo{Name: n}})
	}
	return &workflowservice.ListNamespacesResponse{Namespaces: out}, w.do("namespaces", func() {})
}

func text(s string) *commonpb.Payload {
	raw, _ := json.Marshal(s)
	return &commonpb.Payload{Data: raw}
}

func (w *world) ListWorkflowExecutions(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest, _ ...grpc.CallOption) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if strings.Contains(r.Query, fieldOriginator) && w.noAttr[r.Namespace] {
		return nil, serviceerror.NewInvalidArgument("no such search attribute")
	}
	var out []*workflowpb.WorkflowExecutionInfo
	var next []byte
	down := false
	err := w.do("list", func() {
		if down = w.unreadable[r.Namespace] > 0; down {
			w.unreadable[r.Namespace]--
		}
		from, _ := strconv.Atoi(string(r.NextPageToken)) // a place in the list, not a count: what has ended meanwhile moves nothing
		for i, x := range w.runs[from:] {
			if len(out) == int(r.PageSize) {
				next = strconv.AppendInt(nil, int64(from+i), 10)
				return
			}
			open := x.status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING || x.status == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
			if x.namespace != r.Namespace || !open || strings.Contains(r.Query, fieldOriginator) && !strings.Contains(r.Query, "'"+x.login+"'") {
				continue
			}
			info := &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: x.id, RunId: "run-" + x.id}, Type: &commonpb.WorkflowType{Name: x.typ}, Status: x.status}
			if fields := map[string]*commonpb.Payload{fieldOriginator: text(x.login)}; w.noAttr[x.namespace] {
				info.Memo = &commonpb.Memo{Fields: fields}
			} else {
				info.SearchAttributes = &commonpb.SearchAttributes{IndexedFields: fields}
			}
			out = append(out, info)
		}
	})
	if err == nil && down {
		err = serviceerror.NewUnavailable("down on purpose")
	}
	return &workflowservice.ListWorkflowExecutionsResponse{Executions: out, NextPageToken: next}, err
}

func (w *world) find(id string) *run {
	for _, x := range w.runs {
		if x.id == id {
			return x
		}
	}
	w.t.Errorf("no run %s", id)
	return &run{}
}

func header(owner string) *commonpb.Header {
	return &commonpb.Header{Fields: map[string]*commonpb.Payload{headerKey: {Data: []byte(owner)}}}
}

func (w *world) GetWorkflowExecutionHistory(_ context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest, _ ...grpc.CallOption) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	started := &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Header: header(w.find(r.Execution.WorkflowId).owner)}}
	return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: []*historypb.HistoryEvent{{Attributes: started}}}}, nil
}

func (w *world) DescribeWorkflowExecution(_ context.Context, r *workflowservice.DescribeWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.find(r.Execution.WorkflowId)
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: x.status},
		WorkflowExtendedInfo: &workflowpb.WorkflowExecutionExtendedInfo{PauseInfo: &workflowpb.WorkflowExecutionPauseInfo{Reason: x.reason}}}, nil
}

func (w *world) set(what, id string, status enumspb.WorkflowExecutionStatus, reason string) error {
	return w.do(what+" "+id, func() {
		x := w.find(id)
		w.deeds = append(w.deeds, what+" "+id)
		x.status, x.reason = status, reason
	})
}

func (w *world) PauseWorkflowExecution(_ context.Context, r *workflowservice.PauseWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.PauseWorkflowExecutionResponse, error) {
	return nil, w.set("pause", r.WorkflowId, enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED, r.Reason)
}

func (w *world) UnpauseWorkflowExecution(_ context.Context, r *workflowservice.UnpauseWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.UnpauseWorkflowExecutionResponse, error) {
	return nil, w.set("unpause", r.WorkflowId, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, "")
}

func (w *world) RequestCancelWorkflowExecution(_ context.Context, r *workflowservice.RequestCancelWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.RequestCancelWorkflowExecutionResponse, error) {
	return nil, w.set("cancel", r.WorkflowExecution.WorkflowId, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, "")
}

func (w *world) TerminateWorkflowExecution(_ context.Context, r *workflowservice.TerminateWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.TerminateWorkflowExecutionResponse, error) {
	return nil, w.set("terminate", r.WorkflowExecution.WorkflowId, enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, "")
}

func (w *world) ListSchedules(_ context.Context, r *workflowservice.ListSchedulesRequest, _ ...grpc.CallOption) (*workflowservice.ListSchedulesResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*schedulepb.ScheduleListEntry
	for _, s := range w.schedules {
		if s.namespace == r.Namespace {
			out = append(out, &schedulepb.ScheduleListEntry{ScheduleId: s.id})
		}
	}
	return &workflowservice.ListSchedulesResponse{Schedules: out}, nil
}

func (w *world) schedule(id string) *schedule {
	return w.schedules[slices.IndexFunc(w.schedules, func(s *schedule) bool { return s.id == id })]
}

func (w *world) DescribeSchedule(_ context.Context, r *workflowservice.DescribeScheduleRequest, _ ...grpc.CallOption) (*workflowservice.DescribeScheduleResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.schedule(r.ScheduleId)
	start := &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{WorkflowType: &commonpb.WorkflowType{Name: "report"}, Header: header(s.owner)}}
	return &workflowservice.DescribeScheduleResponse{Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{Action: start}, State: &schedulepb.ScheduleState{Paused: s.paused, Notes: s.notes}}}, nil
}

func (w *world) PatchSchedule(_ context.Context, r *workflowservice.PatchScheduleRequest, _ ...grpc.CallOption) (*workflowservice.PatchScheduleResponse, error) {
	what, note := "pause", r.Patch.Pause
	if r.Patch.Unpause != "" {
		what, note = "unpause", r.Patch.Unpause
	}
	return nil, w.do(what+" "+r.ScheduleId, func() {
		s := w.schedule(r.ScheduleId)
		w.deeds = append(w.deeds, what+" "+r.ScheduleId)
		s.paused, s.notes = what == "pause", note
	})
}

func (w *world) Record(_ context.Context, e audit.Entry) (string, error) {
	return e.ID, w.do("record "+e.Detail["event"]+" "+e.Resource.WorkflowID+e.Resource.ScheduleID, func() {
		if _, twice := w.entries[e.ID]; !twice {
			w.order = append(w.order, e.Detail["event"]+" "+e.Resource.WorkflowID+e.Resource.ScheduleID)
		}
		w.entries[e.ID] = e
	})
}

// service is one over the world, with rules.
func (w *world) service(rules string) *Service {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "in-flight.yaml")
	if rules != "" {
		if err := os.WriteFile(file, []byte("version: 1\n"+rules), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	s, err := New(Config{File: file, Namespace: "bailiwick", TaskQueue: "q", Recorder: w,
		Parties: func(_ context.Context, p *commonpb.Payload) ([]string, error) {
			if len(p.Data) == 0 {
				return nil, errors.New("does not verify")
			}
			return strings.Split(string(p.Data), ","), nil
		},
		Owner: func(_ context.Context, _ workflowservice.WorkflowServiceClient, t Target, former string) (string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if former != alice {
				w.t.Errorf("asked for the owner of %+v after %s", t, former)
			}
			return w.adopted[t.WorkflowID], nil
		},
		Reason: func(ctx context.Context, _ string) context.Context { return ctx }})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Connect(connection{w: w})
	return s
}

func newWorld(t *testing.T) *world {
	running := enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	w := &world{t: t, entries: map[string]audit.Entry{}, noAttr: map[string]bool{}, unreadable: map[string]int{}}
	for _, r := range []run{
		{"deploy", "d-1", "deploy", alice, "alice@acme.example", running, ""},
		{"deploy", "d-agent", "deploy", "client:agent," + alice, "alice@acme.example", running, ""}, // somebody acts for her
		{"deploy", "d-bob", "deploy", "user:https://acme.example/oauth2/default|00ubob", "bob@acme.example", running, ""},
		{"deploy", "d-liar", "deploy", "user:https://acme.example/oauth2/default|00ubob", "alice@acme.example", running, ""}, // an attribute is no proof
		{"deploy", "d-unverified", "deploy", "", "alice@acme.example", running, ""},
		{"deploy", "d-over", "deploy", alice, "alice@acme.example", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, ""},
		{"deploy", "d-paused", "deploy", alice, "alice@acme.example", enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED, "lunch"},
		{"payments", "p-1", "refund", alice, "alice@acme.example", running, ""},
		{"payments", "p-2", "audit", alice, "00ualice", running, ""}, // from before she had a login here
	} {
		w.runs = append(w.runs, &r)
	}
	w.schedules = []*schedule{{"deploy", "s-1", alice, "", false}, {"deploy", "s-bob", "user:bob", "", false}, {"deploy", "s-paused", alice, "holidays", true}}
	return w
}

var at = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func loss(reason string) revocation.Loss {
	return revocation.Loss{Principal: alice, Login: "alice@acme.example", Reason: reason, Source: "event_hook", SourceEvent: "uuid-1", At: at}
}

// env runs the workflow with news at instants, and returns what became of it.
func (w *world) env(s *Service, news ...func(*testsuite.TestWorkflowEnvironment)) {
	w.t.Helper()
	if env := w.runOf(s, Case{Version: caseVersion, Principal: alice}, news...); !env.IsWorkflowCompleted() || env.GetWorkflowError() != nil {
		w.t.Fatalf("the workflow ended with %v", env.GetWorkflowError())
	}
}

// runOf is one run of the workflow.
func (w *world) runOf(s *Service, c Case, news ...func(*testsuite.TestWorkflowEnvironment)) *environment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	s.Register(env)
	for _, n := range news {
		n(env)
	}
	env.ExecuteWorkflow(Workflow, c)
	return env
}

type environment = testsuite.TestWorkflowEnvironment

func after(d time.Duration, c change) func(*testsuite.TestWorkflowEnvironment) {
	return func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(signalChange, c) }, d)
	}
}

// told counts the records, sorted.
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.order)
	slices.Sort(out)
	return out
}

func (w *world) states() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, r := range w.runs {
		out = append(out, fmt.Sprintf("%s:%v", r.id, r.status))
	}
	for _, s := range w.schedules {
		out = append(out, fmt.Sprintf("%s:%v", s.id, s.paused))
	}
	return strings.Join(out, " ")
}
