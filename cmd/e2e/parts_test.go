package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/demo"
)

// part finds the child whose command line holds a word.
func (d *dev) part(t *testing.T, word string) process {
	t.Helper()
	for _, p := range d.tree() {
		if strings.Contains(p.args, word) {
			return p
		}
	}
	t.Fatalf("no process of the environment has %q in its command line", word)
	return process{}
}

// TestPartsDie kills one part after the other, hard. The worker comes back; without Temporal the environment ends and says so; and when the
// environment itself is killed, its children don't outlive it.
func TestPartsDie(t *testing.T) {
	needsProc(t)
	s := newSettings(t, "--no-ui")
	d := start(t, s)
	alice := d.user(t, "alice@acme.example")

	worker := d.part(t, "demo-worker")
	alice.ok(t, "run", "start", "deploy", "--namespace", "deploy", "--id", "parts-1", "--input", `{"service":"x","version":"1","step_seconds":1}`)
	if err := syscall.Kill(worker.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c := sdkClient(t, d, alice.token(t), "deploy")
	defer c.Close()
	var st demo.Status
	if tl := closed(t, alice, "parts-1"); tl.Status != "completed" || tl.Invalid+tl.Unattested != 0 {
		t.Errorf("the run whose worker was killed: %s, %d unattested, %d invalid", tl.Status, tl.Unattested, tl.Invalid)
	}
	if err := c.GetWorkflow(patience(t), "parts-1", "").Get(patience(t), &st); err != nil || st.Phase != "live" {
		t.Errorf("the result of the run whose worker was killed: %+v, %v", st, err)
	}

	if err := syscall.Kill(d.part(t, "bailiwick-temporal").pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.exited:
	case <-time.After(30 * time.Second):
		d.kill(t)
		t.Fatal("the environment goes on without Temporal")
	}
	_, stderr := s.logs()
	said, err := os.ReadFile(stderr)
	if err != nil {
		t.Fatal(err)
	}
	if d.code == 0 || !strings.Contains(string(said), "temporal_stopped") {
		t.Errorf("without Temporal the environment ends with code %d, and does not say temporal_stopped\n%s", d.code, d.tail())
	}
	d.orphans(t)

	d = start(t, s)
	alice.dev = d
	all := d.tree()
	if len(all) < 3 {
		t.Fatalf("the environment has only %d processes: %+v", len(all), all)
	}
	if err := d.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.exited
	for _, p := range gone(all, 20*time.Second) {
		t.Errorf("%s (pid %d) goes on although bailiwick dev was killed", p.name, p.pid)
	}
	d.kill(t) // whatever is left

	d = start(t, s)
	alice.ok(t, "audit", "verify")
	d.stop(t)
}

// TestInterruptedStart: Ctrl-C while it starts is no failure and leaves nothing behind, and the next start works.
func TestInterruptedStart(t *testing.T) {
	needsProc(t)
	s := newSettings(t, "--no-ui")
	for _, after := range []time.Duration{50 * time.Millisecond, 400 * time.Millisecond, 1200 * time.Millisecond} {
		d := launch(t, s)
		time.Sleep(after) // whatever it is doing then
		d.stop(t)
	}
	start(t, s).stop(t)
}
