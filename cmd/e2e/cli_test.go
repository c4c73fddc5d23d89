package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

// user is a person at a terminal: a home directory of their own, which knows the development environment.
type user struct {
	login string
	home  string
	dev   *dev
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\n--- stdout\n%s--- stderr\n%s", r.code, r.stdout, r.stderr)
}

// newcomer makes a person who has not logged in.
func (d *dev) newcomer(t testing.TB, login string) *user {
	t.Helper()
	home, err := os.MkdirTemp(d.dir, "home-"+strings.Split(login, "@")[0]+"-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(home, "contexts"), os.DirFS(filepath.Join(d.home(), "contexts"))); err != nil {
		t.Fatal(err)
	}
	return &user{login, home, d}
}

// user returns a person who is logged in; the login is made once per environment.
func (d *dev) user(t testing.TB, login string) *user {
	t.Helper()
	return d.team(t, login)[0]
}

// team logs several people in at the same time, because each login waits for the device flow's poll.
func (d *dev) team(t testing.TB, logins ...string) []*user {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var wg sync.WaitGroup
	failed := make([]error, len(logins))
	for i, login := range logins {
		if d.users[login] != nil {
			continue
		}
		u := d.newcomer(t, login)
		d.users[login] = u
		wg.Go(func() { failed[i] = u.signIn() })
	}
	wg.Wait()
	var out []*user
	for i, login := range logins {
		if failed[i] != nil {
			delete(d.users, login)
			t.Fatalf("logging %s in: %v\n%s", login, failed[i], d.tail())
		}
		out = append(out, d.users[login])
	}
	return out
}

func (u *user) command(ctx context.Context, args ...string) *exec.Cmd {
	bin, _ := filepath.Abs(filepath.Join(root, "bin", "bailiwick")) // fails only without a working directory
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = u.home
	cmd.Env = environment(u.home)
	return cmd
}

// run runs bailiwick to its end, which must come within a minute.
func (u *user) run(t testing.TB, args ...string) result {
	t.Helper()
	return u.runEnv(t, nil, args...)
}

// runEnv is run with more environment.
func (u *user) runEnv(t testing.TB, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := u.command(ctx, args...)
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running bailiwick %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		t.Fatalf("bailiwick %s had not ended after a minute\n%s\n%s", strings.Join(args, " "), stdout.String(), stderr.String())
	}
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if strings.Contains(r.stdout+r.stderr, "\x1b") {
		t.Errorf("bailiwick %s writes escape codes into a pipe: %q", strings.Join(args, " "), r.stdout+r.stderr)
	}
	if len(args) > 0 && args[0] != "token" {
		secrets.expectNone(t, "the output of bailiwick "+strings.Join(args, " "), []byte(r.stdout+r.stderr))
	}
	return r
}

// ok is run for commands that must succeed; it returns standard output.
func (u *user) ok(t testing.TB, args ...string) string {
	t.Helper()
	r := u.run(t, args...)
	if r.code != 0 {
		t.Fatalf("bailiwick %s as %s: %v", strings.Join(args, " "), u.login, r)
	}
	return r.stdout
}

// json is ok for commands with --json; it parses standard output, which must be one JSON value, into v.
func (u *user) json(t testing.TB, v any, args ...string) {
	t.Helper()
	out := u.ok(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("bailiwick %s --json prints no JSON: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// lines is ok for commands with --json that print one JSON object a line.
func lines[T any](t testing.TB, u *user, args ...string) []T {
	t.Helper()
	out := u.ok(t, append(args, "--json")...)
	var all []T
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var v T
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("bailiwick %s --json prints a line that is not JSON: %v\n%s", strings.Join(args, " "), err, out)
		}
		all = append(all, v)
	}
}

var verification = regexp.MustCompile(`https?://\S+user_code=[A-Za-z0-9%-]+`)

// signIn runs `bailiwick login` and approves its code as the person would, by the org's pages.
func (u *user) signIn(flags ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := u.command(ctx, append([]string{"login"}, flags...)...)
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	url, err := out.await(ctx, verification)
	if err == nil {
		err = approve(url, u.login)
	}
	if err != nil {
		cancel()
	}
	return errors.Join(err, wrapOutput(cmd.Wait(), &out), u.remember())
}

func wrapOutput(err error, out *watched) error {
	if err != nil {
		return fmt.Errorf("bailiwick login: %w\n%s", err, out.String())
	}
	return nil
}

// remember notes the tokens in the person's profile, so that they can be searched for where they must not be.
func (u *user) remember() error { return u.rememberFrom(filepath.Join(u.home, "temporal.toml")) }

// tokens are what login keeps in a person's profile.
type tokens struct {
	Access  string `toml:"access_token"`
	Refresh string `toml:"refresh_token"`
}

func readTokens(path string) (tokens, error) {
	var file struct {
		Profile map[string]struct {
			OAuth tokens `toml:"oauth"`
		} `toml:"profile"`
	}
	if _, err := toml.DecodeFile(path, &file); err != nil {
		return tokens{}, fmt.Errorf("reading the profile that login writes: %w", err)
	}
	return file.Profile["bailiwick"].OAuth, nil
}

func (u *user) rememberFrom(path string) error {
	p, err := readTokens(path)
	if err != nil {
		return err
	}
	if p.Access == "" || p.Refresh == "" {
		return errors.New("login wrote no access or no refresh token into profile bailiwick")
	}
	secrets.add(u.login+"'s access token", p.Access)
	secrets.add(u.login+"'s refresh token", p.Refresh)
	return nil
}

// token is an access token, as scripts get it.
func (u *user) token(t testing.TB) string {
	t.Helper()
	raw := strings.TrimSpace(u.ok(t, "token"))
	if strings.Count(raw, ".") != 2 {
		t.Fatalf("bailiwick token printed %d bytes that are no JWT", len(raw))
	}
	secrets.add(u.login+"'s access token", raw)
	return raw
}

// watched is a writer that others wait on.
type watched struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// await waits until the expression matches what was written, and returns the match.
func (w *watched) await(ctx context.Context, re *regexp.Regexp) (string, error) {
	for {
		if m := re.FindString(w.String()); m != "" {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for %v: %w\n%s", re, ctx.Err(), w.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
