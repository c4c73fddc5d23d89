package gate

import (
	enumspb "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// scheduleAsks adds what a schedule will do in the name of whoever creates, changes or triggers it: the start, and the end of its own earlier
// runs where it is told not to overlap. Patching names a schedule without its action, so what it starts is not known.
func scheduleAsks(out []ask, request any) ([]ask, error) {
	own := &out[0].resource
	unknown := policy.Resource{Namespace: own.Namespace, ScheduleID: own.ScheduleID, Unresolved: true}
	switch req := request.(type) {
	case *workflowservice.PatchScheduleRequest:
		return patchAsks(out, unknown, req.GetPatch()), nil
	case *workflowservice.CreateScheduleRequest:
		start := unknown
		if info := req.GetSchedule().GetAction().GetStartWorkflow(); info != nil {
			start = startOf(own, info)
		}
		out, err := scheduledStart(out, unknown, req.GetSchedule())
		return patchAsks(overlapping(out, start, req.GetSchedule().GetPolicies().GetOverlapPolicy()), start, req.GetInitialPatch()), err
	case *workflowservice.UpdateScheduleRequest:
		out, err := scheduledStart(out, unknown, req.GetSchedule())
		return overlapping(out, unknown, req.GetSchedule().GetPolicies().GetOverlapPolicy()), err // runs of the former action are not known
	}
	return out, nil
}

func scheduledStart(out []ask, unknown policy.Resource, s *schedulepb.Schedule) ([]ask, error) {
	start := s.GetAction().GetStartWorkflow()
	if start == nil {
		if other := s.GetAction().GetAction(); other != nil {
			return nil, unknownOperation("the schedule", other)
		}
		return append(out, ask{action: "StartWorkflowExecution", resource: unknown}), nil
	}
	r := startOf(&unknown, start)
	out = append(out, ask{action: "StartWorkflowExecution", resource: r})
	return terminating(out, r, start.GetWorkflowIdReusePolicy(), 0), nil
}

func startOf(own *policy.Resource, start *workflowpb.NewWorkflowExecutionInfo) policy.Resource {
	r := policy.Resource{Namespace: own.Namespace, ScheduleID: own.ScheduleID}
	describeStart(&r, start)
	r.Versioning = versioning(start.GetVersioningOverride())
	return r
}

// patchAsks adds what a patch makes the schedule do now.
func patchAsks(out []ask, start policy.Resource, p *schedulepb.SchedulePatch) []ask {
	if trigger := p.GetTriggerImmediately(); trigger != nil {
		out = append(out, ask{action: "StartWorkflowExecution", resource: start})
		out = overlapping(out, start, trigger.GetOverlapPolicy())
	}
	for _, backfill := range p.GetBackfillRequest() {
		out = append(out, ask{action: "StartWorkflowExecution", resource: start})
		out = overlapping(out, start, backfill.GetOverlapPolicy())
	}
	return out
}

// overlapping adds what an overlap policy does to the schedule's earlier runs.
func overlapping(out []ask, runs policy.Resource, p enumspb.ScheduleOverlapPolicy) []ask {
	switch p {
	case enumspb.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER:
		return append(out, ask{action: "TerminateWorkflowExecution", resource: runs})
	case enumspb.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER:
		return append(out, ask{action: "RequestCancelWorkflowExecution", resource: runs})
	}
	return out
}
