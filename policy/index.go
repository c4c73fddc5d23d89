package policy

import (
	"iter"
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index files every policy under the scope that it names, so that a request meets only policies whose scope could match.
// It may hand Cedar a policy too many, which costs time; it must never leave one out, which would cost a forbid.
//
// A policy is filed under one or more action keys (a method, a group, or "" for any), and under each of them once, by the resource
// it names (or none) and then by the principal it names (or none).
type index struct {
	actions    map[types.String]*byResource
	forAction  map[string][]*byResource  // method → the action keys that apply to it and hold something
	principals map[types.EntityUID]int32 // only those that a policy names
	resources  map[types.EntityUID]int32
}

type byResource struct {
	any   *byPrincipal
	named map[int32]*byPrincipal
}

type byPrincipal struct {
	any   []*rule
	named map[int32][]*rule
}

func newIndex(rules []*rule) *index {
	ix := &index{
		actions:    map[types.String]*byResource{},
		forAction:  map[string][]*byResource{},
		principals: map[types.EntityUID]int32{},
		resources:  map[types.EntityUID]int32{},
	}
	for _, r := range rules {
		tree := r.tree()
		for _, key := range actionKeys(tree.Action) {
			ix.file(r, key, tree)
		}
	}
	for _, a := range sortedActions() {
		for _, key := range []string{a.Name, string(a.Access), ""} {
			if node := ix.actions[types.String(key)]; node != nil {
				ix.forAction[a.Name] = append(ix.forAction[a.Name], node)
			}
		}
	}
	return ix
}

func (ix *index) file(r *rule, key types.String, tree *ast.Policy) {
	node := ix.actions[key]
	if node == nil {
		node = &byResource{any: &byPrincipal{}, named: map[int32]*byPrincipal{}}
		ix.actions[key] = node
	}
	leaf := node.any
	if uid, ok := scopeEntity(tree.Resource); ok {
		n := intern(ix.resources, uid)
		if leaf = node.named[n]; leaf == nil {
			leaf = &byPrincipal{}
			node.named[n] = leaf
		}
	}
	uid, ok := scopeEntity(tree.Principal)
	if !ok {
		leaf.any = append(leaf.any, r)
		return
	}
	if leaf.named == nil {
		leaf.named = map[int32][]*rule{}
	}
	n := intern(ix.principals, uid)
	leaf.named[n] = append(leaf.named[n], r)
}

func intern(ids map[types.EntityUID]int32, uid types.EntityUID) int32 {
	n, ok := ids[uid]
	if !ok {
		n = int32(len(ids))
		ids[uid] = n
	}
	return n
}

// actionKeys gives the keys under which an action scope is filed. A method whose group is listed beside it is covered by the group:
// filed twice, its policy would be evaluated and reported twice.
func actionKeys(scope ast.IsActionScopeNode) []types.String {
	var uids []types.EntityUID
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		uids = []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		uids = []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		uids = s.Entities
	default:
		return []types.String{""}
	}
	var keys []types.String
	for _, uid := range uids {
		a, isMethod := LookupAction(string(uid.ID))
		covered := isMethod && slices.Contains(uids, types.NewEntityUID(typeAction, types.String(a.Access)))
		if !covered && !slices.Contains(keys, uid.ID) {
			keys = append(keys, uid.ID)
		}
	}
	return keys
}

// scopeEntity returns the entity that a principal or resource scope names, if it names one. Type tests are left to Cedar.
func scopeEntity(scope ast.IsScopeNode) (types.EntityUID, bool) {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return s.Entity, true
	case ast.ScopeTypeIn:
		return s.Entity, true
	case ast.ScopeTypeIsIn:
		return s.Entity, true
	}
	return types.EntityUID{}, false
}

// keysOf looks up which of the entities some policy names.
func keysOf(ids map[types.EntityUID]int32, uids ...types.EntityUID) []int32 {
	var keys []int32
	for _, uid := range uids {
		if n, ok := ids[uid]; ok && !slices.Contains(keys, n) {
			keys = append(keys, n)
		}
	}
	return keys
}

// candidates are the policies whose scope could match one request: slices of the index, never copied.
type candidates struct{ groups [][]*rule }

// collect finds the candidates. principals and resources are the keys of each entity itself and of everything it is in.
func (ix *index) collect(into *candidates, action string, principals, resources []int32) {
	for _, node := range ix.forAction[action] {
		into.take(node.any, principals)
		if len(node.named) == 0 {
			continue
		}
		for _, n := range resources {
			if leaf := node.named[n]; leaf != nil {
				into.take(leaf, principals)
			}
		}
	}
}

func (c *candidates) take(leaf *byPrincipal, principals []int32) {
	if len(leaf.any) > 0 {
		c.groups = append(c.groups, leaf.any)
	}
	if len(leaf.named) == 0 {
		return
	}
	for _, n := range principals {
		if rules := leaf.named[n]; len(rules) > 0 {
			c.groups = append(c.groups, rules)
		}
	}
}

// All makes the candidates a policy iterator for Cedar.
func (c *candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, rules := range c.groups {
			for _, r := range rules {
				if !yield(r.pid(), r.compiled) {
					return
				}
			}
		}
	}
}
