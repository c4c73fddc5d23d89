package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
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
		if !plane.Permit(w, r, who, policy.Request{Action: "GetClusterInfo"}, "you may not see how gates stand") {
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

// mountRevoked tells workers who has lost access, so that what is in flight stops too. Whoever may take tasks in a namespace may ask; answers are
// not on record, refusals are.
func mountRevoked(plane *control.Plane, f *feed.Feed) {
	plane.Handle("GET "+feed.Path+"/revoked", plane.Authenticated(func(w http.ResponseWriter, r *http.Request, who identity.Identity) {
		q := r.URL.Query()
		kind, rest, _ := strings.Cut(q.Get("principal"), ":")
		at := strings.LastIndexByte(rest, '|')
		if at < 1 || kind != string(identity.User) && kind != string(identity.Client) || q.Get("namespace") == "" {
			control.Problem(w, http.StatusBadRequest, "bad_request", `name a principal, such as "user:ISSUER|ID", and the namespace in which you take tasks`, "")
			return
		}
		ask := policy.Request{Principal: who.Claims(), Action: "PollActivityTaskQueue", Resource: policy.Resource{Namespace: q.Get("namespace"), TaskQueue: q.Get("task_queue")}}
		ask.Context = policy.Context{Now: time.Now(), SourceIP: netaddr.Source(r)}
		if !plane.Policy().Decide(ask).Allow && !plane.Permit(w, r, who, ask, "only who may take tasks there may ask") {
			return
		}
		// A session that ended takes away tokens, and a run in flight has none: as for schedules, only who is barred altogether is stopped.
		now := time.Now()
		bar, revoked := f.State().Barred(&identity.Claims{Kind: identity.Kind(kind), Issuer: rest[:at], ID: rest[at+1:], ClientID: clientOf(kind, rest[at+1:]), IssuedAt: now, Expires: now.Add(time.Hour)}, now)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct {
			Principal string `json:"principal"`
			Revoked   bool   `json:"revoked"`
			Reason    string `json:"reason,omitempty"`
		}{q.Get("principal"), revoked, bar.Reason})
	}))
}

// clientOf is the client id of a principal that is a client.
func clientOf(kind, id string) string {
	if kind == string(identity.Client) {
		return id
	}
	return ""
}

// followStanding is what the Temporal process is told of the feed.
func (d *devEnv) followStanding(f *feed.Feed) map[string]any {
	return map[string]any{
		"url": d.controlURL() + feed.Path, "token_file": d.state.path("keys", "standing.token"), "cache": d.state.path("temporal", "standing.cache"),
		"keys": []string{base64.StdEncoding.EncodeToString(f.PublicKey())},
	}
}
