package sdkplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ClientCredentialsConfig are the settings of a service's own identity (RFC 6749 section 4.4). Exactly one of Secret,
// PrivateKeyFile and AssertionFile is set.
type ClientCredentialsConfig struct {
	TokenURL string   // the authorization server's token endpoint; https, or http on loopback
	ClientID string   // the service app's client id
	Scopes   []string // custom scopes that the app is granted, such as "temporal.worker"

	Secret string // client_secret_basic

	// PrivateKeyFile makes the client authenticate by private_key_jwt (RFC 7523 section 2.2, RS256). It is an RSA key in PEM (PKCS#8 or
	// PKCS#1) or a private JWK, and is read anew for every assertion: to rotate, replace the file by a rename.
	PrivateKeyFile string
	// KeyID is the kid as registered with the issuer. Default: the JWK's own, else the key's RFC 7638 thumbprint. Leave it empty where the file's
	// key is rotated: the next one has an id of its own.
	KeyID string

	// AssertionFile makes the client authenticate by a JWT that something else renews in a file (RFC 7523 section 2.2), such as a projected
	// Kubernetes service-account token whose issuer the authorization server trusts for this client. It is read anew for every request.
	AssertionFile string

	HTTPClient *http.Client // default: a client with a timeout of 10 s
	Logger     *slog.Logger // default slog.Default()
}

const (
	tokenTimeout    = 10 * time.Second
	tokenMaxBytes   = 1 << 20
	tokenAttempts   = 4
	tokenBackoff    = 250 * time.Millisecond // doubled after each attempt
	maxRetryAfter   = 10 * time.Second
	defaultLifetime = 5 * time.Minute // when the response has no expires_in: the shortest an Okta authorization server issues
	assertionLife   = 5 * time.Minute
)

// ClientCredentials returns the tokens of a service app. Tokens are cached, refreshed early in the background, and fetched by one caller for
// all; failures that may pass are retried a few times, refusals are reported at once as a *RefusedError. Nothing is fetched here, but
// the key file must be readable now.
func ClientCredentials(cfg ClientCredentialsConfig) (Credentials, error) {
	if err := checkURL(cfg.TokenURL); err != nil {
		return nil, fmt.Errorf("configuring client credentials: TokenURL: %w", err)
	}
	if cfg.ClientID == "" {
		return nil, errors.New("configuring client credentials: ClientID is empty")
	}
	proofs := 0
	for _, proof := range []string{cfg.Secret, cfg.PrivateKeyFile, cfg.AssertionFile} {
		if proof != "" {
			proofs++
		}
	}
	if proofs != 1 {
		return nil, errors.New("configuring client credentials: set exactly one of Secret, PrivateKeyFile and AssertionFile")
	}
	if cfg.AssertionFile != "" {
		if _, err := readTokenFile(cfg.AssertionFile); err != nil {
			return nil, fmt.Errorf("configuring client credentials: %w", err)
		}
	}
	if cfg.PrivateKeyFile != "" {
		if _, err := readAssertionKey(cfg.PrivateKeyFile, cfg.KeyID); err != nil {
			return nil, fmt.Errorf("configuring client credentials: %w", err)
		}
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: tokenTimeout}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.HTTPClient = withoutRedirects(cfg.HTTPClient)
	e := &tokenEndpoint{cfg: cfg}
	return &tokenCache{fetch: e.fetch, log: cfg.Logger.With("client_id", cfg.ClientID)}, nil
}

// tokenEndpoint asks an authorization server for tokens.
type tokenEndpoint struct{ cfg ClientCredentialsConfig }

// transient is a failure that may pass, and when to try again.
type transient struct {
	err   error
	after time.Duration // as the server asked; zero: it did not
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

func (e *tokenEndpoint) fetch(ctx context.Context) (cachedToken, error) {
	wait := tokenBackoff
	for try := 1; ; try++ {
		token, err := e.ask(ctx)
		var again *transient
		if err == nil || !errors.As(err, &again) || try == tokenAttempts {
			if err != nil {
				err = fmt.Errorf("fetching a token for client %s (attempt %d): %w", e.cfg.ClientID, try, err)
			}
			return token, err
		}
		select {
		case <-ctx.Done():
			return cachedToken{}, fmt.Errorf("fetching a token for client %s (attempt %d): %w", e.cfg.ClientID, try, err)
		case <-time.After(max(wait, min(again.after, maxRetryAfter))):
		}
		wait *= 2
	}
}

// ask makes one request (RFC 6749 sections 4.4.2 and 5).
func (e *tokenEndpoint) ask(ctx context.Context) (cachedToken, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(e.cfg.Scopes) > 0 {
		form.Set("scope", strings.Join(e.cfg.Scopes, " "))
	}
	assertion, err := e.assertion()
	if err != nil {
		return cachedToken{}, &transient{err: err} // perhaps a file is being replaced
	}
	if assertion != "" {
		form.Set("client_id", e.cfg.ClientID) // an assertion that somebody else made need not name it
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.cfg.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return cachedToken{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgentValue)
	if e.cfg.Secret != "" {
		req.SetBasicAuth(url.QueryEscape(e.cfg.ClientID), url.QueryEscape(e.cfg.Secret)) // escaped as RFC 6749 section 2.3.1 says
	}
	sent := time.Now() // the lifetime counts from here, so that a slow answer makes the token look older, not younger
	resp, err := e.cfg.HTTPClient.Do(req)
	if err != nil {
		return cachedToken{}, &transient{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, tokenMaxBytes))
	if err != nil {
		return cachedToken{}, &transient{err: fmt.Errorf("reading the token response: %w", err)}
	}
	if resp.StatusCode != http.StatusOK {
		return cachedToken{}, refusal(resp, body, req.URL.Host)
	}
	return readToken(resp, body, sent)
}

// assertion is the JWT by which the client authenticates; empty when it has a secret.
func (e *tokenEndpoint) assertion() (string, error) {
	switch {
	case e.cfg.AssertionFile != "":
		return readTokenFile(e.cfg.AssertionFile)
	case e.cfg.PrivateKeyFile != "":
		key, err := readAssertionKey(e.cfg.PrivateKeyFile, e.cfg.KeyID)
		if err != nil {
			return "", err
		}
		return key.assertion(e.cfg.ClientID, e.cfg.TokenURL, time.Now())
	}
	return "", nil
}

func readToken(resp *http.Response, body []byte, sent time.Time) (cachedToken, error) {
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" {
		return cachedToken{}, &transient{err: fmt.Errorf("the token endpoint answered with %q, not application/json; check TokenURL", kind)}
	}
	var answer struct {
		AccessToken string      `json:"access_token"`
		TokenType   string      `json:"token_type"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return cachedToken{}, &transient{err: errors.New("the token response is not the JSON that RFC 6749 section 5.1 describes")} // err could quote the token
	}
	if answer.AccessToken == "" || strings.ContainsAny(answer.AccessToken, " \t\r\n") || !strings.EqualFold(answer.TokenType, "Bearer") {
		return cachedToken{}, &transient{err: fmt.Errorf("the token response has no bearer token (token_type %q)", answer.TokenType)}
	}
	lifetime := defaultLifetime
	if answer.ExpiresIn != "" {
		seconds, err := answer.ExpiresIn.Int64()
		if err != nil || seconds <= 0 || seconds > 366*24*3600 {
			return cachedToken{}, &transient{err: fmt.Errorf("the token response has expires_in %q", answer.ExpiresIn)}
		}
		lifetime = time.Duration(seconds) * time.Second
	}
	return newCachedToken(answer.AccessToken, sent, lifetime), nil
}

// refusal reads an error response (RFC 6749 section 5.2). Rate limits and server errors may pass; the rest will not.
func refusal(resp *http.Response, body []byte, host string) error {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &answer) // a body that is not JSON just leaves both empty
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		return &transient{err: fmt.Errorf("the token endpoint at %s answered with status %d %s", host, resp.StatusCode, answer.Error), after: retryAfter(resp.Header)}
	}
	e := &RefusedError{Endpoint: host, Code: answer.Error, Detail: cut(answer.Description, 200)}
	switch answer.Error {
	case "":
		e.Code = "status " + strconv.Itoa(resp.StatusCode)
		e.Hint = "check TokenURL"
	case "invalid_client":
		e.Hint = "check that the client id is right and that its secret or public key (with this key id) is registered and active"
	case "invalid_scope":
		e.Hint = "check that the scopes exist on this authorization server and that its access policy grants them to the client"
	case "unauthorized_client", "access_denied":
		e.Hint = "check that the app may use the client_credentials grant and that an access policy rule lets it"
	}
	return e
}

// retryAfter reads how long the server asks to wait: Retry-After (RFC 9110 section 10.2.3) or Okta's X-Rate-Limit-Reset.
func retryAfter(h http.Header) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	reset, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	now := time.Now()
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // the server's clock set the reset
	}
	return max(time.Unix(reset, 0).Sub(now)+time.Second, 0)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
