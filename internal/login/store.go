package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"
	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 1 << 20

// Store keeps one profile in the stock temporal CLI's TOML file, so that there is one place with tokens in it and both commands see
// one login. Every write replaces the file whole (a crash leaves the old or the new one), mode 0600, and happens under a lock file
// beside it; the stock CLI does not know the lock, which is why Session re-reads the file before it believes a refusal.
type Store struct {
	path   string
	name   string
	notice func(string)
}

// StoreConfig says which profile of which file.
type StoreConfig struct {
	Path    string       // empty means $TEMPORAL_CONFIG_FILE, else the stock CLI's default
	Profile string       // empty means DefaultProfile
	Notice  func(string) // told when wide permissions were repaired; may be nil
}

// OpenStore finds the file; it need not exist.
func OpenStore(cfg StoreConfig) (*Store, error) {
	if cfg.Path == "" {
		cfg.Path = os.Getenv("TEMPORAL_CONFIG_FILE")
	}
	if cfg.Path == "" {
		cfg.Path = envconfig.DefaultConfigFilePath()
	}
	if cfg.Path == "" {
		return nil, errors.New("finding the token store: no home directory; set TEMPORAL_CONFIG_FILE")
	}
	if cfg.Profile == "" {
		cfg.Profile = DefaultProfile
	}
	if err := CheckName("profile", cfg.Profile); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("finding the token store: %w", err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a rename would replace the link and leave the real file stale
	}
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	return &Store{path: path, name: cfg.Profile, notice: cfg.Notice}, nil
}

// Path returns the file's absolute path.
func (s *Store) Path() string { return s.path }

// Name returns the profile's name.
func (s *Store) Name() string { return s.name }

// Load reads the profile. The error is ErrNotLoggedIn when there is no token in it; the address may still be set then.
func (s *Store) Load() (Profile, error) {
	content, err := s.read()
	if err != nil {
		return Profile{}, err
	}
	var file struct {
		Profile map[string]profileTOML `toml:"profile"`
	}
	if _, err := decode(content); err != nil {
		return Profile{}, s.broken(err)
	}
	if err := toml.Unmarshal(content, &file); err != nil {
		return Profile{}, s.broken(err)
	}
	p, err := file.Profile[s.name].profile()
	if err != nil && !errors.Is(err, ErrNotLoggedIn) {
		return Profile{}, fmt.Errorf("profile %s in %s: %w", s.name, s.path, err)
	}
	return p, err
}

// Save writes the profile's address, namespace (if set) and tokens, under the lock.
func (s *Store) Save(ctx context.Context, p Profile) error {
	return s.locked(ctx, func() error {
		c := change{keys: map[string]any{"address": p.Address}, oauth: p.oauthTable()}
		if p.Namespace != "" {
			c.keys["namespace"] = p.Namespace
		}
		if was, _ := s.Load(); p.TLSDisabled || was.TLSDisabled {
			c.tls = map[string]any{"disabled": p.TLSDisabled}
		}
		return s.change(c)
	})
}

// Clear removes the tokens from the profile, under the lock; the address stays.
func (s *Store) Clear(ctx context.Context) error {
	return s.locked(ctx, func() error {
		if _, err := s.Load(); errors.Is(err, ErrNotLoggedIn) {
			return nil
		}
		return s.change(change{oauth: map[string]any{}})
	})
}

// locked runs f while holding the lock file, having made the directory.
func (s *Store) locked(ctx context.Context, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("making the token store's directory: %w", err)
	}
	release, err := lockFile(ctx, s.path+".lock")
	if err != nil {
		return fmt.Errorf("locking the token store %s: %w", s.path, err)
	}
	defer release()
	return f()
}

// change edits the file; the caller holds the lock.
func (s *Store) change(c change) error {
	content, err := s.read()
	if err != nil {
		return err
	}
	edited, err := edit(content, s.name, c)
	if err != nil {
		return s.broken(err)
	}
	return s.replace(edited)
}

// replace swaps the file for a new one. A crash before the rename leaves the old file and a stray .tmp; after it, the new one.
func (s *Store) replace(content []byte) error {
	if err := durable.WriteFile(s.path, content, 0o600); err != nil {
		return fmt.Errorf("writing the token store %s: %w", s.path, err)
	}
	return nil
}

// writable tries a write next to the store without changing it. It is called before a refresh: with rotation, a refresh whose answer
// cannot be kept is a lost login.
func (s *Store) writable() error {
	tmp, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("refreshing the token: the new one could not be kept: %w", err)
	}
	_, err = tmp.Write(make([]byte, 16<<10))
	tmp.Close()
	os.Remove(tmp.Name())
	if err != nil {
		return fmt.Errorf("refreshing the token: the new one could not be kept: %w", err)
	}
	return nil
}

func (s *Store) read() ([]byte, error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the token store: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading the token store: %s is not a regular file", s.path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("reading the token store: %s is larger than %d bytes; is it the right file?", s.path, maxFile)
	}
	if err := s.guard(info); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("reading the token store: %w", err)
	}
	return content, nil
}

// guard repairs permissions that let others read the tokens and refuses a file that others could have replaced.
func (s *Store) guard(info fs.FileInfo) error {
	if !checksModes {
		return nil
	}
	if wide := info.Mode().Perm() & 0o077; wide != 0 {
		if err := os.Chmod(s.path, 0o600); err != nil {
			return fmt.Errorf("the token store %s is readable by others (mode %04o) and could not be repaired: %w; run: chmod 600 %s", s.path, info.Mode().Perm(), err, s.path)
		}
		s.notice(fmt.Sprintf("%s was open to others (mode %04o); it is 0600 now. If others use this machine, run `bailiwick logout` and log in again.", s.path, info.Mode().Perm()))
	}
	dir, err := os.Stat(filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("reading the token store: %w", err)
	}
	if dir.Mode().Perm()&0o022 != 0 && dir.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("the token store's directory %s can be written by others (mode %04o), who could swap the file; run: chmod go-w %s", filepath.Dir(s.path), dir.Mode().Perm(), filepath.Dir(s.path))
	}
	return nil
}

func (s *Store) broken(err error) error {
	return fmt.Errorf("the token store %s is not valid TOML (%w); it was left as it is: mend that line, or move the file away and log in again", s.path, err)
}

// lockPatience is how long a process waits for another's refresh when its context sets no end.
const lockPatience = 30 * time.Second
