package index

import (
	"slices"
	"testing"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// What workers and Temporal itself do is found by whom it is for.
func TestOriginatorsOfRunsAreFound(t *testing.T) {
	e := audit.Entry{
		Kind: audit.KindDecision, Actor: audit.Party{Principal: "client:https://acme.okta.com|0oaworker", Login: "0oaworker"}, Action: "RespondWorkflowTaskCompleted",
		Decision: &policy.Decision{Allow: true, Code: policy.CodeAllowed},
		Detail:   map[string]string{audit.DetailOriginator: "user:https://acme.okta.com|00ualice", audit.DetailOriginatorLogin: "alice@acme.example", audit.DetailAttestation: "id"},
	}
	has := func(value string) bool { return slices.Contains(terms(&e), term{FieldOriginator, value}) }
	for _, value := range []string{"user:https://acme.okta.com|00ualice", "alice@acme.example", "0oaworker"} {
		if !has(value) {
			t.Errorf("not found by %q", value)
		}
	}
	e.Kind = audit.KindAccess // such details mean something else in other kinds
	if has("alice@acme.example") {
		t.Error("found in an entry of another kind")
	}
}
