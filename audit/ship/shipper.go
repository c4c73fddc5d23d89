package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
)

// Config are the settings of a Shipper.
type Config struct {
	Journal    string                 // the journal's directory; the gate's process writes it, this one or another
	URL        string                 // of the control plane; https, or http on loopback
	Gate       string                 // default: the one that the journal's first entry names
	Token      func() (string, error) // bearer token, asked for before each request
	Interval   time.Duration          // how often to look for new entries; default 200 ms
	BatchBytes int                    // about the size of a request; default 1 MiB, at most MaxBatch/2
	Client     *http.Client           // default one with a timeout of 30 s
	Logger     *slog.Logger           // default discards
}

// ErrDiverged is wrapped by the error with which Run gives up: the control plane has another past of this journal than the journal itself.
// Nobody but an operator can tell which is right.
var ErrDiverged = errors.New("journal and replica diverge")

// Status is how far a Shipper is.
type Status struct {
	Shipped uint64    // entries that the control plane has confirmed
	Since   time.Time // when that was confirmed last; zero: never
	Error   string    // why the last try failed; empty when it did not
}

// Shipper sends a journal to the control plane. It keeps no state of its own: the receiver says where to go on.
type Shipper struct {
	cfg    Config
	base   string
	mu     sync.Mutex // covers status
	status Status
}

// New checks the settings.
func New(cfg Config) (*Shipper, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("starting shipper: %q is not the URL of a control plane", cfg.URL)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !netaddr.Loopback(u.Hostname())) {
		return nil, fmt.Errorf("starting shipper: %s is not https, which is needed beyond this machine", cfg.URL)
	}
	if cfg.Journal == "" || cfg.Token == nil {
		return nil, errors.New("starting shipper: it needs a journal's directory and a token")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 200 * time.Millisecond
	}
	if cfg.BatchBytes <= 0 {
		cfg.BatchBytes = 1 << 20
	}
	cfg.BatchBytes = min(cfg.BatchBytes, MaxBatch/2)
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Shipper{cfg: cfg, base: strings.TrimRight(cfg.URL, "/") + "/v1/journal/"}, nil
}

// Status may be called at any time.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 30 * time.Second
)

// Run ships until ctx ends (nil) or the pasts diverge (ErrDiverged). Other errors are logged and tried again, with growing pauses.
func (s *Shipper) Run(ctx context.Context) error {
	pause := firstPause
	for {
		shipped := s.Status().Shipped
		err := s.ship(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.note(err)
		if errors.Is(err, ErrDiverged) {
			return err
		}
		if s.Status().Shipped > shipped {
			pause = firstPause
		}
		s.cfg.Logger.WarnContext(ctx, "journal can't be shipped; trying again", "after", pause, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2)): // many gates must not come back at once
		}
		pause = min(2*pause, maxPause)
	}
}

func (s *Shipper) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Error = err.Error()
}

func (s *Shipper) confirmed(next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = Status{Shipped: next, Since: time.Now()}
}

// ship asks where to go on and sends from there until something fails.
func (s *Shipper) ship(ctx context.Context) error {
	gate, err := s.gate(ctx)
	if err != nil {
		return err
	}
	at, err := s.call(ctx, http.MethodGet, gate, 0, nil)
	if err != nil {
		return err
	}
	r, err := s.position(gate, at)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	s.confirmed(at.Next)
	next := at.Next
	for {
		batch, count, err := s.read(r, next)
		if err != nil {
			return err
		}
		if count == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(s.cfg.Interval):
			}
			continue
		}
		got, err := s.call(ctx, http.MethodPost, gate, next, batch)
		if err != nil {
			return err
		}
		if got.Next != next+count {
			return fmt.Errorf("shipping entries %d to %d: the control plane counts %d", next, next+count-1, got.Next)
		}
		next = got.Next
		s.confirmed(next)
	}
}

// gate finds the journal's name, waiting for its first entry.
func (s *Shipper) gate(ctx context.Context) (string, error) {
	for s.cfg.Gate == "" {
		name, err := audit.GateOf(s.cfg.Journal)
		if err != nil {
			return "", err
		}
		if name != "" {
			return name, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(s.cfg.Interval):
		}
	}
	return s.cfg.Gate, nil
}

// position opens the journal where the replica ends, after comparing the entry before.
func (s *Shipper) position(gate string, at position) (*audit.Reader, error) {
	first, _, err := audit.First(s.cfg.Journal)
	if err != nil {
		return nil, err
	}
	if first > at.Next {
		return nil, fmt.Errorf("%w: the journal begins at entry %d, and the control plane has those of gate %q before %d: what is between was pruned here and never shipped",
			ErrDiverged, first, gate, at.Next)
	}
	if at.Next == 0 || first == at.Next || at.Last == (tlog.Hash{}) {
		return audit.OpenReader(s.cfg.Journal, at.Next)
	}
	r, err := audit.OpenReader(s.cfg.Journal, at.Next-1)
	if err != nil {
		return nil, err
	}
	_, raw, err := r.Next()
	switch {
	case errors.Is(err, io.EOF):
		if n, known := r.Acknowledged(); known {
			err = fmt.Errorf("%w: the control plane has %d entries of gate %q, the journal only %d: it was rolled back, or another gate has its name", ErrDiverged, at.Next, gate, n)
		} else {
			err = fmt.Errorf("there is no journal in %s yet", s.cfg.Journal)
		}
	case err == nil && tlog.RecordHash(raw) != at.Last:
		err = fmt.Errorf("%w: entry %d of gate %q is another one at the control plane: the journal was rewritten, or another gate has its name", ErrDiverged, at.Next-1, gate)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// read frames the entries from next on, as many as make a batch.
func (s *Shipper) read(r *audit.Reader, next uint64) (batch []byte, count uint64, err error) {
	for len(batch) < s.cfg.BatchBytes {
		seq, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if seq != next+count {
			return nil, 0, fmt.Errorf("reading journal: entry %d came where %d was expected", seq, next+count)
		}
		if batch, err = audit.AppendRecord(batch, seq, raw); err != nil {
			return nil, 0, err
		}
		count++
	}
	return batch, count, nil
}

// call makes one request.
func (s *Shipper) call(ctx context.Context, method, gate string, from uint64, body []byte) (position, error) {
	target := s.base + url.PathEscape(gate)
	if method == http.MethodPost {
		target += "?from=" + strconv.FormatUint(from, 10)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return position{}, fmt.Errorf("shipping: %w", err)
	}
	token, err := s.cfg.Token()
	if err != nil {
		return position{}, fmt.Errorf("shipping: reading the token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return position{}, fmt.Errorf("shipping: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return position{}, fmt.Errorf("shipping: reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var p problem
		_ = json.Unmarshal(raw, &p)
		if p.Code == codeRewritten {
			return position{}, fmt.Errorf("%w: %s", ErrDiverged, p.Detail)
		}
		return position{}, fmt.Errorf("shipping: the control plane answered %s %s: %.200s", resp.Status, p.Code, p.Detail)
	}
	var at position
	if err := json.Unmarshal(raw, &at); err != nil {
		return position{}, fmt.Errorf("shipping: reading the answer: %w", err)
	}
	return at, nil
}
