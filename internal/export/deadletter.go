package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// DeadLetter says which entry a sink refused for good, and why. It names the entry and does not hold it: the log has it, and what is erased
// there is gone here too.
type DeadLetter struct {
	Index uint64    `json:"index"`
	ID    string    `json:"id,omitempty"`
	Code  string    `json:"code"` // http_400, grpc_InvalidArgument, partial, too_large, malformed, …
	Text  string    `json:"text,omitempty"`
	At    time.Time `json:"at"`
}

// bury appends dead letters durably. The file is opened for each, since `audit export retry` takes it away.
func (s state) bury(sink string, dead []DeadLetter) (err error) {
	if len(dead) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, d := range dead {
		raw, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("writing a dead letter: %w", err)
		}
		b.Write(append(raw, '\n'))
	}
	return s.withDead(sink, func() error {
		f, err := os.OpenFile(s.path(sink, ".dead.jsonl"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("writing dead letters: %w", err)
		}
		end, err := wholeLines(f)
		if err == nil {
			_, err = f.WriteAt(b.Bytes(), end)
		}
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = durable.SyncDir(string(s))
		}
		if err != nil {
			return fmt.Errorf("writing dead letters: %w", err)
		}
		return nil
	})
}

// withDead runs f while nobody else changes the dead letters. Others hold the lock for moments only.
func (s state) withDead(sink string, f func() error) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		unlock, err := durable.Lock(s.path(sink, ".dead.lock"))
		if errors.Is(err, durable.ErrLocked) && time.Since(began) < 10*time.Second {
			continue
		}
		if err != nil {
			return fmt.Errorf("locking dead letters: %w", err)
		}
		return errors.Join(f(), unlock())
	}
}

// wholeLines returns where a file's last whole line ends, and cuts what a crash left behind it.
func wholeLines(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := info.Size()
	buf := make([]byte, 4096)
	for end > 0 {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end += int64(i) + 1 - n
			break
		}
		end -= n
	}
	if end < info.Size() {
		return end, f.Truncate(end)
	}
	return end, nil
}

// buried reads the dead letters of a sink: those waiting, and those that a retry that was cut short had taken.
func (s state) buried(sink string) ([]DeadLetter, error) {
	var all []DeadLetter
	for _, suffix := range []string{".retrying.jsonl", ".dead.jsonl"} {
		dead, err := readDead(s.path(sink, suffix))
		if err != nil {
			return nil, err
		}
		all = append(all, dead...)
	}
	return all, nil
}

func readDead(path string) ([]DeadLetter, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading dead letters: %w", err)
	}
	defer f.Close()
	var all []DeadLetter
	for in := bufio.NewScanner(f); in.Scan(); {
		var d DeadLetter
		if err := json.Unmarshal(in.Bytes(), &d); err != nil {
			continue // a line that a crash cut short: its batch was not acknowledged and came again
		}
		all = append(all, d)
	}
	return all, nil
}

// exhume takes the dead letters away for a retry. Until done is called they are in a file of their own, which the next retry takes up: a
// crash repeats some and loses none.
func (s state) exhume(sink string) (dead []DeadLetter, done func() error, err error) {
	taken := s.path(sink, ".retrying.jsonl")
	err = s.withDead(sink, func() error {
		if _, err := os.Stat(taken); errors.Is(err, fs.ErrNotExist) {
			err := os.Rename(s.path(sink, ".dead.jsonl"), taken)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("taking dead letters: %w", err)
			}
		}
		return durable.SyncDir(string(s))
	})
	if err != nil {
		return nil, nil, err
	}
	dead, err = readDead(taken)
	return dead, func() error {
		if err := os.Remove(taken); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing retried dead letters: %w", err)
		}
		return durable.SyncDir(string(s))
	}, err
}
