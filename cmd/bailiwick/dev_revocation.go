package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/okta/syslog"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
	"github.com/bailiwick-dev/bailiwick/internal/revocation/ssf"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

const (
	pollEvery = time.Second            // how often the org's log is asked: a development org has nobody else to serve
	trust     = 500 * time.Millisecond // how long the org may take to say how somebody stands before an event is believed without it
)

// startRevocation begins to watch the org for whoever loses access. It is served as soon as the plane is; see watchOrg.
func (d *devEnv) startRevocation(ctx context.Context, c *controlPlane, org *oktaDirectory, logger *slog.Logger) (*revocation.Revoker, error) {
	secret, err := feed.LoadOrCreateToken(d.state.path("keys", "hook.secret"))
	if err != nil {
		return nil, fmt.Errorf("starting revocation: %w", err)
	}
	cfg := revocation.Config{
		File: d.state.path("standing", "revocation.db"), Issuers: []string{org.issuer}, Directory: org, Log: org, Publisher: c.standing, Recorder: c.plane,
		Ender: requestEnder{c.access, org.issuer}, Secret: secret, Every: pollEvery, Trust: trust, Logger: logger,
	}
	if !d.flags.noTemporal {
		if d.keeper, err = d.openInFlight(c.plane, logger); err != nil {
			return nil, err
		}
		cfg.Keeper = d.keeper
	}
	r, err := revocation.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	signals, err := d.startSignals(c, r, org, logger)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	context.AfterFunc(ctx, func() { _ = signals.Close() }) // it has nothing to lose
	d.polled = make(chan okta.Stream, 1)
	go d.pollSignals(ctx, signals, org, logger)
	c.plane.Handle("GET "+revocation.HookPath, r.Hook())
	c.plane.Handle("POST "+revocation.HookPath, r.Hook())
	c.plane.Handle("GET /v1/okta/status", c.plane.Authenticated(func(w http.ResponseWriter, req *http.Request, who identity.Identity) {
		if !c.plane.Permit(w, req, who, policy.Request{Action: "GetClusterInfo"}, "you may not see how revocation is doing") {
			return
		}
		s, err := r.Status(req.Context())
		if err != nil {
			control.Problem(w, http.StatusServiceUnavailable, "revocation_unavailable", "the queue of signals can't be read now", "try again")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct { // who asked may have gone
			revocation.Status
			Signals ssf.Status `json:"signals"`
		}{s, signals.Status()})
	}))
	return r, nil
}

// Find tells what the org says of somebody now.
func (o *oktaDirectory) Find(ctx context.Context, uid string) (p revocation.Person, found bool, err error) {
	u, err := o.client.User(ctx, uid)
	if okta.IsNotFound(err) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	p = revocation.Person{Login: u.Profile.Login, Status: u.Status, Active: u.Active()}
	p.Groups, err = o.groupsOf(ctx, u.ID)
	return p, true, err
}

// After reads the org's System Log. It takes nothing for told that the org does not say now, and so does the asking for all who follow.
func (o *oktaDirectory) After(ctx context.Context, cursor string, since time.Time) (out []revocation.Happening, next string, err error) {
	page, err := o.log.After(ctx, cursor, since, 0)
	switch {
	case okta.IsRateLimited(err):
		return nil, "", fmt.Errorf("%w: %w", revocation.ErrLimited, err)
	case okta.IsBadRequest(err) && cursor != "", errors.Is(err, syslog.ErrCursor):
		return nil, "", fmt.Errorf("%w: %w", revocation.ErrCursor, err)
	case err != nil:
		return nil, "", err
	}
	for _, e := range page.Events {
		h := revocation.Happening{ID: e.UUID, Type: e.EventType, At: e.Published, Outcome: e.Outcome.Result, Actor: logParty(e.Actor), Session: e.AuthenticationContext.ExternalSessionID}
		for _, t := range e.Target {
			h.Targets = append(h.Targets, logParty(t))
		}
		out = append(out, h)
	}
	return out, page.Next, nil
}

func logParty(p okta.LogParty) revocation.Party {
	return revocation.Party{ID: p.ID, Type: p.Type, AlternateID: p.AlternateID, DisplayName: p.DisplayName}
}

// requestEnder ends the access requests of who left.
type requestEnder struct {
	access *access.Service
	issuer string
}

func (e requestEnder) EndAll(ctx context.Context, principal, why string) error {
	by := identity.Claims{Issuer: e.issuer, Kind: identity.Client, ID: devorg.ManagementClient, ClientID: devorg.ManagementClient}
	_, err := e.access.RevokePerson(ctx, principal, by, why)
	return err
}

// watchOrg makes the org send events and transmit signals to the control plane, which serves by now. Without it the log, which is asked every second, brings them.
func (d *devEnv) watchOrg(ctx context.Context, org *oktaDirectory) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	secret, err := feed.LoadOrCreateToken(d.state.path("keys", "hook.secret"))
	if err != nil {
		return fmt.Errorf("registering the event hook: %w", err)
	}
	want := okta.EventHook{Name: "bailiwick " + d.name(), URI: d.controlURL() + revocation.HookPath, Header: "Authorization", Types: revocation.HookTypes()}
	have, err := org.client.EventHooks(ctx)
	if err != nil {
		return fmt.Errorf("registering the event hook: %w", err)
	}
	i := slices.IndexFunc(have, func(h okta.EventHook) bool { return h.Name == want.Name })
	var h okta.EventHook
	if i < 0 {
		h, err = org.client.CreateEventHook(ctx, want, secret)
	} else { // the port may be another, and the secret
		want.ID = have[i].ID
		h, err = org.client.ReplaceEventHook(ctx, want, secret)
	}
	if err == nil && h.Verification != "VERIFIED" {
		_, err = org.client.VerifyEventHook(ctx, h.ID)
	}
	if err == nil && h.Status != "ACTIVE" {
		_, err = org.client.ActivateEventHook(ctx, h.ID)
	}
	if err != nil {
		err = fmt.Errorf("registering the event hook: %w", err)
	}
	return errors.Join(err, d.watchSignals(ctx, org))
}
