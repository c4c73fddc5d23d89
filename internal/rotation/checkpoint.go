package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// CheckpointTarget is an audit log, whose key signs its checkpoints. Its sealer takes its signers from Keys.
type CheckpointTarget struct {
	ID   string
	Keys *tiles.Keyring
	// Lacking asks the log's witnesses to cosign a checkpoint that is signed by a key alone, and lists those that do not. nil: there are none.
	Lacking func(ctx context.Context, key string) ([]Lag, error)
}

func (s *Service) checkpoint(id string) (CheckpointTarget, error) {
	for _, t := range s.cfg.Checkpoints {
		if t.ID == id {
			return t, nil
		}
	}
	return CheckpointTarget{}, unknownTarget(Checkpoint, id)
}

// keysFault is why a log's keys can't be read or changed.
func keysFault(t CheckpointTarget, err error) *Fault {
	return &Fault{Code: "log_key_unusable", Detail: "the keys of the log " + t.ID + " can't be read or changed", Next: "see the owner, mode and free space of their directory and of the log's", Passing: true, Err: err}
}

// notSealed waits for the sealer.
func notSealed(detail string, err error) *Fault {
	return &Fault{Code: "log_not_sealed", Detail: detail, Next: "is the sealer running? the control plane's log says more", Passing: true, After: poll, Err: err}
}

// sealed tries until the sealer has done what a step waits for, or the step's time is over.
func (s *Service) sealed(ctx context.Context, w Work, try func() (Done, error)) (Done, error) {
	for {
		done, err := try()
		var f *Fault
		if !errors.As(err, &f) || f.Code != "log_not_sealed" {
			return done, err
		}
		s.note(w.Params.ID, f.Detail)
		if rest(ctx, poll) != nil {
			return done, err
		}
	}
}

func (s *Service) checkpointPlan(_ context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	now, err := t.Keys.State()
	switch {
	case err != nil:
		return Done{}, keysFault(t, err)
	case !slices.Contains(now.Signed, now.Key):
		return Done{}, notSealed("the checkpoint of the log "+t.ID+" is not there, or not signed by its key", nil)
	}
	return Done{Facts{Previous: tiles.KeyID(now.Key), PreviousID: now.Key}, tiles.KeyID(now.Key) + " signs"}, nil
}

// begun refuses to go on with a rotation whose key is not in force any more: somebody put another one there.
func (t CheckpointTarget) begun(w Work) (now tiles.KeyringState, switched bool, err error) {
	if now, err = t.Keys.State(); err != nil {
		return now, false, keysFault(t, err)
	}
	switched = w.Facts.NextID != "" && now.Key == w.Facts.NextID
	if !switched && now.Key != w.Facts.PreviousID {
		return now, false, &Fault{Code: "rotated_elsewhere", Detail: fmt.Sprintf("the log %s is signed by %s, which is neither the key before nor the next one", t.ID, tiles.KeyID(now.Key)), Next: "somebody put another key in its place: see the directory"}
	}
	return now, switched, nil
}

func (s *Service) checkpointMake(ctx context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	next, err := t.Keys.MakeNext()
	if err != nil {
		return Done{}, keysFault(t, err)
	}
	w.Facts.Next, w.Facts.NextID = tiles.KeyID(next), next
	return Done{w.Facts, w.Facts.Next}, s.record(ctx, w, "created", w.Facts.Next, map[string]string{"previous": w.Facts.Previous, "key": next})
}

// checkpointAnnounce puts the next key on record, with the word of both keys. The entry names no person: it goes into each bundle. Those of the steps
// before and after it say who asked, under the same rotation.
func (s *Service) checkpointAnnounce(ctx context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	if _, _, err := t.begun(w); err != nil {
		return Done{}, err
	}
	if w.Facts.Size, err = t.Keys.SealedSize(); err != nil {
		return Done{}, keysFault(t, err)
	}
	detail, err := t.Keys.Announcement()
	if err != nil {
		return Done{}, keysFault(t, err)
	}
	detail["target"], detail["rotation"] = w.Params.Target, w.Params.ID
	if _, err := s.cfg.Recorder.Record(ctx, audit.Entry{Kind: audit.KindKey, Detail: detail}); err != nil {
		return Done{}, auditFault(err)
	}
	return Done{Facts: w.Facts}, nil
}

// checkpointLink waits until the entry is under a checkpoint of the present key, and keeps the proof of it. From then on both sign.
func (s *Service) checkpointLink(ctx context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	if _, _, err := t.begun(w); err != nil {
		return Done{}, err
	}
	return s.sealed(ctx, w, func() (Done, error) {
		err := t.Keys.Link(ctx, w.Facts.Size)
		if errors.Is(err, tiles.ErrNotSealed) {
			return Done{}, notSealed("the entry with the next key is under no checkpoint of the log "+t.ID, err)
		}
		if err != nil {
			return Done{}, keysFault(t, err)
		}
		return Done{w.Facts, w.Facts.Next + " follows " + w.Facts.Previous}, nil
	})
}

// checkpointBoth waits until the published checkpoint has both signatures.
func (s *Service) checkpointBoth(ctx context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	return s.sealed(ctx, w, func() (Done, error) {
		now, _, err := t.begun(w)
		if err != nil {
			return Done{}, err
		}
		if !slices.Contains(now.Signed, w.Facts.PreviousID) || !slices.Contains(now.Signed, w.Facts.NextID) {
			return Done{}, notSealed("the checkpoint of the log "+t.ID+" is not signed by both keys yet", nil)
		}
		return Done{w.Facts, w.Facts.Previous + " and " + w.Facts.Next + " sign"}, nil
	})
}

// checkpointWitnesses waits until every witness has cosigned a checkpoint that the next key alone has signed. Verifiers of ours need not be asked:
// they follow the log's own history of keys.
func (s *Service) checkpointWitnesses(ctx context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	if t.Lacking == nil {
		return Done{w.Facts, "the log has no witnesses"}, nil
	}
	for {
		lag, err := t.Lacking(ctx, w.Facts.NextID)
		if err != nil {
			return Done{}, witnessesUnknown(t, err)
		}
		if len(lag) == 0 {
			return Done{w.Facts, "every witness takes " + w.Facts.Next}, nil
		}
		names := lagNames(lag)
		s.note(w.Params.ID, names)
		if s.cfg.Clock().Sub(w.At) >= w.Params.Times.Verifiers {
			return Done{}, &Fault{Code: "witness_lagging", Detail: fmt.Sprintf("after %v these do not cosign checkpoints of the key %s: %s", w.Params.Times.Verifiers, w.Facts.Next, names),
				Next: "rotate again, and while both keys sign have them watch the log with the next one too, which bailiwick keys status shows; or take those that are gone out of witnesses.yaml"}
		}
		if err := rest(ctx, poll); err != nil {
			return Done{}, err
		}
	}
}

// checkpointSwitch gives the place of the key to the next one. It is the step that can't be undone: the earlier key is gone with it.
func (s *Service) checkpointSwitch(ctx context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil {
		return Done{}, err
	}
	return s.sealed(ctx, w, func() (Done, error) {
		_, switched, err := t.begun(w)
		if err != nil {
			return Done{}, err
		}
		if !switched {
			err = t.Keys.Switch()
		}
		if errors.Is(err, tiles.ErrSignedByOneKey) {
			return Done{}, notSealed("the checkpoint of the log "+t.ID+" is not signed by its next key", err)
		}
		if err != nil {
			return Done{}, keysFault(t, err)
		}
		return Done{w.Facts, w.Facts.Next + " signs alone"}, nil
	})
}

func (s *Service) checkpointRecord(ctx context.Context, w Work) (Done, error) {
	if err := s.record(ctx, w, "rotated", w.Facts.Next, map[string]string{"previous": w.Facts.Previous, "key": w.Facts.NextID}); err != nil {
		return Done{}, err
	}
	return Done{Facts: w.Facts}, s.record(ctx, w, "retired", w.Facts.Previous, nil)
}

// checkpointUndo removes a next key that is not in force. That it was announced stays on record, and its end as well.
func (s *Service) checkpointUndo(_ context.Context, w Work) (Done, error) {
	t, err := s.checkpoint(w.Params.Target)
	if err != nil || w.Facts.NextID == "" {
		return Done{Facts: w.Facts}, nil // nothing was begun
	}
	if _, switched, err := t.begun(w); err != nil || switched {
		return Done{Facts: w.Facts}, err
	}
	if err := t.Keys.Discard(); err != nil {
		return Done{}, keysFault(t, err)
	}
	return Done{Facts: w.Facts}, nil
}

// CheckpointStatus is how a log's keys are.
type CheckpointStatus struct {
	ID     string `json:"id"`
	Origin string `json:"origin"`
	tiles.KeyringState
	Lagging []Lag `json:"lagging"` // witnesses that do not take the next key yet, while both sign
	Problem
}

func checkpointStatus(ctx context.Context, t CheckpointTarget) CheckpointStatus {
	now, err := t.Keys.State()
	out := CheckpointStatus{ID: t.ID, Origin: t.Keys.Origin(), KeyringState: now, Lagging: []Lag{}}
	if err != nil {
		out.Problem = problemOf(keysFault(t, err))
	}
	if t.Lacking == nil || !slices.Contains(now.Signed, now.Next) {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lag, err := t.Lacking(ctx, now.Next)
	if err != nil && out.Problem == (Problem{}) {
		out.Problem = problemOf(witnessesUnknown(t, err))
	}
	out.Lagging = append(out.Lagging, lag...)
	return out
}

func witnessesUnknown(t CheckpointTarget, err error) *Fault {
	return &Fault{Code: "witnesses_unknown", Detail: "whether the witnesses of the log " + t.ID + " take its next key can't be told", Next: "look at witnesses.yaml and the log", Passing: true, Err: err}
}

// checkpointOverlap is how long both keys sign.
func checkpointOverlap(w Work, _ time.Time) (time.Duration, string) {
	d := w.Params.Times.CheckpointOverlap
	return d, "until " + w.At.Add(d).UTC().Format(time.RFC3339)
}
