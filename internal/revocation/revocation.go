// Package revocation turns what the identity provider says of people into standings that gates follow: who was deactivated, suspended, taken out of a
// group or signed out everywhere is refused at the next call, whatever their token says.
//
// It owns the signals (event hooks, the System Log, security events), their durable queue and dedup, what follows from them for each person, and the
// record of it. A signal only says whom to look at: what follows is derived from what the directory says now, so that signals which come twice,
// late or out of order end in the same state. While the directory does not answer, a signal that takes access away is believed, and one that gives it
// back waits.
//
// It refuses to know how Okta is asked and how gates are told: both come through interfaces. It acts on people's standing, not on their runs.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Person is what the directory says of somebody now.
type Person struct {
	Login  string
	Status string // as the directory calls it, such as "SUSPENDED"; for the record
	Active bool   // may sign in
	Groups []string
}

// Directory tells what somebody is now. found is false for whom the directory does not have (any more).
type Directory interface {
	Find(ctx context.Context, uid string) (p Person, found bool, err error)
}

// Log is the provider's own log. After returns what follows a cursor, oldest first, and the next cursor; with an empty cursor it begins at since.
// ErrCursor means that the cursor can't be used any more, ErrLimited that it was asked too often.
type Log interface {
	After(ctx context.Context, cursor string, since time.Time) (events []Happening, next string, err error)
}

var (
	ErrCursor  = errors.New("the cursor is not valid any more")
	ErrLimited = errors.New("rate limited")
)

// Publisher tells gates; feed.Feed does. Publishing an event of one id twice changes nothing.
type Publisher interface {
	Put(ctx context.Context, e standing.Event) (seq uint64, err error)
	WaitSeen(ctx context.Context, seq uint64) error // until every gate that is there has it
}

// Recorder keeps the record; control.Plane does. An entry of the same id twice is one event told twice.
type Recorder interface {
	Record(ctx context.Context, e audit.Entry) (id string, err error)
}

// Ender ends what somebody was lent; access.Service does. It may fail for a while and is then asked again.
type Ender interface {
	EndAll(ctx context.Context, principal, why string) error
}

// Loss is that somebody lost access, or has it again, as whoever looks after their runs is told.
type Loss struct {
	Principal   string    `json:"principal"`
	Login       string    `json:"login,omitempty"`
	Reason      string    `json:"reason,omitempty"` // of the bar
	Source      string    `json:"source,omitempty"`
	SourceEvent string    `json:"source_event,omitempty"`
	At          time.Time `json:"at,omitzero"`
}

// Keeper looks after what somebody has under way. Both may fail for a while and are then called again; of one person, in order.
type Keeper interface {
	Lost(ctx context.Context, l Loss) error
	Restored(ctx context.Context, l Loss) error
}

// Config says what revocation works with. The first five are required.
type Config struct {
	File      string   // SQLite file of the queue and of what is known; made if absent
	Issuers   []string // of tokens that name these people: a bar for each
	Directory Directory
	Publisher Publisher
	Recorder  Recorder

	Log    Log    // default none: hooks alone
	Ender  Ender  // default none
	Keeper Keeper // default none
	Secret string // that event hooks carry in the Authorization header, at least 20 characters; empty: none is taken

	Every time.Duration // how often the log is asked when nothing is wrong; default 10 s
	Since time.Duration // how far back the first look at the log goes: the longest life of a token; default 25 h
	Trust time.Duration // how long the directory may take before a signal that takes access away is believed without it; default 1 s

	Clock  func() time.Time // default time.Now
	Meter  metric.Meter     // default none
	Logger *slog.Logger     // default discards
}

// Revoker is a running revocation. Its parts are safe for concurrent use.
type Revoker struct {
	cfg     Config
	store   *store
	metrics *metrics
	secret  [32]byte // digest

	news chan struct{} // there are signals to settle
	out  chan struct{} // there are rows to publish

	watched chan struct{} // a place for each revocation whose way to the gates is measured

	mu     sync.Mutex // covers status
	status Status

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open opens the queue and begins: what was under way goes on.
func Open(ctx context.Context, cfg Config) (*Revoker, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("opening revocation: %w", err)
	}
	r := &Revoker{cfg: cfg, news: make(chan struct{}, 1), out: make(chan struct{}, 1), watched: make(chan struct{}, 16), secret: digest(cfg.Secret)}
	var err error
	if r.metrics, err = newMetrics(cfg.Meter); err != nil {
		return nil, fmt.Errorf("opening revocation: %w", err)
	}
	if r.store, err = openStore(ctx, cfg.File); err != nil {
		return nil, fmt.Errorf("opening revocation: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.running.Go(func() { r.settleAll(run) })
	r.running.Go(func() { r.publishAll(run) })
	if cfg.Log != nil {
		r.running.Go(func() { r.poll(run) })
	}
	return r, nil
}

func (c *Config) check() error {
	switch {
	case c.File == "" || len(c.Issuers) == 0 || c.Directory == nil || c.Publisher == nil || c.Recorder == nil:
		return errors.New("set File, Issuers, Directory, Publisher and Recorder")
	case c.Secret != "" && len(c.Secret) < 20:
		return errors.New("the event hook's secret has fewer than 20 characters")
	case c.Every < 0 || c.Since < 0 || c.Trust < 0:
		return errors.New("times can't be negative")
	}
	for d, fallback := range map[*time.Duration]time.Duration{&c.Every: 10 * time.Second, &c.Since: 25 * time.Hour, &c.Trust: time.Second} {
		if *d == 0 {
			*d = fallback
		}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Close stops. What is queued goes on at the next Open.
func (r *Revoker) Close() error {
	r.stop()
	r.running.Wait()
	return r.store.db.Close()
}

// Accept makes signals durable and sets to work on them. A signal whose ID came before is passed over.
func (r *Revoker) Accept(ctx context.Context, signals ...Signal) error {
	if len(signals) == 0 {
		return nil
	}
	added, err := r.store.accept(ctx, signals, r.cfg.Clock(), nil)
	if err != nil {
		return fmt.Errorf("queueing signals: %w", err)
	}
	r.accepted(signals, added)
	return nil
}

func (r *Revoker) accepted(signals []Signal, added int) {
	r.metrics.received(signals[0].Source, added, len(signals)-added)
	if added > 0 {
		wake(r.news)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody is told already
	}
}
