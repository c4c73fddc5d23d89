// Package inflight acts on what people have under way when they lose access: open runs are left to their workers, paused, cancelled or terminated,
// and schedules are paused, as in-flight.yaml says; a new owner may be asked for, and what somebody took over is left alone. When somebody is back, what was paused here, and nothing else, goes on.
//
// It owns the rules, and the workflow that does it: durable, in Bailiwick's own namespace, one for each person who lost access. It refuses to know who
// lost it and why (package revocation does), how a run's statement is verified, and what policy lets its worker do: its calls go through the gate
// like everybody's.
//
// Follow a loss: workflow.go (the order of deeds) → find.go (what the person has under way) →
// act.go (what touches it). next.go: what one run of the workflow leaves to the next.
package inflight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/revocation"
)

// WorkflowName is the workflow's type.
const WorkflowName = "bailiwick.revocation.in-flight"

// Names of the activities.
const (
	actNamespaces = "bailiwick.revocation.namespaces"
	actFind       = "bailiwick.revocation.find"
	actAct        = "bailiwick.revocation.act"
	actRecord     = "bailiwick.revocation.record"
)

// Recorder keeps the record; control.Plane does. An entry of the same id twice is one event told twice.
type Recorder interface {
	Record(ctx context.Context, e audit.Entry) (id string, err error)
}

// Config says what it works with. All but Logger are required.
type Config struct {
	File      string   // in-flight.yaml; read anew for each loss. Without the file everything has its default
	Namespace string   // of Bailiwick's own workflows, which are nobody's
	TaskQueue string   // of the worker that runs them
	Recorder  Recorder // of what is done

	// Parties verifies the statement in a header field of a run's or schedule's start, and names the principals of its originator and actor.
	Parties func(ctx context.Context, p *commonpb.Payload) (principals []string, err error)
	// Owner names whoever took over a run that somebody began who lost access since (former); "": nobody did.
	Owner func(ctx context.Context, service workflowservice.WorkflowServiceClient, t Target, former string) (owner string, err error)
	// Reason puts the reason of a call where the gate finds it.
	Reason func(ctx context.Context, text string) context.Context

	Logger *slog.Logger // default discards
}

// Service acts on runs. It works as soon as Connect was called; until then it says that it can't, and is asked again.
type Service struct {
	cfg    Config
	client atomic.Pointer[client.Client]
}

// New makes a service. A file that can't be read is an error now, and later keeps the rules as they were.
func New(cfg Config) (*Service, error) {
	if cfg.Namespace == "" || cfg.TaskQueue == "" || cfg.Recorder == nil || cfg.Parties == nil || cfg.Owner == nil || cfg.Reason == nil {
		return nil, errors.New("making the service for runs in flight: Namespace, TaskQueue, Recorder, Parties, Owner and Reason are all required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if _, err := LoadRules(cfg.File); err != nil {
		return nil, err
	}
	return &Service{cfg: cfg}, nil
}

// Connect gives the service its client of Temporal, in the namespace of Bailiwick's own workflows, with rights to act in the others.
func (s *Service) Connect(c client.Client) { s.client.Store(&c) }

var errNotConnected = errors.New("the client of Temporal is not connected yet")

func (s *Service) temporal() (client.Client, error) {
	if c := s.client.Load(); c != nil {
		return *c, nil
	}
	return nil, errNotConnected
}

// Registry is a worker, or a test's.
type Registry interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
	RegisterActivityWithOptions(a any, o activity.RegisterOptions)
}

// Register gives a worker the workflow and its activities.
func (s *Service) Register(w Registry) {
	w.RegisterWorkflowWithOptions(Workflow, workflow.RegisterOptions{Name: WorkflowName})
	for name, f := range map[string]any{actNamespaces: s.namespaces, actFind: s.find, actAct: s.act, actRecord: s.record} {
		w.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
}

// Lost sets to work on what somebody has under way. Told twice, it is done once.
func (s *Service) Lost(ctx context.Context, l revocation.Loss) error {
	rules, err := LoadRules(s.cfg.File)
	if err != nil { // somebody is changing it; what is to be done is not known, so it waits
		return err
	}
	if !rules.concern(l.Reason) {
		return nil
	}
	return s.tell(ctx, change{Loss: l})
}

// Restored lets go on what was paused for somebody who is back.
func (s *Service) Restored(ctx context.Context, l revocation.Loss) error {
	return s.tell(ctx, change{Loss: l, Back: true})
}

func (s *Service) tell(ctx context.Context, news change) error {
	l := news.Loss
	c, err := s.temporal()
	if err != nil {
		return err
	}
	ctx = s.cfg.Reason(ctx, "who lost access: "+l.Reason)
	_, err = c.SignalWithStartWorkflow(ctx, workflowID(l.Principal), signalChange, news, client.StartWorkflowOptions{
		ID: workflowID(l.Principal), TaskQueue: s.cfg.TaskQueue, StaticSummary: "runs and schedules of " + l.Login,
	}, WorkflowName, Case{Version: caseVersion, Principal: l.Principal})
	if err != nil {
		return fmt.Errorf("telling of somebody's runs: %w", err)
	}
	return nil
}

func (s *Service) record(ctx context.Context, e audit.Entry) error {
	_, err := s.cfg.Recorder.Record(ctx, e)
	return err
}
