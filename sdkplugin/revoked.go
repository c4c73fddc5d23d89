package sdkplugin

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Revocations tells who has lost access since a run was allowed. It is asked right before activities, Nexus operations, updates and queries, never
// in workflow code. RevocationSource is one.
type Revocations interface {
	// Revoked returns why a principal, such as "user:https://acme.okta.com/oauth2/default|00u1", must not go on; a stable code, not a name. An
	// error means that nobody knows: what asks does not run, and is tried again. For updates and queries ctx ends after half a second.
	Revoked(ctx context.Context, principal string) (reason string, revoked bool, err error)
}

// ForbiddenRevoked is the code of an act whose originator or actor has lost access.
const ForbiddenRevoked ViolationCode = "forbidden_revoked"

// ForbiddenStandingUnknown is the code of an act that waits because nobody can say whether its originator or actor has lost access.
const ForbiddenStandingUnknown ViolationCode = "forbidden_standing_unknown"

const (
	standingWait  = 500 * time.Millisecond // for updates and queries; the SDK takes a second for a deadlock
	standingAgain = 5 * time.Second        // after which an activity is tried again when nobody knows
)

// revoked judges everybody who takes part: taking access away closes doors for nested actors too.
func (p *Plugin) revoked(ctx context.Context, info Info) *Violation {
	if p.opts.Revocations == nil || !info.Verified {
		return nil
	}
	s := info.Statement
	issuer := issuerOf(s.Originator.Principal)
	for i, party := range append([]attest.Party{s.Originator, s.Actor}, s.Chain...) {
		principal := party.Principal
		if i > 1 && !strings.Contains(principal, "|") {
			principal = "client:" + issuer + "|" + principal // nested actors are named by their subject alone
		}
		reason, gone, err := p.opts.Revocations.Revoked(ctx, principal)
		if err != nil {
			p.log.WarnContext(ctx, "holding what runs for somebody whose access can't be looked up", "decision", info.DecisionID, "error", err)
			return &Violation{Code: ForbiddenStandingUnknown, Detail: "whether access was revoked is not known now", Fix: "wait; if it stays so, look at the worker's way to the control plane"}
		}
		if gone {
			return &Violation{Code: ForbiddenRevoked, Detail: "access was revoked (" + reason + ")", Fix: "let somebody who has access take the run over (bailiwick run adopt), or restore the access"}
		}
	}
	return nil
}

func issuerOf(principal string) string {
	_, rest, _ := strings.Cut(principal, ":")
	issuer, _, _ := strings.Cut(rest, "|")
	return issuer
}

// stopRevoked is the error of an activity attempt that must not run: held for a retry, or refused for good.
func (p *Plugin) stopRevoked(v *Violation) error {
	if v.Code == ForbiddenStandingUnknown {
		return held(v, standingAgain)
	}
	if p.opts.HoldRevoked > 0 {
		return held(v, p.opts.HoldRevoked)
	}
	return forbidden(v)
}

// refuseRevoked is for calls that can't be held: updates before they enter history, and queries.
func (p *Plugin) refuseRevoked(ctx context.Context, kind string, info Info) error {
	ctx, cancel := context.WithTimeout(ctx, standingWait)
	defer cancel()
	v := p.revoked(ctx, info)
	if v == nil {
		return nil
	}
	p.metrics.count(ctx, kind, verdictForbidden, string(v.Code))
	if p.opts.Mode == Observe {
		return nil
	}
	return temporal.NewNonRetryableApplicationError("refused by Bailiwick: "+v.Error(), FailureForbidden, nil, v)
}
