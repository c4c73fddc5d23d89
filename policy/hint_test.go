package policy

import (
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
		{"", alice, "StartWorkflowExecution", "payments", "ask for the group temporal:payments:write"},
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
