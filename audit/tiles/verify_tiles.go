package tiles

import (
	"errors"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"
)

// level is the stored tiles of one level above the entries, compared as the roots of the tiles below come in.
type level struct {
	roots []tlog.Hash // of full stored tiles of the level below, for the tile that is being gathered
	tile  uint64      // its number
}

// storedHashes returns the hashes of a stored tile, or nil (and a problem) when it can't be read.
func (v *verification) storedHashes(l int, n uint64) []tlog.Hash {
	data, err := v.log.readTile(l, n, v.checkpoint.size)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is missing")
	}
	if err != nil {
		v.report.problem(CodeTileMismatch, n<<(tileHeight*(l+1)), "tile level %d number %d: %v", l, n, err)
		return nil
	}
	hashes := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes
}

// tile passes the root of a stored tile up, when it is a full one. Levels are compared with the stored tiles below them and not with
// the entries, so that one wrong hash is one problem and not one per level.
func (v *verification) tile(l int, n uint64, hashes []tlog.Hash) {
	if width(l, n, v.checkpoint.size) < tileWidth {
		return
	}
	root := tlog.Hash{} // for a tile that can't be read, which has been reported
	if len(hashes) == tileWidth {
		root = tileRoot(hashes)
	}
	v.pass(l, root)
}

func tileRoot(hashes []tlog.Hash) tlog.Hash {
	var f frontier
	for _, h := range hashes {
		f.push(h)
	}
	return f.root()
}

// pass takes the root of a full tile of level l up.
func (v *verification) pass(l int, root tlog.Hash) {
	if len(v.levels) == l {
		v.levels = append(v.levels, level{})
	}
	up := &v.levels[l]
	up.roots = append(up.roots, root)
	if len(up.roots) == tileWidth {
		v.compareTile(l + 1)
	}
}

// topTiles compares the partial tiles at the right edge.
func (v *verification) topTiles() {
	for l := 0; l < len(v.levels); l++ { // comparing a level may add one
		if len(v.levels[l].roots) > 0 {
			v.compareTile(l + 1)
		}
	}
}

// compareTile compares a stored tile with the roots gathered from below it.
func (v *verification) compareTile(l int) {
	below := &v.levels[l-1]
	n, roots := below.tile, below.roots
	below.tile, below.roots = n+1, nil
	stored := v.storedHashes(l, n)
	for i := range min(len(stored), len(roots)) {
		if stored[i] != roots[i] && roots[i] != (tlog.Hash{}) {
			v.report.problem(CodeTileMismatch, (n*tileWidth+uint64(i))<<(tileHeight*l), "tile level %d number %d does not have the hash of the tile below it, number %d",
				l, n, n*tileWidth+uint64(i))
		}
	}
	v.tile(l, n, stored)
}
