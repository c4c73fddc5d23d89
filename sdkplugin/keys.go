package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
)

const (
	keysMaxBytes   = 1 << 20
	keysTimeout    = 10 * time.Second
	keysRefresh    = 5 * time.Minute
	keysCooldown   = 5 * time.Second // between fetches that unknown keys cause
	startAttempts  = 6
	startBackoff   = 250 * time.Millisecond // doubled after each attempt: about 8 s in all
	userAgentValue = "bailiwick-sdkplugin"
)

// keyring holds the gate's public keys. Reads are lock-free and never touch the network, so that workflow code may verify.
// The last good set stays when a fetch fails.
type keyring struct {
	url     string
	client  *http.Client
	refresh time.Duration
	log     *slog.Logger
	set     atomic.Pointer[attest.KeySet]

	poke chan struct{} // capacity 1: an unknown key was seen

	fetchMu sync.Mutex // held during a fetch; guards lastTry
	lastTry time.Time

	mu    sync.Mutex // guards the fields below
	users int        // workers and replays in progress
	quit  context.CancelFunc
	done  chan struct{}
}

func newKeyring(o Options) *keyring {
	k := &keyring{url: o.KeysURL, client: o.HTTPClient, refresh: o.KeysRefresh, log: o.Logger, poke: make(chan struct{}, 1)}
	if k.client == nil {
		k.client = &http.Client{Timeout: keysTimeout}
	}
	if k.refresh <= 0 {
		k.refresh = keysRefresh
	}
	set := o.Keys
	k.set.Store(&set)
	return k
}

// current returns the keys as last fetched.
func (k *keyring) current() attest.KeySet { return *k.set.Load() }

// start fetches the keys for the first user and keeps them fresh until the last one stops. An error means that there are no keys at all.
func (k *keyring) start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users++
	if k.url == "" || k.quit != nil {
		return nil
	}
	err := k.fetchAtStart(ctx)
	run, quit := context.WithCancel(context.Background())
	k.quit, k.done = quit, make(chan struct{})
	go k.loop(run, k.done)
	return err
}

func (k *keyring) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.users--; k.users > 0 || k.quit == nil {
		return
	}
	k.quit()
	<-k.done
	k.quit, k.done = nil, nil
}

// fetchAtStart tries a few times, since a worker often starts together with the control plane.
func (k *keyring) fetchAtStart(ctx context.Context) error {
	var err error
	wait := startBackoff
	for try := range startAttempts {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
			wait *= 2
		}
		if err = k.fetch(ctx, 0); err == nil {
			return nil
		}
	}
	if k.current().Len() > 0 {
		return nil // from an earlier worker
	}
	return fmt.Errorf("fetching attestation keys: %w; check that the control plane runs and that KeysURL is right", err)
}

func (k *keyring) loop(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(k.refresh)
	defer tick.Stop()
	for {
		cooldown := time.Duration(0)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.poke:
			cooldown = keysCooldown
		}
		if err := k.fetch(ctx, cooldown); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "refreshing attestation keys failed; the last good set stays", "url", k.url, "error", err)
		}
	}
}

// missing asks the background for a fetch and returns at once. It is what workflow code may call.
func (k *keyring) missing() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// fetchMissing fetches in the caller's time, for activities. Within the cool-down after another fetch it does nothing.
func (k *keyring) fetchMissing(ctx context.Context) {
	if k.url == "" {
		return
	}
	if err := k.fetch(ctx, keysCooldown); err != nil {
		k.log.WarnContext(ctx, "fetching attestation keys failed; the last good set stays", "url", k.url, "error", err)
	}
}

// fetch replaces the set by the published one. An unreadable or empty answer changes nothing.
func (k *keyring) fetch(ctx context.Context, cooldown time.Duration) error {
	k.fetchMu.Lock()
	defer k.fetchMu.Unlock()
	if cooldown > 0 && time.Since(k.lastTry) < cooldown {
		return nil
	}
	k.lastTry = time.Now()
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", userAgentValue)
	resp, err := withoutRedirects(k.client).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", k.url, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, keysMaxBytes+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", k.url, err)
	}
	set, err := attest.ParseKeySet(body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", k.url, err)
	}
	if !set.Equal(k.current()) {
		k.log.InfoContext(ctx, "attestation keys changed", "keys", set.Len())
	}
	k.set.Store(&set)
	return nil
}

// withoutRedirects returns the client with redirects turned into errors: keys and credentials are for the host that was configured.
func withoutRedirects(c *http.Client) *http.Client {
	strict := *c
	strict.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		return fmt.Errorf("refusing the redirect to %s; configure the final address", req.URL.Host)
	}
	return &strict
}

// checkURL accepts absolute https addresses, and http on loopback.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	switch {
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q is not an absolute http(s) address without user and fragment", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && loopbackHost(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%q is plain http to a host that is not loopback; use https", raw)
	}
	return errors.New("the address must begin with https://")
}

// loopbackHost reports whether a host name or address can only be this machine.
func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// loopbackTarget reports whether a gRPC target (a Temporal HostPort) can only be this machine. Unknown schemes count as elsewhere.
func loopbackTarget(target string) bool {
	if target == "" {
		return true // the SDK's default, localhost:7233
	}
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	for _, scheme := range []string{"dns:///", "passthrough:///", "ipv4:", "ipv6:"} {
		target = strings.TrimPrefix(target, scheme)
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	return loopbackHost(host)
}
