package inflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// Names that the gate sets on what it lets start (docs/attestation.md). Clients can't.
const (
	headerKey       = "bailiwick-attestation"
	fieldOriginator = "BailiwickOriginator"
	fieldActor      = "BailiwickActor"
)

const (
	pageSize = 200
	maxPages = 10 // that one activity reads: many hold nothing of the person's
)

// Lists of a namespace, in the order in which they are read.
const (
	listNamed     = "" // runs by the gate's search attributes
	listOpen      = "open"
	listSchedules = "schedules"
	listEnd       = "end"
)

// Place is how far a namespace is read. The zero Place is the beginning.
type Place struct {
	List string `json:"list,omitempty"`
	Page []byte `json:"page,omitempty"` // Temporal's token: what ends or changes meanwhile moves nothing else
}

// Found is a part of what somebody has under way in a namespace, and where the rest begins.
type Found struct {
	Targets []Target `json:"targets,omitempty"`
	Next    Place    `json:"next"`
}

// namespaces lists those in which people have runs.
func (s *Service) namespaces(ctx context.Context) (out []string, err error) {
	c, err := s.temporal()
	if err != nil {
		return nil, err
	}
	ctx = s.cfg.Reason(ctx, "looking for runs of who lost access")
	for page := []byte(nil); ; {
		r, err := c.WorkflowService().ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{PageSize: pageSize, NextPageToken: page})
		if err != nil {
			return nil, fmt.Errorf("listing namespaces: %w", err)
		}
		for _, n := range r.GetNamespaces() {
			info := n.GetNamespaceInfo()
			if name := info.GetName(); name != s.cfg.Namespace && name != "temporal-system" && info.GetState() != enumspb.NAMESPACE_STATE_DELETED {
				out = append(out, name)
			}
		}
		if page = r.GetNextPageToken(); len(page) == 0 {
			return out, nil
		}
	}
}

// find lists what somebody has under way in a namespace, from a place on: open runs that they began or act in, and schedules. The search attribute
// says where to look and proves nothing; that it is theirs, the statement in the first event says.
func (s *Service) find(ctx context.Context, namespace string, l revocation.Loss, from Place) (f Found, err error) {
	c, err := s.temporal()
	if err != nil {
		return f, err
	}
	ctx = s.cfg.Reason(ctx, "looking for runs of who lost access")
	f.Next = from
	for range maxPages {
		list, what := s.runs, "runs"
		if f.Next.List == listSchedules {
			list, what = s.schedules, "schedules"
		}
		targets, next, err := list(ctx, c.WorkflowService(), namespace, l, f.Next)
		if err != nil {
			return Found{}, fmt.Errorf("listing %s in %s: %w", what, namespace, err)
		}
		f.Targets, f.Next = append(f.Targets, targets...), next
		if next.List == listEnd || len(f.Targets) >= pageSize {
			break
		}
	}
	return f, nil
}

// called is what the gate calls the person in search attributes.
func called(l *revocation.Loss) []string {
	_, id, _ := strings.Cut(l.Principal, "|")
	if l.Login == "" || l.Login == id {
		return []string{id}
	}
	return []string{l.Login, id}
}

// Literal is a text as a value in a visibility query of Temporal's.
func Literal(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", `\'`) + "'"
}

func (s *Service) runs(ctx context.Context, service workflowservice.WorkflowServiceClient, namespace string, l revocation.Loss, from Place) (out []Target, next Place, err error) {
	query := "ExecutionStatus IN ('Running', 'Paused')"
	if from.List == listNamed {
		var terms []string
		for _, name := range called(&l) {
			for _, field := range []string{fieldOriginator, fieldActor} {
				terms = append(terms, field+" = "+Literal(name))
			}
		}
		query = "(" + strings.Join(terms, " OR ") + ") AND " + query
	}
	r, err := service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace, PageSize: pageSize, NextPageToken: from.Page, Query: query})
	var invalid *serviceerror.InvalidArgument
	if from.List == listNamed && errors.As(err, &invalid) {
		// The namespace does not have the search attributes: the gate sets them as memo, which has to be looked at run by run.
		return s.runs(ctx, service, namespace, l, Place{List: listOpen})
	}
	if err != nil {
		return nil, from, err
	}
	for _, run := range r.GetExecutions() {
		if !named(run, &l) {
			continue
		}
		theirs, err := s.began(ctx, service, namespace, run.GetExecution(), l.Principal)
		if err != nil {
			return nil, from, err
		}
		if theirs {
			out = append(out, Target{Namespace: namespace, WorkflowID: run.GetExecution().GetWorkflowId(), RunID: run.GetExecution().GetRunId(), Type: run.GetType().GetName()})
		}
	}
	if page := r.GetNextPageToken(); len(page) > 0 {
		return out, Place{from.List, page}, nil
	}
	return out, Place{List: listSchedules}, nil
}

// named reports whether the gate's search attributes or memo of a run name the person.
func named(run *workflowpb.WorkflowExecutionInfo, l *revocation.Loss) bool {
	for _, fields := range []map[string]*commonpb.Payload{run.GetSearchAttributes().GetIndexedFields(), run.GetMemo().GetFields()} {
		for _, field := range []string{fieldOriginator, fieldActor} {
			var text string
			if json.Unmarshal(fields[field].GetData(), &text) != nil {
				continue
			}
			for _, name := range called(l) {
				if strings.EqualFold(text, name) {
					return true
				}
			}
		}
	}
	return false
}

// began reads a run's first event and verifies whose it is.
func (s *Service) began(ctx context.Context, service workflowservice.WorkflowServiceClient, namespace string, run *commonpb.WorkflowExecution, principal string) (bool, error) {
	r, err := service.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: namespace, Execution: run, MaximumPageSize: 1})
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading how run %s came to be: %w", run.GetWorkflowId(), err)
	}
	events := r.GetHistory().GetEvents()
	if len(events) == 0 {
		return false, nil
	}
	return s.states(ctx, events[0].GetWorkflowExecutionStartedEventAttributes().GetHeader(), principal, run.GetWorkflowId())
}

// states reports whether the statement in a header names the principal. What can't be verified is nobody's: it is left to workers, and told.
func (s *Service) states(ctx context.Context, h *commonpb.Header, principal, what string) (bool, error) {
	payload, ok := h.GetFields()[headerKey]
	if !ok {
		return false, nil
	}
	parties, err := s.cfg.Parties(ctx, payload)
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "a run that may be of somebody who lost access has a statement that does not verify", "of", what, "error", err)
		return false, nil
	}
	for _, p := range parties {
		if p == principal {
			return true, nil
		}
	}
	return false, nil
}

func (s *Service) schedules(ctx context.Context, service workflowservice.WorkflowServiceClient, namespace string, l revocation.Loss, from Place) (out []Target, next Place, err error) {
	r, err := service.ListSchedules(ctx, &workflowservice.ListSchedulesRequest{Namespace: namespace, MaximumPageSize: pageSize, NextPageToken: from.Page})
	if err != nil {
		return nil, from, err
	}
	for _, entry := range r.GetSchedules() {
		d, err := service.DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: namespace, ScheduleId: entry.GetScheduleId()})
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) {
			continue
		}
		if err != nil {
			return nil, from, err
		}
		start := d.GetSchedule().GetAction().GetStartWorkflow()
		theirs, err := s.states(ctx, start.GetHeader(), l.Principal, entry.GetScheduleId())
		if err != nil {
			return nil, from, err
		}
		if theirs {
			out = append(out, Target{Namespace: namespace, Schedule: entry.GetScheduleId(), Type: start.GetWorkflowType().GetName()})
		}
	}
	if page := r.GetNextPageToken(); len(page) > 0 {
		return out, Place{from.List, page}, nil
	}
	return out, Place{List: listEnd}, nil
}
