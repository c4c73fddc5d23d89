package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/bailiwick-dev/bailiwick/identity"
)

func TestSchemaIsTheTable(t *testing.T) {
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	resources := map[Scope]types.EntityType{ScopeCluster: typeCluster, ScopeNamespace: typeNamespace, ScopeWorkflow: typeWorkflow,
		ScopeTaskQueue: typeTaskQueue, ScopeSchedule: typeSchedule}
	if len(s.Actions) != len(Actions())+len(accesses) {
		t.Errorf("the schema has %d actions, the table %d and five groups", len(s.Actions), len(Actions()))
	}
	for _, a := range Actions() {
		got, ok := s.Actions[types.NewEntityUID(typeAction, types.String(a.Name))]
		if !ok {
			t.Errorf("%s is not in the schema", a.Name)
			continue
		}
		parents := slices.Collect(got.Entity.Parents.All())
		if len(parents) != 1 || string(parents[0].ID) != string(a.Access) {
			t.Errorf("%s: in %v, want %s", a.Name, parents, a.Access)
		}
		if r := got.AppliesTo.Resources; len(r) != 1 || r[0] != resources[a.Scope] || len(got.AppliesTo.Principals) != 2 {
			t.Errorf("%s: applies to %v %v, want %s", a.Name, got.AppliesTo.Principals, r, a.Scope)
		}
	}
	if !strings.Contains(SchemaText(), "entity Namespace in [Cluster]") {
		t.Error("SchemaText is not the schema")
	}
}

// Every attribute that differs by request has its bit; leaving one out would hide it from policies.
func TestLooksCoverTheSchema(t *testing.T) {
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[looks]types.String{}
	check := func(name types.String, context bool) {
		bit := looksAt(name)
		if bit == 0 || (bit&looksContext != 0) != context || seen[bit] != "" && seen[bit] != name {
			t.Errorf("%s has bit %b (context: %v, taken by %q)", name, bit, context, seen[bit])
		}
		seen[bit] = name
	}
	for name := range s.Actions[types.NewEntityUID(typeAction, "StartWorkflowExecution")].AppliesTo.Context {
		check(name, true)
	}
	for _, of := range []types.EntityType{typeWorkflow, typeTaskQueue, typeSchedule} {
		for name := range s.Entities[of].Shape {
			if name != "namespace" {
				check(name, false)
			}
		}
	}
	if looksAt("namespace") != 0 || len(seen) != 35 {
		t.Errorf("%d bits", len(seen))
	}
}

const okRoles = "version: 1\n"
const okCedar = "@id(\"ok\")\npermit (principal, action in Action::\"read\", resource);\n"

func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"syntax", "x.cedar", okCedar + "@id(\"b\")\npermit (principal, action, resource)\n", "x.cedar:5: not Cedar: expected \";\" before the end of the file, column 1"},
		{"cut short", "x.cedar", okCedar + "@id(\"b\")\nforbid (principal, action, resource) when { context.", "x.cedar:4: not Cedar"},
		{"effect", "x.cedar", "@id(\"b\")\npermt (principal, action, resource);", "x.cedar:2: not Cedar: unexpected effect: permt before \"(\", column 7"},
		{"template", "x.cedar", "@id(\"b\")\npermit (principal == ?principal, action, resource);", "x.cedar:2: not Cedar"},
		{"binary", "x.cedar", "\x00\x01", "x.cedar:1: not Cedar"},
		{"empty", "x.cedar", "", "x.cedar: it holds no policy"},
		{"comments only", "x.cedar", "// nothing\n", "x.cedar: it holds no policy"},
		{"no id", "x.cedar", "\n// hello\npermit (principal, action, resource);", "x.cedar:3: the policy has no @id (begin it with @id(\"a-name\")"},
		{"bad id", "x.cedar", "@id(\"a b\")\npermit (principal, action, resource);", `x.cedar:1: @id("a b") can't be an id`},
		{"id with newline", "x.cedar", "@id(\"a\\nb\")\npermit (principal, action, resource);", `can't be an id`},
		{"same id", "x.cedar", okCedar, `x.cedar:1: @id("ok") is taken by ok.cedar:1`},
		{"same id in one file", "x.cedar", "@id(\"a\") permit (principal, action, resource);\n\n@id(\"a\") forbid (principal, action, resource);", `x.cedar:3: @id("a") is taken by x.cedar:1`},
		{"annotation twice", "x.cedar", "@id(\"a\")\n@id(\"b\")\npermit (principal, action, resource);", "x.cedar:2: not Cedar: duplicate annotation: @id before \"(\", column 4"},
		{"unknown annotation", "x.cedar", "@id(\"a\")\n@obligaton(\"require_reason\")\npermit (principal, action, resource);", "x.cedar:2: annotation @obligaton is not known (did you mean @obligation?"},
		{"unknown obligation", "x.cedar", "@id(\"a\")\n@obligation(\"require_grant\")\npermit (principal, action, resource);", `x.cedar:2: obligation "require_grant" is not known`},
		{"obligation without its number", "x.cedar", "@id(\"a\")\n@obligation(\"approvals\")\npermit (principal, action == Action::\"Access.Request\", resource);", `x.cedar:2: obligation "approvals" needs the form "approvals:2"`},
		{"two obligations of which one is unknown", "x.cedar", "@id(\"a\")\n@obligation(\"require_reason, aprovals:2\")\npermit (principal, action == Action::\"Access.Request\", resource);", `did you mean approvals?`},
		{"obligations that contradict", "x.cedar", "@id(\"a\")\n@obligation(\"auto_approve approvals:2\")\npermit (principal, action == Action::\"Access.Request\", resource);", `x.cedar:2: auto_approve and approvals contradict`},
		{"approvals of a call", "x.cedar", "@id(\"a\")\n@obligation(\"approvals:2\")\npermit (principal, action, resource);", `x.cedar:2: obligations about approvals and time hold for access requests`},
		{"empty obligation", "x.cedar", "@id(\"a\")\n@obligation(\" \")\npermit (principal, action, resource);", `x.cedar:2: an obligation with no term`},
		{"obligation on forbid", "x.cedar", "@id(\"a\")\n@obligation(\"require_reason\")\nforbid (principal, action, resource);", "x.cedar:2: an obligation means nothing on a forbid"},
		{"empty reason", "x.cedar", "@id(\"a\")\n@reason(\" \")\nforbid (principal, action, resource);", "x.cedar:2: @reason has no text"},
		{"escape in reason", "x.cedar", "@id(\"a\")\n@reason(\"\\x1b[31m\")\nforbid (principal, action, resource);", "x.cedar:2: @reason has no text that can be shown"},
		{"unknown action", "x.cedar", "@id(\"a\")\npermit (\n  principal,\n  action == Action::\"StartWorkflow\",\n  resource\n);", `x.cedar:4: action "StartWorkflow" does not exist (did you mean Action::"StartWorkflowExecution"?)`},
		{"unknown action in a list", "x.cedar", "@id(\"a\")\npermit (principal, action in [Action::\"read\",\n Action::\"SignalWorkflowExecuton\"], resource);", `x.cedar:3: action "SignalWorkflowExecuton" does not exist (did you mean Action::"SignalWorkflowExecution"?)`},
		{"operator action", "x.cedar", "@id(\"a\")\npermit (principal, action == Action::\"DeleteNamespace\", resource);", `(did you mean Action::"Operator.DeleteNamespace"?)`},
		{"group's case", "x.cedar", "@id(\"a\") permit (principal, action in Action::\"Read\", resource);", `(did you mean Action::"read"?)`},
		{"no such action", "x.cedar", "@id(\"a\") permit (principal, action in Action::\"xyzzy\", resource);", `action "xyzzy" does not exist (the groups are read`},
		{"unknown type", "x.cedar", "@id(\"a\")\npermit (principal in Grup::\"x\", action, resource);", "x.cedar:2: entity type Grup does not exist (did you mean Group?)"},
		{"unknown attribute", "x.cedar", "@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.wrte.contains(resource.namespace) };", "x.cedar:3: User has no attribute wrte (did you mean write?)"},
		{"unknown context", "x.cedar", "@id(\"a\")\npermit (principal, action, resource)\nwhen { context.resn == \"x\" };", "x.cedar:3: the context has no attribute resn (did you mean reason?)"},
		{"optional", "x.cedar", "@id(\"a\")\npermit (principal, action, resource)\nwhen { true }\nwhen { context.reason == \"x\" };", `x.cedar:4: the context may lack the attribute reason (test first: "context has reason && …")`},
		{"optional resource", "x.cedar", "@id(\"a\")\npermit (principal, action == Action::\"StartWorkflowExecution\", resource)\nwhen { resource.type == \"x\" };", `x.cedar:3: Workflow may lack the attribute type (test first: "resource has type && …")`},
		{"wrong type", "x.cedar", "@id(\"a\") permit (principal, action, resource) when { principal.write.contains(resource) };", "are not compatible (compare things of one type"},
		{"not a bool", "x.cedar", "@id(\"a\") permit (principal, action, resource) when { context.now };", "x.cedar:1: unexpected type"},
		{"bad address", "x.cedar", "@id(\"a\") permit (principal, action, resource) when { context has source_ip && context.source_ip.isInRange(ip(\"10.0.0.0/33\")) };", "failed to parse as IP address"},
		{"never applies", "x.cedar", "@id(\"a\") permit (principal, action == Action::\"StartWorkflowExecution\", resource in Schedule::\"x\");", "x.cedar:1: the policy can never apply"},

		{"endless", "x.cedar", "@id(\"a\")\npermit (principal, action, resource) when { " + strings.Repeat("(", 1<<20) + "true", "x.cedar:2: a policy is longer than 64 KiB"},
		{"long comment is fine", "x.cedar", "// \"" + strings.Repeat(";\"(", 1<<12) + "\npermt", "x.cedar:2: not Cedar"},

		{"no version", RolesFile, "groups: []\n", `roles.yaml:1: the version is missing (add "version: 1" at the top)`},
		{"no queues", RolesFile, "version: 1\nclients:\n- id: x\n  roles: { a: worker }\n  task_queues: []\n", "roles.yaml:5: task_queues names none"},
		{"queues everywhere", RolesFile, "version: 1\nclients:\n- id: x\n  roles: { '*': worker }\n  task_queues: [q]\n", `roles.yaml:5: task_queues can't go with the role worker in "*" (name the namespaces`},
		{"queues of no worker", RolesFile, "version: 1\nclients:\n- id: x\n  roles: { a: write }\n  task_queues: [q]\n", "roles.yaml:5: task_queues says nothing without the role worker"},
		{"queues of a group", RolesFile, "version: 1\ngroups:\n- name: x\n  roles: { a: worker }\n  task_queues: [q]\n", `roles.yaml:5: "task_queues" is not a key of a group`},
		{"future version", RolesFile, "version: 2\n", `roles.yaml:1: version "2" is not known`},
		{"empty roles", RolesFile, "", "roles.yaml: the file is empty"},
		{"not yaml", RolesFile, "version: 1\ngroups:\n\t- name: x\n", "roles.yaml:"},
		{"list", RolesFile, "- a\n", "roles.yaml:1: roles.yaml must be a mapping"},
		{"two documents", RolesFile, "version: 1\n---\nversion: 1\n", "roles.yaml:2: a second document begins here"},
		{"unknown key", RolesFile, "version: 1\ngroup: []\n", `roles.yaml:2: "group" is not a key of roles.yaml (did you mean "groups"?`},
		{"key twice", RolesFile, "version: 1\ngroups: []\ngroups: []\n", `roles.yaml:3: "groups" is there twice (it is already on line 2: keep one)`},
		{"unknown role", RolesFile, "version: 1\nclients:\n  - id: x\n    roles: { deploy: wroker }\n", `roles.yaml:4: role "wroker" is not known (did you mean "worker"?`},
		{"role in list", RolesFile, "version: 1\ngroups:\n- name: x\n  roles:\n    deploy: [read,\n      root]\n", `roles.yaml:6: role "root" is not known`},
		{"role's case", RolesFile, "version: 1\ngroups:\n- name: x\n  roles: { a: Read }\n", `role "Read" is not known (did you mean "read"?`},
		{"namespace", RolesFile, "version: 1\ngroups:\n- name: x\n  roles: { 'a:b': read }\n", `roles.yaml:4: "a:b" can't be a namespace`},
		{"namespace glob", RolesFile, "version: 1\ngroups:\n- name: x\n  roles: { 'pay*': read }\n", `"pay*" can't be a namespace`},
		{"namespace twice", RolesFile, "version: 1\ngroups:\n- name: x\n  roles: { a: read, a: write }\n", `"a" is there twice`},
		{"no roles", RolesFile, "version: 1\ngroups:\n- name: x\n", "roles.yaml:3: a group needs roles"},
		{"no name", RolesFile, "version: 1\ngroups:\n- roles: { a: read }\n", "roles.yaml:3: a group needs name"},
		{"no id", RolesFile, "version: 1\nclients:\n- roles: { a: read }\n", "roles.yaml:3: a client needs id"},
		{"number as id", RolesFile, "version: 1\nclients:\n- id: 0123\n  roles: { a: read }\n", "roles.yaml:3: id must be a text, 0123 is read as something else (put it in quotes)"},
		{"agent group", RolesFile, "version: 1\ngroups:\n- name: x\n  agent: true\n", `"agent" is not a key of a group`},
		{"agent maybe", RolesFile, "version: 1\nclients:\n- id: x\n  agent: maybe\n", "roles.yaml:4: agent must be true or false"},
		{"hidden letters", RolesFile, "version: 1\ngroups:\n- name: \"adm\\u200bins\"\n  roles: { a: admin }\n", "has characters that can't be seen"},
		{"newline in name", RolesFile, "version: 1\ngroups:\n- name: \"a\\nb\"\n  roles: { a: admin }\n", "has characters that can't be seen"},
		{"alias", RolesFile, "version: 1\ngroups:\n- name: x\n  roles: &r { a: read }\n- name: y\n  roles: *r\n", "roles.yaml:4: anchors, aliases and merge keys are not read"},
		{"merge key", RolesFile, "version: 1\ngroups:\n- <<: { name: x }\n  roles: { a: read }\n", "roles.yaml:3: anchors, aliases and merge keys are not read"},
		{"pattern without namespace", RolesFile, "version: 1\npatterns:\n- group: 'x:{role}'\n", "roles.yaml:3: a pattern needs {namespace} exactly once"},
		{"pattern without role", RolesFile, "version: 1\npatterns:\n- group: 'x:{namespace}'\n", `the pattern "x:{namespace}" must say the role once`},
		{"pattern with two roles", RolesFile, "version: 1\npatterns:\n- group: 'x:{namespace}:{role}'\n  role: read\n", "must say the role once"},
		{"pattern with wildcard", RolesFile, "version: 1\npatterns:\n- group: '*:{namespace}:{role}'\n", "other braces and wildcards"},
		{"pattern run together", RolesFile, "version: 1\npatterns:\n- group: 'x{namespace}{role}'\n", "need something between them"},
		{"pattern typo", RolesFile, "version: 1\npatterns:\n- groups: 'x:{namespace}:{role}'\n", `"groups" is not a key of a pattern (did you mean "group"?`},
		{"scalar groups", RolesFile, "version: 1\ngroups: x\n", "roles.yaml:2: groups must be a list"},
		{"binary yaml", RolesFile, "\x00\xff", "roles.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, RolesFile), okRoles)
			write(t, filepath.Join(dir, "ok.cedar"), okCedar)
			if r, err := Check(dir); err != nil || !r.OK() || r.Policies != 1 {
				t.Fatal(r, err)
			}
			write(t, filepath.Join(dir, c.file), c.text)
			r, err := Check(dir)
			if err != nil || r.OK() {
				t.Fatalf("got %v %v", r, err)
			}
			all := (&LoadError{r.Problems}).Error()
			if !strings.Contains(all, c.want) {
				t.Errorf("got\n%s\nwant\n%s", all, c.want)
			}
			for _, p := range r.Problems {
				if p.Fix == "" || p.File == "" {
					t.Errorf("no fix or no file: %+v", p)
				}
			}
			var load *LoadError
			if _, err := Open(dir, Options{}); !errors.As(err, &load) || len(load.Problems) != len(r.Problems) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// A mistake in each of three files is reported for all three at once.
func TestAllProblemsAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, RolesFile), "version: 1\nclients:\n- id: a\n  roles: { x: raed }\n- id: b\n  roels: {}\n")
	write(t, filepath.Join(dir, "a.cedar"), "@id(\"a\") permit (principal, action == Action::\"Stat\", resource);\n@id(\"b\") permit (principal, action, resource) when { context.oops };")
	write(t, filepath.Join(dir, "b.cedar"), "permit")
	r, err := Check(dir)
	if err != nil || len(r.Problems) != 5 {
		t.Errorf("%v\n%s", err, (&LoadError{r.Problems}).Error())
	}
}

func TestMissingPieces(t *testing.T) {
	dir := t.TempDir()
	r, err := Check(dir)
	if err != nil || len(r.Problems) != 2 || !strings.Contains(fmt.Sprint(r.Problems), "roles.yaml: the file is missing") {
		t.Errorf("%v %v", err, r.Problems)
	}
	if _, err := Check(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "reading the policy directory") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nowhere"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "x.cedar"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(dir); err == nil || !strings.Contains(err.Error(), "x.cedar: it is not a regular file") {
		t.Errorf("got %v", err)
	}
}

// What editors and volumes leave in a directory is not policy.
func TestIgnoredFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, RolesFile), okRoles)
	write(t, filepath.Join(dir, "ok.cedar"), okCedar)
	before, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".ok.cedar.swp", ".#ok.cedar", ".hidden.cedar", "ok.cedar~", "ok.cedar.bak", "README.md", "roles.yaml.orig"} {
		write(t, filepath.Join(dir, name), "garbage")
	}
	if after, err := Check(dir); err != nil || !after.OK() || after.Digest != before.Digest {
		t.Errorf("%v %v", after, err)
	}
}

func TestDigest(t *testing.T) {
	digest := func(files ...string) string {
		dir := t.TempDir()
		for i := 0; i < len(files); i += 2 {
			write(t, filepath.Join(dir, files[i]), files[i+1])
		}
		r, err := Check(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r.Digest
	}
	seen := map[string][]string{}
	for _, files := range [][]string{
		{"a.cedar", "xy"}, {"ax.cedar", "y"}, {"a.cedar", "x", "b.cedar", "y"}, {"a.cedar", "", "b.cedar", "xy"}, {"b.cedar", "xy"}, {},
		{"a.cedar", "b.cedarxy"}, // the bytes of {a, "", b, "xy"} in a row
		{RolesFile, "xy"},
	} {
		d := digest(files...)
		if other, ok := seen[d]; ok {
			t.Errorf("%v and %v have one digest", files, other)
		}
		seen[d] = files
	}
	if digest("a.cedar", "x", RolesFile, "y") != digest(RolesFile, "y", "a.cedar", "x") {
		t.Error("the order of writing shows")
	}
}

func TestGroupNames(t *testing.T) {
	m, problems := parseRoles([]byte(`version: 1
patterns:
  - group: "temporal:{namespace}:{role}"
  - group: "sre-{namespace}"
    role: admin
  - group: "{namespace}.{role}@corp"
    issuer: https://other
groups:
  - name: "платформа"
    roles: { "*": read }
  - name: ops
    issuer: https://other
    roles: { deploy: admin }
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for group, want := range map[string]string{
		"temporal:payments:write":                          "payments=write",
		"temporal:pay.ments_1-x:admin":                     "pay.ments_1-x=admin",
		"temporal:0:worker":                                "0=worker",
		"temporal:admin:read":                              "admin=read",
		"sre-payments":                                     "payments=admin",
		"sre-a-b.c":                                        "a-b.c=admin",
		"платформа":                                        "*=read",
		"temporal:payments:":                               "",
		"temporal::write":                                  "",
		"temporal:*:admin":                                 "",
		"temporal:payments:owner":                          "",
		"temporal:payments:Write":                          "",
		"Temporal:payments:write":                          "",
		"temporal:payments:write ":                         "",
		" temporal:payments:write":                         "",
		"temporal:payments:write\n":                        "",
		"\ntemporal:payments:write":                        "",
		"x\ntemporal:payments:write":                       "",
		"temporal:payments\n:write":                        "",
		"temporal:payments:write\x00":                      "",
		"temporal:pay\x00ments:write":                      "",
		"temporal:a:payments:write":                        "",
		"temporal:payments:read:write":                     "",
		"temporal:-payments:write":                         "",
		"temporal:.payments:write":                         "",
		"temporal:../payments:write":                       "",
		"temporal:pay/ments:write":                         "",
		"temporal:раyments:write":                          "", // Cyrillic р and а
		"temporal:payments:wrіte":                          "", // Cyrillic і
		"tеmporal:payments:write":                          "", // Cyrillic е
		"temporal：payments：write":                          "", // full-width colons
		"temporal:payments\u200b:write":                    "",
		"temporal:ｐayments:write":                          "",
		"temporal:payments:write\u0301":                    "",
		"temporal:\xffpayments:write":                      "",
		"платфoрма":                                        "", // Latin o
		"ops":                                              "", // of another issuer
		"payments.admin@corp":                              "",
		"temporal:" + strings.Repeat("a", 1001) + ":admin": "",
	} {
		h := m.resolve(&identity.Claims{Issuer: acme, Kind: identity.User, ID: "x", Groups: []string{group}})
		var got []string
		for role, names := range h.in {
			for _, n := range names {
				got = append(got, n+"="+string(role))
			}
		}
		for _, role := range h.everywhere {
			got = append(got, "*="+string(role))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %q", group, got, want)
		}
	}
	other := m.resolve(&identity.Claims{Issuer: "https://other", Kind: identity.User, ID: "x", Groups: []string{"ops", "a.b.read@corp", "temporal:p:read"}})
	if fmt.Sprint(other.in) != "map[admin:[deploy] read:[a.b p]]" {
		t.Errorf("got %v", other.in)
	}
}

func TestNamespaceNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "A0._-": true, "temporal-system": true, "": false, "-a": false, "a b": false, "a/b": false,
		"a\n": false, "é": false, strings.Repeat("a", 1000): true, strings.Repeat("a", 1001): false} {
		if isNamespaceName(name) != want {
			t.Errorf("%.20q: %v", name, !want)
		}
	}
}
