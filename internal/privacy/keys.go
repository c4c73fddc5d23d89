package privacy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// erasing ends the name of a key that is being destroyed.
const erasing = ".erasing"

// ErrNoKey is returned where a person has no key: nothing was ever protected for them, or they were erased.
var ErrNoKey = errors.New("no key")

// revalidate is how long a key is used without looking whether it was destroyed. What another process writes in that time about somebody
// who has just been erased can't be read by anybody.
const revalidate = time.Second

// record is a key's file, NAME.json, 0600. NAME is an HMAC of the subject, so that a listing of the directory names nobody.
type record struct {
	Version   int       `json:"v"` // 1 (2026-11)
	Subject   string    `json:"subject"`
	Login     string    `json:"login,omitempty"` // as first seen, so that people can be found by it
	Created   time.Time `json:"created"`
	Pseudonym string    `json:"pseudonym"`
	Key       []byte    `json:"key"` // 32 bytes
}

// Store keeps one key for each person, a file each, in a directory that several processes may share. Files appear and vanish whole: a crash
// leaves a key or none, and an entry is written only after its key is durable.
type Store struct {
	dir    string
	secret []byte // of this store, for file names

	mu       sync.RWMutex // covers the following
	known    map[string]*cached
	subjects map[string]string // by pseudonym, of those whose texts were sealed or asked for here
}

type cached struct {
	record
	checked time.Time // when the file was last seen
}

// OpenStore opens the store in dir, creating it (0700) when absent. It refuses one that others can read.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening key store: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("opening key store: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("opening key store: %s can be read by others (mode %04o): run chmod 700 on it", dir, info.Mode().Perm())
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+erasing))
	if err != nil {
		return nil, fmt.Errorf("opening key store: %w", err)
	}
	for _, path := range left {
		if err := destroy(path); err != nil {
			return nil, fmt.Errorf("opening key store: %w", err)
		}
	}
	s := &Store{dir: dir, known: map[string]*cached{}, subjects: map[string]string{}}
	path := filepath.Join(dir, "names.key")
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	if err := durable.CreateFile(path, secret, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("opening key store: %w", err)
	}
	if s.secret, err = readPrivate(path); err != nil {
		return nil, fmt.Errorf("opening key store: %w", err)
	}
	if len(s.secret) != 32 {
		return nil, fmt.Errorf("opening key store: %s is damaged; put it back from a backup, for no key can be found without it", path)
	}
	return s, nil
}

func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}

func (s *Store) path(subject string) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(subject))
	return filepath.Join(s.dir, hex.EncodeToString(mac.Sum(nil)[:16])+".json")
}

// key returns the subject's key, or ErrNoKey.
func (s *Store) key(subject string) (*record, error) {
	s.mu.RLock()
	c := s.known[subject]
	fresh := c != nil && time.Since(c.checked) < revalidate
	s.mu.RUnlock()
	if fresh {
		return &c.record, nil
	}
	r, err := readRecord(s.path(subject))
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		delete(s.known, subject)
		maps.DeleteFunc(s.subjects, func(_, of string) bool { return of == subject })
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	if r.Subject != subject {
		return nil, errors.New("reading a key: its file is of somebody else")
	}
	s.known[subject] = &cached{r, time.Now()}
	return &s.known[subject].record, nil
}

// make returns the subject's key, which it makes when there is none.
func (s *Store) make(subject, login string) (*record, error) {
	r, err := s.key(subject)
	if !errors.Is(err, ErrNoKey) {
		return r, err
	}
	fresh := record{Version: Version, Subject: subject, Login: login, Created: time.Now().UTC().Truncate(time.Second), Key: make([]byte, 32)}
	_, _ = rand.Read(fresh.Key) // never fails
	fresh.Pseudonym = pseudonym(fresh.Key)
	raw, err := json.Marshal(fresh)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if err := durable.CreateFile(s.path(subject), append(raw, '\n'), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return s.key(subject) // ours, or that of another process which was first
}

// pseudonym is made by the person's own key: without the key nobody can tell whose it is, not even by trying every name.
func pseudonym(key []byte) string {
	return pseudonymPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(derive(key, "pseudonym", "")[:15]))
}

// derive makes a key for one purpose of a person's key (HMAC-SHA256 as a key derivation function, NIST SP 800-108, one block).
func derive(key []byte, purpose, id string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("bailiwick privacy v1\x00" + purpose + "\x00" + id))
	return mac.Sum(nil)
}

func readRecord(path string) (record, error) {
	raw, err := readPrivate(path)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return record{}, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	switch {
	case r.Version != Version:
		return record{}, fmt.Errorf("%s has version %d, this build reads version %d; use a newer bailiwick", filepath.Base(path), r.Version, Version)
	case len(r.Key) != 32 || r.Pseudonym != pseudonym(r.Key) || r.Subject == "":
		return record{}, fmt.Errorf("%s is damaged", filepath.Base(path))
	}
	return r, nil
}

// Person is somebody whose data can be read.
type Person struct {
	Subject   string    `json:"subject"` // principal
	Login     string    `json:"login,omitempty"`
	Pseudonym string    `json:"pseudonym"`
	Since     time.Time `json:"since"`
}

// all reads every key.
func (s *Store) all() ([]record, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("reading key store: %w", err)
	}
	var all []record
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), ".json") {
			continue
		}
		r, err := readRecord(filepath.Join(s.dir, n.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // erased meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading key store: %w", err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b record) int { return strings.Compare(a.Subject, b.Subject) })
	return all, nil
}

// Find returns who a login, principal or pseudonym names. More than one has been known by a login that was given to another person since.
func (s *Store) Find(who string) ([]Person, error) {
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	var found []Person
	for _, r := range all {
		if r.Subject == who || r.Pseudonym == who || r.Login != "" && strings.EqualFold(r.Login, who) {
			found = append(found, Person{r.Subject, r.Login, r.Pseudonym, r.Created})
		}
	}
	return found, nil
}

// Erase destroys the key of a subject, for good: it returns when the file is gone durably. What was protected under it can't be read any
// more by anybody who has no copy of the key. It returns ErrNoKey when there is none.
func (s *Store) Erase(subject string) error {
	path := s.path(subject)
	// Renamed first: from then on nobody finds it, and a crash leaves a file that OpenStore removes.
	err := os.Rename(path, path+erasing)
	s.mu.Lock()
	delete(s.known, subject)
	maps.DeleteFunc(s.subjects, func(_, of string) bool { return of == subject })
	s.mu.Unlock()
	if err == nil {
		err = destroy(path + erasing)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoKey
	}
	if err != nil {
		return fmt.Errorf("destroying a key: %w", err)
	}
	return durable.SyncDir(s.dir)
}

// destroy overwrites a file, for disks that write in place, and removes it.
func destroy(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process did
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
