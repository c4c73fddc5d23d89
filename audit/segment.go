package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	segmentPrefix = "segment-"
	segmentDigits = 12
)

// segment is one file of the journal.
type segment struct {
	ordinal uint64
	base    uint64 // sequence number of its first record
	path    string
}

func segmentPath(dir string, ordinal uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%0*d", segmentPrefix, segmentDigits, ordinal))
}

// listSegments returns the segments in dir in order. known holds those already read, so that their headers are not read again.
// A missing directory has no segments. damaged names files whose header can't be read.
func listSegments(dir string, known []segment) (segments []segment, damaged map[string]error, err error) {
	names, err := os.ReadDir(dir) // sorted, and the ordinals have leading zeros
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listing journal: %w", err)
	}
	seen := make(map[uint64]uint64, len(known))
	for _, s := range known {
		seen[s.ordinal] = s.base
	}
	for _, n := range names {
		digits, ok := strings.CutPrefix(n.Name(), segmentPrefix)
		if !ok || len(digits) != segmentDigits {
			continue
		}
		ordinal, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			continue
		}
		s := segment{ordinal: ordinal, path: segmentPath(dir, ordinal)}
		if base, ok := seen[ordinal]; ok {
			s.base = base
		} else if s.base, err = readSegmentHeader(s.path); err != nil {
			if damaged == nil {
				damaged = make(map[string]error)
			}
			damaged[s.path] = err
			continue
		}
		segments = append(segments, s)
	}
	return segments, damaged, nil
}

func readSegmentHeader(path string) (base uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("opening segment: %w", err)
	}
	defer f.Close()
	var b [segmentHeader]byte
	n, err := io.ReadFull(f, b[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, fmt.Errorf("reading segment header: %w", err)
	}
	return decodeSegmentHeader(b[:n])
}

// createSegment makes an empty segment. A crash before the rename leaves a ".tmp" file that the next creation overwrites; after it,
// an empty segment, which is as good as none.
func createSegment(files Files, dir string, s segment) (File, error) {
	tmp := s.path + ".tmp"
	f, err := files.Open(tmp, os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("creating segment: %w", err)
	}
	_, err = f.WriteAt(encodeSegmentHeader(s.base), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = files.Rename(tmp, s.path)
	}
	if err == nil {
		err = files.SyncDir(dir)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("creating segment %s: %w", filepath.Base(s.path), err)
	}
	return f, nil
}
