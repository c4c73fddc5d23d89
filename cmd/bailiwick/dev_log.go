package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/ship"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// serveLog mounts the audit log on the control plane: remote gates' journals in, static tiles out.
//
//	POST /v1/journal/{gate}   a gate's journal, by the token that keys/gates has the digest of
//	GET  /log/checkpoint      for everybody, like hash tiles: they hold no personal data and let whoever has an entry prove it
//	GET  /log/tile/entries/…  by an access token, as policy says (Audit.Read), or a token that keys/readers has the digest of
func serveLog(plane *control.Plane, state stateDir, logger *slog.Logger) (io.Closer, error) {
	receiver, err := ship.NewReceiver(ship.ReceiverConfig{
		Dir: state.path("replicas"), Authorize: ship.TokensFile(state.path("keys", "gates")), Logger: logger,
		Alarm: func(ctx context.Context, gate, text string) {
			_, err := plane.Record(ctx, audit.Entry{Kind: audit.KindAdmin, Detail: map[string]string{"event": "journal_refused", "gate": gate, "reason": text}})
			if err != nil {
				logger.ErrorContext(ctx, "a refused journal could not be recorded", "error", err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for _, pattern := range ship.Routes() {
		plane.Handle(pattern, receiver)
	}
	readers := &logReaders{plane: plane, holder: ship.TokenHolder(state.path("keys", "readers")), logger: logger, clock: time.Now}
	plane.Handle("GET /log/", http.StripPrefix("/log", tiles.NewServer(tiles.ServerConfig{Log: state.path("log"), Logger: logger, Entries: readers.admit})))
	return receiver, nil
}

// logReaders decides who reads entries of the log over HTTP.
type logReaders struct {
	plane  *control.Plane
	holder func(*http.Request) (name string, ok bool) // of a token of keys/readers
	logger *slog.Logger
	clock  func() time.Time

	mu      sync.Mutex           // covers the following
	allowed map[string]time.Time // by principal and token: until when the last decision holds
}

// readingHolds is how long a decision that somebody may read entries holds. A log is read tile by tile, and a decision is an entry: were each
// tile one, whoever followed the log would follow what their own following wrote.
const readingHolds = time.Minute

// admit says whether the request may read entries, or refuses it. Every request is authenticated, so that a bar and an expiry count at once.
func (l *logReaders) admit(w http.ResponseWriter, r *http.Request) bool {
	ctx := r.Context()
	if name, ok := l.holder(r); ok {
		l.logger.InfoContext(ctx, "entries of the log are read", "reader", name, "path", r.URL.Path)
		return true
	}
	source := netaddr.Source(r)
	who, err := l.plane.Gate().Authenticate(ctx, r.Header.Values("Authorization"), r.Header.Values(gate.MetadataIDToken), source, policy.AuditRead)
	if err != nil {
		control.Refuse(w, err)
		return false
	}
	claims := who.Claims()
	key := fmt.Sprintf("%q %q %q", claims.Principal(), claims.TokenID, claims.Expires)
	now := l.clock()
	l.mu.Lock()
	holds := now.Before(l.allowed[key])
	l.mu.Unlock()
	if holds {
		return true
	}
	if !l.plane.Permit(w, r, who, policy.Request{Action: policy.AuditRead}, "the audit log's entries are for who may read them") {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.allowed == nil {
		l.allowed = map[string]time.Time{}
	}
	maps.DeleteFunc(l.allowed, func(_ string, until time.Time) bool { return !now.Before(until) })
	l.allowed[key] = now.Add(readingHolds)
	return true
}
