package serverplugin

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.temporal.io/server/common/api"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/service/frontend/configs"
)

// Only Nexus calls with exactly the process's own proof count as Temporal's own.
func TestProofOpensNexusOnly(t *testing.T) {
	a := NewAuthorizer(nil, slog.New(slog.DiscardHandler))
	a.proof = newProof()
	at := func(method, header string) bool {
		return a.internalNexus(&call{authorization: newCredential(header)}, &authorization.CallTarget{APIName: method})
	}
	dispatch := api.NexusServicePrefix + "DispatchByEndpoint"
	for _, method := range []string{dispatch, configs.CompleteNexusOperation} {
		if !at(method, a.proof()) {
			t.Errorf("%s: the proof is not taken", method)
		}
		for _, header := range []string{"", "Bearer ", a.proof()[:len(a.proof())-1], a.proof() + "0", strings.ToLower(a.proof()), newProof()()} {
			if at(method, header) {
				t.Errorf("%s: %q is taken for the proof", method, header)
			}
		}
	}
	for _, method := range []string{api.WorkflowServicePrefix + "StartWorkflowExecution", api.OperatorServicePrefix + "DeleteNamespace", "/x/" + dispatch} {
		if at(method, a.proof()) {
			t.Errorf("the proof opens %s", method)
		}
	}
	a.proof = nil
	if at(dispatch, "") {
		t.Error("without a proof, an empty credential is taken for it")
	}
	if shown := fmt.Sprintf("%v %+v %#v", newProof(), struct{ p proof }{newProof()}, newProof()); strings.Contains(shown, "bailiwick-internal") {
		t.Error("a formatter shows the proof")
	}
}
