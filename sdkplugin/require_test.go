package sdkplugin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// noon is now in these tests; alice logged in an hour before and started her run ten minutes before.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func noonClock() time.Time { return noon }

var agent = attest.Party{Principal: "client:https://issuer.example|agent", ClientID: "agent", Profile: "ai_agent"}

// strong is a statement that meets most requirements.
func strong(change func(*attest.Statement)) attest.Statement {
	s := statement("alice", attest.EdgeStart, attest.Binding{Namespace: testNamespace, WorkflowID: testWorkflow, WorkflowType: "family"})
	s.IssuedAt, s.AuthTime, s.ACR, s.Grant, s.Policies = noon.Add(-10*time.Minute), noon.Add(-time.Hour), "phr", "g-1", []string{"roles.write", "deploys"}
	if change != nil {
		change(&s)
	}
	return s
}

func TestRequirement(t *testing.T) {
	byAgent := func(s *attest.Statement) {
		s.Actor, s.Chain = agent, []attest.Party{{Principal: "agent", Profile: "ai_agent"}}
	}
	service := attest.Party{Principal: "client:https://issuer.example|svc", ClientID: "svc", Profile: "client"}
	byService := func(s *attest.Statement) { s.Originator, s.Actor = service, service }
	type req = sdkplugin.Requirement
	for _, c := range []struct {
		name   string
		req    req
		change func(*attest.Statement)
		code   sdkplugin.ViolationCode // "": met
	}{
		{"nothing", req{}, nil, ""},
		{"acr", req{ACR: []string{"pwd", "phr"}}, nil, ""},
		{"another acr", req{ACR: []string{"phrh"}}, nil, sdkplugin.ForbiddenACR},
		{"a prefix of the acr", req{ACR: []string{"ph"}}, nil, sdkplugin.ForbiddenACR},
		{"no acr", req{ACR: []string{"phr"}}, func(s *attest.Statement) { s.ACR = "" }, sdkplugin.ForbiddenACR},
		{"login to the second", req{MaxLoginAge: time.Hour}, nil, ""},
		{"login too old", req{MaxLoginAge: time.Hour - time.Second}, nil, sdkplugin.ForbiddenLoginAge},
		{"login unknown", req{MaxLoginAge: time.Hour}, func(s *attest.Statement) { s.AuthTime = time.Time{} }, sdkplugin.ForbiddenLoginUnknown},
		{"login within skew", req{MaxLoginAge: time.Hour}, func(s *attest.Statement) { s.AuthTime = noon.Add(time.Minute) }, ""},
		{"login in the future", req{MaxLoginAge: time.Hour}, func(s *attest.Statement) { s.AuthTime = noon.Add(time.Minute + time.Second) }, sdkplugin.ForbiddenLoginUnknown},
		{"allowed lately", req{MaxAge: 10 * time.Minute}, nil, ""},
		{"allowed too long ago", req{MaxAge: 9 * time.Minute}, nil, sdkplugin.ForbiddenAge},
		{"allowed in the future", req{MaxAge: time.Hour}, func(s *attest.Statement) { s.IssuedAt = noon.Add(time.Hour) }, sdkplugin.ForbiddenAge},
		{"authority", req{Authority: true}, func(s *attest.Statement) { s.AuthorityUntil = noon.Add(time.Second) }, ""},
		{"authority that ends now", req{Authority: true}, func(s *attest.Statement) { s.AuthorityUntil = noon }, sdkplugin.ForbiddenAuthority},
		{"authority of unknown end", req{Authority: true}, nil, sdkplugin.ForbiddenAuthority},
		{"a person", req{Human: true}, nil, ""},
		{"an agent for a person", req{Human: true}, byAgent, ""},
		{"a service", req{Human: true}, byService, sdkplugin.ForbiddenNoHuman},
		{"a person only in the chain", req{Human: true}, func(s *attest.Statement) { byService(s); s.Chain = []attest.Party{person("bob")} }, sdkplugin.ForbiddenNoHuman},
		{"a service that calls itself a user", req{Human: true}, func(s *attest.Statement) { byService(s); s.Originator.Profile = "user" }, sdkplugin.ForbiddenNoHuman},
		{"originator listed", req{Originators: []string{"user:https://other|x", "user:https://issuer.example|alice"}}, nil, ""},
		{"originator by pattern", req{Originators: []string{"user:*|alice"}}, nil, ""},
		{"originator not listed", req{Originators: []string{"user:https://issuer.example|bob"}}, nil, sdkplugin.ForbiddenOriginator},
		{"originator longer than listed", req{Originators: []string{"user:https://issuer.example|alic"}}, nil, sdkplugin.ForbiddenOriginator},
		{"actor listed", req{Actors: []string{"client:*|agent"}}, byAgent, ""},
		{"actor not listed", req{Actors: []string{"user:*"}}, byAgent, sdkplugin.ForbiddenActor},
		{"originator listed, actor not asked", req{Originators: []string{"user:*"}}, byAgent, ""},
		{"no agent", req{NoAgents: true}, nil, ""},
		{"no agent: a service", req{NoAgents: true}, byService, ""},
		{"an agent", req{NoAgents: true}, byAgent, sdkplugin.ForbiddenAgent},
		{"an agent deep in the chain", req{NoAgents: true}, func(s *attest.Statement) {
			s.Actor = service
			s.Chain = []attest.Party{service, {Principal: "agent", Profile: "ai_agent"}}
		}, sdkplugin.ForbiddenAgent},
		{"an actor of unknown kind", req{NoAgents: true}, func(s *attest.Statement) { s.Actor = attest.Party{Principal: "client:x|y"} }, sdkplugin.ForbiddenAgent},
		{"a reason", req{Reason: true}, nil, ""},
		{"a blank reason", req{Reason: true}, func(s *attest.Statement) { s.Reason = " \t" }, sdkplugin.ForbiddenNoReason},
		{"a grant", req{Grant: true}, nil, ""},
		{"no grant", req{Grant: true}, func(s *attest.Statement) { s.Grant = "" }, sdkplugin.ForbiddenNoGrant},
		{"a policy", req{Policies: []string{"four-eyes", "deploys"}}, nil, ""},
		{"another policy", req{Policies: []string{"four-eyes"}}, nil, sdkplugin.ForbiddenPolicy},
		{"edge", req{Edges: []attest.Edge{attest.EdgeStart, attest.EdgeUpdate}}, nil, ""},
		{"another edge", req{Edges: []attest.Edge{attest.EdgeSchedule}}, nil, sdkplugin.ForbiddenEdge},
		{"a login for a principal", req{Originators: []string{"alice@acme.example"}}, nil, sdkplugin.ForbiddenRequirement},
		{"a negative age", req{MaxLoginAge: -1}, nil, sdkplugin.ForbiddenRequirement},
		{"an unknown edge", req{Edges: []attest.Edge{"begin"}}, nil, sdkplugin.ForbiddenRequirement},
		{"an empty acr", req{ACR: []string{""}}, nil, sdkplugin.ForbiddenRequirement},
		{"many, one of them not met", req{ACR: []string{"phr"}, Human: true, Grant: true, Policies: []string{"deploys"}, MaxLoginAge: time.Minute}, nil, sdkplugin.ForbiddenLoginAge},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := strong(c.change)
			v := c.req.Check(sdkplugin.Info{Originator: s.Originator, Actor: s.Actor, Statement: s, Verified: true}, noon)
			switch {
			case v == nil && c.code != "":
				t.Errorf("met, want %s", c.code)
			case v != nil && (v.Code != c.code || v.Detail == "" || v.Fix == ""):
				t.Errorf("got %+v, want %q", v, c.code)
			case v != nil && strings.Contains(v.Error(), "alice@") && c.code != sdkplugin.ForbiddenRequirement:
				t.Errorf("it names a person: %s", v)
			}
			// Whatever is asked, an unverified claim does not meet it.
			if v := c.req.Check(sdkplugin.Info{Originator: s.Originator, Actor: s.Actor, Statement: s}, noon); v == nil {
				t.Error("an unverified claim met it")
			}
		})
	}
}

func TestPatternsThroughRules(t *testing.T) {
	for _, c := range []struct {
		pattern, activity string
		fits              bool
	}{
		{"push", "push", true}, {"push", "push-all", false}, {"push*", "push-all", true}, {"*push", "re-push", true}, {"*", "", false}, {"*", "x", true},
		{"a*b*c", "aXbYc", true}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false}, {"a*a", "a", false}, {"Push", "push", false}, {"*us*", "push", true},
	} {
		if c.activity == "" {
			continue
		}
		err := runGuarded(t, sdkplugin.Options{Require: []sdkplugin.Rule{{Activity: c.pattern, Requirement: sdkplugin.Requirement{Policies: []string{"four-eyes"}}}}}, c.activity, strong(nil))
		if (err != nil) != c.fits {
			t.Errorf("pattern %q on activity %q: %v", c.pattern, c.activity, err)
		}
	}
}

// runGuarded runs one activity of a name in workflow "family" and returns what the workflow saw.
func runGuarded(t testing.TB, o sdkplugin.Options, name string, s attest.Statement) error {
	t.Helper()
	o.Clock = noonClock
	var log journal
	env := environment(t, newPlugin(t, o), &log)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 3}})
		return workflow.ExecuteActivity(ctx, name).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "family"})
	env.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: name})
	env.SetHeader(header(sign(t, s)))
	env.ExecuteWorkflow("family")
	return env.GetWorkflowError()
}

func failure(t testing.TB, err error) (*temporal.ApplicationError, sdkplugin.Violation) {
	t.Helper()
	var f *temporal.ApplicationError
	var v sdkplugin.Violation
	if !errors.As(err, &f) {
		t.Fatalf("error %v (%T), want an application error", err, err)
	}
	if f.HasDetails() {
		if derr := f.Details(&v); derr != nil {
			t.Fatal(derr)
		}
	}
	return f, v
}

func TestActivityRules(t *testing.T) {
	grant := sdkplugin.Requirement{Grant: true}
	lacking := strong(func(s *attest.Statement) { s.Grant = "" })
	rule := func(r sdkplugin.Rule) sdkplugin.Options { return sdkplugin.Options{Require: []sdkplugin.Rule{r}} }
	t.Run("met", func(t *testing.T) {
		if err := runGuarded(t, rule(sdkplugin.Rule{Activity: "push", Requirement: grant}), "push", strong(nil)); err != nil {
			t.Error(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		f, v := failure(t, runGuarded(t, rule(sdkplugin.Rule{Activity: "p*", Workflow: "fam*", Requirement: grant}), "push", lacking))
		if f.Type() != sdkplugin.FailureForbidden || !f.NonRetryable() || v.Code != sdkplugin.ForbiddenNoGrant || v.Rule != "activity p* of workflow fam*" || v.Fix == "" {
			t.Errorf("failure %v with %+v", f, v)
		}
	})
	t.Run("of another workflow", func(t *testing.T) {
		if err := runGuarded(t, rule(sdkplugin.Rule{Activity: "push", Workflow: "payout", Requirement: grant}), "push", lacking); err != nil {
			t.Error(err)
		}
	})
	t.Run("held", func(t *testing.T) {
		f, v := failure(t, runGuarded(t, rule(sdkplugin.Rule{Name: "pushes", Activity: "push", Requirement: grant, Hold: 20 * time.Minute}), "push", lacking))
		if f.Type() != sdkplugin.FailureHeld || f.NonRetryable() || f.NextRetryDelay() != 20*time.Minute || v.Rule != "pushes" {
			t.Errorf("failure %v (next in %s) with %+v", f, f.NextRetryDelay(), v)
		}
	})
	t.Run("refusing comes before holding", func(t *testing.T) {
		o := sdkplugin.Options{Require: []sdkplugin.Rule{{Activity: "*", Requirement: grant, Hold: time.Minute}, {Activity: "push", Requirement: sdkplugin.Requirement{MaxAge: time.Minute}}}}
		if f, v := failure(t, runGuarded(t, o, "push", lacking)); f.Type() != sdkplugin.FailureForbidden || v.Code != sdkplugin.ForbiddenAge {
			t.Errorf("failure %v with %+v", f, v)
		}
	})
	t.Run("observed", func(t *testing.T) {
		var log journal
		o := rule(sdkplugin.Rule{Activity: "push", Requirement: grant})
		o.Mode, o.Logger = sdkplugin.Observe, log.logger()
		if err := runGuarded(t, o, "push", lacking); err != nil {
			t.Error(err)
		}
		if log.line("running activity that does not meet a rule", "forbidden_no_grant", "activity push") == "" {
			t.Errorf("the log does not say so:\n%s", log.String())
		}
	})
}

// A held activity runs once the worker's rules let it: each attempt is judged anew.
func TestEachAttemptIsJudged(t *testing.T) {
	now := noon
	p := newPlugin(t, sdkplugin.Options{
		Clock:   func() time.Time { now = now.Add(-4 * time.Minute); return now }, // as if the statement grew younger
		Require: []sdkplugin.Rule{{Activity: "push", Requirement: sdkplugin.Requirement{MaxAge: 3 * time.Minute}, Hold: time.Hour}},
	})
	var log journal
	env := environment(t, p, &log)
	ran := 0
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (time.Duration, error) {
		began := workflow.Now(ctx)
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		err := workflow.ExecuteActivity(ctx, "push").Get(ctx, nil)
		return workflow.Now(ctx).Sub(began), err
	}, workflow.RegisterOptions{Name: "family"})
	env.RegisterActivityWithOptions(func(context.Context) error { ran++; return nil }, activity.RegisterOptions{Name: "push"})
	env.SetHeader(header(sign(t, strong(nil))))
	env.ExecuteWorkflow("family")
	var took time.Duration
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&took)); err != nil {
		t.Fatal(err)
	}
	if ran != 1 || took < time.Hour {
		t.Errorf("ran %d times after %s", ran, took)
	}
}

func TestRequireInCode(t *testing.T) {
	need := sdkplugin.Requirement{MaxLoginAge: 30 * time.Minute}
	run := func(ctx context.Context) error { return sdkplugin.Require(ctx, need) }
	for _, c := range []struct {
		name    string
		plugin  bool
		mode    sdkplugin.Mode
		login   time.Duration
		code    sdkplugin.ViolationCode
		without bool // no attestation
	}{
		{"met", true, sdkplugin.Enforce, 10 * time.Minute, "", false},
		{"not met", true, sdkplugin.Enforce, time.Hour, sdkplugin.ForbiddenLoginAge, false},
		{"not met, observing", true, sdkplugin.Observe, time.Hour, sdkplugin.ForbiddenLoginAge, false},
		{"no attestation, observing", true, sdkplugin.Observe, 0, sdkplugin.ForbiddenUnattested, true},
		{"no plugin", false, sdkplugin.Enforce, 10 * time.Minute, sdkplugin.ForbiddenUnattested, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			s := strong(func(s *attest.Statement) { s.AuthTime, s.Binding.WorkflowType = noon.Add(-c.login), "0" }) // as this environment calls it
			if c.plugin {
				env.SetWorkerOptions(worker.Options{Interceptors: hooks(t, newPlugin(t, sdkplugin.Options{Mode: c.mode, Clock: noonClock}))})
			}
			if !c.without {
				env.SetHeader(header(sign(t, s)))
			}
			env.RegisterActivityWithOptions(run, activity.RegisterOptions{Name: "guarded"})
			_, err := env.ExecuteActivity("guarded")
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f, v := failure(t, err)
			if f.Type() != sdkplugin.FailureForbidden || !f.NonRetryable() || v.Code != c.code {
				t.Errorf("failure %v with %+v, want %s", f, v, c.code)
			}
		})
	}
}

func TestRulesThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		rule sdkplugin.Rule
		says string
	}{
		"nothing to guard":    {sdkplugin.Rule{Requirement: sdkplugin.Requirement{Grant: true}}, "neither Activity nor Workflow"},
		"a hold of no length": {sdkplugin.Rule{Activity: "x", Hold: time.Millisecond}, "less than a second"},
		"since, activity":     {sdkplugin.Rule{Activity: "x", Since: noon}, "Since is only"},
		"a login":             {sdkplugin.Rule{Activity: "x", Requirement: sdkplugin.Requirement{Actors: []string{"bob@acme.example"}}}, "not a principal"},
	} {
		if _, err := sdkplugin.New(sdkplugin.Options{Require: []sdkplugin.Rule{c.rule}}); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "Require[0]") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
