package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// files is what the file sink needs of the operating system; tests fill it with faults.
type files interface {
	OpenAppend(path string) (appendFile, error)
}

type appendFile interface {
	io.Writer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

type osFiles struct{}

func (osFiles) OpenAppend(path string) (appendFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := wholeLines(f); err != nil { // a crash in the middle of a line: its batch comes again
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fileSink appends lines to a file, synced before a batch counts as taken, and rotates it: NAME-TIME-INDEX.EXT, then compressed.
type fileSink struct {
	cfg   FileConfig
	files files
	clock func() time.Time

	file  appendFile
	size  int64     // up to the last batch taken
	since time.Time // when the file's first batch was written, as far as is known
}

func newFileSink(cfg FileConfig, files files, clock func() time.Time) (*fileSink, error) {
	if info, err := os.Stat(filepath.Dir(cfg.Path)); err != nil {
		return nil, fmt.Errorf("opening the file to export to: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("opening the file to export to: %s is not a directory", filepath.Dir(cfg.Path))
	}
	return &fileSink{cfg: cfg, files: files, clock: clock}, nil
}

// Send implements Sink. After a failed write the file is cut back to where it was, so that no half line stays.
func (s *fileSink) Send(_ context.Context, batch []Message) error {
	if err := s.rotate(batch[0].Index); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	var b bytes.Buffer
	for i := range batch {
		b.Write(batch[i].Body)
		b.WriteByte('\n')
	}
	_, err := s.file.Write(b.Bytes())
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// What a failed sync left in the page cache can't be trusted: the file is opened anew.
		err = errors.Join(err, s.file.Truncate(s.size), s.file.Close())
		s.file = nil
		return fmt.Errorf("writing to %s: %w", s.cfg.Path, err)
	}
	s.size += int64(b.Len())
	return nil
}

func (s *fileSink) open() error {
	if s.file != nil {
		return nil
	}
	f, err := s.files.OpenAppend(s.cfg.Path)
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.cfg.Path, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = durable.SyncDir(filepath.Dir(s.cfg.Path))
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.cfg.Path, errors.Join(err, f.Close()))
	}
	s.file, s.size, s.since = f, info.Size(), s.clock()
	if s.size > 0 {
		s.since = info.ModTime() // the youngest that it can be
	}
	return nil
}

// rotate renames the file when it is large or old enough, compresses it and removes those beyond keep.
func (s *fileSink) rotate(next uint64) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.size == 0 || s.size < s.cfg.MaxBytes && s.clock().Sub(s.since) < s.cfg.MaxAge {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	if err != nil {
		return fmt.Errorf("rotating %s: %w", s.cfg.Path, err)
	}
	stem, ext := s.stem()
	to := fmt.Sprintf("%s-%s-%d%s", stem, s.clock().UTC().Format("20060102T150405.000Z"), next, ext)
	if err := os.Rename(s.cfg.Path, to); err != nil {
		return fmt.Errorf("rotating %s: %w", s.cfg.Path, err)
	}
	if err := durable.SyncDir(filepath.Dir(s.cfg.Path)); err != nil {
		return fmt.Errorf("rotating %s: %w", s.cfg.Path, err)
	}
	if err := s.tidy(); err != nil {
		return err
	}
	return s.open()
}

func (s *fileSink) stem() (stem, ext string) {
	ext = filepath.Ext(s.cfg.Path)
	return strings.TrimSuffix(s.cfg.Path, ext), ext
}

// tidy compresses rotated files, those that a crash left uncompressed too, and removes the oldest beyond keep.
func (s *fileSink) tidy() error {
	stem, ext := s.stem()
	dir := filepath.Dir(s.cfg.Path)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for rotated files: %w", err)
	}
	var rotated []string
	for _, n := range names {
		// The time in the name has this form and no other file of the directory should: NAME-20261123T180000.000Z-INDEX.
		rest, ok := strings.CutPrefix(filepath.Join(dir, n.Name()), stem+"-")
		if !ok || !strings.HasSuffix(rest, ext) && !strings.HasSuffix(rest, ext+".gz") {
			continue
		}
		if stamp, _, ok := strings.Cut(rest, "-"); !ok {
			continue
		} else if _, err := time.Parse("20060102T150405.000Z", stamp); err != nil {
			continue
		}
		rotated = append(rotated, n.Name())
	}
	slices.Sort(rotated) // by time
	for i, name := range rotated {
		path := filepath.Join(dir, name)
		switch {
		case s.cfg.Keep > 0 && i < len(rotated)-s.cfg.Keep:
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("removing a rotated file: %w", err)
			}
		case *s.cfg.Gzip && !strings.HasSuffix(name, ".gz"):
			if err := compress(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// compress replaces a file by its gzip, whole: a crash leaves the one, or both.
func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("compressing %s: %w", path, err)
	}
	defer in.Close()
	out, err := os.OpenFile(path+".gz.tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("compressing %s: %w", path, err)
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close()); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(path+".gz.tmp", path+".gz")
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("compressing %s: %w", path, errors.Join(err, ignoreMissing(os.Remove(path+".gz.tmp"))))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close implements Sink.
func (s *fileSink) Close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.cfg.Path, err)
	}
	return nil
}
