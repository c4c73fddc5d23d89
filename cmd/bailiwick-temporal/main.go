// Command bailiwick-temporal is a Temporal server with Bailiwick's gate linked in, on SQLite and loopback, and the Temporal web UI.
//
// It owns the server's layout: which services run, on which ports, with which certificates, and how people sign in to the UI. It refuses to
// judge callers; serverplugin and the gate behind it do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"go.temporal.io/server/common/headers"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// ready is the one line on standard output.
type ready struct {
	Ready bool   `json:"ready"`
	GRPC  string `json:"grpc"`
	HTTP  string `json:"http,omitempty"`
	UI    string `json:"ui,omitempty"` // where a browser finds the UI; it may still wait for its issuer
	PID   int    `json:"pid"`
}

// run is the program; its result is the exit code: 0 after a clean stop, 1 after a failure (told as one line of JSON on stderr), 2 for a
// wrong command line.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bailiwick-temporal", flag.ContinueOnError)
	flags.SetOutput(stderr)
	configFile := flags.String("config", "", "JSON `file` with the configuration (see Config in config.go)")
	parentPipe := flags.Bool("parent-pipe", false, "stop when standard input ends, so that the server never outlives its parent")
	level := flags.String("log-level", "warn", "lowest `level` that is logged: debug, info, warn or error")
	showVersion := flags.Bool("version", false, "print the Temporal server's version and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *showVersion {
		fmt.Fprintf(stdout, "bailiwick-temporal %s (Temporal server %s)\n", version, headers.ServerVersion)
		return 0
	}
	lowest := new(slog.LevelVar)
	if err := lowest.UnmarshalText([]byte(*level)); err != nil || flags.NArg() > 0 || *configFile == "" {
		fmt.Fprintln(stderr, "usage: bailiwick-temporal --config FILE [--parent-pipe] [--log-level debug|info|warn|error]")
		return 2
	}
	logger := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: lowest}))

	// Signals are caught before anything is started, so that a stop during the start is clean, too.
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	context.AfterFunc(ctx, release) // a second Ctrl-C ends the process at once
	if *parentPipe {
		var orphaned context.CancelFunc
		ctx, orphaned = context.WithCancel(ctx)
		defer orphaned()
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // any end of the pipe, clean or not, means that the parent is gone
			orphaned()
		}()
	}

	// Parts of the server stop one after another and each complains about the others' absence.
	context.AfterFunc(ctx, func() { lowest.Set(max(lowest.Level(), slog.LevelError)) })
	if err := serve(ctx, *configFile, stdout, logger); err != nil {
		report(stderr, err)
		return 1
	}
	return 0
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, configFile string, stdout io.Writer, logger *slog.Logger) error {
	cfg, err := LoadConfig(configFile)
	if err != nil {
		return err
	}
	started := time.Now()
	s, err := StartServer(ctx, cfg, logger, os.Exit)
	if err != nil {
		if ctx.Err() != nil {
			logger.InfoContext(ctx, "stopped while starting", "error", err)
			return nil // as asked
		}
		return err
	}
	logger.InfoContext(ctx, "serving", "took", time.Since(started))
	if s.ui != nil {
		// The usual case is an issuer that runs already; then "ready" means the UI, too.
		select {
		case <-s.ui.ready:
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
		}
	}
	line := ready{Ready: true, GRPC: s.grpcAddress(), PID: os.Getpid()}
	if cfg.HTTPPort != 0 {
		line.HTTP = net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.HTTPPort))
	}
	if cfg.UI.Enabled {
		line.UI = uiAddress(cfg.UI.CallbackURL)
	}
	if err := json.NewEncoder(stdout).Encode(line); err != nil {
		return errors.Join(fmt.Errorf("telling the parent that the server is ready: %w", err), s.Stop())
	}
	<-ctx.Done()
	return s.Stop()
}
