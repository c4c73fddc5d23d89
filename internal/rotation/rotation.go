// Package rotation replaces keys while they are in use: those by which an authorization server signs tokens, those by which services prove who they
// are, those by which gates attest, and those by which audit logs sign their checkpoints.
//
// It owns the workflow that does it step by step, and what must hold before each step: every verifier has the next key before anything is signed
// with it, a credential has fetched a real token before a worker is given it, and what is replaced is kept until nothing needs it. A rotation that
// is cut off goes on where it was; one that can't go on undoes what it began, says so on record, and leaves the old key in force. It also owns the
// register of verifiers. It refuses to know how Okta is spoken to, who may rotate, and how entries are kept: those come through interfaces.
package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Where rotations run, and the names under which a worker registers what they are made of.
const (
	Namespace    = "bailiwick"
	TaskQueue    = "bailiwick-rotation"
	WorkflowName = "bailiwick-rotation"
	DueName      = "bailiwick-rotation-due"
	ScheduleID   = "bailiwick-rotation"
)

// Use is what keys are for, as audit entries of kind key name it.
type Use string

const (
	Issuer      Use = "issuer"            // an authorization server signs tokens with it
	Client      Use = "client"            // a service proves who it is with it: a key, or a secret
	Attestation Use = "attestation"       // a gate signs what it attests
	Checkpoint  Use = tiles.UseCheckpoint // an audit log signs its checkpoints
)

// Uses lists what can be rotated.
var Uses = []Use{Issuer, Client, Attestation, Checkpoint}

// IssuerTarget is an authorization server whose signing keys are rotated.
type IssuerTarget struct {
	ID  string `json:"id"`  // at Okta, such as "default"
	URL string `json:"url"` // the iss of its tokens, by which verifiers know it
}

// ClientTarget is a service's credential, in a file that the service reads anew whenever it needs it.
type ClientTarget struct {
	ID     string `json:"id"`     // client id
	Label  string `json:"label"`  // for people
	File   string `json:"file"`   // private key (PEM, or a JWK), or the secret alone on a line
	Secret bool   `json:"secret"` // the file holds a secret and not a key
}

// AttestationTarget is a gate's directory of signing keys (attest.KeysConfig.Path).
type AttestationTarget struct {
	ID  string `json:"id"` // the gate's name
	Dir string `json:"dir"`
}

// Times are how long things take, or may take.
type Times struct {
	Verifiers     time.Duration `json:"verifiers"`      // every verifier must report the next key within it, or the rotation is aborted; default 15m
	Watch         time.Duration `json:"watch"`          // how long refusals are looked for after an issuer has changed its key; default 10m
	TokenLifetime time.Duration `json:"token_lifetime"` // the longest that an issuer's tokens live: its last key is not dropped before; default 24h, Okta's own limit
	Overlap       time.Duration `json:"overlap"`        // how long a client's old credential goes on beside the new one; default 1h
	// CheckpointOverlap is how long a log's checkpoints are signed by its old key and the next: time for those who know the log by its key and use other
	// tools than ours; default 7 days.
	CheckpointOverlap time.Duration `json:"checkpoint_overlap,omitempty"`
	Retry             time.Duration `json:"retry"`     // how long a step is tried that fails by what may pass, such as an Okta that is down; default 30m
	Every             time.Duration `json:"every"`     // how old a key gets before the schedule replaces it; default 90 days
	Silent            time.Duration `json:"silent"`    // a verifier that was not heard for longer lags; default 90s
	Heartbeat         time.Duration `json:"heartbeat"` // a step that was not heard for longer is begun again, by another worker if need be; default 30s
}

func (t Times) withDefaults() Times {
	for _, d := range []struct {
		at       *time.Duration
		fallback time.Duration
	}{{&t.CheckpointOverlap, 7 * 24 * time.Hour}, {&t.Verifiers, 15 * time.Minute}, {&t.Watch, 10 * time.Minute}, {&t.TokenLifetime, 24 * time.Hour}, {&t.Overlap, time.Hour},
		{&t.Retry, 30 * time.Minute}, {&t.Every, 90 * 24 * time.Hour}, {&t.Silent, 90 * time.Second}, {&t.Heartbeat, 30 * time.Second}} {
		if *d.at <= 0 {
			*d.at = d.fallback
		}
	}
	return t
}

// Decider decides and records an act of an authenticated caller; control.Plane is one.
type Decider interface {
	Decide(ctx context.Context, who identity.Identity, r policy.Request) (policy.Decision, string)
}

// Recorder appends to the audit log, durably.
type Recorder interface {
	Record(ctx context.Context, e audit.Entry) (id string, err error)
}

// Config says what a Service works with. Fields without a default are required.
type Config struct {
	Servers      Servers // authorization servers at Okta; may be nil when Issuers is empty
	Apps         Apps    // service apps at Okta; may be nil when Clients is empty
	Issuers      []IssuerTarget
	Clients      []ClientTarget
	Attestations []AttestationTarget
	Checkpoints  []CheckpointTarget
	// Prove fetches a real token with the credential in a file, and verifies it where that can be done. A *Fault tells a refusal.
	Prove     func(ctx context.Context, t ClientTarget, file string) error
	Verifiers *Registry
	Decider   Decider
	Recorder  Recorder
	Alert     func(ctx context.Context, r Rotation) // told of a rotation that was aborted, or after which tokens were refused; default none
	Times     Times
	Clock     func() time.Time // default time.Now
	Logger    *slog.Logger     // default discards
}

// Service does rotations and tells about them. It is safe for concurrent use.
type Service struct {
	cfg    Config
	client atomic.Pointer[client.Client] // nil until Connect

	mu    sync.Mutex        // covers notes
	notes map[string]string // rotation id → what its step waits for
}

// targetName keeps what is no target away from Temporal and Okta.
var targetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// New checks the settings.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Decider == nil || cfg.Recorder == nil || cfg.Verifiers == nil:
		return nil, errors.New("configuring rotations: Decider, Recorder and Verifiers are all required")
	case len(cfg.Issuers) > 0 && cfg.Servers == nil:
		return nil, errors.New("configuring rotations: issuers are named, and nothing speaks to Okta about them")
	case len(cfg.Clients) > 0 && (cfg.Apps == nil || cfg.Prove == nil):
		return nil, errors.New("configuring rotations: clients are named, and nothing speaks to Okta about them, or proves their credentials")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Alert == nil {
		cfg.Alert = func(context.Context, Rotation) {}
	}
	cfg.Times = cfg.Times.withDefaults()
	s := &Service{cfg: cfg, notes: map[string]string{}}
	for _, use := range Uses {
		names := s.targets(use)
		for _, id := range names {
			if !targetName.MatchString(id) {
				return nil, fmt.Errorf("configuring rotations: %q can't be the id of a target: use letters, digits, '.', '_' and '-'", id)
			}
		}
		slices.Sort(names)
		if len(slices.Compact(names)) != len(s.targets(use)) {
			return nil, fmt.Errorf("configuring rotations: two targets of use %s have one id", use)
		}
	}
	return s, nil
}

// Connect gives the service the Temporal that keeps rotations. Until then they are refused as unavailable.
func (s *Service) Connect(c client.Client) { s.client.Store(&c) }

// targets lists the ids of a use.
func (s *Service) targets(use Use) (ids []string) {
	switch use {
	case Issuer:
		for _, t := range s.cfg.Issuers {
			ids = append(ids, t.ID)
		}
	case Client:
		for _, t := range s.cfg.Clients {
			ids = append(ids, t.ID)
		}
	case Attestation:
		for _, t := range s.cfg.Attestations {
			ids = append(ids, t.ID)
		}
	case Checkpoint:
		for _, t := range s.cfg.Checkpoints {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

func (s *Service) issuer(id string) (IssuerTarget, error) {
	for _, t := range s.cfg.Issuers {
		if t.ID == id {
			return t, nil
		}
	}
	return IssuerTarget{}, unknownTarget(Issuer, id)
}

func (s *Service) clientTarget(id string) (ClientTarget, error) {
	for _, t := range s.cfg.Clients {
		if t.ID == id {
			return t, nil
		}
	}
	return ClientTarget{}, unknownTarget(Client, id)
}

func (s *Service) attestation(id string) (AttestationTarget, error) {
	for _, t := range s.cfg.Attestations {
		if t.ID == id {
			return t, nil
		}
	}
	return AttestationTarget{}, unknownTarget(Attestation, id)
}

// note keeps what a rotation's step waits for, for whoever looks on; "" forgets it.
func (s *Service) note(id, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" {
		delete(s.notes, id)
	} else {
		s.notes[id] = text
	}
}

func (s *Service) noted(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notes[id]
}
