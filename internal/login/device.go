package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// DevicePrompt is what the person must be shown (RFC 8628 section 3.3). The code must be shown beside the URL, also when the URL holds
// it: comparing the two is what defends against a sign-in page that somebody else sent.
type DevicePrompt struct {
	UserCode string
	URL      string    // where to type the code
	Complete string    // the same with the code filled in; may be empty
	Expires  time.Time // zero when the provider did not say
}

// Device signs in by the device flow (RFC 8628): it asks for a code, calls show once, and polls until the person has decided, the code
// expires (ErrTimedOut), they refuse (ErrDenied) or ctx ends. A provider that is briefly unreachable while polling is asked again.
func (a Application) Device(ctx context.Context, show func(DevicePrompt)) (*oauth2.Token, error) {
	if a.Provider.DeviceURL == "" {
		return nil, fmt.Errorf("signing in: %s offers no device flow; use --browser", a.Provider.Issuer)
	}
	cfg := a.config()
	ctx = a.context(ctx)
	auth, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return nil, explain("asking for a sign-in code", err)
	}
	if auth.DeviceCode == "" || auth.UserCode == "" {
		return nil, errors.New("asking for a sign-in code: the provider's answer holds no code")
	}
	if err := checkURL("verification URL", auth.VerificationURI); err != nil {
		return nil, fmt.Errorf("asking for a sign-in code: %w", err)
	}
	if auth.VerificationURIComplete != "" {
		if err := checkURL("verification URL", auth.VerificationURIComplete); err != nil {
			return nil, fmt.Errorf("asking for a sign-in code: %w", err)
		}
	}
	if auth.Expiry.IsZero() {
		auth.Expiry = time.Now().Add(10 * time.Minute) // expires_in is required; never poll for ever for one who forgot it
	}
	show(DevicePrompt{UserCode: auth.UserCode, URL: auth.VerificationURI, Complete: auth.VerificationURIComplete, Expires: auth.Expiry})
	for {
		tok, err := cfg.DeviceAccessToken(ctx, auth)
		var re *oauth2.RetrieveError
		switch {
		case err == nil:
			return tok, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("waiting for the sign-in: %w", ctx.Err())
		case !time.Now().Before(auth.Expiry):
			return nil, fmt.Errorf("waiting for the sign-in: %w: the code %s has expired", ErrTimedOut, auth.UserCode)
		case errors.As(err, &re) && re.ErrorCode == "expired_token":
			return nil, fmt.Errorf("waiting for the sign-in: %w: the code %s has expired", ErrTimedOut, auth.UserCode)
		case errors.As(err, &re) && re.ErrorCode == "" && transient(re.Response):
			continue // DeviceAccessToken waits an interval before each request, so this does not spin
		case errors.As(err, &re):
			return nil, explain("waiting for the sign-in", err)
		default:
			continue // RFC 8628 section 3.5: a connection failure is not an answer
		}
	}
}

func transient(res *http.Response) bool {
	return res != nil && (res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests)
}
