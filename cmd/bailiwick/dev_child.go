package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// child is a program of ours that runs beside us: in its own process group, its output in a file, its standard input a pipe that we hold,
// whose end tells it that we are gone.
type child struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	ready   chan string   // the line of standard output that says "ready", once
	done    chan struct{} // closed when it has ended and all output is written

	mu       sync.Mutex // covers the following
	lastLine string     // of standard error
	failed   *coded     // the last line of standard error by which it said why it fails
}

// family is every child that lives, for the one who must end them all at once.
type family struct {
	mu   sync.Mutex
	live map[*child]bool // guarded by mu
}

func (f *family) add(c *child) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		f.live = map[*child]bool{}
	}
	f.live[c] = true
}

func (f *family) remove(c *child) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.live, c)
}

func (f *family) killAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.live {
		c.kill()
	}
}

// start starts a program. Each line that it prints goes into the log file, and those of standard error to onLine, which may be nil.
func (f *family) start(name, logPath, path string, args []string, onLine func(line string)) (*child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, logPath: logPath, cmd: exec.Command(path, args...), ready: make(chan string, 1), done: make(chan struct{})}
	c.cmd.SysProcAttr = childAttributes()
	fail := func(err error) (*child, error) {
		log.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return fail(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return fail(err)
	}
	started := make(chan error, 1)
	go func() {
		// The kernel's parent-death signal is bound to the thread that forks, so that thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := c.cmd.Start(); err != nil {
			started <- err
			return
		}
		f.add(c)
		started <- nil
		var files sync.Mutex // two readers write one log
		write := func(line string) {
			files.Lock()
			defer files.Unlock()
			_, _ = io.WriteString(log, line+"\n") // a full disk must not stop the child's output from being read
		}
		var readers sync.WaitGroup
		readers.Go(func() {
			lines(stdout, func(line string) {
				write(line)
				if strings.Contains(line, `"ready":true`) {
					select {
					case c.ready <- line:
					default:
					}
				}
			})
		})
		readers.Go(func() {
			lines(stderr, func(line string) {
				write(line)
				c.hear(line)
				if onLine != nil {
					onLine(line)
				}
			})
		})
		readers.Wait() // before Wait, which closes the pipes
		f.remove(c)    // before Wait, after which its process id may be another's
		_ = c.cmd.Wait()
		log.Close()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return fail(err)
	}
	return c, nil
}

// lines calls f for each line, however long: what is beyond 256 KiB of a line is dropped.
func lines(r io.Reader, f func(string)) {
	const limit = 256 << 10
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		var line []byte
		for {
			part, prefix, err := br.ReadLine()
			if err != nil {
				if len(line) > 0 {
					f(string(line))
				}
				return
			}
			if len(line) < limit {
				line = append(line, part...)
			}
			if !prefix {
				break
			}
		}
		f(string(line))
	}
}

// awaitReady waits for the ready line. If the child ends first, the error is what it said last.
func (c *child) awaitReady(ctx context.Context, limit time.Duration) error {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		return c.failure()
	case <-timeout.C:
		return &coded{Code: "start_timeout", Text: fmt.Sprintf("%s was not ready after %v", c.name, limit), Fix: "its log: " + c.logPath, Path: c.logPath}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hear keeps what a child says last. A failure is one line of JSON with a code, what was wrong and what to do.
func (c *child) hear(line string) {
	said := &coded{}
	isFailure := strings.HasPrefix(line, `{"error":`) && json.Unmarshal([]byte(line), said) == nil && said.Code != "" && said.Text != ""
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastLine = line
	if isFailure {
		c.failed = said
	}
}

// failure is why the child ended before it was ready, as it said itself.
func (c *child) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		said := *c.failed
		if said.Fix == "" {
			said.Fix = "its log: " + c.logPath
		}
		return &said
	}
	return &coded{Code: "start_failed", Text: fmt.Sprintf("%s ended before it was ready (%s): %s", c.name, c.how(), c.lastLine), Fix: "its log: " + c.logPath, Path: c.logPath}
}

// how says how it ended; the child must be done.
func (c *child) how() string {
	if c.cmd.ProcessState == nil {
		return "still running"
	}
	return c.cmd.ProcessState.String()
}

// stop ends it gently, and by force after the limit. It is an error if it was ours to stop and did not end with success.
func (c *child) stop(limit time.Duration) error {
	select {
	case <-c.done:
		return nil // it had ended by itself, which has been reported
	default:
	}
	_ = terminate(c.cmd.Process) // gone already is as good
	_ = c.stdin.Close()
	select {
	case <-c.done:
	case <-time.After(limit):
		c.kill()
		<-c.done
		return fmt.Errorf("stopping %s: it had not ended after %v and was killed; its log: %s", c.name, limit, c.logPath)
	}
	if !c.cmd.ProcessState.Success() {
		return fmt.Errorf("stopping %s: it ended with %s; its log: %s", c.name, c.how(), c.logPath)
	}
	return nil
}

func (c *child) kill() { killGroup(c.cmd) }
