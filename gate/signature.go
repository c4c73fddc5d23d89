package gate

import (
	"regexp"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Temporal writes the caller's own "identity" string on the events that a call makes, where it keeps nothing else of the call. The gate
// replaces it, so that those events say who it was and under which decision (a reset, and what a batch terminates, in the reason's end):
//
//	alice@acme.example via bailiwick [01936a2e-…]
//	0oareleaseagent00001 for alice@acme.example via bailiwick [01936a2e-…]
//
// Workers' identities stay: Temporal and its tools tell workers apart by them.

const (
	signedBy    = " via bailiwick ["
	maxSignName = 256 // bytes of a login in a signature; Temporal's limit on identities is 1000
)

var signature = regexp.MustCompile(` via bailiwick \[([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\]\)?$`)

// DecisionOf returns the id of the decision that an event's identity names, or the reason of what a batch did. It proves nothing: the
// audit entry with that id does, and says what it was about.
func DecisionOf(identity string) (id string, ok bool) {
	m := signature.FindStringSubmatch(identity)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// signature is what events say of the call.
func (a *Admission) signature() string {
	originator, actor := a.originator(), a.person.actor
	who := clip(display(originator), maxSignName)
	if actor != originator {
		who = clip(display(actor), maxSignName) + " for " + who
	}
	return who + signedBy + a.id + "]"
}

// display is how people know a party: its login, else what its issuer calls it.
func display(p attest.Party) string {
	if p.Login != "" {
		return p.Login
	}
	if _, id, ok := strings.Cut(p.Principal, "|"); ok {
		return id
	}
	return p.Principal
}

// visible is what the gate shows of the call on the runs that it starts.
func (a *Admission) visible() visible {
	return visibleOf(attest.Statement{Originator: a.originator(), Actor: a.person.actor, Reason: a.reason, Grant: a.grant, ID: a.id})
}

// sign writes the signature into the request's identity fields.
func (a *Admission) sign(req any) {
	text := a.signature()
	switch r := req.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		r.Identity = text
		return
	case *workflowservice.SignalWorkflowExecutionRequest:
		r.Identity = text
		return
	case *workflowservice.UpdateWorkflowExecutionRequest:
		signUpdate(r, text)
		return
	case *workflowservice.ExecuteMultiOperationRequest:
		for _, op := range r.GetOperations() {
			if start := op.GetStartWorkflow(); start != nil {
				start.Identity = text
			}
			if update := op.GetUpdateWorkflow(); update != nil {
				signUpdate(update, text)
			}
		}
		return
	case *workflowservice.ResetWorkflowExecutionRequest:
		r.Identity, r.Reason = text, signReason(r.GetReason(), text)
		return
	case *workflowservice.StartBatchOperationRequest:
		signBatch(r, text)
		return
	}
	if m, ok := req.(proto.Message); ok {
		setIdentity(m.ProtoReflect(), text)
	}
}

func signUpdate(r *workflowservice.UpdateWorkflowExecutionRequest, text string) {
	if meta := r.GetRequest().GetMeta(); meta != nil {
		meta.Identity = text
	}
}

// signBatch signs the operation, whose identity is all that Temporal takes along to what the batch does. To terminations it takes along
// only the batch's reason, and to cancellations nothing.
func signBatch(r *workflowservice.StartBatchOperationRequest, text string) {
	m := r.ProtoReflect()
	if op := m.WhichOneof(m.Descriptor().Oneofs().ByName("operation")); op != nil {
		setIdentity(m.Mutable(op).Message(), text)
	}
	if r.GetTerminationOperation() != nil || r.GetResetOperation() != nil {
		r.Reason = signReason(r.GetReason(), text)
	}
}

// signReason signs the reason where Temporal writes its own name as the event's identity. A request without one stays without: Temporal
// refuses it.
func signReason(reason, text string) string {
	if reason == "" {
		return ""
	}
	return reason + " (" + text + ")"
}

func setIdentity(m protoreflect.Message, text string) {
	if f := m.Descriptor().Fields().ByName("identity"); f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() && m.IsValid() {
		m.Set(f, protoreflect.ValueOfString(text))
	}
}
