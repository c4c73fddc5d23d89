package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The acknowledged mark: how many entries were synced and acknowledged. The writer puts it down after each successful sync and
// never syncs it while running: it may lag behind the records, never run ahead of them. Readers stop at it. Without it a reader in
// another process could see a whole record whose sync then failed, and which the writer cuts and replaces: the sealed log would
// hold what the journal does not.
const markName = "acknowledged"

func encodeMark(count uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, count)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errBadMark = errors.New("the journal's acknowledged mark does not match its checksum")

func decodeMark(b []byte) (uint64, error) {
	if len(b) != 12 || binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[:8], castagnoli) {
		return 0, errBadMark
	}
	return binary.LittleEndian.Uint64(b), nil
}

// readMark returns the number of acknowledged entries; known is false when there is no mark. It may be called beside the writer:
// a read that meets a write half done is repeated.
func readMark(dir string) (count uint64, known bool, err error) {
	f, err := os.Open(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("opening acknowledged mark: %w", err)
	}
	defer f.Close()
	var b [12]byte
	for range 5 {
		var n int
		n, err = f.ReadAt(b[:], 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, false, fmt.Errorf("reading acknowledged mark: %w", err)
		}
		if n == 0 {
			return 0, true, nil // just created: nothing is acknowledged
		}
		if count, err = decodeMark(b[:n]); err == nil {
			return count, true, nil
		}
		time.Sleep(time.Millisecond)
	}
	return 0, false, err
}
