// Package evidencetest makes sealed logs for tests and benchmarks: a company's quarter of any size, and whatever entries a test wants, sealed
// in the published layout with golang.org/x/mod's tlog.
//
// It owns the layout's writer and the made-up company. It refuses to be a sealer: nothing here is durable.
package evidencetest

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

const tileHeight = 8

// Log is a log that is being written.
type Log struct {
	Dir         string
	VerifierKey string
	Protect     func(audit.Entry) (audit.Entry, error) // encrypts personal data in what is added; nil: it is in the clear
	signer      note.Signer
	hashes      []tlog.Hash // tlog's stored hashes
	n           int64
	pending     bytes.Buffer // the bundle that is not full
	err         error
}

// New starts a log in dir, with a key of its own.
func New(dir string) (*Log, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "bailiwick.dev/evidence-test")
	if err != nil {
		return nil, err
	}
	return NewWithKey(dir, skey, vkey)
}

// NewWithKey is New with a key that is there already, in note form.
func NewWithKey(dir, skey, vkey string) (*Log, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	return &Log{Dir: dir, VerifierKey: vkey, signer: signer}, os.MkdirAll(dir, 0o700)
}

// Add appends an entry. The first error is kept, and returned by Seal.
func (l *Log) Add(e audit.Entry) uint64 {
	if l.Protect != nil {
		protected, err := l.Protect(e)
		if err != nil {
			l.fail(err)
			return 0
		}
		e = protected
	}
	raw, err := e.Marshal()
	if err != nil {
		l.fail(err)
		return 0
	}
	return l.AddRaw(raw)
}

// AddRaw appends bytes that need not be an entry.
func (l *Log) AddRaw(raw []byte) uint64 {
	index := l.n
	more, err := tlog.StoredHashes(index, raw, l)
	l.fail(err)
	l.hashes = append(l.hashes, more...)
	var size [2]byte
	binary.BigEndian.PutUint16(size[:], uint16(len(raw)))
	l.pending.Write(size[:])
	l.pending.Write(raw)
	l.n++
	if l.n%(1<<tileHeight) == 0 {
		l.fail(l.write(tlog.Tile{H: tileHeight, L: -1, N: l.n>>tileHeight - 1, W: 1 << tileHeight}, l.pending.Bytes()))
		l.pending.Reset()
	}
	return uint64(index)
}

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

// Seal writes tiles and a signed checkpoint of everything added. More can be added after it.
func (l *Log) Seal() error {
	if w := l.n % (1 << tileHeight); w > 0 {
		l.fail(l.write(tlog.Tile{H: tileHeight, L: -1, N: l.n >> tileHeight, W: int(w)}, l.pending.Bytes()))
	}
	for _, t := range tlog.NewTiles(tileHeight, 0, l.n) {
		data, err := tlog.ReadTileData(t, l)
		l.fail(err)
		l.fail(l.write(t, data))
	}
	root, err := tlog.TreeHash(l.n, l)
	l.fail(err)
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.signer.Name(), l.n, root)}, l.signer)
	l.fail(err)
	if l.err != nil {
		return l.err
	}
	return os.WriteFile(filepath.Join(l.Dir, "checkpoint"), signed, 0o600)
}

func (l *Log) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *Log) write(t tlog.Tile, data []byte) error {
	p := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", tileHeight))
	if t.L < 0 {
		p = "entries" + strings.TrimPrefix(p, "data")
	}
	path := filepath.Join(l.Dir, "tile", filepath.FromSlash(p))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
