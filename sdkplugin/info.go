package sdkplugin

import (
	"context"

	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Info says for whom code runs. When Verified is false only Problem is set: an unverified claim is never shown as an identity.
type Info struct {
	Originator attest.Party // who began the chain of acts
	Actor      attest.Party // who acted: the same, or an agent on their behalf
	Reason     string       // why, as they said
	DecisionID string       // the audit entry's id
	Statement  attest.Statement
	Verified   bool
	Owner      attest.Party // who took the run over, where the originator or actor lost access since; in activities only, and else the zero value
	Problem    string       // why it is not verified, beginning with a stable code such as "attestation_missing"; only in mode Observe
}

func verifiedInfo(s attest.Statement) Info {
	return Info{Originator: s.Originator, Actor: s.Actor, Reason: s.Reason, DecisionID: s.ID, Statement: s, Verified: true}
}

// fields are the info as pairs for a log line.
func (i Info) fields() []any {
	if !i.Verified {
		return []any{"verified", false, "problem", i.Problem}
	}
	f := []any{"verified", true, "originator", i.Originator.Principal, "login", i.Originator.Login}
	if i.Actor != i.Originator {
		f = append(f, "actor", i.Actor.Principal)
	}
	f = append(f, "edge", string(i.Statement.Edge), "decision", i.DecisionID)
	if i.Reason != "" {
		f = append(f, "reason", i.Reason)
	}
	if i.Owner != (attest.Party{}) {
		f = append(f, "owner", i.Owner.Principal)
	}
	return f
}

type contextKey int

const (
	infoKey contextKey = iota
	runKey
	reasonKey
	grantKey
	pluginKey
)

// FromContext returns for whom an activity runs: who started its workflow; in the handler of a Nexus operation, who started the calling one. ok is false outside of a worker with the plugin.
func FromContext(ctx context.Context) (info Info, ok bool) {
	info, ok = ctx.Value(infoKey).(Info)
	return info, ok
}

// FromWorkflow returns for whom workflow code runs: in the workflow function, who started it; in an update handler and its validator, who
// sent the update. Signals come through channels that have no context of their own: see ReceiveSignal. ok is false outside of a worker
// with the plugin.
func FromWorkflow(ctx workflow.Context) (info Info, ok bool) {
	info, ok = ctx.Value(infoKey).(Info)
	return info, ok
}
