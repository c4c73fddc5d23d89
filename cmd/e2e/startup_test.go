package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startProblem is what a `bailiwick dev --json` that can't start says.
type startProblem struct {
	Error  string `json:"error"`
	Detail string `json:"detail"`
	Fix    string `json:"fix"`
	Port   int    `json:"port"`
	Path   string `json:"path"`
}

// failsToStart starts an environment that must not come up, and returns why.
func failsToStart(t *testing.T, s settings) startProblem {
	t.Helper()
	d := launch(t, s)
	select {
	case <-d.exited:
	case <-time.After(40 * time.Second):
		d.kill(t)
		t.Fatalf("it had not given up after 40 s\n%s", d.tail())
	}
	d.orphans(t)
	if d.code == 0 {
		t.Fatalf("it ended with code 0\n%s", d.tail())
	}
	_, stderr := s.logs()
	raw, err := os.ReadFile(stderr)
	if err != nil {
		t.Fatal(err)
	}
	var p startProblem
	for line := range strings.Lines(string(raw)) {
		var one startProblem
		if json.Unmarshal([]byte(line), &one) == nil && one.Error != "" && one.Fix != "" {
			p = one // the last one is the one that ended it
		}
	}
	if p.Error == "" || p.Detail == "" || p.Fix == "" {
		t.Fatalf("it does not say in JSON what was wrong and what to do\n%s", d.tail())
	}
	return p
}

// TestPortInUse: whichever port is taken, the error names it and the flag that changes it.
func TestPortInUse(t *testing.T) {
	for _, c := range []struct {
		flag string
		port func(ports) int
	}{
		{"--org-port", func(p ports) int { return p.org }},
		{"--control-port", func(p ports) int { return p.control }},
		{"--grpc-port", func(p ports) int { return p.grpc }},
		{"--http-port", func(p ports) int { return p.http }},
		{"--ui-port", func(p ports) int { return p.ui }},
	} {
		t.Run(strings.TrimPrefix(c.flag, "--"), func(t *testing.T) {
			s := newSettings(t)
			taken := c.port(s.ports)
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p := failsToStart(t, s)
			if p.Error != "port_in_use" || p.Port != taken || !strings.Contains(p.Fix, c.flag) {
				t.Errorf("got %+v, want port_in_use, port %d and a fix with %s", p, taken, c.flag)
			}
		})
	}
}

// TestStateNotUsable: a state directory that can't be one.
func TestStateNotUsable(t *testing.T) {
	s := newSettings(t)
	if err := os.WriteFile(s.state(), []byte("a file is in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := failsToStart(t, s); p.Error != "state_dir_unusable" && p.Error != "state_not_writable" || !strings.Contains(p.Detail+p.Path, s.state()) || !strings.Contains(p.Fix, "--state") {
		t.Errorf("with a file in the way: %+v", p)
	}
	s = newSettings(t)
	if err := os.WriteFile(filepath.Join(s.dir, "parent"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--state", filepath.Join(s.dir, "parent", "state")}
	if p := failsToStart(t, s); p.Error != "state_dir_unusable" && p.Error != "state_not_writable" {
		t.Errorf("below a file: %+v", p)
	}
}

// TestTwoOnOneState: a second environment on the state of a running one gives up, and the first does not notice.
func TestTwoOnOneState(t *testing.T) {
	d := shared(t)
	s := settings{dir: d.dir, ports: freePorts(t)}
	second := newSettings(t, "--state", s.state())
	p := failsToStart(t, second)
	if p.Error != "state_in_use" || !strings.Contains(p.Detail+p.Path, d.state()) {
		t.Errorf("got %+v, want state_in_use and the directory", p)
	}
	carol := d.user(t, "carol@acme.example")
	carol.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--task-queue", "nobody", "--id", "after-second-start")
	carol.ok(t, "audit", "verify")
}

// TestBrokenPolicyAtStart: a server does not start on a policy that it can't read.
func TestBrokenPolicyAtStart(t *testing.T) {
	s := newSettings(t, "--no-ui", "--no-worker")
	d := start(t, s)
	policies := d.context.PolicyDir
	d.stop(t)
	if err := os.WriteFile(filepath.Join(policies, "broken.cedar"), []byte("permit (principal,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := failsToStart(t, s)
	if !strings.Contains(p.Detail, "broken.cedar:") {
		t.Errorf("the problem does not name file and line: %+v", p)
	}
}
