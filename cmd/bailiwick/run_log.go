package main

import (
	"context"
	"slices"
	"sync"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/internal/runs"
)

// auditLog is what a look at runs asks of the audit log. It is opened when something is asked; where there is none, nothing is found.
type auditLog struct {
	app  *app
	ctx  context.Context
	once sync.Once
	x    *openedIndex
	err  error
}

func (l *auditLog) open() (*openedIndex, error) {
	l.once.Do(func() { l.x, l.err = l.app.syncedIndex(l.ctx, indexFlags{}) })
	return l.x, l.err
}

func (l *auditLog) close() {
	if l.x != nil {
		_ = l.x.Close() // it was only read
	}
}

// keys returns a way to the attestation keys in the log, for runs that outlived their key's publication. It is nil where the caller named a
// file: then that file alone is trusted.
func (l *auditLog) keys(file string) func() (attest.KeySet, error) {
	if file != "" {
		return nil
	}
	return sync.OnceValues(func() (attest.KeySet, error) {
		x, err := l.open()
		if err != nil {
			return attest.KeySet{}, err
		}
		q := index.Filter{Kind: []audit.Kind{audit.KindKey}, Oldest: true, Limit: 100}
		var details []map[string]string
		for {
			rows, next, err := x.query(l.ctx, q)
			if err != nil {
				return attest.KeySet{}, err
			}
			for _, r := range rows {
				details = append(details, r.Entry.Detail)
			}
			if q.Cursor = next; next == "" {
				break
			}
		}
		return attest.ArchivedKeys(slices.Values(details))
	})
}

// decision finds a decision by its id.
func (l *auditLog) decision(id string) (*runs.Decided, error) {
	x, err := l.open()
	if err != nil {
		return nil, err
	}
	rows, _, err := x.query(l.ctx, index.Filter{ID: []string{id}, Kind: []audit.Kind{audit.KindDecision}, Limit: 2})
	if err != nil || len(rows) != 1 {
		return nil, err
	}
	e := rows[0].Entry
	d := &runs.Decided{
		Actor:  attest.Party{Principal: e.Actor.Principal, Login: e.Actor.Login, ClientID: e.Actor.ClientID},
		Reason: e.Reason, Grant: e.Grant, Action: e.Action, Allowed: e.Decision != nil && e.Decision.Allow, Namespace: e.Resource.Namespace, WorkflowID: e.Resource.WorkflowID,
	}
	if len(e.Actor.Actors) > 0 { // the outermost actor acts for the token's subject
		originator := d.Actor
		d.Originator = &originator
		d.Actor = attest.Party{Principal: "client:" + e.Actor.Actors[0], Profile: e.Actor.ActorProfile}
	}
	return d, nil
}

// archivedKeys is auditLog.keys for a command that asks the log for nothing else.
func (a *app) archivedKeys(ctx context.Context, file string) func() (attest.KeySet, error) {
	if file != "" {
		return nil
	}
	return func() (attest.KeySet, error) {
		l := &auditLog{app: a, ctx: ctx}
		defer l.close()
		return l.keys(file)()
	}
}
