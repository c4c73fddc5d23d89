package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// tally is called when every entry has been taken.
func (f *facts) tally() {
	for _, q := range f.requestList {
		if use := f.grantUse[q.Grant]; use != nil {
			q.Uses = use.span
		}
	}
	for _, p := range f.sortedPairs() {
		f.sample("CC6.3").offer(p.Last)
	}
	slices.SortStableFunc(f.moves, func(a, b *move) int { return a.At.Compare(b.At) })
	f.separate()
}

// judge compares policy texts. Texts may be nil.
func (f *facts) judge(texts func(string) ([]byte, error)) {
	sets := map[string][]policyText{}
	load := func(digest string) ([]policyText, bool) {
		if digest == "" {
			return nil, false
		}
		if t, ok := sets[digest]; ok {
			return t, t != nil
		}
		var set []policyText
		if texts != nil {
			if raw, err := texts(digest); err == nil {
				set, _ = splitSet(raw)
			}
		}
		sets[digest] = set
		return set, set != nil
	}
	for _, c := range f.policies {
		_, c.Kept = load(c.To)
		if c.From == "" || c.From == c.To {
			continue
		}
		old, ok := load(c.From)
		now, ok2 := load(c.To)
		if !ok || !ok2 {
			continue
		}
		c.Files = diffSets(old, now)
		for _, d := range c.Files {
			c.Added += d.Added
			c.Removed += d.Removed
		}
	}
}

// digests lists the policy sets that the pack names, to keep their texts.
func (f *facts) digests() []string {
	set := map[string]bool{}
	for d := range f.policySets {
		set[d] = true
	}
	for _, c := range f.policies {
		set[c.From], set[c.To] = true, true
	}
	delete(set, "")
	list := make([]string, 0, len(set))
	for d := range set {
		list = append(list, d)
	}
	slices.Sort(list)
	return list
}

// breakGlass lists the requests that skipped the usual approvals.
func (f *facts) breakGlass() []*request {
	var list []*request
	for _, q := range f.requestList {
		if q.BreakGlass {
			list = append(list, q)
		}
	}
	return list
}

// changes lists the policy changes: what a gate said at its first start in the period is where it begins.
func (f *facts) changes() []*policyChange {
	var list []*policyChange
	for _, c := range f.policies {
		if c.From != "" || c.Refused {
			list = append(list, c)
		}
	}
	return list
}

// exception is something that a criterion's control did not do, or did not show.
type exception struct {
	Text string
	Refs []Ref
}

// criterion is a trust services criterion with what the record says of it. Titles and controls are in our own words.
type criterion struct {
	ID, Title, Control string
	What               string // of the population
	File               string
	Section            string // id in the report
	Population         uint64
	Exceptions         []exception
	Beyond             int // exceptions not listed
	Sample             []Ref
}

var criteria = []criterion{
	{ID: "CC6.1", Title: "Access to systems is restricted by logical controls", Section: "access", File: "index.html#files", What: "decisions recorded",
		Control: "Every call to Temporal passes one gate, which verifies the caller's token, decides by policy, and records the decision durably before a changing call goes on. What the policy does not permit is refused."},
	{ID: "CC6.2", Title: "Access is authorized before it is given, and removed when it is no longer", Section: "requests", File: "entries/request-steps.csv", What: "steps of access requests, joiners and leavers",
		Control: "Access comes from groups of the identity provider, or from a request that others approve and that expires. When the identity provider removes somebody, gates bar them before their tokens run out."},
	{ID: "CC6.3", Title: "Access follows roles, least privilege and separation of duties", Section: "duties", File: "entries/access.csv", What: "persons with use of a level of access in a namespace",
		Control: "Roles are given by namespace and level (read, operate, work, administer). Grants are narrow and expire on the gate's clock. Combinations of duties that one person must not have are looked for in the record."},
	{ID: "CC6.6", Title: "Threats from outside the boundary are kept out", Section: "denied", File: "entries/denied.csv", What: "refused calls",
		Control: "A call without a valid token of a trusted issuer is refused before anything is looked at, and recorded with its source. Refusals have stable reason codes, by which they can be watched."},
	{ID: "CC7.2", Title: "Systems are monitored for what may be an incident", Section: "integrity", File: "entries/days.csv", What: "entries in the period",
		Control: "Decisions and lifecycle events form one tamper-evident log, sealed within a second. Histories are held against it to find acts with no decision behind them."},
	{ID: "CC7.3", Title: "Events are evaluated, and acted on", Section: "breakglass", File: "entries/break-glass.csv", What: "break-glass steps and revocations",
		Control: "Use of break-glass is recorded and reviewed afterwards by somebody else. Signals of the identity provider (deactivation, suspension, session revoked) take effect at the gates at once."},
	{ID: "CC8.1", Title: "Changes are authorized, tested and recorded", Section: "policy", File: "entries/policy-changes.csv", What: "policy changes and administrative calls",
		Control: "Policies are files under version control that gates check before they follow them; each change of the set in force is recorded with its digest, and its text is kept. Administrative calls are decided like any other."},
}

// listed is how many exceptions the report lists for one criterion.
const listed = 20

// assess fills in what the record says of each criterion.
func (f *facts) assess() []criterion {
	out := slices.Clone(criteria)
	for i := range out {
		c := &out[i]
		s := f.sample(c.ID)
		c.Population, c.Sample = s.n, s.drawn()
		all := f.exceptions(c.ID)
		if len(all) > listed {
			c.Beyond = len(all) - listed
			all = all[:listed]
		}
		c.Exceptions = all
	}
	return out
}

func (f *facts) exceptions(id string) []exception {
	var out []exception
	add := func(refs []Ref, format string, args ...any) {
		out = append(out, exception{fmt.Sprintf(format, args...), refs})
	}
	switch id {
	case "CC6.1":
		if f.unpermittedN > 0 {
			add(f.unpermitted, "%s with no policy named", plural(f.unpermittedN, "allowed call"))
		}
		if c := f.codes["policy_error"]; c != nil {
			add(nil, "%d calls were refused because a policy could not be evaluated", c.N)
		}
		for _, r := range f.reports {
			if r.Bypasses > 0 {
				add([]Ref{r.Ref}, "A reconciliation found %s in histories with no decision behind", plural(uint64(r.Bypasses), "event"))
			}
		}
	case "CC6.2":
		for _, q := range f.requestList {
			if q.Activated.ID != "" && len(q.Approvers) == 0 && !q.BreakGlass && q.Asked.ID != "" {
				add([]Ref{q.Activated}, "Request %s was granted with no approval on record", q.ID)
			}
		}
		for _, m := range f.moves {
			if m.takesAway() && m.AllowedAfter > 0 && m.Bar.ID != "" && m.LastAllowed.Time.After(m.Bar.Time) {
				add([]Ref{m.Entry, m.LastAllowed}, "%s: a call was allowed after the bar of %s", m.Subject.Name(), clock(m.Bar.Time))
			}
		}
		out = append(out, f.late()...)
	case "CC6.3":
		for _, c := range f.conflicts {
			add([]Ref{c.First, c.Second}, "%s: %s (%s)", c.Who.Name(), lower(c.Rule.Title), c.What)
		}
	case "CC7.2":
		for _, r := range f.lost {
			add([]Ref{r}, "Entry %d stands for one that a disk lost after it was acknowledged", r.Index)
		}
		for _, r := range f.unreadable {
			add(nil, "Entry %d is in the log and can't be read", r.Index)
		}
		if f.gone > 0 {
			add(nil, "%d entries between the period's first and last are no longer kept; their hashes are", f.gone)
		}
		for _, r := range f.reports {
			if r.Bypasses > 0 {
				add([]Ref{r.Ref}, "A reconciliation found %s with no decision behind", plural(uint64(r.Bypasses), "event"))
			}
		}
	case "CC7.3":
		within := time.Duration(f.settings.Rules.ReviewDays) * 24 * time.Hour
		for _, q := range f.breakGlass() {
			switch {
			case q.Reviewed.ID == "" && f.logEnd.After(q.First.Time.Add(within)):
				add([]Ref{q.First}, "Break-glass %s of %s was not reviewed within %d days", q.ID, f.called(q.Requester.Principal, q.Requester.Login).Name(), f.settings.Rules.ReviewDays)
			case q.Reviewed.ID != "" && q.Reviewed.Time.After(q.First.Time.Add(within)):
				add([]Ref{q.First, q.Reviewed}, "Break-glass %s was reviewed later than %d days", q.ID, f.settings.Rules.ReviewDays)
			case q.Reviewed.ID != "" && q.ReviewedBy.Principal == q.Requester.Principal:
				add([]Ref{q.Reviewed}, "Break-glass %s was reviewed by the person who used it", q.ID)
			}
		}
		out = append(out, f.late()...)
	case "CC8.1":
		for _, c := range f.policies {
			switch {
			case c.Refused:
				add([]Ref{c.Ref}, "Gate %s was given a policy set that it could not use, and kept the one before", c.Gate)
			case !c.Kept && c.From != "":
				add([]Ref{c.Ref}, "The text of policy set %s of gate %s was not kept", short(c.To), c.Gate)
			}
		}
		for _, c := range f.conflicts {
			if c.Rule.Kind == "started_approved" {
				add([]Ref{c.First, c.Second}, "%s: %s (%s)", c.Who.Name(), lower(c.Rule.Title), c.What)
			}
		}
	}
	return out
}

// late lists who kept access for longer than the rules say.
func (f *facts) late() []exception {
	var out []exception
	limit := time.Duration(f.settings.Rules.LeaverMinutes) * time.Minute
	for _, m := range f.moves {
		if !m.takesAway() {
			continue
		}
		if d, ok := m.lasted(); ok && d > limit {
			refs := []Ref{m.Entry}
			if m.LastAllowed.ID != "" {
				refs = append(refs, m.LastAllowed)
			}
			out = append(out, exception{fmt.Sprintf("%s %s and could act for another %s", m.Subject.Name(), movedWords[m.Kind], spell(d)), refs})
		}
	}
	return out
}

var movedWords = map[string]string{
	"joined": "joined", "left": "was removed", "suspended": "was suspended", "group_added": "was put into a group", "group_removed": "was taken out of a group",
}

// sortedRefused lists who was refused most.
func (f *facts) sortedRefused() []*refusedPerson {
	list := make([]*refusedPerson, 0, len(f.refused))
	for _, p := range f.refused {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *refusedPerson) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.who.Name(), b.who.Name()), cmp.Compare(a.who.Principal, b.who.Principal), cmp.Compare(a.source, b.source))
	})
	return list
}

// sortedCodes lists the reason codes by how often.
func (f *facts) sortedCodes() []string {
	list := make([]string, 0, len(f.codes))
	for c := range f.codes {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(f.codes[b].N, f.codes[a].N), cmp.Compare(a, b)) })
	return list
}
