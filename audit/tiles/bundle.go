package tiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// checkedBundle is an entry bundle with what can be said of it alone. Making it is most of the work, and needs no order. Its memory is used
// again for a later bundle.
type checkedBundle struct {
	number  uint64
	file    []byte // as it was read
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

// check reads the n-th bundle and looks at it.
func (b *checkedBundle) check(l logDir, n, size uint64) {
	b.number, b.root = n, tlog.Hash{}
	b.file, b.entries, b.err = l.readBundleInto(b.file[:0], b.entries[:0], n, size)
	if errors.Is(b.err, fs.ErrNotExist) {
		b.err = fmt.Errorf("entry bundle %d is missing", n)
	}
	b.hashes, b.parsed = b.hashes[:0], b.parsed[:0]
	for _, raw := range b.entries {
		b.hashes = append(b.hashes, tlog.RecordHash(raw))
		b.parsed = append(b.parsed, parsedEntry{kind: audit.KindOf(raw), err: audit.CheckEntry(raw)})
	}
	if b.err == nil && len(b.hashes) == tileWidth {
		b.root = tileRoot(b.hashes)
	}
}

// bundles yields the bundles of a log of that size in order, checking some ahead on all cores. A bundle is the caller's until the next one.
func (l logDir) bundles(ctx context.Context, size uint64) iter.Seq[*checkedBundle] {
	return func(yield func(*checkedBundle) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		count := (size + tileWidth - 1) / tileWidth
		slots := make(chan chan *checkedBundle, 2*runtime.GOMAXPROCS(0)) // in order; its capacity bounds the work ahead
		used := sync.Pool{New: func() any { return new(checkedBundle) }}
		go func() {
			defer close(slots)
			for n := range count {
				slot := make(chan *checkedBundle, 1)
				select {
				case slots <- slot:
					go func() {
						b := used.Get().(*checkedBundle)
						b.check(l, n, size)
						slot <- b
					}()
				case <-ctx.Done():
					return
				}
			}
		}()
		for slot := range slots {
			b := <-slot
			if !yield(b) {
				return
			}
			used.Put(b)
		}
	}
}
