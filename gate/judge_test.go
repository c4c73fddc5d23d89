package gate_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
)

var officeAddr = netip.MustParseAddr("192.0.2.7")

func TestJudgeDecidesAndRecords(t *testing.T) {
	k := newKit(t, "")
	who, err := k.Authenticate(t.Context(), []string{"Bearer " + k.alice()}, nil, officeAddr, "POST /v1/things")
	if err != nil {
		t.Fatal(err)
	}
	j, err := k.Judge(t.Context(), gate.Question{
		Who: who, Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: "deploy"}, Context: policy.Context{Reason: "why"},
		Source: officeAddr, Digest: "d1", Detail: map[string]string{"k": "v"},
	})
	if err != nil || !j.Decision.Allow {
		t.Fatalf("%+v, %v", j, err)
	}
	e := k.log.last(t)
	if e.ID != j.ID || !k.log.durable[j.ID] || e.Actor.Login != "alice@acme.example" || e.Reason != "why" || e.RequestDigest != "d1" || e.Detail["k"] != "v" || e.Source == "" {
		t.Errorf("entry: %+v", e)
	}
	j, err = k.Judge(t.Context(), gate.Question{Who: who, Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: "payments"}})
	if err != nil || j.Decision.Allow || k.log.last(t).ID != j.ID || k.log.durable[j.ID] {
		t.Errorf("a refusal: %+v, %v", j, err)
	}
	var d *gate.Denial
	if _, err := k.Judge(t.Context(), gate.Question{Who: who, Action: "Sing"}); !errors.As(err, &d) || d.Code != gate.CodeUnknownMethod {
		t.Errorf("unknown action: %v", err)
	}
	if _, err := k.Judge(t.Context(), gate.Question{Action: "StartWorkflowExecution"}); !errors.As(err, &d) || d.Code != "token_missing" {
		t.Errorf("nobody: %v", err)
	}
}

// A question brings no grant along: nobody has proven one.
func TestJudgeTakesNoGrant(t *testing.T) {
	k := newKit(t, "")
	who, err := k.Authenticate(t.Context(), []string{"Bearer " + k.alice()}, nil, officeAddr, "x")
	if err != nil {
		t.Fatal(err)
	}
	j, err := k.Judge(t.Context(), gate.Question{
		Who: who, Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: "payments"}, Context: policy.Context{Granted: true, Grant: "g1"},
	})
	if e := k.log.last(t); err != nil || j.Decision.Allow || e.Granted || e.Grant != "" {
		t.Errorf("%+v, %v; entry %+v", j, err, e)
	}
}

func TestAuthenticateRecordsRefusals(t *testing.T) {
	k := newKit(t, "")
	var d *gate.Denial
	if _, err := k.Authenticate(t.Context(), nil, nil, officeAddr, "POST /v1/things"); !errors.As(err, &d) || d.Code != "token_missing" {
		t.Fatalf("no token: %v", err)
	}
	if e := k.log.last(t); e.ID != d.DecisionID || e.Action != "POST /v1/things" || e.Decision.Allow || e.Decision.Code != "token_missing" {
		t.Errorf("entry: %+v", e)
	}
}

func TestJudgeWithoutRecordIsRefused(t *testing.T) {
	k := newKit(t, "")
	who, err := k.Authenticate(t.Context(), []string{"Bearer " + k.alice()}, nil, officeAddr, "x")
	if err != nil {
		t.Fatal(err)
	}
	k.log.broken = errors.New("disk full")
	var d *gate.Denial
	if _, err := k.Judge(t.Context(), gate.Question{Who: who, Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: "deploy"}}); !errors.As(err, &d) || d.Code != gate.CodeAuditUnavailable {
		t.Errorf("%v", err)
	}
}

// Approvers may have to prove a second factor too: an ID token beside the access token says how they logged in.
func TestJudgeSeesHowThePersonLoggedIn(t *testing.T) {
	k := newKit(t, `@id("factor") forbid (principal, action == Action::"Access.Approve", resource) unless { context.amr.contains("mfa") };`)
	now := time.Now().Unix()
	access := k.issuer.Token(map[string]any{"sub": "carol@acme.example", "uid": "00ucarol", "cid": "0oacli", "groups": []string{"temporal:payments:admin"}, "auth_time": now - 60})
	id := func(factors ...string) string {
		return k.issuer.Token(map[string]any{"aud": "0oacli", "sub": "00ucarol", "jti": "ID.1", "amr": factors, "auth_time": now - 60, "uid": nil, "cid": nil, "scp": nil, "groups": nil})
	}
	for _, c := range []struct {
		idToken []string
		allow   bool
	}{{nil, false}, {[]string{id("pwd")}, false}, {[]string{id("pwd", "mfa")}, true}} {
		who, err := k.Authenticate(t.Context(), []string{"Bearer " + access}, c.idToken, officeAddr, "POST /v1/things")
		if err != nil {
			t.Fatal(err)
		}
		j, err := k.Judge(t.Context(), gate.Question{Who: who, Action: "Access.Approve", Resource: policy.Resource{Namespace: "payments"}, Context: policy.Context{
			Reason: "she is on call", Requester: "user:" + who.Claims().Issuer + "|00ualice", AMR: []string{"mfa"}, // what the asker claims counts for nothing
		}})
		if err != nil || j.Decision.Allow != c.allow || !slices.Equal(k.log.last(t).Actor.AMR, who.AMR()) {
			t.Errorf("with %d ID tokens: %+v, %v, recorded %+v", len(c.idToken), j, err, k.log.last(t).Actor)
		}
	}
	var d *gate.Denial
	if _, err := k.Authenticate(t.Context(), []string{"Bearer " + access}, []string{access}, officeAddr, "POST /v1/things"); !errors.As(err, &d) || d.Code != "id_token_invalid" || string(k.log.last(t).Decision.Code) != d.Code {
		t.Errorf("an access token for an ID token: %v", err)
	}
}
