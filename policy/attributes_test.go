package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

const declaring = `version: 1
attributes:
  - { name: team, claim: acme.team.name, type: string }
  - { name: level, profile: level, type: long }
  - { name: areas, claim: areas, profile: areas, type: strings }
  - { name: contractor, claim: contractor, type: bool }
  - { name: tier, claim: tier, type: string, issuer: "https://other.example" }
`

func writeSet(t *testing.T, roles, cedar string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{RolesFile: roles, "a.cedar": cedar} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAttributes(t *testing.T) {
	s, err := LoadSet(writeSet(t, declaring, `@id("lead") permit (principal, action == Action::"StartWorkflowExecution", resource)
when { principal.attributes has team && principal.attributes.team == "payments" };
@id("senior") permit (principal, action == Action::"TerminateWorkflowExecution", resource)
when { principal.attributes has level && principal.attributes.level >= 3 && principal.attributes has areas && principal.attributes.areas.contains("ops") };
@id("fresh") permit (principal, action == Action::"SignalWorkflowExecution", resource)
when { context has directory_age && context.directory_age < 60 };
@id("tiered") permit (principal, action == Action::"ResetWorkflowExecution", resource)
when { principal.attributes has tier };
@id("outside") forbid (principal, action, resource)
when { principal.attributes has contractor && principal.attributes.contractor };
`))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	ask := func(action string, custom, profile map[string]string, change func(*identity.Claims)) Decision {
		c := &identity.Claims{Issuer: "https://acme.example", Kind: identity.User, ID: "u", Login: "u", ClientID: "cli", Custom: custom, Profile: profile}
		if change != nil {
			change(c)
		}
		return s.Decide(Request{Principal: c, Action: action, Resource: Resource{Namespace: "payments", WorkflowID: "w", WorkflowType: "T"}, Context: Context{Now: now}})
	}
	type m = map[string]string
	for name, test := range map[string]struct {
		action          string
		custom, profile m
		change          func(*identity.Claims)
		code            Code
	}{
		"nested claim":         {"StartWorkflowExecution", m{"acme": `{"team":{"name":"payments"}}`}, nil, nil, CodeAllowed},
		"another value":        {"StartWorkflowExecution", m{"acme": `{"team":{"name":"ops"}}`}, nil, nil, CodeNoPermission},
		"absent":               {"StartWorkflowExecution", nil, nil, nil, CodeNoPermission},
		"null is absent":       {"StartWorkflowExecution", m{"acme.team.name": "null"}, nil, nil, CodeNoPermission},
		"another type":         {"StartWorkflowExecution", m{"acme": `{"team":{"name":["payments"]}}`}, nil, nil, CodeAttribute},
		"forbids":              {"StartWorkflowExecution", m{"acme.team.name": `"payments"`, "contractor": "true"}, nil, nil, CodeForbidden},
		"no forbid passed by":  {"StartWorkflowExecution", m{"acme.team.name": `"payments"`, "contractor": `"true"`}, nil, nil, CodeAttribute},
		"claims lost":          {"StartWorkflowExecution", m{"acme.team.name": `"payments"`}, nil, func(c *identity.Claims) { c.CustomLost = true }, CodeAttribute},
		"profile":              {"TerminateWorkflowExecution", nil, m{"level": "3", "areas": `["ops"]`}, nil, CodeAllowed},
		"token before profile": {"TerminateWorkflowExecution", m{"areas": `["dev"]`}, m{"level": "3", "areas": `["ops"]`}, nil, CodeNoPermission},
		"not by the token":     {"TerminateWorkflowExecution", m{"level": "9", "areas": `["ops"]`}, nil, nil, CodeNoPermission},
		"no fraction":          {"TerminateWorkflowExecution", nil, m{"level": "3.5", "areas": `["ops"]`}, nil, CodeAttribute},
		"other issuer's":       {"ResetWorkflowExecution", m{"tier": `"gold"`}, nil, nil, CodeNoPermission},
		"its issuer's":         {"ResetWorkflowExecution", m{"tier": `"gold"`}, nil, func(c *identity.Claims) { c.Issuer = "https://other.example" }, CodeAllowed},
		"young facts":          {"SignalWorkflowExecution", nil, nil, func(c *identity.Claims) { c.FactsAsOf = now.Add(-59 * time.Second) }, CodeAllowed},
		"old facts":            {"SignalWorkflowExecution", nil, nil, func(c *identity.Claims) { c.FactsAsOf = now.Add(-time.Minute) }, CodeNoPermission},
		"no facts":             {"SignalWorkflowExecution", nil, nil, nil, CodeNoPermission},
	} {
		if d := ask(test.action, test.custom, test.profile, test.change); d.Code != test.code || d.Allow != (test.code == CodeAllowed) {
			t.Errorf("%s: %s %v, want %s", name, d.Code, d.Reasons, test.code)
		}
	}

	for name, test := range map[string]struct {
		custom, profile m
		kind            identity.Kind
		want            bool
	}{
		"in the directory alone":      {nil, nil, identity.User, true},
		"one of two is in the token":  {m{"areas": "[]"}, nil, identity.User, true}, // level is not
		"looked up":                   {nil, m{}, identity.User, false},
		"a service is in no profile":  {nil, nil, identity.Client, false},
		"looked up, and nobody there": {nil, m{"level": "null"}, identity.User, false},
	} {
		c := &identity.Claims{Issuer: "https://acme.example", Kind: test.kind, ID: "u", ClientID: "u", Custom: test.custom, Profile: test.profile}
		if got := s.NeedsProfile(c); got != test.want {
			t.Errorf("%s: needs the profile: %v", name, got)
		}
	}
}

// A misspelt attribute is told with its line and what was meant: the validator alone would take the test for false, and a forbid would forbid nothing.
func TestUndeclaredAttributes(t *testing.T) {
	for cond, want := range map[string]string{
		`principal.attributes has tem && principal.attributes.tem == "x"`:              "a.cedar:4: roles.yaml declares no attribute tem (did you mean team?",
		`principal.attributes.team == "x"`:                                             "may lack the attribute attributes.team (test first: \"principal has attributes.team",
		`principal.attributes has team && principal.attributes.team == 7`:              "String",
		`principal.attributes has level && principal.attributes.level.contains("ops")`: "Set",
	} {
		_, err := LoadSet(writeSet(t, declaring, "@id(\"a\")\nforbid (principal, action, resource)\nwhen {\n"+cond+"\n};\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", cond, err, want)
		}
	}
	_, err := LoadSet(writeSet(t, "version: 1\n", "@id(\"a\")\nforbid (principal, action, resource)\nwhen { principal.attributes has team };\n"))
	if err == nil || !strings.Contains(err.Error(), "a.cedar:3: roles.yaml declares no attribute team (declare it there") || strings.Contains(err.Error(), "has no attribute attributes") {
		t.Error(err)
	}
}

func TestAttributeDeclarations(t *testing.T) {
	for text, want := range map[string]string{
		`{ name: team, claim: a.b, type: text }`:                                                           `no type that is known: "text"`,
		`{ name: team, claim: a.b, type: strng }`:                                                          `did you mean "string"?`,
		`{ name: team, type: string }`:                                                                     "where it comes from",
		`{ name: Team, claim: a, type: string }`:                                                           "small letters",
		`{ name: type, claim: a, type: string }`:                                                           "the schema calls something else",
		`{ name: namespace, claim: a, type: string }`:                                                      "the schema calls something else",
		`{ name: team, clam: a, type: string }`:                                                            `did you mean "claim"?`,
		"{ name: team, claim: a, type: string }\n  - { name: team, profile: b, type: string }":             "is declared in line 3",
		"{ name: x, claim: a, type: long, issuer: i }\n  - { name: x, claim: b, type: string, issuer: j }": "is declared in line 3",
	} {
		_, err := LoadSet(writeSet(t, "version: 1\nattributes:\n  - "+text+"\n", "@id(\"a\")\npermit (principal, action, resource);\n"))
		if err == nil || !strings.Contains(err.Error(), "roles.yaml:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, err, want)
		}
	}
	if _, err := LoadSet(writeSet(t, "version: 1\nattributes:\n  - { name: x, claim: a, type: long, issuer: i }\n  - { name: x, claim: b, type: long, issuer: j }\n", "@id(\"a\")\npermit (principal, action, resource);\n")); err != nil {
		t.Error(err)
	}
}
