package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/control"
	"github.com/bailiwick-dev/bailiwick/internal/reconcile"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// reporter makes the scheduled reconciliations, by the worker that runs access requests. They read histories with its identity, through the gate: what
// roles.yaml does not let it read is not compared.
func (d *devEnv) reporter(plane *control.Plane, service workflowservice.WorkflowServiceClient, logger *slog.Logger) *reconcile.Reporter {
	reader := newApp(nil, io.Discard, io.Discard)
	reader.context = d.name()
	return &reconcile.Reporter{
		Dir: d.state.path(reportsDir), Record: plane.Record, Logger: logger,
		Open: func(ctx context.Context) (reconcile.Config, func(), error) { return reader.toReconcile(ctx, service) },
	}
}

// reconcileRate is how many histories a scheduled report reads in a second: nobody waits for it.
const reconcileRate = 20

// toReconcile is what histories are held against: the context's log, indexed up to now.
func (a *app) toReconcile(ctx context.Context, service workflowservice.WorkflowServiceClient) (cfg reconcile.Config, done func(), err error) {
	where, err := a.where()
	if err != nil {
		return cfg, nil, err
	}
	keys, err := a.keys(ctx, where, "")
	if err != nil {
		return cfg, nil, err
	}
	namespaces, err := a.seenNamespaces(ctx, service)
	if err != nil {
		return cfg, nil, err
	}
	x, err := a.syncedIndex(ctx, indexFlags{})
	if err != nil {
		return cfg, nil, err
	}
	return reconcile.Config{
		Namespaces: namespaces, Histories: reconcile.Temporal{Service: service}, Record: reconcile.Indexed{Index: x.Index},
		Keys: keys, Archive: a.archivedKeys(ctx, ""), Audience: where.Audience, DecisionOf: gate.DecisionOf, PerSecond: reconcileRate, Near: time.Minute,
	}, func() { _ = x.Close() }, nil // it was only read
}

// scheduleReports has a report made every day.
func scheduleReports(ctx context.Context, c client.Client, taskQueue string) error {
	return reconcile.Schedule(sdkplugin.WithReason(ctx, "histories are held against the log every day"), c, taskQueue, reconcile.DefaultEvery)
}
