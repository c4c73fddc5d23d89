package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/access"
)

func (a *app) accessCommand() *cobra.Command {
	return group("access", "Ask for access for a while, approve, and give it back", `Ask for access that lasts as long as its reason does, approve what others ask for, and see what was done with it.

A request names a namespace and a role, or single actions on one workflow, how long and why. Policy says who may ask, who approves and how many,
and how long at most. Once enough people have approved, every gate honours the grant within a second, until its end, exactly. Every step is in
the audit log, and "bailiwick access show" tells the whole story.`,
		a.accessRequestCommand(), a.accessListCommand(), a.accessShowCommand(), a.accessWatchCommand(),
		a.accessDecideCommand("approve"), a.accessDecideCommand("deny"), a.accessOwnCommand("withdraw"), a.accessOwnCommand("return"), a.accessExtendCommand(),
		a.accessRevokeCommand(), a.accessReviewCommand())
}

// accessClient speaks to the context's control plane as the person logged in.
func (a *app) accessClient() (*access.Client, error) {
	where, err := a.where()
	if err != nil {
		return nil, err
	}
	session, err := a.controlSession(where)
	if err != nil {
		return nil, err
	}
	return &access.Client{URL: where.ControlURL, Token: session.Token}, nil
}

// accessFailure puts the control plane's refusals into the command's own words.
func accessFailure(err error) error {
	var refused *access.Refusal
	if !errors.As(err, &refused) {
		var unreachable *url.Error
		if errors.As(err, &unreachable) && !errors.Is(err, context.Canceled) {
			return &coded{Code: "control_unreachable", Text: "the control plane does not answer: " + unreachable.Err.Error(), Fix: "is `bailiwick dev`, or the control plane, running?"}
		}
		return err
	}
	text := refused.Detail
	if refused.Missing != "" {
		text += "; missing permission: " + refused.Missing
	}
	if refused.Decision != "" {
		text += " (bailiwick audit show " + refused.Decision + ")"
	}
	c := &coded{Code: refused.Code, Text: text, Fix: refused.Next}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		c.exit = exitDenied
	case http.StatusBadRequest:
		c.exit = exitUsage
	}
	return c
}

// scopeFlags say what access is asked for.
type scopeFlags struct {
	namespace, role, workflow, run, workflowType, queue string
	actions                                             []string
	duration                                            string
	reason                                              string
	breakGlass, wait                                    bool
}

func (a *app) accessRequestCommand() *cobra.Command {
	var f scopeFlags
	c := &cobra.Command{
		Use:   "request",
		Short: "Ask for access for a while",
		Long: `Ask for a role in a namespace, or for single actions, for a while. Narrow it as far as you can: to one workflow, one run, one task queue. What
is asked for never changes; approvals are bound to its digest.

With --break-glass, for emergencies, the grant is given at once if policy lets you; everybody concerned is told, and somebody else reviews it.`,
		Example: `  bailiwick access request --namespace payments --role write --for 30m --reason "INC-123: stuck refunds"
  bailiwick access request -n payments --action TerminateWorkflowExecution --workflow order-17 --run 0198-… --for 10m --reason "INC-123"
  bailiwick access request -n payments --role admin --for 30m --reason "INC-124" --break-glass
  bailiwick access request -n payments --role read --for 2h --reason "INC-125" --wait && temporal --profile bailiwick workflow list -n payments`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			body, err := f.body(a, c)
			if err != nil {
				return err
			}
			client, err := a.accessClient()
			if err != nil {
				return err
			}
			r, err := client.Ask(c.Context(), body, rand.Text())
			if err != nil {
				return accessFailure(err)
			}
			r = a.settle(c.Context(), client, r) // one that policy approves by itself
			a.rememberRequests(r)
			if !f.wait {
				return a.printRequest(r)
			}
			return a.awaitAccess(c.Context(), client, r)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.namespace, "namespace", "n", "", "namespace (default: $TEMPORAL_NAMESPACE, else the context's)")
	fl.StringVar(&f.role, "role", "", "read, write, worker or admin; or")
	fl.StringSliceVar(&f.actions, "action", nil, "single actions instead of a role, such as TerminateWorkflowExecution; may be repeated")
	fl.StringVarP(&f.workflow, "workflow", "w", "", "only this workflow id")
	fl.StringVar(&f.run, "run", "", "only this run; its workflow is looked up if you don't name it")
	fl.StringVarP(&f.workflowType, "type", "t", "", "only workflows of this type")
	fl.StringVar(&f.queue, "task-queue", "", "only this task queue")
	fl.StringVar(&f.duration, "for", "", "how long: 30m, 2h, 1d")
	fl.StringVarP(&f.reason, "reason", "r", "", "what it is for; approvers see it, and the log keeps it")
	fl.BoolVar(&f.breakGlass, "break-glass", false, "at once, loudly, reviewed afterwards")
	fl.BoolVar(&f.wait, "wait", false, "wait until it is in force, or will not be")
	must(c.RegisterFlagCompletionFunc("namespace", a.completeNamespaces))
	must(c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(access.Roles(), cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("action", completeActions))
	must(c.RegisterFlagCompletionFunc("workflow", a.completeWorkflows))
	must(c.RegisterFlagCompletionFunc("run", a.completeRuns))
	must(c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"15m", "30m", "1h", "2h", "8h"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// body checks what can be checked here; the rest is the control plane's to judge.
func (f *scopeFlags) body(a *app, c *cobra.Command) (access.AskBody, error) {
	where, err := a.where()
	if err != nil {
		return access.AskBody{}, err
	}
	body := access.AskBody{Namespace: a.namespace(f.namespace, where), Role: f.role, WorkflowType: f.workflowType, WorkflowID: f.workflow, RunID: f.run, TaskQueue: f.queue, Reason: f.reason, BreakGlass: f.breakGlass}
	switch {
	case (f.role == "") == (len(f.actions) == 0):
		return body, badUsage(c, "name either a --role (%s) or one or more --action", strings.Join(access.Roles(), ", "))
	case f.duration == "":
		return body, badUsage(c, "say how long with --for, such as --for 30m")
	case strings.TrimSpace(f.reason) == "":
		return body, badUsage(c, `say what it is for with --reason "…"`)
	}
	for _, name := range f.actions {
		known, err := findAction(c, name)
		if err != nil {
			return body, err
		}
		body.Actions = append(body.Actions, known.Name)
	}
	d, err := duration(f.duration)
	if err != nil || d < time.Second {
		return body, badUsage(c, "--for is %q; a duration such as 30m, 2h or 1d is needed", f.duration)
	}
	body.Seconds = int64(d / time.Second)
	if f.run != "" && f.workflow == "" {
		if body.WorkflowID, err = a.workflowOf(c, where, body.Namespace, f.run); err != nil {
			return body, err
		}
	}
	if len(where.Namespaces) > 0 && !slices.Contains(where.Namespaces, body.Namespace) {
		fmt.Fprintf(a.errs, "%s context %s does not list a namespace %s; asking all the same\n", a.errs.yellow("note:"), where.Name, safe(body.Namespace))
	}
	return body, nil
}

// awaitAccess waits until a request is in force, and says so.
func (a *app) awaitAccess(ctx context.Context, client *access.Client, r access.Request) error {
	if err := a.awaitState(ctx, client, &r); err != nil {
		return err
	}
	return a.printRequest(r)
}

// awaitState waits until a request is in force; that it will not be is a failure.
func (a *app) awaitState(ctx context.Context, client *access.Client, r *access.Request) error {
	last := access.State("")
	err := client.Watch(ctx, r.Asked.ID, func(now access.Request) error {
		*r = now
		if !a.asJSON && now.State != last {
			last = now.State
			fmt.Fprintf(a.errs, "%s %s%s\n", a.errs.dim(time.Now().Local().Format("15:04:05")), stateWord(a.errs, now), a.waitingFor(now))
		}
		if now.State == access.Active || now.State.Ended() {
			return access.ErrStop
		}
		return nil
	})
	if err != nil {
		return accessFailure(err)
	}
	if r.State != access.Active {
		return &coded{Code: "access_" + string(r.State), Text: fmt.Sprintf("request %s: %s", r.Asked.ID, or(r.Text, string(r.State))), Fix: "bailiwick access show " + r.Asked.ID, exit: exitDenied}
	}
	return nil
}

// waitingFor says what a pending request waits for, in words.
func (a *app) waitingFor(r access.Request) string {
	switch {
	case r.Waiting != "":
		return ", waiting for " + safe(r.Waiting)
	case r.State == access.Pending:
		return fmt.Sprintf(", %d of %d approvals: bailiwick access approve %s", len(r.Approvals), r.Needed, r.Asked.ID)
	}
	return ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
