package policy

import (
	"strings"
	"testing"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// A denial says whom or what to ask for: the group by which roles.yaml gives the role, if one does.
func TestHint(t *testing.T) {
	const byName = "version: 1\ngroups:\n- name: zebra\n  roles: { payments: write }\n- name: platform\n  roles: { '*': read, payments: write }\n- name: theirs\n  issuer: https://elsewhere.example\n  roles: { deploy: write }\n"
	for _, c := range []struct {
		roles             string // "": the starter set's
		who               *identity.Claims
		action, namespace string
		want              string
	}{
		{"", alice, "StartWorkflowExecution", "payments",
			`request it: bailiwick access request --namespace payments --role write --for 1h --reason "…", or ask for the group temporal:payments:write`},
		{"", erin, "ListWorkflowExecutions", "deploy", "ask for the group temporal:deploy:read"},
		{"", agent, "StartWorkflowExecution", "payments", "ask whoever edits roles.yaml for it"},
		{"", carol, "ListWorkflowExecutions", "", "ask whoever edits roles.yaml for it"},
		{"", dave, "StartWorkflowExecution", "default", ""}, // forbidden: no group helps
		{byName, erin, "StartWorkflowExecution", "payments", "ask for the group platform"},
		{byName, erin, "ListWorkflowExecutions", "", "ask for the group platform"},
		{byName, erin, "StartWorkflowExecution", "deploy", "ask whoever edits roles.yaml for it"},
	} {
		var extra []string
		if c.roles != "" {
			extra = []string{RolesFile, c.roles}
		}
		if d := starter(t, extra...).Decide(ask(c.who, c.action, c.namespace, "")); d.Allow || d.Hint != c.want {
			t.Errorf("%s %s in %q: hint %q, want %q (%+v)", c.who.Login, c.action, c.namespace, d.Hint, c.want, d)
		}
	}
}

// Where policy lets the caller ask for access and a grant would open the call, the denial has the command: for one action on one workflow where
// the call is about one.
func TestRequestCommand(t *testing.T) {
	const fourEyes = `@id("two") forbid (principal, action == Action::"TerminateWorkflowExecution", resource in Namespace::"deploy") unless { context.granted };`
	const short = `@id("short") @obligation("max_minutes:15") permit (principal is User, action == Action::"Access.Request", resource in Namespace::"payments") when { context has role };`
	const noGrants = `@id("no-grants") forbid (principal, action, resource in Namespace::"payments") when { context.granted };`
	reader := person("rita", "temporal:payments:read", "temporal:deploy:write")
	for name, c := range map[string]struct {
		policies      string
		who           *identity.Claims
		action, where string
		id            string
		want          string
	}{
		"a role":                  {"", reader, "StartWorkflowExecution", "payments", "w", `--namespace payments --role write --for 1h --reason "…"`},
		"a role to read":          {"", reader, "ListWorkflowExecutions", "default", "", `--namespace default --role read --for 1h --reason "…"`},
		"admin":                   {"", reader, "UpdateNamespace", "payments", "", `--namespace payments --role admin --for 1h --reason "…"`},
		"one action":              {"", reader, "SignalWorkflowExecution", "payments", "order-7", `--namespace payments --action SignalWorkflowExecution --workflow order-7 --for 1h --reason "…"`},
		"an id to quote":          {"", reader, "SignalWorkflowExecution", "payments", "it's $(x); rm", `--workflow 'it'\''s $(x); rm' --for`},
		"an id not to show":       {"", reader, "SignalWorkflowExecution", "payments", "a\x1b[2J", `--role write`},
		"an action not asked for": {"", reader, "DeleteWorkflowExecution", "payments", "order-7", `--role write`},
		"forbidden but by grant":  {fourEyes, reader, "TerminateWorkflowExecution", "deploy", "order-7", `request it: bailiwick access request --namespace deploy --action TerminateWorkflowExecution --workflow order-7 --for 1h`},
		"for less than an hour":   {short, reader, "StartWorkflowExecution", "payments", "w", `--role write --for 15m --reason "…"`},
		"grants open nothing":     {noGrants, reader, "StartWorkflowExecution", "payments", "w", ""},
		"who may not ask":         {"", erin, "StartWorkflowExecution", "payments", "w", ""},
		"a contractor":            {"", dave, "StartWorkflowExecution", "payments", "w", ""},
		"a service":               {"", agent, "StartWorkflowExecution", "payments", "w", ""},
		"the cluster":             {"", reader, "RegisterNamespace", "", "", ""},
		"about access itself":     {"", reader, AccessApprove, "payments", "", ""},
	} {
		req := ask(c.who, c.action, c.where, "because")
		req.Resource.WorkflowID = c.id
		d := starter(t, "extra.cedar", "@id(\"nothing\") permit (principal in Group::\"nobody\", action, resource);\n"+c.policies).Decide(req)
		if d.Allow || strings.Contains(d.Hint, "bailiwick access request") != (c.want != "") || !strings.Contains(d.Hint, c.want) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
