package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTamperedLog: `audit verify` tells what was done to a log, and ends with code 4.
func TestTamperedLog(t *testing.T) {
	d := shared(t)
	u := d.newcomer(t, "auditor@acme.example")
	fresh := func(t *testing.T) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "log")
		// In this order: a checkpoint that is older than the tiles is a good one, the other way round it is not.
		if err := os.CopyFS(dir, os.DirFS(d.context.LogDir)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	verify := func(t *testing.T, dir string) result {
		t.Helper()
		return u.run(t, "audit", "verify", "--log", dir, "--key", d.context.LogKey, "--remember", filepath.Join(u.home, "remembered"))
	}
	d.user(t, "alice@acme.example").ok(t, "run", "list", "--namespace", "deploy")
	first := ""
	eventually(t, "the log names alice", func() string {
		first = fresh(t)
		found := ""
		_ = filepath.Walk(filepath.Join(first, "tile", "entries"), func(path string, info os.FileInfo, err error) error {
			if raw, err := os.ReadFile(path); err == nil && strings.Contains(string(raw), `"login":"alice@`) {
				found = path
			}
			return nil
		})
		if found == "" {
			return "not yet"
		}
		return ""
	})
	if r := verify(t, first); r.code != 0 {
		t.Fatalf("a copy of the log does not verify: %v", r)
	}
	t.Run("altered", func(t *testing.T) {
		dir := fresh(t)
		changed := 0
		err := filepath.Walk(filepath.Join(dir, "tile", "entries"), func(path string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			altered := strings.ReplaceAll(string(raw), `"login":"alice@`, `"login":"malic@`)
			if altered != string(raw) {
				changed++
			}
			return os.WriteFile(path, []byte(altered), info.Mode())
		})
		if err != nil || changed == 0 {
			t.Fatalf("altering the log: %d files changed, %v", changed, err)
		}
		if r := verify(t, dir); r.code != 4 {
			t.Errorf("an altered entry goes unnoticed: %v", r)
		}
	})
	t.Run("other key", func(t *testing.T) {
		dir := fresh(t)
		path := filepath.Join(dir, "checkpoint")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(raw), "\n", " \n", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); r.code != 4 {
			t.Errorf("an altered checkpoint goes unnoticed: %v", r)
		}
	})
	t.Run("rolled back", func(t *testing.T) {
		// What was true once, and signed: only who remembers a later checkpoint can tell.
		d.user(t, "carol@acme.example").ok(t, "run", "start", "deploy", "--namespace", "deploy", "--task-queue", "nobody", "--id", "tamper-1")
		eventually(t, "the new entry is sealed and verified", func() string {
			now := fresh(t)
			a, _ := os.ReadFile(filepath.Join(first, "checkpoint"))
			b, _ := os.ReadFile(filepath.Join(now, "checkpoint"))
			if string(a) == string(b) {
				return "the checkpoint is the old one"
			}
			if r := verify(t, now); r.code != 0 {
				return r.String()
			}
			return ""
		})
		if r := verify(t, first); r.code != 4 || !strings.Contains(r.stdout, "log_truncated") {
			t.Errorf("a log that was rolled back goes unnoticed: %v", r)
		}
	})
}
