package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// errandVersion is the integer version of the files. History: 1 (2026-11) first.
const errandVersion = 1

// errand is what Temporal does later in somebody's name: the starts of a schedule, what a batch does. It is known by the id of the decision
// that allowed it, which the statement in the schedule's header carries and the signature of a batch.
type errand struct {
	Version    int             `json:"v"`
	ID         string          `json:"id"`
	Namespace  string          `json:"namespace"`
	ScheduleID string          `json:"schedule_id,omitempty"` // empty: a batch
	At         time.Time       `json:"at"`
	Claims     identity.Claims `json:"claims"` // what the token said
	Reason     string          `json:"reason,omitempty"`
	Grant      string          `json:"grant,omitempty"`
	Source     netip.Addr      `json:"source,omitzero"`
}

const (
	batchKeep  = 7 * 24 * time.Hour // Temporal's batches end long before
	errandFile = ".json"
)

// errands keeps them, in memory and one to a file. A crash before the file is written leaves a call that was refused, one afterwards an
// errand that Temporal may not know: it does no harm and goes with the schedule, or with time.
type errands struct {
	dir   string // "": in memory only
	clock func() time.Time

	mu    sync.Mutex // covers known and what is in dir
	known map[string]*errand
}

// openErrands reads what is kept. A file that can't be read is an error: its schedule would silently stop.
func openErrands(dir string, clock func() time.Time) (*errands, error) {
	s := &errands{dir: dir, clock: clock, known: map[string]*errand{}}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of errands: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of errands: %w", err)
	}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), errandFile)
		if !ok {
			continue // what a crash left of an unfinished write
		}
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading an errand: %w", err)
		}
		var e errand
		if err := json.Unmarshal(raw, &e); err != nil || e.Version != errandVersion || e.ID != id {
			return nil, fmt.Errorf("reading an errand: %s is not one of version %d; restore it, or remove it and let its schedule be saved again", filepath.Join(dir, f.Name()), errandVersion)
		}
		s.known[id] = &e
	}
	s.sweep()
	return s, nil
}

// decisionID is what may become a file name.
var decisionID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// keep makes an errand durable.
func (s *errands) keep(e *errand) error {
	if !decisionID.MatchString(e.ID) {
		return errors.New("keeping an errand: its id is not a decision's")
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("keeping an errand: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != "" {
		if err := durable.WriteFile(s.path(e.ID), raw, 0o600); err != nil {
			return fmt.Errorf("keeping an errand: %w", err)
		}
	}
	s.known[e.ID] = e
	if e.ScheduleID == "" {
		s.sweep()
	}
	return nil
}

// of finds an errand, or nil. Another gate of the same cluster may have kept it meanwhile in the same directory.
func (s *errands) of(id, namespace string) *errand {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[id]
	if ok && s.dir != "" {
		// Whoever removes the file, to stop a schedule or because its creator's data must go, need not start the gate anew.
		if _, err := os.Stat(s.path(id)); errors.Is(err, os.ErrNotExist) {
			delete(s.known, id)
			e, ok = nil, false
		}
	}
	if !ok && s.dir != "" && decisionID.MatchString(id) {
		raw, err := os.ReadFile(s.path(id))
		var read errand
		if err == nil && json.Unmarshal(raw, &read) == nil && read.Version == errandVersion && read.ID == id {
			s.known[id], e = &read, &read
		}
	}
	if e == nil || e.Namespace != namespace {
		return nil
	}
	return e
}

// drop forgets what was kept for a schedule: all of it, or what is older than the errand in force.
func (s *errands) drop(namespace, scheduleID string, before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.known {
		if e.Namespace == namespace && e.ScheduleID == scheduleID && (before.IsZero() || e.At.Before(before)) {
			s.remove(id)
		}
	}
}

// sweep removes batches that are over. It wants mu, or a store that nobody else has yet.
func (s *errands) sweep() {
	old := s.clock().Add(-batchKeep)
	for id, e := range s.known {
		if e.ScheduleID == "" && e.At.Before(old) {
			s.remove(id)
		}
	}
}

// remove forgets one. A file that can't be removed comes back at the next start, and is found to be needless again.
func (s *errands) remove(id string) {
	delete(s.known, id)
	if s.dir == "" {
		return
	}
	_ = os.Remove(s.path(id))
}

func (s *errands) path(id string) string { return filepath.Join(s.dir, id+errandFile) }

// errand is the errand that an admitted call sends Temporal on.
func (a *Admission) errand(scheduleID string) *errand {
	return &errand{
		Version: errandVersion, ID: a.id, Namespace: a.namespace, ScheduleID: scheduleID, At: a.at.UTC(),
		Claims: *a.person.claims, Reason: a.reason, Grant: a.grant, Source: a.source,
	}
}
