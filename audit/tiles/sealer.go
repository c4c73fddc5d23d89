package tiles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// SealerConfig are the settings of the sealer.
type SealerConfig struct {
	Journals []string    // the journals' directories, one for each gate on this machine; they need not exist yet
	Replicas string      // a directory whose subdirectories are the journals of remote gates, which may appear while it runs; may be empty
	Log      string      // the log's directory; created (0700) when absent
	Signer   note.Signer // its name is the log's origin
	// Signers are those who sign each checkpoint now, as Keyring.Signers has them while a key is replaced; it is asked all the time, and what
	// changes takes effect within about a second. nil: Signer alone.
	Signers  func() ([]note.Signer, error)
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

// RunSealer seals the journals' entries into the log, those of each journal in its order, until ctx ends (nil) or it must give up
// (ErrDiverged). Between journals the order is that of arrival: gates' clocks are not compared. An entry gets its index when it is put
// into the log's order (order.go), which is durable before anything is integrated; with one journal the index is the sequence number in
// it. After a crash it goes on from what is integrated, in the order begun. Other errors, such as a full disk, are logged and tried
// again. A replica that can't be read, or is not the one that was sealed, is left out and reported; the other journals go on.
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
	case len(cfg.Journals) == 0 && cfg.Replicas == "" || cfg.Log == "":
		return errors.New("starting sealer: it needs the directories of a journal and of the log")
	case cfg.Signer == nil && cfg.Signers == nil:
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
		if errors.Is(err, errKeysChanged) {
			err = nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrDiverged) {
			return err
		}
		if err == nil {
			cfg.Logger.InfoContext(ctx, "the keys that sign checkpoints have changed")
			continue
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

// errKeysChanged ends a sealing whose checkpoints are to be signed by other keys from then on.
var errKeysChanged = errors.New("the keys that sign checkpoints have changed")

// signers are those who sign now.
func (cfg SealerConfig) signers() ([]note.Signer, error) {
	if cfg.Signers == nil {
		return []note.Signer{cfg.Signer}, nil
	}
	all, err := cfg.Signers()
	if err == nil && len(all) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the keys that sign checkpoints: %w", err)
	}
	return all, nil
}

// sealing is one run from start to the first error, or until other keys are to sign.
type sealing struct {
	cfg     SealerConfig
	signers []note.Signer
	guard   *guard
	inputs  inputs
	order   order
	planned []run  // of the order, what a crash left to be integrated
	next    uint64 // index of the next entry to integrate
	add     tessera.AddFn
}

// seal runs one sealing. It returns nil only when ctx ended, and errKeysChanged when other keys sign from now on, and then all that was added is under a
// checkpoint.
func seal(ctx context.Context, cfg SealerConfig) (err error) {
	s := &sealing{cfg: cfg}
	defer s.inputs.close()
	if s.signers, err = cfg.signers(); err != nil {
		return err
	}
	if err := s.resume(ctx); err != nil {
		return fmt.Errorf("resuming log: %w", err)
	}

	driver, err := posix.New(ctx, posix.Config{Path: cfg.Log})
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(s.guard, s.signers[1:]...). // the guard is asked first
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
	ended := s.follow(ctx)
	if ended != nil && !errors.Is(ended, errKeysChanged) {
		return ended
	}
	if err := shutdown(inner); err != nil {
		return errors.Join(fmt.Errorf("publishing the last checkpoint: %w", err), s.guard.err())
	}
	return ended
}

// follow seals what the journals have and gets until ctx ends or other keys are to sign.
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
		if ctx.Err() == nil {
			if err := s.sameKeys(ctx); err != nil {
				return err
			}
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

// sameKeys is errKeysChanged when other keys are to sign. Keys that can't be read for a while don't keep those at hand from signing.
func (s *sealing) sameKeys(ctx context.Context) error {
	now, err := s.cfg.signers()
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "whether the keys that sign checkpoints have changed can't be told", "error", err)
		return nil
	}
	if !sameSigners(s.signers, now) {
		return errKeysChanged
	}
	return nil
}

// sealBatch places the entries that are there, at most batchEntries, in the log's order, hands them to Tessera and waits until they are
// integrated: were a batch to fail with the next one already under way, the next one would take its place in the log. atEnd says that
// there are no more now.
func (s *sealing) sealBatch(ctx context.Context) (atEnd bool, err error) {
	began := time.Now()
	if err := s.inputs.look(ctx, &s.order); err != nil {
		return false, err
	}
	b, err := s.planBatch(ctx)
	if err != nil {
		return false, err
	}
	count := len(b.entries)
	for len(b.entries) > 0 {
		n, err := s.integrate(ctx, b.entries)
		if err != nil {
			return false, err
		}
		b.entries = b.entries[n:]
	}
	if took := time.Since(began); count > 0 && took > s.cfg.Interval {
		s.cfg.Logger.WarnContext(ctx, "sealing is slow", "entries", count, "took", took)
	}
	return b.atEnd, nil
}

// planBatch returns what is to be integrated next. When it returns, the order that it has is on disk. A crash before that leaves an
// order without these entries, which are then placed anew; after it, they are integrated in this order.
func (s *sealing) planBatch(ctx context.Context) (batch, error) {
	if len(s.planned) > 0 {
		b, err := s.inputs.replay(s.planned)
		if err == nil {
			s.planned = nil
		}
		return b, err
	}
	b := s.inputs.gather(ctx, &s.order)
	if len(b.entries) == 0 {
		return b, nil
	}
	published, err := SealedSize(s.cfg.Log)
	if err != nil {
		return batch{}, err
	}
	s.order.fold(published)
	s.order.Runs = append(s.order.Runs, b.runs...)
	if err := logDir(s.cfg.Log).writeOrder(s.order, durableWrite); err != nil {
		return batch{}, err // what was read is read again after a restart
	}
	return b, nil
}

// integrate gives entries to Tessera until it may cut its batch by age, and waits for them. Two batches cut at nearly the same moment
// could be swapped, so adding stops well before that age is reached.
func (s *sealing) integrate(ctx context.Context, entries []planned) (n int, err error) {
	var futures []tessera.IndexFuture
	for began := time.Now(); len(futures) < len(entries) && time.Since(began) < s.cfg.Interval/40; {
		e := entries[len(futures)]
		s.guard.expect(e.leaf)
		futures = append(futures, s.add(context.WithoutCancel(ctx), tessera.NewEntry(e.raw)))
	}
	for _, future := range futures {
		index, err := future()
		if err != nil {
			return 0, fmt.Errorf("sealing entry %d: %w", s.next, err)
		}
		if index.Index != s.next {
			return 0, fmt.Errorf("sealing entry %d: the log gave it index %d", s.next, index.Index)
		}
		s.next++
	}
	return len(futures), nil
}
