package gate_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// directory is a Standing that knows one person.
type directory struct {
	person standing.Person
	barred bool
}

func (d *directory) Grants(string, time.Time) []*standing.Grant { return nil }

func (d *directory) Barred(c *identity.Claims, now time.Time) (standing.Bar, bool) {
	return standing.Bar{ID: "bar-1", Reason: "user_deactivated", Since: now}, d.barred && c.Login == "alice@acme.example"
}

func (d *directory) GroupsLost(*identity.Claims, time.Time) []string { return nil }

func (d *directory) Person(principal string) (standing.Person, bool) {
	return d.person, d.person.Principal == principal
}

func nightly() *workflowservice.CreateScheduleRequest {
	return &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "nightly", Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{
		Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{WorkflowId: "nightly-run", WorkflowType: &commonpb.WorkflowType{Name: "report"}}},
	}}}
}

// schedule is what alice creates.
func (k *kit) schedule(t *testing.T, req *workflowservice.CreateScheduleRequest) string {
	t.Helper()
	c := k.call("CreateSchedule", req, k.alice())
	c.Reason = []string{"CHG-9"}
	a, err := k.Admit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err != nil {
		t.Fatal(err)
	}
	return a.ID()
}

// fire is what Temporal sends when the schedule's time has come.
func (k *kit) fire(t *testing.T, from *workflowservice.CreateScheduleRequest, at time.Time) (*workflowservice.StartWorkflowExecutionRequest, error) {
	t.Helper()
	action := from.GetSchedule().GetAction().GetStartWorkflow()
	nominal := at.UTC().Truncate(time.Second).Format(time.RFC3339)
	req := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "deploy", WorkflowId: action.GetWorkflowId() + "-" + nominal, WorkflowType: action.GetWorkflowType(), Header: action.GetHeader(), Memo: action.GetMemo(),
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"TemporalScheduledById": keyword(from.GetScheduleId()), "TemporalScheduledStartTime": keyword(nominal)}},
	}
	a, err := k.AdmitSystem(t.Context(), gate.Call{Method: service + "StartWorkflowExecution", Request: req})
	if err != nil {
		return nil, err
	}
	return req, k.Stamp(a, req)
}

// A schedule starts what its creator may start now, not what they might when they made it.
func TestFiringsAreDecidedAnew(t *testing.T) {
	people := &directory{}
	dir := filepath.Join(t.TempDir(), "errands")
	k := newKitWith(t, "", gate.Config{Standing: people, StateDir: dir})
	req := nightly()
	id := k.schedule(t, req)
	refused := func(name, code string) {
		t.Helper()
		_, err := k.fire(t, req, time.Now())
		d := denial(t, err)
		e := k.log.last(t)
		if d.Code != code || e.Decision.Allow || e.Actor.Principal != "temporal:internal" || e.Resource.ScheduleID != "nightly" {
			t.Errorf("%s: %v; recorded as %+v %+v", name, err, e.Decision, e.Resource)
		}
		if code != gate.CodeCreatorUnknown && (e.Detail["originator_login"] != "alice@acme.example" || e.Detail["attestation"] != id) {
			t.Errorf("%s: recorded on behalf of %v", name, e.Detail)
		}
	}
	fires := func(name string) {
		t.Helper()
		if _, err := k.fire(t, req, time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if e := k.log.last(t); !k.log.durable[e.ID] || e.Detail["originator_login"] != "alice@acme.example" || e.Detail["attestation"] != id || e.Reason != "CHG-9" || e.Decision.Policies[0] != "write-role" {
			t.Errorf("%s: recorded as %+v", name, e)
		}
	}
	fires("created")

	principal := k.log.last(t).Detail["originator"]
	people.person = standing.Person{Principal: principal, Active: true, Groups: []string{"temporal:deploy:read"}, AsOf: time.Now().Add(time.Minute)}
	refused("creator only reads by now", "no_permission")
	people.person.AsOf = time.Now().Add(-time.Hour)
	fires("what the directory said before says nothing")
	people.person.AsOf, people.person.Groups = time.Now().Add(time.Minute), []string{"temporal:deploy:write"}
	fires("creator got it back")
	people.barred = true
	refused("creator was deactivated", gate.CodeRevoked)
	people.barred = false
	k.setPolicies(t, `@id("no-reports") forbid(principal, action == Action::"StartWorkflowExecution", resource) when { resource has type && resource.type == "report" };`)
	refused("policy has changed", "forbidden")
	k.setPolicies(t, "")

	// A gate that starts again knows.
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, _ := files[0].Info(); info.Mode().Perm() != 0o600 {
		t.Errorf("kept with mode %v", info.Mode())
	}
	raw, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil || !strings.Contains(string(raw), `"schedule_id":"nightly"`) {
		t.Fatalf("%s, %v", raw, err)
	}

	// What was kept is gone: the directory can stand in, and otherwise nobody answers.
	if err := os.Remove(filepath.Join(dir, files[0].Name())); err != nil {
		t.Fatal(err)
	}
	k.forgetErrands(t, dir, people)
	fires("known by the directory alone")
	people.person = standing.Person{}
	refused("known by nobody", gate.CodeCreatorUnknown)
}

// forgetErrands makes the gate anew, as a restart does.
func (k *kit) forgetErrands(t *testing.T, dir string, people gate.Standing) {
	t.Helper()
	var err error
	if k.Gate, err = gate.New(gate.Config{Name: "gate-1", Audience: "bailiwick:test", Verifier: k.verifier(t), Policy: k.engine, Signer: k.signer, Log: k.log, StateDir: dir, Standing: people}); err != nil {
		t.Fatal(err)
	}
}

func TestErrandsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	k := newKitWith(t, "", gate.Config{StateDir: dir})
	req := nightly()
	first := k.schedule(t, req)
	k.forgetErrands(t, dir, nil)
	if _, err := k.fire(t, req, time.Now()); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	// Whoever removes the file takes back who answers for it, at once.
	aside, err := os.ReadFile(filepath.Join(dir, first+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, first+".json")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.fire(t, req, time.Now()); denial(t, err).Code != gate.CodeCreatorUnknown {
		t.Errorf("after its file was removed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, first+".json"), aside, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.fire(t, req, time.Now()); err != nil {
		t.Errorf("after its file was put back: %v", err)
	}
	// Saved again, it is the newer one's from its first firing on.
	second := k.schedule(t, req)
	if _, err := os.Stat(filepath.Join(dir, first+".json")); err != nil {
		t.Errorf("the older one is gone before the newer one is known to be in force: %v", err)
	}
	if _, err := k.fire(t, req, time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, first+".json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the older one is kept: %v", err)
	}
	gone := &workflowservice.DeleteScheduleRequest{Namespace: "deploy", ScheduleId: "nightly"}
	a, err := k.Admit(t.Context(), k.call("DeleteSchedule", gone, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	k.Learn(a, gone, &workflowservice.DeleteScheduleResponse{})
	if _, err := os.Stat(filepath.Join(dir, second+".json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a deleted schedule's creator said is kept: %v", err)
	}

	// A damaged file is told of at the start, not when the schedule stops.
	if err := os.WriteFile(filepath.Join(dir, first+".json"), []byte(`{"v":1`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.New(gate.Config{Name: "g", Audience: "a", Verifier: k.verifier(t), Policy: k.engine, Signer: k.signer, Log: k.log, StateDir: dir}); err == nil || !strings.Contains(err.Error(), first) {
		t.Errorf("got %v", err)
	}
	// A place that can't be written refuses the schedule: it would stop at the next restart.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	a, err = k.Admit(t.Context(), k.call("CreateSchedule", req, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, req); err == nil {
		t.Error("a schedule went on whose creator could not be kept")
	}
}

// verifier trusts the kit's issuer, like the one that the kit began with.
func (k *kit) verifier(t *testing.T) gate.Authenticator {
	t.Helper()
	v, err := identity.NewVerifier(identity.Config{Issuers: []identity.Issuer{{URL: k.issuer.URL, Audiences: []string{bailiwicktest.Audience}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// Schedules that nobody answers for: refused, or adopted if the operator says so; what is forged is refused in any case.
func TestSchedulesFromBeforeTheGate(t *testing.T) {
	for _, adopt := range []bool{false, true} {
		k := newKitWith(t, "", gate.Config{AdoptSchedules: adopt})
		_, err := k.fire(t, nightly(), time.Now())
		if d, refused := errors.AsType[*gate.Denial](err); refused == adopt || refused && (d.Code != gate.CodeCreatorUnknown || !strings.Contains(d.Message, "saves it again")) {
			t.Errorf("adopt %v: %v", adopt, err)
		}
		if adopt && k.log.last(t).Detail["unattested"] == "" {
			t.Errorf("adopted and recorded as %v", k.log.last(t).Detail)
		}
		forged := nightly()
		forged.Schedule.Action.GetStartWorkflow().Header = header("forged")
		if _, err := k.fire(t, forged, time.Now()); denial(t, err).Code != gate.CodeCreatorUnknown {
			t.Errorf("adopt %v: forged: %v", adopt, err)
		}
		moved := nightly()
		k.schedule(t, moved)
		moved.ScheduleId = "daily"
		if _, err := k.fire(t, moved, time.Now()); denial(t, err).Code != gate.CodeCreatorUnknown {
			t.Errorf("adopt %v: a statement of another schedule: %v", adopt, err)
		}
	}
}

// Who makes a schedule start something out of turn is told on the run, also when the gate was started anew meanwhile.
func TestTriggersAreTold(t *testing.T) {
	t.Run("in memory", func(t *testing.T) { testTriggers(t, "") })
	t.Run("on disk", func(t *testing.T) { testTriggers(t, t.TempDir()) })
}

func testTriggers(t *testing.T, dir string) {
	k := newKitWith(t, "", gate.Config{StateDir: dir})
	req := nightly()
	k.schedule(t, req)
	bob := k.issuer.User("bob@acme.example", "temporal:deploy:write")
	patch := &workflowservice.PatchScheduleRequest{Namespace: "deploy", ScheduleId: "nightly", Patch: &schedulepb.SchedulePatch{TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{}}}
	a, err := k.Admit(t.Context(), k.call("PatchSchedule", patch, bob))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, patch); err != nil {
		t.Fatal(err)
	}
	at := patch.Patch.TriggerImmediately.ScheduledTime.AsTime()
	if dir != "" {
		k.forgetErrands(t, dir, nil)
	}
	run, err := k.fire(t, req, at)
	if err != nil {
		t.Fatal(err)
	}
	by := text(run.Memo.Fields[gate.FieldTrigger])
	if id, _ := gate.DecisionOf(by); id != a.ID() || !strings.HasPrefix(by, "bob@acme.example ") || text(run.Memo.Fields[gate.FieldOriginator]) != "alice@acme.example" {
		t.Errorf("the run's memo says %v", run.Memo)
	}
	if e := k.log.last(t); e.Detail["for"] != a.ID() || e.Detail["originator_login"] != "alice@acme.example" {
		t.Errorf("recorded as %v", e.Detail)
	}
	delete(run.Memo.Fields, gate.FieldTrigger) // the same message is used again
	if run, err := k.fire(t, req, at.Add(time.Hour)); err != nil || run.Memo.Fields[gate.FieldTrigger] != nil {
		t.Errorf("a firing in turn: %v %v", run.GetMemo(), err)
	}
	if dir == "" {
		return
	}
	kept := func() int {
		files, err := filepath.Glob(filepath.Join(dir, "triggers", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if kept() != 1 {
		t.Errorf("%d files of one trigger", kept())
	}
	gone := &workflowservice.DeleteScheduleRequest{Namespace: "deploy", ScheduleId: "nightly"}
	a, err = k.Admit(t.Context(), k.call("DeleteSchedule", gone, k.alice()))
	if err != nil {
		t.Fatal(err)
	}
	k.Learn(a, gone, &workflowservice.DeleteScheduleResponse{})
	if kept() != 0 {
		t.Error("the triggers of a deleted schedule are kept")
	}
	// A place that can't be written refuses the trigger: nobody could be told of it after a restart.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err = k.Admit(t.Context(), k.call("PatchSchedule", patch, bob))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, patch); err == nil {
		t.Error("a trigger went on that could not be kept")
	}
}

// What a batch does is attested where it can be, and on record on behalf of who asked for it.
func TestBatchesAreTold(t *testing.T) {
	k := newKit(t, "")
	batch := &workflowservice.StartBatchOperationRequest{Namespace: "deploy", VisibilityQuery: "x = 1", Reason: "tidy up", Operation: &workflowservice.StartBatchOperationRequest_SignalOperation{SignalOperation: &batchpb.BatchOperationSignal{Signal: "go"}}}
	c := k.call("StartBatchOperation", batch, k.alice())
	c.Reason = []string{"CHG-10"}
	a, err := k.Admit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stamp(a, batch); err != nil {
		t.Fatal(err)
	}
	send := func(namespace, identity string) *workflowservice.SignalWorkflowExecutionRequest {
		t.Helper()
		req := &workflowservice.SignalWorkflowExecutionRequest{Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1", RunId: "run-1"}, SignalName: "go", Identity: identity}
		a, err := k.AdmitSystem(t.Context(), gate.Call{Method: service + "SignalWorkflowExecution", Request: req})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Stamp(a, req); err != nil {
			t.Fatal(err)
		}
		return req
	}
	signal := send("deploy", batch.GetSignalOperation().GetIdentity())
	v, err := k.signer.PublicKeySet().Verify(carried(signal.Header), "bailiwick:test")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.CheckCall(attest.EdgeSignal, attest.Run{Namespace: "deploy", WorkflowID: "ship-1", RunID: "run-1"}, "go"); err != nil {
		t.Error(err)
	}
	e := k.log.last(t)
	if s := v.Statement(); s.Originator.Login != "alice@acme.example" || s.Reason != "CHG-10" || s.ID != e.ID {
		t.Errorf("attested as %+v", s)
	}
	if e.Actor.Principal != "temporal:internal" || e.Detail["for"] != a.ID() || e.Detail["originator_login"] != "alice@acme.example" || e.Reason != "CHG-10" {
		t.Errorf("recorded as %+v", e)
	}
	for name, req := range map[string]*workflowservice.SignalWorkflowExecutionRequest{
		"another namespace": send("payments", batch.GetSignalOperation().GetIdentity()), "somebody else": send("deploy", "worker@host"),
		"an unknown decision": send("deploy", "bob via bailiwick [01936a2e-0000-7000-8000-000000000000]"),
	} {
		if req.Header != nil {
			t.Errorf("%s: a statement was made: %v", name, req.Header)
		}
	}
}
