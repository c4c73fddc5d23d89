package gate

import (
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// scheduleAsks adds the start that a schedule will perform in the name of whoever creates, changes or triggers it. Patching names a schedule
// without its action, so what it starts is not known.
func scheduleAsks(out []ask, request any) ([]ask, error) {
	own := &out[0].resource
	unknown := ask{action: "StartWorkflowExecution", resource: policy.Resource{Namespace: own.Namespace, ScheduleID: own.ScheduleID, Unresolved: true}}
	switch req := request.(type) {
	case *workflowservice.PatchScheduleRequest:
		if starts(req.GetPatch()) {
			out = append(out, unknown)
		}
	case *workflowservice.CreateScheduleRequest:
		return scheduledStart(out, unknown, req.GetSchedule().GetAction())
	case *workflowservice.UpdateScheduleRequest:
		return scheduledStart(out, unknown, req.GetSchedule().GetAction())
	}
	return out, nil
}

func scheduledStart(out []ask, unknown ask, action *schedulepb.ScheduleAction) ([]ask, error) {
	start := action.GetStartWorkflow()
	if start == nil {
		if action.GetAction() != nil {
			return nil, unknownOperation("the schedule", action.GetAction())
		}
		return append(out, unknown), nil
	}
	r := policy.Resource{Namespace: unknown.resource.Namespace, ScheduleID: unknown.resource.ScheduleID}
	describeStart(&r, start)
	r.Versioning = versioning(start.GetVersioningOverride())
	return append(out, ask{action: "StartWorkflowExecution", resource: r}), nil
}

// starts reports whether a patch makes the schedule act now.
func starts(p *schedulepb.SchedulePatch) bool {
	return p.GetTriggerImmediately() != nil || len(p.GetBackfillRequest()) > 0
}
