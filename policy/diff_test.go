package policy

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func twoSets(t *testing.T, a, b map[string]string) (*Set, *Set) {
	t.Helper()
	var sets []*Set
	for _, extra := range []map[string]string{a, b} {
		dir := t.TempDir()
		if err := WriteStarter(dir); err != nil {
			t.Fatal(err)
		}
		for name, text := range extra {
			write(t, filepath.Join(dir, name), text)
		}
		s, err := LoadSet(dir)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	return sets[0], sets[1]
}

func TestDiff(t *testing.T) {
	a, b := twoSets(t, map[string]string{
		RolesFile:     "version: 1\npatterns:\n- group: 'temporal:{namespace}:{role}'\nclients:\n- id: w\n  roles: { deploy: worker }\n",
		"extra.cedar": "@id(\"same\") forbid (principal in Group::\"x\", action in Action::\"read\", resource);\n@id(\"old\") forbid (principal in Group::\"y\", action in Action::\"read\", resource);\n@id(\"oncall\") permit (principal in Group::\"oncall\", action == Action::\"TerminateWorkflowExecution\", resource in Namespace::\"deploy\");\n",
	}, map[string]string{
		RolesFile:     "version: 1\npatterns:\n- group: 'temporal:{namespace}:{role}'\ngroups:\n- name: auditors\n  roles: { '*': read }\nclients:\n- id: w\n  roles: { deploy: worker }\n  task_queues: [deploy]\n",
		"other.cedar": "// moved\n@id(\"same\")\nforbid (principal in Group::\"x\",\n  action in Action::\"read\", resource);\n@id(\"oncall\") @obligation(\"require_reason\") permit (principal in Group::\"oncall\", action == Action::\"TerminateWorkflowExecution\", resource in Namespace::\"deploy\");\n@id(\"no-nightly\") forbid (principal, action == Action::\"StartWorkflowExecution\", resource in Namespace::\"deploy\") when { resource has type && resource.type == \"Nightly\" };\n",
	})
	r := Diff(a, b)
	var policies []string
	for _, c := range r.Policies {
		policies = append(policies, c.Change+" "+c.ID+" "+c.Where)
	}
	if got, want := strings.Join(policies, "; "), "added no-nightly other.cedar:6; removed old extra.cedar:2; changed oncall other.cedar:5"; !sameWords(got, want) {
		t.Errorf("policies %s", got)
	}
	if got, want := strings.Join(r.Mapping, "; "), "- client w: worker in deploy; + client w: worker in deploy, on the task queues deploy; + group auditors: read in every namespace"; got != want {
		t.Errorf("mapping %s", got)
	}
	var access strings.Builder
	for _, c := range r.Access {
		what := fmt.Sprintf("%d actions", len(c.Actions))
		if len(c.Actions) < 3 {
			what = strings.Join(c.Actions, ",")
		}
		fmt.Fprintf(&access, "%s in %s with %q: %s %s -> %s\n", c.Who, c.Namespace, c.With, what, c.Before, c.After)
	}
	for _, want := range []string{
		"group auditors in payments with \"\": ", "group auditors in any-other with \"\": ", "no_permission -> allowed",
		"group oncall in deploy with \"no reason, no recent login\": TerminateWorkflowExecution allowed -> obligation_unmet\n",
		"group temporal:deploy:write in deploy with \"workflow type Nightly\": StartWorkflowExecution allowed -> forbidden\n",
		"client w in deploy with \"\": 13 actions allowed -> no_permission\n",
	} {
		if !strings.Contains(access.String(), want) {
			t.Errorf("no %q in\n%s", want, access.String())
		}
	}
	if strings.Contains(access.String(), "group temporal:payments:write") || strings.Contains(access.String(), "no_permission -> forbidden") || !r.Widens() || r.Same() {
		t.Errorf("%s", access.String())
	}
	if r := Diff(a, a); !r.Same() {
		t.Errorf("a set differs from itself: %+v", r)
	}
}

func sameWords(a, b string) bool {
	x, y := strings.Split(a, "; "), strings.Split(b, "; ")
	seen := map[string]bool{}
	for _, s := range x {
		seen[s] = true
	}
	for _, s := range y {
		if !seen[s] {
			return false
		}
	}
	return len(x) == len(y)
}
