package inflight

import (
	"encoding/json"

	"go.temporal.io/sdk/workflow"
)

const (
	maxActivities = 1000    // of one run of the workflow, about: Temporal ends one with 50,000 events, and an activity is up to seven of them
	maxActed      = 3 << 19 // bytes of what a run leaves to the next; Temporal takes 2 MB

	longestReason = "credential_changed"
)

// acted is a target that was acted on, for a reason.
type acted struct {
	Target
	Reason string `json:"reason"`
	Held   bool   `json:"held,omitempty"`
}

// long reports whether a new run should go on.
func (p *person) long() bool { return p.did >= maxActivities }

// leave is what the next run begins with. What is under way comes first: when it is done, nothing of it is left to do.
func (p *person) leave(c Case, now change) Case {
	next := Case{Version: c.Version, Principal: c.Principal, News: append([]change{now}, p.queue...), Look: p.look, Places: p.places}
	for more := (change{}); p.news.ReceiveAsync(&more); more = (change{}) { // signals that were delivered end with the run
		next.News = append(next.News, more)
	}
	for _, t := range workflow.DeterministicKeysFunc(p.seen, compare) {
		next.Acted = append(next.Acted, acted{t, p.seen[t], p.held[t]})
	}
	return next
}

// remember keeps what was acted on, so that it is not again, and reports whether there is room.
func (p *person) remember(a acted) bool {
	if _, known := p.seen[a.Target]; !known {
		raw, err := json.Marshal(acted{a.Target, longestReason, true})
		if err != nil || p.bytes+len(raw) > maxActed {
			return false
		}
		p.bytes += len(raw)
	}
	p.seen[a.Target] = a.Reason
	if a.Held {
		p.held[a.Target] = true
	}
	return true
}
