package rotation

import (
	"context"
	"errors"
	"net/http"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// maxListed bounds a list of rotations.
const maxListed = 200

// errUnavailable means that rotations can't be reached now.
var errUnavailable = &Refusal{Status: http.StatusServiceUnavailable, Code: "rotations_unavailable", Detail: "Temporal, which keeps rotations, does not answer", Next: "try again in a moment; a rotation under way goes on by itself"}

func (s *Service) temporal() (client.Client, error) {
	if c := s.client.Load(); c != nil {
		return *c, nil
	}
	return nil, errUnavailable
}

// Start begins a rotation. One of the same target that runs is a *Refusal.
func (s *Service) Start(ctx context.Context, p Params) (r Rotation, err error) {
	t, err := s.temporal()
	if err != nil {
		return r, err
	}
	run, err := t.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: WorkflowID(p.Use, p.Target), TaskQueue: TaskQueue, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary: "key of " + string(p.Use) + " " + p.Target,
	}, WorkflowName, p)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return r, &Refusal{Status: http.StatusConflict, Code: "rotation_running", Detail: "a rotation of " + string(p.Use) + " " + p.Target + " is under way", Next: "bailiwick keys status shows how far it is"}
	}
	if err != nil {
		return r, s.down(ctx, err)
	}
	if r, err = s.Get(ctx, p.Use, p.Target); err != nil { // it is begun; only its state can't be told yet
		r = Rotation{Version: Version, ID: run.GetRunID(), Use: p.Use, Target: p.Target, State: Running, By: p.By, Reason: p.Reason, Steps: []Step{}, Began: s.cfg.Clock()}
	}
	return r, nil
}

// Get reads the last rotation of a target as it is now.
func (s *Service) Get(ctx context.Context, use Use, target string) (r Rotation, err error) {
	t, err := s.temporal()
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v, err := t.QueryWorkflow(ctx, WorkflowID(use, target), "", queryState)
	if err == nil {
		err = v.Get(&r)
	}
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		return r, &Refusal{Status: http.StatusNotFound, Code: "rotation_unknown", Detail: "no rotation of " + string(use) + " " + target + " is kept", Next: "bailiwick keys history shows those on record"}
	case err != nil:
		return r, s.down(ctx, err)
	}
	if r.State == Running {
		r.Waiting = s.noted(r.ID)
	}
	return r, nil
}

// List reads rotations, newest first, as they began or ended.
func (s *Service) List(ctx context.Context, limit int) ([]Rotation, error) {
	t, err := s.temporal()
	if err != nil {
		return nil, err
	}
	res, err := t.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: Namespace, PageSize: int32(limit), Query: "WorkflowType = '" + WorkflowName + "'"})
	if err != nil {
		return nil, s.down(ctx, err)
	}
	out := []Rotation{}
	for _, e := range res.GetExecutions() {
		var r Rotation
		if p := e.GetMemo().GetFields()[memoKey]; p != nil && converter.GetDefaultDataConverter().FromPayload(p, &r) == nil && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *Service) down(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return err
	}
	s.cfg.Logger.ErrorContext(ctx, "Temporal did not do what rotations need", "error", err)
	return errUnavailable
}
