package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// maxAnswer caps what is read from a provider, in bytes.
const maxAnswer = 1 << 20

// Provider is where an issuer's endpoints are (OpenID Connect Discovery 1.0, RFC 8414). An endpoint that it does not have is empty.
type Provider struct {
	Issuer       string `json:"issuer"`
	AuthURL      string `json:"authorization_endpoint"`
	TokenURL     string `json:"token_endpoint"`
	DeviceURL    string `json:"device_authorization_endpoint"`
	RevokeURL    string `json:"revocation_endpoint"`
	IssParameter bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// Discover reads the issuer's discovery document. It fails if the document speaks for another issuer (a mix-up), has no token
// endpoint, or names an endpoint on plain http off loopback.
func Discover(ctx context.Context, hc *http.Client, issuer string) (Provider, error) {
	if err := checkURL("issuer", issuer); err != nil {
		return Provider{}, err
	}
	if hc == nil {
		hc = NewHTTPClient()
	}
	where := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return Provider{}, fmt.Errorf("discovering %s: %w", issuer, err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := hc.Do(req)
	if err != nil {
		return Provider{}, fmt.Errorf("discovering %s: %w (is the provider running, and is the issuer URL right?)", issuer, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return Provider{}, fmt.Errorf("discovering %s: %w", issuer, err)
	}
	if res.StatusCode != http.StatusOK {
		return Provider{}, fmt.Errorf("discovering %s: %s answered HTTP %d; an Okta issuer looks like https://ORG/oauth2/default", issuer, where, res.StatusCode)
	}
	var p Provider
	if err := json.Unmarshal(body, &p); err != nil {
		return Provider{}, fmt.Errorf("discovering %s: the answer is not a discovery document: %w", issuer, err)
	}
	if p.Issuer != issuer {
		return Provider{}, fmt.Errorf("discovering %s: the document speaks for issuer %q; use exactly the issuer it names", issuer, p.Issuer)
	}
	if p.TokenURL == "" {
		return Provider{}, fmt.Errorf("discovering %s: the document names no token endpoint", issuer)
	}
	for what, u := range map[string]string{"authorization endpoint": p.AuthURL, "token endpoint": p.TokenURL,
		"device authorization endpoint": p.DeviceURL, "revocation endpoint": p.RevokeURL} {
		if u == "" {
			continue
		}
		if err := checkURL(what, u); err != nil {
			return Provider{}, fmt.Errorf("discovering %s: %w", issuer, err)
		}
	}
	return p, nil
}

// Refresh trades a refresh token for new tokens (RFC 6749 section 6). The answer may hold a new refresh token; if it holds none the
// old one stays good. ErrLoginExpired is returned when the provider says invalid_grant.
func (a Application) Refresh(ctx context.Context, refresh string) (*oauth2.Token, error) {
	if refresh == "" {
		return nil, fmt.Errorf("refreshing the token: %w: there is no refresh token", ErrLoginExpired)
	}
	tok, err := a.config().TokenSource(a.context(ctx), &oauth2.Token{RefreshToken: refresh}).Token()
	var re *oauth2.RetrieveError
	if errors.As(err, &re) && re.ErrorCode == "invalid_grant" {
		return nil, fmt.Errorf("refreshing the token: %w", ErrLoginExpired)
	}
	if err != nil {
		return nil, explain("refreshing the token", err)
	}
	return tok, nil
}

// Revoke tells the provider to forget the tokens (RFC 7009): the refresh token first, because with it new access tokens can be had.
// Empty tokens are skipped. Every token is tried; the errors are joined.
func (a Application) Revoke(ctx context.Context, refresh, access string) error {
	if a.Provider.RevokeURL == "" {
		return fmt.Errorf("revoking: %s has no revocation endpoint; the access token lives until it expires", a.Provider.Issuer)
	}
	var failed []error
	for _, t := range []struct{ hint, token string }{{"refresh_token", refresh}, {"access_token", access}} {
		if t.token == "" {
			continue
		}
		form := url.Values{"token": {t.token}, "token_type_hint": {t.hint}, "client_id": {a.ClientID}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Provider.RevokeURL, strings.NewReader(form.Encode()))
		if err != nil {
			failed = append(failed, fmt.Errorf("revoking the %s: %w", t.hint, err))
			continue
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := a.client().Do(req)
		if err != nil {
			failed = append(failed, fmt.Errorf("revoking the %s: %w", t.hint, err))
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			failed = append(failed, fmt.Errorf("revoking the %s: the provider answered HTTP %d", t.hint, res.StatusCode))
		}
	}
	return errors.Join(failed...)
}
