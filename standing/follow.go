package standing

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// FollowConfig are the settings of a Follower. All fields up to State are required.
type FollowConfig struct {
	URL   string                 // of the feed, such as https://control.example/v1/standing; https, or http on loopback
	Token func() (string, error) // the feed's bearer token; asked for anew with every request, so that a new one is picked up
	Keys  []ed25519.PublicKey    // that may sign messages
	Cache string                 // file that keeps what is known over a restart; made with mode 0600, with a lock file beside it
	Gate  string                 // this gate's name, under which the feed knows how far it is
	State *State                 // what the gate decides by; the follower takes it over

	MaxStale   time.Duration    // how long grants are honoured without hearing the control plane; default 1 h
	Wait       time.Duration    // how long the feed may hold a request that nothing is new for; default 20 s
	HTTPClient *http.Client     // default: one of its own; redirects are never followed
	Clock      func() time.Time // default time.Now
	Logger     *slog.Logger     // default discards
}

const (
	defaultMaxStale = time.Hour
	defaultWait     = 20 * time.Second
	answerSlack     = 15 * time.Second // what an answer may take beyond Wait
	minPause        = 100 * time.Millisecond
	maxPause        = 10 * time.Second
	refreshAfter    = 24 * time.Hour // a full copy is taken anew, so that what the feed has forgotten is forgotten here too
	sweepEvery      = time.Minute
	noteEvery       = time.Minute // how often hearing nothing new is written to the cache
	copyAgain       = time.Minute // until another full copy is tried for a cache that could not be written
)

// Follower keeps a State as its feed has it. It ends with the context that Follow was given.
type Follower struct {
	cfg    FollowConfig
	cache  cache
	unlock func() error
	done   chan struct{}

	// Position in the feed; touched by the following goroutine only.
	feed   string
	seq    uint64
	link   string
	staged *staged   // while a full copy is on its way
	copied time.Time // when the last full copy was here
	noted  time.Time
	swept  time.Time

	mu     sync.Mutex // covers status
	status FollowStatus
}

// staged is a full copy on its way: nothing of it counts before all of it is here.
type staged struct {
	feed, link string
	seq        uint64
	raw        [][]byte
	events     []Event
}

// FollowStatus is where a follower is and what last went wrong.
type FollowStatus struct {
	Feed        string    `json:"feed,omitempty"`
	Seq         uint64    `json:"seq"`
	Error       string    `json:"error,omitempty"` // why the control plane was not heard last time; empty when it was
	ErrorAt     time.Time `json:"error_at,omitzero"`
	CacheError  string    `json:"cache_error,omitempty"` // why a restart would begin with nothing
	State       Status    `json:"state"`
	StaleAfter  string    `json:"stale_after"`
	FromCacheAt time.Time `json:"from_cache,omitzero"` // when what came from the cache was last heard
}

// Follow makes the state follow a feed: first from the cache, then from the control plane, until ctx ends. When it returns the state either
// knows what the cache had or bars everybody with ReasonUnknown until the first full copy is here. It needs no network for that. Errors are
// about the settings and the cache's directory.
func Follow(ctx context.Context, cfg FollowConfig) (*Follower, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("following standings: %w", err)
	}
	unlock, err := durable.Lock(cfg.Cache + ".lock")
	if err != nil {
		return nil, fmt.Errorf("following standings: %w", err)
	}
	if err := cfg.State.follow(cfg.MaxStale); err != nil {
		return nil, errors.Join(fmt.Errorf("following standings: %w", err), unlock())
	}
	f := &Follower{cfg: cfg, cache: cache{path: cfg.Cache}, unlock: unlock, done: make(chan struct{})}
	f.status.StaleAfter = cfg.MaxStale.String()
	f.restore(ctx)
	go f.run(ctx)
	return f, nil
}

func (c *FollowConfig) check() error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("reading the feed's URL: %w", err)
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !netaddr.Loopback(u.Hostname())) || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the feed's URL %q must be https, or http on loopback, without a query", c.URL)
	case c.Token == nil:
		return errors.New("name the feed's token")
	case len(c.Keys) == 0:
		return errors.New("name at least one key that may sign")
	case c.Cache == "":
		return errors.New("name a cache file: without one, a restart would forget who was barred")
	case c.Gate == "" || name("the gate's name", c.Gate, maxID) != nil:
		return fmt.Errorf("the gate's name %q is empty or unfit", clip(c.Gate))
	case c.State == nil:
		return errors.New("there is no state to keep")
	case c.MaxStale < 0 || c.Wait < 0:
		return errors.New("times can't be negative")
	}
	for _, k := range c.Keys {
		if len(k) != ed25519.PublicKeySize {
			return errors.New("a key that may sign is no Ed25519 public key")
		}
	}
	if err := os.MkdirAll(filepath.Dir(c.Cache), 0o700); err != nil {
		return fmt.Errorf("making the cache's directory: %w", err)
	}
	if c.MaxStale == 0 {
		c.MaxStale = defaultMaxStale
	}
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	client := http.Client{}
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTPClient = &client
	return nil
}

// Done is closed when the follower has ended.
func (f *Follower) Done() <-chan struct{} { return f.done }

// Status tells where the follower is.
func (f *Follower) Status() FollowStatus {
	f.mu.Lock()
	out := f.status
	f.mu.Unlock()
	out.State = f.cfg.State.Status(f.cfg.Clock())
	return out
}

// restore begins with what an earlier run kept.
func (f *Follower) restore(ctx context.Context) {
	r, err := f.cache.load(f.cfg.Keys)
	if err == nil {
		err = f.cfg.State.Replace(r.events, r.seq)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.cfg.Logger.WarnContext(ctx, "no standings are kept from before: every call is refused until the control plane is heard", "cache", f.cfg.Cache)
	case err != nil:
		f.cfg.Logger.ErrorContext(ctx, "the kept standings are not used: every call is refused until the control plane is heard", "cache", f.cfg.Cache, "error", err)
		f.tell(func(s *FollowStatus) { s.CacheError = err.Error() })
	default:
		now := f.cfg.Clock()
		if r.heard.After(now) {
			r.heard = now // the clock was set back; what the file says can't make the copy younger than it is
		}
		f.feed, f.seq, f.link, f.copied, f.noted = r.feed, r.seq, r.link, r.heard, r.heard
		f.cfg.State.hear(r.heard)
		f.tell(func(s *FollowStatus) { s.Feed, s.Seq, s.FromCacheAt = r.feed, r.seq, r.heard })
		f.cfg.Logger.InfoContext(ctx, "standings restored", "feed", r.feed, "seq", r.seq, "heard", r.heard)
	}
}

func (f *Follower) tell(change func(*FollowStatus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

// run follows until ctx ends.
func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	defer func() { _ = f.unlock() }()
	pause, failing, stale := minPause, "", false
	for ctx.Err() == nil {
		err := f.round(ctx)
		now := f.cfg.Clock()
		if now.Sub(f.swept) >= sweepEvery || now.Before(f.swept) {
			f.swept = now
			f.cfg.State.Sweep(now)
		}
		if is := f.cfg.State.Stale(now); is != stale {
			if stale = is; stale && f.feed != "" {
				f.cfg.Logger.ErrorContext(ctx, "grants are not honoured: the control plane was not heard for too long", "limit", f.cfg.MaxStale)
			}
		}
		if err == nil {
			if failing != "" {
				f.cfg.Logger.InfoContext(ctx, "the control plane's standings are heard again", "seq", f.seq)
			}
			f.tell(func(s *FollowStatus) { s.Feed, s.Seq, s.Error, s.ErrorAt = f.feed, f.seq, "", time.Time{} })
			pause, failing = minPause, ""
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != failing {
			failing = text
			f.cfg.Logger.ErrorContext(ctx, "the control plane's standings are not heard; what is known stays in force", "url", f.cfg.URL, "seq", f.seq, "error", err)
		}
		f.tell(func(s *FollowStatus) { s.Error, s.ErrorAt = failing, now })
		timer := time.NewTimer(pause/2 + mathrand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = min(2*pause, maxPause)
	}
}
