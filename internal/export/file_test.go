package export

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// indexesIn reads the indexes of a file's lines, of all that is in it.
func indexesIn(t *testing.T, path string, got *counted) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	for line := range bytes.Lines(raw) {
		if line[len(line)-1] != '\n' {
			t.Errorf("%s ends inside a line", path)
		}
		got.add(indexOf(t, line))
	}
}

// tightFiles is a disk with so many bytes left.
type tightFiles struct{ left atomic.Int64 }

type tightFile struct {
	appendFile
	disk *tightFiles
}

func (d *tightFiles) OpenAppend(path string) (appendFile, error) {
	f, err := osFiles{}.OpenAppend(path)
	return &tightFile{f, d}, err
}

func (f *tightFile) Write(b []byte) (int, error) {
	left := f.disk.left.Load()
	if int64(len(b)) <= left {
		f.disk.left.Add(-int64(len(b)))
		return f.appendFile.Write(b)
	}
	n, _ := f.appendFile.Write(b[:left]) // a half line, as a full disk leaves it
	f.disk.left.Store(0)
	return n, syscall.ENOSPC
}

// A full disk: the batch waits, no half line stays, and all are there once there is room.
func TestFileDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	cfg := config(t, SinkConfig{Type: "file", Batch: BatchConfig{Entries: 7}, File: &FileConfig{Path: path}})
	x, err := New(cfg, Options{Log: newMemoryLog(t, decisions(40)...)})
	if err != nil {
		t.Fatal(err)
	}
	disk := &tightFiles{}
	disk.left.Store(20_000)
	if x.pumps[0].sink, err = newFileSink(*cfg.Sinks[0].File, disk, time.Now); err != nil {
		t.Fatal(err)
	}
	r := startIt(t, x)
	until(t, "a failure", func() bool { return r.status(t).Failures > 0 })
	s := r.status(t)
	if s.Next == 0 || s.Next >= 40 || !strings.Contains(s.LastError, "no space") {
		t.Errorf("%+v", s)
	}
	var half counted
	indexesIn(t, path, &half)
	if half.len() != int(s.Next) || half.most() != 1 {
		t.Errorf("%d whole entries, cursor at %d", half.len(), s.Next)
	}
	disk.left.Store(1 << 20)
	until(t, "all entries", func() bool { return r.status(t).Next == 40 })
	var got counted
	indexesIn(t, path, &got)
	if got.len() != 40 || got.most() != 1 {
		t.Errorf("%v", got.times)
	}
}

// Rotation by size and by age; what a crash left uncompressed is compressed; what is beyond keep goes, and nothing else.
func TestFileRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	bystander := filepath.Join(dir, "audit-notes.jsonl")
	left := filepath.Join(dir, "audit-20260101T000000.000Z-0.jsonl")
	for _, p := range []string{bystander, left} {
		if err := os.WriteFile(p, []byte("{\"index\":9000}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	s, err := newFileSink(FileConfig{Path: path, MaxBytes: 5000, MaxAge: time.Hour, Keep: 3, Gzip: new(true)}, osFiles{}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	send := func(i int) {
		t.Helper()
		e := decision(i, true)
		raw, _ := e.Marshal()
		m, err := FormatOCSF.message(&Event{Index: uint64(i), Raw: raw, Entry: e})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), []Message{m}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	for i := range 5 {
		send(i) // some 1.4 kB each: rotated at the fifth
	}
	if _, err := os.Stat(left + ".gz"); err != nil {
		t.Error("what a crash left is not compressed")
	}
	now = now.Add(2 * time.Hour)
	send(5) // by age
	var got counted
	rotated, _ := filepath.Glob(filepath.Join(dir, "audit-2026*"))
	if len(rotated) != 3 {
		t.Errorf("rotated: %v", rotated)
	}
	for _, p := range append(rotated, path) {
		indexesIn(t, p, &got)
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", p, info.Mode(), err)
		}
	}
	if got.len() != 7 || got.most() != 1 {
		t.Errorf("%v", got.times)
	}
	now = now.Add(2 * time.Hour)
	send(6)
	if rotated, _ = filepath.Glob(filepath.Join(dir, "audit-2026*")); len(rotated) != 3 {
		t.Errorf("more than three are kept: %v", rotated)
	}
	if _, err := os.Stat(left + ".gz"); err == nil {
		t.Error("the oldest was not the one that went")
	}
	if _, err := os.Stat(bystander); err != nil {
		t.Error("a file of somebody else's went")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A line that a crash cut short is cut away, and its entry comes again.
func TestFileTornLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	cfg := config(t, SinkConfig{Type: "file", File: &FileConfig{Path: path}})
	log := newMemoryLog(t, decisions(3)...)
	r := start(t, cfg, Options{Log: log})
	until(t, "three", func() bool { return r.status(t).Next == 3 })
	r.stop(t)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"half":"` + strings.Repeat("x", 10_000)); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	log.add(t, decision(3, true))
	r = start(t, cfg, Options{Log: log})
	until(t, "four", func() bool { return r.status(t).Next == 4 })
	var got counted
	indexesIn(t, path, &got)
	if got.len() != 4 || got.most() != 1 {
		t.Errorf("%v", got.times)
	}
	if _, err := New(cfg, Options{Log: log}); !errors.Is(err, ErrBusy) {
		t.Errorf("two exporters at once: %v", err)
	}
}
