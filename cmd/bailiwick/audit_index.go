package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/database"
)

// indexFlags say which log, and where its search index is.
type indexFlags struct {
	logFlags
	index string
}

func (f *indexFlags) register(c *cobra.Command) {
	f.logFlags.register(c)
	c.Flags().StringVar(&f.index, "index", "", "the search index: a file, or a postgres:// URL (default: $BAILIWICK_INDEX, else a file beside the log)")
}

// openedIndex is an index with the log that it is of.
type openedIndex struct {
	*index.Index
	log      string
	journals []string
	dsn      string
}

// openIndex opens the index of the log that the flags name.
func (a *app) openIndex(ctx context.Context, f indexFlags) (*openedIndex, error) {
	log, journals, _, err := a.dirs(f.logFlags)
	if err != nil {
		return nil, err
	}
	return openIndexOf(ctx, log, journals, cmp.Or(f.index, os.Getenv("BAILIWICK_INDEX")))
}

// openIndexOf opens the index of a log. An empty dsn means the file beside it.
func openIndexOf(ctx context.Context, log string, journals []string, dsn string) (*openedIndex, error) {
	for _, dir := range append([]string{log}, journals...) {
		if dir == "" {
			continue
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, &coded{Code: "no_log", Text: fmt.Sprintf("the log can't be read: %v", err), Fix: "name it with --log DIR, or start the environment that keeps it"}
		}
	}
	x := &openedIndex{log: log, journals: journals, dsn: dsn}
	if x.dsn == "" {
		beside := log
		if beside == "" {
			beside = journals[0]
		}
		x.dsn = filepath.Clean(beside) + ".index.db"
	}
	var err error
	if x.Index, err = index.Open(ctx, x.dsn); err != nil {
		switch {
		case errors.Is(err, index.ErrVersion):
			return nil, &coded{Code: "index_version", Text: err.Error(), Fix: "use a newer bailiwick, or remove the index: it is made again from the log"}
		case errors.Is(err, fs.ErrPermission):
			return nil, &coded{Code: "index_not_writable", Text: err.Error(), Fix: "name a file of your own with --index FILE"}
		case database.IsPostgres(x.dsn): // whose messages may hold parts of the URL, but not the password
			return nil, &coded{Code: "index_unreachable", Text: err.Error(), Fix: "check --index or $BAILIWICK_INDEX; a file needs no server"}
		}
		return nil, err
	}
	personal, err := opener(log, journals)
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	x.Open = personal.Open
	return x, nil
}

// syncedIndex opens the index and adds what the log has and the index has not.
func (a *app) syncedIndex(ctx context.Context, f indexFlags) (*openedIndex, error) {
	x, err := a.openIndex(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := a.awaitPlaces(ctx, x); err != nil {
		_ = x.Close()
		return nil, err
	}
	_, err = x.Sync(ctx, a.progress(x.source, "indexing"))
	if errors.Is(err, index.ErrBehind) && len(x.journals) == 0 {
		fmt.Fprintf(a.errs, "%s the index knows entries that are in the journal and not in this log yet\n", a.errs.yellow("note:"))
		err = nil
	}
	if err != nil {
		_ = x.Close()
		if errors.Is(err, index.ErrDiverged) {
			return nil, &coded{Code: "index_diverged", Text: safe(err.Error()), Fix: "run `bailiwick audit verify` to see whether the log is sound, then `bailiwick audit reindex`", exit: exitUnproven}
		}
		return nil, err
	}
	return x, nil
}

// placesWithin is how long a query waits for the sealer to give new entries their places in the log.
const placesWithin = time.Second

// awaitPlaces waits until what the journals had when it was called has a place in the log: with several gates, that is what the index goes
// by. A sealer gives it within a fifth of a second; when none is running, the query goes without, and says so.
func (a *app) awaitPlaces(ctx context.Context, x *openedIndex) error {
	if len(x.journals) < 2 {
		return nil
	}
	cfg := tiles.ScanConfig{Log: x.log, Journals: x.journals}
	n, err := tiles.Unplaced(ctx, cfg, 1000)
	for end := time.Now().Add(placesWithin); err == nil && n > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		var left int
		if left, err = tiles.Unplaced(ctx, cfg, 1000); left < n {
			return err // the sealer is at it, and it takes the journals whole
		}
	}
	if err == nil && n > 0 {
		fmt.Fprintf(a.errs, "%s %d entries of the journals have no place in the log yet and are left out: is the control plane running?\n", a.errs.yellow("note:"), n)
	}
	return err
}

// source hands out the log's entries.
func (x *openedIndex) source(ctx context.Context, from uint64) iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		for r, err := range scan(ctx, tiles.ScanConfig{Log: x.log, Journals: x.journals, From: from, Placed: true, Removed: true}) {
			if err != nil && r.Raw != nil {
				err = nil // malformed: the index keeps it and finds it by nothing
			}
			if r.Removed {
				r.Raw = []byte{} // it keeps its place, and nothing finds it
			}
			if !yield(index.Record{Index: r.Index, Raw: r.Raw, Entry: r.Entry}, err) {
				return
			}
		}
	}
}

// sealedSize is how many entries are under the log's checkpoint.
func (x *openedIndex) sealedSize() (uint64, error) {
	if x.log == "" {
		return 0, nil
	}
	return tiles.SealedSize(x.log)
}

// progress tells a person how far a long reading is.
func (a *app) progress(source index.Source, doing string) index.Source {
	if !a.errs.tty || a.asJSON {
		return source
	}
	began, told := time.Now(), time.Time{}
	return func(ctx context.Context, from uint64) iter.Seq2[index.Record, error] {
		return func(yield func(index.Record, error) bool) {
			for r, err := range source(ctx, from) {
				if r.Index%1024 == 0 && time.Since(began) > time.Second && time.Since(told) > 200*time.Millisecond {
					told = time.Now()
					fmt.Fprintf(a.errs, "\r\x1b[K%s entry %d", doing, r.Index)
				}
				if !yield(r, err) {
					break
				}
			}
			if !told.IsZero() {
				fmt.Fprint(a.errs, "\r\x1b[K")
			}
		}
	}
}

func (a *app) auditReindexCommand() *cobra.Command {
	var f indexFlags
	var check bool
	c := &cobra.Command{
		Use:   "reindex",
		Short: "Make the search index again from the log, or check it against the log",
		Long: `Make the search index again from the log. The index is only a projection: it can be removed at any time, and queries bring it up to date by
themselves, so this is needed only when index and log have come apart.

With --check nothing is changed: every entry and everything that entries are found by is derived again and compared. Exit code 4 means that
the index is not what the log says.`,
		Example: `  bailiwick audit reindex
  bailiwick audit reindex --check
  bailiwick audit reindex --log /backup/log --index postgres://audit@db.internal/audit`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			x, err := a.openIndex(c.Context(), f)
			if err != nil {
				return err
			}
			defer x.Close()
			if check {
				return a.checkIndex(c.Context(), x)
			}
			began := time.Now()
			n, err := x.Reindex(c.Context(), a.progress(x.source, "indexing"))
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(map[string]any{"entries": n, "seconds": time.Since(began).Seconds()})
			}
			fmt.Fprintf(a.out, "%s %d entries in %s.\n", a.out.green("Indexed"), n, time.Since(began).Round(time.Millisecond))
			return nil
		},
	}
	f.register(c)
	c.Flags().BoolVar(&check, "check", false, "only compare the index with the log")
	return c
}

func (a *app) checkIndex(ctx context.Context, x *openedIndex) error {
	r, err := x.Verify(ctx, a.progress(x.source, "comparing"))
	if err != nil {
		return err
	}
	sum := fmt.Sprintf("%d problems in the index", uint64(len(r.Problems))+r.Suppressed)
	if a.asJSON {
		if err := a.out.json(struct {
			OK bool `json:"ok"`
			index.Report
		}{r.OK(), r}); err != nil {
			return err
		}
		if !r.OK() {
			return &unproven{sum}
		}
		return nil
	}
	if r.OK() {
		fmt.Fprintf(a.out, "%s %d entries compared.\n", a.out.green("The index is what the log says."), r.Entries)
		if r.Unindexed > 0 {
			field(a.out, "not yet", fmt.Sprintf("%d entries; the next query adds them", r.Unindexed))
		}
		return nil
	}
	fmt.Fprintln(a.out, a.out.red("The index is NOT what the log says."))
	for _, p := range r.Problems {
		fmt.Fprintf(a.out, "%s %s\n", a.out.red(string(p.Code)), safe(p.Text))
	}
	if r.Suppressed > 0 {
		fmt.Fprintf(a.out, "and %d more\n", r.Suppressed)
	}
	return &unproven{sum}
}
