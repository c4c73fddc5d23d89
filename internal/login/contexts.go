package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Context is one environment to work in: which server, which issuer, where its log is. `bailiwick dev` and `bailiwick login` write it;
// it holds no secret.
type Context struct {
	Name             string   `json:"name"`
	Issuer           string   `json:"issuer"`
	ClientID         string   `json:"client_id"`
	Scopes           []string `json:"scopes"`
	Audience         string   `json:"audience,omitempty"`
	Address          string   `json:"temporal_address"`
	TLS              bool     `json:"tls,omitempty"` // false means plaintext, which is refused off loopback
	HTTP             string   `json:"temporal_http,omitempty"`
	UI               string   `json:"ui_url,omitempty"`
	ControlURL       string   `json:"control_url,omitempty"` // where the attestation keys are published
	LogDir           string   `json:"log_dir,omitempty"`
	JournalDir       string   `json:"journal_dir,omitempty"` // of the Temporal server's gate
	Journals         []string `json:"journals,omitempty"`    // of the other gates on this machine
	ReplicaDir       string   `json:"replica_dir,omitempty"` // below it, the journals of remote gates
	LogKey           string   `json:"log_key,omitempty"`     // the log's verifier key (signed note format)
	PolicyDir        string   `json:"policy_dir,omitempty"`
	DefaultNamespace string   `json:"default_namespace,omitempty"`
	Namespaces       []string `json:"namespaces,omitempty"` // for completion only
	Profile          string   `json:"profile,omitempty"`    // profile of the stock CLI's file; empty means DefaultProfile
}

// JournalDirs lists the journals that the log is made of.
func (c Context) JournalDirs() ([]string, error) {
	var dirs []string
	if c.JournalDir != "" {
		dirs = append(dirs, c.JournalDir)
	}
	dirs = append(dirs, c.Journals...)
	if c.ReplicaDir == "" {
		return dirs, nil
	}
	names, err := os.ReadDir(c.ReplicaDir)
	if errors.Is(err, fs.ErrNotExist) {
		return dirs, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the journals of remote gates: %w", err)
	}
	for _, n := range names {
		if n.IsDir() {
			dirs = append(dirs, filepath.Join(c.ReplicaDir, n.Name()))
		}
	}
	return dirs, nil
}

// Home returns $BAILIWICK_HOME, else "bailiwick" in the user's configuration directory.
func Home() (string, error) {
	if dir := os.Getenv("BAILIWICK_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the configuration directory: %w; set BAILIWICK_HOME", err)
	}
	return filepath.Join(dir, "bailiwick"), nil
}

// ErrNoContext means that nothing says which environment to use.
var ErrNoContext = errors.New("no context: run `bailiwick dev`, or `bailiwick login --issuer URL --client-id ID --address HOST:PORT`")

// LoadContext reads a context by name. An empty name means the one last written by login or dev, else the only one there is.
func LoadContext(name string) (Context, error) {
	home, err := Home()
	if err != nil {
		return Context{}, err
	}
	names, err := ContextNames()
	if err != nil {
		return Context{}, err
	}
	if name == "" {
		current, _ := os.ReadFile(filepath.Join(home, "current"))
		name = strings.TrimSpace(string(current))
		switch {
		case slices.Contains(names, name):
		case len(names) == 1:
			name = names[0]
		case len(names) == 0:
			return Context{}, ErrNoContext
		default:
			return Context{}, fmt.Errorf("several contexts exist (%s): choose one with --context or BAILIWICK_CONTEXT", strings.Join(names, ", "))
		}
	}
	if err := CheckName("context", name); err != nil {
		return Context{}, err
	}
	path := filepath.Join(home, "contexts", name+".json")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		have := "there are none yet"
		if len(names) > 0 {
			have = "there are: " + strings.Join(names, ", ")
		}
		return Context{}, fmt.Errorf("context %q does not exist (%s): run `bailiwick dev`, or `bailiwick login --context %s --issuer URL --client-id ID --address HOST:PORT`", name, have, name)
	}
	if err != nil {
		return Context{}, fmt.Errorf("reading context %s: %w", name, err)
	}
	var c Context
	if err := json.Unmarshal(raw, &c); err != nil {
		return Context{}, fmt.Errorf("reading context %s: %s: %w; remove the file and log in again", name, path, err)
	}
	c.Name = name
	return c, nil
}

// ContextNames lists the contexts, sorted.
func ContextNames() ([]string, error) {
	home, err := Home()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(home, "contexts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing contexts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && CheckName("context", name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Save writes the context and makes it the current one. Both files are replaced whole.
func (c Context) Save() error {
	if err := CheckName("context", c.Name); err != nil {
		return err
	}
	home, err := Home()
	if err != nil {
		return err
	}
	dir := filepath.Join(home, "contexts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing context %s: %w", c.Name, err)
	}
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("writing context %s: %w", c.Name, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, c.Name+".json"), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing context %s: %w", c.Name, err)
	}
	if err := durable.WriteFile(filepath.Join(home, "current"), []byte(c.Name+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the current context: %w", err)
	}
	return nil
}
