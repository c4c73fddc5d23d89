package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// secrets are the tokens and client secrets that the tests have seen.
var secrets = registry{names: map[string]string{
	devorg.UISecret:    "the UI's client secret",
	devorg.AgentSecret: "the agent's client secret",
	devorg.APIToken:    "the org's API token",
}}

type registry struct {
	mu    sync.Mutex        // guards names
	names map[string]string // what to look for → what it is
}

// add notes a secret. Of one that is long it notes three pieces, because a database may split it over pages; of a JWT three pieces of the
// signature, without which it is no credential.
func (r *registry) add(name, value string) {
	if parts := strings.Split(value, "."); len(parts) == 3 {
		value, name = parts[2], name+"'s signature"
	}
	if len(value) < 16 { // a bad token without a signature: no secret, and too short to be searched for
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	const piece = 32
	if len(value) < 3*piece {
		r.names[value] = name
		return
	}
	for _, at := range []int{0, (len(value) - piece) / 2, len(value) - piece} {
		r.names[value[at:at+piece]] = name
	}
}

// find names the secrets in data.
func (r *registry) find(data []byte) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for value, name := range r.names {
		if bytes.Contains(data, []byte(value)) && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

func (r *registry) expectNone(t testing.TB, where string, data []byte) {
	t.Helper()
	if found := r.find(data); len(found) > 0 {
		t.Errorf("%s holds %s", where, strings.Join(found, ", "))
	}
}

// mayHold are the only files under the state directory that may hold secrets: the org's own database, the server's configuration, which hands
// the UI its client's secret, and the file from which the release agent takes its own, for rotations to replace.
var mayHold = []string{"org/org.db", "org/org.db-wal", "org/org.db-shm", "org/temporal.json", "keys/release-agent.secret"}

// sweep looks for every secret in every file that an environment wrote, outputs included. It returns a line for each file that holds one.
func (r *registry) sweep(s settings) []string {
	var problems []string
	stdout, stderr := s.logs()
	for _, top := range []string{s.state(), stdout, stderr, filepath.Join(s.home(), "contexts")} {
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(s.state(), path)
			if err != nil || slices.Contains(mayHold, name) {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if found := r.find(data); len(found) > 0 {
				problems = append(problems, fmt.Sprintf("%s holds %s", path, strings.Join(found, ", ")))
			}
			return nil
		})
		if err != nil {
			problems = append(problems, fmt.Sprintf("looking for secrets in %s: %v", top, err))
		}
	}
	return problems
}

func (r *registry) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.names)
}
