package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/demo"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// demoWorkerCommand is how `bailiwick dev` runs the demo worker: as a process of its own, with an identity of its own.
func (a *app) demoWorkerCommand() *cobra.Command {
	var cfg demo.Config
	var creds sdkplugin.ClientCredentialsConfig
	var parentPipe bool
	c := &cobra.Command{
		Use:    "demo-worker",
		Short:  "Run the demo worker (bailiwick dev does)",
		Hidden: true,
		Args:   usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			if parentPipe {
				go func() {
					_, _ = io.Copy(io.Discard, a.in) // any end of the pipe means that the parent is gone
					cancel()
				}()
			}
			cfg.Logger = slog.New(&readyOnce{Handler: slog.NewJSONHandler(a.errs, nil), out: a.out})
			creds.Logger = cfg.Logger
			creds.Scopes = []string{"temporal.worker"}
			var err error
			if cfg.Credentials, err = sdkplugin.ClientCredentials(creds); err != nil {
				return err
			}
			return demo.Run(ctx, cfg)
		},
	}
	fl := c.Flags()
	fl.StringVar(&cfg.Address, "address", "127.0.0.1:7233", "Temporal frontend")
	fl.StringVar(&cfg.Namespace, "namespace", "deploy", "namespace")
	fl.StringVar(&creds.TokenURL, "token-url", "", "the issuer's token endpoint")
	fl.StringVar(&creds.ClientID, "client-id", "", "the worker's client id")
	fl.StringVar(&creds.PrivateKeyFile, "key", "", "the worker's private key, PEM")
	fl.StringVar(&creds.KeyID, "key-id", "", "the key's id at the issuer (default: its thumbprint)")
	fl.StringVar(&cfg.KeysURL, "keys-url", "", "where the attestation keys are published")
	fl.StringVar(&cfg.RevokedURL, "revoked-url", "", "where the control plane tells who has lost access")
	fl.StringVar(&cfg.Audience, "audience", "", "the environment whose attestations are accepted")
	fl.BoolVar(&parentPipe, "parent-pipe", false, "stop when standard input ends")
	return c
}

// readyOnce says on standard output that the worker polls, when the worker's log says so.
type readyOnce struct {
	slog.Handler
	out  io.Writer
	said bool
}

func (h *readyOnce) Handle(ctx context.Context, r slog.Record) error {
	if !h.said && r.Message == "demo worker polls" { // logged once, by the goroutine that starts the worker
		h.said = true
		fmt.Fprintln(h.out, `{"ready":true}`)
	}
	return h.Handler.Handle(ctx, r)
}
