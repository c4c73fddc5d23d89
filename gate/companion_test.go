package gate_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/gate"
)

const withFactor = `@id("factor") forbid (principal, action == Action::"TerminateWorkflowExecution", resource) unless { context.amr.contains("mfa") };`

// What an ID token beside the access token says of the login reaches policy and the record; a bad one refuses the call.
func TestIDTokenBesideTheAccessToken(t *testing.T) {
	k := newKit(t, withFactor)
	now := time.Now().Unix()
	access := map[string]any{"sub": "alice@acme.example", "uid": "00ualice", "cid": "0oacli", "groups": []string{"temporal:payments:write"}, "auth_time": now - 60}
	id := func(changes map[string]any) string {
		claims := map[string]any{"aud": "0oacli", "sub": "00ualice", "jti": "ID.1", "amr": []string{"pwd", "mfa"}, "auth_time": now - 60, "uid": nil, "cid": nil, "scp": nil, "groups": nil}
		for name, value := range changes {
			claims[name] = value
		}
		return k.issuer.Token(claims)
	}
	ownFactor := maps.Clone(access)
	ownFactor["amr"] = []string{"hwk", "mfa"}
	callAs := func(access map[string]any, tokens ...string) (audit.Entry, string) {
		t.Helper()
		c := k.call("TerminateWorkflowExecution", &workflowservice.TerminateWorkflowExecutionRequest{Namespace: "payments", WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "order-7"}}, k.issuer.Token(access))
		c.Reason, c.IDToken = []string{"it loops"}, tokens
		_, err := k.Admit(t.Context(), c)
		var d *gate.Denial
		if err == nil {
			return k.log.last(t), "allowed"
		} else if !errors.As(err, &d) {
			t.Fatal(err)
		}
		return k.log.last(t), d.Code
	}
	call := func(tokens ...string) (audit.Entry, string) { return callAs(access, tokens...) }
	for what, c := range map[string]struct {
		tokens []string
		code   string
		amr    []string
	}{
		"none":            {nil, "forbidden", nil},
		"empty":           {[]string{""}, "forbidden", nil},
		"mfa":             {[]string{id(nil)}, "allowed", []string{"pwd", "mfa"}},
		"a password only": {[]string{id(map[string]any{"amr": []string{"pwd"}})}, "forbidden", []string{"pwd"}},
		"two":             {[]string{id(nil), id(nil)}, "id_token_invalid", nil},
		"another person":  {[]string{id(map[string]any{"sub": "00ubob"})}, "id_token_invalid", nil},
		"another client":  {[]string{id(map[string]any{"aud": "0oaother"})}, "id_token_invalid", nil},
		"another login":   {[]string{id(map[string]any{"auth_time": now - 10})}, "id_token_invalid", nil},
		"access token":    {[]string{k.issuer.Token(access)}, "id_token_invalid", nil},
		"junk":            {[]string{"junk"}, "id_token_invalid", nil},
		"expired":         {[]string{id(map[string]any{"iat": now - 7200, "exp": now - 1})}, "forbidden", nil},
	} {
		e, code := call(c.tokens...)
		if code != c.code || !slices.Equal(e.Actor.AMR, c.amr) || string(e.Decision.Code) != code {
			t.Errorf("%s: %s, recorded %+v", what, code, e)
		}
	}

	// Where the access token says it itself (RFC 9068), that counts, and an ID token of the same login takes nothing from it.
	for _, tokens := range [][]string{nil, {id(map[string]any{"amr": []string{"pwd"}})}} {
		if e, code := callAs(ownFactor, tokens...); code != "allowed" || !slices.Equal(e.Actor.AMR, []string{"hwk", "mfa"}) {
			t.Errorf("the access token's own amr beside %q: %s, recorded %q", tokens, code, e.Actor.AMR)
		}
	}
}
