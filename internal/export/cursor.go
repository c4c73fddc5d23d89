package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// cursor is where a sink is. It is written after the receiver has taken what lies before it; a crash before that repeats a batch.
type cursor struct {
	Version int    `json:"v"` // 1 (2026-11)
	Log     string `json:"log"`
	Next    uint64 `json:"next"`           // index of the next entry
	Leaf    string `json:"leaf,omitempty"` // leaf hash of the entry before it, in base64: a cursor of another history shows
}

// state is the directory of one configuration's cursors, dead letters and status files; 0700.
type state string

func (s state) path(sink, suffix string) string { return filepath.Join(string(s), sink+suffix) }

// lock makes this process the only one that exports to a sink.
func (s state) lock(sink string) (unlock func() error, err error) {
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory of exports: %w", err)
	}
	unlock, err = durable.Lock(s.path(sink, ".lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("sink %s: %w", sink, ErrBusy)
	}
	return unlock, err
}

// load reads a sink's cursor; ok is false for a new sink.
func (s state) load(sink string) (c cursor, ok bool, err error) {
	raw, err := os.ReadFile(s.path(sink, ".cursor.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return cursor{}, false, nil
	}
	if err != nil {
		return cursor{}, false, fmt.Errorf("reading the cursor of %s: %w", sink, err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return cursor{}, false, fmt.Errorf("reading the cursor of %s: %w (remove the file to export from the start again)", sink, err)
	}
	if c.Version != 1 {
		return cursor{}, false, fmt.Errorf("reading the cursor of %s: it has version %d, this build reads version 1; use a newer bailiwick", sink, c.Version)
	}
	return c, true, nil
}

func (s state) save(sink string, c cursor) error {
	c.Version = 1
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing the cursor of %s: %w", sink, err)
	}
	if err := durable.WriteFile(s.path(sink, ".cursor.json"), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the cursor of %s: %w", sink, err)
	}
	return nil
}

// belongs checks that a cursor is of this log: same name, not behind it, and the entry before the cursor is the one that was exported.
func (c cursor) belongs(log Log) error {
	size, err := log.Size()
	if err != nil {
		return err
	}
	switch {
	case c.Log != log.Origin():
		return fmt.Errorf("%w: it is of %q, this log is %q", ErrDiverged, c.Log, log.Origin())
	case c.Next > size:
		return fmt.Errorf("%w: %d entries were exported, the log has %d", ErrDiverged, c.Next, size)
	case c.Next == 0 || c.Leaf == "":
		return nil
	}
	want, err := tlog.ParseHash(c.Leaf)
	if err != nil {
		return fmt.Errorf("reading a cursor: %w", err)
	}
	if have, ok := log.Leaf(c.Next - 1); ok && have != want {
		return fmt.Errorf("%w: entry %d is not the one that was exported", ErrDiverged, c.Next-1)
	}
	return nil
}
