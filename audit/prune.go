package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Pruned is what Prune removed.
type Pruned struct {
	Segments int
	Bytes    int64
	First    uint64 // sequence number of the first entry that is left
}

// Prune removes the segments of the journal in dir whose entries all have a number below the given one and that were last written before
// the given time; the newest segment stays in any case. The caller knows that what is below is kept elsewhere. It may run beside the
// writer and readers, which are beyond. A crash in the middle leaves a shorter journal without a gap: the oldest go first.
func Prune(dir string, below uint64, before time.Time) (Pruned, error) {
	segments, damaged, err := listSegments(dir, nil)
	if err != nil {
		return Pruned{}, fmt.Errorf("pruning journal: %w", err)
	}
	for path, cause := range damaged {
		return Pruned{}, fmt.Errorf("pruning journal: %s: %w: nothing was removed", filepath.Base(path), cause)
	}
	var p Pruned
	for i, s := range segments {
		p.First = s.base
		if i == len(segments)-1 || segments[i+1].base > below {
			break
		}
		info, err := os.Stat(s.path)
		if err != nil {
			return p, fmt.Errorf("pruning journal: %w", err)
		}
		if !info.ModTime().Before(before) {
			break
		}
		if err := os.Remove(s.path); err != nil {
			return p, fmt.Errorf("pruning journal: %w", err)
		}
		p.Segments++
		p.Bytes += info.Size()
	}
	if p.Segments == 0 {
		return p, nil
	}
	if err := durable.SyncDir(dir); err != nil {
		return p, fmt.Errorf("pruning journal: %w", err)
	}
	return p, nil
}
