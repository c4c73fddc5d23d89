package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/internal/reconcile"
)

// reportsDir is where scheduled reports are, beside the log.
const reportsDir = "reports"

// lastReport shows the newest scheduled report: what the log has of it, and its file, if that is still what was recorded.
func (a *app) lastReport(ctx context.Context, f indexFlags) error {
	x, err := a.syncedIndex(ctx, f)
	if err != nil {
		return err
	}
	defer x.Close()
	e, err := x.newestReport(ctx)
	if err != nil {
		return err
	}
	if e == nil {
		return &coded{Code: "no_report", Text: "the log has no reconciliation", Fix: "the control plane makes one a day; run `bailiwick audit reconcile` to compare now"}
	}
	to, err := time.Parse(time.RFC3339, e.Detail["to"])
	if err != nil {
		return fmt.Errorf("reading entry %s: %w", e.ID, err)
	}
	beside := x.log
	if beside == "" {
		beside = x.journals[0]
	}
	r, err := reconcile.ReadReport(filepath.Join(filepath.Dir(filepath.Clean(beside)), reportsDir), to, e.Detail["digest"])
	switch {
	case errors.Is(err, reconcile.ErrNotTheReport):
		return &coded{Code: "report_changed", Text: fmt.Sprintf("the report of %s is not what entry %s recorded: its digest differs", e.Detail["to"], e.ID), Fix: "restore the file from a backup, or compare that time again with --from and --to", exit: exitUnproven}
	case errors.Is(err, fs.ErrNotExist):
		return &coded{Code: "no_report_file", Text: fmt.Sprintf("the report of %s is not beside the log; entry %s says %s bypasses and %s orphans in %s runs", e.Detail["to"], e.ID, e.Detail["bypasses"], e.Detail["orphans"], e.Detail["runs"]), Fix: "its file is where the control plane runs, in the directory " + reportsDir}
	case err != nil:
		return err
	}
	if !a.asJSON {
		field(a.out, "recorded", fmt.Sprintf("%s, entry %s", e.Time.Local().Format("2006-01-02 15:04:05"), e.ID))
	}
	return a.showReconciliation(r)
}

// newestReport is the newest entry about a reconciliation; nil if there is none.
func (x *openedIndex) newestReport(ctx context.Context) (*audit.Entry, error) {
	q := index.Filter{Kind: []audit.Kind{audit.KindReport}, Limit: 100}
	for {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if rows[i].Entry.Detail["event"] == "reconciled" {
				return &rows[i].Entry, nil
			}
		}
		if q.Cursor = next; next == "" {
			return nil, nil
		}
	}
}
