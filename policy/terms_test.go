package policy

import (
	"strings"
	"testing"
	"time"
)

func TestTerms(t *testing.T) {
	for text, want := range map[string]Terms{
		"":                            {Approvals: 1},
		"approvals:2, max_minutes:60": {Approvals: 2, MaxMinutes: 60},
		"auto_approve":                {AutoApprove: true},
		"require_reason auto_approve": {RequireReason: true, AutoApprove: true},
		// Of several permits that matched, the strictest.
		"approvals:1,approvals:3,approvals:2": {Approvals: 3},
		"auto_approve approvals:1":            {Approvals: 1},
		"max_minutes:480 max_minutes:60":      {Approvals: 1, MaxMinutes: 60},
		"max_auth_age:900 max_auth_age:10m":   {Approvals: 1, MaxAuthAge: 10 * time.Minute},
		"min_acr:phr min_acr:phr":             {Approvals: 1, MinACR: "phr"},
		"expire_after:24h escalate_after:30m": {Approvals: 1, ExpireAfter: 24 * time.Hour, EscalateAfter: 30 * time.Minute},
	} {
		if got, err := ParseTerms(terms(text)); err != nil || got != want {
			t.Errorf("%q: got %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"approvals", "approvals:", "approvals:0", "approvals:x", "approvals:21", "auto_approve:yes", "max_minutes:-1", "max_auth_age:soon", "max_auth_age:0",
		"min_acr:phr min_acr:2fa", "require_grant", "Approvals:1"} {
		if got, err := ParseTerms(terms(text)); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// The strictest of what matched is in force, and what the engine can check itself it checks.
func TestTermsDecide(t *testing.T) {
	e := starter(t, "extra.cedar", `
@id("strict") @obligation("max_minutes:30") permit (principal is User, action == Action::"Access.Request", resource in Namespace::"payments") when { context has role && context.role == "write" };
@id("strong") @obligation("min_acr:phr, max_auth_age:900") permit (principal is User, action == Action::"Access.Approve", resource in Namespace::"payments");
`)
	asks := ask(alice, AccessRequest, "payments", "")
	asks.Context.Role, asks.Context.Minutes = "write", 30
	d := e.Decide(asks)
	if terms, err := ParseTerms(d.Obligations); !d.Allow || err != nil || terms != (Terms{Approvals: 1, MaxMinutes: 30}) {
		t.Errorf("%+v %v", d, err)
	}
	asks.Context.Minutes = 31
	if d = e.Decide(asks); d.Code != CodeObligation || !strings.Contains(d.Reasons[len(d.Reasons)-1], "30 minutes at most") || d.Hint != "ask for less: --for 30m" {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct {
		acr  string
		age  int64 // seconds; negative: the token does not say
		want Code
	}{{"phr", 60, CodeAllowed}, {"phr", 900, CodeObligation}, {"phr", -1, CodeObligation}, {"2fa", 60, CodeObligation}, {"", 60, CodeObligation}} {
		who := person("carol", "temporal:payments:admin")
		if who.ACR = c.acr; c.age >= 0 {
			who.AuthTime = time.Unix(1_800_000_000-c.age, 0)
		}
		approves := ask(who, AccessApprove, "payments", "")
		approves.Context.Role, approves.Context.Requester = "write", alice.Principal()
		if d := e.Decide(approves); d.Code != c.want {
			t.Errorf("%+v: %+v", c, d)
		}
	}
}

// A requester that is not written as principal.name would equal nobody: then people could approve their own requests.
func TestRequesterIsAPrincipal(t *testing.T) {
	e := starter(t)
	for requester, want := range map[string]Code{
		carol.Principal(): CodeForbidden, alice.Principal(): CodeAllowed, "": CodeAllowed,
		carol.ID: CodeNoPermission, carol.Login: CodeNoPermission, carol.Issuer + "|" + carol.ID: CodeNoPermission, "user:|x": CodeNoPermission, "user:x|": CodeNoPermission,
	} {
		req := ask(carol, AccessApprove, "payments", "")
		req.Context.Requester = requester
		if d := e.Decide(req); d.Code != want {
			t.Errorf("%q: %+v", requester, d)
		}
	}
}

// A request for one workflow of which nobody says the type is not decided where policy looks at types; one for the namespace is about no run.
func TestAccessToOneWorkflow(t *testing.T) {
	e := starter(t, "extra.cedar", `@id("no-payouts") forbid (principal, action == Action::"Access.Request", resource in Namespace::"payments")
when { resource has type && resource.type == "Payout" };`)
	for _, c := range []struct {
		id, of string
		want   Code
	}{{"w", "", CodeUnresolved}, {"w", "Payout", CodeForbidden}, {"w", "Order", CodeAllowed}, {"", "", CodeAllowed}} {
		req := ask(alice, AccessRequest, "payments", "")
		req.Resource.WorkflowID, req.Resource.WorkflowType = c.id, c.of
		req.Context.Role = "write"
		if d := e.Decide(req); d.Code != c.want {
			t.Errorf("%+v: %+v", c, d)
		}
	}
}
