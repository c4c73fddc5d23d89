package ship

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// A tokens file has a line for each gate that may ship: its name, a space, and the SHA-256 of its bearer token in hex. A gate may have several
// lines, while a token is being replaced. The tokens themselves are in no file of the control plane's.

// TokensFile authorizes gates by such a file, which is read anew for each request: a gate that is taken out is refused at once.
func TokensFile(path string) func(r *http.Request, gate string) bool {
	return func(r *http.Request, gate string) bool {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" {
			return false
		}
		sums, err := readTokens(path)
		if err != nil {
			return false
		}
		got := sha256.Sum256([]byte(token))
		found := 0
		for _, want := range sums[gate] {
			found |= subtle.ConstantTimeCompare(got[:], want)
		}
		return found == 1
	}
}

func readTokens(path string) (map[string][][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading gates' tokens: %w", err)
	}
	defer f.Close()
	sums := map[string][][]byte{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		gate, digest, ok := strings.Cut(line, " ")
		sum, err := hex.DecodeString(strings.TrimSpace(digest))
		if !ok || err != nil || len(sum) != sha256.Size || !gateName.MatchString(gate) {
			return nil, fmt.Errorf("reading gates' tokens: %s:%d is not a gate's name and a SHA-256 in hex", path, n)
		}
		sums[gate] = append(sums[gate], sum)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading gates' tokens: %w", err)
	}
	return sums, nil
}

// AddToken makes a token for a gate, puts its digest into the file, in place of those that the gate had when replace is true, and returns it.
func AddToken(path, gate string, replace bool) (token string, err error) {
	if !gateName.MatchString(gate) {
		return "", fmt.Errorf("adding a gate's token: %q is not a name for a gate: 1 to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit", gate)
	}
	if _, err := readTokens(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("adding a gate's token: %w", err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(raw)) {
		if replace && strings.HasPrefix(strings.TrimSpace(line), gate+" ") {
			continue
		}
		b.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	token = rand.Text()
	fmt.Fprintf(&b, "%s %x\n", gate, sha256.Sum256([]byte(token)))
	if err := durable.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return "", fmt.Errorf("adding a gate's token: %w", err)
	}
	return token, nil
}

// TokenHolder returns whose token the request carries, by the same kind of file: for other things than shipping that take such tokens.
func TokenHolder(path string) func(r *http.Request) (name string, ok bool) {
	return func(r *http.Request) (string, bool) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" {
			return "", false
		}
		sums, err := readTokens(path)
		if err != nil {
			return "", false
		}
		got := sha256.Sum256([]byte(token))
		holder := ""
		for name, list := range sums {
			for _, want := range list {
				if subtle.ConstantTimeCompare(got[:], want) == 1 {
					holder = name
				}
			}
		}
		return holder, holder != ""
	}
}
