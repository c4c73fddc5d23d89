package gate

import (
	"context"
	"errors"
	"maps"
	"net/netip"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Question is an act that is no Temporal call, such as the approval of an access request: authenticated, decided and recorded like one.
type Question struct {
	Who      identity.Identity // from Authenticate
	Action   string            // of policy's table
	Resource policy.Resource
	Context  policy.Context // Now, SourceIP and AMR are the gate's to fill
	Source   netip.Addr
	Digest   string            // SHA-256 (hex) of what is asked for; empty if there is nothing to bind
	Detail   map[string]string // facts for the entry
}

// Judgement is the answer to a Question. ID is the audit entry's.
type Judgement struct {
	ID       string
	Decision policy.Decision
}

// Authenticate verifies a caller who sends something that is no Temporal call. A refusal is a *Denial and is on record; a success is recorded
// with what is decided next. idToken is an ID token beside the access token, as for Call; what names the thing asked for, in the record.
func (g *Gate) Authenticate(ctx context.Context, authorization, idToken []string, source netip.Addr, what string) (identity.Identity, error) {
	token, err := identity.FromAuthorization(authorization)
	var who identity.Identity
	if err == nil {
		who, err = g.cfg.Verifier.Verify(ctx, token)
	}
	if err == nil && !who.Valid() {
		err = errors.New("verifier returned nobody")
	}
	now := g.cfg.Clock()
	id := g.ids.next(now)
	c := Call{Source: source}
	entry := audit.Entry{Version: audit.EntryVersion, ID: id, Time: now.UTC(), Kind: audit.KindDecision, Gate: g.cfg.Name, Action: what, Source: c.source()}
	if err != nil {
		return identity.Identity{}, g.refuse(ctx, &entry, denyToken(id, err))
	}
	if _, denial := g.stand(id, g.people.of(who.Claims()), now, &entry); denial != nil {
		return identity.Identity{}, g.refuse(ctx, &entry, denial)
	}
	with, err := g.companion(ctx, who, idToken)
	if err != nil {
		return identity.Identity{}, g.refuse(ctx, &entry, denyToken(id, err))
	}
	return who.With(with), nil
}

// Judge decides a question and records the decision: durably when the act changes anything. A denial is in the Judgement; an error is a
// *Denial that no decision stands behind (nobody asked, the record can't be kept), and the act must not go on either.
func (g *Gate) Judge(ctx context.Context, q Question) (Judgement, error) {
	now := g.cfg.Clock()
	id := g.ids.next(now)
	if !q.Who.Valid() {
		return Judgement{}, denyToken(id, &identity.Error{Code: identity.CodeTokenMissing, Detail: "no access token was sent"})
	}
	action, known := policy.LookupAction(q.Action)
	if !known {
		return Judgement{}, denyUnknown(id, q.Action)
	}
	// A grant counts for the calls that it was given for, and is proven there; a question has none.
	q.Context.Now, q.Context.SourceIP, q.Context.RequestDigest, q.Context.AMR, q.Context.Granted, q.Context.Grant = now, q.Source, q.Digest, q.Who.AMR(), false, ""
	entry := audit.Entry{
		Version: audit.EntryVersion, ID: id, Time: now.UTC(), Kind: audit.KindDecision, Gate: g.cfg.Name, Action: q.Action, Access: string(action.Access),
		Resource: q.Resource, Reason: q.Context.Reason, BreakGlass: q.Context.BreakGlass, RequestDigest: q.Digest, Source: (&Call{Source: q.Source}).source(),
		Detail: q.Detail,
	}
	p, denial := g.stand(id, g.people.of(q.Who.Claims()), now, &entry)
	entry.Actor.AMR = q.Context.AMR
	if denial != nil {
		return Judgement{}, g.refuse(ctx, &entry, denial)
	}
	d := g.cfg.Policy.Decide(policy.Request{Principal: p.claims, Action: q.Action, Resource: q.Resource, Context: q.Context})
	entry.Decision = &d
	if asked := q.Context.Detail(); asked != nil { // what policy saw of a request for access, so that the decision can be replayed
		maps.Copy(asked, entry.Detail)
		entry.Detail = asked
	}
	if d.Allow && action.Mutating {
		if err := g.append(ctx, &entry); err != nil {
			return Judgement{}, denyAudit(id)
		}
	} else if err := g.cfg.Log.Enqueue(entry); err != nil {
		g.cfg.Logger.WarnContext(ctx, "a decision could not be recorded", "action", q.Action, "decision", id, "error", err)
	}
	return Judgement{ID: id, Decision: d}, nil
}
