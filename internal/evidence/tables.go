package evidence

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// tables writes the small tables; those of decisions are written already.
func (f *facts) tables(p *pack) error {
	var errs []error
	write := func(name string, columns []string, fill func(row func(...string))) {
		t, err := p.table("entries/"+name+".csv", columns...)
		if err != nil {
			errs = append(errs, err)
			return
		}
		fill(func(cells ...string) { errs = append(errs, t.row(cells...)) })
		errs = append(errs, t.close())
	}
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	at := func(r Ref) string {
		if r.ID == "" {
			return ""
		}
		return n(r.Index)
	}
	write("access", []string{"person", "principal", "namespace", "level", "calls", "first", "first_entry", "last", "last_entry", "policies", "grants", "through_agents"}, func(row func(...string)) {
		for _, x := range f.sortedPairs() {
			row(f.called(x.principal, "").Name(), x.principal, x.namespace, x.access, n(x.N), stamp(x.First.Time), at(x.First), stamp(x.Last.Time), at(x.Last),
				strings.Join(x.policies, " "), strings.Join(x.grants, " "), strconv.FormatBool(x.agents))
		}
	})
	write("roles-held", []string{"person", "principal", "namespace", "role", "used", "first_seen", "first_entry", "last_seen", "last_entry"}, func(row func(...string)) {
		for _, h := range f.sortedHeld() {
			row(f.called(h.principal, "").Name(), h.principal, h.namespace, h.role, strconv.FormatBool(h.Used), stamp(h.First.Time), at(h.First), stamp(h.Last.Time), at(h.Last))
		}
	})
	write("requests", []string{"request", "requester", "principal", "namespace", "role", "actions", "asked", "asked_entry", "outcome", "decided", "approvers", "grant", "seconds", "expires", "break_glass", "reviewed_by", "uses", "reason"}, func(row func(...string)) {
		for _, q := range f.requestList {
			row(q.ID, f.called(q.Requester.Principal, q.Requester.Login).Name(), q.Requester.Principal, q.Namespace, q.Role, q.Actions, stamp(q.Asked.Time), at(q.Asked), q.Outcome,
				stamp(q.Decided.Time), names(q.Approvers), q.Grant, strconv.FormatInt(q.Seconds, 10), q.Expires, strconv.FormatBool(q.BreakGlass), reviewer(q), n(q.Uses.N), q.Reason)
		}
	})
	stepRow := func(row func(...string), s step) {
		row(n(s.Index), stamp(s.Time), s.ID, s.Kind, s.Event, s.Subject, s.Who.Name(), s.Detail)
	}
	stepColumns := []string{"index", "time", "id", "kind", "event", "subject", "by", "detail"}
	write("request-steps", stepColumns, func(row func(...string)) {
		for _, s := range f.steps {
			if s.Kind == string(audit.KindAccess) {
				stepRow(row, s)
			}
		}
	})
	write("revocations", stepColumns, func(row func(...string)) {
		for _, s := range f.steps {
			if s.Kind == string(audit.KindRevocation) {
				stepRow(row, s)
			}
		}
	})
	write("break-glass", stepColumns, func(row func(...string)) {
		for _, s := range f.steps {
			if q := f.requests[s.Subject]; q != nil && q.BreakGlass {
				stepRow(row, s)
			}
		}
	})
	write("refused-people", []string{"who", "principal", "source", "calls", "codes", "first", "first_entry", "last", "last_entry"}, func(row func(...string)) {
		for _, x := range f.sortedRefused() {
			row(x.who.Name(), x.who.Principal, x.source, n(x.N), codesOf(x), stamp(x.First.Time), at(x.First), stamp(x.Last.Time), at(x.Last))
		}
	})
	write("refused-codes", []string{"from", "code", "calls"}, func(row func(...string)) {
		for _, c := range f.sortedCodes() {
			for i, v := range f.codes[c].buckets {
				if v > 0 {
					row(f.buckets.start(i).Format(time.DateOnly), c, n(v))
				}
			}
		}
	})
	write("keys", []string{"index", "time", "id", "gate", "event", "use", "kid", "previous"}, func(row func(...string)) {
		for _, k := range f.keys {
			row(n(k.Index), stamp(k.Time), k.ID, k.Gate, k.Event, k.Use, k.KID, k.Previous)
		}
	})
	write("policy-changes", []string{"index", "time", "id", "gate", "from", "to", "refused", "added", "removed", "text_kept"}, func(row func(...string)) {
		for _, c := range f.policies {
			row(n(c.Index), stamp(c.Time), c.ID, c.Gate, c.From, c.To, strconv.FormatBool(c.Refused), strconv.Itoa(c.Added), strconv.Itoa(c.Removed), strconv.FormatBool(c.Kept))
		}
	})
	write("joiners-leavers", []string{"person", "principal", "what", "group", "source", "at_provider", "entry", "barred", "barred_entry", "first_refused_entry", "last_allowed", "last_allowed_entry", "allowed_after", "first_allowed_entry", "access_lasted_seconds"}, func(row func(...string)) {
		for _, m := range f.moves {
			lasted := ""
			if d, ok := m.lasted(); ok && m.takesAway() {
				lasted = strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
			}
			row(m.Subject.Name(), m.Subject.Principal, m.Kind, m.Group, m.Source, stamp(m.At), at(m.Entry), stamp(m.Bar.Time), at(m.Bar), at(m.FirstRefused), stamp(m.LastAllowed.Time), at(m.LastAllowed), n(m.AllowedAfter), at(m.FirstAllowed), lasted)
		}
	})
	write("duties", []string{"rule", "person", "principal", "what", "first_entry", "second_entry"}, func(row func(...string)) {
		for _, c := range f.conflicts {
			row(c.Rule.ID, c.Who.Name(), c.Who.Principal, c.What, at(c.First), at(c.Second))
		}
	})
	write("reports", []string{"index", "time", "id", "from", "to", "bypasses", "orphans"}, func(row func(...string)) {
		for _, r := range f.reports {
			row(n(r.Index), stamp(r.Time), r.ID, r.From, r.To, strconv.Itoa(r.Bypasses), strconv.Itoa(r.Orphans))
		}
	})
	write("days", []string{"from", "allowed", "refused"}, func(row func(...string)) {
		for i, c := range f.byBucket {
			row(f.buckets.start(i).Format(time.DateOnly), n(c[0]), n(c[1]))
		}
	})
	write("samples", []string{"criterion", "index", "time", "id"}, func(row func(...string)) {
		for _, c := range criteria {
			for _, r := range f.sample(c.ID).drawn() {
				row(c.ID, n(r.Index), stamp(r.Time), r.ID)
			}
		}
	})
	return errors.Join(errs...)
}

func names(list []person) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name())
	}
	return strings.Join(out, ", ")
}

func reviewer(q *request) string {
	if q.Reviewed.ID == "" {
		return ""
	}
	return q.ReviewedBy.Name()
}

func codesOf(p *refusedPerson) string {
	var out []string
	for c := range p.codes {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(p.codes[b], p.codes[a]), cmp.Compare(a, b)) })
	for i, c := range out {
		out[i] = fmt.Sprintf("%s %d", c, p.codes[c])
	}
	return strings.Join(out, ", ")
}

// heldRow is a role that somebody's groups gave.
type heldRow struct {
	heldKey
	span
	Used bool
}

// levelOf is the level of access that a role of the usual four gives.
var levelOf = map[string]string{"read": "read", "write": "operate", "worker": "work", "admin": "administer"}

func (f *facts) sortedHeld() []heldRow {
	list := make([]heldRow, 0, len(f.held))
	for k, s := range f.held {
		level, known := levelOf[k.role]
		list = append(list, heldRow{k, *s, !known || f.pairs[pairKey{k.principal, k.namespace, level}] != nil})
	}
	slices.SortFunc(list, func(a, b heldRow) int {
		return cmp.Or(cmp.Compare(f.called(a.principal, "").Name(), f.called(b.principal, "").Name()), cmp.Compare(a.principal, b.principal), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.role, b.role))
	})
	return list
}
