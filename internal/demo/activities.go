package demo

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/bailiwick-dev/bailiwick/sdkplugin"
)

// Target is what a step works on.
type Target struct {
	Service     string `json:"service"`
	Version     string `json:"version,omitempty"`
	Environment string `json:"environment,omitempty"`
}

// Step is what an activity did and for whom it ran.
type Step struct {
	Name     string `json:"name"`
	Detail   string `json:"detail"`
	RanAs    string `json:"ran_as"`
	Reason   string `json:"reason,omitempty"`
	Decision string `json:"decision,omitempty"` // id of the audit entry that let the run start
}

// Activities are the steps. They pretend to work for Pace.
type Activities struct {
	Pace   time.Duration
	Logger *slog.Logger
}

// Build is activity "build".
func (a *Activities) Build(ctx context.Context, t Target) (Step, error) {
	return a.step(ctx, activityBuild, fmt.Sprintf("built %s %s", t.Service, t.Version))
}

// Push is activity "push".
func (a *Activities) Push(ctx context.Context, t Target) (Step, error) {
	return a.step(ctx, activityPush, fmt.Sprintf("pushed %s %s", t.Service, t.Version))
}

// Verify is activity "verify".
func (a *Activities) Verify(ctx context.Context, t Target) (Step, error) {
	env := t.Environment
	if env == "" {
		env = "production"
	}
	return a.step(ctx, activityVerify, fmt.Sprintf("verified %s in %s", t.Service, env))
}

func (a *Activities) step(ctx context.Context, name, detail string) (Step, error) {
	select {
	case <-ctx.Done():
		return Step{}, ctx.Err()
	case <-time.After(a.Pace):
	}
	info, _ := sdkplugin.FromContext(ctx)
	s := Step{Name: name, Detail: detail, RanAs: who(info), Reason: info.Reason, Decision: info.DecisionID}
	a.Logger.InfoContext(ctx, "step done", "step", s.Name, "detail", s.Detail, "ran_as", s.RanAs)
	return s, nil
}
