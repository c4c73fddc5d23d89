package rotation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/identity"
)

// Status is how keys stand.
type Status struct {
	Issuers      []IssuerStatus      `json:"issuers"`
	Clients      []ClientStatus      `json:"clients"`
	Attestations []AttestationStatus `json:"attestations"`
	Checkpoints  []CheckpointStatus  `json:"checkpoints"`
	Verifiers    []VerifierStatus    `json:"verifiers"`
	Rotations    []Rotation          `json:"rotations"` // that run
}

// Problem is why something can't be told or done; empty when nothing is wrong.
type Problem struct {
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

func problemOf(err error) Problem {
	var f *Fault
	if errors.As(err, &f) {
		return Problem{f.Code, f.Detail, f.Next}
	}
	if err != nil {
		return Problem{"unavailable", err.Error(), ""}
	}
	return Problem{}
}

// IssuerStatus is how an authorization server's keys are.
type IssuerStatus struct {
	IssuerTarget
	Signing
	Have    int   `json:"have"`    // verifiers that have the next key
	Lagging []Lag `json:"lagging"` // and those that have not
	Problem
}

// ClientStatus is how a service's credential is.
type ClientStatus struct {
	ClientTarget
	Credential Credential `json:"credential"`
	Active     int        `json:"active_credentials"` // at Okta
	Due        time.Time  `json:"due,omitzero"`
	Problem
}

// AttestationStatus is how a gate's keys are, oldest first.
type AttestationStatus struct {
	ID   string           `json:"id"`
	Keys []AttestationKey `json:"keys"`
	Problem
}

// AttestationKey is one of them.
type AttestationKey struct {
	ID    string    `json:"kid"`
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"` // zero: until the next one begins
}

// VerifierStatus is how a verifier is.
type VerifierStatus struct {
	Verifier
	Silent bool `json:"silent"` // it was not heard for longer than it should be, or never
}

// Status looks at everything. What can't be looked at is told as a problem of its own.
func (s *Service) Status(ctx context.Context) (Status, error) {
	out := Status{Issuers: []IssuerStatus{}, Clients: []ClientStatus{}, Attestations: []AttestationStatus{}, Checkpoints: []CheckpointStatus{}, Verifiers: []VerifierStatus{}, Rotations: []Rotation{}}
	now := s.cfg.Clock()
	for _, t := range s.cfg.Issuers {
		out.Issuers = append(out.Issuers, s.issuerStatus(ctx, t))
	}
	for _, t := range s.cfg.Clients {
		c := ClientStatus{ClientTarget: t}
		is, all, err := s.clientCredential(ctx, t)
		c.Credential, c.Problem = is, problemOf(err)
		for _, other := range all {
			if other.Active {
				c.Active++
			}
		}
		if !is.Created.IsZero() {
			c.Due = is.Created.Add(s.cfg.Times.Every)
		}
		out.Clients = append(out.Clients, c)
	}
	for _, t := range s.cfg.Attestations {
		_, keys, err := signing(t.Dir)
		a := AttestationStatus{ID: t.ID, Keys: []AttestationKey{}, Problem: problemOf(err)}
		slices.SortFunc(keys, func(x, y attest.Key) int { return x.NotBefore.Compare(y.NotBefore) })
		for _, k := range keys {
			a.Keys = append(a.Keys, AttestationKey{k.ID, k.NotBefore, k.NotAfter})
		}
		out.Attestations = append(out.Attestations, a)
	}
	for _, t := range s.cfg.Checkpoints {
		out.Checkpoints = append(out.Checkpoints, checkpointStatus(ctx, t))
	}
	verifiers, err := s.cfg.Verifiers.All(ctx)
	if err != nil {
		return out, err
	}
	for _, v := range verifiers {
		v.Issuers = append([]identity.IssuerStatus{}, v.Issuers...)
		out.Verifiers = append(out.Verifiers, VerifierStatus{v, len(v.Issuers) == 0 || now.Sub(v.At) > s.cfg.Times.Silent})
	}
	for _, use := range Uses {
		for _, id := range s.targets(use) {
			if r, err := s.Get(ctx, use, id); err == nil && r.State == Running {
				out.Rotations = append(out.Rotations, r)
			}
		}
	}
	return out, nil
}

func (s *Service) issuerStatus(ctx context.Context, t IssuerTarget) IssuerStatus {
	out := IssuerStatus{IssuerTarget: t, Lagging: []Lag{}}
	f, is, err := s.plan(ctx, t, s.cfg.Times.TokenLifetime)
	out.Signing, out.Problem = is, problemOf(err)
	next, has := is.key("NEXT")
	if !has {
		return out
	}
	active, _ := is.key("ACTIVE")
	s.cfg.Verifiers.Expect(t.URL, []string{active.ID, next.ID}) // the sooner verifiers have it, the shorter a rotation
	have, lag, err := s.cfg.Verifiers.Lagging(ctx, f.Issuer, next.ID, time.Time{}, s.cfg.Times.Silent)
	if err != nil && out.Problem == (Problem{}) {
		out.Problem = problemOf(err)
	}
	out.Have = have
	out.Lagging = append(out.Lagging, lag...)
	return out
}

// Look is what a rotation would do now, and what keeps it from it. It changes nothing.
type Look struct {
	Use      Use      `json:"use"`
	Target   string   `json:"target"`
	Previous string   `json:"previous"`
	Next     string   `json:"next,omitempty"` // where it exists already
	Steps    []string `json:"steps"`
	Have     int      `json:"have,omitempty"`
	Lagging  []Lag    `json:"lagging,omitempty"`
	Ready    bool     `json:"ready"` // it would go through as things stand
	Problem
}

// Look looks what a rotation would do.
func (s *Service) Look(ctx context.Context, use Use, target string) (Look, error) {
	out := Look{Use: use, Target: target}
	for _, p := range plans[use] {
		out.Steps = append(out.Steps, p.title)
	}
	switch use {
	case Issuer:
		t, err := s.issuer(target)
		if err != nil {
			return out, err
		}
		is := s.issuerStatus(ctx, t)
		active, _ := is.key("ACTIVE")
		next, _ := is.key("NEXT")
		out.Previous, out.Next, out.Have, out.Lagging, out.Problem = active.ID, next.ID, is.Have, is.Lagging, is.Problem
	case Client:
		t, err := s.clientTarget(target)
		if err != nil {
			return out, err
		}
		now, _, err := s.clientCredential(ctx, t)
		out.Previous, out.Problem = nameOf(now), problemOf(err)
	case Attestation:
		done, err := s.attestationPlan(ctx, Work{Params: Params{Target: target}})
		out.Previous, out.Problem = done.Facts.Previous, problemOf(err)
	case Checkpoint:
		done, err := s.checkpointPlan(ctx, Work{Params: Params{Target: target}})
		out.Previous, out.Problem = done.Facts.Previous, problemOf(err)
	}
	out.Ready = out.Problem == (Problem{}) && len(out.Lagging) == 0
	return out, nil
}
