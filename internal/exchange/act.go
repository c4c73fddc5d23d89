package exchange

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	updatepb "go.temporal.io/api/update/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// DetailsType is the type of the one element of authorization_details (RFC 9396).
const DetailsType = "temporal_act"

// DigestKey is the header field of the request that is asked about which holds the caller's own digest of the request that it will send, so
// that the statement's request digest commits to it.
const DigestKey = "bailiwick-request-digest"

const (
	service  = "/temporal.api.workflowservice.v1.WorkflowService/"
	maxField = 1000 // bytes; Temporal's own limit for ids
)

// act describes one act on Temporal.
type act struct {
	Type          string      `json:"type"`
	Edge          attest.Edge `json:"edge"` // start (with name: signal-with-start), signal, update, query, schedule, activity
	Namespace     string      `json:"namespace"`
	WorkflowID    string      `json:"workflow_id"`
	RunID         string      `json:"run_id"`
	WorkflowType  string      `json:"workflow_type"`
	TaskQueue     string      `json:"task_queue"`
	Name          string      `json:"name"` // of a signal, update or query; type of an activity
	ScheduleID    string      `json:"schedule_id"`
	Change        bool        `json:"change"` // of an existing schedule
	ActivityID    string      `json:"activity_id"`
	Cron          string      `json:"cron"`
	RequestDigest string      `json:"request_digest"` // SHA-256 (hex) of the request that the caller will send
	Reason        string      `json:"reason"`
	Grant         string      `json:"grant"`
}

// parseAct reads authorization_details: a JSON array of exactly one act, without members that this code does not know.
func parseAct(text string) (act, error) {
	if text == "" {
		return act{}, errors.New("there are no authorization_details; describe the act")
	}
	var list []act
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		return act{}, errors.New("authorization_details is not a JSON array of the known members: " + clip(err.Error()))
	}
	if dec.More() || len(list) != 1 {
		return act{}, errors.New("authorization_details must hold exactly one act")
	}
	a := list[0]
	if err := a.check(); err != nil {
		return act{}, fmt.Errorf("authorization_details: %w", err)
	}
	return a, nil
}

func (a *act) check() error {
	if a.Type != DetailsType {
		return fmt.Errorf("the type must be %q", DetailsType)
	}
	for name, text := range map[string]string{
		"namespace": a.Namespace, "workflow_id": a.WorkflowID, "run_id": a.RunID, "workflow_type": a.WorkflowType, "task_queue": a.TaskQueue,
		"name": a.Name, "schedule_id": a.ScheduleID, "activity_id": a.ActivityID, "cron": a.Cron,
	} {
		if len(text) > maxField || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%s is over %d bytes, or no plain text", name, maxField)
		}
	}
	if a.RequestDigest != "" {
		if sum, err := hex.DecodeString(a.RequestDigest); err != nil || len(sum) != 32 || a.RequestDigest != strings.ToLower(a.RequestDigest) {
			return errors.New("request_digest is not a SHA-256 in lower-case hex")
		}
	}
	var need map[string]string
	switch a.Edge {
	case attest.EdgeStart:
		need = map[string]string{"workflow_id": a.WorkflowID, "workflow_type": a.WorkflowType, "task_queue": a.TaskQueue}
	case attest.EdgeSignal, attest.EdgeUpdate, attest.EdgeQuery:
		need = map[string]string{"workflow_id": a.WorkflowID, "name": a.Name}
	case attest.EdgeSchedule:
		need = map[string]string{"schedule_id": a.ScheduleID, "workflow_id": a.WorkflowID, "workflow_type": a.WorkflowType, "task_queue": a.TaskQueue}
	case attest.EdgeActivity:
		need = map[string]string{"activity_id": a.ActivityID, "name": a.Name, "task_queue": a.TaskQueue}
	default:
		return fmt.Errorf("the edge %q is not one of start, signal, update, query, schedule, activity", clip(string(a.Edge)))
	}
	if a.Namespace == "" {
		return errors.New("namespace is empty")
	}
	for name, text := range need {
		if text == "" {
			return fmt.Errorf("%s is empty, which a %s needs", name, a.Edge)
		}
	}
	return nil
}

// request is the Temporal request that the act is, as far as it was described, and where its header will be.
func (a *act) request() (method string, request any, header headerOf) {
	h := a.header()
	workflowType, queue := &commonpb.WorkflowType{Name: a.WorkflowType}, &taskqueuepb.TaskQueue{Name: a.TaskQueue}
	run := &commonpb.WorkflowExecution{WorkflowId: a.WorkflowID, RunId: a.RunID}
	switch a.Edge {
	case attest.EdgeStart:
		if a.Name != "" {
			r := &workflowservice.SignalWithStartWorkflowExecutionRequest{Namespace: a.Namespace, WorkflowId: a.WorkflowID, WorkflowType: workflowType, TaskQueue: queue,
				SignalName: a.Name, CronSchedule: a.Cron, Header: h}
			return service + "SignalWithStartWorkflowExecution", r, r.GetHeader
		}
		r := &workflowservice.StartWorkflowExecutionRequest{Namespace: a.Namespace, WorkflowId: a.WorkflowID, WorkflowType: workflowType, TaskQueue: queue, CronSchedule: a.Cron, Header: h}
		return service + "StartWorkflowExecution", r, r.GetHeader
	case attest.EdgeSignal:
		r := &workflowservice.SignalWorkflowExecutionRequest{Namespace: a.Namespace, WorkflowExecution: run, SignalName: a.Name, Header: h}
		return service + "SignalWorkflowExecution", r, r.GetHeader
	case attest.EdgeUpdate:
		r := &workflowservice.UpdateWorkflowExecutionRequest{Namespace: a.Namespace, WorkflowExecution: run,
			Request: &updatepb.Request{Input: &updatepb.Input{Name: a.Name, Header: h}}}
		return service + "UpdateWorkflowExecution", r, r.Request.Input.GetHeader
	case attest.EdgeQuery:
		r := &workflowservice.QueryWorkflowRequest{Namespace: a.Namespace, Execution: run, Query: &querypb.WorkflowQuery{QueryType: a.Name, Header: h}}
		return service + "QueryWorkflow", r, r.Query.GetHeader
	case attest.EdgeSchedule:
		start := &workflowpb.NewWorkflowExecutionInfo{WorkflowId: a.WorkflowID, WorkflowType: workflowType, TaskQueue: queue, Header: h}
		schedule := &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{Action: &schedulepb.ScheduleAction_StartWorkflow{StartWorkflow: start}}}
		if a.Change {
			return service + "UpdateSchedule", &workflowservice.UpdateScheduleRequest{Namespace: a.Namespace, ScheduleId: a.ScheduleID, Schedule: schedule}, start.GetHeader
		}
		return service + "CreateSchedule", &workflowservice.CreateScheduleRequest{Namespace: a.Namespace, ScheduleId: a.ScheduleID, Schedule: schedule}, start.GetHeader
	default: // activity: check knows the edges
		r := &workflowservice.StartActivityExecutionRequest{Namespace: a.Namespace, ActivityId: a.ActivityID, ActivityType: &commonpb.ActivityType{Name: a.Name}, TaskQueue: queue, Header: h}
		return service + "StartActivityExecution", r, r.GetHeader
	}
}

// headerOf reads the header of a request after the gate has stamped it.
type headerOf func() *commonpb.Header

func (a *act) header() *commonpb.Header {
	h := &commonpb.Header{Fields: map[string]*commonpb.Payload{}}
	if a.RequestDigest != "" {
		h.Fields[DigestKey] = &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"` + a.RequestDigest + `"`)}
	}
	return h
}

func clip(s string) string {
	if len(s) > 100 {
		s = s[:100]
	}
	return strings.ToValidUTF8(s, "")
}
