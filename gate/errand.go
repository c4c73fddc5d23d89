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

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// errandVersion is the integer version of the files. History: 1 (2026-11) first; 2 (2026-11) what is personal may be sealed.
const errandVersion = 2

// errand is what Temporal does later in somebody's name: the starts of a schedule, what a batch does. It is known by the id of the decision
// that allowed it, which the statement in the schedule's header carries and the signature of a batch.
type errand struct {
	Version    int       `json:"v"`
	ID         string    `json:"id"`
	Namespace  string    `json:"namespace"`
	ScheduleID string    `json:"schedule_id,omitempty"` // empty: a batch
	At         time.Time `json:"at"`
	Sealed     string    `json:"sealed,omitempty"` // the sender, encrypted (Config.Seal); then the rest is empty
	sender
}

// sender is who sent Temporal on an errand, and how they did.
type sender struct {
	Claims identity.Claims `json:"claims,omitzero"` // what the token said
	Reason string          `json:"reason,omitempty"`
	Grant  string          `json:"grant,omitempty"`
	Source netip.Addr      `json:"source,omitzero"`
}

// Sealer encrypts what the gate keeps about people in files, so that erasing somebody makes it unreadable; internal/privacy's Store does.
type Sealer interface {
	// Seal encrypts JSON about who under a name, or returns "" when nobody in it is a person.
	Seal(name string, who audit.Party, plain []byte) (sealed string, err error)
	// Unseal returns what was sealed under this name; erased: it is about somebody who was erased since.
	Unseal(name, sealed string) (plain []byte, erased bool, err error)
}

// errErased is why an errand can't be told: its sender's data were erased.
var errErased = errors.New("the data of whoever it is of have been erased")

const (
	batchKeep  = 7 * 24 * time.Hour // Temporal's batches end long before
	errandFile = ".json"
)

// errands keeps them, in memory and one to a file, sealed if there is a sealer. A crash before the file is written leaves a call that was refused, one afterwards an
// errand that Temporal may not know: it does no harm and goes with the schedule, or with time.
type errands struct {
	dir   string // "": in memory only
	seal  Sealer // nil: in the clear
	clock func() time.Time

	mu    sync.Mutex // covers known and what is in dir
	known map[string]*errand
}

// openErrands reads what is kept. A file that can't be read is an error: its schedule would silently stop.
// What was kept in the clear from before there was a sealer is sealed.
func openErrands(dir string, seal Sealer, clock func() time.Time) (*errands, error) {
	s := &errands{dir: dir, seal: seal, clock: clock, known: map[string]*errand{}}
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
		e := parseErrand(raw, id)
		if e == nil {
			return nil, fmt.Errorf("reading an errand: %s is not one of version %d; restore it, or remove it and let its schedule be saved again", filepath.Join(dir, f.Name()), errandVersion)
		}
		s.known[id] = e
		if protected, err := s.protect(e); err != nil {
			return nil, err
		} else if protected.Sealed != e.Sealed {
			if err := s.write(protected); err != nil {
				return nil, err
			}
		}
	}
	s.sweep()
	return s, nil
}

// parseErrand reads what is kept under an id; nil: it is not that.
func parseErrand(raw []byte, id string) *errand {
	var e errand
	if json.Unmarshal(raw, &e) != nil || e.Version < 1 || e.Version > errandVersion || e.ID != id {
		return nil
	}
	return &e
}

// decisionID is what may become a file name.
var decisionID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// keep makes an errand durable.
func (s *errands) keep(e *errand) error {
	if !decisionID.MatchString(e.ID) {
		return errors.New("keeping an errand: its id is not a decision's")
	}
	protected, err := s.protect(e)
	if err != nil {
		return err
	}
	return s.write(protected)
}

// protect returns the errand with its sender sealed, if there is a sealer and the sender is a person.
func (s *errands) protect(e *errand) (*errand, error) {
	if s.seal == nil || e.Sealed != "" {
		return e, nil
	}
	raw, err := json.Marshal(e.sender)
	if err != nil {
		return nil, fmt.Errorf("keeping an errand: %w", err)
	}
	sealed, err := s.seal.Seal(e.ID, newPerson(&e.Claims).party, raw)
	if err != nil {
		return nil, fmt.Errorf("keeping an errand: %w", err)
	}
	if sealed == "" {
		return e, nil
	}
	protected := *e
	protected.Version, protected.Sealed, protected.sender = errandVersion, sealed, sender{}
	return &protected, nil
}

func (s *errands) write(e *errand) error {
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

// of finds an errand, or nil. errErased: it is there, and its sender was erased.
func (s *errands) of(id, namespace string) (*errand, error) {
	e := s.find(id)
	if e == nil || e.Namespace != namespace {
		return nil, nil
	}
	if e.Sealed == "" {
		return e, nil
	}
	if s.seal == nil {
		return nil, errors.New("reading an errand: it is encrypted, and this gate has no keys (privacy_dir)")
	}
	raw, erased, err := s.seal.Unseal(id, e.Sealed)
	if erased {
		return nil, errErased
	}
	opened := *e
	if err == nil {
		err = json.Unmarshal(raw, &opened.sender)
	}
	if err != nil {
		return nil, fmt.Errorf("reading an errand: %w", err)
	}
	return &opened, nil
}

// find finds an errand as it is kept, or nil. Another gate of the same cluster may have kept it meanwhile in the same directory.
func (s *errands) find(id string) *errand {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[id]
	if ok && s.dir != "" {
		// Whoever removes the file, to stop a schedule, need not start the gate anew.
		if _, err := os.Stat(s.path(id)); errors.Is(err, os.ErrNotExist) {
			delete(s.known, id)
			return nil
		}
	}
	if !ok && s.dir != "" && decisionID.MatchString(id) {
		if raw, err := os.ReadFile(s.path(id)); err == nil {
			if e = parseErrand(raw, id); e != nil {
				s.known[id] = e
			}
		}
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
		sender: sender{Claims: *a.person.claims, Reason: a.reason, Grant: a.grant, Source: a.source},
	}
}
