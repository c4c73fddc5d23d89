package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// SealedLog is a log's directory. Only what is under its checkpoint is exported: an entry's index is settled then. The checkpoint is not
// verified here; `bailiwick audit verify` does that.
type SealedLog string

// Origin returns the first line of the checkpoint; empty while there is none.
func (l SealedLog) Origin() string {
	raw, err := os.ReadFile(filepath.Join(string(l), "checkpoint"))
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	return string(line)
}

// Size returns the number of sealed entries.
func (l SealedLog) Size() (uint64, error) { return tiles.SealedSize(string(l)) }

// Time returns when an entry was made.
func (l SealedLog) Time(index uint64) time.Time {
	for r, err := range tiles.Scan(context.Background(), tiles.ScanConfig{Log: string(l), From: index}) {
		if err != nil {
			break
		}
		return r.Entry.Time
	}
	return time.Time{}
}

// Leaf returns an entry's leaf hash.
func (l SealedLog) Leaf(index uint64) (tlog.Hash, bool) {
	for r, err := range tiles.Scan(context.Background(), tiles.ScanConfig{Log: string(l), From: index}) {
		if r.Raw == nil || err != nil && r.Raw == nil || r.Index != index {
			break
		}
		return tlog.RecordHash(r.Raw), true
	}
	return tlog.Hash{}, false
}

// Open returns a Source of the entries from an index on.
func (l SealedLog) Open(from uint64) (Source, error) {
	if _, err := os.Stat(string(l)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return &sealedSource{log: l, at: from}, nil
}

// sealedSource scans what is there, and again when there is more.
type sealedSource struct {
	log  SealedLog
	at   uint64
	next func() (tiles.Record, error, bool)
	stop func()
}

// Next implements Source.
func (s *sealedSource) Next(ctx context.Context) (uint64, []byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	if s.next == nil {
		size, err := s.log.Size()
		if err != nil {
			return 0, nil, err
		}
		if size < s.at {
			return 0, nil, fmt.Errorf("%w: %d entries were exported, the log has %d", ErrDiverged, s.at, size)
		}
		if size == s.at {
			return 0, nil, io.EOF
		}
		s.next, s.stop = iter.Pull2(tiles.Scan(context.WithoutCancel(ctx), tiles.ScanConfig{Log: string(s.log), From: s.at}))
	}
	r, err, ok := s.next()
	if !ok {
		_ = s.Close()
		return 0, nil, io.EOF
	}
	if err != nil && !errors.Is(err, audit.ErrMalformed) {
		_ = s.Close()
		return 0, nil, err
	}
	s.at = r.Index + 1
	return r.Index, r.Raw, nil
}

// Close implements Source.
func (s *sealedSource) Close() error {
	if s.stop != nil {
		s.stop()
	}
	s.next, s.stop = nil, nil
	return nil
}
