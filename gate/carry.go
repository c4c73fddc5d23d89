package gate

import (
	"bytes"
	"slices"
	"strings"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// carries reports whether a worker's answer has commands to which Temporal carries nothing of the run's header by itself.
func carries(request any) bool {
	r, ok := request.(*workflowservice.RespondWorkflowTaskCompletedRequest)
	return ok && slices.ContainsFunc(r.GetCommands(), func(c *commandpb.Command) bool {
		return c.GetScheduleNexusOperationCommandAttributes() != nil || commandHeader(c) != nil && !marker(c)
	})
}

// carry puts the run's own statement into the commands of its worker, so that activities, children, continued runs and signalled workflows
// get what Temporal doesn't carry, whether or not the worker has our plugin. A worker may carry the statement of its run's family; it can
// make none, and none of another run goes through. A signal gets one of its own (signal.go).
func (g *Gate) carry(a *Admission, r *workflowservice.RespondWorkflowTaskCompletedRequest) error {
	for _, cmd := range r.GetCommands() {
		if n := cmd.GetScheduleNexusOperationCommandAttributes(); n != nil {
			dropped, tooLong := carryNexus(a.origin, n)
			if dropped {
				g.cfg.Logger.Warn("dropped an attestation that a worker sent to a Nexus operation, and that is not its run's", "decision", a.id)
			}
			if tooLong {
				g.cfg.Logger.Warn("a Nexus operation goes without its run's attestation: its own headers leave no room", "decision", a.id)
			}
			continue
		}
		place := commandHeader(cmd)
		if place == nil {
			continue
		}
		if signal := cmd.GetSignalExternalWorkflowExecutionCommandAttributes(); signal != nil && a.origin != nil {
			if err := g.attestSignal(a, signal); err != nil {
				return err
			}
			continue
		}
		_, toActivity := cmd.GetAttributes().(*commandpb.Command_ScheduleActivityTaskCommandAttributes)
		kept, dropped := g.checkCarried(a.origin, *place)
		if dropped {
			g.cfg.Logger.Warn("dropped an attestation that a worker sent, and that no gate signed or that is about another run",
				"command", cmd.GetCommandType().String(), "decision", a.id)
		}
		if marker(cmd) || a.origin == nil {
			continue
		}
		v := kept
		if v.Raw() == "" && a.origin.attested() {
			setField(place, attest.HeaderKey, a.origin.payload)
			v = a.origin.verified
		}
		if !toActivity {
			continue
		}
		dropFields(*place, attest.LineageKey)
		if v.Raw() != "" {
			if p := a.origin.lineage(v); p != nil {
				setField(place, attest.LineageKey, p)
			}
		}
	}
	return nil
}

// marker reports whether a command only writes into the run's own history.
func marker(c *commandpb.Command) bool {
	_, ok := c.GetAttributes().(*commandpb.Command_RecordMarkerCommandAttributes)
	return ok
}

// checkCarried removes from a command's header what can't have come from the run, and returns the statement that stays, if there is one.
// Where the gate does not know the run, which it says when it is made without a Resolver, a genuine statement stays: its reader checks too.
func (g *Gate) checkCarried(o *origin, h *commonpb.Header) (kept attest.Verified, dropped bool) {
	for key, payload := range h.GetFields() {
		if !strings.EqualFold(key, attest.HeaderKey) {
			continue
		}
		if key == attest.HeaderKey {
			if o.attested() && bytes.Equal(payload.GetData(), o.payload.GetData()) && samePlain(payload, o.payload) {
				kept = o.verified
				continue
			}
			if v, err := g.genuine(payload); err == nil && (o == nil || v.CheckRun(o.run) == nil) {
				kept = v
				continue
			}
		}
		delete(h.Fields, key)
		dropped = true
	}
	return kept, dropped
}

// samePlain reports whether two payloads are read in the same way.
func samePlain(a, b *commonpb.Payload) bool {
	return bytes.Equal(a.GetMetadata()["encoding"], b.GetMetadata()["encoding"])
}

func setField(h **commonpb.Header, key string, p *commonpb.Payload) {
	if *h == nil {
		*h = &commonpb.Header{}
	}
	if (*h).Fields == nil {
		(*h).Fields = make(map[string]*commonpb.Payload, 2)
	}
	(*h).Fields[key] = p
}

func dropFields(h *commonpb.Header, name string) {
	for key := range h.GetFields() {
		if strings.EqualFold(key, name) {
			delete(h.Fields, key)
		}
	}
}

// commandHeader is the place for a header in a command that has one. Cancelling another workflow has none: the event there names the run
// that asked for it.
func commandHeader(c *commandpb.Command) **commonpb.Header {
	switch attrs := c.GetAttributes().(type) {
	case *commandpb.Command_ScheduleActivityTaskCommandAttributes:
		if a := attrs.ScheduleActivityTaskCommandAttributes; a != nil {
			return &a.Header
		}
	case *commandpb.Command_StartChildWorkflowExecutionCommandAttributes:
		if a := attrs.StartChildWorkflowExecutionCommandAttributes; a != nil {
			return &a.Header
		}
	case *commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes:
		if a := attrs.ContinueAsNewWorkflowExecutionCommandAttributes; a != nil {
			return &a.Header
		}
	case *commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes:
		if a := attrs.SignalExternalWorkflowExecutionCommandAttributes; a != nil {
			return &a.Header
		}
	case *commandpb.Command_RecordMarkerCommandAttributes:
		if a := attrs.RecordMarkerCommandAttributes; a != nil {
			return &a.Header
		}
	}
	return nil
}
