package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/bailiwick-dev/bailiwick/internal/access"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// arriveWithin is how long a gate may take to hear of a grant.
const arriveWithin = 10 * time.Second

// withAccess starts a workflow; if that is refused for want of a permission and span is not empty, it asks for access to that one workflow for
// so long, waits until others have approved, and starts again.
func (a *app) withAccess(c *cobra.Command, span, namespace, id, reason string, start func() (client.WorkflowRun, error)) (client.WorkflowRun, error) {
	var d time.Duration
	if span != "" {
		var err error
		if d, err = duration(span); err != nil || d < time.Minute {
			return nil, badUsage(c, "--request-access is %q; a duration such as 30m is needed", span)
		}
		if strings.TrimSpace(reason) == "" {
			return nil, badUsage(c, `--request-access needs a --reason "…", which approvers will see`)
		}
	}
	run, err := start()
	if span == "" || !lacksPermission(err) {
		return run, err
	}
	ctx := c.Context()
	asking, err := a.accessClient()
	if err != nil {
		return nil, err
	}
	r, err := asking.Ask(ctx, access.AskBody{Namespace: namespace, Role: "write", WorkflowID: id, Seconds: int64(d / time.Second), Reason: reason}, rand.Text())
	if err != nil {
		return nil, accessFailure(err)
	}
	a.rememberRequests(r)
	fmt.Fprintf(a.errs, "Refused as things are; asked for %s, %s: %s\n", safe(r.Asked.What()), r.Asked.For(), r.Asked.ID)
	if err := a.awaitState(ctx, asking, &r); err != nil {
		return nil, err
	}
	for end := time.Now().Add(arriveWithin); ; {
		run, err = start()
		if !lacksPermission(err) || time.Now().After(end) {
			return run, err
		}
		select { // the grant is on its way to this gate
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func lacksPermission(err error) bool {
	d, refused := denied(err)
	return refused && d.code == string(policy.CodeNoPermission)
}
