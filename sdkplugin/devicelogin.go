package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// DeviceLoginConfig says where a person's login is.
type DeviceLoginConfig struct {
	File    string // the stock temporal CLI's TOML file; default $TEMPORAL_CONFIG_FILE, else that CLI's own default
	Profile string // default: the one that `bailiwick login` writes

	HTTPClient *http.Client // default: a client with a timeout of 15 s that follows no redirects
	Logger     *slog.Logger // default slog.Default()
}

// DeviceLogin gives the tokens of the person who signed in with `bailiwick login` (or with the stock CLI), for programs that people run by
// hand. A token that is about to end is refreshed and written back, under the lock that `bailiwick` takes too, so that programs and
// commands share one login. Without a login, or when it has ended, calls fail at once with a *RefusedError.
func DeviceLogin(cfg DeviceLoginConfig) (Credentials, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	store, err := login.OpenStore(login.StoreConfig{Path: cfg.File, Profile: cfg.Profile, Notice: func(text string) { cfg.Logger.Warn(text) }})
	if err != nil {
		return nil, fmt.Errorf("configuring the device login: %w", err)
	}
	session := &login.Session{Store: store, HTTPClient: cfg.HTTPClient, Logger: cfg.Logger}
	return TokenFunc(func(ctx context.Context) (string, error) {
		token, err := session.Token(ctx)
		switch {
		case errors.Is(err, login.ErrNotLoggedIn):
			return "", &RefusedError{Endpoint: store.Path(), Code: "not_logged_in", Hint: "run: bailiwick login"}
		case errors.Is(err, login.ErrLoginExpired):
			return "", &RefusedError{Endpoint: store.Path(), Code: "login_expired", Hint: "run: bailiwick login"}
		}
		return token, err
	}), nil
}
