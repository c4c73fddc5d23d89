package sdkplugin

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/bailiwick-dev/bailiwick/txntoken"
)

// TransactionToken mints a Transaction Token for an activity's outbound calls, for the given scopes (at least one, all of the minter's). Its txn is
// the run's id, so that every call of one run, in whatever activity and attempt, belongs together; its sub is who the run's attestation
// names as the originator; its tctx names the run, the current actor and the decision. Get one for each call: it lives for minutes.
//
// The worker makes this statement with its own key, Options.TransactionTokens. Whoever accepts the token trusts that worker to speak for everybody
// whose runs it executes: the token proves that the worker said so, and the decision id in tctx lets the audit log confirm that the run was
// allowed.
//
// The error is a non-retryable application error when the run has no verified attestation, in both modes.
func TransactionToken(ctx context.Context, scope ...string) (string, error) {
	p, ok := ctx.Value(pluginKey).(*Plugin)
	if !ok {
		return "", errors.New("minting transaction token: this is not an activity of a worker with the Bailiwick plugin")
	}
	if p.opts.TransactionTokens == nil {
		return "", errors.New("minting transaction token: set Options.TransactionTokens of the Bailiwick plugin")
	}
	info, _ := FromContext(ctx)
	if !info.Verified {
		return "", forbidden(&Violation{Code: ForbiddenUnattested, Detail: "nobody is known on whose behalf to call", Fix: "start the run through a Bailiwick gate"})
	}
	about := activity.GetInfo(ctx)
	run := about.WorkflowExecution.RunID
	if run == "" {
		run = about.ActivityRunID // a standalone activity is a run of its own
	}
	tctx := map[string]any{
		"environment": info.Statement.Audience,
		"namespace":   about.Namespace,
		"run_id":      run,
		"originator":  info.Originator.Principal,
		"actor":       info.Actor.Principal,
		"decision":    info.DecisionID,
	}
	if about.WorkflowExecution.ID != "" {
		tctx["workflow_id"] = about.WorkflowExecution.ID
	}
	if about.WorkflowType != nil && about.WorkflowType.Name != "" {
		tctx["workflow_type"] = about.WorkflowType.Name
	}
	if info.Statement.Grant != "" {
		tctx["grant"] = info.Statement.Grant
	}
	token, err := p.opts.TransactionTokens.Mint(txntoken.Request{
		Transaction: run, Subject: info.Originator.Principal, Scope: scope, Context: tctx,
		Environment: map[string]any{"activity": about.ActivityType.Name, "activity_id": about.ActivityID, "attempt": about.Attempt},
	})
	if err != nil {
		return "", temporal.NewNonRetryableApplicationError(fmt.Sprintf("Bailiwick: %v", err), FailureForbidden, nil)
	}
	return token, nil
}

// TransactionTokens is a txntoken.TransportConfig.Token: an http.Client with that transport sends a fresh token with each request whose context
// is an activity's.
func TransactionTokens(scope ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return TransactionToken(ctx, scope...) }
}
