package serverplugin

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Standing says where grants and revocations are followed. All fields but MaxStale are required.
type Standing struct {
	URL       string   `json:"url"`                 // of the control plane's feed, such as https://control.example/v1/standing; https, or http on loopback
	TokenFile string   `json:"token_file"`          // holds the feed's bearer token; read anew with each request
	Keys      []string `json:"keys"`                // that may sign: each a file with an Ed25519 public key in PEM, or its 32 bytes in base64
	Cache     string   `json:"cache"`               // file that keeps what is known over a restart
	MaxStale  string   `json:"max_stale,omitempty"` // how long grants are honoured without hearing the control plane; default "1h"

	// How old what the control plane's directory says of a person may be, where a token leaves groups or attributes out; default "15m".
	DirectoryMaxAge string `json:"directory_max_age,omitempty"`
}

// Check says what is missing or malformed, without the network.
func (s *Standing) Check() error {
	_, err := s.config()
	return err
}

func (s *Standing) config() (standing.FollowConfig, error) {
	out := standing.FollowConfig{URL: s.URL, Cache: s.Cache}
	switch {
	case s.URL == "":
		return out, errors.New("standing.url is missing")
	case s.TokenFile == "":
		return out, errors.New("standing.token_file is missing")
	case s.Cache == "":
		return out, errors.New("standing.cache is missing: without it, a restart would forget who was barred")
	case len(s.Keys) == 0:
		return out, errors.New("standing.keys is empty: name at least one key that may sign")
	}
	if s.MaxStale != "" {
		d, err := time.ParseDuration(s.MaxStale)
		if err != nil || d <= 0 {
			return out, fmt.Errorf("standing.max_stale is %q; write a duration such as \"1h\"", s.MaxStale)
		}
		out.MaxStale = d
	}
	if d, err := time.ParseDuration(s.DirectoryMaxAge); s.DirectoryMaxAge != "" && (err != nil || d <= 0) {
		return out, fmt.Errorf("standing.directory_max_age is %q; write a duration such as \"15m\"", s.DirectoryMaxAge)
	}
	out.Keys = make([]ed25519.PublicKey, len(s.Keys))
	for i, text := range s.Keys {
		var err error
		if out.Keys[i], err = bundleKey(text); err != nil {
			return out, fmt.Errorf("standing.keys[%d]: %w", i, err)
		}
	}
	file := s.TokenFile
	out.Token = func() (string, error) {
		raw, err := os.ReadFile(filepath.Clean(file))
		token := strings.TrimSpace(string(raw))
		if err == nil && token == "" {
			err = fmt.Errorf("%s is empty", file)
		}
		return token, err
	}
	return out, nil
}

// directory is how old facts of the directory may be.
func (s *Standing) directory() gate.DirectoryConfig {
	age, _ := time.ParseDuration(s.DirectoryMaxAge) // checked by config; 0: the default
	return gate.DirectoryConfig{MaxAge: age}
}

// followStanding begins to follow, before the gate exists: from its first decision on, the gate knows or refuses.
func (p *Plugin) followStanding(ctx context.Context, cfg Config) error {
	follow, err := cfg.Standing.config()
	if err != nil {
		return err
	}
	p.standing = &standing.State{}
	follow.Gate, follow.State, follow.Logger = cfg.Name, p.standing, cfg.Logger
	if p.follower, err = standing.Follow(ctx, follow); err != nil {
		return err
	}
	return p.observeStanding(cfg.Meter)
}

// reportKeys tells the control plane, until ctx ends, which keys of issuers this gate holds: none is rotated without it.
func (p *Plugin) reportKeys(ctx context.Context, cfg Config) error {
	follow, err := cfg.Standing.config()
	if err != nil {
		return err
	}
	go standing.ReportKeys(ctx, standing.KeyReportConfig{URL: cfg.Standing.URL, Token: follow.Token, Verifier: cfg.Name, Keys: p.house.Verifier(), Logger: cfg.Logger})
	return nil
}

// StandingStatus tells how far this gate follows; false when it follows nothing.
func (p *Plugin) StandingStatus() (standing.FollowStatus, bool) {
	if p.follower == nil {
		return standing.FollowStatus{}, false
	}
	return p.follower.Status(), true
}

// observeStanding lets a meter look at how far this gate follows.
func (p *Plugin) observeStanding(m metric.Meter) error {
	if m == nil {
		return nil
	}
	position, err1 := m.Int64ObservableGauge("bailiwick.standing.position", metric.WithDescription("Last event of the standing feed that this gate has."))
	age, err2 := m.Float64ObservableGauge("bailiwick.standing.age", metric.WithUnit("s"), metric.WithDescription("Time since the control plane was last heard."))
	stale, err3 := m.Int64ObservableGauge("bailiwick.standing.stale", metric.WithDescription("1 while grants are not honoured, because the control plane was not heard for too long or never."))
	grants, err4 := m.Int64ObservableGauge("bailiwick.standing.grants", metric.WithDescription("Grants that this gate knows."))
	bars, err5 := m.Int64ObservableGauge("bailiwick.standing.bars", metric.WithDescription("Bars that this gate knows, inactive persons included."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := p.follower.Status().State
		o.ObserveInt64(position, int64(s.Seq))
		if !s.Heard.IsZero() {
			o.ObserveFloat64(age, time.Since(s.Heard).Seconds())
		}
		is := int64(0)
		if s.Stale || !s.Known {
			is = 1
		}
		o.ObserveInt64(stale, is)
		o.ObserveInt64(grants, s.Grants)
		o.ObserveInt64(bars, s.Bars)
		return nil
	}, position, age, stale, grants, bars)
	if err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	return nil
}
