package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/audit/witness"
)

func (a *app) auditWitnessCommand() *cobra.Command {
	var listen, state, name string
	var logs []string
	c := &cobra.Command{
		Use:   "witness",
		Short: "Be a witness of somebody's log: sign its checkpoints as long as they extend each other",
		Long: `Be a witness of one or more logs, by https://c2sp.org/tlog-witness: POST /add-checkpoint. A witness signs a checkpoint only when it extends the last
one that it signed of that log, so who sees its signature sees the same history as everybody else. Run it where the log's operator can't reach it.

Its state directory holds its key and what it signed last: with a copy of it elsewhere, two histories could be signed. It serves plain HTTP: put a
TLS proxy before it. It runs until Ctrl-C and prints its verifier key first, for "bailiwick audit cosign" and "bailiwick audit verify --witness".`,
		Example: `  bailiwick audit witness --name witness.example --state /var/lib/witness --log 'bailiwick.dev/prod+1a2b3c4d+AQ…' --listen 127.0.0.1:7380`,
		Args:    usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if state == "" || name == "" {
				return badUsage(c, "--state and --name are needed")
			}
			where, err := a.where()
			if len(logs) == 0 && err == nil && where.LogKey != "" {
				logs = []string{where.LogKey}
			}
			if len(logs) == 0 {
				return badUsage(c, "--log is needed: the verifier key of a log")
			}
			for i := range logs {
				if logs[i], err = logKey(logs[i], where); err != nil {
					return err
				}
			}
			return a.witness(c.Context(), listen, state, name, logs)
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:7380", "address to serve at")
	c.Flags().StringVar(&state, "state", "", "directory of the key and of what was signed")
	c.Flags().StringVar(&name, "name", "", "the witness's name, such as its host name and a path")
	c.Flags().StringArrayVar(&logs, "log", nil, "verifier key, or @FILE, of a log to watch; may be repeated (default: the context's)")
	return c
}

func (a *app) witness(ctx context.Context, listen, state, name string, logs []string) error {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("making the witness's state: %w", err)
	}
	signer, err := witness.LoadOrCreateKey(filepath.Join(state, "key"), name)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(a.errs, nil))
	w, err := witness.New(witness.Config{Dir: filepath.Join(state, "signed"), Signer: signer, Logs: logs, Logger: logger})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return errors.Join(fmt.Errorf("serving the witness: %w", err), w.Close())
	}
	if a.asJSON {
		err = a.out.json(map[string]string{"url": "http://" + listener.Addr().String(), "key": signer.VerifierKey()})
	} else {
		_, err = fmt.Fprintf(a.out, "witness %s at http://%s\n", signer.VerifierKey(), listener.Addr())
	}
	if err != nil {
		return errors.Join(err, w.Close())
	}
	server := httpServer(w, logger)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		return errors.Join(shutdown(server), w.Close())
	case err := <-served:
		return errors.Join(fmt.Errorf("serving the witness: %w", err), w.Close())
	}
}

func (a *app) auditCosignCommand() *cobra.Command {
	var log, key string
	var witnesses []string
	var quorum int
	var every time.Duration
	c := &cobra.Command{
		Use:   "cosign",
		Short: "Ask witnesses to cosign each new checkpoint of the log",
		Long: `Ask witnesses (https://c2sp.org/tlog-witness) to cosign each new checkpoint of the log. When enough have, the checkpoint with their signatures becomes
the file checkpoint.witnessed in the log's directory, which the control plane serves. The log itself never waits for a witness. Run it beside the control
plane; it runs until Ctrl-C.`,
		Example: `  bailiwick audit cosign --witness 'http://127.0.0.1:7380 witness.example+1a2b3c4d+BA…' --witness 'https://w2.example w2.example+5e6f7a8b+BA…' --quorum 1`,
		Args:    usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			where, _ := a.where()
			if log == "" {
				log = where.LogDir
			}
			key, err := logKey(key, where)
			if err != nil {
				return err
			}
			if log == "" || key == "" || len(witnesses) == 0 {
				return badUsage(c, "a log, its key and at least one --witness are needed")
			}
			cfg := tiles.CosignConfig{Log: log, Key: key, Quorum: quorum, Interval: every, Logger: slog.New(slog.NewTextHandler(a.errs, nil))}
			for _, w := range witnesses {
				url, key, ok := strings.Cut(w, " ")
				if !ok || !strings.HasPrefix(url, "http") {
					return badUsage(c, "--witness is %q; write 'URL KEY'", w)
				}
				cfg.Witnesses = append(cfg.Witnesses, tiles.WitnessURL{URL: url, Key: strings.TrimSpace(key)})
			}
			return tiles.RunCosigning(c.Context(), cfg)
		},
	}
	c.Flags().StringVar(&log, "log", "", "directory of the log (default: the context's)")
	c.Flags().StringVar(&key, "key", "", "the log's verifier key, or @FILE (default: the context's)")
	c.Flags().StringArrayVar(&witnesses, "witness", nil, "'URL KEY' of a witness; may be repeated")
	c.Flags().IntVar(&quorum, "quorum", 0, "how many must cosign (default: all)")
	c.Flags().DurationVar(&every, "every", 10*time.Second, "at most one round so often")
	return c
}

func (a *app) auditAnchorCommand() *cobra.Command {
	var log, tokenFile string
	var to []string
	var every time.Duration
	var once bool
	c := &cobra.Command{
		Use:   "anchor",
		Short: "Keep the log's checkpoints in a file, a git repository or at a URL",
		Long: `Keep the log's checkpoints somewhere that the log's operator can't change alone; "bailiwick audit verify --against" then finds a log that was cut
back or rewritten. A place is a file (checkpoints are appended), git:DIR (each is a commit, pushed when the repository has a remote), or an http(s)://
URL (each is sent by POST). The cosigned checkpoint is taken where there is one. It runs until Ctrl-C, or with --once ends when all have it.`,
		Example: `  bailiwick audit anchor --to git:/srv/anchors --every 10m
  bailiwick audit anchor --to /mnt/worm/checkpoints --to https://hooks.example/anchor --token-file hook-token --once`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if where, err := a.where(); err == nil && log == "" {
				log = where.LogDir
			}
			if log == "" || len(to) == 0 {
				return badUsage(c, "a log and at least one --to are needed")
			}
			cfg := tiles.AnchorConfig{Log: log, Interval: every, Logger: slog.New(slog.NewTextHandler(a.errs, nil)), Token: tokenFrom(tokenFile)}
			for _, p := range to {
				cfg.Anchors = append(cfg.Anchors, tiles.Anchor(p))
			}
			if !once {
				return tiles.RunAnchoring(c.Context(), cfg)
			}
			for _, anchor := range cfg.Anchors {
				if _, err := tiles.AnchorOnce(c.Context(), cfg, anchor, ""); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&log, "log", "", "directory of the log (default: the context's)")
	c.Flags().StringArrayVar(&to, "to", nil, "FILE, git:DIR or a URL; may be repeated")
	c.Flags().DurationVar(&every, "every", 10*time.Minute, "at most one checkpoint so often")
	c.Flags().BoolVar(&once, "once", false, "put the newest checkpoint there and end")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with a bearer token for URLs")
	return c
}

// tokenFrom reads a token from a file each time that it is needed; nil without a file.
func tokenFrom(file string) func() (string, error) {
	if file == "" {
		return nil
	}
	return func() (string, error) {
		raw, err := os.ReadFile(file)
		return strings.TrimSpace(string(raw)), err
	}
}

// checkpointsOf reads the checkpoints that were kept in a place.
func checkpointsOf(ctx context.Context, place, tokenFile string) ([][]byte, error) {
	return tiles.ReadAnchor(ctx, tiles.AnchorConfig{Token: tokenFrom(tokenFile), Client: &http.Client{Timeout: 30 * time.Second}}, tiles.Anchor(place))
}
