package sdkplugin_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/timestamppb"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

const (
	replayWorkflow = "ReplayId" // the replayer knows a history's run by these names
	replayRun      = "ReplayId"
	replaySpace    = "ReplayNamespace"
)

// story writes the history of one run, as a server would.
type story struct{ events []*historypb.HistoryEvent }

var update = flag.Bool("update", false, "write testdata/listening.json anew")

func (s *story) add(kind enumspb.EventType, fill func(*historypb.HistoryEvent)) int64 {
	e := &historypb.HistoryEvent{EventId: int64(len(s.events) + 1), EventType: kind, EventTime: timestamppb.New(time.Unix(1795446123+int64(len(s.events)), 0))}
	fill(e)
	s.events = append(s.events, e)
	return e.EventId
}

func payloads(t testing.TB, values ...any) *commonpb.Payloads {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayloads(values...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *story) start(workflowType string, h *commonpb.Header, input *commonpb.Payloads) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
			WorkflowType: &commonpb.WorkflowType{Name: workflowType}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Header: h, Input: input,
			OriginalExecutionRunId: replayRun, FirstExecutionRunId: replayRun, Attempt: 1,
		}}
	})
}

func (s *story) signal(t testing.TB, name string, h *commonpb.Header, value any) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
			SignalName: name, Input: payloads(t, value), Header: h,
		}}
	})
}

// task writes a workflow task; what follows it are its commands.
func (s *story) task() (completed int64) {
	scheduled := s.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{
			TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, StartToCloseTimeout: nil, Attempt: 1,
		}}
	})
	startedID := s.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: scheduled}}
	})
	return s.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{
			ScheduledEventId: scheduled, StartedEventId: startedID,
		}}
	})
}

func (s *story) update(t testing.TB, name string, h *commonpb.Header, value any, completedTask int64) {
	id := fmt.Sprintf("update-%d", len(s.events))
	accepted := s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes{WorkflowExecutionUpdateAcceptedEventAttributes: &historypb.WorkflowExecutionUpdateAcceptedEventAttributes{
			ProtocolInstanceId: id, AcceptedRequestMessageId: id + "/request", AcceptedRequestSequencingEventId: completedTask - 2,
			AcceptedRequest: &updatepb.Request{Meta: &updatepb.Meta{UpdateId: id}, Input: &updatepb.Input{Header: h, Name: name, Args: payloads(t, value)}},
		}}
	})
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionUpdateCompletedEventAttributes{WorkflowExecutionUpdateCompletedEventAttributes: &historypb.WorkflowExecutionUpdateCompletedEventAttributes{
			Meta: &updatepb.Meta{UpdateId: id}, AcceptedEventId: accepted,
			Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads(t, nil)}},
		}}
	})
}

func (s *story) complete(task int64) {
	s.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, func(e *historypb.HistoryEvent) {
		e.Attributes = &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{WorkflowTaskCompletedEventId: task}}
	})
}

// listening takes three signals by different means and one update, and says who sent each.
func listening(ctx workflow.Context) ([]string, error) {
	var out []string
	note := func(what string, info sdkplugin.Info) { out = append(out, what+" from "+info.Actor.Login) }
	me, _ := sdkplugin.FromWorkflow(ctx)
	note("start", me)
	updated := false
	err := workflow.SetUpdateHandler(ctx, "adjust", func(ctx workflow.Context, text string) error {
		info, _ := sdkplugin.FromWorkflow(ctx)
		note("update "+text, info)
		updated = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	ch := workflow.GetSignalChannel(ctx, "go")
	var text string
	ch.Receive(ctx, &text) // a plain receive, whose sender nobody asks for
	note("plain "+text, sdkplugin.Info{})
	for range 2 {
		info, err := sdkplugin.ReceiveSignal(ctx, "go", &text)
		if err != nil {
			return nil, err
		}
		note("signal "+text, info)
	}
	workflow.NewSelector(ctx).AddReceive(ch, func(workflow.ReceiveChannel, bool) {
		info, rerr := sdkplugin.ReceiveSignal(ctx, "go", &text)
		note("selected "+text, info)
		err = rerr
	}).Select(ctx)
	if err != nil {
		return nil, err
	}
	return out, workflow.Await(ctx, func() bool { return updated })
}

func replay(t *testing.T, o sdkplugin.Options, s *story, result any) (*journal, error) {
	t.Helper()
	log := &journal{}
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Plugins: []worker.Plugin{newPlugin(t, o)}})
	if err != nil {
		t.Fatal(err)
	}
	r.RegisterWorkflowWithOptions(listening, workflow.RegisterOptions{Name: "listening"})
	if err := r.ReplayWorkflowHistory(tlog.NewStructuredLogger(log.logger()), &historypb.History{Events: s.events}); err != nil {
		return log, err
	}
	return log, r.(interface {
		GetWorkflowResult(string, any) error
	}).GetWorkflowResult(replayWorkflow, result)
}

// recorded reads a history from a file.
func recorded(t *testing.T, file string) *historypb.History {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func bound(edge attest.Edge, name string) attest.Binding {
	b := attest.Binding{Namespace: replaySpace, WorkflowID: replayWorkflow, Name: name}
	if edge == attest.EdgeStart {
		b.WorkflowType = "listening"
	}
	return b
}

func from(t testing.TB, who string, edge attest.Edge, name string) *commonpb.Header {
	t.Helper()
	return header(sign(t, statement(who, edge, bound(edge, name))))
}

// senders is a history with forged and stray signals among the good ones.
func senders(t testing.TB) *story {
	var s story
	s.start("listening", from(t, "alice", attest.EdgeStart, "go"), nil) // a signal-with-start
	s.signal(t, "go", from(t, "alice", attest.EdgeStart, "go"), "zero")
	s.signal(t, "go", nil, "forged: no attestation")
	s.signal(t, "go", from(t, "bob", attest.EdgeSignal, "go"), "one")
	s.signal(t, "go", from(t, "mallory", attest.EdgeSignal, "stop"), "forged: another signal's")
	s.signal(t, "go", from(t, "mallory", attest.EdgeUpdate, "go"), "forged: an update's")
	s.task()
	s.signal(t, "go", from(t, "carol", attest.EdgeSignal, "go"), "two")
	s.signal(t, "go", from(t, "dave", attest.EdgeSignal, "go"), "three")
	s.task()
	done := s.task()
	s.update(t, "adjust", from(t, "erin", attest.EdgeUpdate, "adjust"), "it", done)
	s.complete(done)
	return &s
}

const whoSent = "start from alice@acme.example|plain zero from |signal one from bob@acme.example|signal two from carol@acme.example|selected three from dave@acme.example|update it from erin@acme.example"

func TestWhoSignalledAndUpdated(t *testing.T) {
	var got []string
	log, err := replay(t, sdkplugin.Options{}, senders(t), &got)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if strings.Join(got, "|") != whoSent {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), whoSent)
	}
	if l := log.line("delivering signal"); l != "" {
		t.Errorf("replay logs again: %s", l)
	}
}

// The same history as it was written when version 1 of the attestation was: a plugin that judged one of its events otherwise would break the
// replay of runs that are open.
func TestGoldenHistory(t *testing.T) {
	if *update {
		data, err := protojson.MarshalOptions{Multiline: true}.Marshal(&historypb.History{Events: senders(t).events})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/listening.json", append(data, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := recorded(t, "testdata/listening.json")
	var got []string
	if log, err := replay(t, sdkplugin.Options{}, &story{events: h.Events}, &got); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if strings.Join(got, "|") != whoSent {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), whoSent)
	}
}

// A run that began before the plugin did is not failed by Enforce: its history no longer fits, so its tasks fail until Observe returns.
func TestReplayOfAnUnattestedRun(t *testing.T) {
	var s story
	s.start("listening", nil, nil)
	s.task()
	for _, text := range []string{"zero", "one", "two", "three"} {
		s.signal(t, "go", nil, text)
	}
	done := s.task()
	s.update(t, "adjust", nil, "it", done)
	s.complete(done)
	var got []string
	if _, err := replay(t, sdkplugin.Options{Mode: sdkplugin.Observe}, &s, &got); err != nil || len(got) != 6 {
		t.Errorf("observing: %q, %v", got, err)
	}
	if _, err := replay(t, sdkplugin.Options{}, &s, &got); err == nil {
		t.Error("enforcing: replay of an unattested run went through")
	}
}

// A signal whose key is unknown must not be dropped now and delivered at the next replay.
func TestUnknownKeyOfASignalFailsTheTask(t *testing.T) {
	stranger, err := signerOf("new gate").Sign(statement("bob", attest.EdgeSignal, bound(attest.EdgeSignal, "go")))
	if err != nil {
		t.Fatal(err)
	}
	var s story
	s.start("listening", from(t, "alice", attest.EdgeStart, ""), nil)
	s.task()
	for _, text := range []string{"zero", "one", "two", "three"} {
		s.signal(t, "go", header(stranger), text)
	}
	done := s.task()
	s.update(t, "adjust", from(t, "erin", attest.EdgeUpdate, "adjust"), "it", done)
	s.complete(done)
	var got []string
	if _, err := replay(t, sdkplugin.Options{}, &s, &got); err == nil || !strings.Contains(err.Error(), string(attest.CodeKeyUnknown)) {
		t.Errorf("with the old keys: %v", err)
	}
	both := signerOf("gate").PublicKeySet().Merge(signerOf("new gate").PublicKeySet())
	if _, err := replay(t, sdkplugin.Options{Keys: both}, &s, &got); err != nil || len(got) != 6 {
		t.Errorf("with the new keys: %q, %v", got, err)
	}
}
