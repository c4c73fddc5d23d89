package runs

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bailiwick-dev/bailiwick/attest"
)

const aud = "bailiwick:test"

var began = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// story builds histories by hand, signed with a real key.
type story struct {
	t      *testing.T
	signer *attest.Signer
	events []*historypb.HistoryEvent
}

func newStory(t *testing.T) *story {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &story{t: t, signer: attest.NewSigner(key)}
}

func (s *story) sign(edge attest.Edge, id string, b attest.Binding) *commonpb.Header {
	s.t.Helper()
	who := attest.Party{Principal: "user:http://idp|00u1", Login: "alice@acme.example", Profile: "user"}
	raw, err := s.signer.Sign(attest.Statement{Version: attest.Version, ID: id, Issuer: "gate", Audience: aud, Edge: edge, Originator: who, Actor: who,
		Reason: "ship it", Policies: []string{"roles.write"}, Binding: b, IssuedAt: began})
	if err != nil {
		s.t.Fatal(err)
	}
	return &commonpb.Header{Fields: map[string]*commonpb.Payload{attest.HeaderKey: attest.ToPayload(raw)}}
}

func (s *story) add(kind enumspb.EventType, by string, attributes any) int64 {
	e := &historypb.HistoryEvent{EventId: int64(len(s.events) + 1), EventType: kind, EventTime: timestamppb.New(began.Add(time.Duration(len(s.events)) * time.Second))}
	if by != "" {
		e.Principal = &commonpb.Principal{Type: "user", Name: by}
	}
	switch a := attributes.(type) {
	case *historypb.WorkflowExecutionStartedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: a}
	case *historypb.WorkflowExecutionSignaledEventAttributes:
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{WorkflowExecutionSignaledEventAttributes: a}
	case *historypb.WorkflowExecutionUpdateAcceptedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes{WorkflowExecutionUpdateAcceptedEventAttributes: a}
	case *historypb.WorkflowExecutionUpdateCompletedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes{WorkflowExecutionUpdateCompletedEventAttributes: a}
	case *historypb.ActivityTaskScheduledEventAttributes:
		e.Attributes = &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{ActivityTaskScheduledEventAttributes: a}
	case *historypb.ActivityTaskStartedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{ActivityTaskStartedEventAttributes: a}
	case *historypb.ActivityTaskCompletedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{ActivityTaskCompletedEventAttributes: a}
	case *historypb.StartChildWorkflowExecutionInitiatedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes{StartChildWorkflowExecutionInitiatedEventAttributes: a}
	case *historypb.ChildWorkflowExecutionCompletedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_ChildWorkflowExecutionCompletedEventAttributes{ChildWorkflowExecutionCompletedEventAttributes: a}
	case *historypb.WorkflowExecutionContinuedAsNewEventAttributes:
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionContinuedAsNewEventAttributes{WorkflowExecutionContinuedAsNewEventAttributes: a}
	case *historypb.WorkflowExecutionTerminatedEventAttributes:
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes{WorkflowExecutionTerminatedEventAttributes: a}
	default:
		s.t.Fatalf("no case for %T", attributes)
	}
	s.events = append(s.events, e)
	return e.EventId
}

func (s *story) build() Timeline {
	s.t.Helper()
	t, err := Build(s.events, Config{Namespace: "deploy", WorkflowID: "d-1", RunID: "run-1", Keys: s.signer.PublicKeySet(), Audience: aud})
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

var startBinding = attest.Binding{Namespace: "deploy", WorkflowID: "d-1", WorkflowType: "deploy", TaskQueue: "deploy"}

func (s *story) started(h *commonpb.Header) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, "alice", &historypb.WorkflowExecutionStartedEventAttributes{
		WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "deploy"}, FirstExecutionRunId: "run-1", Header: h, Identity: "root@somewhere"})
}

func (s *story) activity(h *commonpb.Header) {
	id := s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "worker", &historypb.ActivityTaskScheduledEventAttributes{ActivityId: "5", ActivityType: &commonpb.ActivityType{Name: "Build"}, Header: h})
	s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, "", &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: id, Attempt: 2})
	s.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, "worker", &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: id})
}

func (s *story) signaled(name string, h *commonpb.Header, from *commonpb.WorkflowExecution) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, "bob", &historypb.WorkflowExecutionSignaledEventAttributes{SignalName: name, Header: h, ExternalWorkflowExecution: from})
}

func TestWholeLife(t *testing.T) {
	s := newStory(t)
	start := s.sign(attest.EdgeStart, "dec-1", startBinding)
	s.started(start)
	s.signaled("approve", s.sign(attest.EdgeSignal, "dec-2", attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "approve"}), nil)
	update := s.sign(attest.EdgeUpdate, "dec-3", attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "resize"})
	accepted := s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, "worker", &historypb.WorkflowExecutionUpdateAcceptedEventAttributes{ProtocolInstanceId: "u-1",
		AcceptedRequest: &updatepb.Request{Meta: &updatepb.Meta{UpdateId: "u-1"}, Input: &updatepb.Input{Name: "resize", Header: update}}})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, "worker", &historypb.WorkflowExecutionUpdateCompletedEventAttributes{Meta: &updatepb.Meta{UpdateId: "u-1"}, AcceptedEventId: accepted, Outcome: &updatepb.Outcome{}})
	s.activity(start)
	s.activity(update) // started by the update's handler
	child := s.add(enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, "worker", &historypb.StartChildWorkflowExecutionInitiatedEventAttributes{WorkflowId: "d-1-canary", WorkflowType: &commonpb.WorkflowType{Name: "canary"}, Header: start})
	s.add(enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED, "", &historypb.ChildWorkflowExecutionCompletedEventAttributes{InitiatedEventId: child})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW, "worker", &historypb.WorkflowExecutionContinuedAsNewEventAttributes{NewExecutionRunId: "run-2", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, Header: start})

	got := s.build()
	if !got.OK() || got.Verified != 7 || got.Unattested != 0 || got.Status != "continued as new" || got.NextRunID != "run-2" || got.WorkflowType != "deploy" {
		t.Fatalf("verified %d unattested %d invalid %d, status %s: %+v", got.Verified, got.Unattested, got.Invalid, got.Status, got.Steps)
	}
	var kinds []string
	for _, st := range got.Steps {
		kinds = append(kinds, string(st.Kind))
	}
	if k := strings.Join(kinds, " "); k != "start signal update activity activity child continued_as_new" {
		t.Errorf("steps: %s", k)
	}
	start0, sig, upd, act, handler := got.Steps[0], got.Steps[1], got.Steps[2], got.Steps[3], got.Steps[4]
	if start0.Attestation.Reason != "ship it" || start0.Principal != "user:alice" || start0.CarriedFrom != 0 || start0.KeyID != s.signer.KeyID() {
		t.Errorf("start: %+v", start0)
	}
	if sig.Attestation.ID != "dec-2" || sig.Name != "approve" {
		t.Errorf("signal: %+v", sig)
	}
	if upd.Outcome != "completed" || upd.Principal != "" || upd.ExecutedBy != "user:worker" || upd.ID != "u-1" {
		t.Errorf("update: %+v", upd)
	}
	if act.CarriedFrom != 1 || act.Attempts != 2 || act.Outcome != "completed" || act.ExecutedBy != "user:worker" || act.Ended.IsZero() {
		t.Errorf("activity: %+v", act)
	}
	if handler.CarriedFrom != upd.EventID || handler.Attestation.ID != "dec-3" {
		t.Errorf("activity of the update's handler: %+v", handler)
	}
}

func TestRefused(t *testing.T) {
	other := newStory(t)
	for name, c := range map[string]struct {
		tell func(*story)
		step int // the one that must be invalid
		code attest.Code
	}{
		"start of another workflow id": {func(s *story) {
			b := startBinding
			b.WorkflowID = "d-2"
			s.started(s.sign(attest.EdgeStart, "x", b))
		}, 0, attest.CodeBinding},
		"start of another namespace": {func(s *story) {
			b := startBinding
			b.Namespace = "payments"
			s.started(s.sign(attest.EdgeStart, "x", b))
		}, 0, attest.CodeBinding},
		"start of another type": {func(s *story) {
			b := startBinding
			b.WorkflowType = "noop"
			s.started(s.sign(attest.EdgeStart, "x", b))
		}, 0, attest.CodeBinding},
		"start by a stranger's key": {func(s *story) { s.started(other.sign(attest.EdgeStart, "x", startBinding)) }, 0, attest.CodeKeyUnknown},
		"start with one bit changed": {func(s *story) {
			h := s.sign(attest.EdgeStart, "x", startBinding)
			raw, _ := attest.FromPayload(h.Fields[attest.HeaderKey])
			flip, at := "A", len(raw)-20 // in the signature
			if raw[at] == 'A' {
				flip = "B"
			}
			h.Fields[attest.HeaderKey] = attest.ToPayload(raw[:at] + flip + raw[at+1:])
			s.started(h)
		}, 0, attest.CodeSignature},
		"start with rubbish": {func(s *story) {
			s.started(&commonpb.Header{Fields: map[string]*commonpb.Payload{attest.HeaderKey: {Data: []byte("{")}}})
		}, 0, attest.CodeMalformed},
		"signal with another signal's statement": {func(s *story) {
			s.started(s.sign(attest.EdgeStart, "a", startBinding))
			s.signaled("approve", s.sign(attest.EdgeSignal, "x", attest.Binding{Namespace: "deploy", WorkflowID: "d-1", Name: "comment"}), nil)
		}, 1, attest.CodeBinding},
		"signal with the start's statement": {func(s *story) {
			h := s.sign(attest.EdgeStart, "a", startBinding)
			s.started(h)
			s.signaled("approve", h, nil)
		}, 1, attest.CodeBinding},
		"signal from a workflow with a stranger's statement": {func(s *story) {
			s.started(s.sign(attest.EdgeStart, "a", startBinding))
			s.signaled("approve", s.sign(attest.EdgeStart, "x", attest.Binding{Namespace: "deploy", WorkflowID: "elsewhere", WorkflowType: "deploy"}), &commonpb.WorkflowExecution{WorkflowId: "sender", RunId: "r"})
		}, 1, attest.CodeBinding},
		// Genuine, of the same workflow id and type, but of an earlier run: only this run's own may be carried.
		"activity with an earlier run's statement": {func(s *story) {
			s.started(s.sign(attest.EdgeStart, "a", startBinding))
			s.activity(s.sign(attest.EdgeStart, "earlier", startBinding))
		}, 1, attest.CodeBinding},
		"activity attested in a run that is not": {func(s *story) {
			s.started(nil)
			s.activity(s.sign(attest.EdgeStart, "a", startBinding))
		}, 1, attest.CodeBinding},
		"invalid start carried on": {func(s *story) {
			h := s.sign(attest.EdgeStart, "x", attest.Binding{Namespace: "deploy", WorkflowID: "d-2", WorkflowType: "deploy"})
			s.started(h)
			s.activity(h)
		}, 1, attest.CodeBinding},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			c.tell(s)
			got := s.build()
			step := got.Steps[c.step]
			if got.OK() || step.Verdict != Invalid || step.Code != c.code || step.Problem == "" {
				t.Errorf("verdict %s, code %s (want %s): %s", step.Verdict, step.Code, c.code, step.Problem)
			}
			if step.Attestation != nil {
				t.Error("an invalid attestation's claims are shown as if they were known")
			}
		})
	}
}

func TestUnattestedIsNotInvalid(t *testing.T) {
	s := newStory(t)
	s.started(nil)
	s.signaled("approve", nil, nil)
	s.activity(&commonpb.Header{})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED, "carol", &historypb.WorkflowExecutionTerminatedEventAttributes{Reason: "stop"})
	got := s.build()
	if !got.OK() || got.Unattested != 3 || got.Verified != 0 || got.Status != "terminated" {
		t.Errorf("%+v", got)
	}
	last := got.Steps[3]
	if last.Verdict != Recorded || last.Principal != "user:carol" || last.Name != "stop" || last.Kind != KindTerminate {
		t.Errorf("termination: %+v", last)
	}
}

func TestChildIsVerifiedByItsParentsStatement(t *testing.T) {
	s := newStory(t)
	h := s.sign(attest.EdgeStart, "p", attest.Binding{Namespace: "deploy", WorkflowID: "parent", WorkflowType: "deploy"})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, "", &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: &commonpb.WorkflowType{Name: "canary"}, Header: h,
		ParentWorkflowNamespace: "deploy", ParentWorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "parent", RunId: "pr"}})
	s.signaled("go", h, &commonpb.WorkflowExecution{WorkflowId: "parent", RunId: "pr"}) // the parent signals its child with what it acts by
	if got := s.build(); !got.OK() || got.Verified != 2 || got.Lineage.ParentWorkflowID != "parent" {
		t.Errorf("%+v", got.Steps)
	}
}

func TestScheduledRun(t *testing.T) {
	s := newStory(t)
	h := s.sign(attest.EdgeSchedule, "sch", attest.Binding{Namespace: "deploy", WorkflowID: "nightly", WorkflowType: "deploy", ScheduleID: "nightly-schedule"})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, "", &historypb.WorkflowExecutionStartedEventAttributes{WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, Header: h,
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"TemporalScheduledById": {Data: []byte(`"nightly-schedule"`)}}}})
	build := func(id string) Timeline {
		got, err := Build(s.events, Config{Namespace: "deploy", WorkflowID: id, RunID: "r", Keys: s.signer.PublicKeySet(), Audience: aud})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := build("nightly-2026-11-23T02:00:00Z"); !got.OK() || got.Verified != 1 || got.Lineage.ScheduleID != "nightly-schedule" {
		t.Errorf("%+v", got.Steps)
	}
	if got := build("nightly-by-hand"); got.OK() {
		t.Error("a run that the schedule did not name was verified")
	}
}

func TestAnotherEnvironment(t *testing.T) {
	s := newStory(t)
	s.started(s.sign(attest.EdgeStart, "a", startBinding))
	got, err := Build(s.events, Config{Namespace: "deploy", WorkflowID: "d-1", RunID: "run-1", Keys: s.signer.PublicKeySet(), Audience: "bailiwick:prod"})
	if err != nil || got.OK() || got.Steps[0].Code != attest.CodeAudience {
		t.Errorf("%+v, %v", got.Steps, err)
	}
}

func TestNotAHistory(t *testing.T) {
	s := newStory(t)
	s.signaled("x", nil, nil)
	for _, events := range [][]*historypb.HistoryEvent{nil, s.events} {
		if _, err := Build(events, Config{}); err == nil {
			t.Error("accepted")
		}
	}
}

// Whatever a server sends, building a timeline must not panic.
func FuzzBuild(f *testing.F) {
	s := newStory(&testing.T{})
	s.started(nil)
	s.signaled("x", nil, nil)
	raw, _ := proto.Marshal(&historypb.History{Events: s.events})
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h historypb.History
		if proto.Unmarshal(raw, &h) != nil {
			return
		}
		_, _ = Build(h.Events, Config{Namespace: "n", WorkflowID: "w", RunID: "r"})
	})
}

// A key that is published no more is looked for in the archive, once.
func TestArchivedKeys(t *testing.T) {
	s := newStory(t)
	h := s.sign(attest.EdgeStart, "dec-1", startBinding)
	s.started(h)
	s.activity(h)
	asked := 0
	build := func(archive attest.KeySet, err error) Timeline {
		t.Helper()
		got, berr := Build(s.events, Config{Namespace: "deploy", WorkflowID: "d-1", RunID: "run-1", Audience: aud, Archive: func() (attest.KeySet, error) {
			asked++
			return archive, err
		}})
		if berr != nil {
			t.Fatal(berr)
		}
		return got
	}
	if got := build(s.signer.PublicKeySet(), nil); !got.OK() || got.Verified != 2 || asked != 1 {
		t.Errorf("verified %d, invalid %d, asked %d times", got.Verified, got.Invalid, asked)
	}
	if got := build(attest.KeySet{}, nil); got.OK() || got.Steps[0].Code != attest.CodeKeyUnknown {
		t.Errorf("without the key: %+v", got.Steps[0])
	}
	if got := build(attest.KeySet{}, errors.New("no log")); got.OK() || got.Steps[0].Code != attest.CodeKeyUnknown {
		t.Errorf("without a log: %+v", got.Steps[0])
	}
}
