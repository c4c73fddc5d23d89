package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one row of /proc that concerns us.
type process struct {
	pid, ppid int
	name      string
	args      string // command line, separated by blanks
	zombie    bool
}

// processes reads /proc; on systems without one it finds nothing (see needsProc).
func processes() []process {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // fails only for a malformed pattern
	var out []process
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// "pid (name) state ppid …"; the name may hold spaces and parentheses.
		line := string(raw)
		open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
		fields := strings.Fields(line[end+1:])
		pid, _ := strconv.Atoi(strings.TrimSpace(line[:open]))
		ppid, _ := strconv.Atoi(fields[1])
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")) // gone meanwhile: empty
		out = append(out, process{pid, ppid, line[open+1 : end], strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " "), fields[0] == "Z"})
	}
	return out
}

// needsProc skips a test that can only be made where /proc is.
func needsProc(t testing.TB) {
	t.Helper()
	if len(processes()) == 0 {
		t.Skip("this test reads /proc, which this system lacks")
	}
}

// carrying is every process whose environment holds the entry: also those whose parent died before them.
func carrying(entry string) []process {
	return slices.DeleteFunc(processes(), func(p process) bool {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		return err != nil || p.zombie || !slices.Contains(strings.Split(string(env), "\x00"), entry)
	})
}

// listener is a listening TCP socket.
type listener struct {
	address string // host as the kernel prints it decoded, such as 127.0.0.1
	port    int
	owner   process
}

// listeners are the listening TCP sockets, of both IP versions, of the processes given.
func listeners(of []process) []listener {
	owner := map[string]process{} // by socket inode
	for _, p := range of {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
				owner[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = p
			}
		}
	}
	var out []listener
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue // no IPv6 here
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			if len(fields) < 10 || fields[3] != "0A" { // LISTEN
				continue
			}
			p, ours := owner[fields[9]]
			if !ours {
				continue
			}
			host, hexPort, _ := strings.Cut(fields[1], ":")
			port, _ := strconv.ParseInt(hexPort, 16, 32)
			out = append(out, listener{decodeIP(host), int(port), p})
		}
		f.Close()
	}
	slices.SortFunc(out, func(a, b listener) int { return a.port - b.port })
	return out
}

// decodeIP reads the kernel's hexadecimal address: 32-bit words in host byte order, which is little-endian wherever these tests run.
func decodeIP(s string) string {
	var b []byte
	for w := 0; w+8 <= len(s); w += 8 {
		for i := 6; i >= 0; i -= 2 {
			n, _ := strconv.ParseUint(s[w+i:w+i+2], 16, 8)
			b = append(b, byte(n))
		}
	}
	if len(b) == 4 {
		return fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3])
	}
	return fmt.Sprintf("%x", b)
}

// gone waits until none of the processes is alive.
func gone(ps []process, wait time.Duration) []process {
	for end := time.Now().Add(wait); ; time.Sleep(50 * time.Millisecond) {
		ps = slices.DeleteFunc(slices.Clone(ps), func(p process) bool {
			if syscall.Kill(p.pid, 0) != nil {
				return true
			}
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
			if err != nil {
				return true
			}
			_, rest, _ := strings.Cut(string(raw), ") ")
			return strings.HasPrefix(rest, "Z")
		})
		if len(ps) == 0 || time.Now().After(end) {
			return ps
		}
	}
}
