package gate

import (
	"fmt"

	commandpb "go.temporal.io/api/command/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// attestSignal signs for a signal that a run sends to another workflow, as it does for one that a client sends: bound to who gets it, begun by
// whoever the run's statement names, sent by its worker. So it is told, and accepted, where the two workflows have nothing else in common.
// The worker's own rights allowed it (commandAsks). A run without a statement sends a signal without one.
func (g *Gate) attestSignal(a *Admission, c *commandpb.SignalExternalWorkflowExecutionCommandAttributes) error {
	attest.Strip(c.GetHeader())
	if !a.origin.attested() || c.GetSignalName() == "" || c.GetExecution().GetWorkflowId() == "" {
		return nil // nobody to name, or Temporal refuses it
	}
	namespace := c.GetNamespace() //lint:ignore SA1019 deprecated in the API, and still obeyed by the server
	if namespace == "" {
		namespace = a.namespace
	}
	run := a.origin.verified.Statement()
	s := attest.Statement{
		Version: attest.Version, ID: a.id, Issuer: g.cfg.Name, Audience: g.cfg.Audience, Edge: attest.EdgeSignal,
		Originator: run.Originator, Actor: a.person.actor, Chain: signalChain(a.person, run), Cause: run.ID, Reason: run.Reason, Grant: a.grant,
		Policies: a.decision.Policies, AuthTime: run.AuthTime, ACR: run.ACR, IssuedAt: a.at, AuthorityUntil: a.authority(),
		Binding: attest.Binding{
			Namespace: namespace, WorkflowID: c.GetExecution().GetWorkflowId(), RunID: c.GetExecution().GetRunId(), Name: c.GetSignalName(),
		},
	}
	raw, err := g.cfg.Signer.Sign(s)
	if err != nil {
		return fmt.Errorf("signing for a signal to another workflow: %w", err)
	}
	setField(&c.Header, attest.HeaderKey, attest.ToPayload(raw))
	return nil
}

// signalChain names everybody through whom the originator's wish came to the worker: the actor of the run too, such as an agent, so that
// whoever refuses agents refuses what one had a workflow send.
func signalChain(worker *person, run attest.Statement) []attest.Party {
	chain := make([]attest.Party, 0, len(worker.chain)+1+len(run.Chain))
	chain = append(chain, worker.chain...)
	if run.Actor != run.Originator && len(run.Chain) == 0 {
		chain = append(chain, run.Actor)
	}
	return append(chain, run.Chain...)
}
