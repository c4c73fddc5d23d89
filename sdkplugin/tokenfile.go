package sdkplugin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	maxTokenFile   = 64 << 10
	tokenFileEvery = time.Second // between reads of a token file
)

// TokenFile is a workload's token that something else renews in a file, such as a projected Kubernetes service-account token or one that a
// sidecar writes. It is used as the bearer token as it stands, so the gate must trust its issuer; ClientCredentials with AssertionFile
// trades such a token for one of another issuer. The file is read anew a second after the last time at the earliest.
func TokenFile(path string) (Credentials, error) {
	f := &tokenFile{path: path, now: time.Now}
	if _, err := f.read(); err != nil {
		return nil, fmt.Errorf("configuring a token file: %w", err)
	}
	return f, nil
}

type tokenFile struct {
	path string
	now  func() time.Time

	mu     sync.Mutex // guards the fields below
	token  string
	readAt time.Time
}

// Token implements Credentials. While the file cannot be read, the token that was read last serves as long as it lasts.
func (f *tokenFile) Token(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.token != "" && now.Sub(f.readAt) < tokenFileEvery {
		return f.token, nil
	}
	token, err := f.read()
	switch {
	case err == nil:
		f.token, f.readAt = token, now
	case f.token == "":
		return "", err
	}
	if end := expiryOf(f.token); !end.IsZero() && !now.Before(end) {
		f.readAt = time.Time{} // look again at once
		return "", fmt.Errorf("the token in %s expired at %s; is whatever renews it still running?", f.path, end.UTC().Format(time.RFC3339))
	}
	return f.token, nil
}

func (f *tokenFile) read() (string, error) { return readTokenFile(f.path) }

// readTokenFile reads one token. Its text is never part of an error.
func readTokenFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("reading token file: %w", err)
	}
	if info.Size() > maxTokenFile {
		return "", fmt.Errorf("reading token file %s: %d bytes, more than %d", path, info.Size(), maxTokenFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading token file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	switch {
	case token == "":
		return "", fmt.Errorf("reading token file %s: it is empty", path)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("reading token file %s: it holds more than one word", path)
	}
	return token, nil
}

// expiryOf reads when a JWT says that it ends; zero for anything else. It verifies nothing: the gate does.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(body, &claims) != nil || claims.Expires <= 0 || claims.Expires > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}
