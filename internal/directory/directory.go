// Package directory keeps a copy of the org's people, groups and memberships, and tells gates what somebody's token leaves out.
//
// It owns the copy (in SQL, never in memory), how it is read from the org and kept up to date within a share of its rate limit, how old it is, and
// the look-up of one person. It refuses to know how the org is asked (Source), what the facts open (policy decides), and gates (they ask through
// an interface of their own).
//
// The copy is for questions about many: evidence, who-can. A gate's question about one person is asked of the org itself; the copy
// answers only while the org does not, and says how old it is.
package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// User is a person as the org knows them.
type User struct {
	ID      string                     `json:"id"`
	Login   string                     `json:"login"`
	Status  string                     `json:"status"` // as the org calls it, such as "SUSPENDED"
	Active  bool                       `json:"active"` // may sign in
	Profile map[string]json.RawMessage `json:"profile,omitempty"`
}

// Group is a group of people.
type Group struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Changes are a part of the org's log.
type Changes struct {
	List []Change  // in order
	Next string    // the cursor after them; never empty
	AsOf time.Time // without changes: when there were none; zero: when the log was asked for
}

// Change is what an event of the org's log means for the copy.
type Change struct {
	Kind  ChangeKind
	User  string // id
	Group string // id
	At    time.Time
}

// ChangeKind is what kind of change it is.
type ChangeKind string

const (
	UserChanged  ChangeKind = "user"         // look at the person anew; they may be gone
	GroupChanged ChangeKind = "group"        // look at the group anew; it may be gone
	Joined       ChangeKind = "joined"       // User is in Group
	Left         ChangeKind = "left"         // User is not in Group
	Elsewhere    ChangeKind = "not_relevant" // nothing that the copy holds
)

// Source is the org. Its pages are small; an empty next cursor ends a list. Errors that wrap ErrGone mean that what was asked for does not exist,
// those that wrap ErrCursor that a cursor is too old.
type Source interface {
	Users(ctx context.Context, cursor string) (users []User, next string, err error) // all, those who may not sign in included
	Groups(ctx context.Context, cursor string) (groups []Group, next string, err error)
	Members(ctx context.Context, group, cursor string) (users []string, next string, err error)
	User(ctx context.Context, id string) (User, error)
	Group(ctx context.Context, id string) (Group, error)
	GroupsOf(ctx context.Context, user string) ([]Group, error)
	// Log is what changed after a cursor; with an empty cursor, from since on.
	Log(ctx context.Context, cursor string, since time.Time) (Changes, error)
}

var (
	// ErrGone: the org does not have it (any more).
	ErrGone = errors.New("gone")
	// ErrCursor: the org does not know the cursor any more.
	ErrCursor = errors.New("the cursor is not valid any more")
)

// Config says what a directory works with. The first two are required.
type Config struct {
	File   string // SQLite file of the copy; made if absent
	Source Source // for the copy: give it a smaller share of the rate limit than Live has
	Live   Source // for looking up one person; default Source

	Every time.Duration // how often the log is asked for changes; default 30 s
	Full  time.Duration // how often everything is read anew, so that what no event told is found; default 24 h

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default discards
}

// ProfileMost bounds what is kept of one person's profile, in bytes of JSON. Attributes beyond are left out, longest first.
const ProfileMost = 8 << 10

func (c *Config) check() error {
	switch {
	case c.File == "" || c.Source == nil:
		return errors.New("set File and Source")
	case c.Every < 0 || c.Full < 0:
		return errors.New("times can't be negative")
	}
	if c.Live == nil {
		c.Live = c.Source
	}
	if c.Every == 0 {
		c.Every = 30 * time.Second
	}
	if c.Full == 0 {
		c.Full = 24 * time.Hour
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Directory is an open directory. It is safe for concurrent use; one process has a file open at a time.
type Directory struct {
	cfg     Config
	store   *store
	news    chan struct{} // somebody wants a round now
	syncing chan struct{} // a place for whoever syncs
	looking lookups
}

// Open opens the copy, and reads nothing yet: Run or Sync does.
func Open(ctx context.Context, cfg Config) (*Directory, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	s, err := openStore(ctx, cfg.File)
	if err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	return &Directory{cfg: cfg, store: s, news: make(chan struct{}, 1), syncing: make(chan struct{}, 1)}, nil
}

// Close releases the file. Run and Sync must have ended.
func (d *Directory) Close() error { return d.store.close() }

// Run keeps the copy up to date until ctx ends. What a run before it began goes on where it was.
func (d *Directory) Run(ctx context.Context) {
	pause, failing := time.Duration(0), ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.news:
		case <-time.After(pause):
		}
		err := d.Sync(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failing != "":
			failing = ""
			d.cfg.Logger.InfoContext(ctx, "the copy of the directory is kept up to date again")
		case err != nil && err.Error() != failing:
			failing = err.Error()
			d.cfg.Logger.WarnContext(ctx, "the copy of the directory could not be brought up to date; it stays as it is, and says how old it is", "error", err)
		}
		if pause = d.cfg.Every; err != nil {
			pause = min(2*d.cfg.Every, time.Minute)
		}
	}
}

// Wake begins a round now; full: everything is read anew.
func (d *Directory) Wake(ctx context.Context, full bool) error {
	if full {
		if err := d.store.set(ctx, map[string]string{metaWanted: "full"}); err != nil {
			return fmt.Errorf("asking for a full sync: %w", err)
		}
	}
	select {
	case d.news <- struct{}{}:
	default: // asked for already
	}
	return nil
}
