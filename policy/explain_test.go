package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// shown writes an explanation as a few lines, to be compared whole.
func shown(x Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v\n", x.Decision.Code, x.Holds)
	var conditions func(list []Condition, indent string)
	conditions = func(list []Condition, indent string) {
		for _, c := range list {
			fmt.Fprintf(&b, "%s%s %s: %s %v\n", indent, c.Kind, strings.Join(strings.Fields(c.Text), " "), c.Value, c.Saw)
			conditions(c.Because, indent+"  ")
		}
	}
	for _, t := range x.Policies {
		fmt.Fprintf(&b, "%s %s %s %s:%d\n", t.Outcome, t.Effect, t.ID, t.File, t.Line)
		conditions(t.Conditions, "  ")
	}
	for _, r := range x.Remedies {
		fmt.Fprintf(&b, "%s: %s (%s)\n", r.Kind, r.Text, r.Role)
	}
	return b.String()
}

const explained = `
@id("open") permit (principal, action == Action::"TerminateWorkflowExecution", resource in Namespace::"deploy")
when { principal in Group::"oncall" || context has grant && context.grant == "CHG-1" }
unless {
  // a comment with { braces }
  context has reason && context.reason == "}"
};
@id("fresh") @reason("Log in first")
forbid (principal is User, action == Action::"TerminateWorkflowExecution", resource)
unless { context has auth_age && context.auth_age < 900 };
`

func TestExplain(t *testing.T) {
	s := starter(t, "roles.cedar", explained, "guardrails.cedar", "@id(\"x\") permit (principal, action == Action::\"GetSystemInfo\", resource);").current.Load()
	who := person("erin")
	who.AuthTime = time.Unix(1_800_000_000-7200, 0)
	got := shown(s.Explain(ask(who, "TerminateWorkflowExecution", "deploy", "")))
	want := `forbidden []
matched forbid fresh roles.cedar:8
  unless context has auth_age && context.auth_age < 900: false []
     context.auth_age < 900: false [context.auth_age is 7200]
not met permit grants access.cedar:9
  when context.granted: false [context.granted is false]
not met permit open roles.cedar:2
  when principal in Group::"oncall" || context has grant && context.grant == "CHG-1": false []
     principal in Group::"oncall": false []
     context has grant && context.grant == "CHG-1": false []
       context has grant: false [context.grant is absent]
several: get a grant for it, and log in again ()
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	who = person("erin", "oncall")
	who.AuthTime = time.Unix(1_800_000_000-7200, 0)
	got = shown(s.Explain(ask(who, "TerminateWorkflowExecution", "deploy", "}")))
	want = `forbidden []
matched forbid fresh roles.cedar:8
  unless context has auth_age && context.auth_age < 900: false []
     context.auth_age < 900: false [context.auth_age is 7200]
not met permit grants access.cedar:9
  when context.granted: false [context.granted is false]
not met permit open roles.cedar:2
  when principal in Group::"oncall" || context has grant && context.grant == "CHG-1": true []
     principal in Group::"oncall": true []
  unless // a comment with { braces } context has reason && context.reason == "}": true []
     context has reason: true [context.reason is "}"]
     context.reason == "}": true [context.reason is "}"]
several: get a grant for it, and log in again ()
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestExplainStarter(t *testing.T) {
	e := starter(t)
	x := e.Explain(ask(alice, "StartWorkflowExecution", "payments", ""))
	if x.Decision.Code != CodeNoPermission || len(x.Remedies) != 2 || x.Remedies[1].Kind != "grant" || x.Remedies[0].Role != "write in payments" || x.Remedies[0].Text != "ask for the group temporal:payments:write" {
		t.Errorf("got %+v", x.Remedies)
	}
	if strings.Join(x.Holds, "; ") != "read in payments (group temporal:payments:read); write in deploy (group temporal:deploy:write)" {
		t.Errorf("got %q", x.Holds)
	}
	if x.Others+len(x.Policies) != e.Status().Policies || x.Others == 0 {
		t.Errorf("%d others and %d", x.Others, len(x.Policies))
	}
	x = e.Explain(ask(bob, "TerminateWorkflowExecution", "payments", ""))
	if x.Decision.Code != CodeForbidden || len(x.Remedies) != 1 || x.Remedies[0].Kind != "reason" || x.Policies[0].Outcome != Matched || x.Policies[1].Outcome != Surplus {
		t.Errorf("got %s", shown(x))
	}
	x = e.Explain(ask(erin, "TerminateWorkflowExecution", "payments", ""))
	if len(x.Remedies) != 1 || x.Remedies[0].Text != "ask for the group temporal:payments:write, and state a reason" {
		t.Errorf("got %s", shown(x))
	}
	if x = e.Explain(ask(dave, "StartWorkflowExecution", "default", "")); len(x.Remedies) != 0 || x.Decision.Code != CodeForbidden {
		t.Errorf("got %s", shown(x))
	}
	if x = e.Explain(ask(carol, "StartWorkflowExecution", "payments", "")); !x.Decision.Allow || x.Remedies != nil {
		t.Errorf("got %s", shown(x))
	}
	for _, req := range []Request{ask(nil, "StartWorkflowExecution", "payments", ""), ask(alice, "Nope", "payments", "")} {
		if x = e.Explain(req); x.Decision.Allow || x.Policies == nil {
			t.Errorf("got %+v", x)
		}
	}
	if _, err := json.Marshal(x); err != nil {
		t.Error(err)
	}
}

// An explanation's decision is the decision, and every remedy would do.
func TestRemediesWork(t *testing.T) {
	e := starter(t, "extra.cedar", byType+explained+`
@id("office") @reason("Only in office hours")
forbid (principal, action == Action::"ResetWorkflowExecution", resource in Namespace::"deploy")
unless { context.now.toTime() >= duration("8h") && context.now.toTime() < duration("18h") };`)
	s, tried := e.current.Load(), map[string]int{}
	for _, who := range []*identity.Claims{alice, bob, carol, dave, erin, worker, agent} {
		for _, action := range []string{"StartWorkflowExecution", "TerminateWorkflowExecution", "SignalWorkflowExecution", "ResetWorkflowExecution", "UpdateNamespace", "ListWorkflowExecutions", "GetSystemInfo"} {
			for _, namespace := range []string{"deploy", "payments", "default"} {
				req := ask(who, action, namespace, "")
				req.Resource.WorkflowType, req.Resource.SearchAttributes = "T", []string{"env=prod"}
				req.Context.Now = time.Unix(1_800_000_000-7*3600, 0) // one o'clock in the morning
				x := e.Explain(req)
				if d := e.Decide(req); d.Code != x.Decision.Code {
					t.Errorf("%s %s: decided %s, explained %s", who.Login, action, d.Code, x.Decision.Code)
				}
				matched := 0
				for _, p := range x.Policies {
					if p.Outcome == Matched {
						matched++
					}
				}
				if matched != len(x.Decision.Policies) {
					t.Errorf("%s %s in %s: %d policies matched, %v decided\n%s", who.Login, action, namespace, matched, x.Decision.Policies, shown(x))
				}
				for _, r := range x.Remedies {
					tried[r.Kind]++
				}
				for _, c := range s.changes(&req) {
					works := s.allowsWith(&req, c)
					if c.Kind == "reason" && works {
						told := req
						told.Context.Reason = "why"
						if !e.Decide(told).Allow {
							t.Errorf("%s %s: a reason does not help", who.Login, action)
						}
					}
				}
			}
		}
	}
	for _, kind := range []string{"role", "reason", "group", "time", "several"} {
		if tried[kind] == 0 {
			t.Errorf("no remedy of kind %s was met: %v", kind, tried)
		}
	}
}
