// Package login is the client's side of signing in: it gets tokens from an OpenID provider, keeps them where the stock temporal CLI
// looks for them, and refreshes them one process at a time.
//
// It owns discovery, the device and browser flows, refresh and revocation, the token store and the contexts (which server, which
// issuer). It refuses to judge a token: claims it decodes are for showing to the person who holds the token, and are named Unverified.
package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// Sentinels to branch on.
var (
	// ErrNotLoggedIn means that the profile holds no token.
	ErrNotLoggedIn = errors.New("not logged in")
	// ErrLoginExpired means that the provider no longer honours the refresh token.
	ErrLoginExpired = errors.New("the login has expired or was revoked")
	// ErrDenied means that the person, or the provider's policy, said no.
	ErrDenied = errors.New("the sign-in was refused")
	// ErrTimedOut means that nobody finished the sign-in in time.
	ErrTimedOut = errors.New("the sign-in was not finished in time")
)

// Application is a public OAuth client registered with a provider: what `bailiwick login` signs in as.
type Application struct {
	Provider   Provider
	ClientID   string
	Scopes     []string
	HTTPClient *http.Client // nil means NewHTTPClient()
}

// NewHTTPClient returns a client for talking to a provider: 15 s limit, and no redirects, because a redirected token request would
// hand a code or refresh token to another host.
func NewHTTPClient() *http.Client {
	return &http.Client{
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (a Application) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: a.ClientID,
		Scopes:   a.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:       a.Provider.AuthURL,
			TokenURL:      a.Provider.TokenURL,
			DeviceAuthURL: a.Provider.DeviceURL,
			AuthStyle:     oauth2.AuthStyleInParams, // a public client has no secret to put in a header
		},
	}
}

func (a Application) client() *http.Client {
	if a.HTTPClient != nil {
		return a.HTTPClient
	}
	return NewHTTPClient()
}

func (a Application) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, a.client())
}

// checkURL accepts https anywhere and http on loopback only: everything we send to a provider is a secret or becomes one.
func checkURL(what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s %q is not an absolute URL", what, raw)
	}
	if u.Scheme == "https" || u.Scheme == "http" && netaddr.Loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s %q must use https (http is accepted on loopback only)", what, raw)
}

// explain turns a provider's answer into an error that says what happened without ever holding a token.
func explain(doing string, err error) error {
	var re *oauth2.RetrieveError
	if errors.As(err, &re) {
		switch {
		case re.ErrorCode == "access_denied":
			return fmt.Errorf("%s: %w: %s", doing, ErrDenied, orDefault(re.ErrorDescription, "access_denied"))
		case re.ErrorCode != "":
			return fmt.Errorf("%s: the provider answered %s: %s", doing, re.ErrorCode, orDefault(re.ErrorDescription, "no description"))
		case re.Response != nil:
			return fmt.Errorf("%s: the provider answered HTTP %d", doing, re.Response.StatusCode)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
