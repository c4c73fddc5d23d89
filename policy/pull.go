package policy

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// BundleOptions are the settings of an Engine that pulls signed bundles.
type BundleOptions struct {
	URL        string              // https, or http on loopback
	Keys       []ed25519.PublicKey // that may sign
	CacheDir   string              // keeps the last good bundle, and with it its serial, over a restart; made if absent
	Poll       time.Duration       // how often Watch asks; default 30 s
	HTTPClient *http.Client        // default: 10 s in all for one request; redirects are never followed
	Logger     *slog.Logger        // default: discard
	OnChange   func(Status)        // called after each swap and each new failure, from the goroutine that pulled
	Clock      func() time.Time    // default time.Now
	Before     func(Status) error  // as in Options; an error leaves the last good bundle in force, and the next pull tries again
}

// puller fetches bundles for an engine. Its fields are touched only while the engine's reloading is held.
type puller struct {
	options BundleOptions
	etag    string // of the bundle in force
	raw     string // of the bundle in force
}

// cachedBundle is the file in CacheDir that holds the last good bundle.
const cachedBundle = "policy-bundle.jws"

// OpenURL starts an Engine from a signed bundle: pulled now, or, if that fails, from the copy that an earlier run kept. With neither it is
// an error. Watch pulls from then on: what is unsigned, wrongly signed, expired, older than what was in force or does not load leaves the last
// good bundle in force and is told by Status, OnChange and the log. When the bundle in force expires before a newer one came, every decision
// is a denial with CodeStale.
func OpenURL(ctx context.Context, o BundleOptions) (*Engine, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("opening policy bundle: %w", err)
	}
	e := &Engine{options: Options{Logger: o.Logger, Poll: o.Poll, OnChange: o.OnChange, Before: o.Before, Clock: o.Clock}, pull: &puller{options: o}}
	e.options.setDefaults(30 * time.Second)
	if err := os.MkdirAll(o.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the policy bundle's cache: %w", err)
	}
	e.reloading.Lock()
	defer e.reloading.Unlock()
	e.loadCache(ctx)
	err := e.pullBundle(ctx)
	if e.current.Load() == nil {
		return nil, fmt.Errorf("opening policy bundle: %w (and %s holds none from before)", err, o.CacheDir)
	}
	return e, nil
}

func (o *BundleOptions) check() error {
	u, err := url.Parse(o.URL)
	if err != nil {
		return fmt.Errorf("reading its URL: %w", err)
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !netaddr.Loopback(u.Hostname())) || u.Host == "":
		return fmt.Errorf("%q must be https, or http on loopback", o.URL)
	case len(o.Keys) == 0:
		return errors.New("name at least one key that may sign it")
	case o.CacheDir == "":
		return errors.New("name a cache directory: without one, a restart would take an older bundle for good")
	}
	for _, k := range o.Keys {
		if len(k) != ed25519.PublicKeySize {
			return errors.New("a key that may sign it is no Ed25519 public key")
		}
	}
	client := http.Client{Timeout: 10 * time.Second}
	if o.HTTPClient != nil {
		client = *o.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.HTTPClient = &client
	return nil
}

// loadCache puts the bundle of an earlier run in force. One that has expired since still counts: it decides nothing, but its serial bars
// older ones. The caller holds reloading.
func (e *Engine) loadCache(ctx context.Context) {
	path := filepath.Join(e.pull.options.CacheDir, cachedBundle)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s *Set
	if err == nil {
		var p bundlePayload
		if p, _, err = verifyBundle(raw, e.pull.options.Keys); err == nil {
			s, err = p.load()
		}
	}
	if err != nil {
		e.options.Logger.ErrorContext(ctx, "the kept policy bundle is not used", "path", path, "error", err)
		return
	}
	s.loaded = e.options.Clock()
	e.pull.raw = string(raw)
	e.current.Store(s)
	e.options.Logger.InfoContext(ctx, "policies loaded from the kept bundle", "digest", s.digest, "serial", s.serial, "expires", s.expires)
}

// pullBundle asks for a newer bundle and puts it in force. The caller holds reloading.
func (e *Engine) pullBundle(ctx context.Context) error {
	s, raw, etag, err := e.fetchBundle(ctx)
	if err == nil && s == nil { // what is in force is what there is
		if now := e.current.Load(); !e.stale(now) {
			if e.setFailure("") {
				e.options.Logger.InfoContext(ctx, "the policy bundle in force is current again", "serial", now.serial)
				e.tell()
			}
			return nil
		}
		err = errors.New("there is no newer one")
	}
	if err == nil {
		s.loaded = e.options.Clock()
		err = e.announce(s)
	}
	if err != nil {
		if now := e.current.Load(); now != nil && e.stale(now) {
			err = fmt.Errorf("%w; %w", e.expired(now), err)
		}
		if e.setFailure(err.Error()) {
			e.options.Logger.ErrorContext(ctx, "no newer policy bundle, the last good one stays in force", "url", e.pull.options.URL, "error", err)
			if e.current.Load() != nil {
				e.tell()
			}
		}
		return fmt.Errorf("pulling policy bundle: %w", err)
	}
	// Kept before it is in force: after a crash in between, the next run begins with it.
	keeping := durable.WriteFile(filepath.Join(e.pull.options.CacheDir, cachedBundle), raw, 0o600)
	e.current.Store(s)
	e.pull.etag, e.pull.raw = etag, string(raw)
	e.setFailure("")
	if keeping != nil {
		// A newer set is worth more than the copy, but a restart would not know its serial.
		e.setFailure("keeping the policy bundle: " + keeping.Error())
		e.options.Logger.ErrorContext(ctx, "the policy bundle is in force but could not be kept", "error", keeping)
	}
	e.options.Logger.InfoContext(ctx, "policies loaded from a bundle", "digest", s.digest, "serial", s.serial, "expires", s.expires, "policies", len(s.policies))
	e.tell()
	return nil
}

func (e *Engine) expired(s *Set) error {
	return &BundleError{Code: BundleExpired, Detail: fmt.Sprintf("the policy bundle in force (serial %d) expired at %s: everything is refused", s.serial, s.expires.Format(time.RFC3339))}
}

// fetchBundle returns a nil set when what is in force is what the URL has.
func (e *Engine) fetchBundle(ctx context.Context) (*Set, []byte, string, error) {
	o := &e.pull.options
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return nil, nil, "", err
	}
	now := e.current.Load()
	if now != nil && e.pull.etag != "" {
		req.Header.Set("If-None-Match", e.pull.etag)
	}
	resp, err := o.HTTPClient.Do(req)
	if err != nil {
		return nil, nil, "", err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && now != nil && e.pull.etag != "":
		return nil, nil, "", nil
	case resp.StatusCode != http.StatusOK:
		return nil, nil, "", fmt.Errorf("%s answered %s", o.URL, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBundle+1))
	if err != nil {
		return nil, nil, "", fmt.Errorf("reading %s: %w", o.URL, err)
	}
	etag := resp.Header.Get("ETag")
	if now != nil && string(raw) == e.pull.raw {
		e.pull.etag = etag
		return nil, nil, "", nil
	}
	var min uint64
	if now != nil {
		min = now.serial
	}
	s, m, err := OpenBundle(raw, o.Keys, min, e.options.Clock())
	if err != nil {
		return nil, nil, "", err
	}
	if m.Serial == min {
		return nil, nil, "", &BundleError{Code: BundleRollback, Detail: fmt.Sprintf("serial %d is in force already with other contents: use a higher one", min)}
	}
	return s, raw, etag, nil
}
