package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Options are the settings of an Engine.
type Options struct {
	Logger   *slog.Logger  // default: discard
	Poll     time.Duration // how often Watch reads the directory; default 500 ms
	OnChange func(Status)  // called after each swap and each new failure, from the goroutine that reloaded

	// Before is called with each set that is about to replace the one in force, from the goroutine that reloads. An error keeps the old set in force,
	// is told like any failure, and Watch tries again: a set that can't be put on record must decide nothing. Default none.
	Before func(next Status) error
	Clock  func() time.Time // default time.Now
}

func (o *Options) setDefaults(poll time.Duration) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll <= 0 {
		o.Poll = poll
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
}

// Status is what is in force and what last went wrong.
type Status struct {
	Digest      string    // SHA-256 (hex) of the set in force
	Loaded      time.Time // when it was put in force
	Policies    int
	Files       []string
	LastError   string    // why the directory as it is now is not in force; empty when it is
	LastErrorAt time.Time // zero without LastError

	// Of a signed bundle; zero for a directory.
	Serial  uint64
	Expires time.Time
	Stale   bool // it has expired: everything is refused
}

// Detail is what an audit entry says of the set in force, under keys that docs/audit-log.md lists.
func (s Status) Detail() map[string]string {
	d := map[string]string{"policy_digest": s.Digest}
	if s.Serial != 0 {
		d["bundle_serial"], d["bundle_expires"] = strconv.FormatUint(s.Serial, 10), s.Expires.UTC().Format(time.RFC3339)
	}
	return d
}

// BundleOf reads the serial and the expiry of the signed bundle in which a set came from such a detail; zero for a set that came in none.
func BundleOf(detail map[string]string) (serial uint64, expires time.Time) {
	serial, err := strconv.ParseUint(detail["bundle_serial"], 10, 64)
	if err != nil {
		return 0, time.Time{}
	}
	if expires, err = time.Parse(time.RFC3339, detail["bundle_expires"]); err != nil {
		return 0, time.Time{}
	}
	return serial, expires
}

// Engine holds the policy set in force and answers requests from it. Its methods may be called at the same time.
type Engine struct {
	dir     string
	pull    *puller // instead of dir, for bundles
	options Options
	current atomic.Pointer[Set] // swapped whole

	reloading sync.Mutex // one reload at a time: held while reading, compiling, swapping and telling OnChange

	mu      sync.Mutex // covers the two below
	failure string
	failed  time.Time
}

// Open loads the directory. An initial set that does not load is an error (a *LoadError names every problem): there is no last
// good one to fall back on.
func Open(dir string, o Options) (*Engine, error) {
	o.setDefaults(500 * time.Millisecond)
	e := &Engine{dir: dir, options: o}
	src, err := readSource(dir)
	if err != nil {
		return nil, err
	}
	s, problems := compile(src)
	if s == nil {
		return nil, fmt.Errorf("loading policies from %s: %w", dir, &LoadError{problems})
	}
	s.loaded = o.Clock()
	e.current.Store(s)
	return e, nil
}

// Decide answers one request from the set in force. It never fails: what can't be decided is denied with CodePolicyError.
// What the principal's claims hold is remembered by their address, so that claims must not be changed after their first use.
func (e *Engine) Decide(req Request) Decision {
	s := e.current.Load()
	if e.stale(s) {
		return s.deny(CodeStale, "the policies in force expired at "+s.expires.UTC().Format(time.RFC3339)+" and no newer ones came: tell your operator")
	}
	return s.decide(&req)
}

// stale reports whether the set is past the time to which its bundle limits it.
func (e *Engine) stale(s *Set) bool {
	return !s.expires.IsZero() && !e.options.Clock().Before(s.expires)
}

// Needs reports whether some policy that could apply to the action in the namespace looks at what a call about an existing run does
// not tell: its workflow type, task queue or search attributes. If so, the caller should find them out before it asks.
func (e *Engine) Needs(action, namespace string) bool {
	return e.current.Load().needs(action, namespace)
}

// NamespacesFor lists, sorted, the namespaces in which the claims hold any role by roles.yaml. all reports a role in every
// namespace; visible then holds only those that are named besides.
func (e *Engine) NamespacesFor(c *identity.Claims) (visible []string, all bool) {
	s := e.current.Load()
	if invalidClaims(c) != "" || e.stale(s) {
		return nil, false
	}
	return s.namespacesFor(c)
}

// Status tells what is in force.
func (e *Engine) Status() Status {
	s := e.current.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	return Status{
		Digest: s.digest, Loaded: s.loaded, Policies: len(s.policies), Files: slices.Clone(s.files),
		LastError: e.failure, LastErrorAt: e.failed, Serial: s.serial, Expires: s.expires, Stale: e.stale(s),
	}
}

// Reload reads the directory, or pulls the bundle, now and puts it in force if it loads. The error, a *LoadError or one of reading, leaves the last good
// set in force.
func (e *Engine) Reload() error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if e.pull != nil {
		return e.pullBundle(context.Background())
	}
	src, err := readSource(e.dir)
	return e.apply(context.Background(), src, err)
}

// Watch reads the directory, or pulls the bundle, every Poll until ctx ends. A change is put in force once two readings in a row agree, because a file
// that is half written may parse, and what is missing from it may be a forbid.
func (e *Engine) Watch(ctx context.Context) {
	tick := time.NewTicker(e.options.Poll)
	defer tick.Stop()
	seen, tried := "", e.current.Load().digest // of the last reading, and of the last one that was acted on
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.reloading.Lock()
		if e.pull != nil {
			_ = e.pullBundle(ctx) // told by Status, OnChange and the log
			e.reloading.Unlock()
			continue
		}
		src, err := readSource(e.dir)
		now := "error: "
		if err == nil {
			now = src.digest
		} else {
			now += err.Error()
		}
		if now == seen && now != tried {
			tried = now
			// Told by Status, OnChange and the log. What was only not put on record is tried again at the next reading.
			if err := e.apply(ctx, src, err); errors.Is(err, errNotAnnounced) {
				tried = ""
			}
		}
		seen = now
		e.reloading.Unlock()
	}
}

// apply acts on one reading. The caller holds reloading.
func (e *Engine) apply(ctx context.Context, src *source, err error) error {
	if err == nil && src.digest == e.current.Load().digest {
		// Back to what is in force: a failure in between is over.
		if e.setFailure("") {
			e.options.Logger.InfoContext(ctx, "policies are back to the set in force", "digest", src.digest)
			e.tell()
		}
		return nil
	}
	var s *Set
	if err == nil {
		var problems []Problem
		if s, problems = compile(src); s == nil {
			err = &LoadError{problems}
		}
	}
	if err == nil {
		s.loaded = e.options.Clock()
		err = e.announce(s)
	}
	if err != nil {
		if e.setFailure(err.Error()) {
			e.options.Logger.ErrorContext(ctx, "policies not loaded, the last good set stays in force",
				"dir", e.dir, "error", err, "digest", e.current.Load().digest)
			e.tell()
		}
		return fmt.Errorf("loading policies from %s: %w", e.dir, err)
	}
	e.current.Store(s)
	e.setFailure("")
	e.options.Logger.InfoContext(ctx, "policies loaded", "digest", s.digest, "policies", len(s.policies), "files", s.files)
	e.tell()
	return nil
}

// errNotAnnounced marks a set that is sound and that Before did not let in.
var errNotAnnounced = errors.New("the new set is not in force")

// announce asks Before whether s may replace the set in force. The first set of an engine replaces none.
func (e *Engine) announce(s *Set) error {
	if e.options.Before == nil || e.current.Load() == nil {
		return nil
	}
	if err := e.options.Before(Status{Digest: s.digest, Loaded: s.loaded, Policies: len(s.policies), Files: slices.Clone(s.files), Serial: s.serial, Expires: s.expires}); err != nil {
		return fmt.Errorf("%w: %w", errNotAnnounced, err)
	}
	return nil
}

// setFailure reports whether the state changed from failing to well or to another failure.
func (e *Engine) setFailure(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if text == e.failure {
		return false
	}
	e.failure, e.failed = text, time.Time{}
	if text != "" {
		e.failed = e.options.Clock()
	}
	return true
}

func (e *Engine) tell() {
	if e.options.OnChange != nil {
		e.options.OnChange(e.Status())
	}
}
