package tiles

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	_, entries, err := l.readBundleInto(nil, make([][]byte, 0, tileWidth), n, size)
	return entries, err
}

// readBundleInto is readBundle into memory that is used again: the file behind what is in data, and the entries, which alias it, behind entries.
func (l logDir) readBundleInto(data []byte, entries [][]byte, n, size uint64) (file []byte, _ [][]byte, err error) {
	want := width(entriesLevel, n, size)
	stored := want
	file, err = appendFile(data, l.path(entriesLevel, n, want))
	if want < tileWidth && errors.Is(err, fs.ErrNotExist) {
		stored = tileWidth
		file, err = appendFile(data, l.path(entriesLevel, n, stored))
	}
	if errors.Is(err, fs.ErrNotExist) && l.removed(n) {
		return file, entries, fmt.Errorf("entry bundle %d: %w", n, ErrRemoved)
	}
	if err != nil {
		return file, entries, fmt.Errorf("reading entry bundle: %w", err)
	}
	rest := file
	for range stored {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return file, entries[:min(len(entries), want)], fmt.Errorf("entry bundle %d ends inside its entry %d", n, len(entries))
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:end:end])
		rest = rest[end:]
	}
	if len(rest) > 0 {
		return file, entries[:want], fmt.Errorf("entry bundle %d has %d bytes behind its last entry", n, len(rest))
	}
	return file, entries[:want], nil
}

// appendFile reads a whole file behind what is in b.
func appendFile(b []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return b, err
	}
	b = slices.Grow(b, int(info.Size())+1) // one more, so that the end is seen without growing again
	for {
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		b = slices.Grow(b, 1)
	}
}
