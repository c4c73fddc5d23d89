package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStarterLoads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "policies")
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	report, err := Check(dir)
	if err != nil || !report.OK() {
		t.Fatalf("%v %v", err, report.Problems)
	}
	if got := strings.Join(report.Files, " "); got != "access.cedar guardrails.cedar roles.cedar roles.yaml" {
		t.Errorf("files: %s", got)
	}
	e, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Status(); s.Digest != report.Digest || s.Policies != report.Policies || s.Policies < 8 {
		t.Errorf("status %+v, report %+v", s, report)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// What the starter set says about access, as a table; no policy of access.cedar goes without a case.
func TestStarterAccess(t *testing.T) {
	s := starter(t).current.Load()
	cases, err := LoadCases("testdata/access.yaml")
	if err != nil {
		t.Fatal(err)
	}
	decided := map[string]bool{}
	for i, r := range s.Test(cases).Results {
		if !r.OK {
			t.Errorf("%s:%d: %s: want %s, got %s (%s)", r.File, r.Line, r.Name, r.Want, r.Got, r.Why)
		}
		decided[cases[i].Policy] = true
	}
	for _, r := range s.inOrder() {
		if r.file == "access.cedar" && !decided[r.id] {
			t.Errorf("no case is decided by %s", r.id)
		}
	}
}

// Every commented-out example in the starter set must be true: a reader will uncomment it.
func TestStarterExamplesLoad(t *testing.T) {
	dir := t.TempDir()
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, RolesFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "groups: []", "groups:")
	uncommented := strings.NewReplacer("  # - ", "  - ", "  #   ", "    ", "    # task_queues", "    task_queues").Replace(text)
	if uncommented == text || strings.Count(uncommented, "\n  - ") < 6 {
		t.Fatal("the test found no examples to uncomment")
	}
	write(t, path, uncommented)
	guardrails := filepath.Join(dir, "guardrails.cedar")
	data, err = os.ReadFile(guardrails)
	if err != nil {
		t.Fatal(err)
	}
	text = string(data)
	n := 0
	for line := range strings.Lines(text) {
		for _, start := range []string{"unless {", "@obligation("} {
			if _, after, ok := strings.Cut(line, start); ok && strings.HasPrefix(line, "//   ") {
				n++
				id := "@id(\"example-" + string(rune('a'+n)) + "\")\n"
				example := "forbid (principal, action, resource)\n" + start + after + ";"
				if start == "@obligation(" {
					example = strings.Replace(start+after, "(…)", "(principal, action, resource)", 1)
				}
				text += id + example
			}
		}
	}
	if n != 3 {
		t.Fatalf("found %d examples", n)
	}
	write(t, guardrails, text)
	report, err := Check(dir)
	if err != nil || !report.OK() {
		t.Fatalf("%v %v", err, report.Problems)
	}
}

func TestStarterKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, RolesFile), "version: 1\n")
	if err := WriteStarter(dir); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, RolesFile)); err != nil || string(data) != "version: 1\n" {
		t.Errorf("roles.yaml was overwritten: %q %v", data, err)
	}
	write(t, filepath.Join(dir, "blocked"), "")
	if err := WriteStarter(filepath.Join(dir, "blocked")); err == nil || !strings.Contains(err.Error(), "making the policy directory") {
		t.Errorf("got %v", err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
