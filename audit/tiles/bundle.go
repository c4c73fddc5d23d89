package tiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// checkedBundle is an entry bundle with what can be said of it alone. Making it is most of the work, and needs no order.
type checkedBundle struct {
	number  uint64
	entries [][]byte
	hashes  []tlog.Hash // of entries
	root    tlog.Hash   // of a full bundle; zero of any other
	parsed  []parsedEntry
	err     error // why entries are missing
}

// parsedEntry is what verifying keeps of an entry's meaning.
type parsedEntry struct {
	kind audit.Kind
	err  error
}

func (l logDir) checkBundle(n, size uint64) checkedBundle {
	b := checkedBundle{number: n}
	b.entries, b.err = l.readBundle(n, size)
	if errors.Is(b.err, fs.ErrNotExist) {
		b.err = fmt.Errorf("entry bundle %d is missing", n)
	}
	b.hashes = make([]tlog.Hash, len(b.entries))
	b.parsed = make([]parsedEntry, len(b.entries))
	for i, raw := range b.entries {
		b.hashes[i] = tlog.RecordHash(raw)
		b.parsed[i] = parsedEntry{kind: audit.KindOf(raw), err: audit.CheckEntry(raw)}
	}
	if b.err == nil && len(b.hashes) == tileWidth {
		b.root = tileRoot(b.hashes)
	}
	return b
}

// bundles yields the bundles of a log of that size in order, checking some ahead on all cores.
func (l logDir) bundles(ctx context.Context, size uint64) iter.Seq[checkedBundle] {
	return func(yield func(checkedBundle) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		count := (size + tileWidth - 1) / tileWidth
		slots := make(chan chan checkedBundle, 2*runtime.GOMAXPROCS(0)) // in order; its capacity bounds the work ahead
		go func() {
			defer close(slots)
			for n := range count {
				slot := make(chan checkedBundle, 1)
				select {
				case slots <- slot:
					go func() { slot <- l.checkBundle(n, size) }()
				case <-ctx.Done():
					return
				}
			}
		}()
		for slot := range slots {
			if !yield(<-slot) {
				return
			}
		}
	}
}
