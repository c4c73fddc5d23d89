package rotation

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Servers speaks to Okta about authorization servers. What Okta refuses is a *Fault.
type Servers interface {
	Signing(ctx context.Context, server string) (Signing, error)
	SetManual(ctx context.Context, server string) error // Okta rotates no more by itself
	Rotate(ctx context.Context, server string) error    // NEXT becomes ACTIVE at once; each call rotates
}

// Signing is how an authorization server's keys are.
type Signing struct {
	Mode        string    `json:"mode"` // AUTO or MANUAL
	LastRotated time.Time `json:"last_rotated,omitzero"`
	Keys        []Key     `json:"keys"`
}

// Key is one of its public keys.
type Key struct {
	ID     string `json:"kid"`
	Status string `json:"status"` // ACTIVE signs, NEXT will, EXPIRED has
	JWK    string `json:"jwk"`    // RFC 7517, public members only
}

func (s Signing) key(status string) (k Key, found bool) {
	for _, k := range s.Keys {
		if k.Status == status {
			return k, true
		}
	}
	return k, false
}

// poll is the time between looks at verifiers.
const poll = 250 * time.Millisecond

// plan finds out what would be rotated into what, and whether it may be now. It changes nothing.
func (s *Service) plan(ctx context.Context, t IssuerTarget, life time.Duration) (Facts, Signing, error) {
	f := Facts{Issuer: t.URL}
	now, err := s.cfg.Servers.Signing(ctx, t.ID)
	if err != nil {
		return f, now, err
	}
	active, found := now.key("ACTIVE")
	if !found {
		return f, now, &Fault{Code: "no_active_key", Detail: "Okta lists no ACTIVE key of authorization server " + t.ID, Next: "look at it in Okta's admin console, Security > API", Passing: true}
	}
	f.Previous, f.Mode = active.ID, now.Mode
	if old, has := now.key("EXPIRED"); has {
		f.Dropped = old.ID
		// Okta publishes one EXPIRED key: the next rotation drops it, and what it signed is refused from then on.
		if since := s.cfg.Clock().Sub(now.LastRotated); now.LastRotated.IsZero() || since < life {
			return f, now, &Fault{Code: "too_soon", Detail: fmt.Sprintf("tokens that the key %s signed may live until %s, and a rotation would drop it", old.ID, now.LastRotated.Add(life).UTC().Format(time.RFC3339)),
				Next: "ask again after that"}
		}
	}
	next, found := now.key("NEXT")
	if !found {
		return f, now, &Fault{Code: "next_key_missing", Detail: "Okta has no NEXT key for authorization server " + t.ID + ": a rotation would sign with a key that nobody has seen",
			Next: "Okta makes one some time before a rotation; ask again later", Passing: true}
	}
	f.Next, f.NextJWK = next.ID, next.JWK
	return f, now, nil
}

func (s *Service) issuerPlan(ctx context.Context, w Work) (Done, error) {
	t, err := s.issuer(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	f, now, err := s.plan(ctx, t, w.Params.Times.TokenLifetime)
	if err != nil {
		return Done{}, err
	}
	detail := fmt.Sprintf("%s signs, %s is next", f.Previous, f.Next)
	if now.Mode == "AUTO" {
		// Okta's own rotation waits for no verifier, and could come in the middle of this one.
		if err := s.cfg.Servers.SetManual(ctx, t.ID); err != nil {
			return Done{}, err
		}
		detail += "; Okta rotates no more by itself"
	}
	s.cfg.Verifiers.Expect(t.URL, []string{f.Previous, f.Next})
	return Done{f, detail}, nil
}

// issuerVerifiers waits until every verifier has reported, since the step began, that it holds the next key.
func (s *Service) issuerVerifiers(ctx context.Context, w Work) (Done, error) {
	f := w.Facts
	s.cfg.Verifiers.Expect(f.Issuer, []string{f.Previous, f.Next})
	stop := s.cfg.Verifiers.Hurry()
	defer stop()
	for {
		have, lag, err := s.cfg.Verifiers.Lagging(ctx, f.Issuer, f.Next, w.At, w.Params.Times.Silent)
		if err != nil {
			return Done{}, err
		}
		if len(lag) == 0 && have > 0 {
			f.Verifiers = have
			return Done{f, plural(have, "verifier") + " of " + number(have) + " have it"}, nil
		}
		names := lagNames(lag)
		s.note(w.Params.ID, names)
		if s.cfg.Clock().Sub(w.At) >= w.Params.Times.Verifiers {
			if have == 0 && len(lag) == 0 {
				return Done{}, &Fault{Code: "no_verifiers", Detail: "no verifier reports its keys, so nobody knows who would refuse tokens", Next: "is a gate running that follows this control plane?"}
			}
			return Done{}, &Fault{Code: "verifier_lagging", Detail: fmt.Sprintf("after %v these have not reported the key %s: %s", w.Params.Times.Verifiers, f.Next, names),
				Next: "bring them back, or if one is gone for good: bailiwick keys forget NAME; then rotate again"}
		}
		if err := rest(ctx, poll); err != nil {
			return Done{}, err
		}
	}
}

func lagNames(lag []Lag) string {
	var names []string
	for _, l := range lag {
		names = append(names, l.Verifier+" ("+l.Why+")")
	}
	if len(names) > 10 {
		names = append(names[:10], fmt.Sprintf("and %d more", len(lag)-10))
	}
	return strings.Join(names, ", ")
}

// issuerAnnounce puts the next key on record before anything is signed with it.
func (s *Service) issuerAnnounce(ctx context.Context, w Work) (Done, error) {
	f := w.Facts
	return Done{f, ""}, s.record(ctx, w, "published", f.Next, map[string]string{"issuer": f.Issuer, "previous": f.Previous, "jwk": f.NextJWK, "verifiers": number(f.Verifiers)})
}

// issuerRotate rotates once, whoever does it: before each attempt it looks, because an answer that was lost may have been a success, and because
// Okta, or somebody in its console, may have rotated meanwhile.
func (s *Service) issuerRotate(ctx context.Context, w Work) (Done, error) {
	f, server := w.Facts, w.Params.Target
	look := func() (rotated bool, err error) {
		now, err := s.cfg.Servers.Signing(ctx, server)
		if err != nil {
			return false, err
		}
		active, _ := now.key("ACTIVE")
		next, _ := now.key("NEXT")
		switch {
		case active.ID == f.Next:
			return true, nil
		case active.ID != f.Previous:
			return false, &Fault{Code: "rotated_elsewhere", Detail: fmt.Sprintf("Okta signs with %s, which is neither the key before (%s) nor the one that was planned (%s): somebody else rotated it", active.ID, f.Previous, f.Next),
				Next: "nothing is left to undo; see who did in Okta's system log (app.oauth2.as.key.rollover), then rotate again if you still want to"}
		case next.ID != f.Next:
			return false, &Fault{Code: "next_key_changed", Detail: fmt.Sprintf("Okta's next key is %s and not %s, which the verifiers have: nothing was rotated", next.ID, f.Next), Next: "rotate again"}
		}
		return false, nil
	}
	rotated, err := look()
	if err != nil {
		return Done{}, err
	}
	if rotated {
		f.Elsewhere = true
		return Done{f, "Okta signs with it already"}, nil
	}
	refused := s.cfg.Servers.Rotate(ctx, server)
	if rotated, err = look(); err == nil && rotated {
		return Done{f, f.Next + " signs"}, nil
	}
	if refused == nil && err == nil {
		refused = &Fault{Code: "rotation_unseen", Detail: "Okta took the rotation, and its keys do not show it yet", Next: "bailiwick keys status", Passing: true, After: 5 * time.Second}
	}
	if refused == nil {
		refused = err
	}
	return Done{}, refused
}

func (s *Service) issuerRecord(ctx context.Context, w Work) (Done, error) {
	f := w.Facts
	more := map[string]string{"issuer": f.Issuer, "previous": f.Previous, "jwk": f.NextJWK, "verifiers": number(f.Verifiers)}
	if f.Elsewhere {
		more["elsewhere"] = "true" // an answer was lost, or Okta rotated by itself into the same key
	}
	if err := s.record(ctx, w, "rotated", f.Next, more); err != nil {
		return Done{}, err
	}
	if f.Dropped != "" {
		if err := s.record(ctx, w, "retired", f.Dropped, map[string]string{"issuer": f.Issuer}); err != nil {
			return Done{}, err
		}
	}
	return Done{f, ""}, nil
}

// issuerWatch looks for tokens that are refused for want of the new key. That can't be taken back, but must be known at once.
func (s *Service) issuerWatch(ctx context.Context, w Work) (Done, error) {
	f := w.Facts
	s.cfg.Verifiers.Expect(f.Issuer, []string{f.Previous, f.Next})
	stop := s.cfg.Verifiers.Hurry()
	defer stop()
	told := uint64(0)
	for {
		unknown, forged, err := s.cfg.Verifiers.Refused(ctx, f.Issuer, f.Next)
		if err != nil {
			return Done{}, err
		}
		f.Refused, f.Forged = unknown, forged
		s.note(w.Params.ID, plural(unknown, "token")+" refused so far")
		if unknown > told {
			told = unknown
			s.cfg.Logger.ErrorContext(ctx, "tokens are refused after a rotation for want of the new key", "rotation", w.Params.ID, "issuer", f.Issuer, "kid", f.Next, "tokens", unknown)
		}
		if s.cfg.Clock().Sub(w.At) >= w.Params.Times.Watch {
			break
		}
		if err := rest(ctx, poll); err != nil {
			return Done{}, err
		}
	}
	if f.Refused > 0 {
		w.Facts = f
		s.alert(ctx, w, Rotated, toldRefused(f))
		return Done{f, plural(f.Refused, "token") + " refused for want of the key"}, nil
	}
	return Done{f, "no token was refused"}, nil
}

func toldRefused(f Facts) told {
	return told{"tokens_refused", plural(f.Refused, "token") + " refused because a verifier did not have the key " + f.Next, "bailiwick keys status names the verifiers; can they reach the issuer?"}
}
