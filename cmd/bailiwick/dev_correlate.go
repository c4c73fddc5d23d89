package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/correlate"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/okta/syslog"
)

// correlateEvery is how often correlation looks for what is new, and how old it lets it be that there is nothing: revocation, which asks sooner, asks for both.
const correlateEvery = 2 * time.Second

// correlateSince is how far back the org's log is taken when it is taken for the first time.
const correlateSince = 24 * time.Hour

// followOrgLog takes the org's own log into the audit log until ctx ends, so that decisions can be followed back to their login. Who joined, left and
// changed groups is recorded by revocation, which hears of it sooner.
func (d *devEnv) followOrgLog(ctx context.Context, plane *control.Plane, org *oktaDirectory, logger *slog.Logger) error {
	p, err := correlate.Open(correlate.Config{
		Log: systemLog{org.log, time.Now().Add(-correlateSince)}, State: d.state.path("correlate.json"), Issuer: org.issuer,
		Record: plane.Record, Every: correlateEvery, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("following the org's log: %w", err)
	}
	go p.Run(ctx)
	return nil
}

// systemLog is the org's System Log as correlation reads it.
type systemLog struct {
	log   *syslog.Log
	since time.Time
}

// Page implements correlate.SystemLog. Waiting for the org's rate limits is the client's business.
func (s systemLog) Page(ctx context.Context, cursor string) ([]correlate.Event, string, error) {
	page, err := s.log.After(ctx, cursor, s.since, correlateEvery)
	switch {
	case okta.IsBadRequest(err) && cursor != "", errors.Is(err, syslog.ErrCursor):
		return nil, "", fmt.Errorf("%w: %w", correlate.ErrCursor, err)
	case err != nil:
		return nil, "", err
	}
	out := make([]correlate.Event, len(page.Events))
	for i, e := range page.Events {
		out[i] = correlate.Event{
			ID: e.UUID, Type: e.EventType, At: e.Published, Success: e.Outcome.Result == "SUCCESS", Actor: partyOf(e.Actor),
			Session: e.AuthenticationContext.ExternalSessionID, Debug: map[string]string{},
		}
		for _, t := range e.Target {
			out[i].Targets = append(out[i].Targets, partyOf(t))
		}
		for _, k := range []string{"clientId", "grantedScopes"} {
			if v, ok := e.DebugContext.DebugData[k].(string); ok {
				out[i].Debug[k] = v
			}
		}
	}
	return out, page.Next, nil
}

func partyOf(p okta.LogParty) correlate.Party {
	return correlate.Party{ID: p.ID, Type: p.Type, Login: p.AlternateID, Name: p.DisplayName}
}
