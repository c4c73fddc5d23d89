package tiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// SealerConfig are the settings of the sealer.
type SealerConfig struct {
	Journal  string        // the journal's directory; it need not exist yet
	Log      string        // the log's directory; created (0700) when absent
	Signer   note.Signer   // its name is the log's origin
	Interval time.Duration // how soon an acknowledged entry is under a signed checkpoint; 200 ms to 1 s, default 1 s
	Logger   *slog.Logger  // default discards
}

// ErrDiverged is wrapped by the error with which RunSealer gives up for good: the log and the journal are not of each other, or the
// log is not what its checkpoint says. Nobody but an operator can tell which is right.
var ErrDiverged = errors.New("log and journal diverge")

const (
	batchEntries = 4096             // entries in one integration: large ones keep partial tiles few
	stopTimeout  = 10 * time.Second // for the last checkpoint when stopping
)

// RunSealer seals the journal's entries into the log, in order, until ctx ends (nil) or it must give up (ErrDiverged). The index of
// an entry in the log is its sequence number in the journal. After a crash it goes on from what is integrated. Other errors, such
// as a full disk, are logged and tried again.
//
// Only entries that the journal has acknowledged are sealed, and those are synced: what is sealed can't vanish from the journal by
// a crash or a failed write.
//
// Tessera panics, in goroutines of its own, when it can't use its lock files: a process that runs a sealer must not be one whose
// end lets calls through unrecorded or stops them.
func RunSealer(ctx context.Context, cfg SealerConfig) error {
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Journal == "" || cfg.Log == "":
		return errors.New("starting sealer: it needs the directories of the journal and of the log")
	case cfg.Signer == nil:
		return errors.New("starting sealer: it needs a signer")
	case cfg.Interval < 200*time.Millisecond || cfg.Interval > time.Second:
		return fmt.Errorf("starting sealer: interval %v is not between 200ms and 1s", cfg.Interval)
	}
	redirectKlog(cfg.Logger)
	if err := os.MkdirAll(cfg.Log, logDirPerm); err != nil {
		return fmt.Errorf("starting sealer: %w", err)
	}
	unlock, err := durable.Lock(filepath.Join(cfg.Log, "sealer.lock"))
	if err != nil {
		if errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("starting sealer: another one seals this log (%w): stop it first", err)
		}
		return fmt.Errorf("starting sealer: %w", err)
	}
	defer func() { _ = unlock() }()

	pause := 100 * time.Millisecond
	for {
		started := time.Now()
		err := seal(ctx, cfg)
		if ctx.Err() != nil || errors.Is(err, ErrDiverged) {
			return err
		}
		if time.Since(started) > 10*time.Second {
			pause = 100 * time.Millisecond
		}
		cfg.Logger.ErrorContext(ctx, "sealer stopped; starting it again", "after", pause, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// sealing is one run from start to the first error.
type sealing struct {
	cfg     SealerConfig
	guard   *guard
	journal *audit.Reader
	next    uint64 // index of the next entry to seal
	add     tessera.AddFn
}

// seal runs one sealing. It returns nil only when ctx ended and all that was added is under a checkpoint.
func seal(ctx context.Context, cfg SealerConfig) (err error) {
	s := &sealing{cfg: cfg}
	if err := s.resume(ctx); err != nil {
		return fmt.Errorf("resuming log: %w", err)
	}
	defer func() { _ = s.journal.Close() }()

	driver, err := posix.New(ctx, posix.Config{Path: cfg.Log})
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(s.guard).
		WithCheckpointInterval(max(cfg.Interval/2, 100*time.Millisecond)).
		WithBatching(batchEntries, cfg.Interval/20).
		WithShutdownTimeout(stopTimeout)
	// Tessera's goroutines outlive ctx: stopping needs them for the last checkpoint.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	appender, shutdown, _, err := tessera.NewAppender(inner, driver, options)
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	s.add = appender.Add
	if err := s.follow(ctx); err != nil {
		return err
	}
	if err := shutdown(inner); err != nil {
		return errors.Join(fmt.Errorf("publishing the last checkpoint: %w", err), s.guard.err())
	}
	return nil
}

// follow seals what the journal has and gets until ctx ends.
func (s *sealing) follow(ctx context.Context) error {
	poll := time.NewTicker(s.cfg.Interval / 5)
	defer poll.Stop()
	for {
		atEnd, err := s.sealBatch(ctx)
		if err != nil {
			return err
		}
		if err := s.guard.err(); err != nil {
			return err
		}
		if !atEnd && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
	}
}

// sealBatch hands the entries that are there, at most batchEntries, to Tessera and waits until they are integrated: were a batch to
// fail with the next one already under way, the next one would take its place in the log. atEnd says that there are no more now.
//
// Tessera cuts a batch by age too, and two batches cut at nearly the same moment could be swapped. So adding stops well before the
// age is reached.
func (s *sealing) sealBatch(ctx context.Context) (atEnd bool, err error) {
	var futures []tessera.IndexFuture
	var readErr error
	started := time.Now()
	for len(futures) < batchEntries && time.Since(started) < s.cfg.Interval/40 {
		seq, raw, err := s.journal.Next()
		if errors.Is(err, io.EOF) {
			atEnd = true
			break
		}
		if err != nil {
			readErr = fmt.Errorf("reading journal: %w", err)
			break
		}
		if want := s.next + uint64(len(futures)); seq != want {
			return false, fmt.Errorf("reading journal: entry %d came where %d was expected", seq, want)
		}
		if _, known := s.journal.Acknowledged(); !known {
			return false, errors.New("reading journal: it has no acknowledged mark: open it with its gate once before sealing")
		}
		s.guard.expect(tlog.RecordHash(raw))
		futures = append(futures, s.add(context.WithoutCancel(ctx), tessera.NewEntry(raw)))
	}
	for _, future := range futures {
		index, err := future()
		if err != nil {
			return false, fmt.Errorf("sealing entry %d: %w", s.next, err)
		}
		if index.Index != s.next {
			return false, fmt.Errorf("sealing entry %d: the log gave it index %d", s.next, index.Index)
		}
		s.next++
	}
	if readErr != nil {
		return false, readErr
	}
	if len(futures) > 0 && time.Since(started) > s.cfg.Interval {
		s.cfg.Logger.WarnContext(ctx, "sealing is slow", "entries", len(futures), "took", time.Since(started))
	}
	return atEnd, nil
}
