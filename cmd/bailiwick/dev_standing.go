package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// openStanding opens the feed of grants and revocations, which lives in the control plane's process. Its database is in standing/, its signing key
// and the gates' token are in keys/.
func (d *devEnv) openStanding(ctx context.Context, logger *slog.Logger) (*feed.Feed, error) {
	if err := os.MkdirAll(d.state.path("standing"), 0o700); err != nil {
		return nil, fmt.Errorf("opening the standing feed: %w", err)
	}
	key, err := feed.LoadOrCreateKey(d.state.path("keys", "standing.pem"))
	if err != nil {
		return nil, err
	}
	token, err := feed.LoadOrCreateToken(d.state.path("keys", "standing.token"))
	if err != nil {
		return nil, err
	}
	return feed.Open(ctx, feed.Config{DSN: d.state.path("standing", "feed.db"), Key: key, Tokens: []string{token}, Logger: logger})
}

// underStanding makes the control plane's own gate decide by the feed beside it.
func underStanding(f *feed.Feed) func(*gate.Config) {
	return func(g *gate.Config) { g.Standing = f.State() }
}

// mountStanding serves the feed to gates, and how far they are to whoever is logged in.
func mountStanding(plane *control.Plane, f *feed.Feed) {
	plane.Handle("GET "+feed.Path, f.Handler())
	plane.Handle("GET "+feed.Path+"/status", plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		if d, _ := plane.Decide(r.Context(), who, policy.Request{Action: "GetClusterInfo", Context: policy.Context{SourceIP: control.Source(r)}}); !d.Allow {
			control.Problem(w, http.StatusForbidden, string(d.Code), "you may not see how gates stand", d.Hint)
			return
		}
		s, err := f.Status(r.Context())
		if err != nil {
			control.Problem(w, http.StatusServiceUnavailable, "feed_unavailable", "the feed can't be read now", "try again")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s)
	}))
}

// followStanding is what the Temporal process is told of the feed.
func (d *devEnv) followStanding(f *feed.Feed) map[string]any {
	return map[string]any{
		"url": d.controlURL() + feed.Path, "token_file": d.state.path("keys", "standing.token"), "cache": d.state.path("temporal", "standing.cache"),
		"keys": []string{base64.StdEncoding.EncodeToString(f.PublicKey())},
	}
}
