package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// Directory tells what the identity provider says of somebody now. found is false for whom it does not know.
type Directory interface {
	Person(ctx context.Context, principal string) (p standing.Person, found bool, err error)

	// Manager names the principal of somebody's manager, or "" if there is none that it knows.
	Manager(ctx context.Context, principal string) (string, error)
}

// Standing is what gates know of people beyond their tokens; standing.State is one.
type Standing interface {
	Barred(c *identity.Claims, now time.Time) (standing.Bar, bool)
	GroupsLost(c *identity.Claims, now time.Time) []string
}

// Judge decides without an identity and without a record; policy.Engine does. What it says opens nothing: it only takes back.
type Judge interface {
	Decide(policy.Request) policy.Decision
}

// Recheck asks whether those who asked and approved may do so still.
type Recheck struct {
	Asked     Asked
	Requester identity.Claims
	At        time.Time // when they asked
	Approvers []Act
}

// Verdict of a recheck: the reason why the requester may not any more, or "", and whose approval does not count any more.
type Verdict struct {
	Requester string
	Lost      []Lost
}

// Lost is an approval that does not count any more.
type Lost struct{ Principal, Login, Why string }

func (a *activities) recheck(ctx context.Context, in Recheck) (v Verdict, err error) {
	// Policies see the time of asking and of approving: a login that was fresh then must not be fresh again now.
	v.Requester, err = a.entitled(ctx, ActionRequest, in.Asked, &in.Requester, in.Requester.Principal(), in.At)
	if err != nil && !in.Asked.BreakGlass { // breaking glass must work when the directory does not; who asks was verified a moment ago
		return v, err
	}
	for _, approver := range in.Approvers {
		why, err := a.entitled(ctx, ActionApprove, in.Asked, &approver.By, in.Requester.Principal(), approver.At)
		if err != nil {
			return v, err
		}
		if why != "" {
			v.Lost = append(v.Lost, Lost{approver.By.Principal(), approver.By.Login, why})
		}
	}
	return v, nil
}

// entitled returns why somebody may not do what they did any more, or "".
func (a *activities) entitled(ctx context.Context, action string, asked Asked, who *identity.Claims, requester string, at time.Time) (why string, err error) {
	now := *who // its groups change
	if s := a.s.cfg.Standing; s != nil {
		if bar, barred := s.Barred(who, a.s.cfg.Clock()); barred {
			return "their access was taken away (" + bar.Reason + ")", nil
		}
		if lost := s.GroupsLost(who, a.s.cfg.Clock()); len(lost) > 0 {
			now.Groups = slices.DeleteFunc(slices.Clone(now.Groups), func(g string) bool { return slices.Contains(lost, g) })
		}
	}
	if a.s.cfg.Directory != nil {
		p, found, err := a.s.cfg.Directory.Person(ctx, who.Principal())
		switch {
		case err != nil:
			return "", fmt.Errorf("asking the directory: %w", err)
		case found && !p.Active:
			return "the directory says that they are not active", nil
		case found && p.Groups != nil: // what they had then and have still
			now.Groups = slices.DeleteFunc(slices.Clone(now.Groups), func(g string) bool { return !slices.Contains(p.Groups, g) })
		}
	}
	q := question(action, asked, &now, requester, at)
	if q.Context.Manager, err = a.s.manager(ctx, action, requester); err != nil {
		return "", err
	}
	if d := a.s.cfg.Judge.Decide(q); !d.Allow {
		why := string(d.Code)
		if len(d.Reasons) > 0 {
			why = strings.Join(d.Reasons, "; ")
		}
		return "policy does not let them any more: " + why, nil
	}
	return "", nil
}

// manager is the manager of who asked, for policies that let them decide; who asks for access need not have one.
func (s *Service) manager(ctx context.Context, action, requester string) (string, error) {
	if s.cfg.Directory == nil || requester == "" || action == ActionRequest {
		return "", nil
	}
	name, err := s.cfg.Directory.Manager(ctx, requester)
	if err != nil {
		return "", fmt.Errorf("asking the directory for the manager of who asked: %w", err)
	}
	return name, nil
}

// question is what policies are asked about a request. They see the same whether somebody asks, approves or looks.
func question(action string, a Asked, who *identity.Claims, requester string, now time.Time) policy.Request {
	return policy.Request{Principal: who, Action: action, Resource: a.resource(), Context: policy.Context{
		Now: now, Reason: a.Reason, RequestDigest: a.Digest(), BreakGlass: a.BreakGlass,
		Role: a.Role, Wanted: a.Actions, Minutes: int((a.Seconds + 59) / 60), Requester: requester,
	}}
}
