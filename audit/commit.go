package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// run is the writing goroutine.
func (j *Journal) run() {
	defer close(j.done)
	for {
		var retry <-chan time.Time
		if j.markBehind {
			retry = time.After(markRetry)
		}
		select {
		case <-j.wake:
			j.gather()
		case <-retry:
			j.writeMark(j.Next())
			continue
		case <-j.closing:
			if b := j.take(); b != nil {
				j.commit(b)
			}
			if j.markBehind {
				j.writeMark(j.Next())
			}
			return
		}
		if b := j.take(); b != nil && !j.commit(b) && !j.heal() {
			return
		}
	}
}

// maxYields bounds how often gather lets others go first: with that many, a burst is in.
const maxYields = 8

// gather lets callers who are about to append do so before the batch is taken. Those whom the last commit woke append again within
// microseconds, and a sync takes a hundred times that: without it half of them would find the batch gone and wait for two. Who writes
// alone waits for nobody.
func (j *Journal) gather() {
	if j.crowd < 2 {
		return
	}
	for n, i := 0, 0; i < maxYields; i++ {
		runtime.Gosched()
		j.mu.Lock()
		now := len(j.pending.items)
		j.mu.Unlock()
		if now == n {
			return
		}
		n = now
	}
}

// take takes the pending batch away, or returns nil when it is empty.
func (j *Journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.pending
	if len(b.items) == 0 {
		return nil
	}
	j.pending = &batch{done: make(chan struct{}), items: make([]item, 0, len(b.items))}
	j.crowd = len(b.items)
	return b
}

// commit makes b durable and tells its waiters. When it fails they are told that, along with those who joined the following batch
// meanwhile: the journal is broken from then until heal has put it right.
func (j *Journal) commit(b *batch) bool {
	err := j.write(b)
	if err == nil {
		j.mu.Lock()
		b.first = j.next
		j.next += uint64(len(b.items))
		count := j.next
		j.mu.Unlock()
		j.pause = 0
		j.writeMark(count)
		close(b.done)
		return true
	}
	err = fmt.Errorf("%w: %w", ErrBroken, err)
	j.cfg.Logger.ErrorContext(context.Background(), "journal could not write; calls that must be recorded are refused until it can",
		"segment", j.segment.path, "entries", len(b.items), "error", err)

	j.mu.Lock()
	after := j.pending
	j.broken = err
	// Entries that nobody waits for go first into the batch that is written when the journal is whole again.
	j.pending = &batch{done: make(chan struct{})}
	for _, it := range append(b.items, after.items...) {
		if it.kept {
			j.pending.items = append(j.pending.items, it)
			j.pending.bytes += int64(len(it.entry))
		}
	}
	j.mu.Unlock()
	b.err, after.err = err, err
	close(b.done)
	close(after.done)
	return false
}

// write puts b's records behind the last acknowledged one and syncs. A crash in the middle leaves whole records and perhaps a part
// of one; none of them is acknowledged, OpenJournal cuts the part.
func (j *Journal) write(b *batch) error {
	if j.size >= j.cfg.SegmentBytes && j.size > segmentHeader {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	j.buf = j.buf[:0]
	for i, it := range b.items {
		j.buf = appendRecord(j.buf, j.next+uint64(i), it.entry) // next is read without the lock: only this goroutine sets it
	}
	if _, err := j.file.WriteAt(j.buf, j.size); err != nil {
		return fmt.Errorf("writing segment: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing segment: %w", err)
	}
	j.size += int64(len(j.buf))
	if cap(j.buf) > 1<<20 {
		j.buf = nil // one burst should not hold its memory for good
	}
	return nil
}

// writeMark shows count entries to readers. They are durable by now, so a failure fails nobody: readers lag until the next try.
func (j *Journal) writeMark(count uint64) {
	_, err := j.mark.WriteAt(encodeMark(count), 0)
	if err != nil && !j.markBehind {
		j.cfg.Logger.ErrorContext(context.Background(), "journal could not tell readers of new entries; sealing lags until it can", "error", err)
	}
	j.markBehind = err != nil
}

// rotate starts a new segment at the next sequence number. After a failure the old segment may not be written any more: the new
// one may be there in spite of the error, and would hide what came after.
func (j *Journal) rotate() error {
	j.mustRotate = true
	// The names are read anew because a creation that reported failure may have left one.
	segments, damaged, err := listSegments(j.cfg.Dir, nil)
	if err != nil {
		return err
	}
	s := segment{base: j.next, ordinal: j.segment.ordinal}
	for _, old := range segments {
		s.ordinal = max(s.ordinal, old.ordinal)
	}
	s.ordinal += 1 + uint64(len(damaged))
	s.path = segmentPath(j.cfg.Dir, s.ordinal)
	f, err := createSegment(j.cfg.Files, j.cfg.Dir, s)
	if err != nil {
		return err
	}
	if j.file != nil {
		_ = j.file.Close() // every acknowledged byte in it is synced
	}
	j.file, j.segment, j.size, j.mustRotate = f, s, segmentHeader, false
	return nil
}

// maxPause is the longest wait between two tries to heal.
const maxPause = time.Second

// heal re-opens the journal after a failure, again and again with growing pauses, until it succeeds or the journal is closed (false).
// The first try after a good write comes at once; where re-opening works and writing does not, each heal waits longer than the last.
func (j *Journal) heal() bool {
	for {
		select {
		case <-time.After(j.pause):
		case <-j.closing:
			return false
		}
		j.pause = min(max(2*j.pause, 5*time.Millisecond), maxPause)
		err := j.reopen()
		if err == nil {
			break
		}
		j.cfg.Logger.WarnContext(context.Background(), "journal could not re-open; trying again", "after", j.pause, "error", err)
	}
	j.cfg.Logger.InfoContext(context.Background(), "journal has re-opened itself", "segment", j.segment.path, "next", j.next)
	j.mu.Lock()
	j.broken = nil
	if len(j.pending.items) > 0 {
		j.signal()
	}
	j.mu.Unlock()
	return true
}

// reopen makes the journal end at the last acknowledged record: by cutting the segment there through a fresh descriptor and syncing
// it, which also rewrites the page that the failed write shared with it; and where that fails, by starting another segment there.
func (j *Journal) reopen() error {
	if !j.mustRotate {
		err := j.cut()
		if err == nil {
			return nil
		}
		j.mustRotate = true
		j.cfg.Logger.WarnContext(context.Background(), "journal could not cut its segment; starting another", "segment", j.segment.path, "error", err)
	}
	return j.rotate()
}

func (j *Journal) cut() error {
	f, err := j.cfg.Files.Open(j.segment.path, 0)
	if err != nil {
		return fmt.Errorf("re-opening segment: %w", err)
	}
	if err := errors.Join(f.Truncate(j.size), f.Sync()); err != nil {
		_ = f.Close()
		return fmt.Errorf("cutting segment: %w", err)
	}
	_ = j.file.Close()
	j.file = f
	return nil
}
