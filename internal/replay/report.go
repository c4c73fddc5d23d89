package replay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/policy"
)

// Config says what to compare.
type Config struct {
	Draft    *policy.Set // what is put to the test
	Base     *policy.Set // what it is compared with; nil: what was decided when it happened
	Examples int         // decisions named for each change; default 3
}

// Kind is what becomes of a call.
type Kind string

const (
	Refused Kind = "refused" // was allowed and would be refused
	Allowed Kind = "allowed" // was refused and would be allowed
	Reason  Kind = "reason"  // refused both times, for another reason
)

// Report is what a replay found. Counts are of entries, which are calls.
type Report struct {
	Draft   string         `json:"draft"`          // digest
	Base    string         `json:"base,omitempty"` // digest; empty: what was decided then
	Calls   int            `json:"calls"`          // that were decided again
	Same    int            `json:"same"`           // with the same outcome
	Refused int            `json:"refused"`        // allowed before, refused by the draft
	Allowed int            `json:"allowed"`        // refused before, allowed by the draft
	Reason  int            `json:"reason"`         // refused by both, for another reason
	Skipped map[string]int `json:"skipped,omitempty"`
	Partial int            `json:"partial,omitempty"` // calls that the draft allows as far as the entry tells
	From    time.Time      `json:"from,omitzero"`     // of the first and last call
	To      time.Time      `json:"to,omitzero"`
	Changes []Change       `json:"changes"` // refusals first, then by count
}

// OK reports whether nothing would have gone otherwise.
func (r Report) OK() bool { return r.Refused == 0 && r.Allowed == 0 }

// Change is one group of calls whose outcome changes in the same way.
type Change struct {
	Kind      Kind          `json:"kind"`
	Action    string        `json:"action"`
	Act       string        `json:"act,omitempty"` // what inside the call is refused, if not the action itself
	Namespace string        `json:"namespace,omitempty"`
	Before    policy.Code   `json:"before"`
	After     policy.Code   `json:"after"`
	Policies  []string      `json:"policies,omitempty"` // that decide now
	Reasons   []string      `json:"reasons,omitempty"`
	Missing   string        `json:"missing,omitempty"`
	Count     int           `json:"count"`
	People    []PersonCount `json:"people"` // most calls first
	Examples  []Example     `json:"examples"`
}

// PersonCount is how many of a group's calls one principal made.
type PersonCount struct {
	Principal string `json:"principal"`
	Login     string `json:"login,omitempty"`
	Count     int    `json:"count"`
}

// Example is one call of a group.
type Example struct {
	Decision string          `json:"decision"` // the entry's id
	Time     time.Time       `json:"time"`
	Login    string          `json:"login,omitempty"`
	Resource policy.Resource `json:"resource"`
}

// Replay collects a report. It is not for use by several goroutines at once.
type Replay struct {
	cfg    Config
	report Report
	groups map[string]*group
	known  map[string]*identity.Claims
}

type group struct {
	Change
	people map[string]*PersonCount
	more   []Example // by people who are in Examples already: shown if there is room
}

// New begins a replay.
func New(cfg Config) *Replay {
	if cfg.Examples <= 0 {
		cfg.Examples = 3
	}
	r := &Replay{cfg: cfg, groups: map[string]*group{}, known: map[string]*identity.Claims{}}
	r.report.Draft = cfg.Draft.Digest()
	if cfg.Base != nil {
		r.report.Base = cfg.Base.Digest()
	}
	return r
}

// Add puts one entry to the draft.
func (r *Replay) Add(e audit.Entry) {
	q, why := Ask(e)
	if why != "" {
		if why != SkipOther {
			if r.report.Skipped == nil {
				r.report.Skipped = map[string]int{}
			}
			r.report.Skipped[why]++
		}
		return
	}
	r.share(&q, e.Actor)
	r.report.Calls++
	if r.report.From.IsZero() || e.Time.Before(r.report.From) {
		r.report.From = e.Time
	}
	if e.Time.After(r.report.To) {
		r.report.To = e.Time
	}
	before := *e.Decision
	if r.cfg.Base != nil {
		before, _ = q.Decide(r.cfg.Base)
	}
	after, act := q.Decide(r.cfg.Draft)
	if q.Partial && after.Allow && !before.Allow {
		r.report.Partial++
	}
	var kind Kind
	switch {
	case before.Allow && !after.Allow:
		kind = Refused
		r.report.Refused++
	case !before.Allow && after.Allow:
		kind = Allowed
		r.report.Allowed++
	case !before.Allow && before.Code != after.Code:
		kind = Reason
		r.report.Reason++
	default:
		r.report.Same++
		return
	}
	c := Change{Kind: kind, Action: e.Action, Namespace: q.Requests[act].Resource.Namespace, Before: before.Code, After: after.Code,
		Policies: after.Policies, Reasons: after.Reasons, Missing: after.Missing}
	if name := q.Requests[act].Action; name != e.Action {
		c.Act = name
	}
	key := fmt.Sprintf("%q", []string{string(kind), c.Action, c.Act, c.Namespace, string(c.Before), string(c.After), c.Missing, strings.Join(c.Policies, "\n")})
	g := r.groups[key]
	if g == nil {
		g = &group{Change: c, people: map[string]*PersonCount{}}
		r.groups[key] = g
	}
	g.Count++
	p := g.people[e.Actor.Principal]
	if p == nil {
		p = &PersonCount{Principal: e.Actor.Principal}
		g.people[e.Actor.Principal] = p
	}
	p.Count++
	p.Login = e.Actor.Login // may change; the latest
	into := &g.more
	if p.Count == 1 {
		into = &g.Examples
	}
	if len(*into) < r.cfg.Examples {
		*into = append(*into, Example{Decision: e.ID, Time: e.Time, Login: e.Actor.Login, Resource: q.Requests[act].Resource})
	}
}

// maxKnown bounds how many tokens' claims are kept.
const maxKnown = 1 << 12

// share gives calls of the same token the same claims, because a set remembers what it knows of claims by their address.
func (r *Replay) share(q *Question, p audit.Party) {
	key := fmt.Sprintf("%q %q %q %q %q %q %q %d %q", p.Principal, p.Login, p.ClientID, p.Groups, p.Actors, p.ActorProfile, p.Scopes, p.AuthTime.UnixNano(), p.ACR)
	c := r.known[key]
	if c == nil {
		if len(r.known) >= maxKnown {
			clear(r.known)
		}
		c = q.Requests[0].Principal
		r.known[key] = c
	}
	for i := range q.Requests {
		q.Requests[i].Principal = c
	}
}

// Report sums up.
func (r *Replay) Report() Report {
	out := r.report
	out.Skipped = maps.Clone(r.report.Skipped)
	out.Changes = []Change{}
	for _, g := range r.groups {
		c := g.Change
		c.Examples = append(slices.Clone(c.Examples), g.more[:min(len(g.more), r.cfg.Examples-len(c.Examples))]...)
		slices.SortStableFunc(c.Examples, func(a, b Example) int { return a.Time.Compare(b.Time) })
		for _, p := range g.people {
			c.People = append(c.People, *p)
		}
		slices.SortFunc(c.People, func(a, b PersonCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Login, b.Login), cmp.Compare(a.Principal, b.Principal))
		})
		out.Changes = append(out.Changes, c)
	}
	rank := map[Kind]int{Refused: 0, Allowed: 1, Reason: 2}
	slices.SortFunc(out.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Action, b.Action), cmp.Compare(a.Act, b.Act), cmp.Compare(a.After, b.After), slices.Compare(a.Policies, b.Policies), cmp.Compare(a.Missing, b.Missing))
	})
	return out
}
