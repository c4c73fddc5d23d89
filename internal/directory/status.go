package directory

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Status is how the copy stands.
type Status struct {
	Users       int64 `json:"users"`
	Active      int64 `json:"active"`
	Groups      int64 `json:"groups"`
	Memberships int64 `json:"memberships"`

	AsOf time.Time `json:"as_of,omitzero"`     // up to when the copy is true; zero until the first full sync has ended
	Full time.Time `json:"full_sync,omitzero"` // when the last full sync began
	Took string    `json:"full_sync_took,omitempty"`

	Phase    string    `json:"phase,omitempty"`  // of the full sync under way: users, groups, members or log
	Began    time.Time `json:"began,omitzero"`   // the full sync under way
	Done     int64     `json:"done,omitempty"`   // of the phase: people, groups, or groups whose members were read
	Of       int64     `json:"of,omitempty"`     // how many there are, where that is known
	Requests int64     `json:"requests"`         // pages read in the full sync under way or the last
	Tried    time.Time `json:"tried,omitzero"`   // when the last round ended
	Error    string    `json:"error,omitempty"`  // of the last round
	Limits   any       `json:"limits,omitempty"` // what the program used of the org's rate limits; filled in by who knows
}

// Status tells how the copy stands.
func (d *Directory) Status(ctx context.Context) (Status, error) {
	m, err := d.store.meta(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("reading the directory's status: %w", err)
	}
	s := Status{AsOf: moment(m[metaAsOf]), Full: moment(m[metaFull]), Phase: m[metaPhase], Tried: moment(m[metaTried]), Error: m[metaError]}
	s.Requests, _ = strconv.ParseInt(m[metaWork], 10, 64)
	if ms, _ := strconv.ParseInt(m[metaTook], 10, 64); ms > 0 {
		s.Took = (time.Duration(ms) * time.Millisecond).String()
	}
	count := func(into *int64, query string, args ...any) {
		if err == nil {
			err = d.store.db.QueryRowContext(ctx, query, args...).Scan(into)
		}
	}
	count(&s.Users, `SELECT count(*) FROM users`)
	count(&s.Active, `SELECT count(*) FROM users WHERE active`)
	count(&s.Groups, `SELECT count(*) FROM groups`)
	count(&s.Memberships, `SELECT count(*) FROM members`)
	if s.Phase != "" {
		s.Began = moment(m[metaBegan])
		switch s.Phase {
		case phaseUsers:
			count(&s.Done, `SELECT count(*) FROM users WHERE round = ?`, m[metaRound])
		case phaseGroups:
			count(&s.Done, `SELECT count(*) FROM groups WHERE round = ?`, m[metaRound])
		case phaseMembers:
			count(&s.Of, `SELECT count(*) FROM groups WHERE round = ?`, m[metaRound])
			count(&s.Done, `SELECT count(*) FROM groups WHERE round = ? AND id <= ?`, m[metaRound], m[metaGroup])
		}
	}
	if err != nil {
		return Status{}, fmt.Errorf("reading the directory's status: %w", err)
	}
	return s, nil
}
