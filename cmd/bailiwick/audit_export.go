package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/metric"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/export"
)

// exportFlags say which exports: a configuration, and the log that it is of.
type exportFlags struct {
	logFlags
	config string
}

func (f *exportFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.log, "log", "", "directory of the sealed log (default: the context's)")
	c.Flags().StringVar(&f.config, "config", "", "the configuration (default: exports.yaml beside the log)")
}

func (a *app) auditExportCommand() *cobra.Command {
	var f subjectFlags
	g := group("export", "Send the record to a SIEM, a collector or files", `Send the sealed record to other systems, at least once and in order: to OpenTelemetry collectors, syslog over TLS, HTTP (also Splunk and Elastic) and
files; as OCSF 1.6.0 or in our own format. docs/export.md describes the configuration.

Exports read the log from behind. A receiver that is slow or down holds up nothing but its own cursor.

With --subject it writes everything that the log holds about one person instead, as JSON or as a page to read and print.`,
		a.auditExportRunCommand(), a.auditExportStatusCommand(), a.auditExportOnceCommand(), a.auditExportTestCommand(), a.auditExportRetryCommand())
	g.Example = `  bailiwick audit export run
  bailiwick audit export --subject alice@acme.example --format html -o alice.html`
	g.RunE = func(c *cobra.Command, _ []string) error {
		if f.subject == "" {
			return c.Help()
		}
		if f.format != "json" && f.format != "html" {
			return badUsage(c, "--format is %q; use json or html", f.format)
		}
		return a.auditSubject(c.Context(), f)
	}
	f.register(g)
	g.Flags().StringVar(&f.subject, "subject", "", "everything about this person: login or principal")
	g.Flags().StringVar(&f.format, "format", "json", "of --subject: json or html")
	g.Flags().StringVarP(&f.out, "output", "o", "", "of --subject: file to write (default: standard output)")
	return g
}

// exports resolves the flags: the configuration and the log.
func (a *app) exports(f exportFlags) (export.Config, export.SealedLog, error) {
	log, _, _, err := a.dirs(f.logFlags)
	if err != nil {
		return export.Config{}, "", err
	}
	if log == "" {
		return export.Config{}, "", &coded{Code: "no_log", Text: "exports read the sealed log, and this context has none", Fix: "name it with --log DIR"}
	}
	path := f.config
	if path == "" {
		path = filepath.Join(filepath.Dir(filepath.Clean(log)), "exports.yaml")
	}
	cfg, err := loadExports(path)
	return cfg, export.SealedLog(log), err
}

// loadExports tells problems of a configuration so that they can be mended all at once.
func loadExports(path string) (export.Config, error) {
	cfg, err := export.LoadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, &coded{Code: "no_exports", Text: fmt.Sprintf("there is no %s", path), Fix: "write one (docs/export.md has examples), or name it with --config FILE", Path: path, exit: exitUsage}
	}
	if problems, ok := errors.AsType[export.Problems](err); ok {
		return cfg, &coded{Code: "bad_exports", Text: path + ":\n  " + strings.Join(problems, "\n  "), Fix: "mend them; docs/export.md describes every field", Path: path, exit: exitUsage}
	}
	return cfg, err
}

// exportError gives what can go wrong with exports its code.
func exportError(err error) error {
	switch {
	case errors.Is(err, export.ErrBusy):
		return &coded{Code: "export_busy", Text: err.Error(), Fix: "`bailiwick dev` runs exports itself when exports.yaml is in its state directory; stop the other one first"}
	case errors.Is(err, export.ErrDiverged):
		return &coded{Code: "export_diverged", Text: err.Error(), Fix: "run `bailiwick audit verify`; if the log is sound and really another one, remove the sink's .cursor.json to export it from the start", exit: exitUnproven}
	}
	return err
}

func (a *app) auditExportRunCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Export until Ctrl-C",
		Long: `Export until Ctrl-C, from where each sink was. Only one process at a time exports to a sink. What goes wrong is told on standard error, and
"audit export status" tells how each sink does.`,
		Example: `  bailiwick audit export run
  bailiwick audit export run --config /etc/bailiwick/exports.yaml --log /var/lib/bailiwick/log`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, log, err := a.exports(f)
			if err != nil {
				return err
			}
			var handler slog.Handler = slog.NewTextHandler(a.errs, nil)
			if a.asJSON {
				handler = slog.NewJSONHandler(a.errs, nil)
			}
			opened, err := openFor(cfg, string(log))
			if err != nil {
				return err
			}
			x, err := export.New(cfg, export.Options{Log: log, Open: opened, Logger: slog.New(handler)})
			if err != nil {
				return exportError(err)
			}
			if !a.asJSON {
				for _, s := range cfg.Sinks {
					fmt.Fprintf(a.errs, "exporting to %s (%s, %s)\n", s.Name, s.Type, s.Format)
				}
			}
			return exportError(errors.Join(x.Run(c.Context()), x.Close()))
		},
	}
	f.register(c)
	return c
}

func (a *app) auditExportStatusCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show where each sink is, how far behind, and what it refused",
		Long: `Show where each sink is, how far it is behind the sealed log, its last error and its dead letters. Works whether an exporter runs or not.

Exit code 4 means that a cursor is not of this log.`,
		Example: `  bailiwick audit export status
  bailiwick audit export status --json | jq '.[] | select(.behind_seconds > 300) | .name'`,
		Args: usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, log, err := a.exports(f)
			if err != nil {
				return err
			}
			all, err := export.ReadStatus(cfg, log, time.Now())
			if err != nil {
				return err
			}
			return a.showExports(all)
		},
	}
	f.register(c)
	return c
}

func (a *app) showExports(all []export.Status) error {
	diverged := false
	var rows [][]string
	w := a.out
	for _, s := range all {
		state := s.State
		switch s.State {
		case "running":
			state = w.green(state)
		case "retrying", "stopped", "never ran":
			state = w.yellow(state)
		case "held", "diverged":
			state = w.red(state)
		}
		diverged = diverged || s.State == "diverged"
		behind := fmt.Sprint(s.Behind)
		if s.BehindSeconds >= 1 {
			behind += " (" + (time.Duration(s.BehindSeconds) * time.Second).String() + ")"
		}
		rows = append(rows, []string{w.bold(safe(s.Name)), s.Type, string(s.Format), state, fmt.Sprint(s.Next), behind, fmt.Sprint(s.Dead), clip(safe(s.LastError), 90)})
	}
	if a.asJSON {
		if err := w.json(all); err != nil {
			return err
		}
	} else {
		w.rows([]string{"SINK", "TYPE", "FORMAT", "STATE", "NEXT", "BEHIND", "DEAD", "LAST ERROR"}, rows)
	}
	if diverged {
		return &unproven{"a cursor is not of this log"}
	}
	return nil
}

func (a *app) auditExportTestCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "test SINK",
		Short: "Send one marked test event to a sink",
		Long: `Send one event to a sink and tell whether the receiver took it: a refusal in the namespace "bailiwick-export-test", marked as a test. It is in no
log and moves no cursor.`,
		Example: `  bailiwick audit export test siem`,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, log, err := a.sinkOf(f, args[0])
			if err != nil {
				return err
			}
			id, err := export.TestEvent(c.Context(), cfg, args[0], log.Origin(), time.Now())
			if err != nil {
				return exportError(err)
			}
			if a.asJSON {
				return a.out.json(map[string]string{"sink": args[0], "id": id})
			}
			fmt.Fprintf(a.out, "%s took the test event %s\n", safe(args[0]), id)
			return nil
		},
	}
	f.register(c)
	c.ValidArgsFunction = a.completeSinks(&f)
	return c
}

// sinkOf resolves the flags and refuses sinks that are not there.
func (a *app) sinkOf(f exportFlags, name string) (export.Config, export.SealedLog, error) {
	cfg, log, err := a.exports(f)
	if err != nil {
		return cfg, log, err
	}
	if _, ok := cfg.Sink(name); !ok {
		return cfg, log, &coded{Code: "sink_unknown", Text: fmt.Sprintf("there is no sink %q", name), Fix: "see: bailiwick audit export status", exit: exitUsage}
	}
	return cfg, log, nil
}

func (a *app) completeSinks(f *exportFlags) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		cfg, _, err := a.exports(*f)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, s := range cfg.Sinks {
			names = append(names, s.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) auditExportRetryCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "retry [SINK]",
		Short: "Send a sink's dead letters once more",
		Long: `Send once more what a sink refused for good, or what all sinks did. What is refused again stays a dead letter. It can run beside an exporter,
except for files. Entries are read from the log again: what was erased there since is not sent.`,
		Example: `  bailiwick audit export retry siem`,
		Args:    usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, log, err := a.exports(f)
			if err == nil && len(args) == 1 {
				cfg, log, err = a.sinkOf(f, args[0])
			}
			if err != nil {
				return err
			}
			opened, err := openFor(cfg, string(log))
			if err != nil {
				return err
			}
			var reports []export.RetryReport
			for _, s := range cfg.Sinks {
				if len(args) == 1 && s.Name != args[0] {
					continue
				}
				r, err := export.Retry(c.Context(), cfg, s.Name, export.Options{Log: log, Open: opened})
				if err != nil {
					return exportError(err)
				}
				reports = append(reports, r)
			}
			return a.showRetries(reports)
		},
	}
	f.register(c)
	c.ValidArgsFunction = a.completeSinks(&f)
	return c
}

func (a *app) showRetries(reports []export.RetryReport) error {
	waiting := 0
	for _, r := range reports {
		waiting += r.Dead
		if !a.asJSON {
			fmt.Fprintf(a.out, "%s: %d sent, %d still dead letters", safe(r.Sink), r.Sent, r.Dead)
			if r.Gone > 0 {
				fmt.Fprintf(a.out, ", %d no longer in the log", r.Gone)
			}
			if r.Error != "" {
				fmt.Fprintf(a.out, "; ended early: %s", safe(r.Error))
			}
			fmt.Fprintln(a.out)
		}
	}
	if a.asJSON {
		if err := a.out.json(reports); err != nil {
			return err
		}
	}
	if waiting > 0 {
		return &coded{Code: "dead_letters", Text: fmt.Sprintf("%d entries are still not taken", waiting), Fix: "see why in the sink's .dead.jsonl, in the state directory of exports"}
	}
	return nil
}

// runExports runs the exports of an environment, if it has a configuration. What stops them stops nothing else.
func runExports(ctx context.Context, config, log string, meter metric.Meter, logger *slog.Logger) (stop func() error, err error) {
	if _, err := os.Stat(config); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	cfg, err := loadExports(config)
	if err != nil {
		return nil, err
	}
	opened, err := openFor(cfg, log)
	if err != nil {
		return nil, err
	}
	x, err := export.New(cfg, export.Options{Log: export.SealedLog(log), Open: opened, Meter: meter, Logger: logger})
	if err != nil {
		return nil, exportError(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := x.Run(ctx); err != nil {
			logger.ErrorContext(ctx, "exports ended", "error", err)
		}
	}()
	return func() error {
		cancel()
		<-done
		return x.Close()
	}, nil
}

// openFor returns what opens personal data for the sinks that are to have it. Where there are no keys, entries go out as they are logged.
func openFor(cfg export.Config, log string) (func(audit.Entry) audit.Entry, error) {
	if !slices.ContainsFunc(cfg.Sinks, func(s export.SinkConfig) bool { return s.Personal == "open" }) {
		return nil, nil
	}
	o, err := opener(log, nil)
	if err != nil {
		return nil, err
	}
	return o.Open, nil
}
