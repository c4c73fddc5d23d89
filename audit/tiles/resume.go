package tiles

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// treeState is Tessera's record of what is integrated, published or not (storage/posix of v1.0.4, its version 1).
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// resume finds out where the log ends and checks that the journals go on from there.
//
// A crash can leave more integrated than published. That part must be what the order says. Where it is not, Tessera's tree state
// is put back to the published checkpoint: nobody has seen the rest, and it is integrated again from the journals.
func (s *sealing) resume(ctx context.Context) error {
	log := logDir(s.cfg.Log)
	published, resigned, err := s.readPublished()
	if err != nil {
		return err
	}
	state := treeState{}
	statePath := filepath.Join(s.cfg.Log, ".state", "treeState")
	raw, err := os.ReadFile(statePath)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &state); err != nil {
			return fmt.Errorf("reading tree state: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading tree state: %w", err)
	}
	if state.Size < published.size {
		return fmt.Errorf("%w: the log's tree state has %d entries, its checkpoint %d: restore the log's directory, .state included",
			ErrDiverged, state.Size, published.size)
	}
	edge, err := log.readFrontier(published.size)
	if err != nil {
		return fmt.Errorf("reading the log's right edge: %w", err)
	}
	if edge.root() != published.root {
		return fmt.Errorf("%w: the log's tiles do not have the root of its checkpoint (%d entries): verify it, and restore it from a copy",
			ErrDiverged, published.size)
	}
	if resigned != nil {
		// What it says is the same, so a crash leaves one as good as the other.
		if err := durable.WriteFile(filepath.Join(s.cfg.Log, checkpointName), resigned, 0o644); err != nil {
			return fmt.Errorf("signing the checkpoint with the keys of now: %w", err)
		}
	}
	s.guard = &guard{Signer: s.signers[0], origin: s.signers[0].Name(), edge: edge}
	if err := s.resumeOrder(ctx, published.size); err != nil {
		return err
	}
	return s.resumeState(ctx, published, state, statePath)
}

// resumeOrder reads the order, or derives what is missing of it. An order that is behind its log, or ahead of it, is of a copy that was
// put back by hand: what it says cannot be relied on, and it is derived again.
func (s *sealing) resumeOrder(ctx context.Context, published uint64) error {
	s.inputs = inputs{cfg: s.cfg}
	o, ok, err := logDir(s.cfg.Log).readOrder()
	if err != nil {
		return err
	}
	if !ok || o.Size > published || o.end() < published {
		if o, err = s.inputs.derive(ctx, published); err != nil {
			return fmt.Errorf("deriving the log's order: %w", err)
		}
		if published > 0 {
			s.cfg.Logger.InfoContext(ctx, "the log's order was derived again from log and journals", "entries", published)
		}
	}
	if o.Sources == nil {
		o.Sources = map[string]cursor{}
	}
	s.order = o
	return nil
}

// resumeState brings the guard and the journals' readers to the end of what is integrated.
func (s *sealing) resumeState(ctx context.Context, published checkpoint, state treeState, statePath string) error {
	integrated := s.order.after(published.size)
	if err := s.inputs.look(ctx, &s.order); err != nil {
		return err
	}
	check := &frontier{size: published.size, roots: append([]tlog.Hash(nil), s.guard.edge.roots...)}
	var leaves []tlog.Hash
	b, err := s.inputs.replay(integrated)
	if err != nil {
		return err
	}
	for _, e := range b.entries[:min(uint64(len(b.entries)), state.Size-published.size)] {
		check.push(e.leaf)
		leaves = append(leaves, e.leaf)
	}
	if root := check.root(); state.Size > published.size && (check.size != state.Size || string(root[:]) != string(state.Root)) {
		s.cfg.Logger.ErrorContext(ctx, "log had entries integrated that are not the journals'; going back to its checkpoint",
			"integrated", state.Size, "published", published.size)
		raw, err := json.Marshal(treeState{Size: published.size, Root: published.root[:]})
		if err != nil {
			return fmt.Errorf("writing tree state: %w", err)
		}
		if err := durable.WriteFile(statePath, raw, 0o644); err != nil {
			return fmt.Errorf("writing tree state: %w", err)
		}
		return errors.New("the log's tree state was put back to its checkpoint")
	}
	for _, leaf := range leaves {
		s.guard.expect(leaf)
	}
	s.next = state.Size
	s.planned = s.order.after(state.Size)
	return s.inputs.rewind(s.planned)
}

// readPublished returns what the log's checkpoint says, after checking that one of the keys that sign now has signed it, or one that such a key
// follows by the log's own history. resigned is the same checkpoint with the signatures of the keys of now; nil when it has these.
func (s *sealing) readPublished() (c checkpoint, resigned []byte, err error) {
	origin := s.signers[0].Name()
	msg, err := os.ReadFile(filepath.Join(s.cfg.Log, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint{origin: origin, root: (&frontier{}).root()}, nil, nil
	}
	if err != nil {
		return checkpoint{}, nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	text, err := signedText(msg)
	if err != nil {
		return checkpoint{}, nil, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	if c, err = parseCheckpoint(text); err != nil {
		return checkpoint{}, nil, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	again, err := note.Sign(&note.Note{Text: text}, s.signers...)
	if err != nil {
		return checkpoint{}, nil, fmt.Errorf("checking checkpoint: %w", err)
	}
	if c.origin == origin && bytes.Equal(again, msg) {
		return c, nil, nil
	}
	ours, err := s.signedBefore(text, msg)
	if err != nil {
		return checkpoint{}, nil, fmt.Errorf("checking checkpoint: %w", err)
	}
	if c.origin != origin || !ours {
		return checkpoint{}, nil, fmt.Errorf("%w: the log's checkpoint (of %q) was not signed with this key (of %q): use its key, or a new log directory",
			ErrDiverged, c.origin, origin)
	}
	return c, again, nil
}

// signedBefore reports whether a checkpoint is signed by a key of now, or by one that a key of now follows. A note is signed again and compared,
// Ed25519 being deterministic (RFC 8032 section 5.1.6).
func (s *sealing) signedBefore(text string, msg []byte) (bool, error) {
	for _, signer := range s.signers {
		line, err := signatureOf(text, signer)
		if err != nil {
			return false, err
		}
		if bytes.Contains(msg, []byte("\n"+line)) {
			return true, nil
		}
	}
	links, err := readHistory(os.DirFS(s.cfg.Log))
	if err != nil || len(links) == 0 {
		return false, err
	}
	steps, err := followAll(links)
	if err != nil {
		return false, err
	}
	for i, step := range steps {
		v, err := note.NewVerifier(step.to)
		if err != nil || v.KeyHash() != s.signers[0].KeyHash() {
			continue
		}
		keys, err := logDir(s.cfg.Log).keys(steps[0].from)
		if err != nil {
			return false, err
		}
		keys.verifiers = keys.verifiers[:i+2]
		_, code, _ := openCheckpoint(msg, keys)
		return code == "", nil
	}
	return false, nil
}
