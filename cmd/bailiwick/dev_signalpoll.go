package main

import (
	"context"
	"log/slog"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/ssf"
)

// How Shared Signals arrive.
const (
	signalsPushed = "push"
	signalsPolled = "poll"
)

// streamPoll is a stream at the org, asked as the service app.
type streamPoll struct {
	client   *okta.Client
	endpoint string
}

// Poll implements ssf.Transmission.
func (s streamPoll) Poll(ctx context.Context, said ssf.Said, most int) (map[string]string, bool, error) {
	ask := okta.StreamPoll{Most: most, Ack: said.Taken, Errors: map[string]okta.StreamError{}}
	for jti, why := range said.Refused {
		ask.Errors[jti] = okta.StreamError(why)
	}
	tokens, err := s.client.PollStream(ctx, s.endpoint, ask)
	return tokens.Sets, tokens.More, err
}

// pollSignals asks for signals until ctx ends, from when there is a stream that is polled.
func (d *devEnv) pollSignals(ctx context.Context, r *ssf.Receiver, org *oktaDirectory, logger *slog.Logger) {
	var s okta.Stream
	select {
	case <-ctx.Done():
		return
	case s = <-d.polled:
	}
	if err := r.Poll(ctx, ssf.PollConfig{Transmission: streamPoll{org.client, s.Endpoint}, Audience: s.Audience}); err != nil {
		logger.ErrorContext(ctx, "signals can't be polled", "error", err)
	}
}
