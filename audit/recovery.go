package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Recovery is what OpenJournal found in the last segment.
type Recovery struct {
	Segment string // path of the segment; empty when the journal was new
	Entries uint64 // entries in the journal: the sequence number after the last whole one
	Cut     int64  // bytes cut behind the last whole entry
	Reason  string // why they were not an entry
	// Lost is the number of acknowledged entries that are gone: the disk did not keep what it had synced, or someone cut the file.
	// Each is replaced by an entry of KindLost at its sequence number, so that the loss itself is recorded and numbers are never
	// given twice. What was cut is kept beside the segment, with the suffix ".cut-OFFSET".
	Lost uint64
}

// maxLost bounds the entries that may be replaced; more means that the mark is of another journal.
const maxLost = 1 << 20

// recover takes the lock and brings the directory into the state that the writer needs: a last segment that ends with a whole,
// synced record, and a mark that says so. It can be interrupted anywhere and run again.
func (j *Journal) recover() error {
	dir, ctx := j.cfg.Dir, context.Background()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating directory: %w", err)
	}
	var err error
	if j.unlock, err = durable.Lock(filepath.Join(dir, "lock")); err != nil {
		if errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("another process writes this journal (%w): stop it, or give this gate a journal directory of its own", err)
		}
		return err
	}
	acknowledged, known, err := readMark(dir)
	if errors.Is(err, errBadMark) {
		j.cfg.Logger.WarnContext(ctx, "journal's acknowledged mark is damaged; what it counted cannot be checked", "dir", dir)
	} else if err != nil {
		return err
	}
	segments, damaged, err := listSegments(dir, nil)
	if err != nil {
		return err
	}
	for path, cause := range damaged {
		if errors.Is(cause, errSegmentVersion) {
			return fmt.Errorf("reading %s: %w", filepath.Base(path), cause)
		}
		// Created by rename after a sync, so this is damage and not a crash. It is moved aside, not removed.
		j.cfg.Logger.ErrorContext(ctx, "journal segment is damaged and moved aside", "segment", path, "error", cause)
		if err := j.cfg.Files.Rename(path, path+".damaged"); err != nil {
			return fmt.Errorf("moving damaged segment aside: %w", err)
		}
	}
	if len(segments) > 0 {
		j.segment = segments[len(segments)-1]
		if err := j.recoverSegment(acknowledged); err != nil {
			return fmt.Errorf("recovering %s: %w", filepath.Base(j.segment.path), err)
		}
	} else if err := j.rotate(); err != nil {
		return err
	}
	if j.mark, err = j.cfg.Files.Open(filepath.Join(dir, markName), os.O_CREATE); err != nil {
		return fmt.Errorf("opening acknowledged mark: %w", err)
	}
	if known && acknowledged > j.next {
		if err := j.replaceLost(acknowledged - j.next); err != nil {
			return err
		}
	}
	if j.writeMark(j.next); j.markBehind {
		return errors.New("writing acknowledged mark failed")
	}
	if err := j.mark.Sync(); err != nil {
		return fmt.Errorf("syncing acknowledged mark: %w", err)
	}
	if err := j.cfg.Files.SyncDir(dir); err != nil {
		return err
	}
	j.recovered.Entries = j.next
	return nil
}

// recoverSegment finds the last whole record of the last segment, cuts what follows and syncs. Nothing is shown to readers before
// that sync: a killed writer's last records may be in memory only.
func (j *Journal) recoverSegment(acknowledged uint64) error {
	f, err := j.cfg.Files.Open(j.segment.path, 0)
	if err != nil {
		return err
	}
	j.file = f
	r := records{file: f, off: segmentHeader, seq: j.segment.base}
	var stop error
	for stop == nil {
		_, stop = r.next()
	}
	if !errors.Is(stop, errShortRecord) && !errors.Is(stop, errBadRecord) {
		return stop
	}
	info, err := os.Stat(j.segment.path)
	if err != nil {
		return fmt.Errorf("measuring segment: %w", err)
	}
	j.next, j.size = r.seq, r.off
	j.recovered = Recovery{Segment: j.segment.path, Cut: info.Size() - r.off}
	if j.recovered.Cut > 0 {
		j.recovered.Reason = stop.Error()
		if acknowledged > j.next {
			if err := j.keepCut(info.Size()); err != nil {
				return err
			}
		}
		j.cfg.Logger.WarnContext(context.Background(), "journal had a torn tail, which is cut", "segment", j.segment.path,
			"offset", r.off, "bytes", j.recovered.Cut, "next", j.next, "reason", stop)
		if err := f.Truncate(j.size); err != nil {
			return fmt.Errorf("cutting torn tail: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing segment: %w", err)
	}
	return nil
}

// keepCut copies the tail that is about to be cut, because acknowledged entries are missing and it may hold what is left of them.
func (j *Journal) keepCut(end int64) error {
	tail := make([]byte, end-j.size)
	if _, err := j.file.ReadAt(tail, j.size); err != nil {
		return fmt.Errorf("reading torn tail: %w", err)
	}
	if err := durable.WriteFile(fmt.Sprintf("%s.cut-%d", j.segment.path, j.size), tail, 0o600); err != nil {
		return fmt.Errorf("keeping torn tail: %w", err)
	}
	return nil
}

// replaceLost writes entries of KindLost in place of acknowledged ones that are gone.
func (j *Journal) replaceLost(n uint64) error {
	if n > maxLost {
		return fmt.Errorf("the mark counts %d entries more than there are: it belongs to another journal, or most of this one is gone; "+
			"restore the directory from a copy, or move it away to begin a new journal", n)
	}
	j.cfg.Logger.ErrorContext(context.Background(), "acknowledged entries are gone from the journal; their places are marked as lost",
		"first", j.next, "entries", n)
	gate, err := j.gate()
	if err != nil {
		return fmt.Errorf("marking lost entries: %w", err)
	}
	now := time.Now()
	var b batch
	for i := range n {
		raw, err := Entry{
			ID: "lost-" + strconv.FormatUint(j.next+i, 10), Time: now, Kind: KindLost, Gate: gate,
			Detail: map[string]string{"seq": strconv.FormatUint(j.next+i, 10), "segment": filepath.Base(j.segment.path), "reason": j.recovered.Reason},
		}.Marshal()
		if err != nil {
			return fmt.Errorf("marking lost entries: %w", err)
		}
		b.items = append(b.items, item{entry: raw})
	}
	if err := j.write(&b); err != nil {
		return fmt.Errorf("marking lost entries: %w", err)
	}
	j.next += n
	j.recovered.Lost = n
	return nil
}

// gate returns the gate that the entries still there name; empty when there are none. It runs before the mark is open.
func (j *Journal) gate() (string, error) {
	gate, err := GateOf(j.cfg.Dir)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		return "", nil // an entry that names no gate is better than none
	}
	return gate, err
}
