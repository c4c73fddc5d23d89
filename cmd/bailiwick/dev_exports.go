package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// startExports runs the exports of the state directory's exports.yaml beside the control plane, if there is one. A configuration that is wrong
// is told at once; a receiver that is down is not a reason not to start. How far behind each sink is, GET /metrics tells Prometheus.
func (d *devEnv) startExports(ctx context.Context, c *controlPlane, logger *slog.Logger) (stop func() error, err error) {
	meter, metrics, err := controlMetrics()
	if err != nil {
		return nil, err
	}
	c.plane.Handle("GET /metrics", metrics)
	return runExports(ctx, d.state.path("exports.yaml"), d.state.path("log"), meter, logger)
}

// controlMetrics makes the control plane's meter and what serves it to Prometheus. Its figures name sinks and never people, so that everybody
// who reaches the control plane may read them.
func controlMetrics() (metric.Meter, http.Handler, error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, nil, fmt.Errorf("making the control plane's metrics: %w", err)
	}
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("github.com/bailiwick-dev/bailiwick")
	return meter, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}
