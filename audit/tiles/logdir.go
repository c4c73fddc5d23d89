package tiles

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// entriesLevel is the level that tlog gives to the tiles of raw entries.
	entriesLevel = -1
)

// logDir is the directory of a log, read with nothing but its published layout.
type logDir string

// path returns where a tile (or, at entriesLevel, an entry bundle) of width w is.
func (l logDir) path(level int, n uint64, w int) string {
	p := tlog.Tile{H: tileHeight, L: level, N: int64(n), W: w}.Path() // tile/8/LEVEL/N[.p/W], with "data" for entries
	p = strings.TrimPrefix(p, fmt.Sprintf("tile/%d/", tileHeight))
	if level == entriesLevel {
		p = "entries" + strings.TrimPrefix(p, "data")
	}
	return filepath.Join(string(l), "tile", filepath.FromSlash(p))
}

// width returns how many hashes (or entries) the n-th tile of level has in a tree of that size.
func width(level int, n, size uint64) int {
	return int(min(size>>(tileHeight*max(level, 0))-n*tileWidth, tileWidth))
}

// read returns a tile's file and the width it was stored with. The full tile serves for a partial one, which is removed once the
// full one is there.
func (l logDir) read(level int, n uint64, w int) (data []byte, stored int, err error) {
	data, err = os.ReadFile(l.path(level, n, w))
	if w < tileWidth && errors.Is(err, fs.ErrNotExist) {
		w = tileWidth
		data, err = os.ReadFile(l.path(level, n, w))
	}
	return data, w, err
}

// readTile returns the hashes of a tile as they are in a tree of that size.
func (l logDir) readTile(level int, n, size uint64) ([]byte, error) {
	want := width(level, n, size)
	data, stored, err := l.read(level, n, want)
	if err != nil {
		return nil, fmt.Errorf("reading tile: %w", err)
	}
	if len(data) != stored*tlog.HashSize {
		return nil, fmt.Errorf("tile level %d number %d has %d bytes, expected %d", level, n, len(data), stored*tlog.HashSize)
	}
	return data[:want*tlog.HashSize], nil
}

// readBundle returns the entries of the n-th bundle as they are in a tree of that size. On an error it returns those before it.
func (l logDir) readBundle(n, size uint64) ([][]byte, error) {
	want := width(entriesLevel, n, size)
	data, stored, err := l.read(entriesLevel, n, want)
	if errors.Is(err, fs.ErrNotExist) && l.removed(n) {
		return nil, fmt.Errorf("entry bundle %d: %w", n, ErrRemoved)
	}
	if err != nil {
		return nil, fmt.Errorf("reading entry bundle: %w", err)
	}
	entries := make([][]byte, 0, want)
	for range stored {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return entries[:min(len(entries), want)], fmt.Errorf("entry bundle %d ends inside its entry %d", n, len(entries))
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:end:end])
		data = data[end:]
	}
	if len(data) > 0 {
		return entries[:want], fmt.Errorf("entry bundle %d has %d bytes behind its last entry", n, len(data))
	}
	return entries[:want], nil
}
