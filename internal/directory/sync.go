package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/database"
)

// Phases of a full sync, in order. Each page and where to go on become durable in one step, so that a sync that was killed goes on with the page
// after the last one that it kept.
const (
	phaseUsers   = "users"
	phaseGroups  = "groups"
	phaseMembers = "members"
	phaseLog     = "log" // what happened meanwhile is read, and what was not seen is dropped
)

// overlap is how far before a full sync's beginning its log is read: events are dated before they are stored.
const overlap = 5 * time.Minute

// Sync brings the copy up to date: all of it the first time, when the last full sync is Full ago, when it was asked for or when the log's cursor
// was lost; else what changed since. The copy is usable throughout.
func (d *Directory) Sync(ctx context.Context) error {
	select {
	case d.syncing <- struct{}{}:
		defer func() { <-d.syncing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := d.sync(ctx)
	if errors.Is(err, ErrCursor) {
		d.cfg.Logger.WarnContext(ctx, "the org does not know where this directory was; everything is read anew", "error", err)
		if err = d.store.set(ctx, map[string]string{metaLog: "", metaPhase: "", metaCursor: "", metaWanted: "full"}); err == nil {
			err = d.sync(ctx)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	note := map[string]string{metaError: "", metaTried: written(d.cfg.Clock())}
	if err != nil {
		note[metaError] = err.Error()
	}
	if kept := d.store.set(ctx, note); err == nil && kept != nil {
		err = kept
	}
	if err != nil {
		return fmt.Errorf("syncing the directory: %w", err)
	}
	return nil
}

func (d *Directory) sync(ctx context.Context) error {
	m, err := d.store.meta(ctx)
	if err != nil {
		return err
	}
	now := d.cfg.Clock()
	if m[metaPhase] == "" && (m[metaAsOf] == "" || m[metaWanted] != "" || now.Sub(moment(m[metaFull])) >= d.cfg.Full) {
		if err := d.begin(ctx, m, now); err != nil {
			return err
		}
	}
	round, _ := strconv.ParseInt(m[metaRound], 10, 64) // ours
	for m[metaPhase] != "" {
		switch m[metaPhase] {
		case phaseUsers:
			err = d.users(ctx, m, round)
		case phaseGroups:
			err = d.groups(ctx, m, round)
		case phaseMembers:
			err = d.members(ctx, m, round)
		case phaseLog:
			if err = d.follow(ctx, m, round); err == nil {
				err = d.finish(ctx, m, round)
			}
		default:
			err = fmt.Errorf("the copy is in a phase %q that this program does not know", m[metaPhase])
		}
		if err != nil {
			return err
		}
	}
	return d.follow(ctx, m, round)
}

// begin starts a full sync. The log is followed from before it on, so that nothing that changes meanwhile is missed.
func (d *Directory) begin(ctx context.Context, m map[string]string, now time.Time) error {
	round, _ := strconv.ParseInt(m[metaRound], 10, 64)
	return d.keep(ctx, m, map[string]string{
		metaPhase: phaseUsers, metaCursor: "", metaGroup: "", metaRound: strconv.FormatInt(round+1, 10), metaBegan: written(now), metaWanted: "",
		metaLog: "", metaSince: written(now.Add(-overlap)), metaWork: "0",
	}, func(*sql.Tx) error { return nil })
}

// keep makes a step durable together with where to go on, and takes that into m.
func (d *Directory) keep(ctx context.Context, m, next map[string]string, write func(*sql.Tx) error) error {
	err := d.store.write(ctx, func(tx *sql.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		return database.SetMeta(ctx, tx, next)
	})
	if err != nil {
		return err
	}
	for name, value := range next {
		m[name] = value
	}
	return nil
}

// counted is next with one more page read.
func counted(m map[string]string, next map[string]string) map[string]string {
	n, _ := strconv.Atoi(m[metaWork])
	next[metaWork] = strconv.Itoa(n + 1)
	return next
}

// users reads a page of people.
func (d *Directory) users(ctx context.Context, m map[string]string, round int64) error {
	page, next, err := d.cfg.Source.Users(ctx, m[metaCursor])
	if err != nil {
		return err
	}
	to := map[string]string{metaCursor: next}
	if next == "" {
		to[metaPhase] = phaseGroups
	}
	return d.keep(ctx, m, counted(m, to), func(tx *sql.Tx) error {
		for _, u := range page {
			if err := putUser(ctx, tx, u, round); err != nil {
				return err
			}
		}
		return nil
	})
}

// groups reads a page of groups.
func (d *Directory) groups(ctx context.Context, m map[string]string, round int64) error {
	page, next, err := d.cfg.Source.Groups(ctx, m[metaCursor])
	if err != nil {
		return err
	}
	to := map[string]string{metaCursor: next}
	if next == "" {
		to[metaPhase], to[metaGroup] = phaseMembers, ""
	}
	return d.keep(ctx, m, counted(m, to), func(tx *sql.Tx) error {
		for _, g := range page {
			if err := putGroup(ctx, tx, g, round); err != nil {
				return err
			}
		}
		return nil
	})
}

// members reads a page of one group's members: of the first group after those that are done, or the next page of the one under way.
func (d *Directory) members(ctx context.Context, m map[string]string, round int64) error {
	group := m[metaGroup]
	if m[metaCursor] == "" {
		err := d.store.db.QueryRowContext(ctx, `SELECT id FROM groups WHERE id > ? AND round = ? ORDER BY id LIMIT 1`, group, round).Scan(&group)
		if errors.Is(err, sql.ErrNoRows) {
			return d.keep(ctx, m, map[string]string{metaPhase: phaseLog, metaGroup: ""}, func(*sql.Tx) error { return nil })
		}
		if err != nil {
			return err
		}
	}
	page, next, err := d.cfg.Source.Members(ctx, group, m[metaCursor])
	gone := errors.Is(err, ErrGone) // deleted since the groups were listed
	if err != nil && !gone {
		return err
	}
	return d.keep(ctx, m, counted(m, map[string]string{metaGroup: group, metaCursor: next}), func(tx *sql.Tx) error {
		if gone {
			return dropGroup(ctx, tx, group)
		}
		for _, u := range page {
			if err := join(ctx, tx, group, u, round); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish drops what the full sync has not seen: it is gone.
func (d *Directory) finish(ctx context.Context, m map[string]string, round int64) error {
	began := moment(m[metaBegan])
	return d.keep(ctx, m, map[string]string{
		metaPhase: "", metaFull: m[metaBegan], metaTook: strconv.FormatInt(d.cfg.Clock().Sub(began).Milliseconds(), 10),
	}, func(tx *sql.Tx) error {
		return run(ctx, tx, []string{`DELETE FROM members WHERE round < ?`, `DELETE FROM users WHERE round < ?`, `DELETE FROM groups WHERE round < ?`}, round)
	})
}
