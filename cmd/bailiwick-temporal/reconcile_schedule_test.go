package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/reconcile"
)

// scheduledReport has the schedule fire once, by hand: its worker reads histories through the gate as the service that it is, finds what went
// around the gate, and the report is on record.
func (e *edges) scheduledReport(t *testing.T, want []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	c := e.client(t, e.issuer.Client("0oareconciler0000001", "temporal:deploy:write", "temporal:deploy:worker", "temporal:payments:read", "temporal:default:read"), "deploy")
	dir := t.TempDir()
	log, err := audit.OpenJournal(audit.JournalConfig{Dir: filepath.Join(dir, "journal-control")})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	reporter := &reconcile.Reporter{
		Dir: filepath.Join(dir, "reports"),
		Record: func(ctx context.Context, entry audit.Entry) (string, error) {
			entry.ID, entry.Time, entry.Gate = "0193aaaa-0000-7000-8000-000000000001", time.Now(), "control"
			_, err := log.Append(ctx, entry)
			return entry.ID, err
		},
		Open: func(ctx context.Context) (reconcile.Config, func(), error) {
			x, err := index.Open(ctx, filepath.Join(dir, "index.db"))
			if err != nil {
				return reconcile.Config{}, nil, err
			}
			if _, err := x.Sync(ctx, e.entriesFrom); err != nil {
				return reconcile.Config{}, nil, err
			}
			histories := reconcile.Temporal{Service: c.WorkflowService()}
			namespaces, err := histories.Namespaces(ctx)
			return reconcile.Config{Namespaces: namespaces, Histories: histories, Record: reconcile.Indexed{Index: x}, Keys: e.keys,
				Audience: testAudience, DecisionOf: gate.DecisionOf, PerSecond: 1000}, func() { _ = x.Close() }, err
		},
	}
	const queue = "reconcile"
	w := worker.New(c, queue, worker.Options{})
	reporter.Register(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := reconcile.Schedule(ctx, c, queue, 0); err != nil {
		t.Fatal(err)
	}
	if err := reconcile.Schedule(ctx, c, queue, 0); err != nil {
		t.Errorf("a schedule that is there: %v", err)
	}
	schedule := c.ScheduleClient().GetHandle(ctx, reconcile.ScheduleID)
	// The last minute is left to the next report; here it has what is to be found.
	if err := schedule.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		s := in.Description.Schedule
		action, ok := s.Action.(*client.ScheduleWorkflowAction)
		if !ok {
			return nil, fmt.Errorf("the schedule starts %T", s.Action)
		}
		action.Args = []any{reconcile.Params{Window: 25 * time.Hour, Overlap: time.Millisecond}}
		return &client.ScheduleUpdate{Schedule: &s}, nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := schedule.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	var entry audit.Entry
	for entry.Kind == "" {
		if ctx.Err() != nil {
			t.Fatal("the schedule made no report")
		}
		for _, one := range bailiwicktest.Entries(t, filepath.Join(dir, "journal-control")) {
			entry = one
		}
		time.Sleep(50 * time.Millisecond)
	}
	if d := entry.Detail; entry.Kind != audit.KindReport || d["event"] != "reconciled" || d["bypasses"] != strconv.Itoa(len(want)) {
		t.Errorf("on record: %+v", entry)
	}
	to, err := time.Parse(time.RFC3339, entry.Detail["to"])
	if err != nil {
		t.Fatal(err)
	}
	report, err := reconcile.ReadReport(filepath.Join(dir, "reports"), to, entry.Detail["digest"])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range report.Bypasses {
		got = append(got, fmt.Sprintf("%s %s %s", b.WorkflowID, b.Kind, b.Code))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the schedule found %q\nwant %q", got, want)
	}
}
