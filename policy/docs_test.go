package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fenced returns the code blocks of one language in a document.
func fenced(text, language string) []string {
	var blocks []string
	for _, part := range strings.Split(text, "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	return blocks
}

// The examples of docs/policy.md load, and its cases hold for the starter set.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	yaml, cedar := fenced(text, "yaml"), fenced(text, "cedar")
	if len(yaml) != 3 || len(cedar) != 2 {
		t.Fatalf("%d yaml and %d cedar blocks", len(yaml), len(cedar))
	}
	starter(t, RolesFile, yaml[0], "example.cedar", cedar[0])
	starter(t, RolesFile, "version: 1\n"+yaml[1], "example.cedar", cedar[1])
	path := filepath.Join(t.TempDir(), "cases.yaml")
	write(t, path, yaml[2])
	cases, err := LoadCases(path)
	if err != nil {
		t.Fatal(err)
	}
	if r := starter(t).current.Load().Test(cases); !r.OK() {
		t.Errorf("%+v", r.Results)
	}
	for _, code := range []Code{CodeAllowed, CodeNoPermission, CodeForbidden, CodePolicyError, CodeUnknown, CodeObligation, CodeUnresolved, CodeAttribute, CodeStale} {
		if !strings.Contains(text, "| `"+string(code)+"` |") {
			t.Errorf("the table of codes lacks %s", code)
		}
	}
}
