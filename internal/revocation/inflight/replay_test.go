package inflight

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func readHistory(t *testing.T, file string) *historypb.History {
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

func replay(h *historypb.History) error {
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(Workflow, workflow.RegisterOptions{Name: WorkflowName})
	return r.ReplayWorkflowHistory(tlog.NewStructuredLogger(slog.New(slog.DiscardHandler)), h)
}

// Leavers whom a real server recorded stand for those whose runs are held while a new version of the worker is rolled out: they must go on replaying. One
// was looked for three times before the return, one was back between two looks. TestRecordHistories in cmd/e2e records them anew.
func TestRecordedLeaversReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/history-*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d recorded histories, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if err := replay(readHistory(t, file)); err != nil {
				t.Error(err)
			}
			// The replay proves something only if it notices another order of deeds.
			h, found := readHistory(t, file), false
			for _, e := range h.Events {
				if e.EventType == enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED {
					e.GetActivityTaskScheduledEventAttributes().ActivityType.Name, found = "another", true
				}
			}
			if !found || replay(h) == nil {
				t.Error("replayed with other activities")
			}
		})
	}
}
