package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Credentials give the bearer token of a call. Token is called for every call: implementations cache. They must be safe for concurrent use.
type Credentials interface {
	Token(ctx context.Context) (string, error)
}

// StaticToken is one token that never changes, for tests and short scripts.
func StaticToken(token string) Credentials {
	return TokenFunc(func(context.Context) (string, error) {
		if token == "" {
			return "", errors.New("the static token is empty")
		}
		return token, nil
	})
}

// TokenFunc makes Credentials of a function.
func TokenFunc(f func(ctx context.Context) (string, error)) Credentials { return tokenFunc(f) }

type tokenFunc func(context.Context) (string, error)

func (f tokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// RefusedError is a token endpoint's refusal that a retry will not change: a wrong client id, key, secret or scope.
type RefusedError struct {
	Endpoint string // host of the token endpoint
	Code     string // OAuth error code (RFC 6749 section 5.2), such as "invalid_client"
	Detail   string // the endpoint's description
	Hint     string // what to do
}

func (e *RefusedError) Error() string {
	text := "the token endpoint at " + e.Endpoint + " refused: " + e.Code
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// cachedToken is a token and its times. It is fit for use until hard; from soft on a new one is fetched in the background.
type cachedToken struct {
	value      string
	soft, hard time.Time
}

// newCachedToken sets the times: refresh after four fifths of the lifetime, stop using it a little before it expires, so that it
// survives the way to the server and a clock that is slightly off.
func newCachedToken(value string, now time.Time, lifetime time.Duration) cachedToken {
	return cachedToken{value: value, soft: now.Add(lifetime * 4 / 5), hard: now.Add(lifetime - min(30*time.Second, lifetime/10))}
}

const (
	fetchTimeout = 30 * time.Second // for all attempts of one fetch
	minCooldown  = time.Second      // after a failed fetch; doubled with each further failure
	maxCooldown  = 30 * time.Second
)

// tokenCache hands out one token to all callers, with one fetch at a time.
type tokenCache struct {
	fetch func(ctx context.Context) (cachedToken, error) // with its own retries
	log   *slog.Logger

	mu       sync.Mutex // guards the fields below; never held during a fetch
	token    cachedToken
	inFlight *flight
	failure  error // of the last fetch
	cooldown time.Duration
	notUntil time.Time // no fetch before this
}

type flight struct {
	done  chan struct{}
	token cachedToken // written before done is closed
	err   error
}

// Token returns the cached token at once while it is good, even if a new one is being fetched. Otherwise it waits for the fetch or for ctx.
func (c *tokenCache) Token(ctx context.Context) (string, error) {
	c.mu.Lock()
	now := time.Now()
	usable := c.token.value != "" && now.Before(c.token.hard)
	if usable && now.Before(c.token.soft) {
		defer c.mu.Unlock()
		return c.token.value, nil
	}
	if c.inFlight == nil && !now.Before(c.notUntil) {
		c.inFlight = &flight{done: make(chan struct{})}
		// Detached from ctx: the caller that happens to be first may give up, the others still want the token.
		go c.run(c.inFlight)
	}
	f, failure, token := c.inFlight, c.failure, c.token.value
	c.mu.Unlock()
	if usable {
		return token, nil
	}
	if f == nil {
		return "", failure
	}
	select {
	case <-f.done:
		return f.token.value, f.err
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for a token: %w", ctx.Err())
	}
}

func (c *tokenCache) run(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	f.token, f.err = c.fetch(ctx)

	c.mu.Lock()
	c.inFlight = nil
	if f.err == nil {
		c.token, c.failure, c.cooldown, c.notUntil = f.token, nil, 0, time.Time{}
	} else {
		c.cooldown = min(max(2*c.cooldown, minCooldown), maxCooldown)
		c.failure, c.notUntil = f.err, time.Now().Add(c.cooldown)
	}
	left := time.Until(c.token.hard)
	c.mu.Unlock()
	close(f.done)

	if f.err != nil {
		c.log.WarnContext(ctx, "fetching a token failed", "error", f.err, "old_token_good_for", max(left, 0).Round(time.Second))
	}
}
