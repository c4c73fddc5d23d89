package tiles

import (
	"crypto/sha256"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree (RFC 6962 section 2.1): the roots of its complete subtrees, the largest first. It is
// all that is needed to add leaves and to know the root.
type frontier struct {
	size  uint64
	roots []tlog.Hash // one for each bit set in size
}

// push adds a leaf's hash.
func (f *frontier) push(leaf tlog.Hash) { f.pushTree(0, leaf) }

// pushTree adds a complete tree of 2^height leaves by its root. The frontier's size is a multiple of that.
func (f *frontier) pushTree(height int, root tlog.Hash) {
	for n := f.size >> height; n&1 == 1; n >>= 1 {
		last := len(f.roots) - 1
		root = tlog.NodeHash(f.roots[last], root)
		f.roots = f.roots[:last]
	}
	f.roots = append(f.roots, root)
	f.size += 1 << height
}

// root returns the tree's root hash; that of the empty tree is SHA-256 of nothing.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	h := f.roots[len(f.roots)-1]
	for i := len(f.roots) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.roots[i], h)
	}
	return h
}

// readFrontier takes the right edge of the tree of that size from the log's tiles. It proves nothing until its root has been
// compared with a signed one.
func (l logDir) readFrontier(size uint64) (*frontier, error) {
	f := &frontier{size: size}
	for bit := bits.Len64(size) - 1; bit >= 0; bit-- {
		if size>>bit&1 == 0 {
			continue
		}
		// The subtree of 2^bit leaves that ends where the larger ones before it and itself do.
		index := tlog.StoredHashIndex(bit, int64(size>>bit)-1)
		tile := tlog.TileForIndex(tileHeight, index)
		data, err := l.readTile(tile.L, uint64(tile.N), size)
		if err != nil {
			return nil, err
		}
		tile.W = len(data) / tlog.HashSize
		h, err := tlog.HashFromTile(tile, data, index)
		if err != nil {
			return nil, err
		}
		f.roots = append(f.roots, h)
	}
	return f, nil
}
