package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// literals collects, for an action, the values that policies compare attributes of the caller with, and the groups that they name.
func (s *Set) literals(a *actionInfo) map[string][]string {
	found := map[string]map[string]bool{}
	add := func(key, value string) {
		if found[key] == nil {
			found[key] = map[string]bool{}
		}
		found[key][value] = true
	}
	for r := range a.rules() {
		tree := r.tree()
		if uid, ok := scopeEntity(tree.Principal); ok && uid.Type == typeGroup {
			add("group", string(uid.ID))
		}
		for _, c := range tree.Conditions {
			ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
				switch n := n.(type) {
				case ast.NodeTypeEquals:
					name, isContext := isAttribute(n.Left, "context")
					if text, ok := literalText(n.Right); ok && isContext {
						add(string(name), text)
					}
				case ast.NodeTypeContains:
					if name, ok := isAttribute(n.Left, "context"); ok {
						if text, ok := literalText(n.Right); ok {
							add(string(name), text)
						}
					} else if list, ok := n.Left.(ast.NodeTypeSet); ok {
						if name, ok := isAttribute(n.Right, "context"); ok {
							for _, e := range list.Elements {
								if text, ok := literalText(e); ok {
									add(string(name), text)
								}
							}
						}
					}
				case ast.NodeValue:
					if uid, ok := n.Value.(types.EntityUID); ok && uid.Type == typeGroup {
						add("group", string(uid.ID))
					}
				}
				return true
			})
		}
	}
	sorted := map[string][]string{}
	for key, values := range found {
		sorted[key] = slices.Sorted(maps.Keys(values))
	}
	return sorted
}

// rules are all policies about an action, whoever and whatever else they name.
func (a *actionInfo) rules() map[*rule]bool {
	all := map[*rule]bool{}
	take := func(leaf *byPrincipal) {
		for _, r := range leaf.any {
			all[r] = true
		}
		for _, rules := range leaf.named {
			for _, r := range rules {
				all[r] = true
			}
		}
	}
	for _, node := range a.filed {
		take(node.any)
		for _, leaf := range node.named {
			take(leaf)
		}
	}
	return all
}
