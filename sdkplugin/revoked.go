package sdkplugin

import (
	"context"
	"strings"

	"go.temporal.io/sdk/temporal"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Revocations tells who has lost access since a run was allowed. It is asked right before activities, updates and queries, never in
// workflow code, and must answer from memory.
type Revocations interface {
	// Revoked returns why a principal, such as "user:https://acme.okta.com/oauth2/default|00u1", must not go on; a stable code, not a name.
	Revoked(principal string) (reason string, revoked bool)
}

// ForbiddenRevoked is the code of an act whose originator or actor has lost access.
const ForbiddenRevoked ViolationCode = "forbidden_revoked"

// revoked judges everybody who takes part: taking access away closes doors for nested actors too.
func (p *Plugin) revoked(info Info) *Violation {
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
		if reason, gone := p.opts.Revocations.Revoked(principal); gone {
			return &Violation{Code: ForbiddenRevoked, Detail: "access was revoked (" + reason + ")", Fix: "let somebody who has access start it again, or restore the access"}
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
	if p.opts.HoldRevoked > 0 {
		return held(v, p.opts.HoldRevoked)
	}
	return forbidden(v)
}

// refuseRevoked is for calls that can't be held: updates before they enter history, and queries.
func (p *Plugin) refuseRevoked(ctx context.Context, kind string, info Info) error {
	v := p.revoked(info)
	if v == nil {
		return nil
	}
	p.metrics.count(ctx, kind, verdictForbidden, string(v.Code))
	if p.opts.Mode == Observe {
		return nil
	}
	return temporal.NewNonRetryableApplicationError("refused by Bailiwick: "+v.Error(), FailureForbidden, nil, v)
}
