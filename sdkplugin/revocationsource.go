package sdkplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// RevocationSourceConfig says where a worker asks who has lost access.
type RevocationSourceConfig struct {
	URL         string        // the control plane's /v1/standing/revoked; https, or http on loopback
	Credentials Credentials   // the worker's own: whoever may take tasks there may ask
	Namespace   string        // where the worker takes tasks
	TaskQueue   string        // the same; needed where the worker's rights are for some queues alone
	MaxAge      time.Duration // how long an answer is used. Default and most: 2 s
	MaxStale    time.Duration // how long an answer is used while the control plane can't be asked. Default 15 s

	HTTPClient *http.Client     // default: a client with a timeout of 5 s
	Clock      func() time.Time // default time.Now
}

const (
	revocationAge     = 2 * time.Second
	revocationStale   = 15 * time.Second
	revocationTimeout = 5 * time.Second
	revocationBytes   = 16 << 10
	maxRevocations    = 4096 // principals remembered
)

// RevocationSource asks the control plane, and remembers answers for two seconds. While it can't be reached, and has said nothing lately, nobody
// knows: what asks is held, not run. It is safe for concurrent use.
type RevocationSource struct {
	cfg RevocationSourceConfig

	mu    sync.Mutex // covers known
	known map[string]*standingOf
}

var _ Revocations = (*RevocationSource)(nil)

// standingOf is what is known of one principal.
type standingOf struct {
	asking  chan struct{} // holds a token while somebody asks
	mu      sync.Mutex    // covers the rest
	asked   time.Time     // when the answer was asked for; zero: never answered
	reason  string
	revoked bool
}

// NewRevocationSource checks the configuration. It does no I/O.
func NewRevocationSource(cfg RevocationSourceConfig) (*RevocationSource, error) {
	if err := checkURL(cfg.URL); err != nil {
		return nil, fmt.Errorf("making a source of revocations: URL: %w", err)
	}
	if cfg.Credentials == nil || cfg.Namespace == "" {
		return nil, errors.New("making a source of revocations: Credentials and Namespace are both required")
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = revocationAge
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = revocationStale
	}
	if cfg.MaxAge < 0 || cfg.MaxAge > revocationAge || cfg.MaxStale < cfg.MaxAge {
		return nil, fmt.Errorf("making a source of revocations: MaxAge is %s and MaxStale %s; the first is at most %s, and the second no less than the first", cfg.MaxAge, cfg.MaxStale, revocationAge)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: revocationTimeout}
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &RevocationSource{cfg: cfg, known: map[string]*standingOf{}}, nil
}

// Revoked implements Revocations.
func (s *RevocationSource) Revoked(ctx context.Context, principal string) (string, bool, error) {
	p := s.of(principal)
	if reason, revoked, ok := p.within(s.cfg.Clock(), s.cfg.MaxAge); ok {
		return reason, revoked, nil
	}
	select {
	case p.asking <- struct{}{}:
	case <-ctx.Done():
		return s.unreachable(p, ctx.Err())
	}
	defer func() { <-p.asking }()
	if reason, revoked, ok := p.within(s.cfg.Clock(), s.cfg.MaxAge); ok { // somebody else asked meanwhile
		return reason, revoked, nil
	}
	asked := s.cfg.Clock()
	reason, revoked, err := s.ask(ctx, principal)
	if err != nil {
		return s.unreachable(p, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.reason, p.revoked = asked, reason, revoked
	return reason, revoked, nil
}

// unreachable falls back on an answer that is not too old.
func (s *RevocationSource) unreachable(p *standingOf, err error) (string, bool, error) {
	if reason, revoked, ok := p.within(s.cfg.Clock(), s.cfg.MaxStale); ok {
		return reason, revoked, nil
	}
	return "", false, fmt.Errorf("asking the control plane who has lost access: %w", err)
}

func (s *RevocationSource) of(principal string) *standingOf {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.known[principal]
	if !ok {
		if len(s.known) >= maxRevocations {
			clear(s.known)
		}
		p = &standingOf{asking: make(chan struct{}, 1)}
		s.known[principal] = p
	}
	return p
}

func (p *standingOf) within(now time.Time, age time.Duration) (string, bool, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked.IsZero() || now.Sub(p.asked) > age {
		return "", false, false
	}
	return p.reason, p.revoked, true
}

func (s *RevocationSource) ask(ctx context.Context, principal string) (reason string, revoked bool, err error) {
	token, err := s.cfg.Credentials.Token(ctx)
	if err != nil {
		return "", false, err
	}
	q := url.Values{"principal": {principal}, "namespace": {s.cfg.Namespace}}
	if s.cfg.TaskQueue != "" {
		q.Set("task_queue", s.cfg.TaskQueue)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL+"?"+q.Encode(), nil)
	if err != nil {
		return "", false, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.cfg.HTTPClient.Do(req)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, revocationBytes))
	if err != nil {
		return "", false, err
	}
	var said struct {
		Principal string `json:"principal"`
		Revoked   *bool  `json:"revoked"`
		Reason    string `json:"reason"`
		Code      string `json:"code"` // of a refusal
	}
	err = json.Unmarshal(body, &said)
	switch {
	case resp.StatusCode != http.StatusOK:
		return "", false, fmt.Errorf("it answered %s %s", resp.Status, said.Code)
	case err != nil || said.Revoked == nil || said.Principal != principal:
		return "", false, errors.New("its answer is not about what was asked")
	}
	return said.Reason, *said.Revoked, nil
}
