package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Status is how a sink does.
type Status struct {
	Name          string    `json:"name"`
	Type          string    `json:"type"`
	Format        Format    `json:"format"`
	State         string    `json:"state"`          // running, retrying, held (its operator must mend something), stopped, diverged
	Next          uint64    `json:"next"`           // index of the next entry to export
	Behind        uint64    `json:"behind"`         // sealed entries not exported yet
	BehindSeconds float64   `json:"behind_seconds"` // age of the oldest of them; 0 when there is none
	Delivered     uint64    `json:"delivered"`      // messages since the exporter started
	Dead          int       `json:"dead_letters"`   // waiting for `audit export retry`
	Failures      uint64    `json:"failures"`       // tries that failed since the exporter started
	LastSuccess   time.Time `json:"last_success,omitzero"`
	LastError     string    `json:"last_error,omitempty"` // empty when the last try succeeded
	LastErrorAt   time.Time `json:"last_error_at,omitzero"`
	Updated       time.Time `json:"updated,omitzero"` // when an exporter last wrote this; zero: none has run
}

// tracker keeps a sink's status. Its pump writes, anybody reads.
type tracker struct {
	mu   sync.Mutex // covers the following
	now  Status
	save func(Status) // keeps it for `audit export status`; bounded to once in a second
	last time.Time    // when it was saved
}

func (t *tracker) change(f func(*Status)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.now.State
	f(&t.now)
	t.now.Updated = time.Now().UTC()
	if t.save != nil && (time.Since(t.last) > time.Second || t.now.State != before) {
		t.last = time.Now()
		t.save(t.now)
	}
}

func (t *tracker) moved(next uint64, sent int) {
	t.change(func(s *Status) { s.Next, s.State, s.Delivered = next, "running", s.Delivered+uint64(sent) })
}

func (t *tracker) delivered(next uint64, sent, dead int) {
	t.change(func(s *Status) {
		s.Next, s.State, s.Delivered, s.Dead = next, "running", s.Delivered+uint64(sent), s.Dead+dead
		s.LastSuccess, s.LastError, s.LastErrorAt = time.Now().UTC(), "", time.Time{}
	})
}

func (t *tracker) idle(uint64) {
	t.change(func(s *Status) { s.State = "running" })
}

func (t *tracker) failed(err error) {
	t.change(func(s *Status) {
		s.State, s.Failures = "retrying", s.Failures+1
		if errors.Is(err, errHold) {
			s.State = "held"
		}
		s.LastError, s.LastErrorAt = clip(err.Error()), time.Now().UTC()
	})
}

func (t *tracker) ended(err error) {
	t.change(func(s *Status) {
		s.State = "stopped"
		if errors.Is(err, ErrDiverged) {
			s.State = "diverged"
		}
		if err != nil {
			s.LastError, s.LastErrorAt = clip(err.Error()), time.Now().UTC()
		}
	})
}

func (t *tracker) get() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// lag fills in how far a status is behind its log.
func (s *Status) lag(log Log, now time.Time) error {
	size, err := log.Size()
	if err != nil {
		return err
	}
	s.Behind, s.BehindSeconds = 0, 0
	if size > s.Next {
		s.Behind = size - s.Next
		if at := log.Time(s.Next); !at.IsZero() && now.After(at) {
			s.BehindSeconds = now.Sub(at).Seconds()
		}
	}
	return nil
}

// ReadStatus tells how the sinks of a configuration do, from their cursors and what the exporter last wrote. It needs no exporter to run.
func ReadStatus(cfg Config, log Log, now time.Time) ([]Status, error) {
	st := state(cfg.State)
	var all []Status
	for _, c := range cfg.Sinks {
		s := Status{Name: c.Name, Type: c.Type, Format: c.Format, State: "never ran"}
		if raw, err := os.ReadFile(st.path(c.Name, ".status.json")); err == nil {
			if err := json.Unmarshal(raw, &s); err != nil {
				return nil, fmt.Errorf("reading the status of %s: %w", c.Name, err)
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the status of %s: %w", c.Name, err)
		}
		s.Name, s.Type, s.Format = c.Name, c.Type, c.Format
		at, known, err := st.load(c.Name)
		if err != nil {
			return nil, err
		}
		if known {
			s.Next = at.Next
			if err := at.belongs(log); err != nil {
				if !errors.Is(err, ErrDiverged) {
					return nil, err
				}
				s.State, s.LastError = "diverged", err.Error()
			}
		}
		if s.State != "diverged" && s.State != "never ran" {
			// Whoever was killed could not say that it stopped.
			if unlock, err := st.lock(c.Name); err == nil {
				s.State = "stopped"
				_ = unlock()
			}
		}
		if err := s.lag(log, now); err != nil {
			return nil, err
		}
		dead, err := st.buried(c.Name)
		if err != nil {
			return nil, err
		}
		s.Dead = len(dead)
		all = append(all, s)
	}
	return all, nil
}

// keep returns what writes a status file. That one can't be written is no reason to stop exporting.
func (s state) keep(sink string) func(Status) {
	return func(status Status) {
		if raw, err := json.Marshal(status); err == nil {
			_ = durable.WriteFile(s.path(sink, ".status.json"), append(raw, '\n'), 0o600)
		}
	}
}
