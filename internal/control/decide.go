package control

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/netaddr"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Decide decides one act of an authenticated caller and records the decision, durably when it changes something. What can't be decided or
// recorded is a denial. id is the audit entry's.
func (p *Plane) Decide(ctx context.Context, who identity.Identity, r policy.Request) (d policy.Decision, id string) {
	j, err := p.Gate().Judge(ctx, gate.Question{
		Who: who, Action: r.Action, Resource: r.Resource, Context: r.Context, Source: r.Context.SourceIP, Digest: r.Context.RequestDigest,
	})
	if err == nil {
		return j.Decision, j.ID
	}
	var denied *gate.Denial
	if errors.As(err, &denied) {
		return policy.Decision{Code: policy.Code(denied.Code), Reasons: []string{denied.Message}, Missing: denied.Missing, Hint: denied.Hint}, denied.DecisionID
	}
	return policy.Decision{Code: policy.CodePolicyError, Reasons: []string{"the control plane could not decide"}}, ""
}

// Permit decides what an authenticated caller asks for by an HTTP request, as Decide does, and answers the request when it is denied. told begins
// what they are told, such as "you may not see the directory"; what policy says follows.
func (p *Plane) Permit(w http.ResponseWriter, r *http.Request, who identity.Identity, ask policy.Request, told string) bool {
	ask.Context.SourceIP = netaddr.Source(r)
	d, id := p.Decide(r.Context(), who, ask)
	if !d.Allow {
		Refuse(w, &gate.Denial{Code: string(d.Code), Message: strings.Join(append([]string{told}, d.Reasons...), "; "), Missing: d.Missing, Hint: d.Hint, DecisionID: id})
	}
	return d.Allow
}
