package sdkplugin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Rule ties a requirement to what a worker runs. A rule with Activity is checked right before each attempt of an activity, local ones
// included; one with Operation right before each attempt of a Nexus operation's handler; any other right before a workflow's first line. All
// rules that fit must be met.
type Rule struct {
	// Name stands in logs, metrics and errors. Default: made of the patterns.
	Name string
	// Activity is a pattern of activity types, in which "*" stands for any text.
	Activity string
	// Workflow is a pattern of workflow types. With Activity it narrows the rule to activities of those workflows; a standalone activity
	// belongs to none.
	Workflow string
	// Operation is a pattern of Nexus operations, "SERVICE/OPERATION". It is judged by whoever started the calling workflow, and stands alone.
	// Cancelling an operation is not held against it: that only ends what was begun.
	Operation string

	Requirement

	// Hold, if not zero, stops without refusing. An activity fails with a retryable error of type FailureHeld and is tried again
	// after this time, as often as its retry policy and timeouts allow; a workflow's task fails and is retried by Temporal. Time alone
	// cures nothing: somebody has to change the worker's rules, or end the run. A Nexus operation is tried again by Temporal, at intervals of
	// its own, until the time that its caller gave it is over. At least a second.
	Hold time.Duration
	// Since excuses runs that started earlier, and is only for rules of workflows. Rules decide a workflow's course as its code does:
	// a new or stricter one without it makes the tasks of open runs that would not meet it fail.
	Since time.Time
}

func (r *Rule) complete() error {
	switch {
	case r.Activity == "" && r.Workflow == "" && r.Operation == "":
		return errors.New("it names neither Activity nor Workflow nor Operation; \"*\" means all")
	case r.Operation != "" && (r.Activity != "" || r.Workflow != ""):
		return errors.New("Operation stands alone: a handler does not know the type of the workflow that calls")
	case r.Operation != "" && !strings.ContainsAny(r.Operation, "/*"):
		return fmt.Errorf("Operation is %q, not SERVICE/OPERATION, as in \"payments/*\"", r.Operation)
	case r.Hold != 0 && r.Hold < time.Second:
		return fmt.Errorf("Hold is %s, less than a second", r.Hold)
	case r.Activity != "" && !r.Since.IsZero():
		return errors.New("Since is only for rules without Activity: an activity does not know when its run started")
	case r.Operation != "" && !r.Since.IsZero():
		return errors.New("Since is only for rules without Operation: a handler does not know when the calling run started")
	}
	if r.Name == "" {
		switch {
		case r.Operation != "":
			r.Name = "operation " + r.Operation
		case r.Activity == "":
			r.Name = "workflow " + r.Workflow
		case r.Workflow == "":
			r.Name = "activity " + r.Activity
		default:
			r.Name = "activity " + r.Activity + " of workflow " + r.Workflow
		}
	}
	return r.validate()
}

// rules are the plugin's own copy, checked.
type rules []Rule

func newRules(given []Rule) (rules, error) {
	out := make(rules, 0, len(given))
	for i, r := range given {
		if err := r.complete(); err != nil {
			return nil, fmt.Errorf("Require[%d]: %w", i, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// broken returns the violations of the rules that fit. A rule that refuses comes before one that holds.
func (rs rules) broken(fits func(Rule) bool, info Info, now time.Time) (v *Violation, hold time.Duration) {
	for _, r := range rs {
		if !fits(r) {
			continue
		}
		found := r.Check(info, now)
		if found == nil || v != nil && r.Hold != 0 {
			continue
		}
		found.Rule = r.Name
		v, hold = found, r.Hold
		if hold == 0 {
			return v, 0
		}
	}
	return v, hold
}

func (rs rules) forActivity(activityType, workflowType string, info Info, now time.Time) (*Violation, time.Duration) {
	return rs.broken(func(r Rule) bool {
		return r.Activity != "" && matches(r.Activity, activityType) && (r.Workflow == "" || workflowType != "" && matches(r.Workflow, workflowType))
	}, info, now)
}

func (rs rules) forWorkflow(workflowType string, started time.Time, info Info, now time.Time) (*Violation, time.Duration) {
	return rs.broken(func(r Rule) bool {
		return r.Activity == "" && r.Operation == "" && matches(r.Workflow, workflowType) && !started.Before(r.Since)
	}, info, now)
}

func (rs rules) forOperation(service, operation string, info Info, now time.Time) (*Violation, time.Duration) {
	return rs.broken(func(r Rule) bool { return r.Operation != "" && matches(r.Operation, service+"/"+operation) }, info, now)
}

func held(v *Violation, again time.Duration) error {
	return temporal.NewApplicationErrorWithOptions("held by Bailiwick: "+v.Error(), FailureHeld, temporal.ApplicationErrorOptions{Details: []any{v}, NextRetryDelay: again})
}

// enforce judges a workflow at its start. Its only inputs are history (the attestation, the run's start and the time of its first task) and
// the rules.
func (s *runState) enforce(ctx workflow.Context, info Info) error {
	about := workflow.GetInfo(ctx)
	v, hold := s.plugin.rules.forWorkflow(about.WorkflowType.Name, about.WorkflowStartTime, info, workflow.Now(ctx))
	if v == nil {
		return nil
	}
	log := workflow.GetLogger(ctx)
	fields := append(info.fields(), "code", string(v.Code), "rule", v.Rule, "detail", v.Detail)
	switch {
	case s.plugin.opts.Mode == Observe:
		log.Warn("running workflow that does not meet a rule", fields...)
		s.count(ctx, kindWorkflow, verdictExcused, string(v.Code))
		return nil
	case hold != 0:
		log.Warn("holding workflow that does not meet a rule", fields...)
		s.count(ctx, kindWorkflow, verdictHeld, string(v.Code))
		panic("the workflow task will be retried: held by Bailiwick: " + v.Error())
	}
	log.Warn("refusing workflow that does not meet a rule", fields...)
	s.count(ctx, kindWorkflow, verdictForbidden, string(v.Code))
	return forbidden(v)
}
