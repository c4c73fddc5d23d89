package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// root is the top of the repository, seen from this package's directory, where tests run.
const root = "../.."

// readyWithin bounds a start: seconds on an idle machine, much more on one that compiles something beside.
const readyWithin = 90 * time.Second

// ports are where a development environment listens.
type ports struct{ org, control, grpc, http, ui int }

func (p ports) flags() []string {
	return []string{"--org-port", strconv.Itoa(p.org), "--control-port", strconv.Itoa(p.control), "--grpc-port", strconv.Itoa(p.grpc),
		"--http-port", strconv.Itoa(p.http), "--ui-port", strconv.Itoa(p.ui)}
}

// freePorts picks ports below the range that the system gives to outgoing connections, so that none is taken between here and a listen.
func freePorts(t testing.TB) ports {
	t.Helper()
	var got []int
	var held []net.Listener
	for len(got) < 5 {
		n := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n)); err == nil {
			got, held = append(got, n), append(held, l)
		}
	}
	for _, l := range held {
		l.Close()
	}
	return ports{got[0], got[1], got[2], got[3], got[4]}
}

// dev is a running `bailiwick dev`.
type dev struct {
	settings
	marker  string // an entry of the environment of it and of all that it starts
	process *os.Process
	exited  chan struct{}
	code    int // exit code, once exited is closed
	context login.Context

	mu    sync.Mutex       // guards users
	users map[string]*user // who is logged in, by login
}

// settings are what a second start on the same state repeats.
type settings struct {
	dir   string // holds state/, home/ and the logs
	ports ports
	args  []string // more flags
	own   bool     // of one test: whatever is left of it ends with the test
}

func (s settings) state() string { return filepath.Join(s.dir, "state") }
func (s settings) home() string  { return filepath.Join(s.dir, "home") }

// logs are the files that hold what `bailiwick dev` printed: standard output and standard error, of every start.
func (s settings) logs() (stdout, stderr string) {
	return filepath.Join(s.dir, "stdout.log"), filepath.Join(s.dir, "stderr.log")
}

// newSettings are those of an environment that one test has for itself. Its files are kept if the test fails.
func newSettings(t testing.TB, args ...string) settings {
	t.Helper()
	s := lastingSettings(t)
	s.args, s.own = args, true
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the environment's files are kept in %s", s.dir)
		} else if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// lastingSettings are those of an environment that outlives the test; TestMain removes it.
func lastingSettings(t testing.TB) settings {
	t.Helper()
	dir, err := os.MkdirTemp("", "bailiwick-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	return settings{dir: dir, ports: freePorts(t)}
}

// binaries is the directory of the programs under test.
func binaries(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bailiwick", "bailiwick-temporal"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("%s is missing: run `make build` first (%v)", name, err)
		}
	}
	return dir
}

// environment is a clean one: nothing of whoever runs the tests steers the programs under test.
func environment(home string, more ...string) []string {
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "BAILIWICK_HOME=" + home, "TEMPORAL_CONFIG_FILE=" + filepath.Join(home, "temporal.toml")}, more...)
}

// launch starts `bailiwick dev` and does not wait for it to be ready.
func launch(t testing.TB, s settings) *dev {
	t.Helper()
	bin := binaries(t)
	if err := os.MkdirAll(s.home(), 0o700); err != nil {
		t.Fatal(err)
	}
	d := &dev{settings: s, marker: fmt.Sprintf("BAILIWICK_E2E=%d-%d", os.Getpid(), rand.Int64()), exited: make(chan struct{}), users: map[string]*user{}}
	cmd := exec.Command(filepath.Join(bin, "bailiwick"), append(append([]string{"dev", "--json", "--state", s.state()}, s.ports.flags()...), s.args...)...)
	cmd.Dir = s.dir
	cmd.Env = environment(s.home(), d.marker)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the tests' terminal is ours to pass on
	stdout, stderr := s.logs()
	out, err := os.OpenFile(stdout, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // the child has its own copy
	errs, err := os.OpenFile(stderr, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs // files, not pipes: a forgotten child would keep a pipe, and Wait, open
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting bailiwick dev: %v", err)
	}
	d.process = cmd.Process
	go func() {
		_ = cmd.Wait() // the exit code says it all
		d.code = cmd.ProcessState.ExitCode()
		close(d.exited)
	}()
	if s.own {
		t.Cleanup(func() { d.kill(nil) }) // has nothing to do unless the test failed half-way
	}
	return d
}

// start starts `bailiwick dev` and waits until all of it serves.
func start(t testing.TB, s settings) *dev {
	t.Helper()
	began := time.Now()
	stdout, _ := s.logs()
	before, _ := os.Stat(stdout) // absent before the first start
	d := launch(t, s)
	var skip int64
	if before != nil {
		skip = before.Size()
	}
	for !d.ready(skip) {
		select {
		case <-d.exited:
			t.Fatalf("bailiwick dev ended with code %d before it was ready\n%s", d.code, d.tail())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > readyWithin {
			d.kill(t)
			t.Fatalf("bailiwick dev was not ready within %v\n%s", readyWithin, d.tail())
		}
	}
	raw, err := os.ReadFile(filepath.Join(s.home(), "contexts", "dev.json"))
	if err == nil {
		err = json.Unmarshal(raw, &d.context)
	}
	if err != nil {
		d.kill(t)
		t.Fatalf("reading the context that bailiwick dev writes: %v\n%s", err, d.tail())
	}
	t.Logf("bailiwick dev was ready after %v", time.Since(began).Round(10*time.Millisecond))
	return d
}

// ready looks for the line of JSON that says so.
func (d *dev) ready(skip int64) bool {
	stdout, _ := d.logs()
	raw, err := os.ReadFile(stdout)
	if err != nil || int64(len(raw)) < skip {
		return false
	}
	for line := range bytes.Lines(raw[skip:]) {
		var said struct {
			Ready bool `json:"ready"`
		}
		if json.Unmarshal(line, &said) == nil && said.Ready {
			return true
		}
	}
	return false
}

// tail is the end of what it printed.
func (d *dev) tail() string {
	stdout, stderr := d.logs()
	var b strings.Builder
	for _, path := range []string{stdout, stderr} {
		raw, _ := os.ReadFile(path) // for a message only
		if len(raw) > 4000 {
			raw = raw[len(raw)-4000:]
		}
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(path), raw)
	}
	return b.String()
}

// interrupt is Ctrl-C: it must end cleanly, soon, and leave no child behind.
func (d *dev) interrupt() error {
	if err := d.process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("interrupting bailiwick dev: %w", err)
	}
	select {
	case <-d.exited:
	case <-time.After(30 * time.Second):
		d.kill(nil)
		return fmt.Errorf("bailiwick dev had not ended 30 s after SIGINT\n%s", d.tail())
	}
	if d.code != 0 {
		return fmt.Errorf("bailiwick dev ended with code %d after SIGINT\n%s", d.code, d.tail())
	}
	return nil
}

// stop interrupts it and fails the test if it does not end cleanly or a child outlives it.
func (d *dev) stop(t testing.TB) {
	t.Helper()
	if err := d.interrupt(); err != nil {
		t.Error(err)
	}
	d.orphans(t)
}

// orphans fails the test if a process of this environment is alive, and ends it.
func (d *dev) orphans(t testing.TB) {
	t.Helper()
	left := gone(d.tree(), 5*time.Second)
	for _, p := range left {
		t.Errorf("%s (pid %d) outlived bailiwick dev", p.name, p.pid)
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended by itself by now
	}
}

// kill ends the whole tree at once, as a power cut would. A nil t is for those who are failing already.
func (d *dev) kill(t testing.TB) {
	for _, p := range d.tree() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // gone already is as good
	}
	select {
	case <-d.exited:
	case <-time.After(10 * time.Second):
		if t != nil {
			t.Fatal("bailiwick dev is alive 10 s after SIGKILL")
		}
	}
}

// tree is every living process of this environment.
func (d *dev) tree() []process {
	return carrying(d.marker)
}

// get fetches a URL and returns the status code and at most 64 KiB of the body; the code is 0 if nobody answers.
func get(url string) (int, string) {
	c := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // a body cut short is judged as it is
	return res.StatusCode, string(body)
}
