package gate

import (
	"context"
	"fmt"
	"strconv"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// maxActs bounds the further acts in one entry, in bytes: half of what an entry can hold.
const maxActs = audit.MaxEntry / 2

// recordActs puts what the call would do into its entry. A worker's answer is never refused for doing much: its commands are in history, so
// the rest is counted. Anybody else names what the entry can hold.
func recordActs(entry *audit.Entry, asks []ask, action policy.Action) error {
	entry.Resource = asks[0].resource
	if len(asks) == 1 {
		return nil
	}
	entry.Acts = make([]audit.Act, 0, len(asks)-1)
	size := 0
	for i := range asks[1:] {
		k := &asks[1+i]
		size += len(k.action) + k.resourceSize()
		if size > maxActs {
			if action.Access != policy.Work {
				return fmt.Errorf("the call does %d things to named resources, more than one audit entry can hold; split it into calls of about %d", len(asks)-1, i)
			}
			if entry.Detail == nil {
				entry.Detail = make(map[string]string, 1)
			}
			entry.Detail["acts_omitted"] = strconv.Itoa(len(asks) - 1 - i)
			return nil
		}
		entry.Acts = append(entry.Acts, audit.Act{Action: k.action, Resource: k.resource})
	}
	return nil
}

// append makes an entry durable, or says why the call must be refused.
func (g *Gate) append(ctx context.Context, entry *audit.Entry) error {
	began := g.metrics.now()
	_, err := g.cfg.Log.Append(ctx, *entry)
	g.metrics.appended(ctx, began, err)
	if err != nil {
		g.cfg.Logger.ErrorContext(ctx, "denying a call that could not be recorded", "action", entry.Action, "decision", entry.ID, "error", err)
	}
	return err
}

// refuse records a denial and returns it. A denial stands whether or not it can be recorded, so it never waits for the disk.
func (g *Gate) refuse(ctx context.Context, e *audit.Entry, d *Denial) error {
	if e.Decision == nil || e.Decision.Allow { // policy was not asked, or said yes to what the gate then refused
		e.Decision = &policy.Decision{Code: policy.Code(d.Code), Reasons: []string{d.Message}}
	}
	if err := g.cfg.Log.Enqueue(*e); err != nil {
		g.cfg.Logger.WarnContext(ctx, "a denial could not be recorded", "code", d.Code, "decision", d.DecisionID, "error", err)
	}
	if d.Cause != nil {
		g.cfg.Logger.WarnContext(ctx, "denied", "code", d.Code, "decision", d.DecisionID, "action", e.Action, "error", d.Cause)
	}
	return d
}
