package main

import (
	"context"
	"log/slog"
)

// startExports runs the exports of the state directory's exports.yaml beside the control plane, if there is one. A configuration that is wrong
// is told at once; a receiver that is down is not a reason not to start.
func (d *devEnv) startExports(ctx context.Context, logger *slog.Logger) (stop func() error, err error) {
	return runExports(ctx, d.state.path("exports.yaml"), d.state.path("log"), logger)
}
