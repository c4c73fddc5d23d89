package policy

import (
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index files every policy under the scope that it names, so that a request meets only policies whose scope could match.
// It may hand Cedar a policy whose principal or resource does not match; it must never leave one out, which would cost a forbid.
// Actions are exact: a policy met under an action key covers that action, so its action scope is not evaluated again.
//
// A policy is filed under one or more action keys (a method, a group, or "" for any), and under each of them once, by the resource
// it names (or none) and then by the principal it names (or none).
type index struct {
	actions    map[types.String]*byResource
	methods    map[string]*actionInfo
	principals map[types.EntityUID]int32 // only those that a policy names
	resources  map[types.EntityUID]int32
	named      map[string]map[entityName]int32 // of resources, those inside a namespace, by namespace
}

// entityName is the name of a workflow, task queue or schedule in its namespace.
type entityName struct {
	of types.EntityType
	id string
}

// noKey is the index key of nothing.
const noKey int32 = -1

// actionInfo is an action with the places of the index that hold its policies.
type actionInfo struct {
	Action
	uid   types.EntityUID
	of    types.EntityType // of what it acts on
	filed []*byResource

	existing bool // it acts on a run or schedule that exists, whose attributes the request does not tell

	wants, confinedWants wants
}

// tellsAll lists the actions on workflows and schedules whose request says all about what it starts.
func tellsAll(action string) bool {
	switch action {
	case "StartWorkflowExecution", "SignalWithStartWorkflowExecution", CommandStartChild, CommandNexusOperation, "CreateSchedule", "UpdateSchedule":
		return true
	}
	return false
}

// wants are what policies look at: for any namespace, and for those that a policy's scope names.
type wants struct {
	any looks
	in  map[string]looks
}

func (w *wants) add(namespace string, named bool, l looks) {
	if !named {
		w.any |= l
		return
	}
	if w.in == nil {
		w.in = map[string]looks{}
	}
	w.in[namespace] |= l
}

func (w *wants) merge(more wants) {
	w.any |= more.any
	for namespace, l := range more.in {
		w.add(namespace, true, l)
	}
}

type byResource struct {
	any   *byPrincipal
	named map[int32]*byPrincipal

	wants, confinedWants wants
}

type byPrincipal struct {
	any   []*rule
	named map[int32][]*rule
}

func newIndex(rules []*rule) *index {
	ix := &index{
		actions:    map[types.String]*byResource{},
		methods:    map[string]*actionInfo{},
		principals: map[types.EntityUID]int32{},
		resources:  map[types.EntityUID]int32{},
		named:      map[string]map[entityName]int32{},
	}
	for _, r := range rules {
		tree := r.tree()
		for _, key := range actionKeys(tree.Action) {
			ix.file(r, key, tree)
		}
	}
	for uid, key := range ix.resources {
		namespace, id, ok := strings.Cut(string(uid.ID), "/")
		if !ok || uid.Type == typeCluster || uid.Type == typeNamespace {
			continue
		}
		if ix.named[namespace] == nil {
			ix.named[namespace] = map[entityName]int32{}
		}
		ix.named[namespace][entityName{uid.Type, id}] = key
	}
	for _, a := range sortedActions() {
		info := &actionInfo{Action: a, uid: types.NewEntityUID(typeAction, types.String(a.Name)), of: a.Scope.entityType(), existing: (a.Scope == ScopeWorkflow || a.Scope == ScopeSchedule) && !tellsAll(a.Name)}
		for _, key := range []string{a.Name, string(a.Access), ""} {
			if node := ix.actions[types.String(key)]; node != nil {
				info.filed = append(info.filed, node)
				info.wants.merge(node.wants)
				info.confinedWants.merge(node.confinedWants)
			}
		}
		ix.methods[a.Name] = info
	}
	return ix
}

func (ix *index) file(r *rule, key types.String, tree *ast.Policy) {
	node := ix.actions[key]
	if node == nil {
		node = &byResource{any: &byPrincipal{}, named: map[int32]*byPrincipal{}}
		ix.actions[key] = node
	}
	namespace, named := scopeNamespace(tree.Resource)
	node.wants.add(namespace, named, r.wants)
	node.confinedWants.add(namespace, named, r.looks)
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
		if _, isMethod := LookupAction(string(s.Entity.ID)); !isMethod || s.Entity.Type != typeAction {
			return nil // "== a group" is true of no call
		}
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
		if uid.Type != typeAction || uid.ID == "" {
			continue // no action; "" would stand for any. Such a policy does not load anyway
		}
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

// scopeNamespace returns the namespace that a resource scope stays in, if it names one.
func scopeNamespace(scope ast.IsScopeNode) (string, bool) {
	uid, ok := scopeEntity(scope)
	if !ok || uid.Type == typeCluster {
		return "", false
	}
	namespace, _, _ := strings.Cut(string(uid.ID), "/")
	return namespace, true
}

// withoutAction compiles the policy for use behind the index, which has already settled its action scope.
func withoutAction(tree *ast.Policy) *cedar.Policy {
	rest := *tree
	rest.Action = ast.Scope{}.All()
	return cedar.NewPolicyFromAST((*publicast.Policy)(&rest))
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

// collect finds the candidates. principals and resources are the keys of each entity itself and of everything it is in; named is
// one more key of the resource, or noKey.
func (c *candidates) collect(action *actionInfo, principals, resources []int32, named int32) {
	for _, node := range action.filed {
		c.takeBy(node.any, principals)
		if len(node.named) == 0 {
			continue
		}
		for _, n := range resources {
			c.takeBy(node.named[n], principals)
		}
		if named != noKey {
			c.takeBy(node.named[named], principals)
		}
	}
}

// collectNamed finds only the policies that name the one resource.
func (c *candidates) collectNamed(action *actionInfo, principals []int32, named int32) {
	for _, node := range action.filed {
		c.takeBy(node.named[named], principals)
	}
}

func (c *candidates) takeBy(leaf *byPrincipal, principals []int32) {
	if leaf == nil {
		return
	}
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

// needs reports whether a policy about the action in the namespace looks at what only the run can tell.
func (s *Set) needs(action, namespace string) bool {
	a := s.index.methods[action]
	if a == nil {
		return false
	}
	if s.confined[namespace] {
		return (a.confinedWants.any|a.confinedWants.in[namespace])&looksOnRun != 0
	}
	return (a.wants.any|a.wants.in[namespace])&looksOnRun != 0
}
