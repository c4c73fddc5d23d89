package policy

import (
	"encoding/xml"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
)

const starterCases = `version: 1
defaults: { namespace: payments }
people:
  alice: { groups: ["temporal:deploy:write", "temporal:payments:read"] }
  bob: { login: bob@acme.example, groups: ["temporal:payments:write"] }
  bot: { groups: ["temporal:payments:admin"], agent: true }
  deployer: { machine: 0oadeployworker00001 }
cases:
  - who: alice
    action: [ListWorkflowExecutions, DescribeWorkflowExecution]
    expect: allow
    policy: read-role
  - name: readers don't start
    who: alice
    action: StartWorkflowExecution
    type: Charge
    expect: deny
    code: no_permission
    missing: write in payments
  - { who: bob, action: TerminateWorkflowExecution, expect: deny, code: forbidden, policy: payments-stop-needs-reason }
  - { who: bob, action: TerminateWorkflowExecution, reason: stuck, expect: allow }
  - { who: bot, action: UpdateNamespace, expect: deny, policy: agents-never-administer }
  - { who: deployer, action: PollWorkflowTaskQueue, namespace: deploy, task_queue: deploy, expect: allow }
  - who: { groups: [contractors, "temporal:payments:admin"] }
    action: StartWorkflowExecution
    source_ip: 10.1.2.3
    time: 2026-11-25 09:30
    auth_age: 90m
    expect: deny
`

func TestCases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "starter.yaml")
	write(t, path, starterCases)
	cases, err := LoadCases(path)
	if err != nil {
		t.Fatal(err)
	}
	s := starter(t).current.Load()
	report := s.Test(cases)
	if !report.OK() || report.Passed != 8 {
		t.Errorf("%+v", report)
	}
	if c := cases[7]; c.Line != 24 || c.Request.Context.Now.Hour() != 9 || c.Request.Context.Now.Sub(c.Request.Principal.AuthTime).Minutes() != 90 || c.Request.Context.SourceIP.String() != "10.1.2.3" {
		t.Errorf("%+v of %+v", c, c.Request.Principal)
	}
	// Each expectation counts.
	for i, spoil := range []func(*Case){func(c *Case) { c.Expect = false }, func(c *Case) { c.Policy = "write-role" }, func(c *Case) { c.Missing = "admin in payments" }, func(c *Case) { c.Code = CodeNoPermission }} {
		wrong := cases[i]
		spoil(&wrong)
		if r := s.Test([]Case{wrong}); r.OK() || r.Failed != 1 || r.Results[0].Want == r.Results[0].Got {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if s.Test(nil).OK() {
		t.Error("no case at all is no success")
	}
}

func TestJUnit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some.yaml")
	write(t, path, strings.Replace(starterCases, "reason: stuck, expect: allow", "reason: 'stuck <&>', expect: deny", 1))
	cases, err := LoadCases(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := starter(t).current.Load().Test(cases).JUnit(&b); err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Class   string `xml:"classname,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 8 || suite.Failures != 1 || len(suite.Cases) != 8 || suite.Cases[4].Failure == nil || suite.Cases[3].Failure != nil ||
		suite.Cases[4].Failure.Message != "want deny, got allow (by write-role)" || suite.Cases[4].Class != "policy.some" {
		t.Errorf("got %s", b.String())
	}
}

func TestCaseProblems(t *testing.T) {
	const head = "version: 1\npeople:\n  bob: {}\ncases:\n"
	for text, want := range map[string]string{
		"":                        "x.yaml: the file is empty",
		"version: 1\ncases: []\n": "x.yaml: it holds no case",
		"version: 2\ncases: []\n": `x.yaml:1: version "2" is not known`,
		head + "- { who: bob, action: StartWorkflow, expect: allow }\n":                 `x.yaml:5: action "StartWorkflow" does not exist (did you mean StartWorkflowExecution?)`,
		head + "- { who: bop, action: GetSystemInfo, expect: allow }\n":                 `x.yaml:5: nobody is called "bop" (did you mean bob?`,
		head + "- { action: GetSystemInfo, expect: allow }\n":                           "x.yaml:5: a case needs who",
		head + "- { who: bob, expect: allow }\n":                                        "x.yaml:5: a case needs action",
		head + "- { who: bob, action: GetSystemInfo }\n":                                "x.yaml:5: a case needs expect",
		head + "- { who: bob, action: GetSystemInfo, expect: yes }\n":                   "x.yaml:5: a case needs expect (write allow or deny)",
		head + "- { who: bob, action: GetSystemInfo, expect: allow, acton: x }\n":       `x.yaml:5: "acton" is not a key of a case (did you mean "action"?`,
		head + "- { who: bob, action: GetSystemInfo, expect: deny, code: forbiden }\n":  `x.yaml:5: code "forbiden" does not exist`,
		head + "- { who: bob, action: GetSystemInfo, expect: deny, time: noon }\n":      `x.yaml:5: time "noon" is not understood`,
		head + "- { who: bob, action: GetSystemInfo, expect: deny, auth_age: old }\n":   `x.yaml:5: duration "old" is not understood`,
		head + "- { who: bob, action: GetSystemInfo, expect: deny, source_ip: here }\n": `x.yaml:5: source_ip "here" is no address`,
		head + "- { who: { grops: [a] }, action: GetSystemInfo, expect: deny }\n":       `x.yaml:5: "grops" is not a key of a person (did you mean "groups"?`,
	} {
		path := filepath.Join(t.TempDir(), "x.yaml")
		write(t, path, text)
		_, err := LoadCases(path)
		var bad *LoadError
		if !errors.As(err, &bad) || !strings.HasPrefix(bad.Problems[0].String(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if _, err := LoadCases(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestExpanded(t *testing.T) {
	s := starter(t, RolesFile, confinedRoles+"groups:\n- name: platform\n  issuer: https://x.example\n  roles: { '*': admin, deploy: read }\n").current.Load()
	text := s.Expanded()
	list, err := cedar.NewPolicyListFromBytes("x.cedar", []byte(text))
	if err != nil || len(list) != len(s.policies) {
		t.Fatalf("%d policies, %v\n%s", len(list), err, text)
	}
	for _, want := range []string{
		"policy set " + s.digest, `principal in Group::"temporal:…:write" && N == Namespace::"…"`, `principal in Group::"platform" && principal.issuer == "https://x.example"`,
		`principal is Client && principal.id == "0oadeployworker00001" && N == Namespace::"deploy"`, "takes tasks only from the task queues deploy, canary", "// guardrails.cedar\n", "on a person's behalf", `@id("write-role")`, "roles.yaml:3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
