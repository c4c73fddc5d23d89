package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/ship"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/control"
)

// serveLog mounts the audit log on the control plane: remote gates' journals in, static tiles out.
//
//	POST /v1/journal/{gate}   a gate's journal, by the token that keys/gates has the digest of
//	GET  /log/checkpoint      for everybody, like hash tiles: they hold no personal data and let whoever has an entry prove it
//	GET  /log/tile/entries/…  by a token that keys/readers has the digest of
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
	holder := ship.TokenHolder(state.path("keys", "readers"))
	plane.Handle("GET /log/", http.StripPrefix("/log", tiles.NewServer(tiles.ServerConfig{Log: state.path("log"), Logger: logger, Entries: func(r *http.Request) bool {
		name, ok := holder(r)
		if ok {
			logger.InfoContext(r.Context(), "entries of the log are read", "reader", name, "path", r.URL.Path)
		}
		return ok
	}})))
	return receiver, nil
}
