package serverplugin

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/api/adminservice/v1"
	"go.temporal.io/server/common/api"
	"google.golang.org/grpc"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// deviations are where our table means something else than Temporal's advisory one, each with its reason.
var deviations = map[string]string{
	"RegisterNamespace":           "the namespace does not exist yet, so no role in it can allow its creation: it is an act on the cluster (Temporal: namespace)",
	"Operator.GetNexusEndpoint":   "lists where calls can go and holds no secret: reading it is no administration (Temporal: admin)",
	"Operator.ListNexusEndpoints": "as GetNexusEndpoint (Temporal: admin)",
	"Operator.ListClusters":       "names of connected clusters: reading (Temporal: admin)",
}

// TestEveryMethodIsKnown holds policy's table against the server's own: a method that the server gains in an upgrade fails this test instead
// of being refused to users, and a class that differs needs a reason.
func TestEveryMethodIsKnown(t *testing.T) {
	served := map[string]bool{}
	check := func(prefix, actionPrefix string, desc grpc.ServiceDesc) {
		if "/"+desc.ServiceName+"/" != prefix {
			t.Fatalf("service %s is not %s", desc.ServiceName, prefix)
		}
		if len(desc.Streams) > 0 && prefix != api.AdminServicePrefix {
			t.Errorf("%s has streams, which the authorizer refuses to everybody", desc.ServiceName)
		}
		for _, m := range desc.Methods {
			name := actionPrefix + m.MethodName
			if prefix == api.AdminServicePrefix {
				name = policy.AdminAction
			}
			served[name] = true
			action, ok := policy.LookupAction(name)
			if !ok {
				t.Errorf("policy does not know %s: callers would be refused as unknown_method", name)
				continue
			}
			theirs := api.GetMethodMetadata(prefix + m.MethodName)
			same := agrees(theirs, action)
			reason, listed := deviations[name]
			switch {
			case !same && !listed:
				t.Errorf("%s is %s/%s to policy and access %d, scope %d to the server; correct it or list the deviation with its reason", name, action.Access, action.Scope, theirs.Access, theirs.Scope)
			case same && listed:
				t.Errorf("%s is listed as a deviation (%s) but is none", name, reason)
			}
			if action.Access != policy.Read && action.Access != policy.Work && !action.Mutating {
				t.Errorf("%s changes something but would be let through without a durable record", name)
			}
			if action.Access == policy.Read && action.Mutating {
				t.Errorf("%s reads and yet claims to change something", name)
			}
		}
	}
	check(api.WorkflowServicePrefix, "", workflowservice.WorkflowService_ServiceDesc)
	check(api.OperatorServicePrefix, "Operator.", operatorservice.OperatorService_ServiceDesc)
	check(api.AdminServicePrefix, "", adminservice.AdminService_ServiceDesc)
	if len(served) < 130 {
		t.Fatalf("the server's descriptors list only %d methods", len(served))
	}
	for _, action := range policy.Actions() {
		if command, ok := strings.CutPrefix(action.Name, "Command."); ok { // what a workflow task may contain, judged by the gate
			if _, known := enumspb.CommandType_shorthandValue[command]; !known {
				t.Errorf("policy knows the command %s, which Temporal does not have", command)
			}
			continue
		}
		if action.Access == policy.Delegate || strings.HasPrefix(action.Name, "Keys.") {
			continue // asked by the control plane, never by a call
		}
		if !served[action.Name] {
			t.Errorf("policy knows %s, which this server does not serve", action.Name)
		}
	}
}

// agrees compares access classes, and whether a method belongs to a namespace or to the cluster.
func agrees(theirs api.MethodMetadata, ours policy.Action) bool {
	var access bool
	switch theirs.Access {
	case api.AccessReadOnly:
		access = ours.Access == policy.Read
	case api.AccessWrite: // the server does not tell workers from people
		access = ours.Access == policy.Operate || ours.Access == policy.Work
	case api.AccessAdmin:
		access = ours.Access == policy.Administer
	}
	return access && (theirs.Scope == api.ScopeCluster) == (ours.Scope == policy.ScopeCluster)
}

// TestAliasesLeadSomewhere checks that each other door is decided as an action that exists, and is no door of the API itself.
func TestAliasesLeadSomewhere(t *testing.T) {
	for method := range aliases {
		for _, prefix := range []string{api.WorkflowServicePrefix, api.OperatorServicePrefix, api.AdminServicePrefix} {
			if strings.HasPrefix(method, prefix) {
				t.Errorf("%s is a method of the API and must be decided as itself", method)
			}
		}
	}
}
