package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/bailiwicktest"
)

// TestMain lets the test binary play the program, so that tests can kill a real process.
func TestMain(m *testing.M) {
	if os.Getenv("BAILIWICK_TEMPORAL_PLAY") == "1" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is a running program.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr lockedBuffer
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(exe, args...)}
	p.cmd.Env = append(os.Environ(), "BAILIWICK_TEMPORAL_PLAY=1")
	p.cmd.Stderr = &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// ready reads the one line on standard output.
func (p *process) ready(t *testing.T) ready {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v\n%s", err, p.stderr.tail())
	}
	var r ready
	if err := json.Unmarshal([]byte(line), &r); err != nil || !r.Ready {
		t.Fatalf("ready line %q: %v", line, err)
	}
	return r
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		t.Fatalf("the process did not end\n%s", p.stderr.tail())
	}
	return p.cmd.ProcessState.ExitCode()
}

func writeConfig(t *testing.T, cfg Config) string {
	t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKilledServerGoesOn kills the process while a workflow waits and starts it again: the run goes on and the journal is whole.
func TestKilledServerGoesOn(t *testing.T) {
	issuer := bailiwicktest.NewIssuer(t)
	cfg := testConfig(t, issuer)
	cfg.UI.Enabled = false
	path := writeConfig(t, cfg)
	first := launch(t, "--config", path)
	begin := time.Now()
	address := first.ready(t).GRPC
	t.Logf("ready after %v from a cold directory", time.Since(begin).Round(time.Millisecond))

	dial := func(token string) client.Client {
		c, err := client.Dial(client.Options{HostPort: address, Namespace: "payments", HeadersProvider: bearer(token), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("dialing: %v\n%s", err, first.stderr.tail())
		}
		t.Cleanup(c.Close)
		return c
	}
	alice := dial(issuer.User("alice@acme.example", "temporal:payments:write"))
	w := worker.New(dial(issuer.Client("0oapaymentworker0001", "temporal:payments:worker")), taskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(greet, workflow.RegisterOptions{Name: "Greet"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	started, err := alice.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "survivor", TaskQueue: taskQueue}, "Greet")
	if err != nil {
		t.Fatal(err)
	}

	// A second process on the same state is told what is wrong and leaves the first alone.
	if code, err := second(t, path); code != 1 || err.Code != "port_in_use" || err.Port != cfg.GRPCPort {
		t.Errorf("a second server on the same ports: exit %d, %+v", code, err)
	}

	if err := first.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first.exit(t)
	again := launch(t, "--config", path, "--parent-pipe")
	begin = time.Now()
	again.ready(t)
	t.Logf("ready after %v from a killed server's directory", time.Since(begin).Round(time.Millisecond))
	// The SDK's connection comes back by itself.
	var result string
	for {
		err := alice.SignalWorkflow(ctx, "survivor", started.GetRunID(), "done", nil)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("signalling after the restart: %v\n%s", err, again.stderr.tail())
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := started.Get(ctx, &result); err != nil || result != "hello nobody" {
		t.Errorf("result %q, %v", result, err)
	}
	w.Stop()

	// The parent's end of the pipe closes: the server stops by itself, cleanly.
	again.stdin.Close()
	if code := again.exit(t); code != 0 {
		t.Errorf("exit code %d after the parent went\n%s", code, again.stderr.tail())
	}
	var events []string
	starts := 0
	e := &environment{cfg: cfg}
	for _, entry := range e.journal(t) {
		if entry.Kind == audit.KindGate {
			events = append(events, entry.Detail["event"])
		}
		if entry.Action == "StartWorkflowExecution" && entry.Resource.WorkflowID == "survivor" {
			starts++
		}
	}
	if got := strings.Join(events, " "); got != "started started stopped" || starts != 1 {
		t.Errorf("the journal holds %q and %d starts", got, starts)
	}
}

// second runs the program to its end and returns its one line of failure.
func second(t *testing.T, config string) (int, Failure) {
	t.Helper()
	p := launch(t, "--config", config)
	code := p.exit(t)
	var f Failure
	for line := range strings.Lines(p.stderr.String()) {
		if strings.HasPrefix(line, `{"error":`) {
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Errorf("failure line %q: %v", line, err)
			}
		}
	}
	if f.Code == "" {
		t.Errorf("no failure line in %q", p.stderr.String())
	}
	if f.Fix == "" || f.Detail == "" {
		t.Errorf("the failure does not say what was wrong or what to do: %+v", f)
	}
	return code, f
}

func TestRefusesToStart(t *testing.T) {
	issuer := bailiwicktest.NewIssuer(t)
	t.Run("port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cfg := testConfig(t, issuer)
		cfg.HTTPPort = l.Addr().(*net.TCPAddr).Port
		code, f := second(t, writeConfig(t, cfg))
		if code != 1 || f.Code != "port_in_use" || f.Port != cfg.HTTPPort || !strings.Contains(f.Fix, "http_port") {
			t.Errorf("exit %d, %+v", code, f)
		}
	})
	t.Run("state directory not writable", func(t *testing.T) {
		cfg := testConfig(t, issuer)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.StateDir = filepath.Join(file, "state") // below a file: not even root can
		code, f := second(t, writeConfig(t, cfg))
		if code != 1 || f.Code != "state_unwritable" || f.Path != cfg.StateDir {
			t.Errorf("exit %d, %+v", code, f)
		}
	})
	t.Run("policy with a syntax error", func(t *testing.T) {
		cfg := testConfig(t, issuer)
		if err := os.WriteFile(filepath.Join(cfg.PolicyDir, "broken.cedar"), []byte("permit ("), 0o600); err != nil {
			t.Fatal(err)
		}
		code, f := second(t, writeConfig(t, cfg))
		if code != 1 || f.Code != "policy_invalid" || !strings.Contains(f.Detail, "broken.cedar") {
			t.Errorf("exit %d, %+v", code, f)
		}
	})
	t.Run("journal of another gate", func(t *testing.T) {
		cfg := testConfig(t, issuer)
		j, err := audit.OpenJournal(audit.JournalConfig{Dir: cfg.JournalDir})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		code, f := second(t, writeConfig(t, cfg))
		if code != 1 || f.Code != "gate_failed" || !strings.Contains(f.Detail, "another process writes this journal") {
			t.Errorf("exit %d, %+v", code, f)
		}
	})
	t.Run("config", func(t *testing.T) {
		code, f := second(t, filepath.Join(t.TempDir(), "absent.json"))
		if code != 1 || f.Code != "config_unreadable" {
			t.Errorf("exit %d, %+v", code, f)
		}
	})
	t.Run("command line", func(t *testing.T) {
		for _, args := range [][]string{{}, {"--config"}, {"--config", "x", "extra"}, {"--config", "x", "--log-level", "loud"}, {"--no-such-flag"}} {
			var stdout, stderr bytes.Buffer
			if code := run(args, strings.NewReader(""), &stdout, &stderr); code != 2 || stderr.Len() == 0 {
				t.Errorf("%q: exit %d, %q", args, code, stderr.String())
			}
		}
		var stdout bytes.Buffer
		if code := run([]string{"--version"}, nil, &stdout, io.Discard); code != 0 || !strings.Contains(stdout.String(), "1.32.1") {
			t.Errorf("--version: exit %d, %q", code, stdout.String())
		}
	})
}

// TestUIWaitsForIssuer starts the server while the UI's issuer is away: the library behind the UI would end the process.
func TestUIWaitsForIssuer(t *testing.T) {
	issuer := bailiwicktest.NewIssuer(t)
	issuer.SetDown(true)
	cfg := testConfig(t, issuer)
	log := &lockedBuffer{}
	s, err := StartServer(t.Context(), cfg, slog.New(slog.NewJSONHandler(log, nil)), func(code int) { t.Errorf("ended with %d", code) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-s.ui.ready:
		t.Fatal("the UI runs without its issuer")
	case <-time.After(500 * time.Millisecond):
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(cfg.UIPort)); err == nil {
		conn.Close()
		t.Error("the UI's port is open already")
	}
	if !strings.Contains(log.String(), "ui_issuer_unreachable") {
		t.Errorf("the log does not say so: %s", log.tail())
	}
	issuer.SetDown(false)
	select {
	case <-s.ui.ready:
	case <-time.After(15 * time.Second):
		t.Fatalf("the UI did not come\n%s", log.tail())
	}
}
