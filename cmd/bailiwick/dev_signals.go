package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/ssf"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// startSignals takes what the org transmits: security event tokens and requests to log somebody out. It is served as soon as the plane is.
func (d *devEnv) startSignals(c *controlPlane, r *revocation.Revoker, org *oktaDirectory, logger *slog.Logger) (*ssf.Receiver, error) {
	secret, err := feed.LoadOrCreateToken(d.state.path("keys", "stream.secret"))
	if err != nil {
		return nil, fmt.Errorf("starting to take signals: %w", err)
	}
	s, err := ssf.New(ssf.Config{
		Transmitter: d.orgURL(), Issuers: []string{d.issuer()}, Sink: r, People: org, Audience: d.controlURL() + ssf.EventsPath, Secret: "Bearer " + secret,
		Logout: d.controlURL() + ssf.LogoutPath, LogoutApp: devorg.CLIClient, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	c.plane.Handle("POST "+ssf.EventsPath, s.Events())
	c.plane.Handle("POST "+ssf.LogoutPath, s.Logout())
	return s, nil
}

// UID finds a login at the org.
func (o *oktaDirectory) UID(ctx context.Context, login string) (uid string, found bool, err error) {
	u, err := o.client.User(ctx, login)
	if okta.IsNotFound(err) {
		return "", false, nil
	}
	return u.ID, err == nil, err
}

// watchSignals makes the org transmit to the control plane, which serves by now.
func (d *devEnv) watchSignals(ctx context.Context, org *oktaDirectory) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	wrap := func(err error) error { return fmt.Errorf("registering the signals stream: %w", err) }
	secret, err := feed.LoadOrCreateToken(d.state.path("keys", "stream.secret"))
	if err != nil {
		return wrap(err)
	}
	want := okta.Stream{Polled: d.flags.signals == signalsPolled, Endpoint: d.controlURL() + ssf.EventsPath, Types: ssf.EventTypes()}
	have, err := org.client.Streams(ctx)
	if err != nil {
		return wrap(err)
	}
	var s okta.Stream
	if len(have) == 0 {
		s, err = org.client.CreateStream(ctx, want, "Bearer "+secret)
	} else { // the port may be another, and the secret
		want.ID = have[0].ID
		s, err = org.client.ReplaceStream(ctx, want, "Bearer "+secret)
	}
	if err == nil && s.Polled {
		d.polled <- s
	}
	if err == nil {
		err = org.client.VerifyStream(ctx, s.ID, "started "+time.Now().UTC().Format(time.RFC3339))
	}
	if err != nil {
		return wrap(err)
	}
	// At Okta an admin sets this on the app.
	logout := map[string]string{"endpoint": d.controlURL() + ssf.LogoutPath, "client_id": devorg.CLIClient, "format": "email"}
	if err := d.org.manage(ctx, http.MethodPut, "/dev/logout", logout, nil); err != nil {
		return wrap(err)
	}
	return nil
}
