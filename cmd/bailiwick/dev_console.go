package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// console is where `bailiwick dev` talks to people: standard error, line by line, from several goroutines.
type console struct {
	mu    sync.Mutex // one line at a time
	w     *terminal
	quiet bool
}

func newConsole(w *terminal, quiet bool) *console { return &console{w: w, quiet: quiet} }

// step says what is being started.
func (c *console) step(what, where string) { c.line("", fmt.Sprintf("starting %s: %s", what, where)) }

func (c *console) line(from, text string) {
	if c.quiet {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if from != "" {
		from = c.w.cyan(fmt.Sprintf("%-8s", from)) + " "
	}
	fmt.Fprintf(c.w, "%s %s%s\n", c.w.dim(time.Now().Format("15:04:05")), from, safe(text))
}

// childLine shows a child's log lines of a level and above, as message and attributes.
func (c *console) childLine(from string, lowest slog.Level) func(string) {
	return func(raw string) {
		var rec map[string]any
		if json.Unmarshal([]byte(raw), &rec) != nil {
			return // not ours: it is in the log file
		}
		var level slog.Level
		text, _ := rec["level"].(string)
		if level.UnmarshalText([]byte(text)) != nil || level < lowest {
			return
		}
		msg, _ := rec["msg"].(string)
		if ran := forWhom(msg, rec); ran != "" {
			c.line(from, ran)
			return
		}
		for _, k := range []string{"time", "level", "msg", "source"} {
			delete(rec, k)
		}
		var b strings.Builder
		b.WriteString(msg)
		for _, k := range slices.Sorted(maps.Keys(rec)) {
			if !noise[k] {
				fmt.Fprintf(&b, " %s=%v", strings.ToLower(k), rec[k])
			}
		}
		c.line(from, clip(b.String(), 300))
	}
}

// forWhom words the lines in which the worker says for whom a task runs, which is what the demo is about. The log file has all of it.
func forWhom(msg string, rec map[string]any) string {
	get := func(k string) string { s, _ := rec[k].(string); return s }
	what := ""
	switch msg {
	case "running workflow":
		what = fmt.Sprintf("workflow %s (%s)", get("WorkflowType"), get("WorkflowID"))
	case "running activity":
		what = fmt.Sprintf("activity %s (%s)", get("activity"), get("workflow_id"))
	default:
		return ""
	}
	who := get("login")
	if who == "" {
		who = "nobody"
	}
	if ok, _ := rec["verified"].(bool); !ok {
		who += ", NOT VERIFIED"
	}
	text := what + " for " + who
	if r := get("reason"); r != "" {
		text += ": " + clip(r, 80)
	}
	return text
}

// noise are the SDK's log attributes that say nothing on a screen of one worker; the log file has them.
var noise = map[string]bool{"Namespace": true, "TaskQueue": true, "WorkerID": true, "RunID": true, "Attempt": true, "ActivityID": true, "namespace": true, "task_queue": true}

// readyLine is what `bailiwick dev --json` prints on standard output when everything serves.
type readyLine struct {
	Ready   bool   `json:"ready"`
	Context string `json:"context"`
	State   string `json:"state"`
	PID     int    `json:"pid"`
	Org     string `json:"org"`
	Issuer  string `json:"issuer"`
	Control string `json:"control"`
	GRPC    string `json:"grpc,omitempty"`
	HTTP    string `json:"http,omitempty"`
	UI      string `json:"ui,omitempty"`
	Worker  bool   `json:"worker"`
}

// announce says that everything runs: a line of JSON, or a page for people.
func (d *devEnv) announce(took time.Duration) error {
	r := readyLine{Ready: true, Context: d.name(), State: d.state.dir, PID: os.Getpid(), Org: d.orgURL(), Issuer: d.issuer(), Control: d.controlURL(), Worker: d.worker != nil}
	if d.temp != nil {
		r.GRPC, r.HTTP = d.address(), fmt.Sprintf("127.0.0.1:%d", d.flags.ports.HTTP)
		if !d.flags.noUI {
			r.UI = d.uiURL()
		}
	}
	if d.app.asJSON {
		return d.app.out.json(r)
	}
	w := d.app.out
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "  %s %s\n", w.dim(fmt.Sprintf("%-14s", k)), v)
		}
	}
	fmt.Fprintf(w, "\n%s %s\n\n", w.bold(w.green("Bailiwick runs.")), w.dim(fmt.Sprintf("(ready after %s)", took.Round(100*time.Millisecond))))
	if d.temp != nil {
		row("Temporal", fmt.Sprintf("%s, namespaces %s", w.cyan(r.GRPC), strings.Join(devNamespaces, ", ")))
		row("Web UI", w.cyan(r.UI))
	}
	row("Okta-like org", w.cyan(r.Org))
	row("Control plane", w.cyan(r.Control))
	if d.worker != nil {
		row("Demo worker", "task queue deploy in namespace deploy")
	}
	row("Policies", display(d.state.path("policy"))+w.dim("  edit them; they are read again at once"))
	row("State", display(d.state.dir)+w.dim("  survives a restart; logs in logs/"))
	seed := devorg.Acme()
	fmt.Fprintf(w, "\n%s\n", w.bold("People, all with password "+seed.Password+":"))
	for _, p := range seed.People {
		groups := strings.Join(p.Groups, ", ")
		switch {
		case p.Deprovisioned:
			groups = "deprovisioned: can't sign in"
		case groups == "":
			groups = "no groups"
		}
		fmt.Fprintf(w, "  %-20s %s\n", p.Login, w.dim(groups))
	}
	fmt.Fprintf(w, "\n%s\n", w.bold("Try, in a second terminal:"))
	for _, line := range []string{
		"bailiwick login                         # as alice@acme.example",
		`bailiwick run start deploy --id ship-142 --input '{"service":"checkout","version":"1.4.2"}' --reason "CHG-7: release 1.4.2" --wait`,
		"bailiwick run show ship-142             # who, why, by which policy, every signature checked",
		"bailiwick run start deploy --namespace payments   # refused: alice may only read there",
		"bailiwick audit tail -f",
		"bailiwick audit verify",
	} {
		command, note, _ := strings.Cut(line, "#")
		if note != "" {
			note = w.dim("#" + note)
		}
		fmt.Fprintf(w, "  %s%s\n", command, note)
	}
	fmt.Fprintf(w, "\n%s\n\n", w.dim("Ctrl-C stops everything."))
	return nil
}

// display shortens a path for people: relative if it is below the working directory.
func display(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return safe(path)
	}
	if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
		return safe(rel)
	}
	return safe(path)
}

// onSecondSignal kills the children and ends this process at the second Ctrl-C: the first one asks for a clean stop and is main's. The
// function that it returns stops listening.
func onSecondSignal(d *devEnv) (release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; n < 2; n++ {
			select {
			case <-signals:
			case <-done:
				return
			}
		}
		fmt.Fprintln(d.app.errs, "killed; state is as after a power cut, and the next start recovers it")
		d.family.killAll()
		os.Exit(exitError)
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
