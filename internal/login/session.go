package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// margin is how long before its end an access token is replaced; the stock CLI uses the same minute.
const margin = time.Minute

// Session hands out fresh access tokens of one profile. It is safe for concurrent use, within and across processes.
type Session struct {
	Store      *Store
	HTTPClient *http.Client     // nil means NewHTTPClient()
	Clock      func() time.Time // nil means time.Now
	Logger     *slog.Logger     // nil means none

	mu     sync.Mutex
	cached Profile // guarded by mu: what the file held when last read, so that a burst of calls reads it once
}

// Token returns an access token good for at least a minute, refreshing it if need be: ErrNotLoggedIn without a login, ErrLoginExpired
// when the provider no longer honours the refresh token.
func (s *Session) Token(ctx context.Context) (string, error) {
	p, err := s.Profile(ctx)
	return p.AccessToken, err
}

// Profile returns the profile with a fresh access token in it.
func (s *Session) Profile(ctx context.Context) (Profile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached.Fresh(s.now(), margin) {
		return s.cached, nil
	}
	p, err := s.Store.Load()
	if err != nil {
		return Profile{}, err
	}
	if !p.Fresh(s.now(), margin) {
		err = s.Store.locked(ctx, func() error {
			p, err = s.refresh(ctx)
			return err
		})
		if err != nil {
			return Profile{}, err
		}
	}
	s.cached = p
	return p, nil
}

// Forget drops the copy in memory, so that the next Token reads the file again.
func (s *Session) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached = Profile{}
}

// refresh runs under the lock: read, refresh, write. Whoever waited for the lock finds the new token in the file and makes no request.
func (s *Session) refresh(ctx context.Context) (Profile, error) {
	p, err := s.Store.Load()
	if err != nil || p.Fresh(s.now(), margin) {
		return p, err
	}
	fresh, err := s.trade(ctx, p)
	if errors.Is(err, ErrLoginExpired) {
		// The stock CLI refreshes without our lock. If it was quicker, the file has changed, and the refusal was for the old token.
		again, rerr := s.Store.Load()
		if rerr != nil || again.RefreshToken == p.RefreshToken && again.AccessToken == p.AccessToken {
			return Profile{}, err
		}
		if again.Fresh(s.now(), margin) {
			return again, nil
		}
		fresh, err = s.trade(ctx, again)
	}
	if err != nil {
		return Profile{}, err
	}
	if err := s.Store.change(change{oauth: fresh.oauthTable()}); err != nil {
		if s.Logger != nil { // the token is good now; the next process will have to log in again
			s.Logger.WarnContext(ctx, "keeping the refreshed token failed", "error", err)
		}
	}
	return fresh, nil
}

func (s *Session) trade(ctx context.Context, p Profile) (Profile, error) {
	if err := checkURL("token_url", p.TokenURL); err != nil {
		return Profile{}, fmt.Errorf("refreshing the token: profile %s: %w", s.Store.name, err)
	}
	if err := s.Store.writable(); err != nil {
		return Profile{}, err
	}
	app := Application{Provider: Provider{TokenURL: p.TokenURL}, ClientID: p.ClientID, Scopes: p.Scopes, HTTPClient: s.HTTPClient}
	// A refresh that was sent is seen through: cancelled half-way, a rotated token would be lost.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	tok, err := app.Refresh(ctx, p.RefreshToken)
	if err != nil {
		return Profile{}, err
	}
	return p.With(tok), nil
}

func (s *Session) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}
