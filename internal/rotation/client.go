package rotation

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Apps speaks to Okta about the credentials of service apps. What Okta refuses is a *Fault.
type Apps interface {
	Keys(ctx context.Context, app string) ([]Credential, error)
	AddKey(ctx context.Context, app, kid string, public *rsa.PublicKey) error
	RemoveKey(ctx context.Context, app, id string) error // no error if it is gone
	Secrets(ctx context.Context, app string) ([]Credential, error)
	AddSecret(ctx context.Context, app, secret string) error
	RemoveSecret(ctx context.Context, app, id string) error // no error if it is gone
}

// Credential is one that Okta knows of a client.
type Credential struct {
	ID      string    `json:"id"`            // Okta's
	KID     string    `json:"kid,omitempty"` // of a key
	N       string    `json:"-"`             // modulus of a key, base64url
	Active  bool      `json:"active"`
	Created time.Time `json:"created"`
}

// clientCredential finds what Okta knows the file's credential as.
func (s *Service) clientCredential(ctx context.Context, t ClientTarget) (now Credential, all []Credential, err error) {
	if t.Secret {
		if _, err := ReadSecret(t.File); err != nil {
			return now, nil, unreadable(t, err)
		}
		if all, err = s.cfg.Apps.Secrets(ctx, t.ID); err != nil {
			return now, nil, err
		}
		if len(all) != 1 || !all[0].Active {
			return now, all, &Fault{Code: "secrets_full", Detail: fmt.Sprintf("Okta has %s of %s, and one active one is needed to tell which is in the file and to have room for the next", plural(len(all), "secret"), t.ID),
				Next: "delete the other one in Okta's admin console"}
		}
		return all[0], all, nil
	}
	key, _, err := ReadKey(t.File)
	if err != nil {
		return now, nil, unreadable(t, err)
	}
	if all, err = s.cfg.Apps.Keys(ctx, t.ID); err != nil {
		return now, nil, err
	}
	n := publicJWK(&key.PublicKey, "").N
	at := slices.IndexFunc(all, func(c Credential) bool { return c.N == n && c.Active })
	if at < 0 {
		return now, all, &Fault{Code: "credential_unknown", Detail: fmt.Sprintf("the key in %s is no active key of %s at Okta: the service can't sign in with it", t.File, t.ID), Next: "register its public key at Okta, or correct which file the service reads"}
	}
	return all[at], all, nil
}

func unreadable(t ClientTarget, err error) *Fault {
	return &Fault{Code: "credential_unreadable", Detail: fmt.Sprintf("the credential of %s can't be read", t.ID), Next: "see the file's owner and mode", Err: err}
}

func (s *Service) clientPlan(ctx context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	now, _, err := s.clientCredential(ctx, t)
	if err != nil {
		return Done{}, err
	}
	return Done{Facts{Previous: nameOf(now), PreviousID: now.ID}, nameOf(now) + " is in " + t.File}, nil
}

// nameOf is how a credential is told of: a key's kid, a secret's id.
func nameOf(c Credential) string {
	if c.KID != "" {
		return c.KID
	}
	return c.ID
}

func (s *Service) clientMake(_ context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	f := w.Facts
	if t.Secret {
		_, err = makeSecret(t.File)
	} else {
		var key *rsa.PrivateKey
		if key, f.Next, err = makeKey(t.File); err == nil {
			raw, _ := json.Marshal(publicJWK(&key.PublicKey, f.Next)) // strings always have a form
			f.NextJWK = string(raw)
		}
	}
	if err == nil {
		f.Digest, err = digestOf(nextFile(t.File))
	}
	if err != nil {
		return Done{}, &Fault{Code: "credential_unwritable", Detail: "the next credential of " + t.ID + " can't be kept", Next: "see the directory's owner, mode and free space", Passing: true, Err: err}
	}
	return Done{f, f.Next}, nil
}

// clientPublish registers the next credential, unless an earlier attempt did.
func (s *Service) clientPublish(ctx context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	f := w.Facts
	find := func() (Credential, bool, error) {
		all, err := s.credentials(ctx, t)
		if err != nil {
			return Credential{}, false, err
		}
		for _, c := range all {
			if c.ID != f.PreviousID && (t.Secret || c.KID == f.Next) { // of secrets there was one: another is ours
				return c, true, nil
			}
		}
		return Credential{}, false, nil
	}
	c, found, err := find()
	if err == nil && !found {
		if t.Secret {
			var secret string
			if secret, err = ReadSecret(nextFile(t.File)); err != nil {
				return Done{}, unreadable(t, err)
			}
			err = s.cfg.Apps.AddSecret(ctx, t.ID, secret)
		} else {
			var key *rsa.PrivateKey
			if key, _, err = ReadKey(nextFile(t.File)); err != nil {
				return Done{}, unreadable(t, err)
			}
			err = s.cfg.Apps.AddKey(ctx, t.ID, f.Next, &key.PublicKey)
		}
		if err == nil {
			c, found, err = find()
		}
	}
	if err != nil {
		return Done{}, err
	}
	if !found {
		return Done{}, &Fault{Code: "credential_unseen", Detail: "Okta took the next credential of " + t.ID + " and does not list it yet", Next: "try again in a while", Passing: true}
	}
	f.NextID, f.Next = c.ID, nameOf(c)
	return Done{f, c.ID}, s.record(ctx, w, "published", f.Next, map[string]string{"previous": f.Previous, "jwk": f.NextJWK})
}

func (s *Service) credentials(ctx context.Context, t ClientTarget) ([]Credential, error) {
	if t.Secret {
		return s.cfg.Apps.Secrets(ctx, t.ID)
	}
	return s.cfg.Apps.Keys(ctx, t.ID)
}

func (s *Service) clientProve(ctx context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	return Done{w.Facts, "a token was issued for it"}, s.cfg.Prove(ctx, t, nextFile(t.File))
}

// clientSwitch puts the next credential in the place of the one in force, by a rename: whoever reads the file finds the one or the other, whole.
func (s *Service) clientSwitch(_ context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	f := w.Facts
	f.Switched = true
	if now, err := digestOf(t.File); err == nil && now == f.Digest {
		return Done{f, t.File}, nil
	}
	if next, err := digestOf(nextFile(t.File)); err != nil || next != f.Digest {
		return Done{}, &Fault{Code: "credential_changed", Detail: nextFile(t.File) + " is not the credential that was proven: somebody changed it", Next: "rotate again", Err: err}
	}
	err = os.Rename(nextFile(t.File), t.File)
	if err == nil {
		err = durable.SyncDir(filepath.Dir(t.File))
	}
	if err != nil {
		return Done{}, &Fault{Code: "credential_unwritable", Detail: t.File + " can't be replaced", Next: "see the directory's owner, mode and free space", Passing: true, Err: err}
	}
	return Done{f, t.File}, nil
}

func (s *Service) clientRecord(ctx context.Context, w Work) (Done, error) {
	return Done{w.Facts, ""}, s.record(ctx, w, "rotated", w.Facts.Next, map[string]string{"previous": w.Facts.Previous, "jwk": w.Facts.NextJWK})
}

// clientConfirm proves what the service reads now, once more: after it, the old one is no way back.
func (s *Service) clientConfirm(ctx context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	if now, err := digestOf(t.File); err != nil || now != w.Facts.Digest {
		return Done{}, &Fault{Code: "credential_changed", Detail: t.File + " is not what was put there: somebody changed it, and both credentials stay active at Okta", Next: "see which of them the service needs, and remove the other at Okta", Err: err}
	}
	return Done{w.Facts, "a token was issued for it"}, s.cfg.Prove(ctx, t, t.File)
}

func (s *Service) clientRetire(ctx context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	if err := s.remove(ctx, t, w.Facts.PreviousID); err != nil {
		return Done{}, err
	}
	return Done{w.Facts, w.Facts.Previous + " counts no more"}, s.record(ctx, w, "retired", w.Facts.Previous, nil)
}

func (s *Service) remove(ctx context.Context, t ClientTarget, id string) error {
	if t.Secret {
		return s.cfg.Apps.RemoveSecret(ctx, t.ID, id)
	}
	return s.cfg.Apps.RemoveKey(ctx, t.ID, id)
}

// clientUndo removes the next credential at Okta and here. One that the service has been given stays, and the old one with it.
func (s *Service) clientUndo(ctx context.Context, w Work) (Done, error) {
	t, err := s.clientTarget(w.Params.Target)
	if err != nil || w.Facts.Digest == "" {
		return Done{Facts: w.Facts}, nil // nothing was made
	}
	if now, err := digestOf(t.File); err == nil && now == w.Facts.Digest {
		w.Facts.Switched = true
		return Done{w.Facts, "the service has the new one; both stay active at Okta"}, nil
	}
	all, err := s.credentials(ctx, t)
	if err != nil {
		return Done{}, err
	}
	for _, c := range all {
		if ours := c.ID != w.Facts.PreviousID && (t.Secret || c.KID == w.Facts.Next); ours {
			if err := s.remove(ctx, t, c.ID); err != nil {
				return Done{}, err
			}
		}
	}
	if err := os.Remove(nextFile(t.File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Done{}, &Fault{Code: "credential_unwritable", Detail: nextFile(t.File) + " can't be removed", Next: "remove it", Passing: true, Err: err}
	}
	return Done{w.Facts, "the next credential was removed"}, nil
}
