package policy

import (
	"path/filepath"
	"strings"
	"testing"
)

// FuzzCases: no table of cases panics, and every problem says where and what to do.
func FuzzCases(f *testing.F) {
	f.Add(starterCases)
	f.Add("version: 1\ncases:\n- who: {groups: [a]}\n  action: [GetSystemInfo]\n  auth_age: -1\n  source_ip: '::'\n  expect: deny\n")
	f.Add("version: 1\npeople: {a: &x {}}\ncases: [{who: *x}]\n")
	s := starter(f).current.Load()
	path := filepath.Join(f.TempDir(), "x.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		write(t, path, text)
		cases, err := LoadCases(path)
		if (err == nil) != (len(cases) > 0) {
			t.Fatalf("%d cases, %v", len(cases), err)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.Contains(line, "(") {
					t.Errorf("no fix: %s", line)
				}
			}
			return
		}
		if r := s.Test(cases); r.Passed+r.Failed != len(cases) {
			t.Errorf("%+v", r)
		}
	})
}
