package reconcile

import (
	"context"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Indexed is the record as a search index of the log has it. Bring the index up to date first, and reconcile up to that time.
type Indexed struct{ Index *index.Index }

// Decision implements Record.
func (x Indexed) Decision(ctx context.Context, id string) (Decision, bool, error) {
	rows, _, err := x.Index.Query(ctx, index.Filter{ID: []string{id}, Limit: 2})
	if err != nil {
		return Decision{}, false, err
	}
	for i := range rows {
		if e := &rows[i].Entry; e.ID == id && e.Kind == audit.KindDecision && e.Decision != nil {
			return decisionOf(rows[i].Index, e), true, nil
		}
	}
	return Decision{}, false, nil
}

// About implements Record. An id that ends in "*" finds others besides, which the caller tells apart.
func (x Indexed) About(ctx context.Context, namespace, workflowID string, from, to time.Time) ([]Decision, error) {
	if workflowID == "" {
		return nil, nil
	}
	allow := true
	var list []Decision
	err := x.each(ctx, index.Filter{Workflow: []string{workflowID}, Namespace: []string{namespace}, Allow: &allow, Kind: []audit.Kind{audit.KindDecision}, From: from, To: to, Oldest: true},
		func(d Decision) error { list = append(list, d); return nil })
	return list, err
}

// Batches implements Record.
func (x Indexed) Batches(ctx context.Context, namespace string, from, to time.Time) ([]Decision, error) {
	allow := true
	var list []Decision
	err := x.each(ctx, index.Filter{Namespace: []string{namespace}, Action: []string{"StartBatchOperation"}, Allow: &allow, Kind: []audit.Kind{audit.KindDecision}, From: from, To: to, Oldest: true},
		func(d Decision) error { list = append(list, d); return nil })
	return list, err
}

// Allowed implements Record.
func (x Indexed) Allowed(ctx context.Context, namespace string, from, to time.Time, each func(Decision) error) error {
	allow := true
	return x.each(ctx, index.Filter{Namespace: []string{namespace}, Access: []string{string(policy.Operate)}, Allow: &allow, Kind: []audit.Kind{audit.KindDecision}, From: from, To: to, Oldest: true},
		func(d Decision) error {
			if d.Acts[0].Namespace != namespace {
				return nil // only what it would do besides is there
			}
			return each(d)
		})
}

func (x Indexed) each(ctx context.Context, f index.Filter, each func(Decision) error) error {
	f.Limit = 1000
	for {
		rows, next, err := x.Index.Query(ctx, f)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := each(decisionOf(rows[i].Index, &rows[i].Entry)); err != nil {
				return err
			}
		}
		if f.Cursor = next; next == "" {
			return nil
		}
	}
}

func decisionOf(i uint64, e *audit.Entry) Decision {
	act := func(action string, r *policy.Resource) Act {
		return Act{action, r.Namespace, r.WorkflowID, r.RunID, r.ScheduleID}
	}
	d := Decision{ID: e.ID, Index: i, Time: e.Time, Allow: e.Decision.Allow, Who: e.Actor.Login, Actor: e.Actor.Principal, OnBehalf: e.Detail[audit.DetailOnBehalf], Acts: []Act{act(e.Action, &e.Resource)}}
	if d.Who == "" {
		d.Who = e.Actor.Principal
	}
	for i := range e.Acts {
		d.Acts = append(d.Acts, act(e.Acts[i].Action, &e.Acts[i].Resource))
	}
	return d
}
