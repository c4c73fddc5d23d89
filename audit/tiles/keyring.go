package tiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// ErrNoNextKey is wrapped by the error of a Keyring's step that needs a next key which is not there.
var ErrNoNextKey = errors.New("the log has no next key")

// ErrSignedByOneKey is wrapped by the error of Keyring.Switch while the published checkpoint is not signed by the next key too.
var ErrSignedByOneKey = errors.New("the log's checkpoint is not signed by its next key yet; a running sealer does so within a second")

// KeyringConfig says where a log's keys are.
type KeyringConfig struct {
	Path   string // file of the key that signs; the next one is beside it, with ".next" behind its name. Both have the mode 0600
	Origin string // of the log
	Log    string // the log's directory, which keeps the history of its keys
}

// Keyring is a log's signing key and, while it is being replaced, the next one. What the files are says how far that is:
//
//	the key alone                        it signs
//	the next one beside it               the same; nobody knows the next one
//	and the log proves that it follows   both sign each checkpoint
//	the next one in the key's place      it signs; the earlier one is gone for good
//
// Each step is one write or rename, so a crash leaves the state before or after it. The steps are for one process at a time; reading is for any.
type Keyring struct{ cfg KeyringConfig }

// OpenKeyring opens a log's keys, and makes the first one when there is none.
func OpenKeyring(cfg KeyringConfig) (*Keyring, error) {
	if cfg.Log == "" {
		return nil, errors.New("opening the log's keys: it needs the log's directory")
	}
	if _, _, err := LoadOrCreateKey(cfg.Path, cfg.Origin); err != nil {
		return nil, err
	}
	return &Keyring{cfg}, nil
}

// KeyringState is how a log's keys are. Keys are note verifier keys.
type KeyringState struct {
	First   string      `json:"first"`             // by which the log is known; the others follow from it
	Key     string      `json:"key"`               // signs, and is the last that goes on alone
	Next    string      `json:"next,omitempty"`    // is about to replace it
	Linked  bool        `json:"linked"`            // the log proves that Next follows, so it signs too
	Signed  []string    `json:"signed"`            // which of all these have signed the published checkpoint, oldest first
	History []LogKeyUse `json:"history,omitempty"` // keys that followed the first, Next among them when it is linked
	Since   time.Time   `json:"since,omitzero"`    // when Key was put on record; zero: it is the first
}

// State reads how the keys are.
func (k *Keyring) State() (s KeyringState, err error) {
	_, next, _, key, steps, err := k.read()
	if err != nil {
		return s, err
	}
	s = KeyringState{First: key, Key: key, Next: next, Signed: []string{}, Linked: linked(steps, key, next)}
	for _, step := range steps {
		if s.History = append(s.History, step.use); step.to == key {
			s.Since = step.use.Time
		}
	}
	if len(steps) > 0 {
		s.First = steps[0].from
	}
	msg, err := os.ReadFile(filepath.Join(k.cfg.Log, checkpointName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("reading checkpoint: %w", err)
	}
	all := []string{s.First}
	for _, use := range s.History {
		all = append(all, use.Key)
	}
	for _, name := range append(all, key, next) {
		if slices.Contains(s.Signed, name) {
			continue
		}
		if v, err := note.NewVerifier(name); err == nil {
			if _, err := note.Open(msg, note.VerifierList(v)); err == nil {
				s.Signed = append(s.Signed, name)
			}
		}
	}
	return s, nil
}

// Signers are those that sign checkpoints now, for SealerConfig.
func (k *Keyring) Signers() ([]note.Signer, error) {
	nextSigner, next, signer, key, steps, err := k.read()
	if err != nil {
		return nil, err
	}
	if linked(steps, key, next) {
		return []note.Signer{signer, nextSigner}, nil
	}
	return []note.Signer{signer}, nil
}

// read reads the files; a key that is gone is not made anew. The next key comes first: were it renamed in between, it would be read as the key, and not be missed.
func (k *Keyring) read() (nextSigner note.Signer, next string, signer note.Signer, key string, steps []followed, err error) {
	nextSigner, next, err = loadKey(k.next(), k.cfg.Origin)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil, "", nil, fmt.Errorf("reading the log's next key: %w", err)
	}
	if signer, key, err = loadKey(k.cfg.Path, k.cfg.Origin); err != nil {
		return nil, "", nil, "", nil, err
	}
	links, err := readHistory(os.DirFS(k.cfg.Log))
	if err == nil {
		steps, err = followAll(links)
	}
	if err != nil {
		return nil, "", nil, "", nil, err
	}
	if next == key {
		nextSigner, next = nil, ""
	}
	return nextSigner, next, signer, key, steps, nil
}

// linked reports whether the log proves that the one key follows the other.
func linked(steps []followed, from, to string) bool {
	return to != "" && slices.ContainsFunc(steps, func(s followed) bool { return s.from == from && s.to == to })
}

func (k *Keyring) next() string { return k.cfg.Path + ".next" }

// MakeNext makes the next key, or finds the one that was made before.
func (k *Keyring) MakeNext() (next string, err error) {
	_, next, err = LoadOrCreateKey(k.next(), k.cfg.Origin)
	return next, err
}

// Announcement is the detail of the entry of kind key that puts the next key on record. It holds no personal data, and the entry must hold none: it
// is published, and goes into each bundle. The same keys give the same announcement.
func (k *Keyring) Announcement() (map[string]string, error) {
	nextSigner, next, signer, key, _, err := k.read()
	if err != nil {
		return nil, err
	}
	if next == "" {
		return nil, ErrNoNextKey
	}
	statement, err := stateSuccession(key, next, signer, nextSigner)
	if err != nil {
		return nil, fmt.Errorf("stating which key follows: %w", err)
	}
	return map[string]string{"use": UseCheckpoint, "event": "published", "kid": KeyID(next), "previous": KeyID(key), "key": next, SuccessionDetail: statement}, nil
}

// Link proves that the next key follows, once the entry with the announcement is under a checkpoint of the present key, and keeps the proof beside
// the log: from then on both sign. from is a size that the log had before that entry. The error wraps ErrNotSealed until then.
func (k *Keyring) Link(ctx context.Context, from uint64) error {
	announced, err := k.Announcement()
	if err != nil {
		return err
	}
	_, next, _, key, steps, err := k.read()
	if err != nil || linked(steps, key, next) {
		return err
	}
	if len(steps) > 0 && steps[len(steps)-1].to != key {
		return refuse(CodeKeyHistory, "the log's history of keys ends with %s, and the key is %s", KeyID(steps[len(steps)-1].to), KeyID(key))
	}
	p, err := newProver(ProveConfig{Log: k.cfg.Log, VerifierKey: key})
	if err != nil {
		return fmt.Errorf("proving the next key: %w", err)
	}
	for r, err := range Scan(ctx, ScanConfig{Log: k.cfg.Log, From: from}) {
		if err != nil && r.Raw == nil {
			return fmt.Errorf("proving the next key: %w", err)
		}
		if r.Index >= p.checkpoint.size {
			break
		}
		if r.Entry.Kind == audit.KindKey && r.Entry.Detail[SuccessionDetail] == announced[SuccessionDetail] {
			return k.link(p, r.Index)
		}
	}
	return fmt.Errorf("proving the next key: the entry that announces it: %w", ErrNotSealed)
}

func (k *Keyring) link(p *prover, index uint64) error {
	entry, err := p.prove(index)
	if err != nil {
		return fmt.Errorf("proving the next key: %w", err)
	}
	links, err := readHistory(os.DirFS(k.cfg.Log))
	if err != nil {
		return err
	}
	links = append(links, KeyLink{Checkpoint: p.message, Entry: entry})
	if _, err := followAll(links); err != nil {
		return fmt.Errorf("proving the next key: %w", err)
	}
	return logDir(k.cfg.Log).writeHistory(links)
}

// Switch gives the key's place to the next one. From then on the earlier one signs nothing, and its private half is gone. It is refused while the
// published checkpoint is not signed by the next key: a log whose key nobody can follow would be lost.
func (k *Keyring) Switch() error {
	s, err := k.State()
	if err != nil {
		return err
	}
	if s.Next == "" {
		return ErrNoNextKey
	}
	if !s.Linked || !slices.Contains(s.Signed, s.Next) {
		return fmt.Errorf("switching to the key %s: %w", KeyID(s.Next), ErrSignedByOneKey)
	}
	if err := errors.Join(os.Rename(k.next(), k.cfg.Path), durable.SyncDir(filepath.Dir(k.cfg.Path))); err != nil {
		return fmt.Errorf("switching to the key %s: %w", KeyID(s.Next), err)
	}
	return nil
}

// Discard takes back a next key. What it signed is signed by the present key as well.
func (k *Keyring) Discard() error {
	_, _, _, key, steps, err := k.read()
	if err != nil {
		return err
	}
	// First the proof, so that it stops to sign before it is gone.
	if n := len(steps); n > 0 && steps[n-1].from == key {
		links, err := readHistory(os.DirFS(k.cfg.Log))
		if err != nil {
			return err
		}
		if err := logDir(k.cfg.Log).writeHistory(links[:n-1]); err != nil {
			return err
		}
	}
	err = os.Remove(k.next())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(err, durable.SyncDir(filepath.Dir(k.cfg.Path))); err != nil {
		return fmt.Errorf("removing the log's next key: %w", err)
	}
	return nil
}

// Origin is the log's.
func (k *Keyring) Origin() string { return k.cfg.Origin }

// SealedSize is the size of the log, unverified.
func (k *Keyring) SealedSize() (uint64, error) { return SealedSize(k.cfg.Log) }

// sameSigners reports whether two lists are of the same keys, in the same order.
func sameSigners(a, b []note.Signer) bool {
	return slices.EqualFunc(a, b, func(x, y note.Signer) bool { return x.Name() == y.Name() && x.KeyHash() == y.KeyHash() })
}

// signatureOf is the line that a signer writes below a text.
func signatureOf(text string, s note.Signer) (string, error) {
	msg, err := note.Sign(&note.Note{Text: text}, s)
	return strings.TrimPrefix(string(msg), text+"\n"), err
}
