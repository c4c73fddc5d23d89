package gate_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/policy"
)

var officeAddr = netip.MustParseAddr("192.0.2.7")

func TestJudgeDecidesAndRecords(t *testing.T) {
	k := newKit(t, "")
	who, err := k.Authenticate(t.Context(), []string{"Bearer " + k.alice()}, officeAddr, "POST /v1/things")
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

func TestAuthenticateRecordsRefusals(t *testing.T) {
	k := newKit(t, "")
	var d *gate.Denial
	if _, err := k.Authenticate(t.Context(), nil, officeAddr, "POST /v1/things"); !errors.As(err, &d) || d.Code != "token_missing" {
		t.Fatalf("no token: %v", err)
	}
	if e := k.log.last(t); e.ID != d.DecisionID || e.Action != "POST /v1/things" || e.Decision.Allow || e.Decision.Code != "token_missing" {
		t.Errorf("entry: %+v", e)
	}
}

func TestJudgeWithoutRecordIsRefused(t *testing.T) {
	k := newKit(t, "")
	who, err := k.Authenticate(t.Context(), []string{"Bearer " + k.alice()}, officeAddr, "x")
	if err != nil {
		t.Fatal(err)
	}
	k.log.broken = errors.New("disk full")
	var d *gate.Denial
	if _, err := k.Judge(t.Context(), gate.Question{Who: who, Action: "StartWorkflowExecution", Resource: policy.Resource{Namespace: "deploy"}}); !errors.As(err, &d) || d.Code != gate.CodeAuditUnavailable {
		t.Errorf("%v", err)
	}
}
