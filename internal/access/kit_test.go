package access

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

const issuer = "https://acme.example/oauth2/default"

func claims(login string, groups ...string) identity.Claims {
	name, _, _ := strings.Cut(login, "@")
	return identity.Claims{Issuer: issuer, Kind: identity.User, ID: "00u" + name, Login: login, ClientID: "0oacli", Groups: groups, TokenID: "AT." + name}
}

var (
	alice = claims("alice@acme.example", "temporal:payments:read")
	bob   = claims("bob@acme.example", "temporal:payments:approver")
	frank = claims("frank@acme.example")
	carol = claims("carol@acme.example", "temporal:payments:admin")
	dave  = claims("dave@acme.example", "temporal:payments:approver")
)

// world is everything that a request's activities touch, and what of it does not work at the moment.
type world struct {
	mu       sync.Mutex // guards all below
	entries  []audit.Entry
	events   []standing.Event
	state    standing.State // what a gate knows
	members  map[string][]string
	notices  []Notice
	people   map[string]standing.Person
	managers map[string]string // principal → principal
	unfit    map[string]string // principal and action → why policy does not let them any more
	journal  error
	feed     error
	groups   error
	ask      error // of the directory
	channels []string
	temporal *fakeTemporal
	deliver  error

	lost func(deed string) bool // does nothing and fails
	mute func(deed string) bool // does it and fails
	now  func() time.Time
}

func newWorld() *world {
	return &world{members: map[string][]string{}, people: map[string]standing.Person{}, unfit: map[string]string{}, managers: map[string]string{}, temporal: &fakeTemporal{}, lost: never, mute: never, now: time.Now}
}

func never(string) bool { return false }

var errBroken = errors.New("broken on purpose")

// do is one deed: it may be lost, done, or done without word of it.
func (w *world) do(deed string, broken error, f func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if broken != nil {
		return broken
	}
	if w.lost(deed) {
		return errBroken
	}
	f()
	if w.mute(deed) {
		return errBroken
	}
	return nil
}

func (w *world) Record(_ context.Context, e audit.Entry) (string, error) {
	return e.ID, w.do("record", w.journal, func() { w.entries = append(w.entries, e) })
}

func (w *world) Put(_ context.Context, e standing.Event) (uint64, error) {
	if err := e.Validate(); err != nil {
		return 0, err
	}
	err := w.do("publish "+string(e.Kind), w.feed, func() {
		if slices.ContainsFunc(w.events, func(o standing.Event) bool { return o.ID == e.ID }) {
			return
		}
		e.Seq = uint64(len(w.events) + 1)
		w.events = append(w.events, e)
		if err := w.state.Apply(e); err != nil {
			panic(err)
		}
	})
	return e.Seq, err
}

func (w *world) Live(context.Context) (out []*standing.Grant, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Live(w.now()), nil
}

func (w *world) Manager(_ context.Context, principal string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.managers[principal], nil
}

func (w *world) Person(_ context.Context, principal string) (standing.Person, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.people[principal]
	return p, ok, w.ask
}

func (w *world) Channels() []string { return w.channels }

func (w *world) Notify(_ context.Context, channel string, n Notice) error {
	return w.do("notify", w.deliver, func() { w.notices = append(w.notices, n) })
}

func (w *world) Add(_ context.Context, group, user string) error {
	return w.do("add", w.groups, func() {
		if !slices.Contains(w.members[group], user) {
			w.members[group] = append(w.members[group], user)
		}
	})
}

func (w *world) Remove(_ context.Context, group, user string) error {
	return w.do("remove", w.groups, func() {
		w.members[group] = slices.DeleteFunc(w.members[group], func(u string) bool { return u == user })
	})
}

func (w *world) Members(_ context.Context, group string) (out []string, err error) {
	err = w.do("members", w.groups, func() { out = slices.Clone(w.members[group]) })
	return out, err
}

// set changes something while activities may run.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// judge is policy as the recheck asks it: everybody may, but for those named; who approves must be in an approvers' or admins' group.
func (w *world) judge(r policy.Request) policy.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why := w.unfit[r.Principal.Principal()+" "+r.Action]; why != "" {
		return policy.Decision{Code: policy.CodeForbidden, Reasons: []string{why}}
	}
	if r.Action == ActionApprove && r.Context.Manager != "" && r.Context.Manager == r.Principal.Principal() {
		return policy.Decision{Allow: true, Code: policy.CodeAllowed}
	}
	if r.Action == ActionApprove && !slices.ContainsFunc(r.Principal.Groups, func(g string) bool { return strings.HasSuffix(g, ":approver") || strings.HasSuffix(g, ":admin") }) {
		return policy.Decision{Code: policy.CodeNoPermission}
	}
	return policy.Decision{Allow: true, Code: policy.CodeAllowed}
}

type judgeFunc func(policy.Request) policy.Decision

func (f judgeFunc) Decide(r policy.Request) policy.Decision { return f(r) }

type noDecider struct{}

func (noDecider) Decide(context.Context, identity.Identity, policy.Request) (policy.Decision, string) {
	panic("activities decide nothing anew")
}

func (w *world) service(t testing.TB) *Service {
	t.Helper()
	s, err := New(Config{Decider: noDecider{}, Judge: judgeFunc(w.judge), Recorder: w, Publisher: w, Grants: w, Directory: w, Groups: w, Notifier: w, Standing: &w.state, Clock: func() time.Time { return w.now() }})
	if err != nil {
		t.Fatal(err)
	}
	s.Connect(w.temporal)
	return s
}

// run is one request in Temporal's test environment, whose clock skips what nothing happens in.
type run struct {
	*testing.T
	*world
	env *testsuite.TestWorkflowEnvironment
	c   Case
}

func newRun(t *testing.T, edit ...func(*Case)) *run {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	r := &run{T: t, world: newWorld(), env: suite.NewTestWorkflowEnvironment()}
	r.now = r.env.Now
	r.env.SetTestTimeout(20 * time.Second)
	r.env.SetDataConverter(converter.GetDefaultDataConverter())
	r.world.service(t).Register(r.env)
	rules := DefaultRules()
	r.c = Case{Version: CaseVersion, Requester: alice, At: r.env.Now(), Rules: rules, Backend: Native,
		Asked: Asked{Version: AskedVersion, ID: "ar-aaaaaaaaaaaa", Principal: alice.Principal(), Login: alice.Login, Namespace: "payments", Role: "write", Seconds: 1800, Reason: "INC-123"}}
	for _, f := range edit {
		f(&r.c)
	}
	if r.c.Digest == "" {
		r.c.Digest = r.c.Asked.Digest()
	}
	return r
}

// after does something when d has passed on the workflow's clock.
func (r *run) after(d time.Duration, f func()) { r.env.RegisterDelayedCallback(f, d) }

// outcome is what an update came to.
type outcome struct {
	view Request
	err  error
	done bool
}

func (o *outcome) code() string {
	if o.err == nil {
		return ""
	}
	var coded interface{ Type() string }
	if errors.As(o.err, &coded) {
		return coded.Type()
	}
	return o.err.Error()
}

func (o *outcome) Accept() {}
func (o *outcome) Reject(err error) {
	o.err, o.done = err, true
}
func (o *outcome) Complete(v any, err error) {
	o.done = true
	if o.err = err; err == nil {
		o.view = v.(Request)
	}
}

// act sends an update when d has passed.
func (r *run) act(d time.Duration, update string, a Act) *outcome {
	o := &outcome{}
	r.after(d, func() {
		if a.At.IsZero() {
			a.At = r.env.Now()
		}
		r.env.UpdateWorkflow(update, "", o, a)
	})
	return o
}

func (r *run) approve(d time.Duration, by identity.Claims) *outcome {
	return r.act(d, updateApprove, Act{By: by, Digest: r.c.Digest})
}

// result runs the request to its end.
func (r *run) result() (out Request) {
	r.Helper()
	r.env.ExecuteWorkflow(WorkflowName, r.c)
	if !r.env.IsWorkflowCompleted() {
		r.Fatal("the workflow goes on")
	}
	if err := r.env.GetWorkflowError(); err != nil {
		r.Fatal(err)
	}
	if err := r.env.GetWorkflowResult(&out); err != nil {
		r.Fatal(err)
	}
	return out
}

// story is the events on record, each once, in order.
func (w *world) story() string {
	var out []string
	seen := map[string]bool{}
	for _, e := range w.entries {
		if !seen[e.ID] {
			seen[e.ID] = true
			out = append(out, e.Detail["event"])
		}
	}
	return strings.Join(out, " ")
}

// honoured reports whether a gate would honour the grant at a time.
func (r *run) honoured(at time.Time) bool { return len(r.state.Grants(alice.Principal(), at)) > 0 }

func (r *run) wants(got, want any, what string) {
	r.Helper()
	if got != want {
		r.Errorf("%s: %v, want %v", what, got, want)
	}
}

// fakeTemporal answers lists, and nothing else.
type fakeTemporal struct {
	client.Client
	runs   []Request
	closed map[string]bool // runs that somebody has terminated
}

func (f *fakeTemporal) DescribeWorkflowExecution(_ context.Context, id, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	status := enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	if f.closed[id] {
		status = enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: status}}, nil
}

func (f *fakeTemporal) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	res := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, r := range f.runs {
		p, err := converter.GetDefaultDataConverter().ToPayload(r)
		if err != nil {
			return nil, err
		}
		res.Executions = append(res.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: r.Asked.ID}, Memo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{memoKey: p}}})
	}
	return res, nil
}
