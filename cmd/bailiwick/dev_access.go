package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
	"github.com/bailiwick-dev/bailiwick/standing"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// janitorEvery is how often grants are held against requests.
const janitorEvery = time.Minute

// mountAccess serves access requests, before the plane serves. They are refused as unavailable until accessWorker.run has connected.
func mountAccess(plane *control.Plane, f *feed.Feed, file string, uses access.Uses, org *oktaDirectory, logger *slog.Logger) (*access.Service, error) {
	cfg := access.Config{
		Decider: plane, Judge: plane.Policy(), Recorder: plane, Publisher: f, Grants: feedGrants{f}, Standing: f.State(), Uses: uses,
		Directory: org, Groups: org, Logger: logger, CheckNamespaces: true,
	}
	settings, err := access.LoadSettings(file)
	if err != nil {
		return nil, err
	}
	cfg.Settings = settings
	if notifier, err := access.NewNotifier(settings.Notify, settings.Link, logger); err != nil {
		return nil, err
	} else if notifier != nil {
		cfg.Notifier = notifier
	}
	s, err := access.New(cfg)
	if err != nil {
		return nil, err
	}
	s.Mount(plane)
	return s, nil
}

// feedGrants lists what gates honour.
type feedGrants struct{ feed *feed.Feed }

func (g feedGrants) Live(context.Context) ([]*standing.Grant, error) {
	return g.feed.State().Live(time.Now()), nil
}

// accessWorker runs access requests' workflows and makes the daily reconciliation. Its identity may run Bailiwick's own workflows and read histories, and can't call Okta's API.
type accessWorker struct {
	client client.Client
	worker worker.Worker
	keys   *rotations
}

// startAccess connects the access service to Temporal. It proves who it is like any other service: by a key of its own at the org.
func (d *devEnv) startAccess(ctx context.Context, s *access.Service) (*accessWorker, error) {
	wrap := func(err error) error { return fmt.Errorf("starting access requests: %w", err) }
	key, err := d.org.registerClient(ctx, devorg.WorkflowsClient, d.state.path("keys", "workflows.pem"))
	if err != nil {
		return nil, wrap(err)
	}
	logger, _, err := fileLogger(d.state.path("logs", "access.log"))
	if err != nil {
		return nil, wrap(err)
	}
	credentials, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: d.tokenURL(), ClientID: devorg.WorkflowsClient, PrivateKeyFile: key.file, Scopes: []string{"temporal"}, Logger: logger})
	if err != nil {
		return nil, wrap(err)
	}
	plugin, err := sdkplugin.New(sdkplugin.Options{Credentials: credentials, KeysURL: d.keysURL(), Audience: d.audience(), Logger: logger})
	if err != nil {
		return nil, wrap(err)
	}
	c, err := client.DialContext(ctx, client.Options{HostPort: d.address(), Namespace: access.Namespace, Plugins: []client.Plugin{plugin}, Logger: tlog.NewStructuredLogger(logger)})
	if err != nil {
		return nil, wrap(err)
	}
	w := worker.New(c, access.TaskQueue, worker.Options{})
	s.Register(w)
	d.reporter(d.control.plane, c.WorkflowService(), logger).Register(w)
	d.keeper.Register(w)
	if err := w.Start(); err != nil {
		c.Close()
		return nil, wrap(err)
	}
	s.Connect(c)
	d.keeper.Connect(c)
	if err := access.Tend(sdkplugin.WithReason(ctx, "grants are held against requests"), c, janitorEvery); err != nil {
		w.Stop()
		c.Close()
		return nil, wrap(err)
	}
	if err := scheduleReports(ctx, c, access.TaskQueue); err != nil {
		w.Stop()
		c.Close()
		return nil, wrap(err)
	}
	if err := d.control.keys.start(ctx, c); err != nil {
		w.Stop()
		c.Close()
		return nil, wrap(err)
	}
	return &accessWorker{c, w, d.control.keys}, nil
}

func (w *accessWorker) stop() error {
	w.keys.stop()
	w.worker.Stop()
	w.client.Close()
	return nil
}
