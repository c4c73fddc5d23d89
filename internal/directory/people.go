package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Listing says which people of the copy are meant, and how much of them.
type Listing struct {
	Active     bool           // only those who may sign in
	Groups     *regexp.Regexp // only groups with such names, and people in one of them; nil: everybody, with all their groups
	Attributes []string       // of their profile; nil: none
}

// Listed is a person of a listing. Its JSON is the form in which listings are handed out.
type Listed struct {
	ID      string                     `json:"id"`
	Login   string                     `json:"login"`
	Status  string                     `json:"status"`
	Active  bool                       `json:"active"`
	Groups  []string                   `json:"groups"` // names, in order
	Profile map[string]json.RawMessage `json:"profile,omitempty"`
}

// ErrNotWhole: the first full sync has not ended, so that there is no copy to list.
var ErrNotWhole = errors.New("the copy of the directory is not whole yet")

// People lists people of the copy as it is at one moment, in order of their ids. begin is told up to when the copy is true, then each is handed one
// person after the other, so that none is kept in memory. The error wraps ErrNotWhole while there is no copy, and is begin's or each's own if that fails.
func (d *Directory) People(ctx context.Context, l Listing, begin func(asOf time.Time) error, each func(Listed) error) error {
	// Read only: a slow reader holds up nobody who writes.
	tx, err := d.store.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("reading the directory's copy: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it has written nothing
	var asOf string
	err = tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, metaAsOf).Scan(&asOf)
	if errors.Is(err, sql.ErrNoRows) || err == nil && asOf == "" {
		return fmt.Errorf("reading the directory's copy: %w", ErrNotWhole)
	}
	if err != nil {
		return fmt.Errorf("reading the directory's copy: %w", err)
	}
	if err := begin(moment(asOf)); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT u.id, u.login, u.status, u.active, CASE WHEN ? THEN u.profile ELSE '' END, coalesce(g.name, '') FROM users u LEFT JOIN members m ON m.user_id = u.id
 LEFT JOIN groups g ON g.id = m.group_id WHERE u.active OR NOT ? ORDER BY u.id`, len(l.Attributes) > 0, l.Active)
	if err != nil {
		return fmt.Errorf("reading the directory's copy: %w", err)
	}
	defer rows.Close()
	var one Listed
	flush := func() error {
		if one.ID == "" || l.Groups != nil && len(one.Groups) == 0 {
			return nil
		}
		slices.Sort(one.Groups)
		one.Groups = slices.Compact(one.Groups)
		return each(one)
	}
	for rows.Next() {
		var p Listed
		var profile, group string
		if err := rows.Scan(&p.ID, &p.Login, &p.Status, &p.Active, &profile, &group); err != nil {
			return fmt.Errorf("reading the directory's copy: %w", err)
		}
		if p.ID != one.ID {
			if err := flush(); err != nil {
				return err
			}
			one, one.Groups = p, []string{}
			if one.Profile, err = attributes(profile, l.Attributes); err != nil {
				return fmt.Errorf("reading the directory's copy: %w", err)
			}
		}
		if group != "" && (l.Groups == nil || l.Groups.MatchString(group)) {
			one.Groups = append(one.Groups, group)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the directory's copy: %w", err)
	}
	return flush()
}

// attributes are those of a kept profile that are wanted.
func attributes(profile string, wanted []string) (map[string]json.RawMessage, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(profile), &all); err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	for _, name := range wanted {
		if v, has := all[name]; has {
			out[name] = v
		}
	}
	return out, nil
}
