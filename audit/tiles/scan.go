package tiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// ScanConfig says what to scan.
type ScanConfig struct {
	Log     string // the log's directory; empty: only the journal
	Journal string // the journal's directory; empty: only what is sealed
	From    uint64 // index of the first entry
}

// Record is one entry of a scan.
type Record struct {
	Index  uint64      // in the log, which is the sequence number in the journal
	Entry  audit.Entry // parsed from Raw
	Raw    []byte      // canonical form
	Sealed bool        // under the log's checkpoint, as it was when the scan began
}

// Scan yields the entries from cfg.From on, in order: those under the checkpoint from the log, the rest from the journal, up to the
// end as it is then. To follow, scan again from the index after the last. It reads and does not verify; Verify does. An error ends
// the scan, except for a malformed entry, which is yielded with its Index and Raw and can be passed over.
func Scan(ctx context.Context, cfg ScanConfig) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		next := cfg.From
		if cfg.Log != "" {
			size, err := SealedSize(cfg.Log)
			if err != nil {
				yield(Record{}, fmt.Errorf("scanning log: %w", err))
				return
			}
			for next < size {
				entries, err := logDir(cfg.Log).readBundle(next/tileWidth, size)
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(Record{}, fmt.Errorf("scanning log: %w", err))
					return
				}
				for _, raw := range entries[next%tileWidth:] {
					if !yieldEntry(yield, next, raw, true) {
						return
					}
					next++
				}
			}
		}
		if cfg.Journal != "" {
			scanJournal(ctx, cfg.Journal, next, yield)
		}
	}
}

func scanJournal(ctx context.Context, dir string, from uint64, yield func(Record, error) bool) {
	r, err := audit.OpenReader(dir, from)
	if err != nil {
		yield(Record{}, fmt.Errorf("scanning journal: %w", err))
		return
	}
	defer func() { _ = r.Close() }()
	for {
		seq, raw, err := r.Next()
		if err == nil {
			err = ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("scanning journal: %w", err))
			return
		}
		if !yieldEntry(yield, seq, raw, false) {
			return
		}
	}
}

func yieldEntry(yield func(Record, error) bool, index uint64, raw []byte, sealed bool) bool {
	e, err := audit.ParseEntry(raw)
	if err != nil {
		err = fmt.Errorf("entry %d: %w", index, err)
	}
	return yield(Record{Index: index, Entry: e, Raw: raw, Sealed: sealed}, err)
}

// SealedSize returns the size that the checkpoint of the log in dir states, unverified; 0 when there is none yet.
func SealedSize(dir string) (uint64, error) {
	msg, err := os.ReadFile(filepath.Join(dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading checkpoint: %w", err)
	}
	text, err := signedText(msg)
	if err != nil {
		return 0, err
	}
	c, err := parseCheckpoint(text)
	return c.size, err
}
