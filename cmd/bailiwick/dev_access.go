package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/bailiwick-dev/bailiwick/audit"
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
func mountAccess(plane *control.Plane, f *feed.Feed, file string, journals []string, org *oktaDirectory, logger *slog.Logger) (*access.Service, error) {
	cfg := access.Config{
		Decider: plane, Judge: plane.Policy(), Recorder: plane, Publisher: f, Grants: feedGrants{f}, Standing: f.State(), Uses: journalUses(journals),
		Directory: org, Groups: org, Logger: logger,
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

// journalUses finds what was done under a grant by reading the journals of this machine's gates.
type journalUses []string

// maxUses bounds what a request shows; the search index has the rest.
const maxUses = 1000

func (j journalUses) Uses(ctx context.Context, grant string) (out []access.Use, err error) {
	for _, dir := range j {
		if out, err = usesIn(ctx, dir, grant, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func usesIn(ctx context.Context, dir, grant string, out []access.Use) ([]access.Use, error) {
	r, err := audit.OpenReader(dir, 0)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	for len(out) < maxUses && ctx.Err() == nil {
		_, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		if !bytes.Contains(raw, []byte(grant)) {
			continue
		}
		e, err := audit.ParseEntry(raw)
		if err != nil || e.Kind != audit.KindDecision || e.Grant != grant || e.Decision == nil {
			continue
		}
		out = append(out, access.Use{At: e.Time, Entry: e.ID, Gate: e.Gate, Login: e.Actor.Login, Action: e.Action, Resource: e.Resource, Allow: e.Decision.Allow, Code: string(e.Decision.Code), Reason: e.Reason})
	}
	return out, ctx.Err()
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
