package tiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// treeState is Tessera's record of what is integrated, published or not (storage/posix of v1.0.4, its version 1).
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// resume finds out where the log ends and checks that the journal goes on from there.
//
// A crash can leave more integrated than published. That part must be what the journal says. Where it is not, Tessera's tree state
// is put back to the published checkpoint: nobody has seen the rest, and it is integrated again from the journal.
func (s *sealing) resume(ctx context.Context) error {
	log := logDir(s.cfg.Log)
	published, err := s.readPublished()
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
	s.guard = &guard{Signer: s.cfg.Signer, origin: s.cfg.Signer.Name(), edge: edge}
	return s.resumeJournal(ctx, published, state, statePath)
}

// resumeJournal brings the reader and the guard to the end of what is integrated.
func (s *sealing) resumeJournal(ctx context.Context, published checkpoint, state treeState, statePath string) (err error) {
	s.journal, err = audit.OpenReader(s.cfg.Journal, max(published.size, 1)-1)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.journal.Close()
		}
	}()
	check := &frontier{size: published.size, roots: append([]tlog.Hash(nil), s.guard.edge.roots...)}
	for s.next = max(published.size, 1) - 1; s.next < state.Size; s.next++ {
		_, raw, err := s.journal.Next()
		if errors.Is(err, io.EOF) {
			return s.journalEnds(state.Size)
		}
		if err != nil {
			return fmt.Errorf("reading journal: %w", err)
		}
		leaf := tlog.RecordHash(raw)
		if s.next < published.size {
			if err := s.checkLast(published.size, leaf); err != nil {
				return err
			}
			continue
		}
		check.push(leaf)
		s.guard.expect(leaf)
	}
	if root := check.root(); state.Size > published.size && string(root[:]) != string(state.Root) {
		s.cfg.Logger.ErrorContext(ctx, "log had entries integrated that are not the journal's; going back to its checkpoint",
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
	return nil
}

// checkLast compares the last published entry with the journal's: the cheapest sign that they belong together. Verify compares all.
func (s *sealing) checkLast(size uint64, leaf tlog.Hash) error {
	index := size - 1
	tile, err := logDir(s.cfg.Log).readTile(0, index/tileWidth, size)
	if err != nil {
		return err
	}
	if sealed := tile[index%tileWidth*tlog.HashSize:][:tlog.HashSize]; string(sealed) != string(leaf[:]) {
		return fmt.Errorf("%w: entry %d of the journal is not the one in the log: use the journal that the log was made from, or a new log directory",
			ErrDiverged, index)
	}
	return nil
}

// journalEnds says what it means that the journal ends before the log.
func (s *sealing) journalEnds(sealed uint64) error {
	if n, known := s.journal.Acknowledged(); known {
		return fmt.Errorf("%w: the log has %d entries, the journal only %d: use the journal that the log was made from, or a new log directory",
			ErrDiverged, sealed, n)
	}
	return fmt.Errorf("the log has %d entries but there is no journal in %s yet", sealed, s.cfg.Journal)
}

// readPublished returns what the log's checkpoint says, after checking that it was signed with our key: the note is signed again
// and compared, Ed25519 being deterministic (RFC 8032 section 5.1.6).
func (s *sealing) readPublished() (checkpoint, error) {
	empty := checkpoint{origin: s.cfg.Signer.Name(), root: (&frontier{}).root()}
	msg, err := os.ReadFile(filepath.Join(s.cfg.Log, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return checkpoint{}, fmt.Errorf("reading checkpoint: %w", err)
	}
	text, err := signedText(msg)
	if err != nil {
		return checkpoint{}, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	c, err := parseCheckpoint(text)
	if err != nil {
		return checkpoint{}, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	again, err := note.Sign(&note.Note{Text: text}, s.cfg.Signer)
	if err != nil {
		return checkpoint{}, fmt.Errorf("checking checkpoint: %w", err)
	}
	if c.origin != s.cfg.Signer.Name() || string(again) != string(msg) {
		return checkpoint{}, fmt.Errorf("%w: the log's checkpoint (of %q) was not signed with this key (of %q): use its key, or a new log directory",
			ErrDiverged, c.origin, s.cfg.Signer.Name())
	}
	return c, nil
}
