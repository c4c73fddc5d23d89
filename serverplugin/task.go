package serverplugin

import (
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/tasktoken"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// taskOf reads the task token of a request, in the server's own form. Nil means that it has none, or one that the server won't read either.
// The bytes of one kind of token can be read as another, so the request's type decides which kind it is, as in the server.
func taskOf(request any) *gate.Task {
	r, ok := request.(interface{ GetTaskToken() []byte })
	if !ok || len(r.GetTaskToken()) == 0 {
		return nil
	}
	tokens, raw := tasktoken.NewSerializer(), r.GetTaskToken()
	switch request.(type) {
	case *workflowservice.RespondQueryTaskCompletedRequest:
		if t, err := tokens.DeserializeQueryTaskToken(raw); err == nil {
			return &gate.Task{TaskQueue: t.GetTaskQueue()}
		}
	case *workflowservice.RespondNexusTaskCompletedRequest, *workflowservice.RespondNexusTaskFailedRequest:
		if t, err := tokens.DeserializeNexusTaskToken(raw); err == nil {
			return &gate.Task{TaskQueue: t.GetTaskQueue()}
		}
	default:
		if t, err := tokens.Deserialize(raw); err == nil {
			return &gate.Task{
				WorkflowID: t.GetWorkflowId(), RunID: t.GetRunId(), ActivityID: t.GetActivityId(), ActivityType: t.GetActivityType(),
				ScheduledEventID: t.GetScheduledEventId(),
			}
		}
	}
	return nil
}
