package okta

import (
	"context"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	assertionLife = 5 * time.Minute
	tokenMargin   = 2 * time.Minute // a token is renewed when it has less than this left
)

// Credentials authorize requests. ServiceApp and APIToken make them.
type Credentials interface {
	authorize(ctx context.Context, c *Client, req *http.Request) error
	refused(req *http.Request, answer http.Header) // Okta answered 401
	renewable() bool                               // whether another attempt would bring something new
}

// APIToken is an SSWS token: it has all rights of the admin who made it and does not expire while it is used. For development.
func APIToken(token string) Credentials { return apiToken(func() string { return token }) }

// apiToken is behind a function so that no formatter shows it.
type apiToken func() string

func (t apiToken) authorize(_ context.Context, _ *Client, req *http.Request) error {
	req.Header.Set("Authorization", "SSWS "+t())
	return nil
}

func (apiToken) refused(*http.Request, http.Header) {}
func (apiToken) renewable() bool                    { return false }

// ServiceAppConfig is an OAuth service app of the org: client credentials with private_key_jwt at the org's own token endpoint.
type ServiceAppConfig struct {
	ClientID string
	Scopes   []string                                              // such as "okta.groups.manage"; each must be granted to the app
	Key      func() (key *rsa.PrivateKey, keyID string, err error) // asked for each new token, so that a rotated key is taken up
	DPoP     *DPoP                                                 // binds tokens to a key of this process (RFC 9449); nil if the app does not require it
}

// ServiceApp makes credentials that renew their token by themselves.
func ServiceApp(cfg ServiceAppConfig) (Credentials, error) {
	if cfg.ClientID == "" || len(cfg.Scopes) == 0 || cfg.Key == nil {
		return nil, errors.New("making service app credentials: ClientID, Scopes and Key are all required")
	}
	return &serviceApp{cfg: cfg}, nil
}

type serviceApp struct {
	cfg ServiceAppConfig

	mu      sync.Mutex // covers what follows; held while a token is fetched, so that one fetch serves all who wait
	token   string
	expires time.Time
	ahead   time.Duration // how far Okta's clock is ahead of ours, once an assertion was refused and its Date showed why
}

func (s *serviceApp) authorize(ctx context.Context, c *Client, req *http.Request) error {
	token, ahead, err := s.current(ctx, c)
	if err != nil {
		return err
	}
	if s.cfg.DPoP == nil {
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	proof, err := s.cfg.DPoP.proof(req.Method, req.URL, token, c.cfg.Clock().Add(ahead))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "DPoP "+token)
	req.Header.Set("DPoP", proof)
	return nil
}

func (s *serviceApp) renewable() bool { return true }

// refused forgets the token that Okta would not take, unless it was replaced since. Where the proof only lacks a nonce (RFC 9449 section 9), the
// token is good.
func (s *serviceApp) refused(req *http.Request, answer http.Header) {
	if s.cfg.DPoP != nil && s.cfg.DPoP.wanted(answer) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, sent, _ := strings.Cut(req.Header.Get("Authorization"), " "); sent == s.token {
		s.token = ""
	}
}

// skewMost is how far the clocks may be apart: beyond it, something else is wrong, and signing for that time would help whoever set it.
// skewLeast is what no answer is refused for.
const (
	skewMost  = 24 * time.Hour
	skewLeast = 30 * time.Second
)

// current is a token, and how far Okta's clock is ahead of ours.
func (s *serviceApp) current(ctx context.Context, c *Client) (string, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := c.cfg.Clock(); s.token != "" && now.Before(s.expires.Add(-tokenMargin)) {
		return s.token, s.ahead, nil
	}
	for attempt, nonced := 1, false; ; attempt++ {
		ahead, err := s.fetch(ctx, c)
		if err == nil {
			return s.token, s.ahead, nil
		}
		var refused *Error
		fetched := errors.As(err, &refused)
		switch {
		case ctx.Err() != nil || attempt >= c.cfg.Attempts:
			return "", 0, err
		case fetched && refused.Code == "use_dpop_nonce" && s.cfg.DPoP != nil && !nonced:
			nonced = true
			continue // the answer brought the nonce
		case fetched && (refused.Code == "invalid_client" || refused.Code == "invalid_dpop_proof") && (ahead-s.ahead).Abs() > skewLeast && ahead.Abs() < skewMost:
			c.cfg.Logger.WarnContext(ctx, "this machine's clock is not Okta's; going by Okta's", "ahead", ahead, "error", err)
			s.ahead = ahead
			continue
		case fetched && refused.Status != http.StatusTooManyRequests && refused.Status < 500:
			return "", 0, err
		}
		wait := time.Duration(1<<(attempt-1)) * 250 * time.Millisecond
		wait += time.Duration(rand.Int64N(int64(wait))) // jitter needs no secrecy
		if fetched && !refused.Reset.IsZero() {
			wait = min(max(wait, refused.Reset.Sub(c.cfg.Clock())), c.cfg.MaxWait)
		}
		if err := c.cfg.Sleep(ctx, wait); err != nil {
			return "", 0, err
		}
	}
}

// fetch gets a token with a fresh assertion (RFC 7523 section 2.2); Okta takes each assertion's jti once. ahead
// is how far Okta's clock is ahead of ours by the Date of its answer, to the second.
func (s *serviceApp) fetch(ctx context.Context, c *Client) (ahead time.Duration, err error) {
	const path = "/oauth2/v1/token"
	at := *c.base
	at.Path = path
	key, id, err := s.cfg.Key()
	if err != nil {
		return 0, fmt.Errorf("okta: reading the service app's key: %w", err)
	}
	now := c.cfg.Clock().Add(s.ahead)
	assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": s.cfg.ClientID, "sub": s.cfg.ClientID, "aud": at.String(), "jti": cryptorand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	assertion.Header["kid"] = id
	signed, err := assertion.SignedString(key)
	if err != nil {
		return 0, fmt.Errorf("okta: signing the client assertion: %w", err)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "scope": {strings.Join(s.cfg.Scopes, " ")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {signed},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return 0, fmt.Errorf("okta: making a token request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if s.cfg.DPoP != nil {
		proof, err := s.cfg.DPoP.proof(req.Method, req.URL, "", now)
		if err != nil {
			return 0, err
		}
		req.Header.Set("DPoP", proof)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("okta: asking for a token: %w", bare(err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("okta: asking for a token: %w", err)
	}
	if s.cfg.DPoP != nil {
		s.cfg.DPoP.heard(res.Header)
	}
	local := c.cfg.Clock()
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		ahead = date.Sub(local)
	}
	if res.StatusCode != http.StatusOK {
		refused := parseError(http.MethodPost, path, res.StatusCode, body)
		if reset, ok := resetAt(res.Header, local); ok {
			refused.Reset = reset
		}
		return ahead, refused
	}
	var wire struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"`
	}
	want := "Bearer"
	if s.cfg.DPoP != nil {
		want = "DPoP"
	}
	if err := json.Unmarshal(body, &wire); err != nil || wire.Token == "" || wire.Expires <= 0 || !strings.EqualFold(wire.Type, want) {
		return 0, fmt.Errorf("okta: the token endpoint's answer is not a %s token", want) // the body may hold one: not repeated
	}
	s.token, s.expires = wire.Token, local.Add(time.Duration(wire.Expires)*time.Second)
	return ahead, nil
}
