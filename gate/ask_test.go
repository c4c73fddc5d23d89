package gate_test

import (
	"slices"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	rulespb "go.temporal.io/api/rules/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// None of these requests may be a detour to an act that a policy forbids.
func TestDetoursAreTakenApart(t *testing.T) {
	forbid := func(action string) string {
		return `@id("test-no-` + strings.ToLower(action) + `") @reason("not this") forbid(principal, action == Action::"` + action + `", resource);`
	}
	update := func(ns string) *workflowservice.UpdateWorkflowExecutionRequest {
		return &workflowservice.UpdateWorkflowExecutionRequest{Namespace: ns, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "ship-1"}, Request: &updatepb.Request{Input: &updatepb.Input{Name: "set-traffic"}}}
	}
	multi := func(ns string) *workflowservice.ExecuteMultiOperationRequest {
		return &workflowservice.ExecuteMultiOperationRequest{Namespace: "deploy", Operations: []*workflowservice.ExecuteMultiOperationRequest_Operation{
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_StartWorkflow{StartWorkflow: startRequest()}},
			{Operation: &workflowservice.ExecuteMultiOperationRequest_Operation_UpdateWorkflow{UpdateWorkflow: update(ns)}},
		}}
	}
	replacing := startRequest()
	replacing.WorkflowIdConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	reusing := startRequest()
	reusing.WorkflowIdReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING //lint:ignore SA1019 clients still send it
	sws := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}, SignalName: "approve"}
	sched := &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "s", Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{
		Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{WorkflowId: "ship-1", WorkflowType: &commonpb.WorkflowType{Name: "deploy"}}},
	}}}

	postReset := []*workflowpb.PostResetOperation{
		{Variant: &workflowpb.PostResetOperation_SignalWorkflow_{SignalWorkflow: &workflowpb.PostResetOperation_SignalWorkflow{SignalName: "approve"}}},
		{Variant: &workflowpb.PostResetOperation_UpdateWorkflowOptions_{UpdateWorkflowOptions: &workflowpb.PostResetOperation_UpdateWorkflowOptions{}}},
	}
	rule := &rulespb.WorkflowRuleSpec{Actions: []*rulespb.WorkflowRuleAction{{Variant: &rulespb.WorkflowRuleAction_ActivityPause{}}}}

	k := newKit(t, "")
	for _, tc := range []struct {
		name, forbidden, method string
		req                     any
	}{
		{"update inside a multi-operation", "UpdateWorkflowExecution", "ExecuteMultiOperation", multi("deploy")},
		{"start inside a multi-operation", "StartWorkflowExecution", "ExecuteMultiOperation", multi("deploy")},
		{"start inside signal-with-start", "StartWorkflowExecution", "SignalWithStartWorkflowExecution", sws},
		{"signal inside signal-with-start", "SignalWorkflowExecution", "SignalWithStartWorkflowExecution", sws},
		{"termination by conflict policy", "TerminateWorkflowExecution", "StartWorkflowExecution", replacing},
		{"termination by reuse policy", "TerminateWorkflowExecution", "StartWorkflowExecution", reusing},
		{"start by schedule", "StartWorkflowExecution", "CreateSchedule", sched},
		{"start inside a change of a schedule", "StartWorkflowExecution", "UpdateSchedule", &workflowservice.UpdateScheduleRequest{Namespace: "deploy", ScheduleId: "s", Schedule: sched.Schedule}},
		{"trigger of a schedule", "StartWorkflowExecution", "PatchSchedule", &workflowservice.PatchScheduleRequest{Namespace: "deploy", ScheduleId: "s", Patch: &schedulepb.SchedulePatch{TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{}}}},
		{"backfill of a schedule", "StartWorkflowExecution", "PatchSchedule", &workflowservice.PatchScheduleRequest{Namespace: "deploy", ScheduleId: "s", Patch: &schedulepb.SchedulePatch{BackfillRequest: []*schedulepb.BackfillRequest{{}}}}},
		{"termination by overlap", "TerminateWorkflowExecution", "CreateSchedule", &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "s", Schedule: &schedulepb.Schedule{
			Action: sched.Schedule.Action, Policies: &schedulepb.SchedulePolicies{OverlapPolicy: enumspb.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER}}}},
		{"cancellation by overlap", "RequestCancelWorkflowExecution", "PatchSchedule", &workflowservice.PatchScheduleRequest{Namespace: "deploy", ScheduleId: "s", Patch: &schedulepb.SchedulePatch{
			TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{OverlapPolicy: enumspb.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER}}}},
		{"signal after a reset", "SignalWorkflowExecution", "ResetWorkflowExecution", &workflowservice.ResetWorkflowExecutionRequest{Namespace: "deploy", PostResetOperations: postReset}},
		{"options after a reset", "UpdateWorkflowExecutionOptions", "ResetWorkflowExecution", &workflowservice.ResetWorkflowExecutionRequest{Namespace: "deploy", PostResetOperations: postReset}},
		{"pause by a rule", "PauseActivity", "CreateWorkflowRule", &workflowservice.CreateWorkflowRuleRequest{Namespace: "deploy", Spec: rule}},
		{"pause by triggering a rule", "PauseActivity", "TriggerWorkflowRule", &workflowservice.TriggerWorkflowRuleRequest{Namespace: "deploy", Rule: &workflowservice.TriggerWorkflowRuleRequest_Id{Id: "r"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k.setPolicies(t, "")
			if _, err := k.Admit(t.Context(), k.call(tc.method, tc.req, k.alice())); err != nil {
				t.Fatalf("without the forbid: %v", err)
			}
			k.setPolicies(t, forbid(tc.forbidden))
			_, err := k.Admit(t.Context(), k.call(tc.method, tc.req, k.alice()))
			if d := denial(t, err); d.Code != "forbidden" || !strings.Contains(d.Message, "not this") {
				t.Errorf("got %v", err)
			}
		})
	}
	k.setPolicies(t, "")
	_, err := k.Admit(t.Context(), k.call("ExecuteMultiOperation", multi("payments"), k.alice()))
	if d := denial(t, err); d.Code != "bad_request" {
		t.Errorf("an operation in another namespace: got %v", err)
	}
}

// A request that names one namespace by name and another by id could be decided by the first and act on the second.
func TestOneNamespacePerRequest(t *testing.T) {
	k := newKit(t, "")
	carol := k.issuer.User("carol@acme.example", "temporal:deploy:admin")
	for _, req := range []any{
		&workflowservice.DescribeNamespaceRequest{Namespace: "deploy", Id: "3f0c8f56-5a2c-4a57-9a8b-111111111111"},
		&operatorservice.DeleteNamespaceRequest{Namespace: "deploy", NamespaceId: "3f0c8f56-5a2c-4a57-9a8b-111111111111"},
	} {
		_, err := k.Admit(t.Context(), k.call("DescribeNamespace", req, carol))
		if d := denial(t, err); d.Code != "bad_request" {
			t.Errorf("%T: %v", req, err)
		}
	}
	_, err := k.Admit(t.Context(), k.call("DescribeNamespace", &workflowservice.DescribeNamespaceRequest{Id: "3f0c8f56-5a2c-4a57-9a8b-111111111111"}, carol))
	if d := denial(t, err); d.Code != "no_permission" {
		t.Errorf("by id alone: %v", err)
	}
}

// What a start sets reaches policies and the audit log.
func TestResourcesCarryWhatAStartSets(t *testing.T) {
	k := newKit(t, "")
	text := func(v string) *commonpb.Payload {
		return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte("Double")}, Data: []byte(v)}
	}
	attributes := &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
		"env": text(` "prod" `), "n": text("9007199254740993"), "ok": text("true"), "tags": text(`["a","b"]`), "ratio": text("0.5"), "long": text(`"` + strings.Repeat("x", 300) + `"`),
		"broken": text(`"prod" "dev"`), "secret": {Metadata: map[string][]byte{"encoding": []byte("binary/encrypted")}, Data: []byte(`"prod"`)},
	}}
	want := []string{"broken", "env", "env=prod", "long", "n", "n=9007199254740993", "ok", "ok=true", "ratio", "secret", "tags", "tags=a", "tags=b"}
	pinned := &workflowpb.VersioningOverride{Override: &workflowpb.VersioningOverride_Pinned{Pinned: &workflowpb.VersioningOverride_PinnedOverride{
		Version: &deploymentpb.WorkerDeploymentVersion{DeploymentName: "ship", BuildId: "7"},
	}}}
	start := startRequest()
	start.CronSchedule, start.SearchAttributes, start.VersioningOverride = "@hourly", attributes, pinned
	scheduled := &workflowpb.NewWorkflowExecutionInfo{WorkflowType: start.WorkflowType, TaskQueue: start.TaskQueue, CronSchedule: "@hourly", SearchAttributes: attributes, VersioningOverride: pinned}
	for method, req := range map[string]any{
		"StartWorkflowExecution": start,
		"SignalWithStartWorkflowExecution": &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: "deploy", WorkflowType: start.WorkflowType, TaskQueue: start.TaskQueue,
			CronSchedule: "@hourly", SearchAttributes: attributes, VersioningOverride: pinned},
		"CreateSchedule": &workflowservice.CreateScheduleRequest{Namespace: "deploy", ScheduleId: "s", Schedule: &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{
			Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: scheduled}}}},
	} {
		if _, err := k.Admit(t.Context(), k.call(method, req, k.alice())); err != nil {
			t.Fatal(err)
		}
		e := k.log.last(t)
		r := e.Resource
		if len(e.Acts) > 0 {
			r = e.Acts[0].Resource
		}
		if r.Cron != "@hourly" || r.Versioning != "pinned:ship.7" || r.WorkflowType != "deploy" || r.TaskQueue != "deploy" || !slices.Equal(r.SearchAttributes, want) {
			t.Errorf("%s: %+v", method, r)
		}
		if _, err := e.Marshal(); err != nil {
			t.Error(err)
		}
	}
	for want, o := range map[string]*workflowpb.VersioningOverride{
		"auto_upgrade":    {Override: &workflowpb.VersioningOverride_AutoUpgrade{AutoUpgrade: true}},
		"one_time:ship.8": {Override: &workflowpb.VersioningOverride_OneTime{OneTime: &workflowpb.VersioningOverride_OneTimeOverride{TargetDeploymentVersion: &deploymentpb.WorkerDeploymentVersion{DeploymentName: "ship", BuildId: "8"}}}},
		"pinned:ship.6":   {Behavior: enumspb.VERSIONING_BEHAVIOR_PINNED, PinnedVersion: "ship.6"},
		"pinned:old.5":    {Behavior: enumspb.VERSIONING_BEHAVIOR_PINNED, Deployment: &deploymentpb.Deployment{SeriesName: "old", BuildId: "5"}},
		"pinned:":         {Override: &workflowpb.VersioningOverride_Pinned{Pinned: &workflowpb.VersioningOverride_PinnedOverride{}}},
	} {
		req := &workflowservice.UpdateWorkflowExecutionOptionsRequest{Namespace: "deploy", WorkflowExecutionOptions: &workflowpb.WorkflowExecutionOptions{VersioningOverride: o}}
		if _, err := k.Admit(t.Context(), k.call("UpdateWorkflowExecutionOptions", req, k.alice())); err != nil {
			t.Fatal(err)
		}
		if got := k.log.last(t).Resource.Versioning; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Names that nothing can have must not keep a refusal, or a read, out of the audit log.
func TestOverlongNamesAreRefused(t *testing.T) {
	k := newKit(t, "")
	req := &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "deploy", Execution: &commonpb.WorkflowExecution{WorkflowId: strings.Repeat("x", 100_000)}}
	_, err := k.Admit(t.Context(), k.call("DescribeWorkflowExecution", req, k.alice()))
	if d := denial(t, err); d.Code != "bad_request" || len(d.Message) > 200 {
		t.Errorf("got %.300v", err)
	}
	if _, err := k.log.last(t).Marshal(); err != nil {
		t.Error(err)
	}
}
