package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const poll = 500 * time.Millisecond

// watched runs an engine over a fresh directory inside a bubble of fake time and hands over what it needs.
func watched(t *testing.T, f func(t *testing.T, dir string, e *Engine, changes func() []Status)) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "policies")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, RolesFile), okRoles)
	write(t, filepath.Join(dir, "ok.cedar"), okCedar)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // covers told
		var told []Status
		changes := func() []Status {
			mu.Lock()
			defer mu.Unlock()
			return told
		}
		e, err := Open(dir, Options{Poll: poll, OnChange: func(s Status) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, s)
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Watch(ctx); close(done) }()
		f(t, dir, e, changes)
		stop()
		<-done
	})
}

// settle lets the watcher look twice, which is what it needs to act.
func settle() {
	time.Sleep(2*poll + time.Millisecond)
	synctest.Wait()
}

const forbidStart = "@id(\"stop\")\nforbid (principal, action == Action::\"ListWorkflowExecutions\", resource);\n"

func listing(e *Engine) Code { return e.Decide(ask(erin, "ListWorkflowExecutions", "n", "")).Code }

func TestReloadSwaps(t *testing.T) {
	watched(t, func(t *testing.T, dir string, e *Engine, changes func() []Status) {
		first := e.Status()
		settle()
		if len(changes()) != 0 {
			t.Fatalf("told of nothing: %+v", changes())
		}
		write(t, filepath.Join(dir, "more.cedar"), forbidStart)
		settle()
		s := e.Status()
		if s.Digest == first.Digest || s.Policies != 2 || s.LastError != "" || !s.Loaded.After(first.Loaded) || strings.Join(s.Files, " ") != "more.cedar ok.cedar roles.yaml" {
			t.Errorf("got %+v", s)
		}
		if len(changes()) != 1 || changes()[0].Digest != s.Digest {
			t.Errorf("told %+v", changes())
		}
		if code := listing(e); code != CodeForbidden {
			t.Errorf("still %s", code)
		}
		if err := os.Remove(filepath.Join(dir, "more.cedar")); err != nil {
			t.Fatal(err)
		}
		settle()
		if s := e.Status(); s.Digest != first.Digest || len(changes()) != 2 || listing(e) != CodeAllowed {
			t.Errorf("got %+v after %d changes", s, len(changes()))
		}
	})
}

// Each fault leaves the last good set in force, says so once, and heals when the directory does.
func TestReloadFaults(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, fault := range map[string]struct {
		do   func(t *testing.T, dir string)
		want string // in LastError
	}{
		"syntax error": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "more.cedar"), "permit (principal") }, "more.cedar:1: not Cedar"},
		"type error": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "more.cedar"), "@id(\"x\")\npermit (principal, action, resource) when { principal.nope };")
		}, "more.cedar:2: User has no attribute nope"},
		"two ids alike":    {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "more.cedar"), okCedar) }, `@id("ok") is taken`},
		"emptied file":     {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "ok.cedar"), "") }, "ok.cedar: it holds no policy"},
		"roles cut short":  {func(t *testing.T, dir string) { write(t, filepath.Join(dir, RolesFile), "version: 1\ngroups:\n- na") }, "roles.yaml:3"},
		"roles removed":    {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, RolesFile))) }, "roles.yaml: the file is missing"},
		"policies removed": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "ok.cedar"))) }, "there is no policy file"},
		"deleted directory": {func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
		}, "reading the policy directory"},
		"directory became a file": {func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			write(t, dir, "hello")
		}, "reading the policy directory"},
		"link to nowhere": {func(t *testing.T, dir string) {
			must(t, os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "x.cedar")))
		}, "reading policy file x.cedar"},
		"directory for a file": {func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "x.cedar"), 0o755)) }, "x.cedar: it is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, func(t *testing.T, dir string, e *Engine, changes func() []Status) {
				good := e.Status()
				fault.do(t, dir)
				settle()
				s := e.Status()
				if !strings.Contains(s.LastError, fault.want) || s.LastErrorAt.IsZero() || s.Digest != good.Digest || s.Policies != good.Policies || s.Loaded != good.Loaded {
					t.Fatalf("got %+v, want %q", s, fault.want)
				}
				if code := listing(e); code != CodeAllowed {
					t.Errorf("the last good set is not in force: %s", code)
				}
				time.Sleep(20 * poll)
				synctest.Wait()
				if len(changes()) != 1 || changes()[0].LastError != s.LastError {
					t.Errorf("told %d times: %+v", len(changes()), changes())
				}
				if err := e.Reload(); err == nil || len(changes()) != 1 {
					t.Errorf("Reload says %v, told %d times", err, len(changes()))
				}
				// Heal: a different good set, then the first one.
				must(t, os.RemoveAll(dir))
				must(t, os.Mkdir(dir, 0o755))
				write(t, filepath.Join(dir, RolesFile), okRoles)
				write(t, filepath.Join(dir, "ok.cedar"), okCedar)
				settle()
				if s := e.Status(); s.LastError != "" || !s.LastErrorAt.IsZero() || s.Digest != good.Digest || len(changes()) != 2 {
					t.Errorf("not healed: %+v", s)
				}
				write(t, filepath.Join(dir, "more.cedar"), forbidStart)
				settle()
				if code := listing(e); code != CodeForbidden || len(changes()) != 3 {
					t.Errorf("stuck: %s, %d changes", code, len(changes()))
				}
			})
		})
	}
}

// A file written in pieces parses at each piece. Only the whole may come into force, or a forbid at its end would be missing.
func TestReloadWaitsForTheWriter(t *testing.T) {
	watched(t, func(t *testing.T, dir string, e *Engine, changes func() []Status) {
		write(t, filepath.Join(dir, "more.cedar"), forbidStart)
		settle()
		pieces := []string{
			"@id(\"a\") permit (principal, action in Action::\"operate\", resource);\n",
			"@id(\"b\") permit (principal, action in Action::\"work\", resource);\n", forbidStart,
		}
		f, err := os.Create(filepath.Join(dir, "more.cedar")) // truncates
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i, piece := range pieces {
			if _, err := f.WriteString(piece); err != nil {
				t.Fatal(err)
			}
			if code := listing(e); code != CodeForbidden {
				t.Errorf("after piece %d: %s", i, code)
			}
			time.Sleep(poll) // one reading between pieces
			synctest.Wait()
		}
		settle()
		if s := e.Status(); s.Policies != 4 || listing(e) != CodeForbidden || len(changes()) != 2 {
			t.Errorf("got %+v after %d changes", s, len(changes()))
		}
	})
}

// Configuration volumes swap a link to a whole directory.
func TestReloadSymlinkSwap(t *testing.T) {
	root := t.TempDir()
	for i, text := range []string{okCedar, okCedar + forbidStart, "garbage"} {
		version := filepath.Join(root, "v"+string(rune('0'+i)))
		if err := os.Mkdir(version, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(version, RolesFile), okRoles)
		write(t, filepath.Join(version, "ok.cedar"), text)
	}
	link := filepath.Join(root, "current")
	point := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Fatal(err)
		}
	}
	point("v0")
	synctest.Test(t, func(t *testing.T) {
		e, err := Open(link, Options{Poll: poll})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Watch(ctx); close(done) }()
		for _, step := range []struct {
			to   string
			want Code
			ok   bool
		}{{"v1", CodeForbidden, true}, {"v2", CodeForbidden, false}, {"nowhere", CodeForbidden, false}, {"v0", CodeAllowed, true}, {"v2", CodeAllowed, false}, {"v0", CodeAllowed, true}} {
			point(step.to)
			settle()
			if s := e.Status(); listing(e) != step.want || (s.LastError == "") != step.ok {
				t.Errorf("%s: %s, %+v", step.to, listing(e), s)
			}
		}
		stop()
		<-done
	})
}

func TestReloadNow(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, RolesFile), okRoles)
	write(t, filepath.Join(dir, "ok.cedar"), okCedar)
	told := 0
	e, err := Open(dir, Options{OnChange: func(Status) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(); err != nil || told != 0 {
		t.Errorf("%v, told %d", err, told)
	}
	write(t, filepath.Join(dir, "more.cedar"), "x")
	var load *LoadError
	if err := e.Reload(); !errors.As(err, &load) || told != 1 {
		t.Errorf("%v, told %d", err, told)
	}
	write(t, filepath.Join(dir, "more.cedar"), forbidStart)
	if err := e.Reload(); err != nil || told != 2 || listing(e) != CodeForbidden {
		t.Errorf("%v, told %d", err, told)
	}
}

// A set that Before does not let in decides nothing, and comes into force by itself once it is let in.
func TestReloadBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, RolesFile), okRoles)
		write(t, filepath.Join(dir, "ok.cedar"), okCedar)
		var mu sync.Mutex // covers the two below
		var refuse error
		var asked []string
		count := func() int { mu.Lock(); defer mu.Unlock(); return len(asked) }
		var e *Engine
		e, err := Open(dir, Options{Poll: time.Second, Before: func(next Status) error {
			if next.Digest == e.Status().Digest {
				t.Error("asked after it was in force")
			}
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, next.Digest)
			return refuse
		}})
		if err != nil || count() != 0 {
			t.Fatal(err, count())
		}
		old := e.Status().Digest
		refuse = errors.New("no room in the journal")
		write(t, filepath.Join(dir, "more.cedar"), forbidStart)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Watch(ctx); close(done) }()
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		if s := e.Status(); s.Digest != old || !strings.Contains(s.LastError, "no room in the journal") || count() < 2 || listing(e) == CodeForbidden {
			t.Errorf("refused: %+v, asked %d times", s, count())
		}
		mu.Lock()
		refuse = nil
		mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mu.Lock()
		last := asked[len(asked)-1]
		mu.Unlock()
		if s := e.Status(); s.Digest == old || s.Digest != last || s.LastError != "" || listing(e) != CodeForbidden {
			t.Errorf("let in: %+v", s)
		}
		stop()
		<-done
	})
}

// Reloads every few milliseconds under load: no decision sees half a set, none is refused wrongly.
func TestReloadUnderLoad(t *testing.T) {
	dir := t.TempDir()
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	more := filepath.Join(dir, "more.cedar")
	// Two sets that answer differently: in each, exactly one of two actions is forbidden.
	texts := []string{
		"@id(\"x\") forbid (principal, action == Action::\"SignalWorkflowExecution\", resource);",
		"@id(\"x\") forbid (principal, action == Action::\"UpdateWorkflowExecution\", resource);",
	}
	write(t, more, texts[0])
	e := openEngine(t, dir)
	digests := map[string]string{e.Status().Digest: "SignalWorkflowExecution"}
	write(t, more, texts[1])
	if err := e.Reload(); err != nil {
		t.Fatal(err)
	}
	digests[e.Status().Digest] = "UpdateWorkflowExecution"

	var wait sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, action := range []string{"SignalWorkflowExecution", "UpdateWorkflowExecution", "StartWorkflowExecution"} {
					d := e.Decide(ask(alice, action, "deploy", ""))
					forbidden, known := digests[d.PolicyDigest]
					if !known || d.Allow == (action == forbidden) {
						t.Errorf("%s by %s: %+v", action, d.PolicyDigest, d)
						return
					}
				}
				e.Status()
				e.NamespacesFor(alice)
			}
		})
	}
	for i := range 60 {
		temp := filepath.Join(dir, ".more")
		write(t, temp, texts[i%2])
		if err := errors.Join(os.Rename(temp, more), e.Reload()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wait.Wait()
}
