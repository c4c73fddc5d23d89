package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the journal is closed")
	// ErrFull is returned when more is waiting for the disk than may be held in memory.
	ErrFull = errors.New("the journal's queue is full")
	// ErrBroken is wrapped, with its cause, by every error that comes of a failed write or sync: by the one that reports it first,
	// and by those until the journal has re-opened itself.
	ErrBroken = errors.New("the journal could not write")
)

// JournalConfig are the settings of a journal.
type JournalConfig struct {
	Dir          string       // created (0700) when absent; one writer at a time
	SegmentBytes int64        // a segment that has reached this size is followed by another; default 64 MiB
	QueueEntries int          // entries waiting for the disk above which Enqueue refuses; default 16384
	QueueBytes   int64        // bytes waiting for the disk above which Append refuses too; default 32 MiB
	Logger       *slog.Logger // default discards
	Files        Files        // default the operating system; for fault tests
}

// Journal is the durable record of one gate: a group-committed, fsynced sequence of entries. One process writes it (flock), any
// number read it (OpenReader).
//
// A single goroutine owns the files. Callers put entries into the pending batch; while one batch is being written and synced, the
// next one gathers.
type Journal struct {
	cfg       JournalConfig
	unlock    func() error
	recovered Recovery

	// The rest down to mu is owned by the writing goroutine.
	segment    segment
	file       File
	size       int64 // of file up to the last acknowledged record; what is beyond was never acknowledged
	mark       File
	markBehind bool          // the last mark could not be written; readers lag
	mustRotate bool          // the current segment may not be written any more
	pause      time.Duration // before the next try to heal; grows while writes fail although the journal re-opens, as on a full disk
	buf        []byte        // frames of the batch being written
	crowd      int           // entries in the batch taken last

	wake    chan struct{} // capacity 1: there is a pending batch, or the journal is closing
	closing chan struct{}
	done    chan struct{} // closed when the writing goroutine has ended

	mu      sync.Mutex // covers the following
	pending *batch
	next    uint64 // number of entries acknowledged: the sequence number that the next one gets
	broken  error  // non-nil from a failed write until the journal has re-opened itself
	closed  bool
}

// batch is what one write and sync make durable together.
type batch struct {
	items []item
	bytes int64
	done  chan struct{} // closed when first and err are set
	first uint64
	err   error
}

type item struct {
	entry []byte
	kept  bool // from Enqueue: nobody waits, so a failed write is tried again after re-opening
}

// OpenJournal opens the journal in cfg.Dir, creating it when absent, and takes the writer's lock. It cuts a torn tail to the last
// whole entry and reports it (Recovered, and the log). Whole entries that were written but never acknowledged stay: "persisted but
// reported failed" is possible, the reverse is not.
func OpenJournal(cfg JournalConfig) (*Journal, error) {
	if cfg.Dir == "" {
		return nil, errors.New("opening journal: no directory given")
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = 64 << 20
	}
	if cfg.QueueEntries <= 0 {
		cfg.QueueEntries = 16384
	}
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = 32 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Files == nil {
		cfg.Files = osFiles{}
	}
	j := &Journal{
		cfg:     cfg,
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		pending: &batch{done: make(chan struct{})},
	}
	if err := j.recover(); err != nil {
		j.release()
		return nil, fmt.Errorf("opening journal %s: %w", cfg.Dir, err)
	}
	go j.run()
	return j, nil
}

// Recovered says what OpenJournal found and cut.
func (j *Journal) Recovered() Recovery { return j.recovered }

// Append records e and returns its sequence number (from 0) once it is durable. It fails, with ErrBroken, when the write or sync
// failed, and at once while the journal is re-opening after that: whoever waits on it must deny. When ctx ends first Append returns
// its error and the entry may still be recorded.
func (j *Journal) Append(ctx context.Context, e Entry) (seq uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("appending entry: %w", err)
	}
	raw, err := e.marshal()
	if err != nil {
		return 0, fmt.Errorf("appending entry: %w", err)
	}
	b, i, err := j.add(item{entry: raw})
	if err != nil {
		return 0, fmt.Errorf("appending entry: %w", err)
	}
	if err := b.wait(ctx); err != nil {
		return 0, fmt.Errorf("appending entry: %w", err)
	}
	return b.first + uint64(i), nil
}

// wait returns when the batch is durable, or says why the caller can't know that it is.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Enqueue records e without waiting for the disk. It fails when the queue is full or the journal is broken; nil does not mean that
// the entry is durable. An entry taken is tried again if its write fails, and lost if the process ends before it could be written.
func (j *Journal) Enqueue(e Entry) error {
	raw, err := e.marshal()
	if err != nil {
		return fmt.Errorf("enqueuing entry: %w", err)
	}
	if _, _, err := j.add(item{entry: raw, kept: true}); err != nil {
		return fmt.Errorf("enqueuing entry: %w", err)
	}
	return nil
}

// AppendRaw records entries that another journal holds, byte for byte, and returns the sequence number of the first once all are
// durable: all of them or, after an error, none that is acknowledged. It is for replicas: whoever calls it has checked that they are
// entries.
func (j *Journal) AppendRaw(ctx context.Context, raw [][]byte) (first uint64, err error) {
	if len(raw) == 0 {
		return j.Next(), nil
	}
	items := make([]item, len(raw))
	for i, entry := range raw {
		if len(entry) == 0 || len(entry) > MaxEntry {
			return 0, fmt.Errorf("appending entries: one has %d bytes: %w", len(entry), ErrTooLarge)
		}
		items[i].entry = entry
	}
	b, place, err := j.add(items...)
	if err != nil {
		return 0, fmt.Errorf("appending entries: %w", err)
	}
	if err := b.wait(ctx); err != nil {
		return 0, fmt.Errorf("appending entries: %w", err)
	}
	return b.first + uint64(place), nil
}

// add puts items into the pending batch, all of them or none, and returns the batch and the first one's place in it. The batch is bounded by
// what it holds already, so one request is never refused for its own size. Only a single item can be kept.
func (j *Journal) add(items ...item) (*batch, int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.pending
	switch {
	case j.closed:
		return nil, 0, ErrClosed
	case j.broken != nil:
		return nil, 0, j.broken
	case items[0].kept && len(b.items) >= j.cfg.QueueEntries, b.bytes >= j.cfg.QueueBytes:
		return nil, 0, ErrFull
	}
	place := len(b.items)
	b.items = append(b.items, items...)
	for i := range items {
		b.bytes += int64(len(items[i].entry))
	}
	if place == 0 {
		j.signal()
	}
	return b, place, nil
}

func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Next returns the sequence number that the next entry will get: how many are acknowledged.
func (j *Journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next
}

// Healthy returns nil, or the error that Append would give now without trying.
func (j *Journal) Healthy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	return j.broken
}

// Close writes what is pending, makes it durable and gives the lock back. It returns an error when entries that were taken could
// not be written.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.done
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.closing)
	<-j.done
	var err error
	if n := len(j.pending.items); n > 0 {
		err = fmt.Errorf("closing journal: %d entries were not written: %w", n, j.broken)
	}
	if j.mark != nil && !j.markBehind {
		if e := j.mark.Sync(); e != nil {
			j.cfg.Logger.WarnContext(context.Background(), "could not sync the journal's acknowledged mark", "error", e)
		}
	}
	j.release()
	return err
}

// release closes files and gives up the lock. What matters has been synced.
func (j *Journal) release() {
	for _, f := range []File{j.file, j.mark} {
		if f != nil {
			_ = f.Close()
		}
	}
	if j.unlock != nil {
		_ = j.unlock()
	}
}

// markRetry is how soon a mark that could not be written is tried again when nothing else is.
const markRetry = 100 * time.Millisecond
