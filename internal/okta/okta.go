// Package okta speaks Okta's management API, in its own types.
//
// It owns how the service proves itself (an OAuth service app with private_key_jwt), paging, rate limits, retries and typed errors. It
// refuses to know why somebody asks: access, rotation, revocation and correlation declare what they need as interfaces of their own.
package okta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says which org is spoken to and as whom. URL and Credentials are required.
type Config struct {
	URL         string        // the org, such as "https://acme.okta.com"; https, or http on loopback only
	Credentials Credentials   // how requests are authorized
	Share       float64       // the part of each rate limit that may be used, over 0 up to 1; default 0.5: the rest is other programs'
	MaxWait     time.Duration // longest wait for a rate limit or between attempts, in one request; default 90 s
	Attempts    int           // default 5
	HTTPClient  *http.Client  // default: 30 s a request; redirects are never followed
	Clock       func() time.Time
	Sleep       func(context.Context, time.Duration) error // waits, by the same clock; default: real time
	Logger      *slog.Logger                               // default discards
}

// Client is safe for concurrent use; all its users share one budget of each rate limit.
type Client struct {
	cfg    Config
	base   *url.URL
	http   *http.Client
	budget *budget
}

// Within is the same client for work that can wait: it uses no more than this part of each rate limit, counting what all others of this program
// use, and stands back for them.
func (c *Client) Within(share float64) *Client {
	less := *c
	less.cfg.Share = min(share, c.cfg.Share)
	return &less
}

// Usage tells what this program used of each rate limit.
func (c *Client) Usage() []Usage { return c.budget.usage() }

// New checks the settings. It needs no network.
func New(cfg Config) (*Client, error) {
	base, err := checkOrg(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Credentials == nil {
		return nil, errors.New("making an Okta client: Credentials are missing; use ServiceApp, or APIToken for development")
	}
	if cfg.Share == 0 {
		cfg.Share = 0.5
	}
	if cfg.Share < 0 || cfg.Share > 1 {
		return nil, fmt.Errorf("making an Okta client: Share is %v; it is the part of each rate limit that may be used, over 0 up to 1", cfg.Share)
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = 90 * time.Second
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 5
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, base: base, http: direct(cfg.HTTPClient), budget: newBudget(cfg.Clock)}, nil
}

// checkOrg accepts an org's URL: tokens must not cross a network in the clear.
func checkOrg(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" {
		return nil, fmt.Errorf("making an Okta client: %q is not an org's URL, such as https://acme.okta.com", text)
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, fmt.Errorf("making an Okta client: %q must be https; http is for loopback only", text)
	}
	return u, nil
}

// direct is the client without redirects: an answer elsewhere would carry the token there.
func direct(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{Timeout: 30 * time.Second}
	}
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// URL is the org's address.
func (c *Client) URL() string { return c.base.String() }
