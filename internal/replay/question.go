// Package replay puts recorded decisions to another policy set and says what would have gone otherwise.
//
// It owns the way back from an audit entry to the questions that the gate asked, and the report of what changes. It refuses to know
// where entries are kept, where policies come from and how a report is shown.
package replay

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Why an entry can't be put to a policy set again.
const (
	SkipOther    = "not a decision"
	SkipNobody   = "nobody was authenticated"
	SkipInternal = "Temporal's own call"
	SkipGate     = "refused before policy was asked"
)

// Question is a recorded call as the gate asked about it: every act must be allowed.
type Question struct {
	Requests []policy.Request // the call's own action first; at least one
	Partial  bool             // the entry does not hold every act of the call, so that an allowed one need not have been let through
}

// Ask rebuilds the question of an entry. why is empty, or says (one of the Skip constants) that there was none.
func Ask(e audit.Entry) (q Question, why string) {
	if e.Kind != audit.KindDecision || e.Decision == nil {
		return q, SkipOther
	}
	if e.Actor.Principal == "" {
		return q, SkipNobody
	}
	c, ok := Claims(e.Actor)
	if !ok {
		return q, SkipInternal
	}
	if !byPolicy(e.Decision.Code) {
		return q, SkipGate
	}
	at := policy.Context{Now: e.Time, Reason: e.Reason, Grant: e.Grant, Granted: e.Granted, BreakGlass: e.BreakGlass, AMR: e.Actor.AMR, RequestDigest: e.RequestDigest}
	if e.Access == string(policy.Delegate) {
		at.FromDetail(e.Detail)
	}
	if ip, err := netip.ParseAddr(e.Source); err == nil {
		at.SourceIP = ip
	}
	q.Requests = append(q.Requests, policy.Request{Principal: c, Action: e.Action, Resource: e.Resource, Context: at})
	for _, act := range e.Acts {
		q.Requests = append(q.Requests, policy.Request{Principal: c, Action: act.Action, Resource: act.Resource, Context: at})
	}
	// The gate stops at the first act that is refused, and then records that act and no other.
	q.Partial = e.Detail["acts_omitted"] != "" || !e.Decision.Allow && len(e.Acts) > 0
	return q, ""
}

// byPolicy reports whether a policy set gave the answer. Other codes are the gate's own: an unreadable request, an unknown method.
func byPolicy(c policy.Code) bool {
	return slices.Contains([]policy.Code{policy.CodeAllowed, policy.CodeNoPermission, policy.CodeForbidden, policy.CodePolicyError,
		policy.CodeUnknown, policy.CodeObligation, policy.CodeUnresolved, policy.CodeStale}, c)
}

// Claims are what an entry tells of its actor's token: everything that policies look at. false means that the actor is not a user or
// client of an issuer.
func Claims(p audit.Party) (*identity.Claims, bool) {
	kind, rest, _ := strings.Cut(p.Principal, ":")
	issuer, id, found := strings.Cut(rest, "|") // the first: "|" can't stand in a URL, but does in some issuers' ids
	k := identity.Kind(kind)
	if !found || issuer == "" || id == "" || k != identity.User && k != identity.Client {
		return nil, false
	}
	c := &identity.Claims{Issuer: issuer, Kind: k, ID: id, Login: p.Login, ClientID: p.ClientID, Groups: p.Groups, Scopes: p.Scopes,
		AuthTime: p.AuthTime, ACR: p.ACR, TokenID: p.TokenID}
	for i, subject := range p.Actors {
		actor := identity.Actor{Subject: subject}
		if i == 0 { // only the outermost actor decides anything, and only its profile is recorded
			actor.Profile = p.ActorProfile
		}
		c.Actors = append(c.Actors, actor)
	}
	return c, true
}

// Decide puts the question to a set as the gate does: the first act that is refused refuses the call. act is its index, or 0.
func (q Question) Decide(s *policy.Set) (d policy.Decision, act int) {
	for i, r := range q.Requests {
		one := s.Decide(r)
		if !one.Allow {
			return one, i
		}
		if i == 0 {
			d = one
			continue
		}
		for _, id := range one.Policies {
			if !slices.Contains(d.Policies, id) {
				d.Policies = append(slices.Clip(d.Policies), id)
			}
		}
	}
	return d, 0
}
