package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// How a file operation is broken.
type fault int

const (
	lost      fault = iota // error, nothing done; for a sync: what was written since the last one is gone
	persisted              // done, and reported failed
	partial                // a write does half of it and fails; other operations are lost
)

func (f fault) String() string { return [...]string{"lost", "persisted", "partial"}[f] }

var errInjected = errors.New("injected fault")

// faultFiles is the real file system with faults, which also knows what a power cut would leave: of each file what was synced, of
// each directory the names that were synced.
type faultFiles struct {
	osFiles
	mu     sync.Mutex
	ops    []string // every operation done so far
	broken func(op string, n int) bool
	fault  fault
	err    error

	durable map[string][]byte // path → content as of the last sync of the file
	names   map[string]bool   // paths whose name is synced
}

func newFaultFiles() *faultFiles {
	return &faultFiles{durable: map[string][]byte{}, names: map[string]bool{}, broken: func(string, int) bool { return false }, err: errInjected}
}

// step counts an operation and says whether it is to fail. The caller holds mu.
func (f *faultFiles) step(op, name string) bool {
	f.ops = append(f.ops, op+" "+filepath.Base(name))
	return f.broken(f.ops[len(f.ops)-1], len(f.ops)-1)
}

func (f *faultFiles) Open(name string, flag int) (File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := f.step("open", name)
	if fail && f.fault != persisted {
		return nil, f.err
	}
	file, err := f.osFiles.Open(name, flag)
	if err != nil {
		return nil, err
	}
	if fail {
		_ = file.Close()
		return nil, f.err
	}
	return &faultFile{File: file, fs: f, name: name}, nil
}

func (f *faultFiles) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := f.step("rename", to)
	if fail && f.fault != persisted {
		return f.err
	}
	if err := f.osFiles.Rename(from, to); err != nil {
		return err
	}
	f.durable[to] = f.durable[from]
	delete(f.durable, from)
	if fail {
		return f.err
	}
	return nil
}

func (f *faultFiles) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := f.step("syncdir", dir)
	if fail && f.fault != persisted {
		return f.err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f.names[filepath.Join(dir, e.Name())] = true
	}
	if fail {
		return f.err
	}
	return nil
}

// powerCut leaves in dir only what a disk would have kept.
func (f *faultFiles) powerCut(t *testing.T, dir string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !f.names[path] {
			err = os.Remove(path)
		} else if content, ok := f.durable[path]; ok {
			err = os.WriteFile(path, content, 0o600)
		} else {
			err = os.Truncate(path, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

type faultFile struct {
	File
	fs   *faultFiles
	name string
}

// path is where the file is now: a segment is renamed while open.
func (f *faultFile) path() string {
	if final := strings.TrimSuffix(f.name, ".tmp"); final != f.name {
		if _, err := os.Stat(f.name); err != nil {
			return final
		}
	}
	return f.name
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if !f.fs.step("write", f.path()) {
		return f.File.WriteAt(p, off)
	}
	switch f.fs.fault {
	case persisted:
		_, _ = f.File.WriteAt(p, off)
	case partial:
		_, _ = f.File.WriteAt(p[:len(p)/2], off)
	}
	return 0, f.fs.err
}

func (f *faultFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	fail := f.fs.step("truncate", f.path())
	if fail && f.fs.fault != persisted {
		return f.fs.err
	}
	if err := f.File.Truncate(size); err != nil || !fail {
		return err
	}
	return f.fs.err
}

func (f *faultFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	path := f.path()
	fail := f.fs.step("sync", path)
	if fail && f.fs.fault != persisted {
		// The kernel has dropped the dirty pages: what the file holds now is what the disk has.
		if content, ok := f.fs.durable[path]; ok {
			_ = os.Truncate(path, int64(len(content)))
			if _, err := f.File.WriteAt(content, 0); err != nil {
				return err
			}
		}
		return f.fs.err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f.fs.durable[path] = content
	if fail {
		return f.fs.err
	}
	return nil
}
