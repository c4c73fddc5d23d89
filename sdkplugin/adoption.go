package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"google.golang.org/grpc"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Histories reads runs' histories; a workflowservice.WorkflowServiceClient does.
type Histories interface {
	GetWorkflowExecutionHistory(ctx context.Context, in *workflowservice.GetWorkflowExecutionHistoryRequest, opts ...grpc.CallOption) (*workflowservice.GetWorkflowExecutionHistoryResponse, error)
}

const (
	maxAncestors = 32               // runs that are looked at for one: those it continues, its parent and theirs
	ownerWait    = 10 * time.Second // for all of them
	ownerKeep    = 5 * time.Second  // an answer is used for
	maxOwners    = 1024             // answers kept
)

// RunOwner finds who took a run over: the latest adoption in its history, else in that of the run it continues, else in its parent's. What does not
// verify, is about another run or is by one of former, who began it, counts for nothing. ok is false when nobody did. Histories that are gone or
// may not be read end the search; any other failure to read is the error.
//
// It reads histories as a whole: call it for runs of people who lost access.
func RunOwner(ctx context.Context, h Histories, verify func(raw string) (attest.Verified, error), of attest.Run, former ...string) (owner attest.Verified, ok bool, err error) {
	for range maxAncestors {
		began, adoptions, err := readAdoptions(ctx, h, of)
		var gone *serviceerror.NotFound
		var denied *serviceerror.PermissionDenied
		if errors.As(err, &gone) || errors.As(err, &denied) {
			return attest.Verified{}, false, nil
		}
		if err != nil {
			return attest.Verified{}, false, err
		}
		of.FirstRunID, of.ContinuedRunID, of.OriginalRunID = began.GetFirstExecutionRunId(), began.GetContinuedExecutionRunId(), began.GetOriginalExecutionRunId()
		for i := len(adoptions) - 1; i >= 0; i-- {
			raw, _ := attest.FromPayload(adoptions[i])
			if v, err := verify(raw); err == nil && v.CheckAdoption(of, former...) == nil {
				return v, true, nil
			}
		}
		parent := began.GetParentWorkflowExecution()
		switch {
		case of.ContinuedRunID != "":
			of = attest.Run{Namespace: of.Namespace, WorkflowID: of.WorkflowID, RunID: of.ContinuedRunID}
		case parent.GetWorkflowId() != "":
			namespace := began.GetParentWorkflowNamespace()
			if namespace == "" {
				namespace = of.Namespace
			}
			of = attest.Run{Namespace: namespace, WorkflowID: parent.GetWorkflowId(), RunID: parent.GetRunId()}
		default:
			return attest.Verified{}, false, nil
		}
	}
	return attest.Verified{}, false, nil
}

// readAdoptions returns a run's first event, and what came with the signals that take it over, oldest first.
func readAdoptions(ctx context.Context, h Histories, of attest.Run) (began *historypb.WorkflowExecutionStartedEventAttributes, adoptions []*commonpb.Payload, err error) {
	req := &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: of.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: of.WorkflowID, RunId: of.RunID}}
	for {
		page, err := h.GetWorkflowExecutionHistory(ctx, req)
		if err != nil {
			return nil, nil, fmt.Errorf("reading who answers for run %s: %w", of.RunID, err)
		}
		for _, e := range page.GetHistory().GetEvents() {
			if s := e.GetWorkflowExecutionStartedEventAttributes(); s != nil {
				began = s
			}
			if s := e.GetWorkflowExecutionSignaledEventAttributes(); s.GetSignalName() == attest.AdoptSignal {
				adoptions = append(adoptions, s.GetHeader().GetFields()[attest.HeaderKey])
			}
		}
		if req.NextPageToken = page.GetNextPageToken(); len(req.NextPageToken) == 0 {
			return began, adoptions, nil
		}
	}
}

// owners remembers for a moment who answers for runs, because one run's activities ask again at once.
type owners struct {
	mu    sync.Mutex // covers known
	known map[string]ownerAnswer
}

type ownerAnswer struct {
	owner attest.Verified
	ok    bool
	until time.Time
}

func (o *owners) of(runID string, now time.Time) (ownerAnswer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.known[runID]
	return a, ok && now.Before(a.until)
}

func (o *owners) learn(runID string, a ownerAnswer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || len(o.known) >= maxOwners {
		o.known = map[string]ownerAnswer{}
	}
	o.known[runID] = a
}

// answeredFor judges a run whose originator or actor lost access by whoever took it over since. v is what stops it, and is what stops it still when
// nobody did; nil and the info that names them: it goes on.
func (p *Plugin) answeredFor(ctx context.Context, run attest.Run, info Info, v *Violation) (Info, *Violation) {
	if v.Code != ForbiddenRevoked || run.WorkflowID == "" || run.RunID == "" {
		return info, v
	}
	now := p.now()
	found, known := p.owners.of(run.RunID, now)
	if !known {
		h := p.opts.Histories
		if h == nil {
			h = activity.GetClient(ctx).WorkflowService()
		}
		former := []string{info.Originator.Principal, info.Actor.Principal}
		for _, party := range info.Statement.Chain {
			former = append(former, party.Principal)
		}
		verify := func(raw string) (attest.Verified, error) {
			v, err := p.keys.current().Verify(raw, p.opts.Audience)
			if keyUnknown(err) {
				p.keys.fetchMissing(ctx)
				v, err = p.keys.current().Verify(raw, p.opts.Audience)
			}
			return v, err
		}
		wait, cancel := context.WithTimeout(ctx, ownerWait)
		defer cancel()
		var err error
		if found.owner, found.ok, err = RunOwner(wait, h, verify, attest.Run{Namespace: run.Namespace, WorkflowID: run.WorkflowID, RunID: run.RunID}, former...); err != nil {
			p.log.WarnContext(ctx, "holding what runs for somebody who lost access until it can be read whether somebody took it over", "run_id", run.RunID, "error", err)
			return info, &Violation{Code: ForbiddenStandingUnknown, Detail: "access was revoked, and whether somebody took the run over is not known now", Fix: "wait; if it stays so, look at the worker's way to Temporal"}
		}
		found.until = now.Add(ownerKeep)
		p.owners.learn(run.RunID, found)
	}
	if !found.ok {
		return info, v
	}
	owner := verifiedInfo(found.owner.Statement())
	if still := p.revoked(ctx, owner); still != nil {
		return info, still
	}
	info.Owner = owner.Originator
	return info, nil
}
