package tiles

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// VerifyConfig says what to verify.
type VerifyConfig struct {
	Log         string   // the log's directory, or a copy of it
	Journals    []string // the journals' directories, or copies; entries of gates whose journal is not among them are not compared
	VerifierKey string   // note verifier key, as LoadOrCreateKey returned it; its name is the origin expected. Keys that the log proves to follow it are believed
	// Remember is a file that keeps the newest checkpoint found good, so that a log rolled back or rewritten since is noticed. Keep
	// it where those who can change the log can't. Empty: nothing is remembered. It is updated only when the log is found good.
	Remember string
	// Against are checkpoints of this log that were kept elsewhere (ReadAnchor), as signed notes: the log must extend each.
	Against   [][]byte
	Witnesses []string                 // verifier keys of witnesses; empty: cosignatures are not looked at
	Quorum    int                      // how many of them must have cosigned; 0: all
	Progress  func(done, total uint64) // sealed entries; called now and then from Verify's goroutine; may be nil
}

// Verify checks a log offline: it needs no server and nothing of the one that made the log, and may run beside a sealer. It checks
// the checkpoint's signature and origin, computes the root again from the entries, compares every tile, parses every entry, compares
// with the journal entry by entry, and with the checkpoint remembered.
//
// What is wrong with the log is in the Report. An error means that it could not be verified: a bad key, a directory that is not
// there, a disk that can't be read, or ctx ended.
func Verify(ctx context.Context, cfg VerifyConfig) (Report, error) {
	v := &verification{cfg: cfg, log: logDir(cfg.Log)}
	if _, err := note.NewVerifier(cfg.VerifierKey); err != nil {
		return v.report, fmt.Errorf("verifying log: the verifier key must have the form ORIGIN+HASH+KEY: %w", err)
	}
	dirs := distinct(cfg.Journals)
	for _, dir := range append([]string{cfg.Log}, dirs...) {
		if info, err := os.Stat(dir); err != nil {
			return v.report, fmt.Errorf("verifying log: %w", err)
		} else if !info.IsDir() {
			return v.report, fmt.Errorf("verifying log: %s is not a directory", dir)
		}
	}
	keys, err := v.log.keys(cfg.VerifierKey)
	if err != nil {
		return v.report, fmt.Errorf("verifying log: %w", err)
	}
	if err := v.run(ctx, keys, dirs); err != nil {
		return v.report, fmt.Errorf("verifying log: %w", err)
	}
	return v.report, nil
}

// verification is the state of one Verify.
type verification struct {
	cfg        VerifyConfig
	log        logDir
	checkpoint checkpoint
	trusted    bool // the checkpoint is signed by the verifier key
	pins       []pin
	report     Report

	edge     frontier // computed from the entries
	levels   []level  // the tiles as stored, bottom up
	suspect  []uint64 // entries whose hash is not in the stored tile; which of the two is wrong shows at the end
	journals []*compared
	alone    bool // there is one journal, and the log is made of no other
	leftOut  map[tlog.Hash]*leftOut
	removal  removal // what retention took away
}

func (v *verification) run(ctx context.Context, keys logKeys, dirs []string) error {
	msg, err := v.readCheckpoint(keys)
	if err != nil {
		return err
	}
	if err := v.readRemembered(keys); err != nil {
		return err
	}
	v.pinKeys(keys)
	v.pinAgainst(keys)
	if err := v.pinWitnessed(keys); err != nil {
		return err
	}
	v.pinned() // those of an empty log
	// The journals are opened after the checkpoint is read: they are always ahead of the log.
	if err := v.openJournals(dirs); err != nil {
		return err
	}
	defer v.closeJournals()
	for b := range v.log.bundles(ctx, v.checkpoint.size) {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.bundle(b)
		if b.err != nil && !v.trusted {
			break // whoever made up this checkpoint could have us look for entries for ever
		}
		if v.cfg.Progress != nil {
			v.cfg.Progress(min((b.number+1)*tileWidth, v.checkpoint.size), v.checkpoint.size)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	v.finish()
	v.tail()
	if v.report.OK() && v.cfg.Remember != "" && msg != nil {
		if err := durable.WriteFile(v.cfg.Remember, msg, 0o600); err != nil {
			return fmt.Errorf("remembering checkpoint: %w", err)
		}
	}
	return nil
}

// readCheckpoint reads the log's checkpoint. One that can't be trusted is a problem, and still says how far to read.
func (v *verification) readCheckpoint(keys logKeys) ([]byte, error) {
	msg, err := os.ReadFile(filepath.Join(v.cfg.Log, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		v.report.problem(CodeCheckpointMissing, 0, "the log has no checkpoint: nothing is sealed yet, or it was removed")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	c, code, err := openCheckpoint(msg, keys)
	if code != "" {
		v.report.problem(code, 0, "%v", err)
	}
	v.checkpoint, v.trusted = c, code == ""
	v.report.Origin, v.report.Size = c.origin, c.size
	if code != CodeCheckpointMalformed {
		v.report.Root = base64.StdEncoding.EncodeToString(c.root[:])
	}
	return msg, nil
}

// readRemembered reads the checkpoint that was found good before, and compares sizes. Its root is compared on the way.
func (v *verification) readRemembered(keys logKeys) error {
	if v.cfg.Remember == "" {
		return nil
	}
	msg, err := os.ReadFile(v.cfg.Remember)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading remembered checkpoint: %w", err)
	}
	c, code, err := openCheckpoint(msg, keys)
	if code != "" {
		v.report.problem(CodeRememberedInvalid, 0, "remembered checkpoint %s: %v", v.cfg.Remember, err)
		return nil
	}
	v.addPin(pin{c, "the checkpoint seen before", &v.report.Remembered})
	return nil
}

// bundle takes one bundle into the computation.
func (v *verification) bundle(b *checkedBundle) {
	first := b.number * tileWidth
	want := width(entriesLevel, b.number, v.checkpoint.size)
	stored := v.storedHashes(0, b.number)
	removed := v.removed(b, stored)
	if !removed && b.root != (tlog.Hash{}) && slices.Equal(stored, b.hashes) && (len(v.pins) == 0 || v.pins[0].size >= first+tileWidth) {
		// What nearly every bundle is: whole, and as its tile says. Its hashes need not be joined once more.
		for i := range b.entries {
			v.entry(first+uint64(i), b, i)
		}
		v.edge.pushTree(tileHeight, b.root)
		v.pinned()
		v.pass(0, b.root)
		return
	}
	if b.err != nil && !removed {
		v.report.problem(CodeEntryMissing, first+uint64(len(b.entries)), "%v", b.err)
	}
	for i := range want {
		index := first + uint64(i)
		if i == len(b.entries) && !removed {
			v.missing(want - i)
		}
		switch {
		case i < len(b.entries):
			v.entry(index, b, i)
			if i < len(stored) && stored[i] != b.hashes[i] {
				v.suspect = append(v.suspect, index)
			}
			v.edge.push(b.hashes[i])
		case i < len(stored):
			v.edge.push(stored[i]) // so that what follows can still be placed; the entry is reported as missing
		default:
			v.edge.push(tlog.Hash{})
		}
		v.pinned()
	}
	v.tile(0, b.number, stored)
}

// entry looks at one entry's form and its counterpart in the journal.
func (v *verification) entry(index uint64, b *checkedBundle, i int) {
	v.report.Entries++
	p := b.parsed[i]
	if p.err != nil {
		v.report.problem(CodeEntryMalformed, index, "entry %d: %v", index, p.err)
	}
	if p.kind == audit.KindLost {
		v.report.note(CodeJournalLost, index, "entry %d stands for one that was acknowledged and that the journal's disk lost", index)
	}
	v.permits(index, b.entries[i], p.kind)
	v.compareJournal(index, b.entries[i], b.hashes[i])
}

// finish compares what was computed from the entries with what was signed.
func (v *verification) finish() {
	v.topTiles()
	v.allowed()
	root := v.edge.root()
	match := root == v.checkpoint.root
	if v.checkpoint.origin != "" && !match {
		v.report.problem(CodeRootMismatch, 0, "the %d entries have the root %v, the checkpoint states %v", v.checkpoint.size, root, v.checkpoint.root)
	}
	for _, index := range v.suspect {
		if match {
			// The entries are those that were signed, so it is the tile.
			v.report.problem(CodeTileMismatch, index, "tile level 0 number %d does not have the hash of entry %d", index/tileWidth, index)
		} else {
			v.report.problem(CodeEntryAltered, index, "entry %d is not the one that was sealed: altered, or moved by a removal, insertion or swap", index)
		}
	}
}
