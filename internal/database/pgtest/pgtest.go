// Package pgtest runs a private PostgreSQL server for a test.
//
// It owns finding, starting and stopping the server. It refuses to know what is kept in its databases.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/database"
)

// Server is a private PostgreSQL server of one test, reached by a socket in its own directory.
type Server struct {
	socket string
	made   atomic.Int64 // databases
}

// Start starts a server from Debian's package. Where PostgreSQL is missing the test is skipped, but not in CI.
func Start(t *testing.T) *Server {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("PostgreSQL is not installed; run scripts/install-test-deps")
		}
		t.Skip("PostgreSQL is not installed; scripts/install-test-deps installs it")
	}
	slices.Sort(found)
	bin := filepath.Dir(found[len(found)-1])

	// Socket paths are short by nature, so not below t.TempDir(). The server refuses to run as root.
	dir, err := os.MkdirTemp("/tmp", "bwpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var as []string
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatalf("running as root needs the package's user: %v", err)
		}
		var uid, gid int
		_, _ = fmt.Sscan(u.Uid, &uid)
		_, _ = fmt.Sscan(u.Gid, &gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		as = []string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups"}
	}
	run := func(args ...string) *exec.Cmd {
		args = append(slices.Clone(as), args...)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
		return cmd
	}
	data := filepath.Join(dir, "data")
	// Another locale than C, where there is one: the tables must order by bytes all the same.
	if out, err := run(filepath.Join(bin, "initdb"), "-D", data, "-U", "bailiwick", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	var log strings.Builder
	server := run(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60")
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = server.Process.Kill()
			<-exited
		}
	})
	s := &Server{socket: dir}
	admin, err := database.Open(s.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := admin.PingContext(ctx)
		cancel()
		if err == nil {
			return s
		}
		select {
		case waited := <-exited:
			exited <- waited
			t.Fatalf("the server ended: %v\n%s", waited, log.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}

func (s *Server) dsn(name string) string {
	return "postgres:///" + name + "?user=bailiwick&host=" + url.QueryEscape(s.socket)
}

// Database makes an empty one and returns its URL.
func (s *Server) Database(t *testing.T) string {
	t.Helper()
	admin, err := database.Open(s.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	name := fmt.Sprintf("t%d", s.made.Add(1))
	if _, err := admin.ExecContext(t.Context(), `CREATE DATABASE `+name); err != nil {
		t.Fatal(err)
	}
	return s.dsn(name)
}
