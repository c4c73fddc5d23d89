package demo

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// histories are runs that a real server recorded behind a real gate, with the gate's keys in testdata/keys.json. They stand for runs that are
// open while a new version of the worker is rolled out: they must go on replaying.
func histories(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/history-*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d recorded histories, %v", len(files), err)
	}
	return files
}

func keys(t *testing.T) attest.KeySet {
	t.Helper()
	data, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	set, err := attest.ParseKeySet(data)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func read(t *testing.T, file string) *historypb.History {
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

// replay runs a history through the workflows as they are now. The replayer needs the workflow id, from which Deploy makes its child's.
func replay(t *testing.T, set attest.KeySet, h *historypb.History) error {
	t.Helper()
	plugin, err := sdkplugin.New(sdkplugin.Options{Keys: set, Audience: "bailiwick:dev", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Plugins: []worker.Plugin{plugin}})
	if err != nil {
		t.Fatal(err)
	}
	RegisterWorkflows(r)
	start := h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
	return r.ReplayWorkflowHistoryWithOptions(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)), h, worker.ReplayWorkflowHistoryOptions{
		OriginalExecution: workflow.Execution{ID: start.GetWorkflowId(), RunID: start.GetOriginalExecutionRunId()},
	})
}

func TestRecordedHistoriesReplay(t *testing.T) {
	set := keys(t)
	for _, file := range histories(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if err := replay(t, set, read(t, file)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The replay above proves something only if it fails when an attestation does not fit.
func TestReplayNoticesAForgedStart(t *testing.T) {
	set := keys(t)
	for _, file := range histories(t) {
		h := read(t, file)
		header := h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetHeader()
		raw, ok := attest.FromPayload(header.GetFields()[attest.HeaderKey])
		if !ok {
			t.Fatalf("%s: the start has no attestation", file)
		}
		body, sig, ok := strings.Cut(raw, `,"sig":"`)
		if !ok {
			t.Fatalf("%s: the start's attestation has no signature", file)
		}
		header.Fields[attest.HeaderKey] = attest.ToPayload(body + `,"sig":"` + sig[:len(sig)-88] + strings.Repeat("A", 86) + `"}`)
		if err := replay(t, set, h); err == nil {
			t.Errorf("%s: replayed with a forged start", file)
		}
	}
}

// Each edge of a run's life is in the recordings with its own attestation.
func TestRecordedAttestations(t *testing.T) {
	set := keys(t)
	found := map[string]bool{}
	for _, file := range histories(t) {
		for _, e := range read(t, file).GetEvents() {
			for what, fields := range headers(e) {
				raw, ok := attest.FromPayload(fields[attest.HeaderKey])
				if !ok {
					t.Errorf("%s: event %d has no attestation", file, e.GetEventId())
					continue
				}
				v, err := set.Verify(raw, "bailiwick:dev")
				if err != nil {
					t.Errorf("%s: event %d: %v", file, e.GetEventId(), err)
					continue
				}
				s := v.Statement()
				found[what+" with "+string(s.Edge)+" by "+s.Actor.Login] = true
			}
		}
	}
	for _, want := range []string{
		"start with start by alice@acme.example", "activity with start by alice@acme.example", "child with start by alice@acme.example",
		"signal with signal by carol@acme.example", "signal with start by alice@acme.example", "update with update by alice@acme.example",
		"start with schedule by carol@acme.example", "activity with schedule by carol@acme.example",
	} {
		if !found[want] {
			t.Errorf("no %s among %v", want, found)
		}
	}
}
