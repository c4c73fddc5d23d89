package serverplugin

import (
	"net"
	"strconv"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/api/adminservice/v1"
	"go.temporal.io/server/api/matchingservice/v1"
	"go.temporal.io/server/common/api"
	"go.temporal.io/server/common/authorization"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/gate"
)

// aliases are methods outside Temporal's API services that are other doors to acts which policies know. Each is decided, and recorded, as
// the act behind it. A method that is neither here nor in a policy's schema is refused.
var aliases = map[string]func(*gate.Call, *authorization.CallTarget){
	// "Is the server up" tells as much as GetSystemInfo, which every authenticated caller may ask.
	healthpb.Health_Check_FullMethodName: func(c *gate.Call, _ *authorization.CallTarget) {
		c.Method, c.Request = api.WorkflowServicePrefix+"GetSystemInfo", &workflowservice.GetSystemInfoRequest{}
	},
	api.NexusServicePrefix + "DispatchByEndpoint":              nexusStart,
	api.NexusServicePrefix + "DispatchByNamespaceAndTaskQueue": nexusStart,
}

// nexusStart decides a Nexus call over HTTP as the start of a Nexus operation in the handler's namespace. The server drops gRPC metadata on
// this path, so the reason and the grant are taken from the Nexus headers.
func nexusStart(c *gate.Call, target *authorization.CallTarget) {
	r, ok := target.Request.(*matchingservice.DispatchNexusTaskRequest)
	if !ok {
		return // keeps a method that no policy knows
	}
	c.Method = api.WorkflowServicePrefix + "StartNexusOperationExecution"
	c.Request = &workflowservice.StartNexusOperationExecutionRequest{
		Namespace: target.Namespace, Endpoint: target.NexusEndpointName,
		Service: r.GetRequest().GetStartOperation().GetService(), Operation: r.GetRequest().GetStartOperation().GetOperation(),
		Input: r.GetRequest().GetStartOperation().GetPayload(),
	}
	c.Operation = &gate.Operation{TaskQueue: r.GetTaskQueue().GetName(), RequestID: r.GetRequest().GetStartOperation().GetRequestId()}
	for key, value := range r.GetRequest().GetHeader() {
		switch {
		case strings.EqualFold(key, attest.HeaderKey):
			c.Operation.Statements = append(c.Operation.Statements, value)
		case strings.EqualFold(key, gate.MetadataReason):
			c.Reason = append(c.Reason, value)
		case strings.EqualFold(key, gate.MetadataGrant):
			c.Grant = append(c.Grant, value)
		}
	}
}

// commands are the commands of a workflow task which target.APIName in target.Namespace stands for, as the requests that would do the same.
func commands(target *authorization.CallTarget) []any {
	task, ok := target.Request.(*workflowservice.RespondWorkflowTaskCompletedRequest)
	if !ok {
		return nil
	}
	// The field is deprecated in the API, and still obeyed by the server.
	here := func(a interface{ GetNamespace() string }) bool { return a.GetNamespace() == target.Namespace }
	asked := strings.TrimPrefix(target.APIName, api.WorkflowServicePrefix)
	var out []any
	for _, command := range task.GetCommands() {
		switch command.GetCommandType() {
		case enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:
			if a := command.GetSignalExternalWorkflowExecutionCommandAttributes(); asked == "SignalWorkflowExecution" && here(a) {
				out = append(out, &workflowservice.SignalWorkflowExecutionRequest{
					Namespace: target.Namespace, WorkflowExecution: a.GetExecution(), SignalName: a.GetSignalName(), Input: a.GetInput(),
				})
			}
		case enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
			if a := command.GetStartChildWorkflowExecutionCommandAttributes(); asked == "StartWorkflowExecution" && here(a) {
				out = append(out, &workflowservice.StartWorkflowExecutionRequest{
					Namespace: target.Namespace, WorkflowId: a.GetWorkflowId(), WorkflowType: a.GetWorkflowType(), TaskQueue: a.GetTaskQueue(),
					Input: a.GetInput(), WorkflowIdReusePolicy: a.GetWorkflowIdReusePolicy(),
				})
			}
		case enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION:
			if a := command.GetRequestCancelExternalWorkflowExecutionCommandAttributes(); asked == "RequestCancelWorkflowExecution" && here(a) {
				out = append(out, &workflowservice.RequestCancelWorkflowExecutionRequest{
					Namespace: target.Namespace, Reason: a.GetReason(),
					WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: a.GetWorkflowId(), RunId: a.GetRunId()},
				})
			}
		}
	}
	return out
}

// checkRemoteCluster refuses an address of a remote cluster that the server would end itself over: its dialer treats one that has no port
// as a fatal error of the process.
func checkRemoteCluster(req any) error {
	var address string
	switch r := req.(type) {
	case *operatorservice.AddOrUpdateRemoteClusterRequest:
		address = r.GetFrontendAddress()
	case *adminservice.AddOrUpdateRemoteClusterRequest:
		address = r.GetFrontendAddress()
	default:
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || !plainHost(host) || strings.HasPrefix(address, "[") && !strings.Contains(host, ":") {
		return status.Error(codes.InvalidArgument, `remote_cluster_address: the frontend address must be HOST:PORT with a host name or an IP address, such as "temporal.example:7233"`)
	}
	return nil
}

// plainHost accepts host names and IP addresses and nothing that a dialer could read as a scheme, a path or a percent-escape.
func plainHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	if strings.Contains(host, ":") {
		return net.ParseIP(host) != nil
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}
