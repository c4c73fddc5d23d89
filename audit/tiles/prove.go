package tiles

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
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

// keys puts the key history and the keys that it names into the bundle.
func (p *prover) keys(ctx context.Context, b *Bundle, e audit.Entry) error {
	indexes := slices.Clone(p.cfg.KeyEntries)
	if indexes == nil {
		i, _, err := p.last(ctx, b.Entry.Index, []byte(keyDetail), func(k audit.Entry) bool { return namesKey(k, e.Gate) })
		if err == nil {
			indexes = append(indexes, i)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	slices.Sort(indexes)
	var keys []attest.Key
	for _, i := range slices.Compact(indexes) {
		if i >= b.Entry.Index {
			continue
		}
		pe, err := p.prove(i)
		if err != nil {
			return err
		}
		k, err := audit.ParseEntry([]byte(pe.Raw))
		if err != nil || !namesKey(k, e.Gate) {
			return fmt.Errorf("entry %d does not name an attestation key of gate %q", i, e.Gate)
		}
		b.KeyHistory = append(b.KeyHistory, pe)
		for _, key := range p.cfg.Keys.Keys() {
			if key.ID == k.Detail[keyDetail] && !slices.ContainsFunc(keys, func(have attest.Key) bool { return have.ID == key.ID }) {
				keys = append(keys, attest.Key{Public: key.Public}) // its validity is not on record, so it is not told
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	set, err := attest.NewKeySet(keys...)
	if err != nil {
		return err
	}
	b.Keys = set.JSON()
	return nil
}

// issuerKey puts the key that signed the caller's token into the bundle.
func (p *prover) issuerKey(ctx context.Context, b *Bundle, e audit.Entry) error {
	if e.Actor.TokenKey == "" {
		return nil
	}
	var index uint64
	switch found := p.cfg.IssuerKeyEntries; {
	case len(found) > 0:
		index = found[len(found)-1]
	case found != nil:
		return nil
	default:
		var err error
		index, _, err = p.last(ctx, b.Entry.Index, []byte(`"use":"issuer"`), func(k audit.Entry) bool { return HoldsIssuerKey(k, e) })
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	proven, err := p.prove(index)
	if err != nil {
		return err
	}
	b.IssuerKey = &proven
	return nil
}

// HoldsIssuerKey reports whether an entry is one by which the gate of a decision put the key on record that signed the caller's token. Where
// the caller is known by a pseudonym alone, the key's id has to do.
func HoldsIssuerKey(k, decision audit.Entry) bool {
	d := k.Detail
	if k.Kind != audit.KindKey || d["use"] != audit.UseIssuer || k.Gate != decision.Gate || d["kid"] == "" || d["kid"] != decision.Actor.TokenKey || d["jwk"] == "" {
		return false
	}
	kind, rest, _ := strings.Cut(decision.Actor.Principal, ":")
	return kind != "user" && kind != "client" || strings.HasPrefix(rest, d["issuer"]+"|")
}

// keyDetail is the detail by which a gate's entry names the key that it attests with from then on, by its id.
const keyDetail = "attestation_key"

func namesKey(e audit.Entry, gate string) bool {
	return (e.Kind == audit.KindGate || e.Kind == audit.KindKey) && e.Gate == gate && e.Detail[keyDetail] != ""
}

// policy returns the texts of the set that decided. A text that is not kept, or that JSON can't carry, is left out.
func (p *prover) policy(e audit.Entry) ([]PolicyText, error) {
	if p.cfg.Blobs == "" || e.Decision == nil || e.Decision.PolicyDigest == "" {
		return nil, nil
	}
	raw, err := blobs.Get(p.cfg.Blobs, e.Decision.PolicyDigest)
	if errors.Is(err, blobs.ErrNotFound) || errors.Is(err, blobs.ErrNoDigest) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	texts, err := splitPolicy(raw)
	if err != nil || !utf8.Valid(raw) && !validTexts(texts) || len(raw) > MaxBundle/2 {
		return nil, err
	}
	return texts, nil
}

func validTexts(texts []PolicyText) bool {
	return !slices.ContainsFunc(texts, func(t PolicyText) bool { return !utf8.ValidString(t.Name) || !utf8.ValidString(t.Text) })
}

// splitPolicy reads the form that a policy set's digest is the SHA-256 of: for each text the lengths of name and content (big-endian
// uint64), name and content.
func splitPolicy(raw []byte) ([]PolicyText, error) {
	var texts []PolicyText
	for len(raw) > 0 {
		if len(raw) < 16 {
			return nil, errors.New("policy texts end inside a length")
		}
		name, content := binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
		raw = raw[16:]
		if name > uint64(len(raw)) || content > uint64(len(raw))-name {
			return nil, errors.New("policy texts end inside a text")
		}
		texts = append(texts, PolicyText{Name: string(raw[:name]), Text: string(raw[name : name+content])})
		raw = raw[name+content:]
	}
	return texts, nil
}

func joinPolicy(texts []PolicyText) []byte {
	var b []byte
	for _, t := range texts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(t.Name)))
		b = binary.BigEndian.AppendUint64(b, uint64(len(t.Text)))
		b = append(b, t.Name...)
		b = append(b, t.Text...)
	}
	return b
}
