package txntoken

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// MiddlewareConfig are the settings of a Middleware.
type MiddlewareConfig struct {
	// Keys gives the trust domain's keys as of now. It is called for each request and must not wait for the network.
	Keys func() KeySet
	// Audience is the trust domain.
	Audience string
	// Scope is what every request's token must be for. Empty: handlers check Claims.HasScope themselves.
	Scope []string
	// Clock is the time. Default time.Now.
	Clock func() time.Time
	// Logger hears of refusals. Default slog.Default().
	Logger *slog.Logger
}

// Middleware lets requests through that carry exactly one valid Transaction Token, and puts it into their context. It refuses others with status
// 401, or 403 for a genuine token without the scope, and a JSON body with a stable code. It says on whose behalf a call is made, not who
// calls: that is for mutual TLS or a credential of the caller.
func Middleware(cfg MiddlewareConfig) (func(http.Handler) http.Handler, error) {
	if cfg.Keys == nil || cfg.Audience == "" {
		return nil, errors.New("making middleware: Keys and Audience (the trust domain) are needed")
	}
	if len(cfg.Scope) > 0 && !validScope(cfg.Scope) {
		return nil, fmt.Errorf("making middleware: %q is not a scope", cfg.Scope)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v, err := cfg.judge(r)
			if err != nil {
				cfg.refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), verifiedKey, v)))
		})
	}, nil
}

func (cfg MiddlewareConfig) judge(r *http.Request) (Verified, error) {
	values := r.Header.Values(Header)
	if len(values) != 1 {
		return Verified{}, refuse(CodeMissing, fmt.Sprintf("%d %s headers, where exactly one is needed", len(values), Header))
	}
	v, err := cfg.Keys().Verify(values[0], cfg.Audience, cfg.Clock())
	if err != nil {
		return Verified{}, err
	}
	if !v.claims.HasScope(cfg.Scope...) {
		return Verified{}, refuse(CodeScope, fmt.Sprintf("the token is for %q, and this needs %q", v.claims.Scope, cfg.Scope))
	}
	return v, nil
}

func (cfg MiddlewareConfig) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = refuse(CodeMalformed, "the token cannot be read")
	}
	cfg.Logger.WarnContext(r.Context(), "refusing request by its transaction token", "code", string(e.Code), "detail", e.Detail, "method", r.Method, "path", r.URL.Path)
	status := http.StatusUnauthorized
	if e.Code == CodeScope {
		status = http.StatusForbidden
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": string(e.Code), "detail": e.Detail}) // the caller has gone, then
}

type contextKey int

const verifiedKey contextKey = iota

// FromContext returns the token that Middleware verified for this request.
func FromContext(ctx context.Context) (Verified, bool) {
	v, ok := ctx.Value(verifiedKey).(Verified)
	return v, ok
}
