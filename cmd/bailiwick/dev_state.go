package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stateDir is the directory in which a development environment keeps everything. One process at a time uses it.
//
//	org/       the org's database, and the server's configuration, which holds a client secret of the org
//	temporal/  the server's database and certificates
//	keys/      signing keys of attestations and of the log, the worker's own key
//	policy/    roles.yaml and *.cedar: yours to edit
//	journal/   decisions as they are made, journal-control/ those of the control plane, replicas/ those of remote gates; log/ all of them, sealed
//	standing/  grants and revocations, as the control plane publishes them
//	logs/      what the parts print
type stateDir struct {
	dir  string
	lock *os.File
}

func (s stateDir) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// openState makes the directory, proves that it can be written, and locks it.
func openState(dir string) (stateDir, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return stateDir{}, fmt.Errorf("finding the state directory: %w", err)
	}
	s := stateDir{dir: abs}
	unusable := func(err error) error {
		return &coded{Code: "state_not_writable", Text: fmt.Sprintf("the state directory %s can't be used: %v", abs, err), Fix: "make it writable, or choose another with --state", Path: abs}
	}
	if strings.ContainsAny(abs, "?#%") {
		return s, &coded{Code: "state_not_usable", Text: fmt.Sprintf("the state directory %s has one of ? # %% in its name, which SQLite reads as parts of a URI", abs), Fix: "choose another with --state", Path: abs}
	}
	for _, sub := range []string{"", "org", "temporal", "keys", "journal", "journal-control", "log", "logs"} {
		if err := os.MkdirAll(s.path(sub), 0o700); err != nil {
			return s, unusable(err)
		}
	}
	probe, err := os.CreateTemp(abs, ".probe-*")
	if err != nil {
		return s, unusable(err)
	}
	probe.Close()
	os.Remove(probe.Name())
	// Keys and databases in a source tree must not be committed by accident.
	if err := os.WriteFile(s.path(".gitignore"), []byte("*\n"), 0o600); err != nil {
		return s, unusable(err)
	}
	s.lock, err = os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return s, unusable(err)
	}
	if err := tryLock(s.lock); err != nil {
		defer s.lock.Close()
		if !errors.Is(err, errLocked) {
			return s, unusable(err)
		}
		raw := make([]byte, 20)
		n, _ := s.lock.ReadAt(raw, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(raw[:n])))
		return s, &coded{Code: "state_in_use", Text: fmt.Sprintf("another `bailiwick dev` (pid %d) uses the state directory %s", pid, abs),
			Fix: "stop it, or choose another directory with --state", Path: abs, PID: pid}
	}
	if err := s.lock.Truncate(0); err != nil {
		return s, unusable(err)
	}
	if _, err := s.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return s, unusable(err)
	}
	return s, nil
}

// unlock gives the directory free. The lock file stays: removing it would let two in.
func (s stateDir) unlock() {
	if s.lock != nil {
		s.lock.Close()
	}
}

// findBeside finds a program of ours: beside this one, else on PATH.
func findBeside(name string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		if path := filepath.Join(filepath.Dir(self), name+exeSuffix); runnable(path) {
			return path, nil
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, name+exeSuffix); filepath.IsAbs(path) && runnable(path) {
			return path, nil
		}
	}
	return "", &coded{Code: "temporal_missing", Text: fmt.Sprintf("%s is neither beside this program nor on PATH", name), Fix: "run `make build`, or name it with --temporal FILE"}
}

func runnable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
