package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// maxTried bounds how many grants are tried for one call. Who holds more names the one that is meant.
const maxTried = 32

// hold is a grant under which the call may go on, with what policy said of the call under it.
type hold struct {
	grant    *standing.Grant
	decision policy.Decision
}

// claim finds the grant that the caller names. From here on the admission has no grant but one that is proven.
func (g *Gate) claim(a *Admission, now time.Time) *Denial {
	if a.grant == "" {
		return nil
	}
	named := a.grant
	a.grant = ""
	if a.named = g.live(a, named, now); a.named != nil {
		return nil
	}
	why := "it is unknown, not yours, not in force yet, or over, or this gate has not heard its control plane for too long"
	if g.cfg.Standing == nil {
		why = "this gate follows no grants"
	}
	return denyGrant(a.id, named, why)
}

func denyGrant(id, grant, why string) *Denial {
	d := &Denial{
		Code: CodeGrantInvalid, Hint: "see your grants with: bailiwick access list", DecisionID: id, grpc: codes.PermissionDenied,
	}
	d.Message = fmt.Sprintf("the grant %q is not honoured: %s; %s", clip(grant, 64), why, d.Hint)
	return d
}

// live is the caller's live grant with an id, or nil.
func (g *Gate) live(a *Admission, id string, now time.Time) *standing.Grant {
	if g.cfg.Standing == nil {
		return nil
	}
	for _, grant := range g.cfg.Standing.Grants(a.person.party.Principal, now) {
		if grant.ID == id {
			return grant
		}
	}
	return nil
}

// judge decides one act of a call: by what the caller may do anyway and, where that is not enough, under a grant that covers the act. A grant that
// the caller names comes first, and no other counts. One grant must do for all acts of a call that need one.
//
// The decision on the call as a whole is a.decision, or under grants that of a.holds.
func (g *Gate) judge(ctx context.Context, a *Admission, req *policy.Request, k *ask) (policy.Decision, error) {
	req.Context.Granted, req.Context.Grant, req.Context.BreakGlass, req.Brief = false, "", false, false
	if g.cfg.Standing == nil {
		return g.decide(ctx, a, req, k)
	}
	if a.named != nil && g.covers(ctx, a, k, a.named) {
		d, err := g.decideUnder(ctx, a, req, k, a.named)
		if err == nil && d.Allow {
			a.holds = hold1(a, a.named, d)
		}
		return d, err
	}
	req.Brief = a.named == nil && len(g.cfg.Standing.Grants(a.person.party.Principal, a.at)) > 0 // a denial may not be the last word
	d, err := g.decide(ctx, a, req, k)
	if err != nil {
		return d, err
	}
	if d.Allow {
		for i := range a.holds {
			a.holds[i].decision = merge(a.holds[i].decision, d)
		}
		return d, nil
	}
	if !req.Brief {
		return d, nil
	}
	return g.judgeUnder(ctx, a, req, k, d)
}

// judgeUnder looks for grants under which a denied act is allowed, among those that did for the acts before.
func (g *Gate) judgeUnder(ctx context.Context, a *Admission, req *policy.Request, k *ask, denied policy.Decision) (policy.Decision, error) {
	tries := a.holds
	if len(tries) == 0 {
		tries = g.candidates(a, k)
	}
	var allowed []hold
	var against *standing.Grant // under which denied was decided
	for _, t := range tries {
		if !g.covers(ctx, a, k, t.grant) {
			continue
		}
		d, err := g.decideUnder(ctx, a, req, k, t.grant)
		if err != nil {
			return d, err
		}
		if d.Allow {
			allowed = append(allowed, hold{t.grant, merge(t.decision, d)})
		} else if len(allowed) == 0 {
			denied, against = d, t.grant // what policy says against the grant tells more than that a role is missing
		}
	}
	if len(allowed) == 0 {
		return g.told(ctx, a, req, k, denied, against)
	}
	a.holds = allowed
	return allowed[0].decision, nil
}

// told is a denial with what would help, which was not asked for as long as a grant could make it needless.
func (g *Gate) told(ctx context.Context, a *Admission, req *policy.Request, k *ask, denied policy.Decision, under *standing.Grant) (policy.Decision, error) {
	req.Brief = false
	d, err := g.decideUnder(ctx, a, req, k, under)
	if err != nil || !d.Allow {
		return d, err
	}
	return denied, nil // the policies changed meanwhile: what was decided stands
}

// hold1 goes on under one grant.
func hold1(a *Admission, grant *standing.Grant, d policy.Decision) []hold {
	before := a.decision
	if len(a.holds) > 0 {
		before = a.holds[0].decision
	}
	return []hold{{grant, merge(before, d)}}
}

// candidates are the caller's grants to try for an act: the ordinary ones before break-glass, those that hold longest first.
func (g *Gate) candidates(a *Admission, k *ask) []hold {
	var out []hold
	for _, grant := range g.cfg.Standing.Grants(a.person.party.Principal, g.cfg.Clock()) {
		if grant.Namespace == k.resource.Namespace && grant.Namespace != "" && mayCover(grant, k) {
			out = append(out, hold{grant, a.decision})
		}
	}
	slices.SortFunc(out, func(x, y hold) int {
		switch {
		case x.grant.BreakGlass != y.grant.BreakGlass:
			if y.grant.BreakGlass {
				return -1
			}
			return 1
		case !x.grant.Expires.Equal(y.grant.Expires):
			return y.grant.Expires.Compare(x.grant.Expires)
		}
		return strings.Compare(x.grant.ID, y.grant.ID)
	})
	return out[:min(len(out), maxTried)]
}

// mayCover reports whether the grant covers the act if the run that the act is on is the right one. It looks nothing up, so that who holds no
// such grant learns nothing, and costs nothing.
func mayCover(grant *standing.Grant, k *ask) bool {
	action, known := policy.LookupAction(k.action)
	if !known {
		return false
	}
	r := k.resource
	if k.run != noRun && r.WorkflowID != "" {
		if k.run == currentRun && grant.RunID != "" {
			return false // which run Temporal will act on can't be fixed
		}
		r.WorkflowType, r.TaskQueue = grant.WorkflowType, grant.TaskQueue
		if r.RunID == "" {
			r.RunID = grant.RunID
		}
	}
	if k.run == taskRun {
		r.TaskQueue = grant.TaskQueue
	}
	return grant.Covers(action, &r)
}

// covers reports whether the grant covers the act, looking up the run where that decides. The run that was looked up is the one that Temporal
// will act on: it is pinned.
func (g *Gate) covers(ctx context.Context, a *Admission, k *ask, grant *standing.Grant) bool {
	if !mayCover(grant, k) {
		return false
	}
	if k.run == noRun || k.run != taskRun && k.resource.WorkflowID == "" {
		return true // mayCover has seen all there is
	}
	var err error
	switch {
	case k.run == taskRun:
		if grant.TaskQueue != "" && k.resource.TaskQueue == "" {
			k.resource.TaskQueue, err = g.taskQueue(ctx, a, k)
		}
	case grant.WorkflowType != "" || grant.TaskQueue != "" || grant.RunID != "" && k.resource.RunID == "":
		err = g.find(ctx, a, k)
	}
	if err == nil && grant.RunID != "" && k.action == "ResetWorkflowExecution" {
		err = g.resetsOnly(ctx, k, grant.RunID)
	}
	if err != nil {
		g.cfg.Logger.InfoContext(ctx, "whether a grant covers a call could not be found out", "grant", grant.ID, "action", k.action, "decision", a.id, "error", err)
		return false
	}
	if !k.looked && k.run != taskRun {
		return true // it is not narrowed by what the request doesn't tell
	}
	action, _ := policy.LookupAction(k.action)
	return grant.Covers(action, &k.resource)
}

// resetsOnly makes sure that a reset ends no other run than the one that the grant names: Temporal ends whichever is under way.
func (g *Gate) resetsOnly(ctx context.Context, k *ask, runID string) error {
	of := k.resource
	of.RunID = ""
	e, err := g.runs.describe(ctx, &of, true)
	if err != nil {
		return err
	}
	if e.RunID != runID {
		return fmt.Errorf("the workflow's current run is %s, which the reset would end", e.RunID)
	}
	return nil
}

// decideUnder asks policy about an act that the grant covers; without a grant, as it is.
func (g *Gate) decideUnder(ctx context.Context, a *Admission, req *policy.Request, k *ask, grant *standing.Grant) (policy.Decision, error) {
	if grant == nil {
		return g.decide(ctx, a, req, k)
	}
	a.trying = grant
	req.Context.Granted, req.Context.Grant, req.Context.BreakGlass = true, grant.ID, grant.BreakGlass
	defer func() {
		a.trying = nil
		req.Context.Granted, req.Context.Grant, req.Context.BreakGlass = false, "", false
	}()
	return g.decide(ctx, a, req, k)
}

// settle ends the decision of a call: the grant must hold at this very moment, because finding out took time.
func (g *Gate) settle(a *Admission, entry *audit.Entry) *Denial {
	if g.cfg.Standing == nil {
		return nil
	}
	if len(a.holds) == 0 {
		entry.Grant = "" // one that was named, and not used
		return nil
	}
	now := g.cfg.Clock()
	for _, h := range a.holds {
		if is := g.live(a, h.grant.ID, now); is == nil || is != h.grant && !is.SameScope(h.grant) {
			continue
		}
		a.decision, a.grant, a.until = h.decision, h.grant.ID, h.grant.Expires
		entry.Grant, entry.Granted, entry.BreakGlass = a.grant, true, h.grant.BreakGlass
		if h.grant.BreakGlass {
			g.cfg.Logger.Warn("a call was made under a break-glass grant", "grant", a.grant, "action", entry.Action, "decision", a.id, "principal", a.person.party.Principal)
		}
		return nil
	}
	return denyGrant(a.id, a.holds[0].grant.ID, "it ended while the call was being decided")
}

// authority is until when the caller may do what was allowed: the token's end, or the grant's if that comes first.
func (a *Admission) authority() time.Time {
	until := a.person.claims.Expires
	if !a.until.IsZero() && a.until.Before(until) {
		return a.until
	}
	return until
}

// Grant is the id of the grant that the call was allowed under; empty for none.
func (a *Admission) Grant() string { return a.grant }

// seenByGrant adds the namespaces that a caller may know of because a live grant is about them.
func (g *Gate) seenByGrant(a *Admission, visible []string) []string {
	if g.cfg.Standing == nil {
		return visible
	}
	for _, grant := range g.cfg.Standing.Grants(a.person.party.Principal, g.cfg.Clock()) {
		if !slices.Contains(visible, grant.Namespace) {
			visible = append(visible[:len(visible):len(visible)], grant.Namespace)
		}
	}
	return visible
}
