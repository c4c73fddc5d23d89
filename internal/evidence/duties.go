package evidence

import (
	"cmp"
	"slices"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// conflict is one person with two duties that are to be kept apart.
type conflict struct {
	Rule   Duty
	Who    person
	What   string
	First  Ref
	Second Ref
}

// maxConflicts bounds what a rule can find; a rule that finds more is a bad rule.
const maxConflicts = 10_000

func (f *facts) eachDuty(kind string, add func(d Duty)) {
	for _, d := range f.settings.Rules.Duties {
		if d.Kind == kind {
			add(d)
		}
	}
}

func (f *facts) conflict(c conflict) {
	if len(f.conflicts) < maxConflicts {
		f.conflicts = append(f.conflicts, c)
	}
}

// starts looks for somebody who starts a run that the same person approves.
func (f *facts) starts(r Ref, e *audit.Entry) {
	if !e.Decision.Allow || len(f.approvals) == 0 || e.Action != "StartWorkflowExecution" && e.Action != "SignalWithStartWorkflowExecution" {
		return
	}
	for _, a := range f.approvals[runKey{e.Resource.Namespace, e.Resource.WorkflowID}] {
		if a.who.Principal == e.Actor.Principal && a.ref.Index != r.Index {
			f.eachDuty("started_approved", func(d Duty) {
				f.conflict(conflict{d, f.called(a.who.Principal, a.who.Login), "run " + e.Resource.Namespace + "/" + e.Resource.WorkflowID + ", by " + a.by, r, a.ref})
			})
		}
	}
}

// separate finds the conflicts that show only when all is counted.
func (f *facts) separate() {
	f.eachDuty("requested_approved", func(d Duty) {
		for _, q := range f.requestList {
			for i, a := range q.Approvers {
				if a.Principal != "" && a.Principal == q.Requester.Principal {
					f.conflict(conflict{d, f.called(a.Principal, a.Login), "request " + q.ID, q.First, q.ApprovalRefs[i]})
				}
			}
		}
	})
	f.eachDuty("approved_used", func(d Duty) {
		for _, q := range f.requestList {
			use := f.grantUse[q.Grant]
			if use == nil {
				continue
			}
			for i, a := range q.Approvers {
				if use.users[a.Principal] {
					f.conflict(conflict{d, f.called(a.Principal, a.Login), "grant " + q.Grant, q.ApprovalRefs[i], use.First})
				}
			}
		}
	})
	f.eachDuty("roles", func(d Duty) {
		first, second := map[string]*pair{}, map[string]*pair{}
		for _, p := range f.sortedPairs() {
			if p.access != "operate" && p.access != "administer" {
				continue
			}
			if matches(d.First, p.namespace) && first[p.principal] == nil {
				first[p.principal] = p
			}
			if matches(d.Second, p.namespace) && second[p.principal] == nil {
				second[p.principal] = p
			}
		}
		for who, a := range first {
			if b := second[who]; b != nil {
				f.conflict(conflict{d, f.called(who, ""), a.namespace + " and " + b.namespace, a.Last, b.Last})
			}
		}
	})
	slices.SortFunc(f.conflicts, func(a, b conflict) int {
		return cmp.Or(cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.First.Index, b.First.Index), cmp.Compare(a.Second.Index, b.Second.Index), cmp.Compare(a.Who.Principal, b.Who.Principal))
	})
}

// sortedPairs lists who used what, by name, namespace and level.
func (f *facts) sortedPairs() []*pair {
	list := make([]*pair, 0, len(f.pairs))
	for _, p := range f.pairs {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *pair) int {
		return cmp.Or(cmp.Compare(f.called(a.principal, "").Name(), f.called(b.principal, "").Name()), cmp.Compare(a.principal, b.principal),
			cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.access, b.access))
	})
	return list
}
