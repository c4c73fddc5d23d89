package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/policy"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		playChild()
	}
	testscript.Main(m, map[string]func(){
		"bailiwick": main,
		"mklog":     makeLog,
		"mkrotated": makeRotatedLog,
		"mktraffic": makeTraffic,
		"mkpolicy": func() {
			if err := policy.WriteStarter(os.Args[1]); err != nil {
				panic(err)
			}
		},
	})
}

// TestScripts runs testdata/*.txt: what the command says and how it exits where no server is needed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("BAILIWICK_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(e.WorkDir, "conf", "temporal.toml"))
			return os.Mkdir(filepath.Join(e.WorkDir, "conf"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits CODE COMMAND ARGS... runs a command that must end with exactly that code.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					var exit *exec.ExitError
					if !errors.As(err, &exit) {
						ts.Fatalf("running %s: %v", args[1], err)
					}
					got = exit.ExitCode()
				}
				if got != want || neg {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			// refused JOURNAL POLICIES writes into a journal that the gate has refused these policies, as the server plugin does.
			"refused": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(recordRefusal(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
			},
			// keyof FILE puts the last line of what keygen printed into $KEY.
			"keyof": func(ts *testscript.TestScript, _ bool, args []string) {
				words := strings.Fields(ts.ReadFile(args[0]))
				ts.Setenv("KEY", words[len(words)-1])
			},
			// keysplane DIR serves the keys of the log that mkrotated made, and logs in there.
			"keysplane": keysPlane(t),
			// waitlines FILE N waits until a file has that many lines.
			"waitlines": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[1])
				ts.Check(err)
				for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					if raw, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Count(string(raw), "\n") >= want {
						return
					}
				}
				ts.Fatalf("%s never had %d lines", args[0], want)
			},
			// replace FILE OLD NEW writes a text of a file anew.
			"replace": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[0])
				if !strings.Contains(text, args[1]) {
					ts.Fatalf("%s does not hold %q", args[0], args[1])
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
			},
			// poison FILE OLD NEW replaces bytes in a file, both of Go's quoted form.
			"poison": func(ts *testscript.TestScript, _ bool, args []string) {
				files, err := filepath.Glob(ts.MkAbs(args[0]))
				ts.Check(err)
				if len(files) == 0 {
					ts.Fatalf("no file is named %s", args[0])
				}
				raw, err := os.ReadFile(files[0])
				ts.Check(err)
				i := indexOf(raw, args[1])
				if i < 0 {
					ts.Fatalf("%s does not hold %q", files[0], args[1])
				}
				copy(raw[i:], args[2])
				ts.Check(os.Chmod(files[0], 0o600))
				ts.Check(os.WriteFile(files[0], raw, 0o600))
			},
		},
	})
}

func indexOf(raw []byte, s string) int {
	for i := 0; i+len(s) <= len(raw); i++ {
		if string(raw[i:i+len(s)]) == s {
			return i
		}
	}
	return -1
}

// makeLog writes a journal and its sealed log below the directory named, and the verifier key into "key": real ones, by the real parts.
func makeLog() {
	dir := os.Args[1]
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "mklog:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	journal, err := audit.OpenJournal(audit.JournalConfig{Dir: filepath.Join(dir, "journal")})
	check(err)
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	entry := func(n int, who, action, access, ns, id, reason string, d policy.Decision) {
		_, err := journal.Append(ctx, audit.Entry{Version: audit.EntryVersion, ID: fmt.Sprintf("0193%04d-0000-7000-8000-000000000000", n), Time: at.Add(time.Duration(n) * time.Second),
			Kind: audit.KindDecision, Gate: "dev", Actor: audit.Party{Principal: "user:http://idp|" + who, Login: who}, Action: action, Access: access,
			Resource: policy.Resource{Namespace: ns, WorkflowID: id, WorkflowType: "deploy"}, Decision: &d, Reason: reason})
		check(err)
	}
	yes := policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"write-role"}, PolicyDigest: "d1"}
	no := policy.Decision{Code: policy.CodeNoPermission, Missing: "write in payments", PolicyDigest: "d1"}
	entry(1, "alice@acme.example", "StartWorkflowExecution", "operate", "deploy", "ship-1", "CHG-7", yes)
	entry(2, "alice@acme.example", "StartWorkflowExecution", "operate", "payments", "pay-1", "", no)
	entry(3, "worker", "PollWorkflowTaskQueue", "work", "deploy", "", "", yes)
	entry(4, "alice@acme.example", "ListWorkflowExecutions", "read", "deploy", "", "", yes)
	entry(5, "erin@acme.example", "ListWorkflowExecutions", "read", "deploy", "", "", policy.Decision{Code: policy.CodeNoPermission, Missing: "read in deploy", PolicyDigest: "d1"})
	entry(6, "mallory@acme.example", "StartWorkflowExecution", "operate", "deploy", "evil-\x1b]0;owned\x07\u202egnp", "red\x1b[31m", yes)
	check(journal.Close())

	signer, key, err := tiles.LoadOrCreateKey(filepath.Join(dir, "log.key"), "bailiwick.dev/test")
	check(err)
	check(os.WriteFile(filepath.Join(dir, "key"), []byte(key+"\n"), 0o600))
	sealing, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- tiles.RunSealer(sealing, tiles.SealerConfig{Journals: []string{filepath.Join(dir, "journal")}, Log: filepath.Join(dir, "log"), Signer: signer, Interval: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	}()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if size, err := tiles.SealedSize(filepath.Join(dir, "log")); err == nil && size == 6 {
			break
		}
		if time.Now().After(end) {
			check(errors.New("the log was not sealed within 15 s"))
		}
	}
	stop()
	check(<-done)
}
