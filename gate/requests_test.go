package gate_test

import (
	"slices"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// method is one method of the API, by its full gRPC name.
type method struct {
	name, full string
	input      protoreflect.MessageType
}

// apiMethods are all methods of WorkflowService and OperatorService, sorted, and one that stands for AdminService, whose messages belong to
// the server's module.
func apiMethods(t testing.TB) []method {
	t.Helper()
	var out []method
	for prefix, file := range map[string]protoreflect.FileDescriptor{
		"":          workflowservice.File_temporal_api_workflowservice_v1_service_proto,
		"Operator.": operatorservice.File_temporal_api_operatorservice_v1_service_proto,
	} {
		svc := file.Services().Get(0)
		for i := range svc.Methods().Len() {
			m := svc.Methods().Get(i)
			typ, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, method{prefix + string(m.Name()), "/" + string(svc.FullName()) + "/" + string(m.Name()), typ})
		}
	}
	slices.SortFunc(out, func(a, b method) int { return strings.Compare(a.name, b.name) })
	return append(out, method{"Admin", "/temporal.server.api.adminservice.v1.AdminService/CloseShard", (&workflowservice.GetClusterInfoRequest{}).ProtoReflect().Type()})
}

// usual is a request of the method as somebody might send it in the namespace: every name and id is filled in, nothing unusual is asked for.
func (m method) usual(namespace string) proto.Message {
	msg := m.input.New()
	fillIn(msg, namespace, 0)
	switch r := msg.Interface().(type) {
	case *workflowservice.DescribeNamespaceRequest:
		r.Id = ""
	case *operatorservice.DeleteNamespaceRequest:
		r.NamespaceId = ""
	case *workflowservice.ExecuteMultiOperationRequest:
		start, update := &workflowservice.StartWorkflowExecutionRequest{}, &workflowservice.UpdateWorkflowExecutionRequest{}
		fillIn(start.ProtoReflect(), namespace, 0)
		fillIn(update.ProtoReflect(), namespace, 0)
		r.Operations = []*workflowservice.ExecuteMultiOperationRequest_Operation{
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: start}},
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: update}},
		}
	}
	return msg.Interface()
}

// fillIn fills strings with their own names and the messages that name something; it leaves lists, maps and enums alone.
func fillIn(msg protoreflect.Message, namespace string, depth int) {
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		one := f.ContainingOneof()
		switch {
		case f.IsList() || f.IsMap() || one != nil && msg.WhichOneof(one) != nil:
		case f.Kind() == protoreflect.StringKind && f.Name() == "namespace":
			msg.Set(f, protoreflect.ValueOfString(namespace))
		case f.Kind() == protoreflect.StringKind && (f.Name() == "normal_name" || f.Name() == "cron_schedule"):
		case f.Kind() == protoreflect.StringKind:
			msg.Set(f, protoreflect.ValueOfString("some-"+strings.ReplaceAll(string(f.Name()), "_", "-")))
		case f.Message() != nil && depth < 4:
			switch f.Message().Name() {
			case "WorkflowExecution", "WorkflowType", "TaskQueue", "UpdateRef", "Request", "Input", "Meta", "WorkflowQuery", "Schedule",
				"ScheduleAction", "NewWorkflowExecutionInfo", "BatchOperationTermination", "ActivityType":
				fillIn(msg.Mutable(f).Message(), namespace, depth+1)
			}
		}
	}
}

func TestUsualRequestsAreUsual(t *testing.T) {
	byName := map[string]proto.Message{}
	for _, m := range apiMethods(t) {
		byName[m.name] = m.usual("payments")
	}
	start := byName["StartWorkflowExecution"].(*workflowservice.StartWorkflowExecutionRequest)
	if start.GetNamespace() != "payments" || start.GetWorkflowType().GetName() != "some-name" || start.GetTaskQueue().GetName() != "some-name" ||
		start.GetWorkflowIdReusePolicy() != enumspb.WORKFLOW_ID_REUSE_POLICY_UNSPECIFIED {
		t.Errorf("start: %v", start)
	}
	if a := byName["CreateSchedule"].(*workflowservice.CreateScheduleRequest).GetSchedule().GetAction(); a.GetStartWorkflow() == nil {
		t.Errorf("schedule: %v", a)
	}
	if p := byName["PatchSchedule"].(*workflowservice.PatchScheduleRequest).GetPatch(); !proto.Equal(p, (*schedulepb.SchedulePatch)(nil)) {
		t.Errorf("patch: %v", p)
	}
	if b := byName["StartBatchOperation"].(*workflowservice.StartBatchOperationRequest); b.GetTerminationOperation() == nil || b.GetVisibilityQuery() == "" {
		t.Errorf("batch: %v", b)
	}
}

// asPayload is a payload out of a reflected map.
func asPayload(v protoreflect.Value) *commonpb.Payload {
	p, _ := v.Message().Interface().(*commonpb.Payload)
	return p
}
