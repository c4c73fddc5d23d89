package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
	"github.com/bailiwick-dev/bailiwick/standing/feed"
)

// startLimit is how long a child may take to say that it is ready.
const startLimit = 90 * time.Second

// startTemporal writes the server's configuration and starts it. The file holds the UI's client secret, so it lies in org/ beside the database
// that it is a secret of, and not among what people copy.
func (d *devEnv) startTemporal(ctx context.Context) (*child, error) {
	p := d.flags.ports
	config := map[string]any{
		"state_dir": d.state.path("temporal"), "name": d.name(), "audience": d.audience(), "host": "127.0.0.1",
		"grpc_port": p.GRPC, "http_port": p.HTTP, "ui_port": p.UI, "namespaces": append(slices.Clone(devNamespaces), access.Namespace),
		"issuers":    []any{map[string]any{"url": d.issuer(), "audiences": []string{"api://temporal"}, "groups": d.groupsFrom()}},
		"policy_dir": d.state.path("policy"), "journal_dir": d.state.path("journal"), "attestation_key": d.state.path("keys", "attestation"),
		"ui": map[string]any{"enabled": !d.flags.noUI, "issuer": d.issuer(), "client_id": devorg.UIClient, "client_secret": devorg.UISecret, "callback_url": d.uiURL() + "/auth/sso/callback"},
	}
	config["standing"] = d.followStanding(d.control.standing)
	if dir := d.privacyDir(); dir != "" {
		config["privacy_dir"] = dir
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing Temporal's configuration: %w", err)
	}
	file := d.state.path("org", "temporal.json")
	if err := durable.WriteFile(file, append(raw, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("writing Temporal's configuration: %w", err)
	}
	c, err := d.family.start("temporal", d.state.path("logs", "temporal.log"), d.flags.temporal, []string{"--config", file, "--parent-pipe"}, d.say.childLine("temporal", slog.LevelError))
	if err != nil {
		return nil, err
	}
	return c, d.awaitChild(ctx, c)
}

// awaitChild waits for a child's ready line, and ends it if that does not come.
func (d *devEnv) awaitChild(ctx context.Context, c *child) error {
	err := c.awaitReady(ctx, startLimit)
	if err != nil {
		_ = c.stop(5 * time.Second) // the reason why it did not start is what counts
	}
	return err
}

// startWorker starts this program again as the demo worker, and again whenever it ends by itself.
func (d *devEnv) startWorker(ctx context.Context, key workerKey) (*supervised, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting the demo worker: %w", err)
	}
	args := []string{"demo-worker", "--address", d.address(), "--namespace", "deploy", "--token-url", d.tokenURL(), "--client-id", devorg.DeployWorker,
		"--key", key.file, "--keys-url", d.keysURL(), "--audience", d.audience(),
		"--revoked-url", d.controlURL() + feed.Path + "/revoked", "--parent-pipe"}
	start := func() (*child, error) {
		c, err := d.family.start("worker", d.state.path("logs", "worker.log"), self, args, d.say.childLine("worker", slog.LevelInfo))
		if err != nil {
			return nil, err
		}
		return c, d.awaitChild(ctx, c)
	}
	return supervise(start, func(text string) { d.say.line("worker", text) })
}

// ensureSchedule makes the demo's schedule as the release agent: a service with write rights of its own. Nothing here acts as a person.
func (d *devEnv) ensureSchedule(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	try := func() error {
		secret, err := d.readAgentSecret()
		if err != nil {
			return err
		}
		creds, err := sdkplugin.ClientCredentials(sdkplugin.ClientCredentialsConfig{TokenURL: d.tokenURL(), ClientID: devorg.ReleaseAgent, Secret: secret, Scopes: []string{"temporal"}, Logger: quiet})
		if err != nil {
			return err
		}
		plugin, err := sdkplugin.New(sdkplugin.Options{Credentials: creds, Logger: quiet})
		if err != nil {
			return err
		}
		c, err := client.DialContext(ctx, client.Options{HostPort: d.address(), Namespace: "deploy", Plugins: []client.Plugin{plugin}, Logger: log.NewStructuredLogger(quiet)})
		if err != nil {
			return err
		}
		defer c.Close()
		return demo.EnsureSchedule(sdkplugin.WithReason(ctx, "nightly report of the demo"), c)
	}
	var err error
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 8*time.Second) {
		if err = try(); err == nil || ctx.Err() != nil {
			break
		}
		if _, refused := denied(err); refused {
			break // asking again does not help: the policies were changed, which is their owner's right
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	if err != nil && ctx.Err() == nil {
		d.say.line("", "the demo schedule was not made: "+err.Error())
	}
}
