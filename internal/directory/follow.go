package directory

import (
	"context"
	"database/sql"
	"errors"
)

// follow takes in what the org's log tells, page by page, until there is no more. A membership is taken as the event says, because events come in
// the order in which they happened; whoever else changed is looked at as they are now.
func (d *Directory) follow(ctx context.Context, m map[string]string, round int64) error {
	for empty := 0; ; {
		asked := d.cfg.Clock()
		page, err := d.cfg.Source.Log(ctx, m[metaLog], moment(m[metaSince]))
		if err != nil {
			return err
		}
		look, err := d.look(ctx, page.List)
		if err != nil {
			return err
		}
		// A page without events is the end, unless it is one of a stretch that the org's filter left nothing of: then the cursor has moved.
		if empty++; len(page.List) > 0 {
			empty = 0
		}
		end := empty > 0 && page.Next == m[metaLog] || empty >= emptyPages
		to := map[string]string{metaLog: page.Next}
		if end {
			if !page.AsOf.IsZero() {
				asked = page.AsOf
			}
			if asked.After(moment(m[metaAsOf])) {
				to[metaAsOf] = written(asked)
			}
		}
		if err := d.keep(ctx, m, to, func(tx *sql.Tx) error { return d.take(ctx, tx, page.List, look, round) }); err != nil {
			return err
		}
		if end {
			return nil
		}
	}
}

// emptyPages is after how many pages without events the log is taken to have ended, where its cursor moves by itself.
const emptyPages = 5

// found is what the org says now of whoever changed; nil for what is gone.
type found struct {
	users  map[string]*User
	groups map[string]*Group
}

// look asks the org about everybody and everything that a page of changes names, once each.
func (d *Directory) look(ctx context.Context, changes []Change) (found, error) {
	f := found{map[string]*User{}, map[string]*Group{}}
	for _, c := range changes {
		switch c.Kind {
		case UserChanged:
			if _, seen := f.users[c.User]; seen {
				continue
			}
			u, err := d.cfg.Source.User(ctx, c.User)
			switch {
			case errors.Is(err, ErrGone):
				f.users[c.User] = nil
			case err != nil:
				return f, err
			default:
				f.users[c.User] = &u
			}
		case GroupChanged:
			if _, seen := f.groups[c.Group]; seen {
				continue
			}
			g, err := d.cfg.Source.Group(ctx, c.Group)
			switch {
			case errors.Is(err, ErrGone):
				f.groups[c.Group] = nil
			case err != nil:
				return f, err
			default:
				f.groups[c.Group] = &g
			}
		}
	}
	return f, nil
}

// take puts changes into the copy, in order.
func (d *Directory) take(ctx context.Context, tx *sql.Tx, changes []Change, look found, round int64) error {
	for _, c := range changes {
		var err error
		switch c.Kind {
		case UserChanged:
			if u := look.users[c.User]; u != nil {
				err = putUser(ctx, tx, *u, round)
			} else {
				err = dropUser(ctx, tx, c.User)
			}
		case GroupChanged:
			if g := look.groups[c.Group]; g != nil {
				err = putGroup(ctx, tx, *g, round)
			} else {
				err = dropGroup(ctx, tx, c.Group)
			}
		case Joined:
			err = join(ctx, tx, c.Group, c.User, round)
		case Left:
			_, err = tx.ExecContext(ctx, `DELETE FROM members WHERE group_id = ? AND user_id = ?`, c.Group, c.User)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
