package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/standing"
)

// Facts are what is known of one person, and how old that is.
type Facts struct {
	User   User      `json:"user"`
	Groups []Group   `json:"groups"`
	AsOf   time.Time `json:"as_of"`
	From   string    `json:"from"` // "org", or "copy" while the org does not answer
}

// lookTimeout bounds one look-up at the org: gates wait for it with a call.
const lookTimeout = 5 * time.Second

// lookups are those under way: gates that ask about one person at a time cause one look-up.
type lookups struct {
	mu    sync.Mutex // covers under
	under map[string]*lookup
}

type lookup struct {
	done  chan struct{} // closed when the two below are there
	facts Facts
	err   error
}

// Look tells what the org says of a person now, by id. While it does not answer, the copy does, where it has the person. The error wraps ErrGone for
// whom the org does not have.
func (d *Directory) Look(ctx context.Context, id string) (Facts, error) {
	d.looking.mu.Lock()
	if d.looking.under == nil {
		d.looking.under = map[string]*lookup{}
	}
	l, joined := d.looking.under[id]
	if !joined {
		l = &lookup{done: make(chan struct{})}
		d.looking.under[id] = l
	}
	d.looking.mu.Unlock()
	if !joined {
		go func() { // it serves all who wait, and does not end with who came first
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
			defer cancel()
			l.facts, l.err = d.look1(ctx, id)
			d.looking.mu.Lock()
			delete(d.looking.under, id)
			d.looking.mu.Unlock()
			close(l.done)
		}()
	}
	select {
	case <-l.done:
		return l.facts, l.err
	case <-ctx.Done():
		return Facts{}, ctx.Err()
	}
}

func (d *Directory) look1(ctx context.Context, id string) (Facts, error) {
	f := Facts{AsOf: d.cfg.Clock(), From: "org"}
	var err error
	if f.User, err = d.cfg.Live.User(ctx, id); err == nil {
		f.Groups, err = d.cfg.Live.GroupsOf(ctx, id)
	}
	if err == nil {
		f.User.Profile = bounded(f.User.Profile)
		return f, nil
	}
	if errors.Is(err, ErrGone) {
		return Facts{}, fmt.Errorf("looking up a person: %w", err)
	}
	kept, has, failed := d.copied(context.WithoutCancel(ctx), `u.id = ?`, id)
	if failed != nil || !has {
		return Facts{}, fmt.Errorf("looking up a person: %w", err)
	}
	d.cfg.Logger.WarnContext(ctx, "the org does not answer; a person is told from the copy", "as_of", kept.AsOf, "error", err)
	return kept, nil
}

// Copy tells what the copy says of a person, by id or login.
func (d *Directory) Copy(ctx context.Context, idOrLogin string) (Facts, bool, error) {
	f, has, err := d.copied(ctx, `u.id = ?`, idOrLogin)
	if err == nil && !has {
		f, has, err = d.copied(ctx, `u.login = ?`, idOrLogin)
	}
	if err != nil {
		return f, false, fmt.Errorf("reading the directory's copy: %w", err)
	}
	return f, has, nil
}

// copied reads the copy; nobody, before the first full sync has ended.
func (d *Directory) copied(ctx context.Context, where, arg string) (f Facts, has bool, err error) {
	m, err := d.store.meta(ctx)
	if err != nil || m[metaAsOf] == "" {
		return f, false, err
	}
	f.AsOf, f.From = moment(m[metaAsOf]), "copy"
	var profile string
	err = d.store.db.QueryRowContext(ctx, `SELECT u.id, u.login, u.status, u.active, u.profile FROM users u WHERE `+where, arg).
		Scan(&f.User.ID, &f.User.Login, &f.User.Status, &f.User.Active, &profile)
	if errors.Is(err, sql.ErrNoRows) {
		return f, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(profile), &f.User.Profile)
	}
	if err != nil {
		return f, false, err
	}
	rows, err := d.store.db.QueryContext(ctx, `SELECT g.id, g.name FROM members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = ? ORDER BY g.name`, f.User.ID)
	if err != nil {
		return f, false, err
	}
	defer rows.Close()
	f.Groups = []Group{}
	for rows.Next() {
		var g Group
		if err := rows.Scan(&g.ID, &g.Name); err != nil {
			return f, false, err
		}
		f.Groups = append(f.Groups, g)
	}
	return f, true, rows.Err()
}

// Persons tells a gate in this process what the org says of whoever a principal names. Of other issuers than this one nothing is known.
type Persons struct {
	*Directory
	Issuer string // whose tokens name the org's people
}

// ErrForeign: the principal is nobody of this org.
var ErrForeign = errors.New("not a person of this org")

// Person implements what gates ask for. Whom the org does not have is not active: they were deleted.
func (p Persons) Person(ctx context.Context, principal string) (standing.Person, error) {
	id, ours := strings.CutPrefix(principal, "user:"+p.Issuer+"|")
	if !ours || id == "" {
		return standing.Person{}, fmt.Errorf("looking up a person: %w", ErrForeign)
	}
	asked := p.cfg.Clock()
	f, err := p.Look(ctx, id)
	if errors.Is(err, ErrGone) {
		return standing.Person{Principal: principal, AsOf: asked.UTC()}, nil
	}
	if err != nil {
		return standing.Person{}, err
	}
	out := standing.Person{Principal: principal, Login: f.User.Login, Active: f.User.Active, Groups: make([]string, 0, len(f.Groups)), Profile: f.User.Profile, AsOf: f.AsOf.UTC()}
	for _, g := range f.Groups {
		out.Groups = append(out.Groups, g.Name)
	}
	return out, nil
}
