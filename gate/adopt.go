package gate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// A run is taken over by a signal of a reserved name. The signal's event keeps the statement (edge "adopt") that says who answers for the run from
// then on; who began it stays as the first event has it. A schedule is taken over by saving it again.

// CodeAdoption: nobody may take over this run in this way.
const CodeAdoption = "adoption_refused"

var errSmuggledAdoption = errors.New("a run is taken over by a person, one run at a time (bailiwick run adopt), and not as a part of another call")

// adopts reports whether a call takes over a run.
func adopts(request any) bool {
	r, ok := request.(*workflowservice.SignalWorkflowExecutionRequest)
	return ok && r.GetSignalName() == attest.AdoptSignal
}

// adopt is the rest of such a call's decision, once policy allows the signal: a person asks, in person, with a reason, for one run that somebody else
// began, and may start one like it. Answering for a run is no detour to what one may not begin. It returns the acts with that start among them.
func (g *Gate) adopt(ctx context.Context, a *Admission, req *policy.Request, asks []ask, entry *audit.Entry) ([]ask, *Denial) {
	of := asks[0].resource
	refuse := func(text string) ([]ask, *Denial) {
		return nil, &Denial{Code: CodeAdoption, Message: text, DecisionID: a.id, grpc: codes.PermissionDenied}
	}
	unknown := func(err error) ([]ask, *Denial) {
		return nil, &Denial{Code: CodeRunUnknown, Message: "the run could not be looked up, so it is not known what would be taken over; look at its ids, or try again", DecisionID: a.id, Cause: err, grpc: codes.Unavailable}
	}
	switch {
	case strings.TrimSpace(a.reason) == "":
		return nil, denyRequest(a.id, errors.New("taking over a run needs a reason"))
	case of.WorkflowID == "" || a.request.(*workflowservice.SignalWorkflowExecutionRequest).GetWorkflowExecution().GetRunId() == "":
		return nil, denyRequest(a.id, errors.New("taking over a run needs its workflow id and its run id, so that it is clear which run is accepted"))
	case a.person.claims.Kind != identity.User || len(a.person.chain) > 0:
		return refuse("a run is taken over by a person who asks for it in person; programs and agents can't, and nobody through one")
	}

	about := Admission{namespace: a.namespace}
	if err := g.findOrigin(ctx, &about, &ask{resource: of}); err != nil {
		return unknown(err)
	}
	if !about.origin.attested() {
		return refuse("nobody is known to have begun this run, so there is nothing to take over")
	}
	began := about.origin.verified.Statement()
	parties := append([]attest.Party{began.Originator, began.Actor}, began.Chain...)
	if slices.ContainsFunc(parties, func(p attest.Party) bool { return p.Principal == a.person.originator.Principal }) {
		return refuse("you began this run; it can be taken over by somebody else")
	}

	start := ask{action: "StartWorkflowExecution", resource: policy.Resource{Namespace: of.Namespace, WorkflowID: of.WorkflowID, RunID: of.RunID}, run: namedRun}
	if err := g.find(ctx, a, &start); err != nil {
		return unknown(err)
	}
	start.resource.RunID = "" // as a start has it
	d, err := g.judge(ctx, a, req, &start)
	if denial, ok := errors.AsType[*Denial](err); ok {
		return nil, denial
	}
	if !d.Allow {
		entry.Decision, entry.Acts = &d, []audit.Act{{Action: start.action, Resource: start.resource}}
		return nil, denyPolicy(a.id, a.person.claims, &start, d)
	}
	a.decision = merge(a.decision, d)
	note(entry, "former_owner", began.Originator.Principal)
	note(entry, audit.DetailAttestation, began.ID)
	return append(asks, start), nil
}
