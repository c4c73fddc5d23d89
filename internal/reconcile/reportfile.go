package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// fileTime is how the end of a report's span stands in its file's name, UTC: names sort by time.
const fileTime = "20060102T150405Z"

// FileName is the name of the report whose span ends at to.
func FileName(to time.Time) string { return "reconcile-" + to.UTC().Format(fileTime) + ".json" }

// save writes a report to its file in dir, whole or not at all, and returns the file's name and SHA-256 in hex.
func save(dir string, r *Report) (name, digest string, err error) {
	wrap := func(err error) error { return fmt.Errorf("writing the report: %w", err) }
	raw, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return "", "", wrap(err)
	}
	raw = append(raw, '\n')
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", wrap(err)
	}
	name = filepath.Join(dir, FileName(r.To))
	if err := os.WriteFile(name+".tmp", raw, 0o600); err != nil {
		return "", "", wrap(err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return "", "", wrap(err)
	}
	sum := sha256.Sum256(raw)
	return name, hex.EncodeToString(sum[:]), nil
}

// ErrNotTheReport says that a report's file is not what was recorded.
var ErrNotTheReport = errors.New("the file is not the report that was recorded: its digest differs")

// ReadReport reads the report whose span ends at to from dir, and holds it against the digest that the log has. A missing file is fs.ErrNotExist.
func ReadReport(dir string, to time.Time, digest string) (*Report, error) {
	raw, err := os.ReadFile(filepath.Join(dir, FileName(to)))
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != digest {
		return nil, ErrNotTheReport
	}
	r := new(Report)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	return r, nil
}

// lastEnd is where the newest report in dir that ends before t ended; zero if there is none. It goes by names alone: which time is compared again
// is no matter of trust.
func lastEnd(dir string, t time.Time) (time.Time, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("listing reports: %w", err)
	}
	var last time.Time
	for _, f := range files {
		at, err := time.Parse("reconcile-"+fileTime+".json", f.Name())
		if err == nil && at.Before(t) && at.After(last) {
			last = at
		}
	}
	return last, nil
}
