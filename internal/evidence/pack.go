package evidence

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sink takes the files of a pack.
type sink interface {
	create(name string) (io.WriteCloser, error)
}

// folder is a pack on disk, in "dir.partial" until it is whole.
type folder struct{ dir, partial string }

// ErrExists is wrapped by the error for a directory that is not empty.
var ErrExists = errors.New("the directory exists and is not empty")

func newFolder(dir string) (*folder, error) {
	dir = filepath.Clean(dir)
	if have, err := os.ReadDir(dir); err == nil && len(have) > 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f := &folder{dir, dir + ".partial"}
	if err := os.RemoveAll(f.partial); err != nil {
		return nil, err
	}
	return f, os.MkdirAll(f.partial, 0o700)
}

func (f *folder) create(name string) (io.WriteCloser, error) {
	path := filepath.Join(f.partial, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (f *folder) publish() error {
	if err := os.Remove(f.dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is empty
		return err
	}
	return os.Rename(f.partial, f.dir)
}

func (f *folder) abandon() { _ = os.RemoveAll(f.partial) }

// nowhere is the sink of a check: only the digests of what would be written matter.
type nowhere struct{}

func (nowhere) create(string) (io.WriteCloser, error) { return discard{}, nil }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// File is one file of a pack in its manifest.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// pack counts and hashes what goes into a sink.
type pack struct {
	sink  sink
	files []File
}

type packFile struct {
	pack *pack
	name string
	to   io.WriteCloser
	buf  *bufio.Writer
	sum  hash.Hash
	size int64
}

func (p *pack) create(name string) (*packFile, error) {
	to, err := p.sink.create(name)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	f := &packFile{pack: p, name: name, to: to, sum: sha256.New()}
	f.buf = bufio.NewWriterSize(io.MultiWriter(to, f.sum), 64<<10)
	return f, nil
}

func (f *packFile) Write(p []byte) (int, error) {
	f.size += int64(len(p))
	return f.buf.Write(p)
}

func (f *packFile) Close() error {
	err := errors.Join(f.buf.Flush(), f.to.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.name, err)
	}
	f.pack.files = append(f.pack.files, File{f.name, f.size, hex.EncodeToString(f.sum.Sum(nil))})
	return nil
}

func (p *pack) put(name string, data []byte) error {
	f, err := p.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// bundle copies entries in the layout of tlog-tiles.
func (p *pack) bundle(n uint64, entries [][]byte) error {
	var data []byte
	for _, raw := range entries {
		data = binary.BigEndian.AppendUint16(data, uint16(len(raw))) // an entry has 65535 bytes at most
		data = append(data, raw...)
	}
	return p.put("log/"+tilePath(entriesLevel, n, len(entries)), data)
}

func (p *pack) sorted() []File {
	files := slices.Clone(p.files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// table is a CSV file that a spreadsheet can open without running what others wrote into it.
type table struct {
	file *packFile
	csv  *csv.Writer
	rows uint64
}

func (p *pack) table(name string, columns ...string) (*table, error) {
	f, err := p.create(name)
	if err != nil {
		return nil, err
	}
	t := &table{file: f, csv: csv.NewWriter(f)}
	return t, t.csv.Write(columns)
}

func (t *table) row(cells ...string) error {
	for i, c := range cells {
		cells[i] = inert(c)
	}
	t.rows++
	return t.csv.Write(cells)
}

func (t *table) close() error {
	t.csv.Flush()
	err := errors.Join(t.csv.Error(), t.file.Close())
	t.file = nil
	return err
}

// abandon releases the file of a table that was not finished.
func (t *table) abandon() {
	if t.file != nil {
		_ = t.file.to.Close()
	}
}

// inert keeps a spreadsheet from taking a cell for a formula, and text without line breaks and controls, which some readers mend in ways of
// their own.
func inert(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		s = strings.Map(func(r rune) rune {
			if r < 0x20 || r == 0x7f {
				return '\uFFFD'
			}
			return r
		}, s)
	}
	if s != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}
