package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/export"
)

// onceFlags say what to write where.
type onceFlags struct {
	logFlags
	format   string
	personal string
	from, to string
	out      string
}

func (a *app) auditExportOnceCommand() *cobra.Command {
	var f onceFlags
	c := &cobra.Command{
		Use:   "once",
		Short: "Write the record, or a time of it, to a file",
		Long: `Write the record, or the part of it between two times, one JSON object a line, without a configuration and without moving any cursor. A file
that is there already is not overwritten, and one that could not be written whole is not left behind.`,
		Example: `  bailiwick audit export once --from 2026-10-01 --to 2027-01-01 -o q4.jsonl
  bailiwick audit export once --format native --from 24h | gzip > day.jsonl.gz`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			switch export.Format(f.format) {
			case export.FormatNative, export.FormatOCSF:
			default:
				return badUsage(c, "--format is %q; use native or ocsf", f.format)
			}
			if f.personal != "as_logged" && f.personal != "open" {
				return badUsage(c, "--personal is %q; use as_logged or open", f.personal)
			}
			now := time.Now()
			from, err := parseWhen(f.from, now)
			if err != nil {
				return badUsage(c, "--from %v", err)
			}
			to, err := parseWhen(f.to, now)
			if err != nil {
				return badUsage(c, "--to %v", err)
			}
			if !from.IsZero() && !to.IsZero() && !from.Before(to) {
				return badUsage(c, "--from is not before --to")
			}
			return a.exportOnce(c.Context(), f, func(t time.Time) bool {
				return (from.IsZero() || !t.Before(from)) && (to.IsZero() || t.Before(to))
			})
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.format, "format", "ocsf", "native or ocsf")
	c.Flags().StringVar(&f.personal, "personal", "as_logged", "encrypted personal data: as_logged, or open while its keys exist")
	c.Flags().StringVar(&f.from, "from", "", "from then on: 90m, 24h, 7d, 2026-11-23, or 2026-11-23T09:00:00Z")
	c.Flags().StringVar(&f.to, "to", "", "before then, written likewise")
	c.Flags().StringVarP(&f.out, "output", "o", "", "file to write (default: standard output)")
	must(c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"native", "ocsf"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

func (a *app) exportOnce(ctx context.Context, f onceFlags, wanted func(time.Time) bool) (err error) {
	log, journals, _, err := a.dirs(f.logFlags)
	if err != nil {
		return err
	}
	var out io.Writer = a.out.Writer
	if f.out != "" {
		file, cerr := os.OpenFile(f.out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if cerr != nil {
			return fmt.Errorf("creating the file: %w", cerr)
		}
		defer func() {
			if err == nil {
				err = file.Sync()
			}
			if err = errors.Join(err, file.Close()); err != nil {
				_ = os.Remove(f.out)
			}
		}()
		out = file
	}
	o, err := opener(log, journals)
	if err != nil {
		return err
	}
	origin := export.SealedLog(log).Origin()
	w := bufio.NewWriterSize(out, 1<<20)
	written, malformed := 0, 0
	for r, err := range tiles.Scan(ctx, tiles.ScanConfig{Log: log, Journals: journals, Placed: true}) {
		switch {
		case errors.Is(err, audit.ErrMalformed):
			malformed++
			continue
		case err != nil:
			return err
		case r.Raw == nil || !wanted(r.Entry.Time):
			continue
		}
		if f.personal == "open" {
			r.Entry = o.Open(r.Entry)
		}
		line, err := export.Format(f.format).Encode(&export.Event{Log: origin, Index: r.Index, Raw: r.Raw, Entry: r.Entry})
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		written++
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if malformed > 0 {
		fmt.Fprintf(a.errs, "%s %d entries cannot be read and are left out (run: bailiwick audit verify)\n", a.errs.red("malformed:"), malformed)
	}
	if f.out != "" && a.asJSON {
		return a.out.json(map[string]any{"file": f.out, "entries": written})
	}
	if f.out != "" {
		fmt.Fprintf(a.out, "%d entries written to %s\n", written, safe(f.out))
	}
	return nil
}
