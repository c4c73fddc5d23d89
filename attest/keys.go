package attest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// KeysConfig says where a gate's signing keys are and how they follow each other.
type KeysConfig struct {
	// Path is a directory: one private key a file (*.pem, mode 0600), and keys.json, the published set with each key's validity, which
	// OpenKeys keeps. A key file that is put there becomes the next key, one that is taken away retires its key. Files *.jwks hold public
	// keys of other gates, whose statements are to be recognised. An absent path is created: as one key file if its name has an
	// extension, as a directory otherwise. A single key file never rotates.
	Path string
	// Overlap is how long a key is published before it signs, so that every worker knows it by then. Default 10 minutes: twice the time
	// between a worker's looks at the published keys.
	Overlap time.Duration
	// Lifetime is how long a key signs before the next one is made. Default 0: until somebody puts the next one there.
	Lifetime time.Duration
	// Every is the time between looks at the directory. Default 10 seconds.
	Every time.Duration
	// OnEvent hears of each step in a key's life, in order. It is not called concurrently.
	OnEvent func(KeyEvent)
	Clock   func() time.Time // default time.Now
	Logger  *slog.Logger     // default discards
}

const (
	defaultOverlap = 10 * time.Minute
	defaultEvery   = 10 * time.Second
	// drain is how long a key stays valid after its successor began: gates' clocks differ a little.
	drain    = time.Minute
	manifest = "keys.json"
)

// Keys are the signing keys of a gate.
type Keys struct {
	cfg    KeysConfig
	signer *Signer
	single bool // one key in one file

	mu       sync.Mutex // covers a look at the directory, and the three below
	active   string     // the key that signed at the last look
	told     KeySet     // keys as OnEvent knows them
	lookedAt time.Time  // when it was told
}

// OpenKeys reads the keys, makes the first if there is none, and tells OnEvent of all that are published. Nothing happens later unless Watch runs.
func OpenKeys(cfg KeysConfig) (*Keys, error) {
	if cfg.Overlap <= 0 {
		cfg.Overlap = defaultOverlap
	}
	if cfg.Every <= 0 {
		cfg.Every = defaultEvery
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(KeyEvent) {}
	}
	k := &Keys{cfg: cfg}
	info, err := os.Stat(cfg.Path)
	switch {
	case err == nil:
		k.single = !info.IsDir()
	case errors.Is(err, fs.ErrNotExist):
		k.single = filepath.Ext(cfg.Path) != ""
	default:
		return nil, fmt.Errorf("opening attestation keys: %w", err)
	}
	if k.single {
		if k.signer, err = LoadOrCreateSigner(cfg.Path); err != nil {
			return nil, err
		}
		k.signer.now = cfg.Clock
		k.tell(k.signer.PublicKeySet())
		return k, nil
	}
	if err := os.MkdirAll(cfg.Path, 0o700); err != nil {
		return nil, fmt.Errorf("opening attestation keys: %w", err)
	}
	k.signer = newSigner(cfg.Clock, nil, KeySet{})
	if err := k.Look(); err != nil {
		return nil, err
	}
	return k, nil
}

// Signer signs with the key that is due. It stays the same while keys come and go.
func (k *Keys) Signer() *Signer { return k.signer }

// Watch looks at the directory until the context ends. A look that fails changes nothing and is logged.
func (k *Keys) Watch(ctx context.Context) {
	if k.single {
		return
	}
	tick := time.NewTicker(k.cfg.Every)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := k.Look()
		if err != nil && !failed {
			k.cfg.Logger.ErrorContext(ctx, "looking at the attestation keys failed; the last good ones stay in use", "error", err)
		}
		failed = err != nil
	}
}

// Look brings the directory, the published set and the signer to agree, as they should be at this moment.
func (k *Keys) Look() error {
	if k.single {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	unlock, err := lockKeys(k.cfg.Path)
	if err != nil {
		return err
	}
	defer func() {
		if err := unlock(); err != nil {
			k.cfg.Logger.Warn("unlocking the attestation keys failed", "error", err)
		}
	}()
	now := k.cfg.Clock().Truncate(time.Second).UTC()
	dir, err := readKeyDir(k.cfg.Path)
	if err != nil {
		return err
	}
	for _, problem := range dir.problems {
		k.cfg.Logger.Warn("passing over a file among the attestation keys", "error", problem)
	}
	before := dir.own.JSON()
	created, err := k.follow(&dir, now)
	if err != nil {
		return err
	}
	// Published before it is used: a crash here leaves a key that is known and has signed nothing.
	if after := dir.own.JSON(); string(after) != string(before) {
		if err := durable.WriteFile(filepath.Join(k.cfg.Path, manifest), append(after, '\n'), 0o644); err != nil {
			return fmt.Errorf("publishing the attestation keys: %w", err)
		}
	}
	for _, id := range created {
		key, _ := dir.own.lookup(id)
		k.cfg.OnEvent(KeyEvent{Event: KeyCreated, Key: key})
	}
	k.signer.use(dir.private, dir.peers.Merge(dir.own))
	k.tell(dir.own)
	return nil
}

// lockKeys keeps two processes with one directory from writing the published set at the same time. A look takes milliseconds.
func lockKeys(dir string) (unlock func() error, err error) {
	for range 40 {
		if unlock, err = durable.Lock(filepath.Join(dir, ".lock")); !errors.Is(err, durable.ErrLocked) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the attestation keys: %w", err)
	}
	return unlock, nil
}

// follow decides each key's validity: a new one begins after the overlap and ends the one before it; one whose file is gone ends now.
func (k *Keys) follow(dir *keyDir, now time.Time) (created []string, err error) {
	for _, key := range dir.own.keys {
		switch _, held := dir.private[key.ID]; {
		case held:
		case key.NotBefore.After(now):
			dir.drop(key.ID)
		case key.NotAfter.IsZero() || key.NotAfter.After(now):
			dir.own = dir.own.Retire(key.ID, now)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(dir.private)) {
		if _, known := dir.own.lookup(id); !known {
			k.begin(dir, dir.private[id], now)
		}
	}
	open, ok := dir.newest(func(key Key) bool { return key.NotAfter.IsZero() })
	if ok && (k.cfg.Lifetime == 0 || now.Before(open.NotBefore.Add(k.cfg.Lifetime-k.cfg.Overlap))) {
		return nil, nil
	}
	private, err := createKeyFile(filepath.Join(k.cfg.Path, now.Format("20060102T150405Z")+".pem"))
	if err != nil {
		return nil, fmt.Errorf("making the next attestation key: %w", err)
	}
	id := KeyID(private.Public().(ed25519.PublicKey))
	dir.private[id] = private
	k.begin(dir, private, now)
	return []string{id}, nil
}

// begin adds a key. It signs at once if no other does, and after the overlap otherwise; until then the other goes on.
func (k *Keys) begin(dir *keyDir, private ed25519.PrivateKey, now time.Time) {
	from := now
	if last, ok := dir.newest(func(key Key) bool { return key.NotAfter.IsZero() || key.NotAfter.After(now) }); ok {
		from = now.Add(k.cfg.Overlap)
		if from.Before(last.NotBefore) {
			from = last.NotBefore
		}
		dir.own = dir.own.Retire(last.ID, from.Add(drain))
	}
	public := private.Public().(ed25519.PublicKey)
	dir.own = dir.own.Merge(KeySet{keys: []Key{{ID: KeyID(public), Public: public, NotBefore: from}}})
}

// tell compares with what OnEvent knows.
func (k *Keys) tell(own KeySet) {
	now := k.cfg.Clock()
	for _, key := range own.keys {
		was, known := k.told.lookup(key.ID)
		ended := !key.NotAfter.IsZero() && key.NotAfter.Before(now)
		switch {
		case !known && !ended, known && !ended && (!was.NotBefore.Equal(key.NotBefore) || !was.NotAfter.Equal(key.NotAfter)):
			k.cfg.OnEvent(KeyEvent{Event: KeyPublished, Key: key})
		case known && ended && (was.NotAfter.IsZero() || !was.NotAfter.Before(k.lookedAt)):
			k.cfg.OnEvent(KeyEvent{Event: KeyRetired, Key: key})
		}
	}
	k.told, k.lookedAt = own, now
	if active := k.signer.KeyID(); active != k.active {
		if key, ok := own.lookup(active); ok && k.active != "" {
			k.cfg.OnEvent(KeyEvent{Event: KeyRotated, Key: key, Previous: k.active})
		}
		k.active = active
	}
}
