package policy

import (
	"slices"
	"strings"
	"testing"

	operatorservice "go.temporal.io/api/operatorservice/v1"
	workflowservice "go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// apiMethods lists every method that the linked Temporal API defines, under the name that policies use.
func apiMethods() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	collect := func(prefix string, f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				m := f.Services().Get(i).Methods().Get(j)
				all[prefix+string(m.Name())] = m
			}
		}
	}
	collect("", workflowservice.File_temporal_api_workflowservice_v1_service_proto)
	collect("Operator.", operatorservice.File_temporal_api_operatorservice_v1_service_proto)
	return all
}

// innerActs are the actions that are no methods of their own.
var innerActs = []string{AdminAction, CommandContinueAsNew, CommandStartChild, CommandSignal, CommandRequestCancel, CommandNexusOperation,
	KeysRotate, KeysView,
	AccessRequest, AccessApprove, AccessRevoke, AccessReview, AccessView, AuditRead}

func TestActionTableIsTheAPI(t *testing.T) {
	methods := apiMethods()
	if len(methods) < 130 {
		t.Fatalf("the API module shows only %d methods: the test looks at the wrong descriptors", len(methods))
	}
	seen := map[string]bool{}
	for _, a := range Actions() {
		if seen[a.Name] {
			t.Errorf("%s is in the table twice", a.Name)
		}
		seen[a.Name] = true
		if methods[a.Name] == nil && !slices.Contains(innerActs, a.Name) {
			t.Errorf("%s is in the table but not in the API", a.Name)
		}
	}
	for name := range methods {
		if !seen[name] {
			t.Errorf("%s is in the API but not in the table: add it to actiontable.go with its meaning", name)
		}
	}
	if !slices.IsSortedFunc(Actions(), func(a, b Action) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("Actions is not sorted")
	}
}

// TestScopesFitRequests checks that a scope never promises a policy something that the request can't say.
func TestScopesFitRequests(t *testing.T) {
	has := func(m protoreflect.MethodDescriptor, names ...protoreflect.Name) bool {
		return slices.ContainsFunc(names, func(n protoreflect.Name) bool { return m.Input().Fields().ByName(n) != nil })
	}
	for name, m := range apiMethods() {
		a, _ := LookupAction(name)
		inNamespace := has(m, "namespace")
		if (a.Scope != ScopeCluster) != inNamespace && name != "RegisterNamespace" {
			t.Errorf("%s: scope %s, but a namespace in the request: %v", name, a.Scope, inNamespace)
		}
		switch a.Scope {
		case ScopeWorkflow:
			if !has(m, "workflow_id", "execution", "workflow_execution", "update_ref") {
				t.Errorf("%s: scope workflow, but the request names none", name)
			}
		case ScopeTaskQueue:
			if !has(m, "task_queue", "task_token") { // a token comes from a task queue, and the gate finds out which
				t.Errorf("%s: scope taskqueue, but the request names none", name)
			}
		case ScopeSchedule:
			if !has(m, "schedule_id") {
				t.Errorf("%s: scope schedule, but the request names none", name)
			}
		case ScopeNamespace:
			if has(m, "workflow_id", "execution", "workflow_execution", "schedule_id") {
				t.Errorf("%s: scope namespace, but the request names a workflow or schedule", name)
			}
		}
	}
}

// TestActionsAgainstServer compares the table with Temporal's advisory metadata (go.temporal.io/server v1.32.1,
// common/api/metadata.go), copied here as facts so that the server stays out of this module.
func TestActionsAgainstServer(t *testing.T) {
	serverReads := "DescribeNamespace ListNamespaces GetWorkflowExecutionHistory GetWorkflowExecutionHistoryReverse " +
		"CountActivityExecutions CountNexusOperationExecutions DescribeActivityExecution DescribeNexusOperationExecution " +
		"PollActivityExecution PollNexusOperationExecution ListActivityExecutions ListNexusOperationExecutions " +
		"ListOpenWorkflowExecutions ListClosedWorkflowExecutions ListWorkflowExecutions ListArchivedWorkflowExecutions " +
		"ScanWorkflowExecutions CountWorkflowExecutions GetSearchAttributes QueryWorkflow DescribeWorkflowExecution " +
		"DescribeTaskQueue GetClusterInfo GetSystemInfo ListTaskQueuePartitions DescribeSchedule ListScheduleMatchingTimes " +
		"ListSchedules CountSchedules GetWorkerBuildIdCompatibility GetWorkerVersioningRules GetWorkerTaskReachability " +
		"PollWorkflowExecutionUpdate PollWorkflowExecutionTimeSkipping DescribeBatchOperation ListBatchOperations " +
		"DescribeDeployment ListDeployments GetDeploymentReachability GetCurrentDeployment DescribeWorkerDeploymentVersion " +
		"DescribeWorkerDeployment ValidateWorkerDeploymentVersionComputeConfig ListWorkerDeployments DescribeWorkflowRule " +
		"ListWorkflowRules ListWorkers CountWorkers DescribeWorker FetchWorkerConfig Operator.ListSearchAttributes"
	serverAdmin := "RegisterNamespace UpdateNamespace DeprecateNamespace Operator.AddSearchAttributes " +
		"Operator.RemoveSearchAttributes Operator.DeleteNamespace Operator.AddOrUpdateRemoteCluster " +
		"Operator.RemoveRemoteCluster Operator.ListClusters Operator.CreateNexusEndpoint Operator.UpdateNexusEndpoint " +
		"Operator.DeleteNexusEndpoint Operator.GetNexusEndpoint Operator.ListNexusEndpoints Admin"
	// Where ours differs from the server's on purpose.
	differs := map[string]string{
		"Operator.ListClusters":       "reads; still cluster scope, so only a cluster-wide role reaches it",
		"Operator.GetNexusEndpoint":   "reads; still cluster scope",
		"Operator.ListNexusEndpoints": "reads; still cluster scope",
	}
	reads, admin := strings.Fields(serverReads), strings.Fields(serverAdmin)
	for _, a := range Actions() {
		if a.Access == Delegate || a.Name == KeysRotate || a.Name == KeysView {
			continue // no methods
		}
		server := "write"
		if slices.Contains(reads, a.Name) {
			server = "read"
		} else if slices.Contains(admin, a.Name) {
			server = "admin"
		}
		ours := map[Access]string{Read: "read", Operate: "write", Work: "write", Administer: "admin"}[a.Access]
		if (server != ours) != (differs[a.Name] != "") {
			t.Errorf("%s: server says %s, we say %s (%s)", a.Name, server, a.Access, differs[a.Name])
		}
	}
}

func TestMutating(t *testing.T) {
	for _, a := range Actions() {
		want := a.Access != Read && a.Name != AccessView && a.Name != AuditRead && a.Name != KeysView && !strings.HasPrefix(a.Name, "Poll") && !strings.HasPrefix(a.Name, "Record")
		if a.Mutating != want {
			t.Errorf("%s: mutating is %v", a.Name, a.Mutating)
		}
		if worker := strings.HasPrefix(a.Name, "Respond"); worker && a.Access != Work {
			t.Errorf("%s: access %s, want work", a.Name, a.Access)
		}
	}
}

func TestLookupAction(t *testing.T) {
	if a, ok := LookupAction("SignalWorkflowExecution"); !ok || a.Access != Operate || a.Scope != ScopeWorkflow {
		t.Errorf("got %+v %v", a, ok)
	}
	for _, name := range []string{"", "startworkflowexecution", "DeleteNamespace", "Operator.Nope", "Admin.Anything", "read"} {
		if a, ok := LookupAction(name); ok {
			t.Errorf("%q was found as %+v", name, a)
		}
	}
}
