package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every recipe of the cookbook does what its cases say on top of the starter set, is not idle, and is printed in the docs as it is here.
func TestCookbook(t *testing.T) {
	recipes, err := filepath.Glob("cookbook/*.cedar")
	if err != nil || len(recipes) < 12 {
		t.Fatalf("%d recipes, %v", len(recipes), err)
	}
	docs, err := os.ReadFile("../docs/policy-cookbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range recipes {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(docs), "```cedar\n"+strings.TrimSpace(string(text))+"\n```") {
				t.Errorf("docs/policy-cookbook.md does not hold %s as it is", name)
			}
			s := starter(t, name, string(text)).current.Load()
			cases, err := LoadCases(strings.TrimSuffix(path, ".cedar") + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range s.Test(cases).Results {
				if !r.OK {
					t.Errorf("%s:%d: %s: want %s, got %s (%s)", r.File, r.Line, r.Name, r.Want, r.Got, r.Why)
				}
			}
			if starter(t).current.Load().Test(cases).OK() {
				t.Error("the cases hold without the recipe: they show nothing")
			}
			named := map[string]bool{}
			for _, c := range cases {
				named[c.Policy] = true
			}
			for _, r := range s.inOrder() {
				if r.file == name && !named[r.id] {
					t.Errorf("no case is decided by %s", r.id)
				}
			}
			for _, p := range s.Lint() {
				t.Errorf("lint: %s", p)
			}
		})
	}
}
