package evidence

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

const (
	tileHeight   = 8
	tileWidth    = 1 << tileHeight
	entriesLevel = -1 // the level that tlog gives to the tiles of raw entries
	maxSize      = 1 << 56
)

// ErrLog is wrapped by errors that say that the log is not what its checkpoint says: there is no evidence in it then.
var ErrLog = errors.New("the log does not verify")

// sealedLog is a log read by its published layout (https://c2sp.org/tlog-tiles), its checkpoint verified.
type sealedLog struct {
	files       fs.FS
	verifierKey string // by which it is known
	origin      string
	signed      tiles.Signed // the checkpoint, and how the key that signed it follows from the one that is known
	tree        tlog.Tree
	reader      *tileFiles
	known       extent
	progress    func(done, total uint64)
	done        uint64
}

// openLog reads and verifies the checkpoint, nothing more.
func openLog(files fs.FS, key string) (*sealedLog, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("%w: the verifier key must have the form ORIGIN+HASH+KEY: %w", ErrSettings, err)
	}
	signed, err := tiles.OpenCheckpoint(files, key)
	if errors.As(err, new(*tiles.BundleError)) {
		return nil, fmt.Errorf("%w: its checkpoint is not signed by the key %s+%08x, nor by one that follows it: %w", ErrLog, v.Name(), v.KeyHash(), err)
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return nil, fmt.Errorf("%w: its checkpoint is not one of %q", ErrLog, v.Name())
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	root, rootErr := tlog.ParseHash(lines[2])
	if err != nil || rootErr != nil || size > maxSize {
		return nil, fmt.Errorf("%w: its checkpoint states the size %.40q and the root %.80q", ErrLog, lines[1], lines[2])
	}
	l := &sealedLog{files: files, verifierKey: key, origin: v.Name(), signed: signed, tree: tlog.Tree{N: int64(size), Hash: root}}
	l.reader = &tileFiles{files: files, size: size}
	return l, nil
}

func (l *sealedLog) size() uint64 { return uint64(l.tree.N) }
func (l *sealedLog) root() string { return base64.StdEncoding.EncodeToString(l.tree.Hash[:]) }

// tilePath is where a tile (at entriesLevel a bundle of entries) of that width is.
func tilePath(level int, n uint64, w int) string {
	p := tlog.Tile{H: tileHeight, L: level, N: int64(n), W: w}.Path() // tile/8/LEVEL/N[.p/W], with "data" for entries
	p = strings.TrimPrefix(p, fmt.Sprintf("tile/%d/", tileHeight))
	if level == entriesLevel {
		p = "entries" + strings.TrimPrefix(p, "data")
	}
	return path.Join("tile", p)
}

// width is how many hashes or entries a tile has in a tree of that size.
func width(level int, n, size uint64) int {
	return int(min(size>>(tileHeight*max(level, 0))-n*tileWidth, tileWidth))
}

// readTile reads a tile's file; the full one serves for a partial one.
func readTile(files fs.FS, level int, n uint64, w int) (data []byte, stored int, err error) {
	data, err = fs.ReadFile(files, tilePath(level, n, w))
	if w < tileWidth && errors.Is(err, fs.ErrNotExist) {
		w = tileWidth
		data, err = fs.ReadFile(files, tilePath(level, n, w))
	}
	return data, w, err
}

// tileFiles lets tlog read tiles, which it checks against the root, and remembers those that proofs needed.
type tileFiles struct {
	files fs.FS
	size  uint64
	used  map[tlog.Tile][]byte // that proofs needed; nil: not remembered
	kept  map[tlog.Tile]bool   // that are in the pack
	last  map[int8]cachedTile  // the newest of each level: neighbours share them
}

type cachedTile struct {
	tile tlog.Tile
	data []byte
}

func (r *tileFiles) Height() int { return tileHeight }

// SaveTiles is called by tlog with tiles that it has checked.
func (r *tileFiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	if r.used == nil {
		return
	}
	for i, t := range tiles {
		if !r.kept[t] {
			r.used[t] = data[i]
		}
	}
}

func (r *tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	if r.last == nil {
		r.last = map[int8]cachedTile{}
	}
	for i, t := range tiles {
		if c := r.last[int8(t.L)]; c.tile == t {
			all[i] = c.data
			continue
		}
		data, stored, err := readTile(r.files, t.L, uint64(t.N), width(t.L, uint64(t.N), r.size))
		if err != nil {
			return nil, fmt.Errorf("reading tile: %w", err)
		}
		if len(data) != stored*tlog.HashSize || stored < t.W {
			return nil, fmt.Errorf("%w: tile level %d number %d has %d bytes", ErrLog, t.L, t.N, len(data))
		}
		all[i] = data[:t.W*tlog.HashSize]
		r.last[int8(t.L)] = cachedTile{t, all[i]}
	}
	return all, nil
}

// hashes returns the leaf hashes [first, next), proven against the root by the tiles.
func (l *sealedLog) hashes(first, next uint64) ([]tlog.Hash, error) {
	indexes := make([]int64, 0, next-first)
	for i := first; i < next; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, int64(i)))
	}
	got, err := tlog.TileHashReader(l.tree, l.reader).ReadHashes(indexes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLog, err)
	}
	return got, nil
}

// bundle is up to 256 entries.
type bundle[T any] struct {
	first  uint64 // index of its first entry
	raw    [][]byte
	hashes []tlog.Hash
	parsed []T
	err    error
}

// readBundle reads entries as they are in a tree of that size.
func readBundle(files fs.FS, n, size uint64) ([][]byte, error) {
	want := width(entriesLevel, n, size)
	data, stored, err := readTile(files, entriesLevel, n, want)
	if err != nil {
		return nil, fmt.Errorf("reading the entries from %d on: %w", n*tileWidth, err)
	}
	entries := make([][]byte, 0, want)
	for range stored {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%w: the entries from %d on end inside one", ErrLog, n*tileWidth)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:end:end])
		data = data[end:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%w: something follows the entries from %d on", ErrLog, n*tileWidth)
	}
	return entries[:want], nil
}

// bundlesOf yields the bundles that hold [first, next), in order. Reading, hashing and parsing are done ahead on all cores.
func bundlesOf[T any](ctx context.Context, l *sealedLog, first, next uint64, parse func(index uint64, raw []byte) T) iter.Seq[bundle[T]] {
	work := func(n uint64) bundle[T] {
		b := bundle[T]{first: n * tileWidth}
		if b.raw, b.err = readBundle(l.files, n, l.size()); b.err != nil {
			return b
		}
		b.hashes, b.parsed = make([]tlog.Hash, len(b.raw)), make([]T, len(b.raw))
		for i, raw := range b.raw {
			b.hashes[i] = tlog.RecordHash(raw)
			b.parsed[i] = parse(b.first+uint64(i), raw)
		}
		return b
	}
	return func(yield func(bundle[T]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		slots := make(chan chan bundle[T], 2*runtime.GOMAXPROCS(0)) // in order; its capacity bounds the work ahead
		go func() {
			defer close(slots)
			for n := first / tileWidth; n*tileWidth < next; n++ {
				slot := make(chan bundle[T], 1)
				select {
				case slots <- slot:
					go func() { slot <- work(n) }()
				case <-ctx.Done():
					return
				}
			}
		}()
		for slot := range slots {
			b := <-slot
			l.done += uint64(len(b.raw))
			if l.progress != nil {
				l.progress(l.done, 2*l.size())
			}
			if !yield(b) {
				return
			}
		}
	}
}

// frontier is the right edge of a Merkle tree (RFC 6962 section 2.1): the roots of its complete subtrees, the largest first.
type frontier struct {
	size  uint64
	roots []tlog.Hash
}

func (f *frontier) push(leaf tlog.Hash) {
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.roots) - 1
		leaf = tlog.NodeHash(f.roots[last], leaf)
		f.roots = f.roots[:last]
	}
	f.roots = append(f.roots, leaf)
	f.size++
}

func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // of the empty tree; it can't fail
		return h
	}
	h := f.roots[len(f.roots)-1]
	for i := len(f.roots) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.roots[i], h)
	}
	return h
}

// extent is the part of a log that there is: all of it, or what a pack holds.
type extent struct {
	partial     bool
	first, next uint64
}

func (e extent) end(size uint64) uint64 {
	if e.partial {
		return e.next
	}
	return size
}
