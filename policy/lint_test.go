package policy

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func lint(t *testing.T, roles, cedar string, known ...Known) []string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, RolesFile), roles)
	write(t, filepath.Join(dir, "x.cedar"), cedar)
	s, err := LoadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range s.Lint(known...) {
		if p.Fix == "" || p.Line == 0 {
			t.Errorf("no fix or no line: %+v", p)
		}
		found = append(found, p.String())
	}
	return found
}

func TestLint(t *testing.T) {
	const reader = "\n@id(\"read\") permit (principal, action in Action::\"read\", resource) when { principal.read.contains(resource.namespace) };\n"
	const roles = "version: 1\ngroups:\n- name: g\n  roles: { payments: read }\n"
	for name, c := range map[string]struct {
		roles, cedar string
		known        []Known
		want         []string
	}{
		"good":                  {roles, reader, nil, nil},
		"always false":          {roles, `@id("a") forbid (principal, action in Action::"read", resource) when { false };` + reader, nil, []string{"x.cedar:1: forbid a can never apply: its condition is always false"}},
		"unless true":           {roles, `@id("a") forbid (principal, action in Action::"read", resource) unless { true };` + reader, nil, []string{"x.cedar:1: forbid a can never apply: its condition is always true"}},
		"always true":           {roles, `@id("a") forbid (principal in Group::"x", action in Action::"read", resource) when { true };` + reader, nil, []string{"x.cedar:1: forbid a has a condition that is always true"}},
		"too broad":             {roles, `@id("a") permit (principal, action == Action::"StartWorkflowExecution", resource);` + reader, nil, []string{"x.cedar:1: permit a is too broad: it opens StartWorkflowExecution to everyone who is signed in"}},
		"too broad, conditions": {roles, `@id("a") permit (principal, action in Action::"operate", resource in Namespace::"p") when { context has reason };` + reader, nil, []string{"x.cedar:1: permit a is too broad: it opens "}},
		"open basics":           {roles, `@id("a") permit (principal, action == Action::"GetSystemInfo", resource);` + reader, nil, nil},
		"covered permit": {roles, `@id("a") permit (principal in Group::"x", action == Action::"StartWorkflowExecution", resource in Namespace::"p");
@id("b") permit (principal in Group::"x", action in Action::"operate", resource);` + reader, nil, []string{"x.cedar:1: permit a adds nothing: permit b (x.cedar:2) covers all of it"}},
		"twice the same": {roles, `@id("a") forbid (principal, action in Action::"read", resource is Workflow) when { context.agent };
@id("b") forbid (principal, action in Action::"read", resource is Workflow) when { context.agent };` + reader, nil, []string{"x.cedar:2: forbid b adds nothing: forbid a (x.cedar:1) covers all of it"}},
		"covered by a forbid": {roles, `@id("a") permit (principal in Group::"x", action == Action::"QueryWorkflow", resource == Workflow::"p/w");
@id("b") forbid (principal in Group::"x", action in Action::"read", resource in Namespace::"p");` + reader, nil, []string{"x.cedar:1: permit a never matters: forbid b (x.cedar:2) covers all of it"}},
		"another condition": {roles, `@id("a") permit (principal in Group::"x", action == Action::"QueryWorkflow", resource);
@id("b") forbid (principal in Group::"x", action in Action::"read", resource) when { context.agent };` + reader, nil, nil},
		"an obligation matters": {roles, `@id("a") @obligation("require_reason") permit (principal in Group::"x", action == Action::"StartWorkflowExecution", resource);
@id("b") permit (principal in Group::"x", action in Action::"operate", resource);` + reader, nil, nil},
		"idle forbid": {roles, `@id("a") forbid (principal, action in Action::"administer", resource);` + reader, nil, []string{"x.cedar:1: forbid a never matters: nothing permits what it forbids"}},
		"unused role": {"version: 1\ngroups:\n- name: g\n  roles: { payments: [read, worker] }\n", reader, nil, []string{"roles.yaml:3: the role worker opens nothing: no policy looks at it"}},
		"missing role": {roles, `@id("a") permit (principal, action in Action::"operate", resource) when { principal.write.contains(resource.namespace) };` + reader, nil,
			[]string{"x.cedar:1: permit a asks for the role write, which nobody has (give it in roles.yaml"}},
		"no role there": {roles, `@id("a") permit (principal, action in Action::"read", resource in Namespace::"paymets") when { principal.read.contains(resource.namespace) };` + reader, nil,
			[]string{"x.cedar:1: permit a adds nothing", "x.cedar:1: permit a names the namespace paymets, in which roles.yaml gives no role (did you mean payments?)"}},
		"queues unused": {"version: 1\nclients:\n- id: c\n  roles: { p: worker }\n  task_queues: [q]\n", `@id("a") permit (principal, action in Action::"work", resource) when { principal.worker.contains(resource.namespace) };`, nil,
			[]string{"roles.yaml:3: the task_queues of client c confine nothing"}},
		"strangers": {"version: 1\npatterns:\n- group: 'team-{namespace}'\n  role: read\ngroups:\n- name: g\n  roles: { payments: read }\nclients:\n- id: c\n  roles: { payments: read }\n",
			`@id("a") permit (principal in Group::"platfrm", action in Action::"operate", resource);` + reader, []Known{{Groups: []string{"platform", "G"}, Clients: []string{"d"}}},
			[]string{"roles.yaml:3: the pattern team-{namespace} matches no group that exists", "roles.yaml:6: the group g does not exist (did you mean G?)", "roles.yaml:9: the client c does not exist", "x.cedar:1: permit a names the group platfrm, which does not exist (did you mean platform?)"}},
	} {
		got := lint(t, c.roles, c.cedar, c.known...)
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: got\n  %s\nwant\n  %s", name, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}

func TestLintStarter(t *testing.T) {
	for _, p := range starter(t).current.Load().Lint() {
		t.Errorf("the starter set: %s", p)
	}
}

// Ten thousand policies are compared in seconds.
func TestLintMany(t *testing.T) {
	s, err := LoadSet(manyPolicies(t, 3000))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Lint() {
		if !strings.Contains(p.Text, "too broad") {
			t.Errorf("%s", p)
			break
		}
	}
}
