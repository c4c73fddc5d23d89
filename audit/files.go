package audit

import (
	"os"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Files is the part of the file system that the journal writes through. The default is the operating system; tests break each
// operation, both lost (error, nothing done) and persisted but reported failed.
type Files interface {
	// Open opens name for reading and writing with the additional flags (os.O_CREATE, os.O_TRUNC), mode 0600.
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// File is one open file of the journal.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// osFiles is the operating system.
type osFiles struct{}

func (osFiles) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err // not f: a nil *os.File in a File is not nil
	}
	return f, nil
}

func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) SyncDir(dir string) error     { return durable.SyncDir(dir) }
