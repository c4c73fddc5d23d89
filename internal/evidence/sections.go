package evidence

import (
	"slices"
	"strings"
	"time"
)

func (f *facts) viewAccess(v *view) {
	people, namespaces := map[string]bool{}, map[string]bool{}
	pairs := f.sortedPairs()
	var rows []accessRow
	for _, p := range pairs {
		people[p.principal] = true
		if p.namespace != "" {
			namespaces[p.namespace] = true
		}
		r := accessRow{
			Who: f.called(p.principal, "").Name(), Principal: p.principal, Namespace: p.namespace, Level: p.access, N: p.N, First: p.First, Last: p.Last,
			Policies: p.policies, Grants: p.grants, Agents: p.agents,
		}
		if len(rows) < rowsShown {
			r.When = strip(p.weeks, f.buckets)
			f.citeAll([]Ref{p.First, p.Last})
		}
		r.Same = len(rows) > 0 && rows[len(rows)-1].Principal == p.principal
		rows = append(rows, r)
	}
	v.People, v.Namespaces, v.Access = len(people), len(namespaces), cut(rows, rowsShown)
	var unused []heldView
	for _, h := range f.sortedHeld() {
		if !h.Used {
			unused = append(unused, heldView{f.called(h.principal, "").Name(), h.namespace, h.role, h.First, h.Last})
		}
	}
	v.Unused = cut(unused, rowsShown)
	for _, h := range v.Unused.Rows {
		f.citeAll([]Ref{h.First, h.Last})
	}
}

func (f *facts) viewRequests(v *view) {
	for _, q := range f.requestList {
		q.Requester = f.called(q.Requester.Principal, q.Requester.Login)
	}
	v.Requests, v.BreakGlass = cut(f.requestList, rowsShown), cut(f.breakGlass(), rowsShown)
	outcomes := map[string]int{}
	for _, q := range f.requestList {
		outcomes[q.Outcome]++
	}
	for _, q := range slices.Concat(v.Requests.Rows, v.BreakGlass.Rows) {
		f.citeAll([]Ref{q.First, q.Asked, q.Decided, q.Activated, q.Reviewed, q.Ended, q.Uses.First, q.Uses.Last})
		f.citeAll(q.ApprovalRefs)
	}
	var bars []barRow
	for _, o := range []string{"granted", "approved", "ended", "returned", "expired", "revoked", "denied", "refused", "withdrawn", "open"} {
		if n := outcomes[o]; n > 0 {
			bars = append(bars, barRow{o, float64(n), group(uint64(n)), o == "denied" || o == "refused" || o == "revoked"})
		}
	}
	if len(bars) > 0 {
		v.Outcomes = barsChart("outcomes", "Where access requests stand", describe(bars), bars, 0, "")
	}
}

func describe(bars []barRow) string {
	var parts []string
	for _, b := range bars {
		parts = append(parts, b.Name+": "+b.Label)
	}
	return strings.Join(parts, "; ") + "."
}

func (f *facts) viewRefused(v *view) {
	var bars []barRow
	for i, c := range f.sortedCodes() {
		n := f.codes[c]
		if i < barsShown {
			bars = append(bars, barRow{c, float64(n.N), group(n.N), true})
		}
		counts := make([]uint32, len(n.buckets))
		for k, x := range n.buckets {
			counts[k] = uint32(min(x, 1<<31))
		}
		v.CodeTrend = append(v.CodeTrend, trendRow{c, n.N, strip(counts, f.buckets)})
	}
	if len(bars) > 0 {
		v.Codes = barsChart("codes", "Refused calls by reason", describe(bars), bars, 0, "")
	}
	var rows []refusedRow
	for _, p := range f.sortedRefused() {
		rows = append(rows, refusedRow{p.who.Name(), p.source, codesOf(p), p.N, p.First, p.Last})
		if len(rows) <= 100 {
			f.citeAll([]Ref{p.First, p.Last})
		}
	}
	v.RefusedPeople = cut(rows, 100)
}

func (f *facts) viewMoves(v *view) {
	limit := time.Duration(f.settings.Rules.LeaverMinutes) * time.Minute
	var rows []moveRow
	var bars []barRow
	for _, m := range f.moves {
		m.Subject = f.called(m.Subject.Principal, m.Subject.Login)
		r := moveRow{move: m, What: movedWords[m.Kind]}
		if m.takesAway() {
			r.Lasted = "not seen since"
			if d, ok := m.lasted(); ok {
				r.Lasted, r.Late = spell(d), d > limit
				if len(bars) < 2*barsShown {
					bars = append(bars, barRow{m.Subject.Name(), d.Minutes(), spell(d), d > limit})
				}
			}
		}
		if len(rows) < rowsShown {
			f.citeAll([]Ref{m.Entry, m.Bar, m.FirstAllowed, m.FirstRefused, m.LastAllowed})
		}
		rows = append(rows, r)
	}
	v.Moves = cut(rows, rowsShown)
	if len(bars) > 0 {
		v.Leavers = barsChart("leavers", "From removal at the identity provider to loss of access", describe(bars), bars, limit.Minutes(), "limit "+spell(limit))
	}
}

func (f *facts) viewPolicy(v *view) {
	changes := f.changes()
	v.Changes = cut(changes, diffsShown)
	for _, c := range v.Changes.Rows {
		f.cite(c.Ref)
	}
	kept := map[string]bool{}
	for _, c := range f.policies {
		kept[c.To] = c.Kept
	}
	for _, d := range f.digests() {
		if s := f.policySets[d]; s != nil && len(v.Sets) < rowsShown {
			v.Sets = append(v.Sets, setRow{d, *s, kept[d]})
			f.citeAll([]Ref{s.First, s.Last})
		}
	}
	slices.SortStableFunc(v.Sets, func(a, b setRow) int { return a.First.Time.Compare(b.First.Time) })
}
