package e2e

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

var expiresAt = regexp.MustCompile(`(?m)^(\s*expires_at\s*=\s*).*$`)

// expire makes the person's commands believe that their access token has expired.
func (u *user) expire(t testing.TB) {
	t.Helper()
	path := filepath.Join(u.home, "temporal.toml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !expiresAt.Match(raw) {
		t.Fatal("the profile has no expires_at")
	}
	if err := os.WriteFile(path, expiresAt.ReplaceAll(raw, []byte(`${1}"2020-01-01T00:00:00Z"`)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTokenStore: the file with the tokens is the person's alone; an expired token is refreshed once, however many commands need it at the
// same time; and logging out empties the file and revokes the tokens.
func TestTokenStore(t *testing.T) {
	d := shared(t)
	u := d.newcomer(t, "dave@acme.example")
	if err := u.signIn(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(u.home, "temporal.toml")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the token store has mode %v, want 0600", info.Mode())
	}
	old := u.token(t)
	u.expire(t)
	var wg sync.WaitGroup
	got := make([]result, 6)
	for i := range got {
		wg.Go(func() { got[i] = u.run(t, "token") })
	}
	wg.Wait()
	for _, r := range got {
		if r.code != 0 || r.stdout != got[0].stdout || strings.TrimSpace(r.stdout) == old {
			t.Errorf("one of six commands that found the token expired: exit code %d, the same token as the others: %v, the old one: %v\n%s",
				r.code, r.stdout == got[0].stdout, strings.TrimSpace(r.stdout) == old, r.stderr)
		}
	}
	u.ok(t, "whoami")

	last, err := readTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	u.ok(t, "logout")
	if r := u.run(t, "token"); r.code != 3 || !strings.Contains(r.stderr, "bailiwick login") {
		t.Errorf("after logout, token ends with %v", r)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), last.Access) || strings.Contains(string(raw), last.Refresh) {
		t.Error("the token store holds a token after logout")
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {last.Refresh}, "client_id": {devorg.CLIClient}}
	res, err := http.PostForm(d.context.Issuer+"/v1/token", form)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("the refresh token still works after logout: %s", res.Status)
	}
}
