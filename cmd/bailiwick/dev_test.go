package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/internal/login"
)

// buffer is a writer that a test reads while others write.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("timed out waiting: %s", what)
}

// running is `bailiwick dev --no-temporal` in this process.
type running struct {
	out, errs buffer
	stop      context.CancelFunc
	code      chan int
	ready     readyLine
}

func startDev(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, code: make(chan int, 1)}
	go func() {
		r.code <- run(ctx, append([]string{"dev", "--no-temporal", "--json", "--quiet"}, args...), strings.NewReader(""), &r.out, &r.errs)
	}()
	t.Cleanup(stop)
	return r
}

func (r *running) await(t *testing.T) {
	t.Helper()
	eventually(t, "the ready line; "+r.errs.String(), func() bool { return json.Unmarshal([]byte(r.out.String()), &r.ready) == nil && r.ready.Ready })
}

func (r *running) end(t *testing.T) int {
	t.Helper()
	r.stop()
	select {
	case code := <-r.code:
		return code
	case <-time.After(20 * time.Second):
		t.Fatal("bailiwick dev did not stop")
		return 0
	}
}

func TestDevWithoutTemporal(t *testing.T) {
	t.Setenv("BAILIWICK_HOME", t.TempDir())
	state := filepath.Join(t.TempDir(), "state")
	r := startDev(t, "--state", state, "--ports", "auto")
	r.await(t)

	raw, err := fetch(t.Context(), r.ready.Control+"/.well-known/bailiwick/keys")
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := attest.ParseKeySet(raw); err != nil || keys.Len() != 2 {
		t.Errorf("published keys: %v, %v", keys, err)
	}
	if bytes.Contains(raw, []byte(`"d"`)) {
		t.Error("a private key is published")
	}
	if _, err := fetch(t.Context(), r.ready.Control+"/nothing"); err == nil {
		t.Error("the control plane serves what it does not have")
	}
	if p, err := login.Discover(t.Context(), nil, r.ready.Issuer); err != nil || p.DeviceURL == "" {
		t.Errorf("the org: %+v, %v", p, err)
	}
	c, err := login.LoadContext("")
	if err != nil || c.Name != "dev" || c.Issuer != r.ready.Issuer || c.DefaultNamespace != "deploy" || c.LogKey == "" || c.JournalDir != filepath.Join(state, "journal") || c.Audience != "bailiwick:dev" {
		t.Errorf("context: %+v, %v", c, err)
	}
	for _, file := range []string{"keys/log.key", "keys/worker.pem", "lock", "logs/org.log"} {
		info, err := os.Stat(filepath.Join(state, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", file, info, err)
		}
	}
	if _, err := os.Stat(filepath.Join(state, "policy", "roles.yaml")); err != nil {
		t.Error(err)
	}

	// A second one on this state, and one on these ports.
	second := startDev(t, "--state", state, "--ports", "auto")
	if code := <-second.code; code != exitError || !strings.Contains(second.errs.String(), `"error":"state_in_use"`) || !strings.Contains(second.errs.String(), fmt.Sprintf(`"pid":%d`, os.Getpid())) {
		t.Errorf("second on the same state: %d %s", code, second.errs.String())
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.ready.Org, "http://"))
	third := startDev(t, "--state", filepath.Join(t.TempDir(), "other"), "--ports", "auto", "--org-port", port)
	if code := <-third.code; code != exitError || !strings.Contains(third.errs.String(), `"error":"port_in_use"`) || !strings.Contains(third.errs.String(), `"port":`+port) {
		t.Errorf("third on the same port: %d %s", code, third.errs.String())
	}

	if code := r.end(t); code != exitOK {
		t.Errorf("exit code %d after a stop: %s", code, r.errs.String())
	}
	for _, url := range []string{r.ready.Org, r.ready.Control} {
		if res, err := http.Get(url); err == nil {
			res.Body.Close()
			t.Errorf("%s is served after the stop", url)
		}
	}

	// State survives: the same keys, and the worker's key is registered once.
	again := startDev(t, "--state", state, "--ports", "auto")
	again.await(t)
	after, err := fetch(t.Context(), again.ready.Control+"/.well-known/bailiwick/keys")
	if err != nil || !bytes.Equal(raw, after) {
		t.Errorf("keys changed over a restart: %s, %v", after, err)
	}
	o := &orgServer{base: again.ready.Org}
	var keys []map[string]any
	if err := o.manage(t.Context(), http.MethodGet, "/api/v1/apps/0oadeployworker00001/credentials/jwks", nil, &keys); err != nil || len(keys) != 1 {
		t.Errorf("the worker's keys: %v, %v", keys, err)
	}
	again.end(t)
}

func TestChoosePorts(t *testing.T) {
	choose := func(set map[string]string, change func(*devFlags)) (devFlags, error) {
		f := devFlags{ports: defaultPorts}
		c := &cobra.Command{Use: "dev"}
		for _, p := range f.ports.all() {
			c.Flags().IntVar(p.port, p.flag, *p.port, "")
		}
		for k, v := range set {
			if err := c.Flags().Set(k, v); err != nil {
				t.Fatal(err)
			}
		}
		change(&f)
		return f, f.choosePorts(c)
	}
	f, err := choose(map[string]string{"ui-port": "9"}, func(f *devFlags) { f.base = 20000 })
	if err != nil || f.ports != (devPorts{20000, 20001, 20002, 20003, 9}) {
		t.Errorf("base: %+v, %v", f.ports, err)
	}
	f, err = choose(map[string]string{"grpc-port": "7233"}, func(f *devFlags) { f.pick = "auto" })
	seen := map[int]bool{}
	for _, p := range f.ports.all() {
		seen[*p.port] = true
	}
	if err != nil || f.ports.GRPC != 7233 || len(seen) != 5 || f.ports.Org == defaultPorts.Org {
		t.Errorf("auto: %+v, %v", f.ports, err)
	}
	if _, err := choose(map[string]string{"ui-port": "9080"}, func(f *devFlags) { f.noUI = true }); err != nil {
		t.Errorf("a port that is not used can't be in the way: %v", err)
	}
}

// childMode makes this test program play a child of dev.
const childMode = "BAILIWICK_TEST_CHILD"

func playChild() {
	switch os.Getenv(childMode) {
	case "serve": // until standard input ends, as --parent-pipe has it
		fmt.Println(`{"ready":true}`)
		fmt.Fprintln(os.Stderr, `{"level":"INFO","msg":"running workflow","WorkflowType":"deploy","WorkflowID":"w\u001b","login":"alice","verified":true,"reason":"CHG"}`)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "fail":
		fmt.Fprintln(os.Stderr, "something else first")
		fmt.Fprintln(os.Stderr, `{"error":"port_in_use","detail":"port 7233 is taken","fix":"choose another","port":7233}`)
		fmt.Fprintln(os.Stderr, `{"level":"ERROR","msg":"last words","error":"of another kind"}`)
		os.Exit(1)
	case "crash":
		fmt.Println(`{"ready":true}`)
		os.Exit(7)
	case "stubborn":
		ignoreTerm() // before the parent is told that there is somebody to stop
		fmt.Println(`{"ready":true}`)
		select {}
	}
	os.Exit(9)
}

func TestChild(t *testing.T) {
	var fam family
	start := func(t *testing.T, mode string, onLine func(string)) *child {
		t.Helper()
		t.Setenv(childMode, mode)
		c, err := fam.start("temporal", filepath.Join(t.TempDir(), "log"), os.Args[0], nil, onLine)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.kill(); <-c.done })
		return c
	}
	t.Run("serves and stops", func(t *testing.T) {
		var screen buffer
		con := newConsole(newTerminal(&screen), false)
		c := start(t, "serve", con.childLine("worker", slog.LevelInfo))
		if err := c.awaitReady(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the line on the console", func() bool { return strings.Contains(screen.String(), "workflow deploy (w\\x1b) for alice: CHG") })
		if err := c.stop(10 * time.Second); err == nil {
			t.Error("SIGTERM without a handler ends a Go program with a signal: stop must say that it was not a clean end")
		}
		raw, err := os.ReadFile(c.logPath)
		if err != nil || !strings.Contains(string(raw), "ready") || !strings.Contains(string(raw), "running workflow") {
			t.Errorf("log: %s, %v", raw, err)
		}
	})
	t.Run("ends with the pipe", func(t *testing.T) {
		c := start(t, "serve", nil)
		if err := c.awaitReady(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		c.stdin.Close()
		<-c.done
		if !c.cmd.ProcessState.Success() {
			t.Error(c.how())
		}
	})
	t.Run("fails with a reason", func(t *testing.T) {
		c := start(t, "fail", nil)
		err := c.awaitReady(t.Context(), 10*time.Second)
		co, ok := err.(*coded)
		if !ok || co.Code != "port_in_use" || co.Port != 7233 || co.Fix != "choose another" {
			t.Errorf("%v", err)
		}
	})
	t.Run("stubborn", func(t *testing.T) {
		c := start(t, "stubborn", nil)
		if err := c.awaitReady(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := c.stop(200 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%v", err)
		}
		fam.mu.Lock()
		defer fam.mu.Unlock()
		if len(fam.live) != 0 {
			t.Errorf("%d children are still counted as alive", len(fam.live))
		}
	})
	t.Run("a line without end", func(t *testing.T) {
		n := 0
		lines(io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), strings.NewReader("\nshort\nlast")), func(l string) { n += len(l) })
		if n > 256<<10+64<<10+9 || n < 256<<10 {
			t.Errorf("%d bytes kept", n)
		}
	})
}

func TestSupervised(t *testing.T) {
	var fam family
	var said buffer
	starts := make(chan struct{}, 10)
	dir := t.TempDir()
	t.Setenv(childMode, "crash")
	s, err := supervise(func() (*child, error) {
		starts <- struct{}{}
		return fam.start("worker", filepath.Join(dir, "log"), os.Args[0], nil, nil)
	}, func(text string) { fmt.Fprintln(&said, text) })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the first and two restarts: pauses of 0.5 and 1 s
		select {
		case <-starts:
		case <-time.After(10 * time.Second):
			t.Fatal("it was not started again")
		}
	}
	if text := said.String(); !strings.Contains(text, "exit status 7") || !strings.Contains(text, "again in 500ms") || !strings.Contains(text, "again in 1s") {
		t.Errorf("said: %s", text)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-starts:
		t.Error("it was started after the stop")
	case <-time.After(100 * time.Millisecond):
	}
}
