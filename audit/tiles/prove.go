package tiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
)

// ErrNotFound is wrapped by the error of Prove when the log has no such entry.
var ErrNotFound = errors.New("no such entry in the log")

// ErrNotSealed is wrapped by the error of Prove when the entry is in the journal and under no checkpoint yet.
var ErrNotSealed = errors.New("entry is not sealed yet; a running sealer does so within a second")

// ProveConfig says what to prove.
type ProveConfig struct {
	Log         string   // the log's directory, or a copy of it
	Journals    []string // the journals'; may be empty: only used to tell an entry that is not sealed from one that is not there
	VerifierKey string   // the log's; the bundle proves the keys that follow it, where one of those signed the checkpoint
	ID          string   // the entry's id; when empty, Index counts. Finding an id reads the log from its end: with an index at hand, give Index
	Index       uint64
	// KeyEntries are indexes of the gate's entries that name attestation keys, from a search index; nil: the log is read backwards for
	// the last one.
	KeyEntries []uint64
	// IssuerKeyEntries has the index of the gate's entry with the issuer's key that signed the caller's token, from a search index, and nothing
	// when there is none; nil: the log is read backwards for it.
	IssuerKeyEntries []uint64
	Keys             attest.KeySet // attestation keys; those that the key history names go into the bundle
	Attestation      string        // of the decision, as its run's history has it; may be empty
	Blobs            string        // directory of texts by digest; empty, or without the text: the bundle has no policy texts
}

// Prove makes the bundle of one sealed entry. It verifies what it makes before it returns it.
func Prove(ctx context.Context, cfg ProveConfig) (Bundle, error) {
	p, err := newProver(cfg)
	if err != nil {
		return Bundle{}, fmt.Errorf("proving: %w", err)
	}
	b, err := p.bundle(ctx)
	if err != nil {
		return Bundle{}, fmt.Errorf("proving: %w", err)
	}
	if _, err := verifyBundle(b, Trust{LogKeys: []string{cfg.VerifierKey}}); err != nil {
		return Bundle{}, fmt.Errorf("proving: the log's files do not prove entry %d; run a full verification: %w", b.Entry.Index, err)
	}
	return b, nil
}

type prover struct {
	cfg        ProveConfig
	log        logDir
	checkpoint checkpoint
	message    string    // the signed checkpoint
	key        string    // that signed it
	links      []KeyLink // from the key that is known to that one
}

func newProver(cfg ProveConfig) (*prover, error) {
	keys, err := logDir(cfg.Log).keys(cfg.VerifierKey)
	if err != nil {
		return nil, err
	}
	msg, err := os.ReadFile(filepath.Join(cfg.Log, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the log has no checkpoint: %w", ErrNotSealed)
	}
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	c, code, err := openCheckpoint(msg, keys)
	if code != "" {
		return nil, refuse(code, "%v", err)
	}
	// Signatures of others, which a bundle's verifier could not check, stay out of it.
	p := &prover{cfg: cfg, log: logDir(cfg.Log), checkpoint: c}
	if p.message, p.key, p.links, err = keys.own(msg); err != nil {
		return nil, refuse(CodeCheckpointSignature, "%v", err)
	}
	return p, nil
}

func (p *prover) bundle(ctx context.Context) (Bundle, error) {
	index := p.cfg.Index
	if p.cfg.ID != "" {
		var err error
		if index, err = p.find(ctx, p.cfg.ID); err != nil {
			return Bundle{}, err
		}
	}
	if index >= p.checkpoint.size {
		return Bundle{}, p.absent(ctx, index)
	}
	b := Bundle{
		Type: BundleType, Version: VersionWith(p.links), Origin: p.checkpoint.origin, VerifierKey: p.key,
		Checkpoint: p.message, LogKeys: p.links, Attestation: p.cfg.Attestation,
	}
	var err error
	if b.Entry, err = p.prove(index); err != nil {
		return Bundle{}, err
	}
	e, err := audit.ParseEntry([]byte(b.Entry.Raw))
	if err != nil {
		return Bundle{}, err
	}
	if err := p.keys(ctx, &b, e); err != nil {
		return Bundle{}, err
	}
	if err := p.issuerKey(ctx, &b, e); err != nil {
		return Bundle{}, err
	}
	b.Policy, err = p.policy(e)
	return b, err
}

// absent says why there is nothing at index.
func (p *prover) absent(ctx context.Context, index uint64) error {
	for r, err := range Scan(ctx, p.unsealed(index)) {
		if err == nil && r.Index == index {
			return fmt.Errorf("entry %d: %w", index, ErrNotSealed)
		}
		break
	}
	return fmt.Errorf("entry %d of %d: %w", index, p.checkpoint.size, ErrNotFound)
}

// unsealed is a scan of what the journals have from an index on.
func (p *prover) unsealed(index uint64) ScanConfig {
	if len(p.cfg.Journals) == 0 {
		return ScanConfig{}
	}
	return ScanConfig{Log: p.cfg.Log, Journals: p.cfg.Journals, From: index}
}

// find looks an id up from the end of the log, where the entry that somebody asks for mostly is.
func (p *prover) find(ctx context.Context, id string) (uint64, error) {
	index, _, err := p.last(ctx, p.checkpoint.size, []byte(`"id":"`+id+`"`), func(e audit.Entry) bool { return e.ID == id })
	if !errors.Is(err, ErrNotFound) {
		return index, err
	}
	for r, err := range Scan(ctx, p.unsealed(p.checkpoint.size)) {
		if err == nil && r.Entry.ID == id {
			return 0, fmt.Errorf("entry %d: %w", r.Index, ErrNotSealed)
		}
	}
	return 0, fmt.Errorf("entry with the id %.80q: %w", id, ErrNotFound)
}

// last returns the last entry before the index that holds the hint and that wants takes.
func (p *prover) last(ctx context.Context, before uint64, hint []byte, wants func(audit.Entry) bool) (uint64, audit.Entry, error) {
	for before > 0 {
		n := (before - 1) / tileWidth
		entries, err := p.log.readBundle(n, p.checkpoint.size)
		if errors.Is(err, ErrRemoved) {
			return 0, audit.Entry{}, ErrNotFound
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, audit.Entry{}, err
		}
		for i := before - n*tileWidth; i > 0; i-- {
			if raw := entries[i-1]; bytes.Contains(raw, hint) {
				if e, err := audit.ParseEntry(raw); err == nil && wants(e) {
					return n*tileWidth + i - 1, e, nil
				}
			}
		}
		before = n * tileWidth
	}
	return 0, audit.Entry{}, ErrNotFound
}

// prove makes one inclusion proof.
func (p *prover) prove(index uint64) (ProvenEntry, error) {
	entries, err := p.log.readBundle(index/tileWidth, p.checkpoint.size)
	if err != nil {
		return ProvenEntry{}, err
	}
	tree := tlog.Tree{N: int64(p.checkpoint.size), Hash: p.checkpoint.root}
	proof, err := tlog.ProveRecord(tree.N, int64(index), tlog.TileHashReader(tree, tileReader{p.log, p.checkpoint.size}))
	if err != nil {
		return ProvenEntry{}, fmt.Errorf("proving entry %d: %w", index, err)
	}
	pe := ProvenEntry{Index: index, Raw: string(entries[index%tileWidth]), Proof: []string{}}
	for _, h := range proof {
		pe.Proof = append(pe.Proof, h.String())
	}
	return pe, nil
}

// tileReader lets tlog read the log's tiles; it checks them against the root.
type tileReader struct {
	log  logDir
	size uint64
}

func (tileReader) Height() int                         { return tileHeight }
func (tileReader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := r.log.readTile(t.L, uint64(t.N), r.size)
		if err != nil {
			return nil, err
		}
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile level %d number %d has %d hashes, expected %d", t.L, t.N, len(data)/tlog.HashSize, t.W)
		}
		all[i] = data[:t.W*tlog.HashSize]
	}
	return all, nil
}
