package rotation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// signing finds the key of a gate that signs, or will, and has no end yet.
func signing(dir string) (now attest.Key, all []attest.Key, err error) {
	set, err := attest.PublishedKeys(dir)
	if err != nil {
		return now, nil, &Fault{Code: "keys_unreadable", Detail: "the gate's keys can't be read", Next: "see the directory's owner and mode", Passing: true, Err: err}
	}
	for _, k := range set.Keys() {
		if k.NotAfter.IsZero() && (now.ID == "" || k.NotBefore.After(now.NotBefore)) {
			now = k
		}
	}
	return now, set.Keys(), nil
}

func (s *Service) attestationPlan(_ context.Context, w Work) (Done, error) {
	t, err := s.attestation(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	if info, err := os.Stat(t.Dir); err != nil || !info.IsDir() {
		return Done{}, &Fault{Code: "single_key", Detail: fmt.Sprintf("the gate %s has its key in a single file, which never rotates", t.ID), Next: "give it a directory of keys", Err: err}
	}
	now, _, err := signing(t.Dir)
	switch {
	case err != nil:
		return Done{}, err
	case now.ID == "":
		return Done{}, &Fault{Code: "no_active_key", Detail: "the gate " + t.ID + " has published no key yet", Next: "is it running?", Passing: true}
	case now.NotBefore.After(s.cfg.Clock()):
		return Done{}, &Fault{Code: "next_key_waiting", Detail: fmt.Sprintf("the key %s is published and begins at %s", now.ID, now.NotBefore.UTC().Format("15:04:05")), Next: "ask again after that"}
	}
	return Done{Facts{Previous: now.ID}, now.ID + " signs"}, nil
}

// ownFile is the file that this rotation makes; the name makes it once.
func (t AttestationTarget) ownFile(w Work) string {
	return filepath.Join(t.Dir, "rotation-"+w.Params.ID+".pem")
}

func (s *Service) attestationMake(ctx context.Context, w Work) (Done, error) {
	t, err := s.attestation(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	signer, err := attest.LoadOrCreateSigner(t.ownFile(w))
	if err != nil {
		return Done{}, &Fault{Code: "credential_unwritable", Detail: "the next key of the gate " + t.ID + " can't be kept", Next: "see the directory's owner, mode and free space", Passing: true, Err: err}
	}
	w.Facts.Next = signer.KeyID()
	return Done{w.Facts, w.Facts.Next}, s.record(ctx, w, "created", w.Facts.Next, map[string]string{"previous": w.Facts.Previous})
}

// attestationPublished waits for the gate, which puts the rest on record itself: the key published, rotated, and the old one retired.
func (s *Service) attestationPublished(ctx context.Context, w Work) (Done, error) {
	t, err := s.attestation(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	_, all, err := signing(t.Dir)
	if err != nil {
		return Done{}, err
	}
	for _, k := range all {
		switch k.ID {
		case w.Facts.Next:
			w.Facts.From = k.NotBefore
		case w.Facts.Previous:
			w.Facts.Until = k.NotAfter
		}
	}
	if w.Facts.From.IsZero() || w.Facts.Until.IsZero() {
		return Done{}, &Fault{Code: "gate_silent", Detail: "the gate " + t.ID + " has not published the key " + w.Facts.Next, Next: "is it running? its log says what is wrong with its keys", Passing: true, After: poll}
	}
	return Done{w.Facts, "signs from " + w.Facts.From.UTC().Format("15:04:05")}, nil
}

// attestationRetire takes the private half of the old key away. Its public half stays published: what it signed stays true.
func (s *Service) attestationRetire(_ context.Context, w Work) (Done, error) {
	t, err := s.attestation(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	files, err := filepath.Glob(filepath.Join(t.Dir, "*.pem"))
	if err != nil {
		return Done{}, fmt.Errorf("listing a gate's keys: %w", err)
	}
	for _, file := range files {
		old, err := attest.LoadOrCreateSigner(file)
		if err != nil || old.KeyID() != w.Facts.Previous {
			continue // a file that can't be read is the gate's to tell of
		}
		if err := errors.Join(os.Remove(file), durable.SyncDir(t.Dir)); err != nil {
			return Done{}, &Fault{Code: "credential_unwritable", Detail: file + " can't be removed", Next: "see the directory's owner and mode", Passing: true, Err: err}
		}
	}
	return Done{w.Facts, w.Facts.Previous + " signs no more"}, nil
}
