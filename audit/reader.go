package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"
)

// CorruptError is a place in the journal that can't be read although its entries were acknowledged.
type CorruptError struct {
	Segment string // path
	Offset  int64  // bytes from the segment's start
	Seq     uint64 // of the entry that should be there
	Short   bool   // the journal just ends there: entries were cut off, or this is a copy taken beside a writer, the mark last
	Err     error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal entry %d (%s at byte %d): %v", e.Seq, filepath.Base(e.Segment), e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Reader reads a journal from front to back, beside its writer if there is one. It returns acknowledged entries only (see the
// mark); in a copy that has no mark, every whole one. A Reader is for one goroutine.
//
// What it returns can include an entry whose Append failed or never returned: when the writer ended before it had cut the failed
// write away, and the entry was whole on disk, the next writer keeps and acknowledges it. So an entry says that a call was decided,
// and its caller may have been refused for want of a confirmed record; the reverse, a call let through without its entry, is not
// possible. An entry once returned stays at its number, unless the disk loses it (KindLost).
type Reader struct {
	dir  string
	from uint64 // entries before it are passed over

	limit    uint64    // entries below it may be read
	known    bool      // limit comes from a mark
	badSince time.Time // since when the mark can't be read; zero when it can
	segments []segment
	damaged  map[string]error

	current segment
	file    *os.File // nil before the first segment is found
	records records
}

// OpenReader returns a Reader whose first entry is fromSeq. A directory that does not exist yet, or a fromSeq beyond the end, is
// no error: Next returns io.EOF until it is there.
func OpenReader(dir string, fromSeq uint64) (*Reader, error) {
	r := &Reader{dir: dir, from: fromSeq}
	if err := r.refresh(); err != nil {
		return nil, fmt.Errorf("opening journal reader: %w", err)
	}
	return r, nil
}

// Next returns the next entry in its canonical form, and its sequence number. At the current end it returns io.EOF and may be
// called again later. It never returns a part of an entry. Damage before the end is a *CorruptError.
func (r *Reader) Next() (seq uint64, raw []byte, err error) {
	fresh := false // whether the mark and the segments were read in this call
	for {
		seq, entry, err := r.read()
		switch {
		case err == nil && seq >= r.from:
			return seq, bytes.Clone(entry), nil
		case err == nil:
			continue
		case !errors.Is(err, io.EOF) || fresh:
			return 0, nil, err
		}
		if err := r.refresh(); err != nil {
			return 0, nil, err
		}
		fresh = true
	}
}

// read returns the record at the current position as far as the reader knows the journal; io.EOF means: look again.
func (r *Reader) read() (seq uint64, entry []byte, err error) {
	if r.file == nil {
		if ok, err := r.locate(); err != nil || !ok {
			return 0, nil, orEOF(err)
		}
	}
	for s := r.superseded(); s != nil; s = r.superseded() {
		if err := r.open(*s); err != nil {
			return 0, nil, err
		}
	}
	seq = r.records.seq
	if seq >= r.limit {
		return 0, nil, io.EOF
	}
	entry, err = r.records.next()
	if errors.Is(err, errShortRecord) || errors.Is(err, errBadRecord) {
		err = r.stopped(err)
	}
	return seq, entry, err
}

// stopped says what a missing or broken record at the current position means.
func (r *Reader) stopped(cause error) error {
	last := r.current.ordinal == r.segments[len(r.segments)-1].ordinal
	if last && !r.known {
		return io.EOF // the tail of a copy, or of a journal whose writer was killed: not acknowledged as far as we can tell
	}
	e := &CorruptError{Segment: r.current.path, Offset: r.records.off, Seq: r.records.seq, Err: cause}
	if errors.Is(cause, errShortRecord) {
		e.Short = last
		if end, err := r.records.atEnd(); err == nil && end {
			e.Err = errors.New("the file ends before entries that were acknowledged")
		}
	}
	return e
}

// superseded returns the later segment that continues at the current position, if there is one.
func (r *Reader) superseded() *segment {
	for i := len(r.segments) - 1; i >= 0; i-- {
		s := &r.segments[i]
		if s.ordinal <= r.current.ordinal {
			return nil
		}
		if s.base <= r.records.seq {
			return s
		}
	}
	return nil
}

// refresh reads the mark and then, in this order, the segments: every entry below the mark is in the segment that the list says.
func (r *Reader) refresh() error {
	limit, known, err := readMark(r.dir)
	if errors.Is(err, errBadMark) && r.known {
		// The writer's write may have failed half way. It tries again soon; until then there is nothing new.
		if r.badSince.IsZero() {
			r.badSince = time.Now()
		}
		if time.Since(r.badSince) < 20*markRetry {
			return nil
		}
	}
	if err != nil {
		return err
	}
	r.badSince = time.Time{}
	if !known {
		limit = math.MaxUint64
	}
	if known && r.known && limit == r.limit && r.file != nil {
		return nil
	}
	r.limit, r.known = limit, known
	r.records.forget()
	r.segments, r.damaged, err = listSegments(r.dir, r.segments)
	return err
}

// locate opens the segment that holds from, or reports that there is none yet.
func (r *Reader) locate() (bool, error) {
	for i := len(r.segments) - 1; i >= 0; i-- {
		if r.segments[i].base <= r.from {
			return true, r.open(r.segments[i])
		}
	}
	for path, err := range r.damaged {
		return false, &CorruptError{Segment: path, Seq: r.from, Err: err}
	}
	if len(r.segments) > 0 {
		return false, fmt.Errorf("journal entry %d: the journal begins at %d", r.from, r.segments[0].base)
	}
	return false, nil
}

func (r *Reader) open(s segment) error {
	if r.file != nil && s.base < r.records.seq {
		return fmt.Errorf("journal was cut back to entry %d under its reader, which was at %d", s.base, r.records.seq)
	}
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("opening segment: %w", err)
	}
	if r.file != nil {
		_ = r.file.Close()
	}
	r.file, r.current = f, s
	r.records = records{file: f, off: segmentHeader, seq: s.base, buf: r.records.buf[:0]}
	return nil
}

// Acknowledged returns the number of entries that the writer had acknowledged when the reader last looked; known is false when the
// journal has no mark, as a copy may.
func (r *Reader) Acknowledged() (count uint64, known bool) {
	if !r.known {
		return 0, false
	}
	return r.limit, true
}

// Close closes the reader's file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("closing journal reader: %w", err)
	}
	return nil
}

func orEOF(err error) error {
	if err != nil {
		return err
	}
	return io.EOF
}
