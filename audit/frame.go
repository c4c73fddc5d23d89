package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The journal's files, version 1. All integers are little-endian, all checksums CRC-32C (Castagnoli, RFC 3720 appendix B.4).
//
//	segment-000000000001    header, then records, back to back
//	  header   24 bytes: "BWJRNL\x00\x01" | base uint64 | zero uint32 | crc uint32 of the 20 bytes before
//	  record   length uint32 | crc uint32 | seq uint64 | entry (length bytes, 1 to 65535)
//	           crc covers length, seq and entry
//	acknowledged            12 bytes: count uint64 | crc uint32 of the 8 bytes before
//	lock                    empty; flock(2) held by the writer
//
// Base is the sequence number of a segment's first record; within a segment they count up by one. A record whose number is at or
// above the base of a later segment was cut by starting that segment, and is skipped: that is how the writer abandons a tail that
// the disk would neither sync nor truncate.
const (
	segmentMagic  = "BWJRNL\x00\x01"
	segmentHeader = 24
	recordHeader  = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShortRecord = errors.New("the file ends inside a record")
	errBadRecord   = errors.New("record does not match its checksum")

	errSegmentVersion = errors.New("journal segment is of another version")
)

func encodeSegmentHeader(base uint64) []byte {
	b := make([]byte, 0, segmentHeader)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, base)
	b = binary.LittleEndian.AppendUint32(b, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeSegmentHeader(b []byte) (base uint64, err error) {
	switch {
	case len(b) < segmentHeader:
		return 0, errors.New("segment header is incomplete")
	case string(b[:6]) != segmentMagic[:6]:
		return 0, errors.New("not a journal segment")
	case string(b[6:8]) != segmentMagic[6:]:
		return 0, fmt.Errorf("%w: it has version %d, this build reads version 1; use a newer bailiwick", errSegmentVersion, int(b[6])<<8|int(b[7]))
	case binary.LittleEndian.Uint32(b[20:]) != crc32.Checksum(b[:20], castagnoli):
		return 0, errors.New("segment header does not match its checksum")
	}
	return binary.LittleEndian.Uint64(b[8:]), nil
}

// appendRecord frames entry, whose length the caller has checked.
func appendRecord(b []byte, seq uint64, entry []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entry)))
	b = append(b, 0, 0, 0, 0) // the checksum, below
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, entry...)
	binary.LittleEndian.PutUint32(b[start+4:], recordChecksum(b[start:]))
	return b
}

func recordChecksum(record []byte) uint32 {
	crc := crc32.Update(0, castagnoli, record[:4])
	return crc32.Update(crc, castagnoli, record[8:])
}

// decodeRecord reads the record at the start of b. It returns errShortRecord when b ends before the record does and errBadRecord
// (wrapped) when no amount of further bytes would make it whole. entry aliases b.
func decodeRecord(b []byte, seq uint64) (entry []byte, size int, err error) {
	if len(b) < recordHeader {
		return nil, 0, errShortRecord
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > MaxEntry {
		return nil, 0, fmt.Errorf("%w: it states a length of %d bytes", errBadRecord, n)
	}
	size = recordHeader + int(n)
	if len(b) < size {
		return nil, 0, errShortRecord
	}
	if binary.LittleEndian.Uint32(b[4:]) != recordChecksum(b[:size]) {
		return nil, 0, errBadRecord
	}
	if got := binary.LittleEndian.Uint64(b[8:]); got != seq {
		return nil, 0, fmt.Errorf("%w: it has sequence number %d, expected %d", errBadRecord, got, seq)
	}
	return b[recordHeader:size], size, nil
}

// records walks the records of one segment through a window of its bytes.
type records struct {
	file io.ReaderAt
	off  int64  // of the next record
	seq  uint64 // of the next record
	buf  []byte // window; buf[pos:] begins at off
	pos  int
}

// window is how much is read at a time: several of the largest records.
const window = 256 << 10

// next returns the next record's entry, which aliases the window: it is valid until the following call.
// On any error the position stays, so that it can be tried again.
func (r *records) next() ([]byte, error) {
	entry, size, err := decodeRecord(r.buf[r.pos:], r.seq)
	if errors.Is(err, errShortRecord) {
		if err := r.fill(); err != nil {
			return nil, err
		}
		entry, size, err = decodeRecord(r.buf, r.seq)
	}
	if err != nil {
		r.forget()
		return nil, err
	}
	r.pos += size
	r.off += int64(size)
	r.seq++
	return entry, nil
}

func (r *records) fill() error {
	if cap(r.buf) < window {
		r.buf = make([]byte, 0, window)
	}
	n, err := r.file.ReadAt(r.buf[:window], r.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading segment: %w", err)
	}
	r.buf, r.pos = r.buf[:n], 0
	return nil
}

// forget drops bytes read ahead: beyond the acknowledged records the writer may cut and write anew.
func (r *records) forget() { r.buf, r.pos = r.buf[:0], 0 }

// atEnd reports whether the last errShortRecord came exactly between two records.
func (r *records) atEnd() (bool, error) {
	n, err := r.file.ReadAt(make([]byte, 1), r.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading segment: %w", err)
	}
	return n == 0, nil
}

// AppendRecord frames an entry as a segment of the journal has it: for carrying entries elsewhere with their numbers and checksums.
func AppendRecord(b []byte, seq uint64, entry []byte) ([]byte, error) {
	if len(entry) == 0 || len(entry) > MaxEntry {
		return b, fmt.Errorf("framing entry %d: %w", seq, ErrTooLarge)
	}
	return appendRecord(b, seq, entry), nil
}

// ReadRecords takes framed entries apart, which must be numbered from the given one on without a gap and end with a whole record. The
// entries alias b.
func ReadRecords(b []byte, from uint64) ([][]byte, error) {
	var entries [][]byte
	for len(b) > 0 {
		entry, size, err := decodeRecord(b, from+uint64(len(entries)))
		if err != nil {
			return nil, fmt.Errorf("reading record %d: %w", from+uint64(len(entries)), err)
		}
		entries = append(entries, entry)
		b = b[size:]
	}
	return entries, nil
}
