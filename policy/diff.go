package policy

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// DiffReport says how two sets differ.
type DiffReport struct {
	A        string         `json:"a"` // digests
	B        string         `json:"b"`
	Policies []PolicyChange `json:"policies,omitempty"`
	Mapping  []string       `json:"mapping,omitempty"` // "+ group auditors: read in every namespace", "- client X: worker in deploy"
	Access   []AccessChange `json:"access,omitempty"`
}

// PolicyChange is one policy that only one set has, or that means something else in each.
type PolicyChange struct {
	ID     string `json:"id"`
	Change string `json:"change"` // "added", "removed" or "changed"
	Effect string `json:"effect"`
	Where  string `json:"where"` // FILE:LINE, in B unless it was removed
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// AccessChange is what became of some actions for one kind of principal: allowed in one set and not in the other.
type AccessChange struct {
	Who       string   `json:"who"` // "group temporal:payments:write", "client X", "everyone"
	Namespace string   `json:"namespace,omitempty"`
	With      string   `json:"with,omitempty"` // what else the calls had, such as "workflow type Deploy"
	Actions   []string `json:"actions"`
	Before    Code     `json:"before"`
	After     Code     `json:"after"`
}

// Same reports whether nothing differs.
func (r DiffReport) Same() bool {
	return len(r.Policies) == 0 && len(r.Mapping) == 0 && len(r.Access) == 0
}

// Widens reports whether anything is allowed in B that was not in A, among what Diff asked.
func (r DiffReport) Widens() bool {
	return slices.ContainsFunc(r.Access, func(c AccessChange) bool { return c.After == CodeAllowed })
}

// Diff compares two sets by their texts and by what they decide: for each group, client and user that either names, in each namespace that
// either names and one that neither does, about every action. Order and spaces of the files are no difference.
func Diff(a, b *Set) DiffReport {
	r := DiffReport{A: a.digest, B: b.digest}
	r.Policies = policyChanges(a, b)
	before, after := a.roles.lines(), b.roles.lines()
	for _, line := range before {
		if !slices.Contains(after, line) {
			r.Mapping = append(r.Mapping, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			r.Mapping = append(r.Mapping, "+ "+line)
		}
	}
	if len(r.Policies)+len(r.Mapping) > 0 {
		r.Access = accessChanges(a, b)
	}
	return r
}

func policyChanges(a, b *Set) []PolicyChange {
	var changes []PolicyChange
	ids := map[types.PolicyID]bool{}
	for _, s := range []*Set{a, b} {
		for id := range s.policies {
			ids[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		before, after := a.policies[id], b.policies[id]
		c := PolicyChange{ID: string(id)}
		switch {
		case before == nil:
			c.Change, c.Effect, c.Where, c.After = "added", after.effect(), after.located(), after.source()
		case after == nil:
			c.Change, c.Effect, c.Where, c.Before = "removed", before.effect(), before.located(), before.source()
		case !bytes.Equal(before.compiled.MarshalCedar(), after.compiled.MarshalCedar()):
			c.Change, c.Effect, c.Where, c.Before, c.After = "changed", after.effect(), after.located(), before.source(), after.source()
		default:
			continue
		}
		changes = append(changes, c)
	}
	return changes
}

// source is the policy as it is written, without what follows it.
func (r *rule) source() string {
	text := string(r.text)
	if end := strings.LastIndex(text, ";"); end >= 0 {
		text = text[:end+1]
	}
	return strings.TrimSpace(text)
}

// lines says in words what roles.yaml gives, sorted.
func (m *rolemap) lines() []string {
	var lines []string
	add := func(format, issuer string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if issuer != "" {
			line += " (issuer " + issuer + ")"
		}
		lines = append(lines, line)
	}
	for _, p := range m.patterns {
		add("pattern %s: %s", p.issuer, p.text, cmp.Or(string(p.role), "the role in its name"))
	}
	grants := func(kind string, entries map[string][]entry) {
		for name, list := range entries {
			for _, e := range list {
				for _, g := range e.grants {
					place := g.namespace
					if place == everyNamespace {
						place = "every namespace"
					}
					on := ""
					if g.role == RoleWorker && len(e.queues) > 0 {
						on = ", on the task queues " + strings.Join(e.queues, ", ")
					}
					add("%s %s: %s in %s%s", e.issuer, kind, name, g.role, place, on)
				}
				if e.agent {
					add("%s %s: is an AI agent", e.issuer, kind, name)
				}
			}
		}
	}
	grants("group", m.groups)
	grants("client", m.clients)
	slices.Sort(lines)
	return slices.Compact(lines)
}

// elsewhere stands for every namespace that no policy and no role names.
const elsewhere = "any-other"

// maxTypes bounds how many workflow types that policies name are asked about.
const maxTypes = 8

type circumstance struct {
	with string
	at   Resource
	full bool // a reason is stated and the login is fresh
}

func accessChanges(a, b *Set) []AccessChange {
	namespaces := map[string]bool{elsewhere: true}
	workflowTypes := map[string]bool{}
	for _, s := range []*Set{a, b} {
		for _, name := range s.roles.namespaces() {
			namespaces[name] = true
		}
		for _, r := range s.policies {
			namedIn(r.tree(), namespaces, workflowTypes)
		}
	}
	delete(namespaces, everyNamespace)
	kinds := []circumstance{{full: true}, {with: "no reason, no recent login"}}
	for _, name := range slices.Sorted(maps.Keys(workflowTypes)) {
		if len(kinds) < maxTypes+2 {
			kinds = append(kinds, circumstance{"workflow type " + name, Resource{WorkflowType: name}, true})
		}
	}
	var changes []AccessChange
	for _, who := range archetypes(a, b, slices.Sorted(maps.Keys(namespaces))) {
		claims := who.claims
		claims.Issuer, claims.ID = cmp.Or(claims.Issuer, "any"), cmp.Or(claims.ID, "someone")
		now := time.Date(2026, time.November, 25, 12, 0, 0, 0, time.UTC)
		claims.AuthTime = now
		older := claims
		older.AuthTime = time.Time{}
		for _, namespace := range append([]string{""}, slices.Sorted(maps.Keys(namespaces))...) {
			told := map[[3]string]bool{}
			for _, kind := range kinds {
				req := Request{Principal: &claims, Resource: kind.at, Context: Context{Now: now, Reason: "a reason"}}
				if !kind.full {
					req.Principal, req.Context.Reason = &older, ""
				}
				if req.Resource.WorkflowType == "" {
					req.Resource.WorkflowType = "any"
				}
				req.Resource.Namespace, req.Resource.WorkflowID, req.Resource.TaskQueue, req.Resource.ScheduleID = namespace, "any", "any", "any"
				changes = append(changes, who.compare(a, b, req, kind.with, told)...)
			}
		}
	}
	return changes
}

// compare asks both sets about every action, and tells what was not told for a plainer call.
func (who suspect) compare(a, b *Set, req Request, with string, told map[[3]string]bool) []AccessChange {
	inA, inB := a.newPrincipal(req.Principal, a.roles.resolve(req.Principal)), b.newPrincipal(req.Principal, b.roles.resolve(req.Principal))
	grouped := map[[2]Code][]string{}
	for _, action := range sortedActions() {
		if (action.Scope == ScopeCluster) != (req.Resource.Namespace == "") || with != "" && strings.HasPrefix(with, "workflow type") && action.Scope != ScopeWorkflow && action.Scope != ScopeSchedule {
			continue
		}
		req.Action = action.Name
		before, after := a.code(&req, inA), b.code(&req, inB)
		key := [3]string{action.Name, string(before), string(after)}
		if (before == CodeAllowed) == (after == CodeAllowed) || told[key] { // one denial or another is no change of access
			continue
		}
		told[key] = true
		grouped[[2]Code{before, after}] = append(grouped[[2]Code{before, after}], action.Name)
	}
	var changes []AccessChange
	for codes, actions := range grouped {
		changes = append(changes, AccessChange{Who: who.Who(), Namespace: req.Resource.Namespace, With: with, Actions: actions, Before: codes[0], After: codes[1]})
	}
	slices.SortFunc(changes, func(x, y AccessChange) int {
		return cmp.Or(strings.Compare(string(x.Before), string(y.Before)), strings.Compare(string(x.After), string(y.After)))
	})
	return changes
}

// archetypes lists whom either set names, once each.
func archetypes(a, b *Set, namespaces []string) []suspect {
	all := []suspect{{Grantee: Grantee{Kind: "everyone"}, claims: identity.Claims{Kind: identity.User}}}
	for _, s := range []*Set{a, b} {
		for _, name := range s.index.methods {
			for _, namespace := range namespaces {
				for _, one := range s.suspects(name, namespace) {
					if !slices.ContainsFunc(all, func(o suspect) bool {
						return o.Kind == one.Kind && o.Name == one.Name && o.Issuer == one.Issuer
					}) {
						all = append(all, one)
					}
				}
			}
		}
	}
	slices.SortFunc(all, func(x, y suspect) int {
		return cmp.Or(cmp.Compare(kindRank(x.Kind), kindRank(y.Kind)), strings.Compare(x.Name, y.Name), strings.Compare(x.Issuer, y.Issuer))
	})
	return all
}

// namedIn collects the namespaces and the workflow types that a policy names.
func namedIn(tree *ast.Policy, namespaces, workflowTypes map[string]bool) {
	place := func(uid types.EntityUID) {
		switch uid.Type {
		case typeNamespace, typeWorkflow, typeTaskQueue, typeSchedule:
			if name, _, _ := strings.Cut(string(uid.ID), "/"); isNamespaceName(name) {
				namespaces[name] = true
			}
		}
	}
	if uid, ok := scopeEntity(tree.Resource); ok {
		place(uid)
	}
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeValue:
				if uid, ok := n.Value.(types.EntityUID); ok {
					place(uid)
				}
			case ast.NodeTypeEquals:
				name, _ := isAttribute(n.Left, "resource")
				if text, ok := literalText(n.Right); ok && name == "type" {
					workflowTypes[text] = true
				}
			case ast.NodeTypeContains:
				list, isSet := n.Left.(ast.NodeTypeSet)
				if name, _ := isAttribute(n.Right, "resource"); isSet && name == "type" {
					for _, e := range list.Elements {
						if text, ok := literalText(e); ok {
							workflowTypes[text] = true
						}
					}
				}
			}
			return true
		})
	}
}
